"""Which network is shipped: the method's or the comparison's, by how much, and how surely."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.evaluate import (
    EvaluationConfig,
    detect,
    head_sizes,
    ignored_instances,
    sigmas_of,
)
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.pose.aic_ap import aic_counts
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.metrics import pck_hits, pck_reference, pckh_visibility, pixel_errors
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.pose.weighted import WeightedAP, WeightedScore, WeightedShare
from sspcm_kedro.seeds import Stream, stream_seed

RESAMPLES = 1000
"""How often the bootstrap draws the images anew."""
FEWEST_PEOPLE, FEWEST_IMAGES = 50, 20
"""Validation people whom the metric counts, and the images that they are on: with fewer no
comparison is trusted."""
BASELINE = "baseline"
"""The name of a comparison that labels alone have trained."""


class Predicted(NamedTuple):
    """A network's predictions for n people.

    Attributes:
        name: of the network.
        keypoints: (n, k, 2) canonical input pixels.
        scores: (n, k) heatmap maxima.
    """

    name: str
    keypoints: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Choice:
    """What was compared on the validation people, and which network is shipped.

    Attributes:
        metric: the first that tells the networks apart; None where they have no number for the same
            one, and then there are no other numbers either.
        network: the method's.
        comparison: the other.
        value: of the method's network, 0 to 1.
        comparison_value: of the comparison.
        gain: ``value`` less ``comparison_value``.
        low: where the 95 % interval of the gain begins: percentiles of a paired bootstrap, which
            draws images, and the same ones for both networks.
        high: where it ends.
        better: share of the resamples in which the method's network is the better one; ties count
            half.
        images: on which the people are. The resamples draw all validation images.
        people: whom the metric counts, for PCK those with a label and a unit.
        resamples: how many.
        ships: the name of the network with the higher value; of equal ones, without a value, and by
            a PCK whose interval includes 0, the one with the smaller mean error, and if that is
            equal, too, the method's.
        trusted: whether there are enough people on enough images, the other network is the
            baseline, and the interval does not include 0.
        reason: why this network is shipped, a sentence for people.
        doubt: why the comparison should not be trusted, likewise; empty where it can be.
    """

    metric: str | None
    network: str
    comparison: str
    value: float | None
    comparison_value: float | None
    gain: float | None
    low: float | None
    high: float | None
    better: float | None
    images: int
    people: int
    resamples: int
    ships: str
    trusted: bool
    reason: str
    doubt: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Choice":
        """What ``to_dict`` gave."""
        return cls(**values)

    @property
    def ships_network(self) -> bool:
        """Whether the method's network is shipped."""
        return self.ships == self.network


def choose(
    network: Predicted,
    comparison: Predicted,
    people: Instances,
    ignored: Instances | None,
    frame: CropFrame,
    skeleton: Skeleton,
    config: EvaluationConfig,
    seed: int,
) -> Choice:
    """Which of two networks to ship.

    They are compared by the protocol's own number (AP, AIC_AP or PCKh), or by PCK where one of them
    has none or both have the same (an AP of 0 tells nothing); where that is the same or missing,
    too, by the mean error. That decides as well where PCK may differ by chance: it counts what is
    near enough, and hardly tells networks apart that both are. Source of the bootstrap: Efron and
    Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.

    Args:
        network: predictions of the method's network for the people.
        comparison: the comparison's for the same people.
        people: with their labels; neither network has learned from them.
        ignored: people on the same images whom protocol ``coco`` ignores.
        frame: the crops that the predictions are of.
        skeleton: the k keypoints.
        config: the protocol.
        seed: of the run.

    Raises:
        BadInput: the protocol needs what the people or their skeleton do not have.
    """
    mine, other = (
        weighted_scores(of, people, ignored, frame, skeleton, config)
        for of in (network, comparison)
    )
    compared: dict[str, tuple[float, float]] = {}
    for metric, score in mine.items():
        once = np.ones((1, len(score.images)), dtype=np.int64)
        values = score.of(once).item(), other[metric].of(once).item()
        if np.isfinite(values).all():
            compared[metric] = values
    errors = [mean_error(of, people, frame, skeleton) for of in (network, comparison)]
    if compared:
        metric = next((m for m, (a, b) in compared.items() if a != b), next(iter(compared)))
        drawn = len(mine[metric].images)
        weights = resample(drawn, seed)
        gains = mine[metric].of(weights) - other[metric].of(weights)
        names = network.name, comparison.name
        size = _size(counted_people(metric, people, skeleton), people)
        return _decide(metric, *names, compared[metric], gains, *size, errors)
    images, count = _size(counted_people(None, people, skeleton), people)
    names = [_readable(of.name) for of in (network, comparison)]
    behind = errors[0] > errors[1]
    reason = f"The {names[behind]} is shipped: no metric has a number for both {names[0]} and "
    reason += f"{names[1]}, and its mean error is {errors[behind]:.4g} px, against "
    reason += f"{errors[not behind]:.4g}."
    if not np.isfinite(errors).all() or errors[0] == errors[1]:
        reason = f"The {names[0]} is shipped, the network of the method: no metric has a number "
        reason += f"for both {names[0]} and {names[1]}."
    return Choice(
        None, network.name, comparison.name, None, None, None, None, None, None, images, count, 0,
        ships=comparison.name if behind else network.name, trusted=False, reason=reason,
        doubt="Not to be trusted: there is no metric to compare by.",
    )  # fmt: skip


