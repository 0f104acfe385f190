"""How right predicted keypoints are (PCK, PCKh, errors), and what turns people into detections.

Numpy only. Points are (x, y) and lengths in image pixels, areas in square image pixels. A keypoint
is labeled where its visibility is above 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped


@dataclass(frozen=True)
class PckScores:
    """The percentage (here 0 to 1) of correct keypoints.

    Attributes:
        mean: hits over all evaluated keypoints of all people; nan where nothing was evaluated.
        per_keypoint: hits per keypoint; nan where a keypoint was never evaluated.
        count: how many times each keypoint was evaluated.
    """

    mean: float
    per_keypoint: Float[np.ndarray, " k"]
    count: Int[np.ndarray, " k"]


def pck(
    predicted: Real[np.ndarray, "n k 2"],
    truth: Real[np.ndarray, "n k 2"],
    visibility: Shaped[np.ndarray, "n k"],
    reference: Real[np.ndarray, " n"],
    *,
    threshold: float = 0.2,
) -> PckScores:
    """The share of labeled keypoints found within ``threshold`` times a person's reference length.

    Defined as in Yang and Ramanan, "Articulated human detection with flexible mixtures of parts"
    (2013); the mean weighs every keypoint alike, not every person. A predicted nan is a miss.

    Args:
        predicted: points in image pixels.
        truth: the true points, in the same frame.
        visibility: above 0 (or true) where labeled.
        reference: lengths in image pixels; people whose length is nan or not positive are left out.
        threshold: the tolerated share of the reference length; the bound itself is a hit.

    Raises:
        ValueError: if the shapes do not agree.
    """
    hit, evaluated = pck_hits(predicted, truth, visibility, reference, threshold=threshold)
    count = evaluated.sum(axis=0)
    per_keypoint = np.full(count.shape, np.nan)
    np.divide(hit.sum(axis=0), count, out=per_keypoint, where=count > 0)
    mean = float(hit.sum() / count.sum()) if count.sum() else float("nan")
    return PckScores(mean, per_keypoint, count)


def pck_hits(
    predicted: Real[np.ndarray, "n k 2"],
    truth: Real[np.ndarray, "n k 2"],
    visibility: Shaped[np.ndarray, "n k"],
    reference: Real[np.ndarray, " n"],
    *,
    threshold: float = 0.2,
) -> tuple[Bool[np.ndarray, "n k"], Bool[np.ndarray, "n k"]]:
    """Which keypoints PCK counts as found, and which it evaluates; arguments are those of ``pck``.

    Raises:
        ValueError: if the shapes do not agree.
    """
    _check_shape("predicted", predicted, truth.shape)
    _check_shape("truth", truth, (*visibility.shape, 2))
    _check_shape("reference", reference, (len(truth),))
    distance = np.linalg.norm(_float(predicted) - _float(truth), axis=-1)
    evaluated = (visibility > 0) & (reference > 0)[:, None]  # nan > 0 is False
    hit = evaluated & (distance <= threshold * _float(reference)[:, None])
    return hit, evaluated


def pck_reference(
    truth: Real[np.ndarray, "n k 2"],
    visibility: Shaped[np.ndarray, "n k"],
    boxes: Real[np.ndarray, "n 4"],
    torso: tuple[int, int] | None,
) -> Float[np.ndarray, " n"]:
    """The length, in image pixels, that PCK measures each person's errors by.

    Args:
        truth: the true points, in image pixels.
        visibility: above 0 where labeled.
        boxes: of the people, in image pixels; read only without a torso.
        torso: the two keypoints whose distance is the length; people who lack one of them get nan.
            ``None`` takes the longer box side instead.
    """
    if torso is None:
        return _longer_side(boxes)
    length = np.linalg.norm(_float(truth)[:, torso[0]] - _float(truth)[:, torso[1]], axis=-1)
    return np.where((visibility[:, list(torso)] > 0).all(axis=1), length, np.nan)


def pixel_errors(
    predicted: Real[np.ndarray, "n k 2"],
    truth: Real[np.ndarray, "n k 2"],
    visibility: Shaped[np.ndarray, "n k"],
    boxes: Real[np.ndarray, "n 4"],
) -> dict[str, float]:
    """How far predictions lie from labels: over all labeled keypoints of all people.

    Every labeled keypoint weighs alike, so a person counts as often as they have labels, and
    somebody without any does not count.

    Args:
        predicted: points in image pixels.
        truth: the true points, in the same frame.
        visibility: above 0 (or true) where labeled.
        boxes: of the people, x0, y0, x1, y1 in image pixels.

    Returns:
        ``error_px`` and ``median_error_px``, mean and median distance in image pixels, and
        ``error_box``, the mean of the distances as shares of the longer side of the person's box;
        nan where nothing is labeled.

    Raises:
        ValueError: if the shapes do not agree.
    """
    _check_shape("predicted", predicted, truth.shape)
    _check_shape("truth", truth, (*visibility.shape, 2))
    _check_shape("boxes", boxes, (len(truth), 4))
    labeled = visibility > 0
    if not labeled.any():
        return dict.fromkeys(("error_px", "median_error_px", "error_box"), float("nan"))
    distance = np.linalg.norm(_float(predicted) - _float(truth), axis=-1)
    share = distance / _longer_side(boxes)[:, None]
    return {
        "error_px": float(distance[labeled].mean()),
        "median_error_px": float(np.median(distance[labeled])),
        "error_box": float(share[labeled].mean()),
    }


_PAIRED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PCKH_GROUPS = {"head": ("head_top",), **{p: (f"left_{p}", f"right_{p}") for p in _PAIRED}}
"""MPII's table: the names of the keypoints behind each of its columns."""

