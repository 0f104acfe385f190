"""Body parts and which of them shows a keypoint."""

from enum import IntEnum

PARTS = 32
"""Owner value = person number * PARTS + Part."""

Part = IntEnum(
    "Part",
    "TRUNK NECK HEAD HAIR NOSE EYE_L EYE_R EAR_L EAR_R UPPER_ARM_L UPPER_ARM_R FOREARM_L FOREARM_R "
    "HAND_L HAND_R THIGH_L THIGH_R SHIN_L SHIN_R FOOT_L FOOT_R BAG",
)
"""Body parts of the owner buffer, from 1."""

KEYPOINT_JOINTS = (
    "nose",
    *(f"{joint}_{side}" for joint in ("eye", "ear", "shoulder", "elbow", "wrist") for side in "lr"),
    *(f"{joint}_{side}" for joint in ("hip", "knee", "ankle") for side in "lr"),
)
"""Skeleton joint of each COCO keypoint, in COCO order."""

_SIDED_ADJACENT = {
    "eye": "EYE_{}",
    "ear": "EAR_{}",
    "shoulder": "TRUNK UPPER_ARM_{}",
    "elbow": "UPPER_ARM_{} FOREARM_{}",
    "wrist": "FOREARM_{} HAND_{}",
    "hip": "TRUNK THIGH_{}",
    "knee": "THIGH_{} SHIN_{}",
    "ankle": "SHIN_{} FOOT_{}",
}
ADJACENT: dict[str, frozenset[Part]] = {
    "nose": frozenset({Part.NOSE}),
    **{
        f"{joint}_{side}": frozenset(Part[part.format(side.upper())] for part in parts.split())
        for joint, parts in _SIDED_ADJACENT.items()
        for side in "lr"
    },
}
"""Parts whose surface over a joint leaves the joint visible."""
