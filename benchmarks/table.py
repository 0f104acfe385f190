"""The table method x seed: every method on the same people, with the same optimizer steps.

    python benchmarks/table.py [--env base] [--root DIR] [--seeds 0 1 2] [--jobs 2] [--params ...]
        [--methods many_view "SSPCM (rounds)" PoseDual ...]

Every cell is a `kedro run` of its own process, one thread each, with data under data/table/<env>.
Ours ingests the people, and its comparison is the supervised row. The other methods in rounds are
whole runs, too, and those alone are runs of the pipeline `comparison`, on the same people. One more
row has supervised training for as long as ours trains: of so many more steps as its optimizer steps
took more seconds than the comparison's, in the same process (what labels unlabeled people and
evaluates is not counted). Cells
that were killed go on where they were, and finished ones are not run again. Writes
data/table/<env>.json and .md.
"""

import argparse
import json
import re
import statistics
from pathlib import Path

from cells import PROJECT, Cell, Runner, parameters_of, seeded
from rich.console import Console

from sspcm_kedro.engine.evaluate import METRICS
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.pipelines.evaluation.nodes import comparison_name

OURS = "many_view"
ROUNDS = {OURS: ["method.kind=many_view"], "SSPCM (rounds)": ["method.kind=sspcm"]}
ALONE = {
    "PseudoPose": ["comparison.kind=pseudo_pose"],
    "DataDistill": ["comparison.kind=data_distill"],
    "PoseCons": ["comparison.kind=pose_cons"],
    "PoseDual": ["comparison.kind=pose_dual"],
    "SSPCM (snapshots)": ["comparison.kind=sspcm", "comparison.snapshot_every=100"],
    "MultiAugs": ["comparison.kind=multi_augs"],
    "MultiAugs (dual)": ["comparison.kind=multi_augs", "comparison.dual=true"],
    "UBPL": ["comparison.kind=ubpl"],
    "ScarceNet": ["comparison.kind=scarce_net"],
    "Denoise and select": ["comparison.kind=denoise_select"],
    "Teacher-Reviewer-Student": ["comparison.kind=teacher_reviewer"],
}
"""Those that averages teach need ``training.average_decay``: the environments have it."""
EQUAL_TIME = "supervised (equal time)"
METHODS = {**ROUNDS, **ALONE, EQUAL_TIME: ["comparison.kind=supervised"]}
COLUMNS = tuple(metric.name for metric in METRICS if metric.shown != "report")
LESS_IS_BETTER = {metric.name for metric in METRICS if not metric.higher_is_better}
console = Console()


def folder_of(env: str, seed: int, method: str) -> Path:
    """Where a cell's data lie."""
    name = re.sub(r"\W+", "_", method.lower()).strip("_")
    return PROJECT / "data" / "table" / env / f"seed_{seed}" / name


def cell_of(env: str, seed: int, method: str, params: list[str]) -> Cell:
    """The run of a method; all but ours read what ours ingested."""
    rounds = method in ROUNDS
    shared = () if method == OURS else ("01_raw", "03_primary", "05_model_input")
    without = "warmup,rounds,comparison,evaluation" if rounds and shared else None
    return Cell(
        name=f"{env}, seed {seed}, {method}",
        folder=folder_of(env, seed, method),
        env=env,
        params=seeded(seed, [*params, *METHODS[method]]),
        result="08_reporting/metrics.json" if rounds else "07_model_output/comparison_scores.json",
        pipelines=without if rounds else "comparison",
        shared={part: folder_of(env, seed, OURS) / part for part in shared},
    )


def equal_time(cells: list[Cell], env: str, params: list[str]) -> list[str]:
    """Params of a comparison that takes as long as ours, mean of its finished runs."""
    runs = [json.loads((cell.folder / "08_reporting/run.json").read_bytes()) for cell in cells]
    share = statistics.mean(run["seconds"]["method"] / run["seconds"]["comparison"] for run in runs)
    training = parameters_of(env, params)["training"]
    whole = TrainingConfig.model_validate(training)
    rounds = whole.epochs - whole.warmup_epochs
    epochs = round(share * whole.epochs)
    console.print(f"Ours takes {share:.2f} times as long as the comparison of as many steps.")
    return [*params, f"training.warmup_epochs={max(1, epochs - rounds)}"]


def scores_of(cells: dict[str, Cell]) -> dict[str, dict[str, float]]:
    """The scores of every method with one seed, from the files of the cells."""
    rows = {"supervised": cells[OURS].read()["baseline"]}
    for method, cell in cells.items():
        found = cell.read()
        # A comparison alone has a row of its own, and one of its last weights.
        kind = METHODS[method][0].partition("=")[2]
        rows[method] = found["student" if method in ROUNDS else comparison_name(kind)]
    return {
        method: {column: row[column] for column in COLUMNS if column in row}
        for method, row in rows.items()
    }


def markdown(results: dict[int, dict[str, dict[str, float]]]) -> str:
    """Mean over seeds, their spread, and the gain over supervised training; of the columns that
    each method has a number in."""
    seeds = list(results)
    methods = list(results[seeds[0]])
    rows = [row for of_seed in results.values() for row in of_seed.values()]
    columns = [c for c in COLUMNS if all(row.get(c) is not None for row in rows)]
    head = columns[0]
    sign = -1 if head in LESS_IS_BETTER else 1
    lines = [
        f"| method | {' | '.join(columns)} | {head}, seeds {', '.join(map(str, seeds))} | gain |",
        "|---" * (len(columns) + 3) + "|",
    ]
    base = statistics.mean(results[s]["supervised"][head] for s in seeds)
    for method in methods:
        cells = []
        for column in columns:
            values = [results[s][method][column] for s in seeds]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        values = [results[s][method][head] for s in seeds]
        gain = sign * (statistics.mean(values) - base)
        each = " ".join(f"{v:.3f}" for v in values)
        lines.append(
            f"| {method} | {' | '.join(cells)} | {each} | {gain:+.3f} ({gain / base:+.0%}) |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="base")
    parser.add_argument("--root", help="folder of the source, where it is not the default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="cells at once")
    parser.add_argument("--params", nargs="*", default=[], help="as for kedro run --params")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS),
                        help="ours is always among them")  # fmt: skip
    options = parser.parse_args()
    params = options.params + ([f"source.root={options.root}"] if options.root else [])
    cells = {
        seed: {
            method: cell_of(options.env, seed, method, params)
            for method in METHODS
            if method in (OURS, *options.methods) and method != EQUAL_TIME
        }
        for seed in options.seeds
    }
    runner = Runner(options.jobs, console)
    for first in (True, False):  # the others read what ours ingested
        if not first and EQUAL_TIME in options.methods:
            longer = equal_time([own[OURS] for own in cells.values()], options.env, params)
            for seed, own in cells.items():
                own[EQUAL_TIME] = cell_of(options.env, seed, EQUAL_TIME, longer)
        failed = runner.run([
            cell for own in cells.values() for method, cell in own.items()
            if (method == OURS) == first
        ])  # fmt: skip
        if failed:
            raise SystemExit(f"{len(failed)} cells failed: mend what their logs say, and go on")
    results = {seed: scores_of(cells[seed]) for seed in options.seeds}
    target = PROJECT / "data" / "table" / options.env
    target.with_suffix(".json").write_text(json.dumps(results, indent=1))
    target.with_suffix(".md").write_text(markdown(results))
    console.print(markdown(results), highlight=False)


if __name__ == "__main__":
    main()
