"""What it costs to choose the network that ships on few validation images.

    python benchmarks/chosen.py DATA_FOLDER ... [--env base] [--images 10 20 50 100]

Each folder has the data of a finished run (`SSPCM_DATA`). A number of its validation images is
drawn again and again; method's network and comparison are compared on these, as a run does (by the
score, where it is the same by PCK, and where that may differ by chance by the mean error), and what
is chosen is scored on all the other images. Prints, for each number, how often that is the better
one there, and how many points of the score it is behind the better one in the mean, beside what
always the one and always the other would be behind.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from rich.console import Console
from rich.table import Table

from sspcm_kedro.engine.choice import Predicted, weighted_scores
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.pose.weighted import WeightedScore

PROJECT = Path(__file__).parents[1]
DRAWS, RESAMPLES = 2000, 200
LEAST = 20
"""Images that must remain to be scored on."""


@dataclass(frozen=True)
class Judged:
    """A network's predictions of the validation people, with a weight for each image.

    Attributes:
        scores: that a run compares by, one where those before it are the same or have no number.
        error: sums over the keypoints of each image of how far off they are, in pixels.
        counted: how many keypoints these are.
    """

    scores: tuple[WeightedScore, ...]
    error: np.ndarray
    counted: np.ndarray

    def mean_error(self, weights: np.ndarray) -> np.ndarray:
        """Pixels, with each row of weights (b, images)."""
        return (weights @ self.error) / np.maximum(weights @ self.counted, 1)


def judge_run(folder: Path, env: str) -> tuple[str, list[Judged]]:
    """The first score that a run compares by, and the two networks, the method's first."""
    os.environ["SSPCM_DATA"] = str(folder.resolve())
    with KedroSession.create(project_path=PROJECT, env=env) as session:
        load = session.load_context().catalog.load
        stored = [load(name) for name in ("validation_predictions", "comparison_predictions")]
        people, ignored, skeleton = (load(n) for n in ("validation", "ignored", "skeleton"))
        view, evaluation = load("params:view"), load("params:evaluation")
    channels = list(skeleton.evaluated_channels)
    own = people.gather(channels)
    _, places = np.unique(people.image_ids, return_inverse=True)
    both = []
    for one in stored:
        name = one["deployed"]
        found = Predicted(name, one[f"{name}.keypoints"], one[f"{name}.scores"])
        scores = weighted_scores(found, people, ignored, view.frame, skeleton, evaluation)
        points = to_image(found.keypoints[:, channels], own, view.frame)
        known = own.visibility > 0
        off = np.where(known, np.linalg.norm(points - own.keypoints, axis=2), 0)
        sums = (np.bincount(places, each.sum(axis=1)) for each in (off, known))
        both.append(Judged(tuple(scores.values()), *sums))
    return next(iter(scores)), both


def images_of(both: Sequence[Judged]) -> int:
    """How many images two networks were judged on."""
    return len(both[0].scores[0].images)


def behind(both: Sequence[Judged], count: int, seed: int = 0) -> dict[str, float]:
    """Means over draws of so many images to choose on, scored on the others.

    Args:
        both: the method's network and the comparison.
        count: how many images are drawn.
        seed: of the draws.

    Returns:
        ``right``, the share of draws in which the better one on the other images is chosen; and how
        far ``chosen``, ``method`` and ``comparison`` are behind it.
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros((DRAWS, images_of(both)), dtype=np.int64)
    for row in drawn:
        row[rng.permutation(len(row))[:count]] = 1
    first, second = both
    lead = second.mean_error(drawn) - first.mean_error(drawn)
    pairs = list(zip(first.scores, second.scores, strict=True))
    for place, (one, other) in reversed(list(enumerate(pairs))):
        ahead = np.nan_to_num(one.of(drawn) - other.of(drawn))
        tells = ahead != 0
        if place == len(pairs) - 1:  # PCK
            tells &= ~may_be_chance(one, other, drawn, rng)
        lead = np.where(tells, ahead, lead)
    rest = np.stack([one.scores[0].of(1 - drawn) for one in both])
    known = np.isfinite(rest).all(axis=0)
    rest, ours = rest[:, known], lead[known] >= 0
    chosen, best = np.where(ours, rest[0], rest[1]), rest.max(axis=0)
    return {
        "right": float(np.mean(chosen == best)), "chosen": float(np.mean(best - chosen)),
        "method": float(np.mean(best - rest[0])), "comparison": float(np.mean(best - rest[1])),
    }  # fmt: skip


def may_be_chance(
    one: WeightedScore, other: WeightedScore, drawn: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Whether the 95 % interval of a gain includes 0, of each draw of images (d, images)."""
    found = np.ones(len(drawn), bool)
    for place, row in enumerate(drawn):
        images = np.flatnonzero(row)
        weights = np.zeros((RESAMPLES, len(row)), np.int64)
        weights[:, images] = rng.multinomial(
            len(images), np.full(len(images), 1 / len(images)), RESAMPLES
        )
        gains = one.of(weights) - other.of(weights)
        gains = gains[np.isfinite(gains)]
        if len(gains):
            low, high = np.percentile(gains, (2.5, 97.5))
            found[place] = low <= 0 <= high
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="DATA_FOLDER")
    parser.add_argument("--env", default="base")
    parser.add_argument("--images", type=int, nargs="+", default=[10, 20, 50, 100, 200])
    options = parser.parse_args(arguments)
    bootstrap_project(PROJECT)
    judged = [judge_run(folder, options.env) for folder in options.folders]
    metric, runs = judged[0][0], [both for _, both in judged]
    table = Table(title=f"Points of {metric} behind the better network, {len(runs)} runs")
    for column in ("images to choose on", "better one chosen", "chosen", "always method's",
                   "always comparison"):  # fmt: skip
        table.add_column(column, justify="right")
    for count in options.images:
        found = [behind(both, count) for both in runs if images_of(both) >= count + LEAST]
        if found:
            mean = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
            points = [f"{100 * mean[key]:.2f}" for key in ("chosen", "method", "comparison")]
            table.add_row(str(count), f"{mean['right']:.0%}", *points)
    Console().print(table)


if __name__ == "__main__":
    main()
