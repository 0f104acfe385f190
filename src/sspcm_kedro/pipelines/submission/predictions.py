"""Predictions to what an evaluation server takes."""

from typing import Any

import numpy as np
from torch import Tensor

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.evaluate import EvaluationConfig, detect, sigmas_of
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import MPII, Skeleton
from sspcm_kedro.pose.submission import coco_results, mpii_predictions


def coco_submission(
    keypoints: Tensor,
    scores: Tensor,
    people: Instances,
    image_ids: np.ndarray,
    frame: CropFrame,
    skeleton: Skeleton,
    config: EvaluationConfig,
) -> list[dict[str, Any]]:
    """COCO's results, as ``pose.submission.coco_results`` gives them.

    Exactly what ``evaluate`` scores: re-scored, after OKS-NMS, of a union the evaluated keypoints.

    Args:
        keypoints: (n, k, 2) predictions, canonical input pixels.
        scores: (n, k) heatmap maxima.
        people: whose boxes were predicted on (n), usually detected ones.
        image_ids: (n) what COCO calls their images.
        frame: the crops that the predictions are of.
        skeleton: their keypoints, with OKS sigmas.
        config: the thresholds.
    """
    channels = list(skeleton.evaluated_channels)
    predicted, scores = to_image(keypoints[:, channels], people, frame), scores[:, channels]
    sigmas = sigmas_of(skeleton.evaluated, config)
    rows, kept = detect(predicted, scores, people, frame, sigmas, config)
    return coco_results(image_ids[rows], kept.keypoints, scores.numpy()[rows], kept.scores)


def mpii_submission(
    keypoints: Tensor,
    people: Instances,
    frame: CropFrame,
    skeleton: Skeleton,
    *,
    images: list[str],
    rectangles: list[int],
    image: np.ndarray,
    rectangle: np.ndarray,
) -> list[dict[str, Any]]:
    """MPII's ``pred``, as ``pose.submission.mpii_predictions`` gives it.

    Args:
        keypoints: (n, k, 2) predictions, canonical input pixels.
        people: whose they are (n).
        frame: the crops that the predictions are of.
        skeleton: MPII's keypoints, or a union of which those are evaluated.
        images: names of all test images in the order of the release.
        rectangles: how many people each of them lists.
        image: (n) places of the people's images among them.
        rectangle: (n) the people's places in their image's list.

    Raises:
        BadInput: the evaluated keypoints are not MPII's.
    """
    if skeleton.evaluated.names != MPII.names:
        names = ", ".join(skeleton.evaluated.names)
        rule = f"must be predictions of MPII's keypoints, found {names}"
        raise BadInput("submission.kind = mpii", rule, "Use a source that is evaluated on MPII")
    predicted = to_image(keypoints[:, list(skeleton.evaluated_channels)], people, frame)
    return mpii_predictions(images, rectangles, image, rectangle, predicted)
