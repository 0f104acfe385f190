"""Submissions hold what was predicted, for the people who stay, where the server looks for it."""

import numpy as np
import pytest
import torch

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pipelines.submission.predictions import coco_submission, mpii_submission
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import COCO, MPII, UNION, Skeleton, trained_union, union_channels

FRAME = CropFrame((64, 48))


def people(joints: int) -> Instances:
    """Three boxes of 90 x 120, the first two the same: a view pixel is 2.34375 image pixels."""
    corner = np.array([[100, 50], [100, 50], [300, 20.0]], np.float32)
    return Instances(
        ids=np.arange(3),
        image_ids=np.array([0, 0, 1]),
        paths=np.array(["a.jpg", "a.jpg", "b.jpg"], object),
        image_hw=np.full((3, 2), 600),
        boxes=np.concatenate([corner, corner + np.array([90, 120], np.float32)], axis=1),
        areas=np.full(3, 5000.0, np.float32),
        box_scores=np.array([0.5, 0.75, 1.0], np.float32),
        keypoints=np.zeros((3, joints, 2), np.float32),
        visibility=np.zeros((3, joints), np.int64),
    )


def test_coco_gets_the_surer_of_two_and_the_sets_own_image_ids():
    skeleton = Skeleton(names=("a", "b"), sigmas=(0.05, 0.05))
    keypoints = torch.tensor([[[24.0, 32], [8, 8]]] * 3)
    scores = torch.tensor([[0.8, 0.4], [0.8, 0.4], [0.5, 0.125]])
    results = coco_submission(
        keypoints, scores, people(2), np.array([785, 785, 40083]), FRAME, skeleton,
        EvaluationConfig(),
    )  # fmt: skip
    assert [record["image_id"] for record in results] == [785, 40083]
    assert [record["score"] for record in results] == pytest.approx([0.75 * 0.6, 0.5])
    first, second = (np.reshape(record["keypoints"], (2, 3)) for record in results)
    center = np.array([145, 110])
    step = 1.25 * 90 / 48
    np.testing.assert_allclose(first[:, :2], [center, center - step * np.array([16, 24])])
    np.testing.assert_allclose(first[:, 2], [0.8, 0.4], atol=1e-3)
    np.testing.assert_allclose(second[0], [345, 80, 0.5])


def test_coco_needs_sigmas_to_suppress():
    bare = Skeleton(names=("a", "b"))
    with pytest.raises(BadInput, match="OKS sigmas"):
        coco_submission(
            torch.zeros(3, 2, 2), torch.ones(3, 2), people(2), np.arange(3), FRAME, bare,
            EvaluationConfig(),
        )  # fmt: skip


def test_mpii_gets_everybody_at_his_place_counted_from_one():
    keypoints = torch.full((3, 16, 2), 0.0) + torch.tensor([24.0, 32])
    pred = mpii_submission(
        keypoints, people(16), FRAME, MPII, images=["a.jpg", "b.jpg", "c.jpg"],
        rectangles=[2, 1, 0],
        image=np.array([0, 0, 1]), rectangle=np.array([1, 0, 0]),
    )  # fmt: skip
    assert [len(image["annorect"]) for image in pred] == [2, 1, 0]
    last = pred[1]["annorect"][0]["annopoints"]["point"]
    assert last[15] == {"x": 346, "y": 81, "id": 15}
    assert pred[0]["annorect"][1]["annopoints"]["point"][0] == {"x": 146, "y": 111, "id": 0}


def test_of_a_union_the_sets_own_keypoints_are_handed_in():
    union = trained_union([MPII], MPII)
    assert union.names == UNION.names
    keypoints = torch.arange(24.0).reshape(1, 24, 1).expand(3, 24, 2)
    pred = mpii_submission(
        keypoints, people(24), FRAME, union, images=["a.jpg", "b.jpg"], rectangles=[2, 1],
        image=np.array([0, 0, 1]), rectangle=np.array([1, 0, 0]),
    )  # fmt: skip
    points = pred[1]["annorect"][0]["annopoints"]["point"]
    step = 1.25 * 90 / 48
    channels = np.array(union_channels(MPII))
    np.testing.assert_allclose(
        [p["x"] for p in points], 345 + 1 + step * (channels - 24), atol=1e-4
    )
    assert [p["id"] for p in points] == list(range(16))

    mixed = trained_union([COCO, MPII], COCO)
    results = coco_submission(
        keypoints, torch.arange(24.0).expand(3, 24) + 1, people(24), np.array([7, 7, 8]), FRAME,
        mixed, EvaluationConfig(),
    )  # fmt: skip
    scores = np.reshape(results[0]["keypoints"], (17, 3))[:, 2]
    np.testing.assert_allclose(scores, np.array(union_channels(COCO)) + 1)


def test_mpii_takes_no_other_keypoints():
    with pytest.raises(BadInput, match="MPII's keypoints, found nose"):
        mpii_submission(
            torch.zeros(3, 17, 2), people(17), FRAME, COCO, images=[], rectangles=[],
            image=np.arange(3), rectangle=np.arange(3),
        )  # fmt: skip
