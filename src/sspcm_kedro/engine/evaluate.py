"""Predictions to people worth handing in, and to numbers."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.aic_ap import aic_ap
from sspcm_kedro.pose.coco_ap import Detections, IgnoredInstances, coco_ap
from sspcm_kedro.pose.geometry import crop_extents
from sspcm_kedro.pose.metrics import PckScores, oks_nms, pck, pck_reference, pckh, rescore
from sspcm_kedro.pose.skeleton import Skeleton

HEADLINES = ("AP", "AIC_AP", "PCKh", "PCK")
"""The one number of each protocol."""


class EvaluationConfig(Settings):
    """How the trained networks' predictions are made and evaluated.

    Protocols: ``coco`` is OKS AP with the areas of the source (for CrowdPose and fisheye 0.53 of
    the box), where there are sigmas; ``aic`` AI Challenger's score; ``pckh`` MPII's; ``pck`` alone.
    PCK comes with each.
    """

    protocol: Literal["coco", "aic", "pckh", "pck"] = "coco"
    flip_test: bool = True
    pck_threshold: float = Field(default=0.2, gt=0, description="share of the torso's length")
    nms_threshold: float = Field(
        default=0.9, gt=0, le=1, description="OKS above which people are one"
    )
    score_threshold: float = Field(
        default=0.2, ge=0, description="keypoints below do not re-score a box"
    )


@dataclass(frozen=True)
class Scores:
    """Scores of one network.

    Attributes:
        scores: what the protocol counts (AP, ..., AR; AIC_AP; PCKh, ...), and PCK.
        pck: PCK keypoint by keypoint.
    """

    scores: dict[str, float]
    pck: PckScores


def evaluate(
    keypoints: Tensor,
    scores: Tensor,
    people: Instances,
    input_hw: tuple[int, int],
    skeleton: Skeleton,
    config: EvaluationConfig,
    ignored: Instances | None = None,
) -> Scores:
    """Compare predictions (n, k, 2) in canonical input pixels, scores (n, k), with the labels.

    Of a union of skeletons only the evaluated set's own keypoints are looked at, in its own order.

    Args:
        keypoints: what a network saw.
        scores: its heatmaps' maxima.
        people: the labels (n).
        input_hw: the frame of the predictions.
        skeleton: their keypoints. Without OKS sigmas protocol ``coco`` has PCK only.
        config: the protocol and its thresholds.
        ignored: people without labels on the same images, for protocol ``coco``; those of the
            annotation file belong here to compare with published numbers.

    Raises:
        BadInput: the protocol needs what the people or their skeleton do not have.
    """
    channels = list(skeleton.evaluated_channels)
    keypoints, scores = keypoints[:, channels], scores[:, channels]
    people, skeleton = people.gather(channels), skeleton.evaluated
    predicted = to_image(keypoints, people, input_hw)
    reference = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)
    hits = pck(
        predicted, people.keypoints, people.visibility, reference, threshold=config.pck_threshold
    )
    protocol, found = config.protocol, {}
    if protocol == "pckh":
        sizes = _head_sizes(people)
        found = pckh(predicted, people.keypoints, people.visibility, sizes, skeleton.names)
    elif protocol == "aic" or (protocol == "coco" and skeleton.sigmas):
        sigmas = sigmas_of(skeleton, config)
        _, detections = detect(predicted, scores, people, input_hw, sigmas, config)
        if protocol == "coco":
            found = coco_ap(people, detections, sigmas, _ignored(ignored))
        else:
            found = {"AIC_AP": aic_ap(people, detections, sigmas)}
    return Scores({**found, "PCK": hits.mean}, hits)


def detect(
    predicted: np.ndarray,
    scores: Tensor,
    people: Instances,
    input_hw: tuple[int, int],
    sigmas: np.ndarray,
    config: EvaluationConfig,
) -> tuple[np.ndarray, Detections]:
    """Boxes re-scored by their keypoints, and of people seen twice on an image the surer one.

    As the published code: the area that OKS-NMS measures by is that of the crop, so with context.

    Args:
        predicted: (n, k, 2) image pixels.
        scores: (n, k) heatmap maxima.
        people: whose boxes were looked at (n).
        input_hw: size of the network's input, which gives the crops their aspect.
        sigmas: (k) OKS sigmas.
        config: the thresholds.

    Returns:
        The rows that stay, image by image, best first; and what they are.
    """
    sure = rescore(people.box_scores, scores.numpy(), threshold=config.score_threshold)
    areas = crop_extents(people.boxes, input_hw)[1].prod(axis=1)
    order = np.argsort(people.image_ids, kind="stable")
    borders = np.flatnonzero(np.diff(people.image_ids[order])) + 1
    rows = np.concatenate(
        [
            image[
                oks_nms(
                    predicted[image],
                    sure[image],
                    areas[image],
                    sigmas,
                    threshold=config.nms_threshold,
                )
            ]
            for image in np.split(order, borders)
        ]
    )
    return rows, Detections(people.image_ids[rows], predicted[rows], sure[rows])


def sigmas_of(skeleton: Skeleton, config: EvaluationConfig) -> np.ndarray:
    """The skeleton's OKS sigmas (k).

    Raises:
        BadInput: it has none.
    """
    if not skeleton.sigmas:
        raise BadInput(
            f"evaluation.protocol = {config.protocol}",
            "the skeleton must have OKS sigmas, and it has none",
            "Use protocol pck, or give the source sigmas",
        )
    return np.asarray(skeleton.sigmas)


def _head_sizes(people: Instances) -> np.ndarray:
    """MPII's head sizes (n), image pixels."""
    sizes = people.head_sizes.astype(np.float64)
    if not (sizes > 0).all():
        raise BadInput(
            "evaluation.protocol = pckh",
            "every person must have a head size (column head_size), and some have none",
            "Use a source that has them (MPII), or protocol pck",
        )
    return sizes


def _ignored(people: Instances | None) -> IgnoredInstances | None:
    if people is None:
        return None
    return IgnoredInstances(people.image_ids, people.boxes, people.areas, people.crowds)
