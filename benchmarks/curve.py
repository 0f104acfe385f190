"""Score against number of labels: how many labels the unlabeled images are worth.

    python benchmarks/curve.py [--env base] [--root DIR] [--labels 20 50 100 200 500 1000 all]
                               [--seeds 0 1 2] [--jobs 2] [--params ...]

Every cell is a default `kedro run` with that number of labels (``split.labeled``): it trains the
baseline and the student on the same people. Data lie under data/curve/<env>; the cells of a seed
share its drawn images. Cells that were killed go on where they were, finished ones are not run
again. More labels are the same people and some more, and everybody is validated on the same people;
where nobody remains whose labels could be withheld, the baseline is trained alone. Numbers that the
source has no people for are left out. The environment's own number of labels is always among them:
its student is the one whose gain is told. Writes data/curve/<env>.json, .md and .png.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from cells import PROJECT, Cell, Runner, parameters_of, seeded
from labels_saved import Curve, Point, gain_sentence, label_figure, markdown
from rich.console import Console

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.datasets.figure import FigureDataset
from sspcm_kedro.datasets.instances import PartsDataset
from sspcm_kedro.datasets.skeleton import SkeletonDataset
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.engine.evaluate import METRICS
from sspcm_kedro.errors import BadInput

LABELS = (20, 50, 100, 200, 500, 1000, "all")
DPI = 200
BOTH, ALONE = "08_reporting/metrics.json", "07_model_output/comparison_scores.json"
Labels = int | Literal["all"]
console = Console()


@dataclass(frozen=True)
class Share:
    """The people of one cell.

    Attributes:
        labels: what was asked for.
        params: that make ``split`` give them.
        people: how many are labeled.
        images: of the unlabeled people.
        alone: whether the baseline is trained alone.
    """

    labels: Labels
    params: tuple[str, ...]
    people: int
    images: int
    alone: bool = False


def folder_of(env: str, seed: int) -> Path:
    """Where the cells of a seed lie."""
    return PROJECT / "data" / "curve" / env / f"seed_{seed}"


def people_cell(env: str, seed: int, params: Sequence[str]) -> Cell:
    """The run that draws or reads the people of a seed."""
    return Cell(
        f"{env}, seed {seed}, people", folder_of(env, seed) / "people", env, seeded(seed, params),
        "03_primary/instances.parquet", "ingestion",
    )  # fmt: skip


def score_cell(env: str, seed: int, params: Sequence[str], share: Share) -> Cell:
    """The run that trains baseline and student, or the baseline alone."""
    return Cell(
        f"{env}, seed {seed}, {share.labels} labels",
        folder_of(env, seed) / f"labels_{share.labels}", env,
        seeded(seed, [*params, *share.params]), ALONE if share.alone else BOTH,
        "ingestion,comparison" if share.alone else None,
        {"01_raw": folder_of(env, seed) / "people" / "01_raw"},
    )  # fmt: skip


def read_source(folder: Path) -> Source:
    """What ingestion has read."""
    parts = PartsDataset(str(folder / "03_primary" / "instances.parquet")).load()
    return Source(
        SkeletonDataset(filepath=str(folder / "03_primary/skeleton.json")).load(), **parts
    )


def share_of(
    source: Source, config: SplitConfig, seed: int, labels: Labels, alone: bool = False
) -> Share:
    """The people of a cell.

    Args:
        source: all people.
        config: the environment's own split, which says whom everybody is validated on.
        seed: of the split.
        labels: how many; "all" leaves those to validate on.
        alone: for the baseline alone, which needs nobody without labels.

    Raises:
        BadInput: there are too few people, or those to validate on would be others.
    """
    own = split(source, config, seed)
    held_out = len(own.validation) if source.validation is None else 0
    changes: dict[str, Any] = {
        "labeled": len(source.annotated) - held_out if labels == "all" else labels
    }
    if alone:
        changes |= {"unlabeled": None, "unlabeled_includes_labeled": True}
    chosen = split(source, config.model_copy(update=changes), seed)
    if _who(chosen.validation) != _who(own.validation):
        rule = "every number of labels must leave the same people to validate on"
        raise BadInput("split, labeled", rule, "Ask for fewer")
    params = tuple(f"split.{key}={_text(value)}" for key, value in changes.items())
    images = len(np.unique(chosen.unlabeled.paths.astype(str)))
    return Share(labels, params, len(chosen.labeled), images, alone)


def _who(people: Instances) -> list[tuple[int, int]]:
    return list(zip(people.ids.tolist(), people.image_ids.tolist(), strict=True))


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower()


def say(text: str) -> None:
    """Print as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def plan(
    sources: dict[int, Source], config: SplitConfig, labels: Sequence[Labels]
) -> dict[Labels, list[Share]]:
    """The people of every cell that all seeds can have, seed by seed, by rising number of labels.

    What is left out, or trained without a student, is said.
    """
    planned: dict[Labels, list[Share]] = {}
    for asked in labels:
        reasons: list[str] = []
        for alone in (False, True):
            try:
                shares = [share_of(s, config, seed, asked, alone) for seed, s in sources.items()]
            except BadInput as error:
                reasons.append(str(error))
                continue
            if alone:
                say(f"{asked} labels: the baseline alone ({reasons[0]})")
            counts = [share.people for share in shares]
            same = [other for other in planned if counts == [s.people for s in planned[other]]]
            if same:
                say(f"{asked} labels are {same[0]} labels, measured once")
            else:
                planned[asked] = shares
            break
        else:
            say(f"{asked} labels are left out: {reasons[-1]}")
    return dict(sorted(planned.items(), key=lambda item: [share.people for share in item[1]]))


