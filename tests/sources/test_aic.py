"""AI Challenger: 1 is visible, 2 covered, 3 absent, and boxes are corners."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formats import pictures, write_aic
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import AIC
from sspcm_kedro.sources.aic import AicSource, read_aic
from sspcm_kedro.sources.coco_format import read_coco

JOINTS = [5, 6, 1, 7, 8, 2, *[0, 0, 3] * 12]


def record(image: object = "aa", box: object = (2, 3, 30, 43), joints: object = JOINTS) -> dict:
    return {"image_id": image, "human_annotations": {"human1": box},
            "keypoint_annotations": {"human1": joints}}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """Writes records, and an image aa.jpg."""

    def write(records: object) -> tuple[Path, Path]:
        Image.new("RGB", (50, 60)).save(tmp_path / "aa.jpg")
        (tmp_path / "people.json").write_text(json.dumps(records))
        return tmp_path / "people.json", tmp_path

    return write


def test_columns_of_a_person(write):
    people, skeleton = read_aic(*write([record()]))
    assert skeleton is AIC
    assert people.visibility.tolist() == [[2, 1, *[0] * 12]]
    assert people.keypoints[0, :3].tolist() == [[5, 6], [7, 8], [0, 0]]  # no shift
    assert people.boxes.tolist() == [[2, 3, 30, 43]]
    assert people.areas.tolist() == [28 * 40]
    assert people.image_hw.tolist() == [[60, 50]]
    assert people.paths.tolist() == [str(Path(people.paths[0]).parent / "aa.jpg")]


def test_an_absent_keypoint_may_have_any_coordinates(write):
    people, _ = read_aic(*write([record(joints=[5, 6, 1, 9, 9, 3, *[0, 0, 3] * 12])]))
    assert people.keypoints[0, 1].tolist() == [0, 0]


def test_people_are_named_as_in_the_file(write):
    first = record()
    first["human_annotations"] = {"human2": [1, 1, 9, 9], "human1": [2, 2, 9, 9]}
    first["keypoint_annotations"] = {"human1": JOINTS, "human2": [1, 1, 3] * 14}
    first["human_annotations"]["human3"] = [3, 3, 9, 9]
    first["keypoint_annotations"]["human3"] = JOINTS
    people, _ = read_aic(*write([first]))
    assert people.source_ids.tolist() == ["human1", "human3"]  # human2 has no keypoint
    assert people.ids.tolist() == [2, 3]
    assert people.source_image_ids.tolist() == ["aa", "aa"]


def test_the_whole_folder(tmp_path):
    train, validation = pictures(2, 1, people=2), pictures(1, 2)
    source = AicSource.model_validate(write_aic(tmp_path, train, validation)).read()
    person = train[1].people[1]
    drawn = person.triples(AIC)
    assert source.annotated.visibility[3].tolist() == drawn[:, 2].tolist()
    np.testing.assert_allclose(source.annotated.keypoints[3], drawn[:, :2], atol=0.51)
    np.testing.assert_allclose(source.annotated.boxes[3], person.box, atol=0.51)
    assert source.validation.source_ids.tolist() == ["human1"]
    assert not set(source.validation.ids) & set(source.annotated.ids)


def test_the_converted_form_has_the_same_skeleton(tmp_path):
    """As mmpose converts it: COCO's meaning of v, and names with blanks and capitals."""
    Image.new("RGB", (50, 60)).save(tmp_path / "aa.jpg")
    names = [name.replace("_", " ").title() for name in AIC.names]
    content = {
        "images": [{"id": 1, "file_name": "aa.jpg", "height": 60, "width": 50}],
        "annotations": [{"id": 4, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 20],
                         "keypoints": [5, 6, 2, 7, 8, 1, *[0, 0, 0] * 12]}],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }  # fmt: skip
    (tmp_path / "aic.json").write_text(json.dumps(content))
    people, skeleton = read_coco(tmp_path / "aic.json", tmp_path)
    assert skeleton == AIC
    assert people.visibility[0, :3].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"images": []}, r"people\.json: .*must be a list of JSON objects.*kind coco"),
        ([{"image_id": "aa"}], r"image in row 0: must have the key 'human_annotations'"),
        ([record(image="../aa")], r"image in row 0: .*inside the image folder.*'\.\./aa'"),
        ([record(image=3)], r"image in row 0: the image's name must be a path"),
        ([record(), record()], r"row 1: an image must occur once, and aa is also row 0.*Join"),
        ([record(image="bb")], r"image bb\.jpg: .*not there.*Copy"),
        ([{**record(), "keypoint_annotations": {}}], r"image aa: .*same people.*Give each"),
        ([record(box=[1, 2, 3])], r"image aa, human1: 'human_annotations' must hold 4 finite"),
        ([record(box=[9, 2, 9, 8])], r"image aa, human1: the box .*positive sides, found \[9, 2"),
        ([record(box=[51, 2, 70, 8])], r"human1: the box must touch the image.* = \(60, 50\)"),
        ([record(joints=JOINTS[:39])], r"human1: 'keypoint_annotations' must hold 42 finite"),
        ([record(joints=[*JOINTS[:41], None])], r"'keypoint_annotations' must hold 42 finite"),
        ([record(joints=[1, 1, 0] * 14)], r"human1: v must be 1 \(visible\), 2 .*kind coco"),
        ([record(joints=[1, 1, 3] * 14)], r"at least one person with an annotated keypoint"),
    ],
)
def test_broken_records_are_refused(write, records, message):
    with pytest.raises(BadInput, match=message):
        read_aic(*write(records))
