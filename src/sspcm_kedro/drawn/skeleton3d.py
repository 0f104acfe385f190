"""3-D skeleton: build of a body, joint angles with limits, forward kinematics.

Body coordinates: x to the person's left, y up, z forward; unit = the stature of the person.
Angles are in degrees; side "l"/"r" is the person's own left/right.
"""

import math
from dataclasses import dataclass

import numpy as np

from .settings import FloatArray

Angles = dict[str, float]
_SIDES = (("l", 1.0), ("r", -1.0))

_SIDED_LIMITS = {
    "arm_raise": (0.0, 175.0),  # away from hanging down
    "arm_plane": (-50.0, 130.0),  # direction of the raise: 0 sideways, 90 forward, 130 across
    "arm_twist": (-80.0, 80.0),  # positive = internal rotation
    "elbow": (0.0, 145.0),
    "hip_flex": (-30.0, 125.0),
    "hip_abd": (-20.0, 60.0),
    "hip_rot": (-35.0, 40.0),
    "knee": (0.0, 145.0),
    "ankle": (-45.0, 25.0),
}
LIMITS: dict[str, tuple[float, float]] = {
    "spine_flex": (-25.0, 75.0),
    "spine_side": (-30.0, 30.0),
    "spine_twist": (-40.0, 40.0),
    "neck_flex": (-40.0, 45.0),
    "neck_side": (-30.0, 30.0),
    "neck_turn": (-70.0, 70.0),
    **{f"{name}_{side}": span for name, span in _SIDED_LIMITS.items() for side in "lr"},
}
"""Joint limits (low, high) in degrees. The root angles body_pitch and body_yaw have none."""


@dataclass(frozen=True)
class Build:
    """Proportions of one body, in statures.

    Attributes:
        upper_arm, forearm, hand, thigh, shin, foot: Bone lengths.
        shoulder, hip: Half widths between the joints.
        back: Waist to the shoulder line; loin: hip line to the waist.
        head: (3,) semi-axes of the head (left, up, forward).
        neck: Shoulder line to the center of the head.
        girth: Thickness of the trunk; limb: thickness of the limbs (1 = average).
        belly: Extra depth of the belly.
    """

    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shin: float
    foot: float
    shoulder: float
    hip: float
    back: float
    loin: float
    head: tuple[float, float, float]
    neck: float
    girth: float
    limb: float
    belly: float


def sample_build(rng: np.random.Generator) -> Build:
    """Draws the proportions of one body; one in seven is a child (large head, short limbs)."""
    child = rng.uniform(0.4, 1.0) if rng.random() < 0.15 else 0.0

    def vary(mean: float, spread: float = 0.05, childish: float = 0.0) -> float:
        factor = 1.0 + float(np.clip(rng.normal(0.0, spread), -2 * spread, 2 * spread))
        return mean * factor * (1.0 + childish * child)

    girth = float(np.clip(rng.lognormal(0.02, 0.17), 0.75, 1.5))
    head = vary(1.0, 0.05, 0.38)
    return Build(
        upper_arm=vary(0.172, 0.05, -0.1),
        forearm=vary(0.150, 0.05, -0.1),
        hand=vary(0.070, 0.08),
        thigh=vary(0.242, 0.05, -0.12),
        shin=vary(0.240, 0.05, -0.12),
        foot=vary(0.105, 0.08),
        shoulder=vary(0.106, 0.08),
        hip=vary(0.056, 0.08) * girth**0.4,
        back=vary(0.170, 0.05),
        loin=vary(0.115, 0.06),
        head=(0.050 * head, 0.069 * head, 0.058 * head),
        neck=vary(0.108, 0.05, 0.15),
        girth=girth,
        limb=float(np.clip(girth**0.7 * rng.lognormal(0.0, 0.1), 0.72, 1.45)),
        belly=max(0.0, float(rng.normal(0.0, 0.012))) + max(0.0, girth - 1.1) * 0.06,
    )


@dataclass(frozen=True)
class Skeleton:
    """A posed body.

    Attributes:
        points: Joint name -> (3,) float32 in body coordinates.
        frames: Part name -> (3, 3) float32, columns = the part's own left, up, forward.
        build: Its proportions.
    """

    points: dict[str, FloatArray]
    frames: dict[str, FloatArray]
    build: Build