Rows = dict[str, dict[str, Any]]


def rows_of(cell: Cell) -> Rows:
    """All scores of baseline and student (the network that the method deploys) in a cell."""
    scores = cell.read()
    if cell.pipelines:
        return {"baseline": scores["baseline"]}
    return {"baseline": scores["baseline"], "student": scores[scores["choice"]["network"]]}


def score_of(rows: Sequence[Rows]) -> str:
    """The first headline score that every network has; errors, of which less is better, are none.

    Raises:
        SystemExit: there is none.
    """
    every = [row for cell in rows for row in cell.values()]
    for metric in METRICS:
        if metric.shown == "headline" and metric.higher_is_better:
            if all(row.get(metric.name) is not None for row in every):
                return metric.name
    raise SystemExit(
        "There is no curve: no score has a number for every network (PCK needs validation people "
        "with both ends of the torso; see the metrics.json of the cells)"
    )


def point_of(shares: Sequence[Share], rows: Sequence[Rows], score: str) -> Point:
    """A number of labels, seed by seed."""
    with_student = not any(share.alone for share in shares)
    return Point(
        labels=tuple(share.people for share in shares),
        unlabeled_images=() if not with_student else tuple(share.images for share in shares),
        baseline=tuple(cell["baseline"][score] for cell in rows),
        student=tuple(cell["student"][score] for cell in rows if with_student),
        everyone=shares[0].labels == "all",
    )


def number(text: str) -> Labels:
    """A number of labels from the command line."""
    if text == "all":
        return "all"
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0 or all, found {text!r}")
    return int(text)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="base")
    parser.add_argument("--root", help="folder of the source, where it is not the default")
    parser.add_argument(
        "--labels", type=number, nargs="+", default=LABELS,
        help="numbers of labels; the environment's own is always among them",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="cells at once")
    parser.add_argument("--params", nargs="*", default=[], help="as for kedro run --params")
    return parser.parse_args(arguments)


def usable_parameters(env: str, params: Sequence[str]) -> dict[str, Any]:
    """The environment's parameters.

    Raises:
        SystemExit: the comparison is no baseline, or more labels come in than ``split`` counts.
    """
    parameters = parameters_of(env, params)
    if parameters["comparison"]["kind"] != "supervised":
        raise SystemExit("comparison.kind must be supervised: the curve is the baseline's")
    if parameters["annotation_import"]["files"]:
        raise SystemExit("annotation_import.files must be empty: they add labels to every number")
    return parameters


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and draw the curve."""
    options = options_of(arguments)
    env, seeds = options.env, tuple(dict.fromkeys(options.seeds))
    params = options.params + ([f"source.root={options.root}"] if options.root else [])
    parameters = usable_parameters(env, params)
    config = SplitConfig.model_validate(parameters["split"])
    runner = Runner(options.jobs, console)
    people = {seed: people_cell(env, seed, params) for seed in seeds}
    if runner.run(list(people.values()), "people"):
        raise SystemExit(1)
    sources = {seed: read_source(cell.folder) for seed, cell in people.items()}
    own = cast(Labels, config.labeled)
    planned = plan(sources, config, list(dict.fromkeys([own, *options.labels])))
    cells = {
        labels: [
            score_cell(env, seed, params, share)
            for seed, share in zip(seeds, planned[labels], strict=True)
        ]
        for labels in planned
    }
    failed = runner.run([cell for of_seed in zip(*cells.values(), strict=True) for cell in of_seed])
    rows = {
        labels: [rows_of(cell) for cell in row]
        for labels, row in cells.items()
        if not any(cell in failed for cell in row)
    }
    if own not in rows:
        raise SystemExit(f"There is no curve without the cells with {own} labels")
    score = score_of([cell for row in rows.values() for cell in row])
    shown = f"PCK@{parameters['evaluation']['pck_threshold']:g}" if score == "PCK" else score
    drawn = parameters["source"]["kind"] == "drawn"
    curve = Curve(
        people="Drawn people" if drawn else f"People of {env}",
        score=shown,
        seeds=seeds,
        points=tuple(point_of(planned[labels], row, score) for labels, row in rows.items()),
        own=list(rows).index(own),
    )
    write(PROJECT / "data" / "curve" / env, curve, rows)
    if failed:
        raise SystemExit(f"{len(failed)} cells failed, and their numbers of labels are left out")


def write(target: Path, curve: Curve, rows: dict[Labels, list[Rows]]) -> None:
    """The numbers, the table and the figure; the table is printed too."""
    scores = {
        str(labels): dict(zip(map(str, curve.seeds), row, strict=True))
        for labels, row in rows.items()
    }
    numbers = {"gain": gain_sentence(curve), "curve": asdict(curve), "scores": scores}
    for suffix, text in ((".json", json.dumps(numbers, indent=1)), (".md", markdown(curve))):
        with replace_file(target.with_name(target.name + suffix)) as file:
            file.write_text(text)
    FigureDataset(f"{target}.png", DPI).save(label_figure(curve))
    say(markdown(curve))
    say(f"{target}.png")


if __name__ == "__main__":
    main()
