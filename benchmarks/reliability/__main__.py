"""The campaign of docs/reliability.md: how often runs come out right, whatever happens to them.

    python -m benchmarks.reliability [KIND ...] [--seed 0] [--jobs 2] [--quick] [--only TEXT]

Makes trouble of each kind in projects of its own below a scratch folder, by real processes of
`kedro run --env smoke`, and prints a table: how many cases there were, how many were right, and a
line for each that was not. Each kind is independent: it writes data/reliability/KIND.json as it
goes, and the table shows all kinds whose figures are there. What failed is kept in the scratch
folder. Ends with status 1 if anything was not right.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Outcome, try_all
from joblib import cpu_count
from rich.console import Console

KINDS = ("kills", "damage", "disk", "output", "settings", "files", "memory")
PROJECT = Path(__file__).parents[2]
FIGURES = PROJECT / "data" / "reliability"
console = Console(soft_wrap=True, markup=False, highlight=False)


def measure(kind: str, bench: Bench, only: str = "") -> dict[str, Any]:
    """Try all cases of a kind, or those with a text in their name; the figures.

    Figures of all cases are written after each.
    """
    began, outcomes = time.monotonic(), []
    cases = import_module(f"benchmarks.reliability.{kind}").cases(bench)
    cases = [case for case in cases if only in case.name]
    console.print(f"{kind}: {len(cases)} cases")
    for outcome in try_all(cases, bench.jobs):
        outcomes.append(outcome)
        show(kind, outcome, len(outcomes), len(cases))
        found = figures(kind, outcomes, len(cases), bench, time.monotonic() - began)
        if not only:
            FIGURES.mkdir(parents=True, exist_ok=True)
            (FIGURES / f"{kind}.json").write_text(json.dumps(found, indent=1) + "\n")
    return figures(kind, outcomes, len(cases), bench, time.monotonic() - began)


def show(kind: str, outcome: Outcome, number: int, count: int) -> None:
    """Progress, a line each."""
    word = "right" if outcome.right else "WRONG"
    note = f" ({outcome.tried.note})" if outcome.tried.note else ""
    console.print(
        f"  {kind} {number}/{count} {outcome.name}: {word}, {outcome.seconds:.1f} s{note}"
    )
    for fault in outcome.tried.faults[:5]:
        console.print(f"    {fault}")


def figures(
    kind: str, outcomes: Sequence[Outcome], count: int, bench: Bench, seconds: float
) -> dict[str, Any]:
    """What is known of a kind, as JSON takes it."""
    return {
        "kind": kind,
        "cases": count,
        "done": len(outcomes),
        "tries": sum(outcome.tried.tries for outcome in outcomes),
        "right": sum(outcome.right for outcome in outcomes),
        "seed": bench.seed,
        "quick": bench.quick,
        "minutes": round(seconds / 60, 1),
        "date": datetime.now(UTC).isoformat(" ", "minutes"),
        "machine": f"{platform.machine()}, {cpu_count()} cores, Python "
        f"{platform.python_version()}, {platform.system()} {platform.release()}",
        "failed": {o.name: o.tried.faults for o in outcomes if not o.right},
        "notes": {o.name: o.tried.note for o in outcomes if o.tried.note},
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """The figures of all kinds in Markdown, and a line for each case that failed."""
    lines = ["| kind | troubles | cases | right | minutes |", "|---|---|---|---|---|"]
    for row in found:
        size = (
            str(row["cases"]) if row["done"] == row["cases"] else f"{row['done']} of {row['cases']}"
        )
        name = row["kind"] + (" (quick)" if row["quick"] else "")
        lines.append(f"| {name} | {row['tries']} | {size} | {row['right']} | {row['minutes']} |")
    failed = [
        f"* {row['kind']}, {case}: {faults[0].splitlines()[-1] if faults else ''}"
        + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")
        for row in found
        for case, faults in row["failed"].items()
    ]
    dates = sorted(row["date"] for row in found)
    machines = {row["machine"] for row in found}
    seeds = sorted({row["seed"] for row in found})
    told = f"Seed {', '.join(map(str, seeds))}; {dates[0]} to {dates[-1]}; {'; '.join(machines)}."
    return "\n".join([*lines, "", told, *(["", *failed] if failed else [])])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; or all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--quick", action="store_true", help="one or two cases of each kind")
    parser.add_argument("--folder", type=Path, help="for scratch projects, of about 1 GB")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--show", action="store_true", help="only print the table of what is there")
    chosen = parser.parse_args(arguments)
    kinds = [kind for kind in chosen.kinds if kind != "all"] or list(KINDS)
    if unknown := sorted(set(kinds) - set(KINDS)):
        parser.error(f"there is no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    folder = chosen.folder or Path(tempfile.gettempdir()) / "sspcm-reliability"
    bench = Bench(folder.resolve(), chosen.seed, chosen.quick, chosen.jobs)
    if chosen.only:
        rows = [measure(kind, bench, chosen.only) for kind in kinds]
        sys.exit(1 if any(row["right"] < row["cases"] for row in rows) else 0)
    for kind in [] if chosen.show else kinds:
        measure(kind, bench)
    files = [FIGURES / f"{kind}.json" for kind in KINDS]
    found = [json.loads(file.read_text()) for file in files if file.exists()]
    if not found:
        parser.error(f"there are no figures in {FIGURES}")
    console.print(table(found))
    asked = [row for row in found if row["kind"] in kinds]
    sys.exit(1 if any(row["right"] < row["cases"] for row in asked) else 0)


if __name__ == "__main__":
    main()
