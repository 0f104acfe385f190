"""LSP-extended: only the annotated flag counts, boxes are made from keypoints."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import LSP
from sspcm_kedro.sources.lsp import read_lspet


def joints_matrix(n: int) -> np.ndarray:
    """(14, 3, n): keypoint 0 at (10, 20), keypoint 13 at (30, 60), the rest unannotated junk."""
    joints = np.zeros((14, 3, n))
    joints[:, :2] = -322
    joints[0] = np.array([10, 20, 1])[:, None]
    joints[13] = np.array([30, 60, 1])[:, None]
    return joints


def write(root: Path, joints: object, names: tuple[str, ...] = ("im00001", "im00002")) -> Path:
    (root / "images").mkdir(parents=True)
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    for name in names:
        Image.new("RGB", (80, 62)).save(root / "images" / f"{name}.jpg")
    return root


def test_people_of_a_subset(tmp_path):
    people, skeleton = read_lspet(write(tmp_path, joints_matrix(5), ("im00002", "im0004", "x")))
    assert skeleton is LSP
    assert people.ids.tolist() == people.image_ids.tolist() == [2, 4]
    assert [Path(path).name for path in people.paths] == ["im00002.jpg", "im0004.jpg"]
    assert people.image_hw.tolist() == [[62, 80], [62, 80]]


def test_labels_follow_the_flag_and_not_the_sign(tmp_path):
    joints = joints_matrix(1)
    joints[1, :, 0] = (50, 50, 0)
    joints[0, :, 0] = (-3, 20, 1)
    people, _ = read_lspet(write(tmp_path, joints, ("im00001",)))
    assert people.visibility[0].tolist() == [2, *[0] * 12, 2]
    assert people.keypoints[0, 0].tolist() == [-3, 20]
    assert people.keypoints[0, 1].tolist() == [0, 0]


def test_box_is_enlarged_and_cut(tmp_path):
    people, _ = read_lspet(write(tmp_path, joints_matrix(1), ("im00001",)))
    # keypoints span 20 x 40 around (20, 40): 24 x 44, cut at the last row, 61
    np.testing.assert_allclose(people.boxes, [[8, 18, 32, 61]], rtol=1e-6)
    np.testing.assert_allclose(people.areas, [24 * 43], rtol=1e-6)


def test_people_without_keypoints_are_left_out(tmp_path):
    joints = joints_matrix(2)
    joints[:, 2, 0] = 0
    people, _ = read_lspet(write(tmp_path, joints))
    assert people.ids.tolist() == [2]


def _changed(place: tuple, value: float) -> np.ndarray:
    joints = joints_matrix(2)
    joints[place] = value
    return joints


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (
            np.zeros((3, 14, 2)),
            r"joints\.mat, joints: .*\(14, 3, n\), found \(3, 14, 2\).*LSP",
        ),
        (
            np.array([[{"a": 1}]], object),
            r"joints\.mat, joints: .*real numbers.*Use joints\.mat",
        ),
        (_changed((0, 0, 1), np.nan), r"joints\.mat, column 1: .*finite.*Correct"),
        (
            _changed((0, 2, 1), 2),
            r"joints\.mat, column 1: .*1 \(annotated\) or 0.*Use joints",
        ),
        (_changed((0, 1, 1), 60), r"joints\.mat, column 1: .*span a box.*Remove the image"),
        (_changed(((0, 13), 0), 900), r"column 0: .*one line \(and 1 more like it\)"),
        (joints_matrix(1), r"images, im00002\.jpg: .*column in joints\.mat, which has 1.*Use"),
        (_changed((slice(None), 2), 0), r"joints\.mat: at least one.*Use the joints\.mat"),
    ],
)
def test_broken_keypoints_are_refused(tmp_path, joints, message):
    with pytest.raises(BadInput, match=message):
        read_lspet(write(tmp_path, joints))


def test_keypoints_outside_the_image_are_refused(tmp_path):
    joints = joints_matrix(1)
    joints[:, 0] += 900
    with pytest.raises(
        BadInput, match=r"column 0: the keypoints must lie in the image.*at their size"
    ):
        read_lspet(write(tmp_path, joints, ("im00001",)))


def test_missing_parts_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere: there must be such a folder.*Correct the path"):
        read_lspet(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"joints\.mat: there must be such a file"):
        read_lspet(tmp_path)
    root = write(tmp_path / "lspet", joints_matrix(1), ())
    with pytest.raises(BadInput, match=r"images: the folder must hold im00001\.jpg.*Unpack"):
        read_lspet(root)
    (root / "joints.mat").write_bytes(b"not a matrix" * 40)
    with pytest.raises(BadInput, match=r"joints\.mat: must be a Matlab 5 file.*LSP-extended"):
        read_lspet(root)


def test_a_twice_numbered_image_is_refused(tmp_path):
    root = write(tmp_path, joints_matrix(2), ("im00001", "im0001"))
    with pytest.raises(BadInput, match=r"im0001\.jpg: an image must occur once.*Remove one"):
        read_lspet(root)


def test_an_unreadable_image_is_refused(tmp_path):
    root = write(tmp_path, joints_matrix(1), ("im00001",))
    (root / "images" / "im00001.jpg").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"im00001\.jpg: the image must decode.*Copy the file"):
        read_lspet(root)
