"""What evaluation servers accept, as plain lists and dicts; ``datasets.submission`` writes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Real, Shaped

from sspcm_kedro.pose.coco_ap import PERSON

Record = dict[str, Any]
"""One entry of a file to hand in, JSON-able."""


def coco_results(
    image_ids: Shaped[np.ndarray, " n"],
    keypoints: Real[np.ndarray, "n k 2"],
    keypoint_scores: Real[np.ndarray, "n k"],
    scores: Real[np.ndarray, " n"],
) -> list[Record]:
    """COCO's keypoint results: one record a person, in the order given.

    Args:
        image_ids: COCO's own ids.
        keypoints: points (x, y) in image pixels, counted from 0.
        keypoint_scores: heatmap maxima, in the place of visibility as HRNet writes them.
        scores: confidence of the person, after rescoring and OKS-NMS.

    Raises:
        ValueError: if the lengths differ, or a number is not finite, which is no JSON.
    """
    if not len(image_ids) == len(keypoints) == len(keypoint_scores) == len(scores):
        raise ValueError("one row a person: image_ids, keypoints, keypoint_scores and scores")
    triples = np.concatenate([keypoints, keypoint_scores[..., None]], axis=-1, dtype=np.float64)
    if not (np.isfinite(triples).all() and np.isfinite(scores).all()):
        raise ValueError("keypoints and scores must be finite, got nan or inf")
    return [
        {
            "image_id": int(image),
            "category_id": PERSON,
            "keypoints": person.round(3).ravel().tolist(),  # a thousandth of a pixel
            "score": float(score),
        }
        for image, person, score in zip(image_ids, triples, scores, strict=True)
    ]


def mpii_predictions(
    images: Sequence[str],
    rectangles: Sequence[int],
    image: Int[np.ndarray, " n"],
    rectangle: Int[np.ndarray, " n"],
    keypoints: Real[np.ndarray, "n k 2"],
) -> list[Record]:
    """MPII's ``pred``: its list of test images, with points for the people that were predicted.

    The server reads ``pred(i).annorect(r).annopoints.point(p)``, so images and rectangles have the
    places that they have in ``RELEASE.annolist(RELEASE.img_train == 0)``. Pixels count from 1 there
    and ids of keypoints from 0.

    Args:
        images: names of all test images, in the order of the release.
        rectangles: how many people each of them lists.
        image: places in ``images``, from 0, of the predicted people.
        rectangle: their places, from 0, in their image's list.
        keypoints: MPII's 16 points (x, y) in image pixels, counted from 0.

    Raises:
        ValueError: if a person has no place, or two have one.
    """
    if len(images) != len(rectangles) or not len(image) == len(rectangle) == len(keypoints):
        raise ValueError("one count an image; one image, rectangle and row of keypoints a person")
    pred: list[Record] = [
        {"image": {"name": name}, "annorect": [{"annopoints": None} for _ in range(count)]}
        for name, count in zip(images, rectangles, strict=True)
    ]
    for i, r, points in zip(image, rectangle, np.asarray(keypoints, np.float64), strict=True):
        if not (0 <= i < len(pred) and 0 <= r < rectangles[i]):
            raise ValueError(f"person {r} of image {i} is not in the release's list")
        person = pred[i]["annorect"][r]
        if person["annopoints"] is not None:
            raise ValueError(f"person {r} of image {i} ({images[i]}) is predicted twice")
        person["annopoints"] = {
            "point": [
                {"x": float(x) + 1, "y": float(y) + 1, "id": number}
                for number, (x, y) in enumerate(points)
            ]
        }
    return pred
