"""Skeletons are data: names, flip pairs, OKS sigmas and limbs of one keypoint convention."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

DEFAULT_SIGMA = 0.08
"""OKS sigma of a joint nobody measured: between COCO's elbow (0.072) and knee (0.087)."""


@dataclass(frozen=True)
class Skeleton:
    """One keypoint convention.

    Attributes:
        names: the k keypoint names, in file order.
        flip_pairs: index pairs that swap when a person is mirrored.
        sigmas: k OKS sigmas, or empty where the convention has none (then only PCK is defined).
        limbs: index pairs to draw.
        torso: the two joints whose distance is the reference length of PCK (LSP: left shoulder
            and right hip); ``None`` means the box's longer side is the reference.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    limbs: tuple[tuple[int, int], ...] = ()
    torso: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        k = len(self.names)
        pairs = [*self.flip_pairs, *self.limbs, *([self.torso] if self.torso else [])]
        if any(not 0 <= i < k for pair in pairs for i in pair):
            raise ValueError(f"flip pairs, limbs and torso index {k} keypoints from 0; got {pairs}")
        flipped = [i for pair in self.flip_pairs for i in pair]
        if len(flipped) != len(set(flipped)):
            raise ValueError(f"a keypoint stands in two flip pairs: {self.flip_pairs}")
        if self.sigmas and len(self.sigmas) != k:
            raise ValueError(f"{k} keypoints need {k} sigmas, got {len(self.sigmas)}")

    @property
    def size(self) -> int:
        """The number of keypoints, k."""
        return len(self.names)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """The permutation (k) that a horizontal flip applies to the keypoints."""
        order = list(range(self.size))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description; ``from_dict`` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Skeleton":
        """The skeleton that ``to_dict`` wrote."""

        def pairs(value: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
            return tuple((int(a), int(b)) for a, b in value)

        torso = record.get("torso")
        return cls(
            names=tuple(record["names"]),
            flip_pairs=pairs(record.get("flip_pairs", ())),
            sigmas=tuple(record.get("sigmas", ())),
            limbs=pairs(record.get("limbs", ())),
            torso=(int(torso[0]), int(torso[1])) if torso else None,
        )


def flip_pairs_from_names(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Index pairs of names that differ only by left/right (or l_/r_), e.g. left_hip, right_hip."""
    swap = {"left": "right", "l": "r"}
    index = {name.lower(): i for i, name in enumerate(names)}
    pairs = []
    for name, i in index.items():
        mirrored = re.sub(
            r"(?<![a-z])(left|l)(?![a-z])", lambda match: swap[match.group()], name, count=1
        )
        if mirrored != name and mirrored in index:
            pairs.append((i, index[mirrored]))
    return tuple(pairs)


_COCO_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_LSP_NAMES = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head_top",
)  # fmt: skip

COCO = Skeleton(
    names=_COCO_NAMES,
    flip_pairs=flip_pairs_from_names(_COCO_NAMES),
    sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
            0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    limbs=((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7),
           (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    torso=(5, 12),
)  # fmt: skip
"""COCO-17; sigmas as published with the COCO keypoint challenge."""

LSP = Skeleton(
    names=_LSP_NAMES,
    flip_pairs=flip_pairs_from_names(_LSP_NAMES),
    limbs=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11),
           (8, 12), (9, 12), (12, 13), (2, 8), (3, 9)),
    torso=(9, 2),
)  # fmt: skip
"""LSP and LSP-extended, 14 joints. No sigmas were published: PCK only."""
