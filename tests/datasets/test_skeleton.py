"""Skeletons come back from their files as they were."""

import json

import pytest

from sspcm_kedro.datasets.skeleton import SkeletonDataset
from sspcm_kedro.pose.skeleton import COCO, LSP, MPII, Skeleton, trained_union


@pytest.mark.parametrize(
    "skeleton",
    [COCO, MPII, LSP, trained_union([COCO, MPII], MPII), Skeleton(names=("a", "b"))],
    ids=["coco", "mpii", "lsp", "union", "bare"],
)
def test_a_skeleton_and_back(skeleton, tmp_path):
    dataset = SkeletonDataset(str(tmp_path / "03_primary" / "skeleton.json"))
    assert not dataset.exists()
    dataset.save(skeleton)
    assert dataset.load() == skeleton
    assert dataset.load().evaluated == skeleton.evaluated


def test_the_file_is_json_that_others_can_read(tmp_path):
    file = tmp_path / "skeleton.json"
    SkeletonDataset(str(file)).save(COCO)
    content = json.loads(file.read_text())
    assert content["names"][0] == "nose" and len(content["sigmas"]) == 17
    assert json.loads(str(SkeletonDataset(str(file)).preview())) == content
    assert [f.name for f in tmp_path.iterdir()] == ["skeleton.json"]
