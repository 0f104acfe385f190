"""The public contract of the drawn-people source: determinism, labels, boxes."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sspcm_kedro.drawn import (
    DrawnPerson,
    DrawnSettings,
    draw_jpeg,
    draw_many,
    draw_scene,
)
from sspcm_kedro.drawn.parts import KEYPOINT_JOINTS
from sspcm_kedro.pose.skeleton import COCO

SETTINGS = DrawnSettings()


def assert_same_people(left: tuple[DrawnPerson, ...], right: tuple[DrawnPerson, ...]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.visibility, other.visibility)
        np.testing.assert_array_equal(one.box, other.box)
        assert one.area == other.area


def test_same_seed_and_index_give_the_same_bytes():
    first, people = draw_jpeg(3, 5, SETTINGS)
    again, same = draw_jpeg(3, 5, SETTINGS)
    assert first == again
    assert_same_people(people, same)


def test_other_seed_or_index_gives_another_image():
    first, _ = draw_jpeg(3, 5, SETTINGS)
    assert first != draw_jpeg(4, 5, SETTINGS)[0]
    assert first != draw_jpeg(3, 6, SETTINGS)[0]


def test_number_of_processes_does_not_change_the_result():
    indices = range(7, 27)
    small = replace(SETTINGS, image_hw=(96, 96), person_px=(50.0, 70.0))
    alone = list(draw_many(1, indices, small, processes=1))
    shared = list(draw_many(1, indices, small, processes=2))
    assert [data for data, _ in alone] == [data for data, _ in shared]
    for (_, one), (_, other) in zip(alone, shared, strict=True):
        assert_same_people(one, other)


def test_draw_many_follows_the_order_of_the_indices():
    backwards = list(draw_many(1, [4, 2], SETTINGS))
    assert backwards[0][0] == draw_jpeg(1, 4, SETTINGS)[0]
    assert backwards[1][0] == draw_jpeg(1, 2, SETTINGS)[0]


def test_keypoints_are_those_of_coco():
    sides = {"l": "left", "r": "right"}
    split = [joint.split("_") for joint in KEYPOINT_JOINTS]
    names = [f"{sides[side[0]]}_{joint}" if side else joint for joint, *side in split]
    assert tuple(names) == COCO.names and len(names) == 17


@pytest.mark.parametrize("image_hw", [(192, 192), (160, 128), (97, 131)])
def test_labels_keep_the_contract(image_hw: tuple[int, int]):
    settings = replace(SETTINGS, image_hw=image_hw, truncation=0.6, jpeg_quality=(80, 80))
    height, width = image_hw
    seen: set[int] = set()
    for index in range(25):
        data, people = draw_jpeg(11, index, settings)
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (width, height)
            assert image.mode == "RGB"
        assert people
        for person in people:
            assert person.keypoints.shape == (17, 2)
            assert person.keypoints.dtype == np.float32
            assert person.visibility.shape == (17,)
            seen.update(person.visibility.tolist())
            outside = person.visibility == 0
            assert not person.keypoints[outside].any()
            inside = person.keypoints[~outside]
            assert (inside >= 0).all()
            assert (inside <= (width - 1, height - 1)).all()
            x, y, w, h = person.box.tolist()
            assert x >= 0 and y >= 0 and w > 0 and h > 0
            assert x + w <= width and y + h <= height
            assert 0 < person.area <= min(height * width, w * h)
    assert seen == {0, 1, 2}


def test_scene_is_a_image_with_contrast():
    scene = draw_scene(np.random.default_rng(2), SETTINGS)
    assert scene.image.shape == (*SETTINGS.image_hw, 3)
    assert scene.image.dtype == np.uint8
    assert scene.image.std() > 5


def test_every_visible_point_lies_in_its_box():
    for index in range(10):
        for person in draw_jpeg(12, index, SETTINGS)[1]:
            visible = person.keypoints[person.visibility == 2]
            low, high = person.box[:2] - 2, person.box[:2] + person.box[2:] + 2
            assert (visible >= low).all()
            assert (visible <= high).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_hw": (16, 64)},
        {"people": (0, 2)},
        {"people": (3, 1)},
        {"occlusion": 1.2},
        {"noise": -1.0},
        {"supersample": 0},
        {"jpeg_quality": (50, 99)},
    ],
)
def test_impossible_settings_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SETTINGS, **wrong)


def test_no_process_is_refused_at_once():
    with pytest.raises(ValueError, match="processes"):
        draw_many(0, [1], SETTINGS, processes=0)
