"""Annotation files as tools and people make them: read as one would expect, or said."""

import json
import logging
import unicodedata

import pytest
from PIL import Image

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import COCO, DEFAULT_SIGMA, Skeleton
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.coco_category import (
    find_person_categories,
    parse_skeleton,
    person_category,
)
from sspcm_kedro.sources.coco_checks import read_coco_json
from sspcm_kedro.sources.coco_format import parse_ignored, read_boxes, read_coco

HAND = {"id": 1, "name": "hand", "keypoints": ["wrist", "thumb"]}
PERSON = {"id": 2, "name": "Person", "keypoints": ["nose", "tail"]}


@pytest.fixture(autouse=True)
def everything_said(caplog):
    caplog.set_level(logging.INFO)


def ids_read(coco, **more) -> list[int]:
    return read_coco(coco.write(), coco.images, **more)[0].ids.tolist()


def test_categories_with_the_same_keypoints_are_all_people(coco, caplog):
    (one,) = coco.content["categories"]
    coco.content["categories"] = [{**one, "id": i, "name": f"species {i}"} for i in (1, 4, 9)]
    coco.content["annotations"][1]["category_id"] = 4
    coco.content["annotations"][0]["category_id"] = 9
    assert ids_read(coco) == [2, 5, 1]
    assert ids_read(coco, category=["species 1", "Species 4"]) == [2, 5]
    assert "2 of 5 annotations are read as people; left out: 1 of other categories" in caplog.text


@pytest.mark.parametrize(
    ("categories", "named", "ids"),
    [
        ([HAND, PERSON], (), [2]),
        ([HAND, PERSON], ("hand",), [1]),
        ([{"id": 0, "name": "person"}, {"id": 1, "name": "dog"}], (), [0]),
        ([{"id": 1}, {"id": 2}], (), [1]),
        ([{"id": "1"}, {"id": 2}], (), ["1"]),
        ([{"id": 5, "name": "worker"}], (), [5]),
        ([HAND, {"id": 3, "name": "car"}], (), [1]),
    ],
)
def test_people_are_known_by_name(tmp_path, categories, named, ids):
    assert [c["id"] for c in find_person_categories(tmp_path, categories, named)] == ids


@pytest.mark.parametrize(
    ("categories", "named"),
    [
        ([HAND, {**PERSON, "name": "body"}], ()),
        ([{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}], ()),
        ([HAND, PERSON], ("hand", "person")),
        ([HAND, PERSON], ("foot",)),
        ([], ()),
    ],
)
def test_unknown_people_are_asked_for(tmp_path, categories, named):
    with pytest.raises(BadInput, match=r"categories: .*found .*source\.category"):
        find_person_categories(tmp_path, categories, named)


@pytest.mark.parametrize("same", ["1", 1.0])
def test_ids_of_categories_are_the_same_as_text(coco, same):
    coco.content["annotations"][4]["category_id"] = same
    assert ids_read(coco) == [2, 5, 1]
    coco.content["annotations"][3]["category_id"] = same
    content = read_coco_json(coco.write())
    assert parse_ignored(coco.file, content, coco.images, 3).ids.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [(None, False), (False, False), (0.0, False), ("0", False), ("", False), (True, True),
     ("1", True), (1, True)],
)  # fmt: skip
def test_what_counts_as_a_crowd(coco, value, crowd):
    coco.content["annotations"][4]["iscrowd"] = value
    assert ids_read(coco) == ([2, 1] if crowd else [2, 5, 1])


def test_what_names_of_keypoints_tell(tmp_path):
    names = ["Nose", "Lsho", "rightHip", "Rsho", "leftHip", "tail"]
    skeleton = parse_skeleton(tmp_path, {"id": 1, "keypoints": names}, None)
    assert skeleton.flip_pairs == ((1, 3), (4, 2))
    assert skeleton.torso == (1, 2)
    assert skeleton.sigmas == (0.026, 0.079, 0.107, 0.079, 0.107, DEFAULT_SIGMA)


def test_no_pair_is_said_before_training(coco, caplog):
    coco.content["categories"][0]["keypoints"] = ["links", "rechts", "kopf"]
    read_coco(coco.write(), coco.images)
    assert "set source.flip_pairs" in caplog.text
    caplog.clear()
    read_coco(coco.write(), coco.images, flip_pairs=())
    assert "flip_pairs" not in caplog.text


def test_a_side_without_its_other_is_said_too(coco, caplog):
    coco.content["categories"][0]["keypoints"] = ["left_ear", "right_ear", "left_paw"]
    read_coco(coco.write(), coco.images)
    assert "one of ('left_paw',)" in caplog.text and "flip_probability=0" in caplog.text


@pytest.mark.parametrize("keypoints", [("snout", "rump"), COCO.names])
def test_a_category_leaves_as_it_came(tmp_path, keypoints):
    listed = {"id": 7, "name": "mouse", "keypoints": list(keypoints)}
    skeleton = parse_skeleton(tmp_path, listed, None)
    stored = Skeleton.from_dict(skeleton.to_dict())
    assert stored == skeleton
    assert person_category(stored)["name"] == "mouse"
    nameless = parse_skeleton(tmp_path, {"id": 1, "keypoints": list(keypoints)}, None)
    assert person_category(nameless)["name"] == "person"
    assert "category" not in nameless.to_dict()