def resample(images: int, seed: int) -> np.ndarray:
    """How often each image is drawn in each resample (``RESAMPLES``, images)."""
    generator = np.random.default_rng(stream_seed(seed, Stream.RESAMPLES))
    return generator.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)


def weighted_scores(
    predicted: Predicted,
    people: Instances,
    ignored: Instances | None,
    frame: CropFrame,
    skeleton: Skeleton,
    config: EvaluationConfig,
) -> dict[str, WeightedScore]:
    """The scores of ``evaluate`` that ``choose`` compares, with weights for the images.

    Arguments and errors are those of ``choose``. The protocol's own comes first, PCK last.
    """
    points, people = _evaluated(predicted, people, frame, skeleton)
    scores = predicted.scores[:, list(skeleton.evaluated_channels)]
    skeleton = skeleton.evaluated
    counted: dict[str, WeightedScore] = {}
    if config.protocol == "pckh":
        visibility = pckh_visibility(people.visibility, skeleton.names)
        hits = pck_hits(points, people.keypoints, visibility, head_sizes(people), threshold=0.5)
        counted["PCKh"] = WeightedShare.of_keypoints(people.image_ids, *hits)
    elif config.protocol == "aic" or (config.protocol == "coco" and skeleton.sigmas):
        sigmas = sigmas_of(skeleton, config)
        _, detections = detect(points, scores, people, frame, sigmas, config)
        if config.protocol == "coco":
            others = ignored_instances(ignored)
            counted["AP"] = WeightedAP.of_people(people, detections, sigmas, others)
        else:
            images, reached, counts = aic_counts(people, detections, sigmas)
            counted["AIC_AP"] = WeightedShare(images, reached.mean(axis=0), counts)
    reference = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)
    hits = pck_hits(points, people.keypoints, people.visibility, reference,
                    threshold=config.pck_threshold)  # fmt: skip
    return {**counted, "PCK": WeightedShare.of_keypoints(people.image_ids, *hits)}


def counted_people(
    metric: str | None, people: Instances, skeleton: Skeleton
) -> Bool[np.ndarray, " n"]:
    """Who has a keypoint that a metric of ``weighted_scores`` counts; None: that has a label."""
    people, skeleton = people.gather(list(skeleton.evaluated_channels)), skeleton.evaluated
    counted = people.visibility
    if metric == "PCKh":
        counted = pckh_visibility(counted, skeleton.names)
    found = np.any(counted > 0, axis=1)
    if metric != "PCK":
        return np.asarray(found)
    unit = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)
    return np.asarray(found & (unit > 0))


def _size(counted: Bool[np.ndarray, " n"], people: Instances) -> tuple[int, int]:
    """On how many images those who count are, and how many they are."""
    return len(np.unique(people.image_ids[counted])), int(counted.sum())


