"""WEPDTOF-Pose and BKFisheye: COCO files whose images are numbered by place."""

import json

import numpy as np
import pytest

from formats import pictures, write_fisheye
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import FISHEYE
from sspcm_kedro.sources.fisheye import FisheyeSource, read_fisheye


class Folder:
    """A fisheye folder whose train file a test may break."""

    def __init__(self, root) -> None:
        self.root = root
        self.shown = pictures(3, 1, people=2)
        self.source = FisheyeSource.model_validate(write_fisheye(root, self.shown, pictures(1, 2)))
        self.file = root / "coco" / "annotations" / "person_keypoints_train2017.json"
        self.images = root / "coco" / "images" / "train2017"
        self.content = json.loads(self.file.read_text())

    def read(self):
        self.file.write_text(json.dumps(self.content))
        return read_fisheye(self.file, self.images)[0]


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def test_the_whole_folder(folder):
    source = folder.source.read()
    assert source.skeleton is FISHEYE
    drawn = folder.shown[2].people[1].triples(FISHEYE)
    assert source.annotated.visibility[5].tolist() == drawn[:, 2].tolist()
    np.testing.assert_allclose(source.annotated.keypoints[5], drawn[:, :2], rtol=1e-6)
    assert len(source.validation) == 1
    assert not set(source.validation.ids) & set(source.annotated.ids)


def test_areas_are_those_of_the_raw_boxes(folder):
    """Whatever the file says; and crowds count as people."""
    folder.content["annotations"][0].update(area=7, iscrowd=1, bbox=[-4, 3, 20, 30])
    people = folder.read()
    assert people.areas[0] == pytest.approx(0.53 * 20 * 30)
    assert people.boxes[0].tolist() == [0, 3, 19, 32]  # cleaned as COCO's


def test_people_without_an_area_or_a_box_are_dropped(folder):
    folder.content["annotations"][0]["area"] = 0
    folder.content["annotations"][1]["bbox"] = [5, 5, 1, 20]
    folder.content["annotations"][2]["keypoints"] = [0, 0, 0] * 14
    assert folder.read().ids.tolist() == [4, 5, 6]


def test_unlabeled_people_are_annotated_ones(folder):
    part = {"annotations": "coco/annotations/person_keypoints_val2017.json",
            "images": "coco/images/val2017"}  # fmt: skip
    record = {"root": folder.root, "validation": None, "unlabeled": part}
    source = FisheyeSource.model_validate(record).read()
    assert not source.unlabeled.visibility.any()
    assert source.hidden_truth.visibility.any()


def test_the_names_of_the_keypoints_do_not_matter(folder):
    folder.content["categories"][0]["keypoints"] = [f"keypoint {n}" for n in range(14)]
    assert len(folder.read()) == 6


def _renumbered(content):
    for place, image in enumerate(content["images"]):
        image["id"] = place + 1


def _same_base_name(content):
    content["images"][1]["file_name"] = "sub/" + content["images"][0]["file_name"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_renumbered, r"image in row 0: its id must be its place in the list, 0, found 1.*2 more"),
        (_same_base_name, r"image 0: base names must differ, and train2017_00000\.jpg occurs 2"),
        (lambda c: c["annotations"][1].pop("num_keypoints"),
         r"annotation 2: must have the key 'num_keypoints'.*Add the key"),
        (lambda c: c["annotations"][1].update(keypoints=[1, 1, 2] * 13),
         r"annotation 2: 'keypoints' must hold the category's 14 keypoints, found 13"),
        (lambda c: c["annotations"][1].update(area="big"), r"annotation 2: 'area' must hold num"),
        (lambda c: c["categories"][0].update(keypoints=["a"] * 17), r"category 1: .*14.*found 17"),
        (lambda c: c["categories"][0].update(keypoints=True), r"category 1: .*14.*found True"),
        (lambda c: c["images"][0].update(file_name="/a.jpg"), r"image 0: .*inside the image"),
        (lambda c: c.pop("images"), r"must have a list called 'images'"),
        (lambda c: [a.update(bbox=[1, 1, 1, 1]) for a in c["annotations"]],
         r"at least one box must have a width and a height"),
    ],
)  # fmt: skip
def test_broken_files_are_refused(folder, change, message):
    change(folder.content)
    with pytest.raises(BadInput, match=rf"person_keypoints_train2017\.json.*{message}"):
        folder.read()
