"""PCK and OKS-NMS against slow loops; suppression and rescoring, numbers worked by hand."""

import math

import numpy as np
import pytest

from sspcm_kedro.pose.metrics import (
    oks_nms,
    pck,
    pck_hits,
    pck_reference,
    pixel_errors,
    rescore,
)
from sspcm_kedro.pose.skeleton import COCO, LSP
from typechecker import unchecked


@pytest.fixture
def people():
    """Seven people of five keypoints: predicted, truth, visibility (0, 1, 2), areas."""
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 100, (7, 5, 2))
    predicted = truth + rng.normal(0, 8, truth.shape)
    visibility = rng.integers(0, 3, (7, 5))
    visibility[2] = 0
    return predicted, truth, visibility, rng.uniform(400, 9000, 7)


def test_pck_is_the_slow_loop(people):
    predicted, truth, visibility, _ = people
    visibility[:, 3] = 0
    reference = np.array([30.0, 45.0, 60.0, np.nan, 0.0, -5.0, 80.0])

    hits, count = np.zeros(5), np.zeros(5, dtype=int)
    for n in range(7):
        for k in range(5):
            if visibility[n, k] > 0 and reference[n] > 0:
                error = math.dist(predicted[n, k], truth[n, k])
                hits[k] += error <= 0.2 * reference[n]
                count[k] += 1

    score = pck(predicted, truth, visibility, reference)
    assert 0 < hits.sum() < count.sum()
    assert score.mean == pytest.approx(hits.sum() / count.sum())
    assert score.count.tolist() == count.tolist()
    assert math.isnan(score.per_keypoint[3])
    np.testing.assert_allclose(score.per_keypoint[count > 0], hits[count > 0] / count[count > 0])


def test_pck_counts_the_bound_itself_as_a_hit():
    truth = np.zeros((1, 3, 2))
    predicted = np.array([[[3.0, 4.0], [5.001, 0.0], [np.nan, 0.0]]])
    score = pck(predicted, truth, np.ones((1, 3)), np.array([10.0]), threshold=0.5)
    assert score.per_keypoint.tolist() == [1, 0, 0]
    assert score.mean == pytest.approx(1 / 3)


def test_pck_of_nobody_is_nan():
    for people in (0, 2):
        points, unlabeled = np.zeros((people, 4, 2)), np.zeros((people, 4))
        score = pck(points, points, unlabeled, np.ones(people))
        assert math.isnan(score.mean)
        assert np.isnan(score.per_keypoint).all()
        assert score.count.tolist() == [0, 0, 0, 0]


def test_pck_refuses_other_people():
    points = np.zeros((2, 4, 2))
    with pytest.raises(ValueError, match=r"reference must have the shape \(2,\).*got \(1,\)"):
        unchecked(pck_hits)(points, points, np.ones((2, 4)), np.ones(1))
    with pytest.raises(ValueError, match="predicted"):
        unchecked(pck_hits)(points[:1], points, np.ones((2, 4)), np.ones(2))


def test_reference_is_the_torso_or_the_longer_side():
    truth = np.zeros((2, 14, 2))
    truth[:, 9], truth[:, 2] = (10, 20), (40, 60)  # left shoulder, right hip: 30 and 40 apart
    visibility = np.full((2, 14), 2)
    visibility[1, 2] = 0
    boxes = np.array([[0, 0, 30, 80], [10, 10, 110, 50.0]])
    torso = pck_reference(truth, visibility, boxes, LSP.torso)
    assert torso[0] == 50
    assert math.isnan(torso[1])
    assert pck_reference(truth, visibility, boxes, None).tolist() == [80, 100]


