"""Submission files: other programs read from them what was handed in."""

import json
import zipfile

import numpy as np
import pytest
from scipy.io import loadmat, whosmat

from sspcm_kedro.datasets.submission import CocoSubmissionDataset, MpiiSubmissionDataset
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.submission import mpii_predictions

NAME = "person_keypoints_test-dev2017_sspcm_results"


def test_coco_results_are_a_zip_of_one_file_of_its_name(tmp_path):
    results = [{"image_id": 1, "category_id": 1, "keypoints": [1.5] * 51, "score": 0.5}]
    dataset = CocoSubmissionDataset(str(tmp_path / "out" / f"{NAME}.zip"))
    assert not dataset.exists()
    dataset.save(results)
    with zipfile.ZipFile(tmp_path / "out" / f"{NAME}.zip") as archive:
        assert archive.namelist() == [f"{NAME}.json"]
        assert json.loads(archive.read(f"{NAME}.json")) == results
        assert archive.testzip() is None
    assert dataset.load() == results and dataset.exists()


def test_the_same_results_are_the_same_bytes(tmp_path):
    paths = [tmp_path / folder / f"{NAME}.zip" for folder in ("a", "b")]
    for path in paths:
        CocoSubmissionDataset(str(path)).save([{"image_id": 1}])
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    "name", ["results.zip", f"{NAME}.json", "person_keypoints_val_sspcm_results.zip"]
)
def test_names_that_the_server_refuses_are_refused_at_once(name):
    with pytest.raises(BadInput, match="files named person_keypoints"):
        CocoSubmissionDataset(name)


@pytest.mark.parametrize("name", [NAME, "person_keypoints_val2017_my_net_results"])
def test_names_of_every_set_are_taken(name):
    CocoSubmissionDataset(f"{name}.zip")


def test_a_number_that_is_none_leaves_no_file(tmp_path):
    dataset = CocoSubmissionDataset(str(tmp_path / f"{NAME}.zip"))
    with pytest.raises(Exception, match="Out of range float"):
        dataset.save([{"score": float("nan")}])
    assert list(tmp_path.iterdir()) == []


def test_matlab_finds_every_point_where_mpii_asks_for_it(tmp_path):
    """``pred(i).annorect(r).annopoints.point(p).x``, and nothing where nobody was predicted."""
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 500, (3, 16, 2))
    image, rectangle = np.array([0, 2, 0]), np.array([2, 0, 0])
    pred = mpii_predictions(["a.jpg", "b.jpg", "c.jpg"], [3, 0, 1], image, rectangle, keypoints)
    path = tmp_path / "pred_keypoints_mpii.mat"
    MpiiSubmissionDataset(str(path)).save(pred)
    assert whosmat(path) == [("pred", (1, 3), "struct")]
    read = loadmat(path)["pred"]
    assert [str(read[0, i]["image"][0, 0]["name"][0]) for i in range(3)] == [
        "a.jpg", "b.jpg", "c.jpg"
    ]  # fmt: skip
    assert [read[0, i]["annorect"].shape for i in range(3)] == [(1, 3), (0, 0), (1, 1)]
    assert read[0, 0]["annorect"][0, 1]["annopoints"].shape == (0, 0)
    for person, (i, r) in enumerate(zip(image, rectangle, strict=True)):
        points = read[0, i]["annorect"][0, r]["annopoints"][0, 0]["point"]
        assert points.shape == (1, 16)
        for joint in range(16):
            x, y, number = (points[0, joint][name] for name in ("x", "y", "id"))
            assert x.shape == (1, 1) and x.dtype == np.float64
            assert (x.item(), y.item()) == tuple(keypoints[person, joint] + 1)
            assert number.item() == joint


def test_pred_comes_back(tmp_path):
    dataset = MpiiSubmissionDataset(str(tmp_path / "pred_keypoints_mpii.mat"))
    pred = mpii_predictions(
        ["a.jpg", "b.jpg"], [1, 1], np.array([1]), np.array([0]), np.full((1, 16, 2), 7.5)
    )
    dataset.save(pred)
    loaded = dataset.load()
    assert loaded[1].annorect.annopoints.point[3].x == 8.5
    assert loaded[0].annorect.annopoints.size == 0
    assert list(tmp_path.iterdir()) == [tmp_path / "pred_keypoints_mpii.mat"]