def mean_error(
    predicted: Predicted, people: Instances, frame: CropFrame, skeleton: Skeleton
) -> float:
    """How far predictions lie from the labels that are evaluated, in image pixels."""
    points, people = _evaluated(predicted, people, frame, skeleton)
    return pixel_errors(points, people.keypoints, people.visibility, people.boxes)["error_px"]


def _evaluated(
    predicted: Predicted, people: Instances, frame: CropFrame, skeleton: Skeleton
) -> tuple[Float[np.ndarray, "n k 2"], Instances]:
    """Predictions in image pixels, and people, both with the channels that are evaluated."""
    channels = list(skeleton.evaluated_channels)
    people = people.gather(channels)
    return to_image(predicted.keypoints[:, channels], people, frame), people


def _decide(
    metric: str, network: str, comparison: str, values: tuple[float, float],
    gains: Float[np.ndarray, " b"], images: int, people: int, errors: Sequence[float],
) -> Choice:  # fmt: skip
    """The choice by two values, the gain in each resample (nan where a resample has none), and,
    where the values do not tell them apart, two mean errors."""
    gains = gains[np.isfinite(gains)]
    low, high = np.percentile(gains, (2.5, 97.5)).tolist() if len(gains) else (None, None)
    better = float(np.mean((gains > 0) + (gains == 0) / 2)) if len(gains) else None
    gain, chance = values[0] - values[1], low is None or high is None or low <= 0 <= high
    level = gain == 0 or (metric == "PCK" and chance and np.isfinite(errors).all())
    behind = errors[0] > errors[1] or (errors[0] == errors[1] and gain < 0) if level else gain < 0
    ships, left = (comparison, network) if behind else (network, comparison)
    score = f"{_readable(metric)} {max(values):.3f} on {people} validation people"
    if gain != 0 and level and errors[0] != errors[1]:
        own, others = values[ships == comparison], values[ships == network]
        reason = f"The {_readable(ships)} is shipped: PCK, {own:.3f} on {people} validation people "
        reason += f"and {others:.3f} for the {_readable(left)}, may differ by chance, and its mean "
        reason += f"error is {min(errors):.4g} px, against {max(errors):.4g}."
    elif gain == 0 and errors[0] != errors[1]:
        reason = f"The {_readable(ships)} is shipped: {score} for both, and a mean error of "
        reason += f"{min(errors):.4g} px, against {max(errors):.4g} for the {_readable(left)}."
    elif gain == 0:
        reason = f"The {_readable(ships)} is shipped, the network of the method: {score}, and the "
        reason += f"{_readable(left)} has the same."
    else:
        reason = f"The {_readable(ships)} is shipped: {score}, against {min(values):.3f} for the "
        reason += f"{_readable(left)} ({abs(gain):+.3f}"
        if low is not None and high is not None:
            ends = (low, high) if gain > 0 else (-high, -low)
            reason += f", 95 % interval {ends[0]:+.3f} to {ends[1]:+.3f}"
        reason += ")."
        if errors[ships == comparison] > errors[ships == network]:
            reason += f" By the mean error the {_readable(left)} is ahead: {min(errors):.4g} px, "
            reason += f"against {max(errors):.4g}."
    doubts = []
    if people < FEWEST_PEOPLE:
        doubts.append(f"these are fewer than {FEWEST_PEOPLE} people")
    elif images < FEWEST_IMAGES:
        doubts.append(f"these are on fewer than {FEWEST_IMAGES} images")
    if comparison != BASELINE:
        doubts.append("neither was compared with a network of labels alone")
    if low is None or high is None:
        doubts.append("there is no interval")
    elif chance:
        doubts.append("the interval of the difference includes 0, so it may be chance")
    return Choice(
        metric, network, comparison, *values, gain, low, high, better, images, people, RESAMPLES,
        ships, trusted=not doubts, reason=reason,
        doubt=f"Not to be trusted: {'; and '.join(doubts)}." if doubts else "",
    )  # fmt: skip


def _readable(name: str) -> str:
    return name.replace("_", " ")