def rotation(axis: int, degrees: float) -> FloatArray:
    """Right-handed rotation about a coordinate axis (0 x, 1 y, 2 z); (3, 3) float32."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((3, 3), np.float32)
    matrix[axis, axis] = 1.0
    matrix[first, first] = matrix[second, second] = cos
    matrix[second, first], matrix[first, second] = sin, -sin
    return matrix


def _mirror_right(matrix: FloatArray, side: str) -> FloatArray:
    """Mirrors a rotation written for the left side when the side is the right one."""
    flip = np.array([-1.0 if side == "r" else 1.0, 1.0, 1.0], np.float32)
    return matrix * flip[:, None] * flip[None, :]


def _arm_rotation(angles: Angles, side: str) -> FloatArray:
    """Pure swing of the upper arm in the chosen plane, then the twist about its axis."""
    plane, raise_ = angles[f"arm_plane_{side}"], angles[f"arm_raise_{side}"]
    swing = rotation(1, -plane) @ rotation(2, raise_)
    return _mirror_right(swing @ rotation(1, plane - angles[f"arm_twist_{side}"]), side)


def _leg_rotation(angles: Angles, side: str) -> FloatArray:
    matrix = rotation(2, angles[f"hip_abd_{side}"]) @ rotation(0, -angles[f"hip_flex_{side}"])
    return _mirror_right(matrix @ rotation(1, angles[f"hip_rot_{side}"]), side)


def pose_skeleton(build: Build, angles: Angles) -> Skeleton:
    """Forward kinematics.

    Args:
        build: Proportions.
        angles: All names of LIMITS plus body_pitch and body_yaw, in degrees.

    Returns:
        The posed skeleton; the origin is the middle between the hips.
    """
    points: dict[str, FloatArray] = {"pelvis": np.zeros(3, np.float32)}
    frames: dict[str, FloatArray] = {}

    def put(name: str, start: FloatArray, frame: FloatArray, offset: tuple[float, ...]) -> None:
        points[name] = start + frame @ np.asarray(offset, np.float32)

    pelvis = rotation(1, angles["body_yaw"]) @ rotation(0, angles["body_pitch"])
    chest, head = pelvis, pelvis
    for axis, name in ((0, "spine_flex"), (2, "spine_side"), (1, "spine_twist")):
        chest = head = chest @ rotation(axis, angles[name])
    for axis, name in ((1, "neck_turn"), (2, "neck_side"), (0, "neck_flex")):
        head = head @ rotation(axis, angles[name])
    frames.update(pelvis=pelvis, chest=chest, head=head)
    put("waist", points["pelvis"], pelvis, (0.0, build.loin, 0.0))
    put("neck", points["waist"], chest, (0.0, build.back + 0.012, 0.0))
    put("head", points["neck"], head, (0.0, build.neck, 0.014))
    wide, high, deep = build.head
    put("nose", points["head"], head, (0.0, -0.12 * high, 1.12 * deep))
    for side, sign in _SIDES:
        put(f"eye_{side}", points["head"], head, (sign * 0.42 * wide, 0.14 * high, 0.86 * deep))
        ear = (sign * 1.02 * wide, -0.02 * high, -0.08 * deep)
        put(f"ear_{side}", points["head"], head, ear)
        put(f"shoulder_{side}", points["waist"], chest, (sign * build.shoulder, build.back, 0.0))
        put(f"hip_{side}", points["pelvis"], pelvis, (sign * build.hip, 0.0, 0.0))
    _pose_limbs(points, frames, build, angles)
    return Skeleton(points, frames, build)


def _pose_limbs(
    points: dict[str, FloatArray], frames: dict[str, FloatArray], build: Build, angles: Angles
) -> None:
    """Adds arms and legs, given shoulders, hips and the frames of chest and pelvis."""
    for side, _ in _SIDES:
        upper = frames["chest"] @ _arm_rotation(angles, side)
        fore = upper @ rotation(0, -angles[f"elbow_{side}"])
        thigh = frames["pelvis"] @ _leg_rotation(angles, side)
        shin = thigh @ rotation(0, angles[f"knee_{side}"])
        foot = shin @ rotation(0, -angles[f"ankle_{side}"])
        frames.update({f"upper_arm_{side}": upper, f"forearm_{side}": fore})
        frames.update({f"thigh_{side}": thigh, f"shin_{side}": shin, f"foot_{side}": foot})
        # The bones hang down their own frame: -y.
        chain = (
            ("shoulder", "elbow", upper, build.upper_arm),
            ("elbow", "wrist", fore, build.forearm),
            ("wrist", "hand", fore, build.hand),
            ("hip", "knee", thigh, build.thigh),
            ("knee", "ankle", shin, build.shin),
        )
        for start, end, frame, length in chain:
            points[f"{end}_{side}"] = points[f"{start}_{side}"] - frame[:, 1] * np.float32(length)
        ankle = points[f"ankle_{side}"]
        points[f"heel_{side}"] = ankle + foot @ np.array([0, -0.022, -0.012], np.float32)
        points[f"toe_{side}"] = ankle + foot @ np.array([0, -0.028, build.foot], np.float32)
