"""MPII: everything in the files counts from 1, people are centers and scales, heads are boxes."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from formats import pictures, save_gt_valid, write_mpii
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame, crop_extents
from sspcm_kedro.pose.skeleton import MPII
from sspcm_kedro.sources.mpii import MpiiSource
from sspcm_kedro.sources.mpii_json import read_mpii


def record(**changed) -> dict:
    """A person at (101, 61) of scale 0.5; only the right ankle (0) and the head top (9) are there.

    ``None`` leaves a key out.
    """
    joints, flags = [[-1.0, -1.0]] * 16, [0] * 16
    joints[0], joints[9], flags[0], flags[9] = [91.0, 101.0], [102.0, 21.5], 1, 1
    plain = {"image": "a.jpg", "center": [101.0, 61.0], "scale": 0.5}
    record = {**plain, "joints": joints, "joints_vis": flags, **changed}
    return {key: value for key, value in record.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    """Writes records, and the image a.jpg, which all of them show."""

    def write(records: object) -> Path:
        Image.new("RGB", (200, 120)).save(tmp_path / "a.jpg")
        (tmp_path / "people.json").write_text(json.dumps(records))
        return tmp_path / "people.json"

    return write


def test_coordinates_count_from_0(write):
    people, skeleton = read_mpii(file := write([record()]), file.parent)
    assert skeleton is MPII
    assert people.keypoints[0, [0, 9]].tolist() == [[90, 100], [101, 20.5]]
    # Published: center (101, 61 + 15 * 0.5) - 1 and a side of 200 * 0.5, before padding.
    assert people.boxes.tolist() == [[50, 17.5, 150, 117.5]]
    centers, extents = crop_extents(people.boxes, CropFrame((256, 256)))
    assert centers.tolist() == [[100, 67.5]]
    assert extents.tolist() == [[125, 125]]  # 200 * 1.25 * 0.5


def test_absent_keypoints_follow_the_flag(write):
    odd = record()
    odd["joints"][4] = [50.0, 60.0]
    people, _ = read_mpii(file := write([odd]), file.parent)
    assert np.flatnonzero(people.visibility[0]).tolist() == [0, 9]
    assert set(people.visibility[0].tolist()) == {0, 2}
    assert people.keypoints[0, 4].tolist() == [0, 0]


@pytest.mark.parametrize("scale", [0.5, [0.5, 0.5]])
def test_scale_is_a_number_or_two(write, scale):
    people, _ = read_mpii(file := write([record(scale=scale)]), file.parent)
    assert people.boxes.tolist() == [[50, 17.5, 150, 117.5]]


def test_scale_of_two_axes(write):
    people, _ = read_mpii(file := write([record(scale=[0.25, 0.5])]), file.parent)
    assert people.boxes.tolist() == [[75, 17.5, 125, 117.5]]


def test_ids_tell_the_row_and_the_image(write):
    nobody = record(joints_vis=[0] * 16)
    people, _ = read_mpii(file := write([nobody, record(), record()]), file.parent)
    assert people.ids.tolist() == [2, 3]  # row 0 has no keypoint
    assert people.source_ids.tolist() == ["1", "2"]
    assert people.image_ids.tolist() == [1, 1]
    assert people.source_image_ids.tolist() == ["a.jpg", "a.jpg"]
    assert people.image_hw.tolist() == [[120, 200]] * 2


def test_test_people_have_no_keypoints(write):
    records = [record(joints=None, joints_vis=None)] * 2
    people, _ = read_mpii(file := write(records), file.parent, labeled=False)
    assert len(people) == 2
    assert not people.visibility.any()


def test_the_whole_folder(tmp_path):
    train, valid, test = (pictures(2, seed, people=2) for seed in (1, 2, 3))
    source = MpiiSource.model_validate(write_mpii(tmp_path, train, valid, test)).read()
    drawn = train[1].people[0].triples(MPII)
    np.testing.assert_allclose(source.annotated.keypoints[2], drawn[:, :2], atol=1e-4)
    assert (source.annotated.visibility[2] > 0).tolist() == (drawn[:, 2] > 0).tolist()
    assert np.isnan(source.annotated.head_sizes).all()
    x0, y0, x1, y1 = valid[0].people[1].head
    expected = 0.6 * np.hypot(x1 - x0, y1 - y0)
    assert source.validation.head_sizes[1] == pytest.approx(expected, rel=1e-6)
    assert source.test.source_ids.tolist() == ["0", "1", "2", "3"]
    assert len({*source.annotated.ids, *source.validation.ids, *source.test.ids}) == 12
    assert source.validation.source_ids.tolist() == ["0", "1", "2", "3"]


def test_head_boxes_stay_with_their_row(tmp_path):
    valid = pictures(1, 0, people=2)
    write_mpii(tmp_path, pictures(1, 1), valid)
    file = tmp_path / "annot" / "valid.json"
    records = json.loads(file.read_text())
    records[0]["joints_vis"] = [0] * 16
    file.write_text(json.dumps(records))
    people, _ = read_mpii(file, tmp_path / "images", head_boxes=tmp_path / "annot" / "gt_valid.mat")
    x0, y0, x1, y1 = valid[0].people[1].head
    assert people.head_sizes.tolist() == pytest.approx([0.6 * np.hypot(x1 - x0, y1 - y0)])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"people": []}, r"people\.json: an MPII file must be a list.*Each needs image, center"),
        ([], r"people\.json: .*at least one person.*Export"),
        ([record(), 3], r"must be a list of JSON objects"),
        ([record(), record(scale=None)], r"person in row 1: must have the key 'scale'.*Add"),
        ([record(image="../a.jpg")], r"row 0: the image's name must be a path inside.*\.\./a\.jpg"),
        ([record(image="b.jpg")], r"image b\.jpg: .*not there.*Copy the missing"),
        ([record(center=[1])], r"row 0: 'center' must hold 2 finite numbers, found \[1\].*Correct"),
        ([record(center=[-1, -1])], r"row 0: a person needs a center and a scale.*Add them"),
        ([record(scale=0)], r"row 0: a person needs a center and a scale above 0"),
        ([record(scale="0.5")], r"row 0: 'scale' must hold 2 finite numbers"),
        ([record(), record(joints=[[1, 2]] * 15)], r"row 1: 'joints' must hold 16 x 2 finite"),
        ([record(joints=[[1, float("nan")]] * 16)], r"row 0: 'joints' must hold 16 x 2 finite"),
        ([record(joints_vis=[2] * 16)], r"row 0: joints_vis must be 1 \(annotated\) or 0.*Correct"),
        (
            [record(joints_vis=[0] * 16)],
            r"at least one person with an annotated keypoint.*test part",
        ),
    ],
)
def test_broken_records_are_refused(write, records, message):
    with pytest.raises(BadInput, match=message):
        read_mpii(file := write(records), file.parent)


def test_head_boxes_of_other_people_are_refused(tmp_path):
    write_mpii(tmp_path, pictures(1, 1), pictures(2, 2))
    annot, images = tmp_path / "annot", tmp_path / "images"
    heads = annot / "gt_valid.mat"
    with pytest.raises(BadInput, match=r"headboxes_src: .*\(2, 2, 1\).*belongs to train\.json"):
        read_mpii(annot / "train.json", images, head_boxes=heads)
    save_gt_valid(heads, pictures(1, 2)[0].people * 2)
    content = scipy.io.loadmat(heads)
    content["headboxes_src"][:, :, 1] = 0
    scipy.io.savemat(heads, {"headboxes_src": content["headboxes_src"]})
    with pytest.raises(BadInput, match=r"of person 1: the head box must have a finite diagonal"):
        read_mpii(annot / "valid.json", images, head_boxes=heads)
    scipy.io.savemat(heads, {"other": 1})
    with pytest.raises(BadInput, match=r"must hold the variable 'headboxes_src'.*valid\.json"):
        read_mpii(annot / "valid.json", images, head_boxes=heads)
    heads.write_bytes(b"MATLAB 7.3 or whatever")
    with pytest.raises(BadInput, match=r"gt_valid\.mat: must be a Matlab 5 file"):
        read_mpii(annot / "valid.json", images, head_boxes=heads)
