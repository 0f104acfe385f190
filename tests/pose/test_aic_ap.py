"""AI Challenger's score against a transcription of its definition in plain loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from sspcm_kedro.pose.aic_ap import aic_ap
from sspcm_kedro.pose.coco_ap import Detections

SIGMAS = np.array([0.014, 0.015, 0.011, 0.039])


@pytest.fixture
def sides():
    """Twelve people on five images; two have no visible keypoint, one image no detection."""
    rng = np.random.default_rng(6)
    images = np.array([3, 3, 3, 5, 5, 8, 8, 8, 8, 9, 11, 11])
    corner = rng.uniform(0, 300, (12, 2))
    size = rng.uniform(80, 200, (12, 2))
    keypoints = corner[:, None] + rng.random((12, 4, 2)) * size[:, None]
    visibility = rng.integers(0, 3, (12, 4))
    visibility[:, 0] = 2
    visibility[[2, 7]] = 1
    truth = SimpleNamespace(
        image_ids=images, keypoints=keypoints, visibility=visibility,
        areas=np.zeros(12), boxes=np.concatenate([corner, corner + size], axis=1),
    )  # fmt: skip
    seen = keypoints + rng.normal(0, 2.5, keypoints.shape)
    extra = rng.uniform(0, 400, (3, 4, 2))
    keep = images != 9
    found = Detections(
        np.concatenate([images[keep], [3, 5, 70]]),
        np.concatenate([seen[keep], extra]),
        np.ones(14),
    )
    return truth, found


def by_loops(truth, found) -> float:
    """For each image a table of OKS; rows' maxima; all counted against the longer side."""
    best, count = [], 0
    for image in sorted(set(truth.image_ids.tolist())):
        people = [i for i in range(len(truth.image_ids)) if truth.image_ids[i] == image]
        seen = [j for j in range(len(found.image_ids)) if found.image_ids[j] == image]
        count += max(len(people), len(seen))
        for i in people:
            x0, y0, x1, y1 = truth.boxes[i]
            row = [0.0]
            joints = [k for k in range(4) if truth.visibility[i, k] == 2]
            for j in seen:
                terms = []
                for k in joints:
                    squared = math.dist(truth.keypoints[i, k], found.keypoints[j, k]) ** 2
                    delta = 2 * SIGMAS[k]
                    terms.append(math.exp(-squared / 2 / delta**2 / ((y1 - y0) * (x1 - x0) + 1)))
                row.append(sum(terms) / len(terms) if terms else 0.0)
            best.append(max(row))
    thresholds = [0.5 + 0.05 * step for step in range(10)]
    return sum(sum(b > t for b in best) / count for t in thresholds) / 10


def test_it_is_the_definition(sides):
    expected = by_loops(*sides)
    assert 0.2 < expected < 0.8
    assert aic_ap(*sides, SIGMAS) == pytest.approx(expected)


def test_worked_by_hand(sides):
    """Perfect but for people without a visible keypoint (2), undetected (1) and false ones (1).

    On images 3 and 5 an extra detection makes the longer side; the one on image 70, where nobody
    is, costs nothing.
    """
    truth, found = sides
    found.keypoints[:11] = truth.keypoints[truth.image_ids != 9]
    assert aic_ap(truth, found, SIGMAS) == pytest.approx((12 - 3) / 14)


def test_every_person_takes_the_best_whoever_else_took_it():
    """Two people at one place and one detection: both are found, as the definition has it."""
    keypoints = np.array([[[10.0, 20], [30, 40]]] * 2)
    truth = SimpleNamespace(
        image_ids=np.array([1, 1]), keypoints=keypoints, visibility=np.full((2, 2), 2),
        areas=np.zeros(2), boxes=np.array([[0, 0, 50, 60.0]] * 2),
    )  # fmt: skip
    found = Detections(np.array([1]), keypoints[:1], np.array([0.3]))
    assert aic_ap(truth, found, SIGMAS[:2]) == 1


def test_of_nobody_it_is_nan(sides):
    truth, found = sides
    nobody = SimpleNamespace(**{key: value[:0] for key, value in vars(truth).items()})
    assert math.isnan(aic_ap(nobody, found, SIGMAS))
    none = Detections(found.image_ids[:0], found.keypoints[:0], found.scores[:0])
    assert aic_ap(truth, none, SIGMAS) == 0


def test_a_boxs_area_is_counted_with_one_pixel_more():
    """A box of one pixel, an error of one, sigma 1/2: OKS is exp(-1 / (2 x 2)) = 0.78, not 0.61.

    So six of the ten thresholds are passed, .50 to .75, and not three.
    """
    truth = SimpleNamespace(
        image_ids=np.array([1]), keypoints=np.array([[[5.0, 5.0]]]), visibility=np.array([[2]]),
        areas=np.ones(1), boxes=np.array([[5.0, 5, 6, 6]]),
    )  # fmt: skip
    found = Detections(np.array([1]), np.array([[[6.0, 5.0]]]), np.ones(1))
    assert aic_ap(truth, found, [0.5]) == pytest.approx(0.6)
