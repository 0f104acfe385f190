"""What servers accept: records as their formats have them, and nothing that they would misread."""

import json

import numpy as np
import pytest

from sspcm_kedro.pose.submission import coco_results, mpii_predictions
from typechecker import unchecked


def test_coco_results_are_the_format():
    keypoints = np.array([[[1.23456, 2], [3, 4]], [[5, 6], [7, 8]]], np.float32)
    joints = np.array([[0.5, 0.25], [1, 0.125]], np.float32)
    results = coco_results(np.array([785, 40083]), keypoints, joints, np.array([0.9, 0.1]))
    assert results == [
        {"image_id": 785, "category_id": 1, "keypoints": [1.235, 2, 0.5, 3, 4, 0.25], "score": 0.9},
        {"image_id": 40083, "category_id": 1, "keypoints": [5, 6, 1, 7, 8, 0.125], "score": 0.1},
    ]
    assert json.loads(json.dumps(results)) == results


def test_of_coco_a_person_has_51_numbers():
    (person,) = coco_results(np.ones(1), np.ones((1, 17, 2)), np.ones((1, 17)), np.ones(1))
    assert len(person["keypoints"]) == 51


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_not_handed_in(wrong):
    keypoints = np.full((1, 2, 2), wrong)
    with pytest.raises(ValueError, match="finite"):
        coco_results(np.ones(1), keypoints, np.ones((1, 2)), np.ones(1))
    with pytest.raises(ValueError, match="one row a person"):
        unchecked(coco_results)(np.ones(2), np.ones((1, 2, 2)), np.ones((1, 2)), np.ones(1))


def test_mpii_predictions_stand_at_their_places_counted_from_one():
    keypoints = np.arange(64.0).reshape(2, 16, 2)
    pred = mpii_predictions(
        ["a.jpg", "b.jpg", "c.jpg"], [2, 0, 1], np.array([2, 0]), np.array([0, 1]), keypoints
    )
    assert [image["image"]["name"] for image in pred] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [len(image["annorect"]) for image in pred] == [2, 0, 1]
    assert pred[0]["annorect"][0]["annopoints"] is None
    points = pred[0]["annorect"][1]["annopoints"]["point"]
    assert [point["id"] for point in points] == list(range(16))
    assert points[0] == {"x": 33, "y": 34, "id": 0}
    assert pred[2]["annorect"][0]["annopoints"]["point"][15] == {"x": 31, "y": 32, "id": 15}


@pytest.mark.parametrize(
    ("image", "rectangle", "says"),
    [
        ([0, 3], [0, 0], "image 3 is not in"),
        ([0, 1], [0, 0], "image 1 is not in"),
        ([0, 0], [0, 2], "person 2 of image 0 is not in"),
        ([0, 0], [1, 1], r"person 1 of image 0 \(a.jpg\) is predicted twice"),
        ([0], [0], "one count an image"),
    ],
)
def test_who_has_no_place_of_his_own_is_refused(image, rectangle, says):
    keypoints = np.zeros((2, 16, 2))
    with pytest.raises(ValueError, match=says):
        unchecked(mpii_predictions)(
            ["a.jpg", "b.jpg", "c.jpg"], [2, 0, 1], np.array(image), np.array(rectangle), keypoints
        )
