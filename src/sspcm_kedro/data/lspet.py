"""LSP-extended: ``joints.mat`` and ``images/im00001.jpg``, one annotated person an image."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from PIL import Image

from sspcm_kedro.data import checks
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import LSP, Skeleton

_NAME = re.compile(r"im(\d{4,5})\.jpg")
_ENLARGED = np.array([1.2, 1.1])
"""A box is this much wider and higher than its joints, as MPII's official box helper makes it."""


def read_lspet(root: Path) -> tuple[Instances, Skeleton]:
    """The people of an LSP-extended folder, in index order.

    Image i belongs to column i - 1 of ``joints.mat``; a folder with only some of the images is a
    subset and is read as such. The third row of ``joints.mat`` says annotated (1) or not (0), and
    only that counts: unannotated joints have arbitrary coordinates. People without any annotated
    joint are left out.
    """
    checks.need_folder(root)
    joints = _read_joints(root / "joints.mat")
    numbers, paths = _numbered_images(root / "images", joints)
    annotated = joints[numbers - 1, :, 2] > 0
    kept = annotated.any(axis=1)
    if not kept.any():
        rule = "at least one image must have an annotated joint"
        raise BadInput(root / "joints.mat", rule, "Use the joints.mat that belongs to the images")
    numbers, paths, annotated = numbers[kept], paths[kept], annotated[kept]
    points = np.where(annotated[..., None], joints[numbers - 1, :, :2], 0)
    image_hw = np.array([_size(Path(path)) for path in paths], np.int64)
    boxes = _boxes(root / "joints.mat", numbers, points, annotated, image_hw)
    instances = Instances(
        ids=numbers,
        image_ids=numbers,
        paths=paths,
        image_hw=image_hw,
        boxes=boxes.astype(np.float32),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).astype(np.float32),
        box_scores=np.ones(len(numbers), np.float32),
        keypoints=points.astype(np.float32),
        visibility=np.where(annotated, 2, 0).astype(np.int64),
    )
    return instances, LSP


def _read_joints(file: Path) -> np.ndarray:
    """The joints (n, 14, 3): x, y, annotated."""
    checks.need_file(file)
    remedy = "Use joints.mat of LSP-extended; the original LSP has another layout, (3, 14, n)"
    try:  # named variables only, and matrices only: nothing else is parsed
        content: dict[str, Any] = scipy.io.loadmat(file, variable_names=["joints"])
    except (ValueError, TypeError, OSError, NotImplementedError, IndexError) as error:
        raise BadInput(file, f"must be a Matlab 5 file, but {error}", remedy) from error
    joints = content.get("joints")
    if joints is None:
        raise BadInput(file, "must hold the matrix 'joints', found none", remedy)
    if not np.issubdtype(joints.dtype, np.number) or np.iscomplexobj(joints):
        raise BadInput(f"{file}, joints", f"must be real numbers, found {joints.dtype}", remedy)
    if joints.shape[:2] != (LSP.size, 3) or joints.ndim != 3:
        rule = f"must have the shape (14, 3, n), found {joints.shape}"
        raise BadInput(f"{file}, joints", rule, remedy)
    joints = joints.transpose(2, 0, 1).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(joints).all(axis=(1, 2)))
    rule = "the joints must be finite"
    records = [(f"column {column}", rule) for column in broken]
    checks.refuse(file, records, "Correct the joints, or set their third number to 0")
    odd = np.flatnonzero(~np.isin(joints[..., 2], (0, 1)).all(axis=1))
    rule = "the third number of a joint must be 1 (annotated) or 0"
    checks.refuse(file, [(f"column {column}", rule) for column in odd], remedy)
    return joints


def _numbered_images(folder: Path, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers (n) of the images in the folder, rising, and their paths (n)."""
    checks.need_folder(folder)
    found: dict[int, str] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if not match:
            continue
        number = int(match.group(1))
        if number in found:
            rule = f"an image must occur once, and is also {Path(found[number]).name}"
            raise BadInput(path, rule, "Remove one of the two files")
        found[number] = str(path)
    if not found:
        rule = "the folder must hold im00001.jpg and so on, found none"
        raise BadInput(folder, rule, "Unpack the images of LSP-extended there")
    strays = [number for number in sorted(found) if not 1 <= number <= len(joints)]
    rule = f"the image must have a column in joints.mat, which has {len(joints)}"
    records = [(Path(found[number]).name, rule) for number in strays]
    checks.refuse(folder, records, "Use the joints.mat that belongs to the images")
    numbers = sorted(found)
    paths = np.array([found[number] for number in numbers], object)
    return np.array(numbers, np.int64), paths


def _size(path: Path) -> tuple[int, int]:
    """The stored (height, width) of an image, from its header."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        remedy = "Copy the file again, or remove it"
        raise BadInput(path, f"the image must be readable, but {error}", remedy) from error


def _boxes(
    file: Path, numbers: np.ndarray, points: np.ndarray, annotated: np.ndarray, hw: np.ndarray
) -> np.ndarray:
    """Boxes (n, 4) x0, y0, x1, y1: tight around annotated joints, enlarged, cut at the image."""
    low = np.where(annotated[..., None], points, np.inf).min(axis=1)
    high = np.where(annotated[..., None], points, -np.inf).max(axis=1)
    flat = np.flatnonzero((high <= low).any(axis=1))
    rule = "the annotated joints must span a box, and lie on one line"
    records = [(f"column {numbers[row] - 1}", rule) for row in flat]
    checks.refuse(file, records, "Remove the image")
    center, half = (low + high) / 2, (high - low) / 2 * _ENLARGED
    edge = hw[:, ::-1] - 1
    boxes = np.concatenate([np.clip(center - half, 0, edge), np.clip(center + half, 0, edge)], 1)
    outside = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    rule = "the joints must lie in the image, and all lie outside"
    records = [(f"column {numbers[row] - 1}", rule) for row in outside]
    checks.refuse(file, records, "Use the joints.mat that belongs to the images, at their size")
    return boxes