PCKH_EXCLUDED = ("pelvis", "thorax")
"""Keypoints that MPII's total leaves out."""


def pckh(
    predicted: Real[np.ndarray, "n k 2"],
    truth: Real[np.ndarray, "n k 2"],
    visibility: Shaped[np.ndarray, "n k"],
    sizes: Real[np.ndarray, " n"],
    names: Sequence[str],
) -> dict[str, float]:
    """MPII's PCKh: keypoints found within half a head size (Andriluka et al., CVPR 2014).

    The total weighs every labeled keypoint alike and leaves out pelvis and thorax; a paired column
    is the plain mean of its left and right share. MPII counts pixels from 1 on both sides, which
    the error does not see. Where the published code's "0.1" reads the threshold 0.11, this is 0.10.

    Args:
        predicted: points in image pixels.
        truth: the true points, in the same frame.
        visibility: above 0 (or true) where not missing.
        sizes: head sizes in image pixels, all positive: 0.6 of the diagonal of the head's box.
        names: the k keypoints; those of ``PCKH_GROUPS`` must be among them.

    Returns:
        PCKh and PCKh0.1, 0 to 1, and PCKh_head ... PCKh_ankle; nan where nothing was evaluated.

    Raises:
        ValueError: if shapes do not agree, a keypoint is not there, or a size is not positive.
    """
    absent = sorted({name for group in PCKH_GROUPS.values() for name in group} - set(names))
    if absent:
        raise ValueError(f"PCKh is of MPII's keypoints, and {absent} are not among {list(names)}")
    if not (_float(sizes) > 0).all():
        raise ValueError(f"every head size must be positive, got {float(np.min(sizes))}")
    places = {name: i for i, name in enumerate(names)}
    counted = pckh_visibility(visibility, names)
    half = pck(predicted, truth, counted, sizes, threshold=0.5)
    tenth = pck(predicted, truth, counted, sizes, threshold=0.1)
    columns = {
        f"PCKh_{column}": float(np.mean([half.per_keypoint[places[name]] for name in group]))
        for column, group in PCKH_GROUPS.items()
    }
    return {"PCKh": half.mean, "PCKh0.1": tenth.mean, **columns}


def pckh_visibility(
    visibility: Shaped[np.ndarray, "n k"], names: Sequence[str]
) -> Shaped[np.ndarray, "n k"]:
    """The visibility, 0 for the keypoints that PCKh's total leaves out."""
    return visibility * np.array([name not in PCKH_EXCLUDED for name in names])


def oks_nms(
    keypoints: Real[np.ndarray, "n k 2"],
    scores: Real[np.ndarray, " n"],
    areas: Real[np.ndarray, " n"],
    sigmas: Sequence[float] | Float[np.ndarray, " k"],
    *,
    threshold: float = 0.9,
) -> Int[np.ndarray, " kept"]:
    """Indices of the people of ONE image that survive non-maximum suppression, best first.

    Greedy, as HRNet's ``oks_nms``: the best person drops all others whose OKS with them is above
    the threshold. OKS of two predictions uses all keypoints and the mean of the two areas.

    Args:
        keypoints: predicted people, in image pixels.
        scores: of equal ones the earlier person counts as the better.
        areas: square image pixels (HRNet: of the padded box).
        sigmas: k OKS sigmas, standard deviations as shares of the root of an area.
        threshold: the highest OKS at which two people both stay.

    Raises:
        ValueError: if scores or areas do not have one value a person.
    """
    _check_shape("scores", scores, (len(keypoints),))
    _check_shape("areas", areas, (len(keypoints),))
    _check_shape("sigmas", np.asarray(sigmas), keypoints.shape[1:2])
    points, variance = _float(keypoints), (2 * _float(sigmas)) ** 2
    left = np.argsort(-_float(scores), kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        shared = _float((areas[best] + areas[left]) / 2)[:, None]
        squared = ((points[left] - points[best]) ** 2).sum(axis=-1)
        # The smallest float saves a division by an area of 0.
        overlap = np.exp(-squared / (variance * 2 * (shared + np.spacing(1))))
        left = left[overlap.mean(axis=1) <= threshold]
    return np.array(kept, dtype=np.int64)


def rescore(
    box_scores: Real[np.ndarray, " n"],
    keypoint_scores: Float[np.ndarray, "n k"],
    *,
    threshold: float = 0.2,
) -> Float[np.ndarray, " n"]:
    """Detection scores: box score times the mean of the keypoint scores above the threshold.

    As HRNet's COCO evaluation; 0 where no keypoint is above the threshold.

    Args:
        box_scores: detector confidence; 1 for annotated boxes.
        keypoint_scores: heatmap maxima.
        threshold: keypoints at or below it do not count.

    Raises:
        ValueError: if there is not one row of keypoint scores a box.
    """
    _check_shape("box_scores", box_scores, keypoint_scores.shape[:1])
    clear = keypoint_scores > threshold
    total = np.where(clear, _float(keypoint_scores), 0.0).sum(axis=1)
    return _float(box_scores) * total / np.maximum(clear.sum(axis=1), 1)


def _longer_side(boxes: Real[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """The longer side of each box, in image pixels."""
    return (_float(boxes)[:, 2:] - _float(boxes)[:, :2]).max(axis=1)


def _float(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Double precision: squares of float32 pixels would cost the fourth digit of OKS."""
    return np.asarray(values, dtype=np.float64)


def _check_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse arrays that broadcast but do not describe the same people."""
    if values.shape != shape:
        raise ValueError(
            f"{name} must have the shape {shape} of the other arrays, got {values.shape}; "
            "pass the same people and keypoints to all of them"
        )
