"""What a full run of each environment costs, as the table of docs/benchmarks.md.

    python benchmarks/plan.py [--env coco_1k coco_wild ...]

Runs the pipeline ``plan`` of every environment (by default those that name published scores), a
process each, and prints a markdown table; and for each device in benchmarks/measured
(`benchmarks/device.py` measures one) the hours that it would take. No data are needed and none are
touched.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from sspcm_kedro.pipelines.plan.tables import Plan, known_gb, mark_partial

PROJECT = Path(__file__).parents[1]
MEASURED = Path(__file__).parent / "measured"

COLUMNS = (
    "environment", "images a step", "passes a step, forward / backward", "TFLOP a step", "steps",
    "PFLOP, method", "PFLOP, comparison", "memory, GiB", "stored, GB", "data, GB",
    "hours x TFLOP/s, method", "comparison",
)  # fmt: skip


def benchmarks() -> list[str]:
    """Environments that stand beside published scores."""
    files = sorted(PROJECT.glob("conf/*/parameters.yml"))
    return [
        file.parent.name
        for file in files
        if file.parent.name != "base" and "published" in yaml.safe_load(file.read_text())
    ]


def plan_of(env: str) -> dict[str, Any]:
    """What pipeline ``plan`` writes for an environment."""
    command = [sys.executable, "-m", "kedro", "run", "--env", env, "--pipelines", "plan"]
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "SSPCM_DATA": folder}
        done = subprocess.run(
            [*command, "--params", "machine.device=cpu"], cwd=PROJECT, env=environ,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{env}: failed\n{done.stdout}{done.stderr}")
        return json.loads((Path(folder) / "08_reporting" / "plan.json").read_text())


def markdown_row(environment: str, plan: Plan) -> str:
    """The environment's line of a table with ``COLUMNS``."""
    method, comparison = plan["method"], plan["comparison"]
    step = method["step"]["rest"]
    cells = (
        environment,
        f"{step['labeled']} + {step['unlabeled']}",
        f"{step['forwards']} / {step['backwards']}",
        f"{step['flops'] / 1e12:.2f}",
        f"{sum(method['steps'].values()):,}",
        f"{method['flops']['total'] / 1e15:,.0f}{mark_partial(method['flops'])}",
        f"{comparison['flops']['total'] / 1e15:,.0f}{mark_partial(comparison['flops'])}",
        f"{method['memory']['total'] / 2**30:.1f}",
        f"{(method['stored_bytes']['total'] + comparison['stored_bytes']['total']) / 1e9:.1f}"
        f"{mark_partial(method['stored_bytes'])}",
        known_gb(plan),
        f"{method['hours_per_tflops']:,.0f}{mark_partial(method['flops'])}",
        f"{comparison['hours_per_tflops']:,.0f}{mark_partial(comparison['flops'])}",
    )
    return f"| {' | '.join(cells)} |"


def markdown_table(plans: Mapping[str, Plan]) -> str:
    """Environments and their plans; "+" marks what is without an unknown part."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    return "\n".join([*lines, *(markdown_row(name, plan) for name, plan in plans.items())]) + "\n"


def markdown_hours(plans: Mapping[str, Plan], measured: Mapping[str, Any]) -> str:
    """Hours of each environment's method on a device, from the rate of its step there.

    The FLOPs of the run are divided by those that the step does a second, in each way of training
    that was measured.

    Args:
        plans: by environment.
        measured: what ``benchmarks/device.py`` has written.
    """
    rows = {name: row for names, row in measured["steps"].items() for name in names.split(", ")}
    ways = [
        way for way in next(iter(rows.values()))
        if any(isinstance(row.get(way), dict) for row in rows.values())
    ]  # fmt: skip
    head = ["environment", *ways]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, plan in plans.items():
        method, row = plan["method"], rows.get(name, {})
        cells = [name]
        for way in ways:
            found = row.get(way)
            if not isinstance(found, dict):
                cells.append("not measured")
                continue
            teraflops = found["images_per_second"] / row["images"] * method["step"]["rest"]["flops"]
            hours = method["hours_per_tflops"] / (teraflops / 1e12)
            cells.append(f"{hours:,.1f}{mark_partial(method['flops'])}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Plan, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", nargs="+", default=benchmarks())
    plans = {env: plan_of(env) for env in parser.parse_args().env}
    console = Console(width=1000, highlight=False, markup=False)
    console.print(markdown_table(plans))
    for file in sorted(MEASURED.glob("*.json")):
        measured = json.loads(file.read_bytes())
        console.print(f"Hours of the method on {measured['device']}:\n")
        console.print(markdown_hours(plans, measured))


if __name__ == "__main__":
    main()
