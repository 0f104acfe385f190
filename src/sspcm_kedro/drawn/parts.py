"""Body parts and which of them shows a keypoint."""

from enum import IntEnum

PARTS = 32
"""Owner value = person number * PARTS + Part."""


class Part(IntEnum):
    """Body parts of the owner buffer."""

    TRUNK = 1
    NECK = 2
    HEAD = 3
    HAIR = 4
    NOSE = 5
    EYE_L = 6
    EYE_R = 7
    EAR_L = 8
    EAR_R = 9
    UPPER_ARM_L = 10
    UPPER_ARM_R = 11
    FOREARM_L = 12
    FOREARM_R = 13
    HAND_L = 14
    HAND_R = 15
    THIGH_L = 16
    THIGH_R = 17
    SHIN_L = 18
    SHIN_R = 19
    FOOT_L = 20
    FOOT_R = 21
    BAG = 22


KEYPOINT_JOINTS = (
    "nose",
    *(f"{joint}_{side}" for joint in ("eye", "ear", "shoulder", "elbow", "wrist") for side in "lr"),
    *(f"{joint}_{side}" for joint in ("hip", "knee", "ankle") for side in "lr"),
)
"""Skeleton joint of each COCO keypoint, in COCO order."""

ADJACENT: dict[str, frozenset[Part]] = {
    "nose": frozenset({Part.NOSE}),
    "eye_l": frozenset({Part.EYE_L}),
    "eye_r": frozenset({Part.EYE_R}),
    "ear_l": frozenset({Part.EAR_L}),
    "ear_r": frozenset({Part.EAR_R}),
    "shoulder_l": frozenset({Part.TRUNK, Part.UPPER_ARM_L}),
    "shoulder_r": frozenset({Part.TRUNK, Part.UPPER_ARM_R}),
    "elbow_l": frozenset({Part.UPPER_ARM_L, Part.FOREARM_L}),
    "elbow_r": frozenset({Part.UPPER_ARM_R, Part.FOREARM_R}),
    "wrist_l": frozenset({Part.FOREARM_L, Part.HAND_L}),
    "wrist_r": frozenset({Part.FOREARM_R, Part.HAND_R}),
    "hip_l": frozenset({Part.TRUNK, Part.THIGH_L}),
    "hip_r": frozenset({Part.TRUNK, Part.THIGH_R}),
    "knee_l": frozenset({Part.THIGH_L, Part.SHIN_L}),
    "knee_r": frozenset({Part.THIGH_R, Part.SHIN_R}),
    "ankle_l": frozenset({Part.SHIN_L, Part.FOOT_L}),
    "ankle_r": frozenset({Part.SHIN_R, Part.FOOT_R}),
}
"""Parts whose surface over a joint leaves the joint visible."""
