"""Sides and visibility of a single person drawn on an empty canvas."""

import dataclasses

import numpy as np
import pytest

from sspcm_kedro.drawn.camera import View
from sspcm_kedro.drawn.figure import Painted, paint_person
from sspcm_kedro.drawn.labels import keypoint_is_visible, label_person
from sspcm_kedro.drawn.looks import sample_look
from sspcm_kedro.drawn.objects import paint_object
from sspcm_kedro.drawn.parts import KEYPOINT_JOINTS, PARTS
from sspcm_kedro.drawn.photo import sample_light
from sspcm_kedro.drawn.poses import neutral_angles
from sspcm_kedro.drawn.raster import Canvas, stamp_polygon
from sspcm_kedro.drawn.scene import place_figure
from sspcm_kedro.drawn.settings import DrawnPerson
from sspcm_kedro.drawn.skeleton3d import pose_skeleton, sample_build
from sspcm_kedro.pose.skeleton import COCO

HW = (192, 192)
FACTOR = 2
APART = {"arm_raise_l": 30.0, "arm_raise_r": 30.0, "hip_abd_l": 8.0, "hip_abd_r": 8.0}


def draw_one(yaw: float, *, roll: float = 0.0, shift: float = 0.0, **angles: float):
    """One plainly dressed person in the middle of an empty canvas, moved `shift` to the right."""
    rng = np.random.default_rng(8)
    build = dataclasses.replace(sample_build(rng), girth=1.0, limb=1.0, belly=0.0)
    look = dataclasses.replace(sample_look(rng), style="short", skirt=0.0, bag=False)
    skeleton = pose_skeleton(build, neutral_angles() | APART | angles)
    view = View(yaw=yaw, pitch=0.0, roll=roll, distance=6.0)
    center = np.array([96.0 + shift, 96.0])
    figure = place_figure(skeleton, view, look, 130.0, center, FACTOR)
    canvas = Canvas.of(np.full((HW[0] * FACTOR, HW[1] * FACTOR, 3), 90, np.uint8))
    return canvas, paint_person(canvas, figure, sample_light(rng), 1)


def label(canvas: Canvas, painted: Painted) -> DrawnPerson:
    person = label_person(canvas, painted, FACTOR)
    assert person is not None
    return person


def at(person: DrawnPerson, name: str) -> tuple[float, int]:
    row = COCO.names.index(name)
    return float(person.keypoints[row, 0]), int(person.visibility[row])


@pytest.mark.parametrize("joint", ["shoulder", "elbow", "wrist", "hip", "knee", "ankle", "ear"])
def test_left_is_right_in_the_image_seen_from_the_front_and_left_from_behind(joint: str):
    front, back = label(*draw_one(0.0)), label(*draw_one(180.0))
    assert at(front, f"left_{joint}")[0] > at(front, f"right_{joint}")[0] + 2
    assert at(back, f"left_{joint}")[0] < at(back, f"right_{joint}")[0] - 2


def test_upside_down_swaps_the_sides_in_the_image():
    person = label(*draw_one(0.0, roll=180.0))
    assert at(person, "left_shoulder")[0] < at(person, "right_shoulder")[0]


def test_everything_is_visible_from_the_front():
    assert label(*draw_one(0.0)).visibility.tolist() == [2] * 17


def test_face_is_covered_from_behind_and_the_body_is_not():
    person = label(*draw_one(180.0))
    assert person.visibility[:3].tolist() == [1, 1, 1]
    assert (person.visibility[5:] == 2).all()


def test_profile_shows_the_near_side_only():
    person = label(*draw_one(90.0))  # turned so that the right side faces the camera
    near, far = ("right", "left") if at(person, "right_ear")[1] == 2 else ("left", "right")
    assert at(person, f"{near}_eye")[1] == 2
    assert at(person, f"{far}_ear")[1] == 1
    assert at(person, f"{far}_shoulder")[1] == 1
    assert at(person, f"{near}_shoulder")[1] == 2
    assert near == "right"


def test_wrist_behind_the_own_trunk_is_covered():
    behind = {"arm_raise_l": 28.0, "arm_plane_l": -45.0, "arm_twist_l": 78.0, "elbow_l": 80.0}
    assert at(label(*draw_one(0.0, **behind)), "left_wrist")[1] == 1
    assert at(label(*draw_one(180.0, **behind)), "left_wrist")[1] == 2


def test_wrist_in_front_of_the_own_trunk_is_visible_and_covers_nothing_far_away():
    folded = {"arm_raise_r": 32.0, "arm_plane_r": 62.0, "arm_twist_r": 68.0, "elbow_r": 98.0}
    person = label(*draw_one(0.0, **folded))
    assert at(person, "right_wrist")[1] == 2
    assert at(person, "left_wrist")[1] == 2


@pytest.mark.parametrize("row", range(17))
def test_planted_occluder_covers_its_keypoint(row: int):
    canvas, painted = draw_one(0.0)
    before = label(canvas, painted)
    assert before.visibility[row] == 2
    x, y = painted.figure.body.points[KEYPOINT_JOINTS[row]][:2]
    square = np.array([[x - 5, y - 5], [x + 5, y - 5], [x + 5, y + 5], [x - 5, y + 5]], np.float32)
    stamp_polygon(canvas, square, np.full((2, 2, 3), 200, np.uint8), -1)
    after = label(canvas, painted)
    assert after.visibility[row] == 1
    np.testing.assert_array_equal(after.keypoints, before.keypoints)
    np.testing.assert_array_equal(after.box, before.box)
    assert after.area < before.area


@pytest.mark.parametrize("kind", ["box", "pole", "ball", "table"])
def test_objects_take_the_pixels_they_cover(kind: str):
    canvas, painted = draw_one(0.0)
    rng = np.random.default_rng(1)
    point = painted.figure.body.points["knee_l"][:2]
    area = label(canvas, painted).area
    paint_object(rng, canvas, sample_light(rng), point, 250.0, -1, kind)
    assert (canvas.owner == -1).any()
    person = label_person(canvas, painted, FACTOR)
    assert person is None or person.area < area


def test_a_person_in_front_covers_the_one_behind():
    canvas, painted = draw_one(0.0)
    assert keypoint_is_visible(canvas, painted, "shoulder_l")
    light = sample_light(np.random.default_rng(0))
    second = paint_person(canvas, painted.figure, light, 2)
    assert label_person(canvas, painted, FACTOR) is None
    assert label(canvas, second).visibility.tolist() == [2] * 17


def test_outside_the_image_is_zero():
    person = label(*draw_one(0.0, shift=90.0))
    row = COCO.names.index("left_wrist")
    assert person.visibility[row] == 0
    assert person.keypoints[row].tolist() == [0.0, 0.0]
    assert person.box[0] + person.box[2] == HW[1]


def test_box_and_area_follow_the_silhouette():
    canvas, painted = draw_one(0.0)
    person = label(canvas, painted)
    rows, cols = np.nonzero(canvas.owner // PARTS == 1)
    expected = (cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1)
    np.testing.assert_allclose(person.box, np.array(expected) / FACTOR)
    assert person.area == pytest.approx(len(rows) / FACTOR**2)
