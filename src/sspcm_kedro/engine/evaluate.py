"""Predictions to scored people, and to the metrics; ``METRICS`` names each metric once."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.aic_ap import aic_ap
from sspcm_kedro.pose.coco_ap import Detections, IgnoredInstances, coco_ap
from sspcm_kedro.pose.geometry import CropFrame, crop_extents
from sspcm_kedro.pose.metrics import (
    PCKH_GROUPS,
    PckScores,
    oks_nms,
    pck,
    pck_reference,
    pckh,
    pixel_errors,
    rescore,
)
from sspcm_kedro.pose.skeleton import Skeleton

Protocol = Literal["coco", "aic", "pckh", "pck"]


@dataclass(frozen=True)
class Metric:
    """A number that ``evaluate`` gives.

    Attributes:
        name: its key in metrics.json, in histories (``<network>/<name>``) and in tracking.
        protocol: that gives it; every protocol if None.
        description: for the report.
        shown: "report": in report.html alone; "table": also in the terminal's table; "headline":
            also as a learning curve and as tracking's ``final/<network>/<name>``.
        higher_is_better: what counts as a gain.
    """

    name: str
    protocol: Protocol | None
    description: str
    shown: Literal["headline", "table", "report"] = "report"
    higher_is_better: bool = True


METRICS = (
    Metric("AP", "coco", "OKS AP, mean over OKS of 0.50 to 0.95", "headline"),
    Metric("AP50", "coco", "OKS AP at 0.50", "table"),
    Metric("AP75", "coco", "OKS AP at 0.75"),
    Metric("APM", "coco", "OKS AP of medium people"),
    Metric("APL", "coco", "OKS AP of large people"),
    Metric("AR", "coco", "OKS AR, mean over OKS of 0.50 to 0.95", "table"),
    Metric("AR50", "coco", "OKS AR at 0.50"),
    Metric("AR75", "coco", "OKS AR at 0.75"),
    Metric("ARM", "coco", "OKS AR of medium people"),
    Metric("ARL", "coco", "OKS AR of large people"),
    Metric("AIC_AP", "aic", "AI Challenger's score, a mean over OKS of 0.50 to 0.95", "headline"),
    Metric("PCKh", "pckh", "keypoints within half a head size", "headline"),
    Metric("PCKh0.1", "pckh", "keypoints within a tenth of a head size"),
    *(Metric(f"PCKh_{part}", "pckh", f"PCKh of the {part}") for part in PCKH_GROUPS),
    Metric("PCK", None, "keypoints within a share of its unit, torso or box", "headline"),
    Metric("error_px", None, "mean error of a keypoint, image pixels", "headline", False),
    Metric("median_error_px", None, "median error of a keypoint, image pixels", "table", False),
    Metric("error_box", None, "mean error as a share of the box's longer side", "table", False),
)
"""Every metric, in the order of tables and curves. Curves, tables, report and tracking follow."""

HEADLINES = tuple(metric.name for metric in METRICS if metric.shown == "headline")
"""The one number of each protocol, and those of every protocol: PCK and the mean error."""


class EvaluationConfig(Settings):
    """How the trained networks' predictions are made and evaluated.

    Protocols: ``coco`` is OKS AP with the areas of the source (for CrowdPose and fisheye 0.53 of
    the box), where there are sigmas; ``aic`` AI Challenger's score; ``pckh`` MPII's; ``pck`` alone.
    PCK and errors come with each.
    """

    key: ClassVar[str] = "evaluation"

    protocol: Protocol = "coco"
    flip_test: bool = True
    pck_threshold: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="share of the torso's length, or without a torso of the longer box side",
    )
    nms_threshold: float = Field(
        default=0.9, gt=0, le=1, description="OKS above which people are one"
    )
    score_threshold: float = Field(
        default=0.2, ge=0, le=1, description="keypoints below do not re-score a box"
    )

    def averages_mirrored(self, view: ViewConfig) -> bool:
        """Whether predictions are averaged with those of the mirrored view: ``flip_test``.

        Args:
            view: what the network was trained by.

        Raises:
            BadInput: they would be, and training mirrors nothing: the network has never seen a
                mirrored person.
        """
        if self.flip_test and not view.mirrors:
            rule = "must be false where training mirrors nobody (view.weak.flip_probability = 0)"
            remedy = f"Set {self.key}.flip_test=false, or train with mirrored views"
            raise BadInput(f"{self.key}.flip_test = true", rule, remedy)
        return self.flip_test


@dataclass(frozen=True)
class Scores:
    """Scores of one network.

    Attributes:
        scores: those of ``METRICS`` that the protocol gives, 0 to 1; errors in their own units.
        pck: PCK keypoint by keypoint.
    """

    scores: dict[str, float]
    pck: PckScores


def evaluate(
    keypoints: Tensor,
    scores: Tensor,
    people: Instances,
    frame: CropFrame,
    skeleton: Skeleton,
    config: EvaluationConfig,
    ignored: Instances | None = None,
) -> Scores:
    """The scores of predictions against the labels.

    Of a union of skeletons only the evaluated set's own keypoints count, in its own order.

    Args:
        keypoints: predictions (n, k, 2), canonical input pixels.
        scores: (n, k) heatmap maxima.
        people: the labels (n).
        frame: the crops that the predictions are of.
        skeleton: the k keypoints. Without OKS sigmas protocol ``coco`` has no AP.
        config: the protocol and its thresholds.
        ignored: people without labels on the same images, for protocol ``coco``; those of the
            annotation file belong here to compare with published numbers.

    Raises:
        BadInput: the protocol needs what the people or their skeleton do not have.
    """
    channels = list(skeleton.evaluated_channels)
    keypoints, scores = keypoints[:, channels], scores[:, channels]
    people, skeleton = people.gather(channels), skeleton.evaluated
    predicted = to_image(keypoints, people, frame)
    reference = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)
    hits = pck(
        predicted, people.keypoints, people.visibility, reference, threshold=config.pck_threshold
    )
    protocol, counted = config.protocol, {}
    if protocol == "pckh":
        sizes = head_sizes(people)
        counted = pckh(predicted, people.keypoints, people.visibility, sizes, skeleton.names)
    elif protocol == "aic" or (protocol == "coco" and skeleton.sigmas):
        sigmas = sigmas_of(skeleton, config)
        _, detections = detect(predicted, scores, people, frame, sigmas, config)
        if protocol == "coco":
            counted = coco_ap(people, detections, sigmas, ignored_instances(ignored))
        else:
            counted = {"AIC_AP": aic_ap(people, detections, sigmas)}
    errors = pixel_errors(predicted, people.keypoints, people.visibility, people.boxes)
    return Scores({**counted, "PCK": hits.mean, **errors}, hits)


def detect(
    predicted: np.ndarray,
    scores: Tensor,
    people: Instances,
    frame: CropFrame,
    sigmas: np.ndarray,
    config: EvaluationConfig,
) -> tuple[np.ndarray, Detections]:
    """Re-scored people after OKS-NMS: of two that are one, the better scored one.

    As the published code: the area that OKS-NMS measures by is that of the crop, so with context.

    Args:
        predicted: (n, k, 2) image pixels.
        scores: (n, k) heatmap maxima.
        people: whose boxes were predicted on (n).
        frame: the crops that they were predicted on.
        sigmas: (k) OKS sigmas.
        config: the thresholds.

    Returns:
        The rows that stay, image by image, best first; and what they are.
    """
    rescored = rescore(people.box_scores, scores.numpy(), threshold=config.score_threshold)
    areas = crop_extents(people.boxes, frame)[1].prod(axis=1)
    order = np.argsort(people.image_ids, kind="stable")
    borders = np.flatnonzero(np.diff(people.image_ids[order])) + 1
    rows = np.concatenate([
        image[oks_nms(predicted[image], rescored[image], areas[image], sigmas,
                      threshold=config.nms_threshold)]
        for image in np.split(order, borders)
    ])  # fmt: skip
    return rows, Detections(people.image_ids[rows], predicted[rows], rescored[rows])


def sigmas_of(skeleton: Skeleton, config: EvaluationConfig) -> np.ndarray:
    """The skeleton's OKS sigmas (k).

    Raises:
        BadInput: it has none.
    """
    if not skeleton.sigmas:
        rule = "the skeleton must have OKS sigmas, and it has none"
        remedy = "Use protocol pck, or give the source sigmas"
        raise BadInput(f"evaluation.protocol = {config.protocol}", rule, remedy)
    return np.asarray(skeleton.sigmas)


def head_sizes(people: Instances) -> np.ndarray:
    """MPII's head sizes (n), image pixels.

    Raises:
        BadInput: somebody has none.
    """
    sizes = people.head_sizes.astype(np.float64)
    if not (sizes > 0).all():
        rule = "every person must have a head size (column head_size), and some have none"
        remedy = "Use a source that has them (MPII), or protocol pck"
        raise BadInput("evaluation.protocol = pckh", rule, remedy)
    return sizes


def ignored_instances(people: Instances | None) -> IgnoredInstances | None:
    """People whom protocol ``coco`` ignores, as ``coco_ap`` takes them."""
    if people is None:
        return None
    return IgnoredInstances(people.image_ids, people.boxes, people.areas, people.crowds)