def slow_nms(keypoints, scores, areas, sigmas, threshold) -> list[int]:
    """The best of those left; all that resemble a better one go."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        for j in kept:
            scale, terms = (areas[i] + areas[j]) / 2, []
            for (x, y), (u, v), sigma in zip(keypoints[i], keypoints[j], sigmas, strict=True):
                squared = (x - u) ** 2 + (y - v) ** 2
                terms.append(math.exp(-squared / ((2 * sigma) ** 2 * 2 * scale)))
            if sum(terms) / len(terms) > threshold:
                break
        else:
            kept.append(i)
    return kept


def test_nms_is_the_slow_loop():
    """Forty people about eight places: neighbors resemble each other more or less."""
    rng = np.random.default_rng(5)
    places = np.repeat(rng.uniform(0, 400, (8, 5, 2)), 5, axis=0)
    keypoints = (places + rng.normal(0, 6, places.shape)).astype(np.float32)
    scores, areas = rng.random(40), rng.uniform(400, 9000, 40)
    sigmas = [0.026, 0.079, 0.107, 0.087, 0.062]
    for threshold in (0.3, 0.5, 0.7):
        kept = oks_nms(keypoints, scores, areas, sigmas, threshold=threshold).tolist()
        assert kept == slow_nms(keypoints.tolist(), scores, areas, sigmas, threshold)
        assert 8 < len(kept) < 40, "some of a place stay and some go"


def test_oks_at_two_sigma_is_the_root_of_e():
    """An error of 2 sigma sqrt(area) is one standard deviation: exp(-1/2)."""
    people = np.full((2, 17, 2), 50.0, dtype=np.float32)
    people[1, :, 1] += 2 * np.array(COCO.sigmas, dtype=np.float32) * 80
    scores, areas, bound = np.array([0.9, 0.8]), np.full(2, 6400.0), math.exp(-0.5)
    for threshold, kept in ((bound - 1e-5, [0]), (bound + 1e-5, [0, 1])):
        found = oks_nms(people, scores, areas, COCO.sigmas, threshold=threshold)
        assert found.tolist() == kept


def test_oks_of_an_empty_area_is_a_number():
    """1 of the same points and 0 of others: nothing divides by 0."""
    points = np.zeros((3, 2, 2)) + np.array([0, 0, 9])[:, None, None]
    scores = np.array([0.9, 0.8, 0.7])
    assert oks_nms(points, scores, np.zeros(3), [0.1, 0.1], threshold=0.999).tolist() == [0, 2]
    assert oks_nms(points, scores, np.zeros(3), [0.1, 0.1], threshold=0.0).tolist() == [0, 2]


def test_nms_keeps_the_best_of_each_cluster():
    """Sigma 0.5 makes (2 sigma)^2 = 1, so OKS = exp(-d^2 / 200) at an area of 100."""
    shift = np.array([0.0, 4.0, 8.0, 300.0])  # OKS: 0 and 1 0.923, 1 and 2 0.923, 0 and 2 0.726
    keypoints = np.repeat(shift, 3).reshape(4, 3, 1) * [1.0, 0.0]
    areas, sigmas = np.full(4, 100.0), [0.5, 0.5, 0.5]
    scores = np.array([0.9, 0.8, 0.7, 0.95])
    assert oks_nms(keypoints, scores, areas, sigmas).tolist() == [3, 0, 2]
    assert oks_nms(keypoints, scores, areas, sigmas, threshold=0.93).tolist() == [3, 0, 1, 2]
    assert oks_nms(keypoints, scores, areas, sigmas, threshold=0.7).tolist() == [3, 0]
    middle_first = np.array([0.7, 0.9, 0.8, 0.1])
    assert oks_nms(keypoints, middle_first, areas, sigmas).tolist() == [1, 3]


def test_nms_takes_the_mean_of_the_areas():
    """d = 4, so OKS is exp(-16 / 200) = 0.923 at a mean area of 100 and 0.852 at one of 50."""
    keypoints = np.array([[[0.0, 0.0]], [[0.0, 4.0]]])
    scores = np.array([1.0, 0.5])
    for areas, kept in (((150.0, 50.0), [0]), ((90.0, 10.0), [0, 1])):
        assert oks_nms(keypoints, scores, np.array(areas), [0.5]).tolist() == kept


def test_nms_of_equals_keeps_the_first_and_of_nobody_nobody():
    keypoints = np.zeros((3, 2, 2))
    assert oks_nms(keypoints, np.ones(3), np.ones(3), [0.1, 0.1]).tolist() == [0]
    assert oks_nms(keypoints[:0], np.ones(0), np.ones(0), [0.1, 0.1]).tolist() == []


def test_rescore_takes_the_mean_of_clear_keypoints():
    joints = np.array([[0.9, 0.2, 0.3], [0.1, 0.2, 0.0], [0.5, 0.5, 0.5]])
    scores = rescore(np.array([1.0, 1.0, 0.8]), joints)
    np.testing.assert_allclose(scores, [0.6, 0.0, 0.4])
    np.testing.assert_allclose(rescore(np.ones(3), joints, threshold=0.4), [0.9, 0.0, 0.5])


def test_errors_by_hand():
    """Distances 5, 13 and 1 of labeled keypoints; boxes of longer sides 100 and 50."""
    truth = np.zeros((3, 2, 2))
    predicted = np.array([[[3, 4], [5, 12]], [[0, 1], [500, 0]], [[9, 9], [9, 9]]], float)
    visibility = np.array([[2, 1], [2, 0], [0, 0]])
    boxes = np.array([[0, 0, 100, 40], [10, 10, 30, 60], [0, 0, 1, 1]])
    found = pixel_errors(predicted, truth, visibility, boxes)
    assert found["error_px"] == pytest.approx(19 / 3)  # over keypoints; over people it were 5
    assert found["median_error_px"] == 5
    assert found["error_box"] == pytest.approx((0.05 + 0.13 + 0.02) / 3)
    nothing = pixel_errors(predicted, truth, 0 * visibility, boxes)
    assert list(nothing) == list(found) and all(np.isnan(value) for value in nothing.values())
