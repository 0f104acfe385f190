"""AI Challenger's own score, called average precision: it knows neither precision nor recall."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from sspcm_kedro.pose.coco_ap import Detections, LabeledInstances

_VISIBLE = 2
_THRESHOLDS = np.linspace(0.5, 0.95, 10)


def aic_ap(
    truth: LabeledInstances, detections: Detections,
    sigmas: Sequence[float] | Float[np.ndarray, " k"],
) -> float:  # fmt: skip
    """The score of AI Challenger's keypoint track, 0 to 1; nan where nobody is to be found.

    Each true person has the best OKS of any detection on the image, matched or not; the score is
    the share above a threshold, averaged over .50:.05:.95. An image counts as many people as it has
    on the side that has more, so false detections cost. Images without true people do not count.
    OKS is over fully visible keypoints alone, with e = d^2 / (2 (2 sigma)^2 (box area + 1)); a
    person without any has an OKS of 0.

    Source: ``keypoint_eval.py`` of AI Challenger.

    Args:
        truth: the true people (visibility 2 where AI Challenger says 1, visible).
        detections: the predicted people; their scores are not read.
        sigmas: k OKS sigmas of the skeleton.
    """
    _, reached, counts = aic_counts(truth, detections, sigmas)
    if counts.sum() == 0:
        return float("nan")
    return float(np.mean(reached.sum(axis=1) / counts.sum()))


def aic_counts(
    truth: LabeledInstances, detections: Detections,
    sigmas: Sequence[float] | Float[np.ndarray, " k"],
) -> tuple[
    Shaped[np.ndarray, " images"], Int[np.ndarray, "t images"], Int[np.ndarray, " images"]
]:  # fmt: skip
    """What ``aic_ap`` is a share of, image by image.

    Returns:
        The images that have true people, in order; how many of these people are above each of the
        thresholds; and as how many people the image counts.
    """
    images = np.unique(truth.image_ids)
    reached = np.zeros((len(_THRESHOLDS), len(images)), dtype=np.int64)
    counts = np.zeros(len(images), dtype=np.int64)
    for place, image in enumerate(images):
        true = np.flatnonzero(truth.image_ids == image)
        found = detections.keypoints[detections.image_ids == image]
        counts[place] = max(len(true), len(found))
        if len(found):
            best = _similarity(truth, true, found, np.asarray(sigmas)).max(axis=1)
            reached[:, place] = (best > _THRESHOLDS[:, None]).sum(axis=1)
    return images, reached, counts


def _similarity(
    truth: LabeledInstances, rows: Int[np.ndarray, " n"], found: Real[np.ndarray, "m k 2"],
    sigmas: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "n m"]:  # fmt: skip
    """OKS of each of these true people with each detection, in image pixels."""
    points = truth.keypoints[rows].astype(np.float64)
    boxes = truth.boxes[rows].astype(np.float64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    squared = ((points[:, None] - found[None]) ** 2).sum(axis=-1)
    e = squared / (2 * (2 * sigmas) ** 2 * (areas[:, None, None] + 1))
    visible = (truth.visibility[rows] == _VISIBLE)[:, None]
    return (np.exp(-e) * visible).sum(axis=-1) / np.maximum(visible.sum(axis=-1), 1)
