"""Skeletons are data: names, flip pairs, OKS sigmas and limbs of one keypoint convention."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.sides import coco_name, flip_pairs_from_names

DEFAULT_SIGMA = 0.08
"""OKS sigma of a keypoint nobody measured: between COCO's elbow (0.072) and knee (0.087)."""


@dataclass(frozen=True)
class UnionTraining:
    """Which channels of a union mean something in one union training.

    Attributes:
        trained: channels that some labeled set has; the others are never learned, and are noise.
        evaluated: the keypoints of the set that is evaluated.
        channels: (k of ``evaluated``) the channel of each of its keypoints, in its own order.
    """

    trained: tuple[int, ...]
    evaluated: "Skeleton"
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Skeleton:
    """One keypoint convention.

    Attributes:
        names: the k keypoint names, in file order.
        flip_pairs: index pairs that swap when a person is mirrored.
        sigmas: k OKS sigmas, or empty where the convention has none (then only PCK is defined).
        limbs: index pairs to draw.
        torso: the two keypoints whose distance is the reference length of PCK (LSP: left shoulder
            and right hip); ``None`` means the box's longer side is the reference.
        union: in a union of several conventions, what its channels are in this training.
        category: what those who have it are called in files that leave (of several categories with
            the same keypoints, the first).
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    limbs: tuple[tuple[int, int], ...] = ()
    torso: tuple[int, int] | None = None
    union: UnionTraining | None = None
    category: str = "person"

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
    def pck_unit(self) -> str:
        """What PCK measures errors by: "torso", or "box", the longer side of a person's."""
        return "torso" if self.torso else "box"

    @property
    def unpublished_sigmas(self) -> tuple[str, ...]:
        """The keypoints whose OKS sigma is no published one of their name: OKS, and so AP, is then
        comparable within this data set only."""
        known = {
            (name, sigma)
            for convention in (COCO, AIC, FISHEYE, CROWDPOSE)
            for name, sigma in zip(convention.names, convention.sigmas, strict=True)
        }
        own = zip(self.names, self.sigmas, strict=False)  # there may be none
        return tuple(name for name, sigma in own if (coco_name(name), sigma) not in known)

    @property
    def trained(self) -> tuple[int, ...]:
        """Channels that some label teaches; all but in a union."""
        return self.union.trained if self.union else tuple(range(self.size))

    @property
    def evaluated(self) -> "Skeleton":
        """The keypoints to evaluate, in the order of their own set."""
        return self.union.evaluated if self.union else self

    @property
    def evaluated_channels(self) -> tuple[int, ...]:
        """The channel of each keypoint of ``evaluated``."""
        return self.union.channels if self.union else tuple(range(self.size))

    @property
    def flip_order(self) -> tuple[int, ...]:
        """The permutation (k) that a horizontal flip applies to the keypoints."""
        order = list(range(self.size))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description; ``from_dict`` reads it back."""
        record = asdict(self)
        if self.category == Skeleton.category:
            del record["category"]
        if self.union is None:
            del record["union"]
        else:
            record["union"]["evaluated"] = self.union.evaluated.to_dict()
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Skeleton":
        """The skeleton that ``to_dict`` wrote."""

        def pairs(value: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
            return tuple((int(a), int(b)) for a, b in value)

        torso, union, training = record.get("torso"), record.get("union"), None
        if union:
            trained, channels = tuple(union["trained"]), tuple(union["channels"])
            training = UnionTraining(trained, cls.from_dict(union["evaluated"]), channels)
        return cls(
            names=tuple(record["names"]),
            flip_pairs=pairs(record.get("flip_pairs", ())),
            sigmas=tuple(record.get("sigmas", ())),
            limbs=pairs(record.get("limbs", ())),
            torso=(int(torso[0]), int(torso[1])) if torso else None,
            union=training,
            category=record.get("category", cls.category),
        )


def _convention(names: str, **parts: Any) -> Skeleton:
    """A skeleton of keypoints named in file order, divided by blanks; left and right are paired."""
    keypoints = tuple(names.split())
    return Skeleton(keypoints, flip_pairs_from_names(keypoints), **parts)


COCO = _convention(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle",
    sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
            0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    limbs=((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7),
           (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    torso=(5, 12),
)  # fmt: skip
"""COCO-17; sigmas as published with the COCO keypoint challenge."""

LSP = _convention(
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow "
    "right_shoulder left_shoulder left_elbow left_wrist neck head_top",
    limbs=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11),
           (8, 12), (9, 12), (12, 13), (2, 8), (3, 9)),
    torso=(9, 2),
)  # fmt: skip
"""LSP and LSP-extended, 14 keypoints. No sigmas were published: PCK only."""

MPII = _convention(
    "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck "
    "head_top right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist",
    limbs=((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11),
           (11, 12), (12, 7), (7, 13), (13, 14), (14, 15)),
    torso=(13, 2),
)  # fmt: skip
"""MPII, 16 keypoints. It is evaluated by PCKh; no sigmas were published."""

AIC = _convention(
    "right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip "
    "right_knee right_ankle left_hip left_knee left_ankle head_top neck",
    sigmas=(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642,
            0.03686941, 0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173),
    limbs=((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (12, 13), (13, 0),
           (13, 3), (0, 6), (3, 9), (6, 9)),
    torso=(3, 6),
)  # fmt: skip
"""AI Challenger, 14 keypoints; sigmas as published with it (its own metric's delta is 2 sigma)."""

FISHEYE = replace(
    AIC,
    sigmas=(0.079, 0.072, 0.062, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089, 0.107, 0.087, 0.089,
            0.026, 0.026),
)  # fmt: skip
"""WEPDTOF-Pose and BKFisheye: AI Challenger's keypoints with COCO's sigmas."""

CROWDPOSE = _convention(
    "left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip "
    "right_hip left_knee right_knee left_ankle right_ankle head_top neck",
    sigmas=(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
            0.079, 0.079),
    limbs=((10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 2), (2, 4), (1, 3),
           (3, 5), (0, 13), (1, 13), (12, 13)),
    torso=(0, 7),
)  # fmt: skip
"""CrowdPose, 14 keypoints, left first."""

UNION = _convention(
    "pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle belly thorax neck "
    "upper_neck nose head head_top left_shoulder left_elbow left_wrist right_shoulder "
    "right_elbow right_wrist right_eye left_eye right_ear left_ear",
    torso=(14, 1),
)
"""The 24 keypoints of all sets above. Union training uses them as ``trained_union`` makes them."""

# LSP's neck lies where MPII has its upper neck, at the chin; AI Challenger's lies lower.
_ALIASES = {LSP.names: {"neck": "upper_neck"}}


def plain_name(name: str) -> str:
    """A keypoint's name without capitals and blanks: "Head top" is head_top."""
    return re.sub(r"\W+", "_", name.strip().lower())


def published(names: Sequence[str]) -> Skeleton | None:
    """The published convention that has exactly these names, in this order, if there is one."""
    plain = tuple(map(plain_name, names))
    return next((skeleton for skeleton in (COCO, AIC, CROWDPOSE) if skeleton.names == plain), None)


def union_channels(skeleton: Skeleton) -> tuple[int, ...]:
    """The channel (k) of ``UNION`` that each keypoint of a skeleton has.

    Raises:
        BadInput: a keypoint is none of the union's.
    """
    alias = _ALIASES.get(skeleton.names, {})
    names = [alias.get(name, plain_name(name)) for name in skeleton.names]
    strange = [name for name in names if name not in UNION.names]
    if strange:
        rule = f"union training knows the keypoints {UNION.names}, found {strange[0]!r} too"
        raise BadInput("skeleton", rule, "Train on this source alone, or rename its keypoints")
    return tuple(UNION.names.index(name) for name in names)


def trained_union(labeled: Sequence[Skeleton], evaluated: Skeleton) -> Skeleton:
    """The union as several labeled sets train it, and one of them is evaluated.

    Raises:
        BadInput: the evaluated set has a keypoint that no labeled set has.
    """
    trained = sorted({channel for skeleton in labeled for channel in union_channels(skeleton)})
    channels = union_channels(evaluated)
    untrained = [UNION.names[channel] for channel in channels if channel not in trained]
    if untrained:
        rule = f"every evaluated keypoint must be taught by some label, {untrained[0]!r} is not"
        raise BadInput("source, validation", rule, "Evaluate on a set with the labeled keypoints")
    torso = evaluated.torso
    return replace(
        UNION,
        limbs=tuple((channels[a], channels[b]) for a, b in evaluated.limbs),
        torso=(channels[torso[0]], channels[torso[1]]) if torso else None,
        union=UnionTraining(tuple(trained), evaluated, channels),
    )
