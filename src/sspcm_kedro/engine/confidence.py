"""How likely a keypoint of the network that ships is right, by the height of its heatmap."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.calibration import (
    Calibration,
    cross_probabilities,
    label_errors,
    reliability,
)
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import Skeleton

LOWEST = 1e-3
"""Lower scores are as likely right as this one: the logarithm of none exists."""


@dataclass(frozen=True)
class Confidence:
    """Scores to probabilities: 1 / (1 + exp(-(slope log(score) + offset))).

    It holds for images like those on which it was measured, for keypoints that are there to be
    seen, and for boxes as tight as theirs.

    Attributes:
        slope: of the logarithm of scores.
        offset: what is added.
        tolerance: the error up to which a keypoint is right, in ``unit``.
        unit: of errors, as PCK has it: the torso or the longer side of the box.
        flip_test: whether scores are of the mean with the mirrored view; others are not comparable.
    """

    slope: float
    offset: float
    tolerance: float
    unit: str
    flip_test: bool

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The probabilities (...), float32, of keypoints with such scores (...)."""
        logit = self.slope * np.log(np.maximum(scores, LOWEST)) + self.offset
        return (1 / (1 + np.exp(-logit))).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Confidence":
        """What ``to_dict`` gave."""
        return cls(**values)

    @classmethod
    def in_report(cls, report: dict[str, Any]) -> "Confidence | None":
        """The ``confidence`` that evaluation has stored with its reliability; None of an empty
        report: nobody could be measured."""
        return cls.from_dict(report["confidence"]) if report else None


def measure_confidence(
    keypoints: Tensor,
    scores: Tensor,
    people: Instances,
    skeleton: Skeleton,
    frame: CropFrame,
    *,
    tolerance: float,
    flip_test: bool,
) -> tuple[Confidence, dict[str, Any]] | None:
    """Probabilities for a network's scores, and how true they are of people not fitted on.

    Args:
        keypoints: the network's for the people (n, k, 2), in canonical input pixels.
        scores: of them (n, k).
        people: with their labels; the network has not learned from them.
        skeleton: gives the PCK unit, and the keypoints that are evaluated.
        frame: the crops that the predictions are of.
        tolerance: of right keypoints, in PCK units.
        flip_test: whether the mirrored view is averaged in.

    Returns:
        The fitted curve, and what ``calibration.reliability`` tells of it, every keypoint by a
        curve that is fitted without its person; None where of fewer than two people the truth is
        known in PCK units.

    Source: Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    channels = list(skeleton.evaluated_channels)
    people, skeleton = people.gather(channels), skeleton.evaluated
    errors = label_errors(keypoints[:, channels], people, skeleton, frame)
    known = np.isfinite(errors)
    whose = np.nonzero(known)[0]
    if len(np.unique(whose)) < 2:
        return None
    heights = scores[:, channels].double().numpy()[known]
    logs, right = np.log(np.maximum(heights, LOWEST))[:, None], errors[known] <= tolerance
    report = reliability(cross_probabilities(logs, right, whose), errors[known], tolerance)
    (slope,), offset = Calibration(logs, right).line()
    fitted = Confidence(slope, offset, tolerance, skeleton.pck_unit, flip_test)
    return fitted, {"people": len(np.unique(whose)), **report}