def test_settings_of_the_skeleton(coco):
    source = {"root": coco.root, "train": {"annotations": "people.json", "images": "pictures"}}
    coco.write()
    read = CocoSource.model_validate({**source, "torso": [0, 2]}).read()
    assert read.skeleton.torso == (0, 2)
    for wrong in ({"torso": [0, 3]}, {"flip_pairs": [[0, 7]]}, {"sigmas": [0.1]}):
        with pytest.raises(BadInput, match=r"source, .*Count from 0 in \('left_wrist'"):
            CocoSource.model_validate({**source, **wrong}).read()


@pytest.mark.parametrize("area", [0, -3])
def test_an_area_of_nothing_is_that_of_the_box(coco, area, caplog):
    coco.content["annotations"][4]["area"] = area
    people, _ = read_coco(coco.write(), coco.images)
    assert people.ids.tolist() == [2, 5, 1]
    assert people.areas.tolist() == pytest.approx([7, 0.53 * 4 * 5, 7])
    assert "1 areas are not above 0, the first of annotation 5" in caplog.text


def test_a_file_listed_twice_is_one_image(coco, caplog):
    images, people = coco.content["images"], coco.content["annotations"]
    images.append({**images[0], "id": 77, "file_name": "./30.jpg"})
    people.append({**people[4], "id": 6, "image_id": 77})  # the same person
    people.append({**people[4], "id": 7, "image_id": 77, "bbox": [20, 3, 9, 9]})  # another one
    found, _ = read_coco(coco.write(), coco.images)
    assert found.ids.tolist() == [2, 5, 7, 1]
    assert found.image_ids.tolist() == [30, 30, 30, 10]
    assert found.paths[2] == found.paths[1]
    assert "1 image files are listed again" in caplog.text
    assert "1 people are there twice" in caplog.text
    assert read_boxes(coco.file, coco.images).ids.tolist() == [2, 5, 7, 1, 4]


def test_two_people_alike_on_one_listing_both_stay(coco):
    people = coco.content["annotations"]
    people.append({**people[4], "id": 6})
    assert ids_read(coco) == [2, 5, 6, 1]


def test_a_covered_label_may_be_outside_and_a_visible_one_at_the_edge(coco):
    coco.content["annotations"][4]["keypoints"] = [99, 9, 1, 60, 40, 2, -1, -1, 2]
    assert ids_read(coco) == [2, 5, 1]


def test_as_published(coco, caplog):
    """Boxes keep their width, narrow ones go, labels may be outside, files may be listed twice."""
    images, people = coco.content["images"], coco.content["annotations"]
    images.append({**images[0], "id": 77})
    people[4].update(image_id=77, keypoints=[99, 9, 2, 0, 0, 0, 0, 0, 0])
    people[0]["bbox"] = [3, 3, 1, 9]
    found, _ = read_coco(coco.write(), coco.images, as_published=True)
    assert found.image_ids.tolist() == [30, 77]
    assert found.boxes[0].tolist() == [0, 10, 19, 39]
    assert "1 people are left out, the first annotation 1: the box must be wider" in caplog.text


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (unicodedata.normalize("NFD", "\xdcbung.jpg"), "\xdcbung.jpg"),
        ("\xdcbung.jpg", unicodedata.normalize("NFD", "\xdcbung.jpg")),
        ("sub/a b.jpg", "sub\\a b.jpg"),
        ("t:01.jpg", "t:01.jpg"),
    ],
)
def test_names_of_other_systems(coco, stored, written):
    (coco.images / stored).parent.mkdir(exist_ok=True)
    Image.new("RGB", (60, 40)).save(coco.images / stored)
    coco.content["images"][0]["file_name"] = written
    people, _ = read_coco(coco.write(), coco.images)
    assert people.paths[0] == str(coco.images / stored)


@pytest.mark.parametrize("annotations", [None, []])
def test_unlabeled_people_need_boxes(coco, annotations):
    train = {"annotations": "people.json", "images": "pictures"}
    coco.write()
    more = {**coco.content, "annotations": annotations}
    if annotations is None:
        del more["annotations"]
    (coco.root / "more.json").write_text(json.dumps(more))
    source = CocoSource(
        root=coco.root, train=train, unlabeled={"annotations": "more.json", "images": "pictures"}
    )
    with pytest.raises(BadInput, match=r"more\.json: .* need boxes or detections"):
        source.read()


def test_detections_of_a_file_that_counts_from_0(coco, tmp_path):
    coco.content["categories"] = [{"id": 0, "name": "person"}, {"id": 1, "name": "dog"}]
    box = {"image_id": 10, "bbox": [1, 1, 9, 9], "score": 0.5}
    file = tmp_path / "found.json"
    file.write_text(json.dumps([{**box, "category_id": 1}, {**box, "category_id": "0"}]))
    skeleton = parse_skeleton(tmp_path, PERSON, None)
    people, _ = read_coco(coco.write(), coco.images, detections=file, skeleton=skeleton)
    assert people.ids.tolist() == [2]
