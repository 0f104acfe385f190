"""The 3-D skeleton: bone lengths, joint limits, sides."""

import numpy as np
import pytest

from sspcm_kedro.drawn.poses import clamp_to_limits, neutral_angles, sample_angles
from sspcm_kedro.drawn.skeleton3d import LIMITS, Build, pose_skeleton, rotation, sample_build

# Angle at a joint between the reversed first and the second bone, 0 = straight.
HINGES = {
    **{f"elbow_{s}": (f"shoulder_{s}", f"elbow_{s}", f"wrist_{s}") for s in "lr"},
    **{f"knee_{s}": (f"hip_{s}", f"knee_{s}", f"ankle_{s}") for s in "lr"},
}


BONES: dict[str, tuple[str, str]] = {
    **{f"upper_arm_{s}": (f"shoulder_{s}", f"elbow_{s}") for s in "lr"},
    **{f"forearm_{s}": (f"elbow_{s}", f"wrist_{s}") for s in "lr"},
    **{f"thigh_{s}": (f"hip_{s}", f"knee_{s}") for s in "lr"},
    **{f"shin_{s}": (f"knee_{s}", f"ankle_{s}") for s in "lr"},
    "hip_width": ("hip_l", "hip_r"),
    "shoulder_width": ("shoulder_l", "shoulder_r"),
}
"""Rigid distances of the skeleton: name -> the two joints."""


def bone_length(build: Build, bone: str) -> float:
    """Length of a bone of BONES in statures."""
    if bone in ("hip_width", "shoulder_width"):
        return 2 * getattr(build, bone.removesuffix("_width"))
    return getattr(build, bone[:-2])


@pytest.mark.parametrize("seed", range(4))
def test_bones_keep_their_length_and_keypoints_their_limits(seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        build, angles = sample_build(rng), sample_angles(rng)
        for name, (low, high) in LIMITS.items():
            assert low <= angles[name] <= high, name
        points = pose_skeleton(build, angles).points
        for bone, (start, end) in BONES.items():
            length = np.linalg.norm(points[start] - points[end])
            assert length == pytest.approx(bone_length(build, bone), rel=1e-3), bone
        for name, (start, middle, end) in HINGES.items():
            first, second = points[middle] - points[start], points[end] - points[middle]
            cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
            bend = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
            assert bend == pytest.approx(angles[name], abs=0.6), name
            assert bend <= LIMITS[name][1] + 0.6


def test_neutral_body_stands_upright_with_left_at_positive_x():
    build = sample_build(np.random.default_rng(0))
    points = pose_skeleton(build, neutral_angles()).points
    heights = [points[name][1] for name in ("ankle_l", "knee_l", "hip_l", "shoulder_l", "head")]
    assert heights == sorted(heights)
    for joint in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        left, right = points[f"{joint}_l"], points[f"{joint}_r"]
        assert left[0] > 0 > right[0]
        np.testing.assert_allclose(left * (-1, 1, 1), right, atol=1e-6)
    assert points["nose"][2] > points["ear_l"][2]
    assert points["toe_l"][2] > points["ankle_l"][2]


def test_knee_bends_backward_and_elbow_forward():
    build = sample_build(np.random.default_rng(0))
    points = pose_skeleton(build, neutral_angles() | {"knee_l": 90.0, "elbow_r": 90.0}).points
    assert points["ankle_l"][2] < points["knee_l"][2] - 0.1
    assert points["wrist_r"][2] > points["elbow_r"][2] + 0.1


def test_arm_raise_moves_the_wrist_up_on_its_own_side():
    build = sample_build(np.random.default_rng(0))
    for side, sign in (("l", 1), ("r", -1)):
        points = pose_skeleton(build, neutral_angles() | {f"arm_raise_{side}": 90.0}).points
        assert points[f"wrist_{side}"][1] == pytest.approx(points[f"shoulder_{side}"][1], abs=1e-5)
        assert sign * points[f"wrist_{side}"][0] > build.shoulder + 0.2


def test_clamp_moves_only_what_is_outside():
    angles = clamp_to_limits({"knee_l": -20.0, "elbow_r": 30.0, "body_pitch": 400.0})
    assert angles == {"knee_l": 0.0, "elbow_r": 30.0, "body_pitch": 400.0}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_is_proper(axis: int):
    matrix = rotation(axis, 33.0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-6)


def test_poses_are_varied():
    rng = np.random.default_rng(5)
    samples = [sample_angles(rng) for _ in range(300)]
    for name in ("elbow_l", "knee_r", "hip_flex_l", "arm_raise_r"):
        assert np.std([angles[name] for angles in samples]) > 20
