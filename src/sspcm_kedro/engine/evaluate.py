"""Predictions to numbers."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.engine.settings import EvaluationConfig
from sspcm_kedro.pose.coco_ap import Detections, coco_ap
from sspcm_kedro.pose.metrics import Pck, oks_nms, pck, pck_reference, rescore
from sspcm_kedro.pose.skeleton import Skeleton


@dataclass(frozen=True)
class Judgement:
    """Scores of one network.

    Attributes:
        scores: AP, AP50, ..., AR where the skeleton has sigmas, and PCK.
        pck: PCK joint by joint.
    """

    scores: dict[str, float]
    pck: Pck


def judge(
    keypoints: Tensor,
    scores: Tensor,
    people: Instances,
    input_hw: tuple[int, int],
    skeleton: Skeleton,
    config: EvaluationConfig,
) -> Judgement:
    """Compare predictions (n, k, 2) in canonical input pixels, scores (n, k), with the labels.

    OKS AP follows the reference: boxes re-scored by their joints, OKS-NMS an image, pycocotools.
    Of a union of skeletons only the evaluated set's own joints are looked at, in its own order.
    """
    channels = list(skeleton.judged_channels)
    keypoints, scores = keypoints[:, channels], scores[:, channels]
    people, skeleton = people.gather(channels), skeleton.judged
    predicted = to_image(keypoints, people, input_hw)
    reference = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)
    hits = pck(
        predicted, people.keypoints, people.visibility, reference, threshold=config.pck_threshold
    )
    if not skeleton.sigmas:
        return Judgement({"PCK": hits.mean}, hits)
    sigmas = np.asarray(skeleton.sigmas)
    person_scores = rescore(people.box_scores, scores.numpy(), threshold=config.score_threshold)
    kept = []
    for image in np.unique(people.image_ids):
        rows = np.flatnonzero(people.image_ids == image)
        best = oks_nms(
            predicted[rows], person_scores[rows], people.areas[rows], sigmas,
            threshold=config.nms_threshold,
        )  # fmt: skip
        kept.append(rows[best])
    rows = np.concatenate(kept)
    found = Detections(people.image_ids[rows], predicted[rows], person_scores[rows])
    return Judgement({**coco_ap(people, found, sigmas), "PCK": hits.mean}, hits)
