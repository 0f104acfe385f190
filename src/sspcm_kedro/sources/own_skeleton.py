"""Skeletons of the user's own keypoints: what names tell, and what settings correct."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.sides import coco_name, lone_sides
from sspcm_kedro.pose.skeleton import Skeleton

logger = logging.getLogger(__name__)


def torso_from_names(names: Sequence[str]) -> tuple[int, int] | None:
    """The left shoulder and the right hip, where keypoints are called so."""
    index = {coco_name(name): i for i, name in enumerate(names)}
    shoulder, hip = index.get("left_shoulder"), index.get("right_hip")
    return None if shoulder is None or hip is None else (shoulder, hip)


def adjust_skeleton(
    skeleton: Skeleton,
    *,
    sigmas: Sequence[float] | None = None,
    flip_pairs: Sequence[tuple[int, int]] | None = None,
    torso: tuple[int, int] | None = None,
) -> Skeleton:
    """The skeleton with what ``source`` sets.

    Raises:
        BadInput: it is not of these keypoints.
    """
    try:
        return replace(
            skeleton,
            sigmas=skeleton.sigmas if sigmas is None else tuple(sigmas),
            flip_pairs=skeleton.flip_pairs if flip_pairs is None else tuple(flip_pairs),
            torso=torso or skeleton.torso,
        )
    except ValueError as error:
        remedy = f"Count from 0 in {skeleton.names}"
        raise BadInput("source, sigmas, flip_pairs, torso", str(error), remedy) from error


def warn_of_lone_sides(file: Path, skeleton: Skeleton) -> None:
    """Say which keypoints stay in place in a mirror image, where names tell of no pair or half of
    one."""
    lone = lone_sides(skeleton.names)
    if lone or not skeleton.flip_pairs:
        logger.warning(
            "%s: by name no keypoint is the other side of one of %s, which stay in place in a "
            "mirror image; if some must swap, set source.flip_pairs (if none, to []), or mirror "
            "nobody: view.weak.flip_probability=0", file, lone or skeleton.names,
        )  # fmt: skip
