"""PCKh against a transcription of the evaluator's definition, one by one, in its own frame."""

import math

import numpy as np
import pytest

from sspcm_kedro.pose.metrics import pckh

NAMES = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis",
    "thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder",
    "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip
COLUMNS = {
    "head": [9], "shoulder": [13, 12], "elbow": [14, 11], "wrist": [15, 10], "hip": [3, 2],
    "knee": [4, 1], "ankle": [5, 0],
}  # fmt: skip


def head_sizes(boxes) -> np.ndarray:
    """0.6 of the diagonals of head boxes."""
    return np.array([0.6 * math.hypot(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes])


@pytest.fixture
def people():
    """Predictions and truth counted from 0, who is missing, head boxes."""
    rng = np.random.default_rng(12)
    truth = rng.uniform(0, 400, (40, 16, 2))
    predicted = truth + rng.normal(0, 18, truth.shape) * rng.uniform(0.1, 2, (16, 1))
    missing = rng.random((40, 16)) < 0.2
    corner = rng.uniform(0, 300, (40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 90, (40, 2))], axis=1)
    return predicted, truth, missing, boxes


def by_loops(predicted, truth, missing, boxes, bound):
    """Hits and counts of each keypoint: both sides in Matlab's pixels, head size 0.6 diagonals."""
    hits, count = [0] * 16, [0] * 16
    for person in range(len(truth)):
        x0, y0, x1, y1 = boxes[person]
        head = 0.6 * math.hypot(x1 - x0, y1 - y0)
        for joint in range(16):
            if missing[person, joint]:
                continue
            ours = [value + 1 for value in predicted[person, joint]]
            theirs = [value + 1 for value in truth[person, joint]]
            hits[joint] += math.dist(ours, theirs) / head <= bound
            count[joint] += 1
    return hits, count


def test_it_is_the_evaluators_definition(people):
    predicted, truth, missing, boxes = people
    scores = pckh(predicted, truth, 2 * ~missing, head_sizes(boxes), NAMES)
    hits, count = by_loops(*people, 0.5)
    total = sum(c for joint, c in enumerate(count) if joint not in (6, 7))
    mean = sum(
        (h / c) * (c / total)
        for joint, (h, c) in enumerate(zip(hits, count, strict=True))
        if joint not in (6, 7)
    )
    assert 0.2 < mean < 0.9
    assert scores["PCKh"] == pytest.approx(mean)
    for column, joints in COLUMNS.items():
        expected = sum(hits[joint] / count[joint] for joint in joints) / len(joints)
        assert scores[f"PCKh_{column}"] == pytest.approx(expected), column
    tenth, _ = by_loops(*people, 0.1)
    expected = sum(h for joint, h in enumerate(tenth) if joint not in (6, 7)) / total
    assert scores["PCKh0.1"] == pytest.approx(expected)
    assert len(scores) == 9


def test_worked_by_hand():
    """A head box of 30 x 40 has a size of 30, so 15 pixels are tolerated, the bound included."""
    truth = np.zeros((2, 16, 2))
    predicted = truth.copy()
    predicted[0, 13] = (9, 12)  # 15 off: found
    predicted[1, 13] = (9, 12.1)  # just not
    predicted[:, 6:8] = 500  # pelvis and thorax do not count
    predicted[1, 10] = 500  # missing there, so it does not count
    visibility = np.ones((2, 16))
    visibility[1, 10] = 0
    scores = pckh(predicted, truth, visibility, head_sizes([[5, 5, 35, 45]] * 2), NAMES)
    assert scores["PCKh_shoulder"] == pytest.approx((0.5 + 1) / 2)
    assert scores["PCKh_wrist"] == 1
    assert scores["PCKh"] == pytest.approx(26 / 27)
    assert scores["PCKh0.1"] == pytest.approx(25 / 27)


def test_other_keypoints_and_sizes_are_refused(people):
    predicted, truth, missing, boxes = people
    with pytest.raises(ValueError, match=r"MPII's keypoints, and \['head_top'\]"):
        names = [name if name != "head_top" else "skull" for name in NAMES]
        pckh(predicted, truth, ~missing, head_sizes(boxes), names)
    for wrong in (0.0, np.nan):
        sizes = head_sizes(boxes)
        sizes[3] = wrong
        with pytest.raises(ValueError, match="must be positive"):
            pckh(predicted, truth, ~missing, sizes, NAMES)
