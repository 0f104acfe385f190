"""What the two LSP sets share: a matrix of keypoints, numbered images, boxes made from keypoints.

Their matrices do not mean the same (``lsp``, ``lspet``), so each set parses its own.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks

_NAME = re.compile(r"im(\d{4,5})\.jpg")
_ENLARGED = np.array([1.2, 1.1])
"""A box is so much wider and higher than its keypoints, as MPII's official box helper makes it."""


def read_mat(file: Path, name: str, remedy: str, **options: Any) -> Any:
    """The variable ``name`` of a Matlab 5 file; nothing else in it is parsed.

    Raises:
        BadInput: there is no such file, it is no such file, or lacks the variable.
    """
    checks.need_file(file)
    try:
        content = scipy.io.loadmat(file, variable_names=[name], **options)
    except Exception as error:  # its parser meets broken bytes with errors of a dozen types
        raise BadInput(file, f"must be a Matlab 5 file, but {error}", remedy) from error
    if name not in content:
        raise BadInput(file, f"must hold the variable '{name}', found none", remedy)
    return content[name]


def read_joints(
    file: Path, shape: tuple[int, int], set_name: str, flag: str, other: str
) -> np.ndarray:
    """The matrix 'joints' (*shape, n), float64: finite, and its flags 0 or 1.

    Args:
        file: joints.mat.
        shape: (14, 3) or (3, 14); the side of 3 holds x, y, flag.
        set_name: whose file it must be.
        flag: what a flag of 1 means.
        other: what to say of the set that has the other shape.
    """
    remedy = f"Use joints.mat of {set_name}; {other}"
    joints = read_mat(file, "joints", remedy)
    if not np.issubdtype(joints.dtype, np.number) or np.iscomplexobj(joints):
        raise BadInput(f"{file}, joints", f"must be real numbers, found {joints.dtype}", remedy)
    if joints.shape[:2] != shape or joints.ndim != 3:
        rule = f"must have the shape ({shape[0]}, {shape[1]}, n), found {joints.shape}"
        raise BadInput(f"{file}, joints", rule, remedy)
    joints = joints.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(joints).all(axis=(0, 1)))
    rule = "the keypoints must be finite"
    records = [(f"column {column}", rule) for column in broken]
    checks.refuse(file, records, "Correct the keypoints, or set their third number to 0")
    flags = np.take(joints, 2, axis=shape.index(3))
    odd = np.flatnonzero(~np.isin(flags, (0, 1)).all(axis=0))
    rule = f"the third number of a keypoint must be 1 ({flag}) or 0"
    checks.refuse(file, [(f"column {column}", rule) for column in odd], remedy)
    return joints


def numbered_images(folder: Path, count: int, set_name: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers (n) of the images im0001.jpg and so on in a folder, rising, and their paths (n).

    A folder may hold only some of the ``count`` images that have keypoints.
    """
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
        raise BadInput(folder, rule, f"Unpack the images of {set_name} there")
    strays = [number for number in sorted(found) if not 1 <= number <= count]
    rule = f"the image must have a column in joints.mat, which has {count}"
    records = [(Path(found[number]).name, rule) for number in strays]
    checks.refuse(folder, records, "Use the joints.mat that belongs to the images")
    numbers = sorted(found)
    paths = np.array([found[number] for number in numbers], object)
    return np.array(numbers, np.int64), paths


def boxes_of_joints(
    file: Path, numbers: np.ndarray, points: np.ndarray, annotated: np.ndarray, hw: np.ndarray
) -> np.ndarray:
    """Boxes (n, 4) x0, y0, x1, y1: tight around annotated keypoints, enlarged, cut at the image.

    Args:
        file: to name in errors, with the column of each of the ``numbers`` (n).
        points: (n, k, 2) keypoints.
        annotated: (n, k) which of them count.
        hw: (n, 2) image sizes.
    """
    low = np.where(annotated[..., None], points, np.inf).min(axis=1)
    high = np.where(annotated[..., None], points, -np.inf).max(axis=1)
    flat = np.flatnonzero((high <= low).any(axis=1))
    rule = "the annotated keypoints must span a box, and lie on one line"
    records = [(f"column {numbers[row] - 1}", rule) for row in flat]
    checks.refuse(file, records, "Remove the image")
    center, half = (low + high) / 2, (high - low) / 2 * _ENLARGED
    edge = hw[:, ::-1] - 1
    boxes = np.concatenate([np.clip(center - half, 0, edge), np.clip(center + half, 0, edge)], 1)
    outside = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    rule = "the keypoints must lie in the image, and all lie outside"
    records = [(f"column {numbers[row] - 1}", rule) for row in outside]
    checks.refuse(file, records, "Use the joints.mat that belongs to the images, at their size")
    return boxes
