"""MPII in the JSON form of HRNet and its relatives: train, valid and test, and gt_valid.mat."""

from pathlib import Path
from typing import Any

import numpy as np

from sspcm_kedro.data.instances import Instances, as_text
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import MPII, Skeleton
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import boxed_instances, number_names
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_records import AREA_OF_BOX
from sspcm_kedro.sources.mat import read_mat

PERSON_PX = 200
"""A scale of 1 is a person this many pixels high."""

LOWERED = 15
"""The published crop lies this many times the scale below the person's center, to keep the feet."""

HEAD_SIZE = 0.6
"""PCKh measures errors by this share of the head box's diagonal."""


def read_mpii(
    annotation_file: Path,
    image_root: Path,
    *,
    labeled: bool = True,
    head_boxes: Path | None = None,
) -> tuple[Instances, Skeleton]:
    """The people of an MPII JSON, in file order. Coordinates in the file count from 1, here from 0.

    People without any annotated keypoint are left out of a labeled file. Annotated keypoints have
    visibility 2: the file does not tell which are covered. The box is the square that the published
    crop is 1.25 times of: 200 times the scale, around the center lowered by 15 times the scale. The
    set has no areas; the people's are 0.53 times their boxes', and no part of its protocol. Image
    sizes are read from the image files. ``source_ids`` are the rows in the file, from 0, and
    ``source_image_ids`` the names of the images.

    Args:
        annotation_file: a list of {image, center, scale, joints, joints_vis}.
        image_root: the folder of the images.
        labeled: false for a test file, which has no keypoints; everyone is kept.
        head_boxes: gt_valid.mat, in the order of this file.
    """
    records = _records(annotation_file, labeled)
    names = [f"person in row {row}" for row in range(len(records))]
    boxes = person_boxes(
        annotation_file,
        checks.parse_numbers(annotation_file, "center", _values(names, records, "center"), (2,)),
        _scales(annotation_file, names, records),
        names,
    )
    visibility = np.zeros((len(records), MPII.size), int)
    keypoints = np.zeros((*visibility.shape, 2))
    kept = np.arange(len(records))
    if labeled:
        keypoints, visibility = _joints(annotation_file, names, records)
        kept = np.flatnonzero(visibility.any(axis=1))
    heads = np.full(len(records), np.nan)
    if head_boxes is not None:
        heads = read_head_sizes(head_boxes, len(records), annotation_file)
    if not len(kept):
        rule = "the file must hold at least one person with an annotated keypoint"
        raise BadInput(annotation_file, rule, "A file without keypoints is of the test part")
    images = [records[row]["image"] for row in kept]
    return (
        mpii_people(
            annotation_file, image_root, images, kept,
            boxes=boxes[kept], keypoints=keypoints[kept], visibility=visibility[kept],
            head_sizes=heads[kept], source_image_ids=as_text(images),
        ),
        MPII,
    )  # fmt: skip


def mpii_people(
    annotation_file: Path,
    image_root: Path,
    images: list[str],
    rows: np.ndarray,
    *,
    boxes: np.ndarray,
    keypoints: np.ndarray,
    visibility: np.ndarray,
    head_sizes: np.ndarray,
    source_image_ids: np.ndarray,
    source_ids: np.ndarray | None = None,
) -> Instances:
    """People (n) of MPII, whatever file they stand in; keypoints are already counted from 0."""
    checks.need_images(annotation_file, dict.fromkeys(images), image_root)
    paths = [image_root / image for image in images]
    return boxed_instances(
        ids=rows + 1,
        image_ids=number_names(images),
        paths=paths,
        image_hw=checks.stored_sizes(paths),
        boxes=boxes,
        area_of_box=AREA_OF_BOX,
        keypoints=keypoints,
        visibility=visibility,
        head_sizes=head_sizes.astype(np.float32),
        source_ids=as_text(rows) if source_ids is None else source_ids,
        source_image_ids=source_image_ids,
    )


def person_boxes(
    file: Path, centers: np.ndarray, scales: np.ndarray, names: list[str]
) -> np.ndarray:
    """Boxes (n, 4), from 0, of centers (n, 2), from 1, and scales (n, 2) along x and y."""
    absent = [
        (name, f"a person needs a center and a scale above 0, found {center} and {scale}")
        for name, center, scale in zip(names, centers.tolist(), scales.tolist(), strict=True)
        if center[0] == -1 or min(scale) <= 0
    ]
    checks.refuse(file, absent, "Add them, or remove the person")
    middle = centers - 1 + np.stack([np.zeros(len(scales)), LOWERED * scales[:, 1]], axis=1)
    half = PERSON_PX * scales / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def read_head_sizes(file: Path, count: int, annotation_file: Path) -> np.ndarray:
    """0.6 times the diagonals (n) of the head boxes in gt_valid.mat."""
    remedy = f"Use the gt_valid.mat that belongs to {annotation_file.name}"
    boxes = read_mat(file, "headboxes_src", remedy)
    if boxes.dtype.kind not in "iuf" or boxes.shape != (2, 2, count):
        rule = f"must be numbers of shape (2, 2, {count}), a box a person, found {boxes.shape}"
        raise BadInput(f"{file}, headboxes_src", rule, remedy)
    corners = boxes.astype(np.float64)
    sizes = HEAD_SIZE * np.linalg.norm(corners[1] - corners[0], axis=0)
    broken = np.flatnonzero(~(np.isfinite(sizes) & (sizes > 0)))
    rule = "the head box must have a finite diagonal above 0"
    checks.refuse(file, [(f"headboxes_src of person {row}", rule) for row in broken], remedy)
    return sizes


def _records(file: Path, labeled: bool) -> list[Record]:
    remedy = "Each needs image, center, scale, joints and joints_vis"
    records = checks.read_records(file, "an MPII file", remedy)
    if not records:
        raise BadInput(file, "the file must hold at least one person", "Export it again")
    joints = ("joints", "joints_vis") if labeled else ()
    checks.need_keys(file, "person", records, ("image", "center", "scale", *joints))
    named = [(f"person in row {row}", record["image"]) for row, record in enumerate(records)]
    checks.need_names_inside(file, named)
    return records


def _values(names: list[str], records: list[Record], key: str) -> list[tuple[str, Any]]:
    return [(name, record[key]) for name, record in zip(names, records, strict=True)]


def _scales(file: Path, names: list[str], records: list[Record]) -> np.ndarray:
    """Scales (n, 2) along x and y; the file has one number for both, its relatives may have two."""
    both = [
        (name, scale if isinstance(scale, list) else [scale, scale])
        for name, scale in _values(names, records, "scale")
    ]
    return checks.parse_numbers(file, "scale", both, (2,))


def _joints(file: Path, names: list[str], records: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (n, 16, 2), from 0, and visibility (n, 16)."""
    points = checks.parse_numbers(file, "joints", _values(names, records, "joints"), (MPII.size, 2))
    flags = checks.parse_numbers(
        file, "joints_vis", _values(names, records, "joints_vis"), (MPII.size,)
    )
    rule = "joints_vis must be 1 (annotated) or 0"
    odd = np.flatnonzero(~np.isin(flags, (0, 1)).all(axis=1))
    checks.refuse(file, [(names[row], rule) for row in odd], "Correct the flags")
    return points - 1, np.where(flags > 0, 2, 0)
