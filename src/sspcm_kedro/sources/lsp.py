"""LSP and LSP-extended: ``joints.mat`` and ``images/im0001.jpg``, one annotated person an image.

The numbers of their matrices do not mean the same, so each set parses its own; the rest is shared.
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import Archive, Part, PublishedSet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import LSP, Skeleton
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import BaseSource, assemble, boxed_instances
from sspcm_kedro.sources.mat import read_mat

TRAINING_IMAGES = 1000
"""The first 1000 images of LSP are the published training set, the others the test set."""

_NAME = re.compile(r"im(\d{4,5})\.jpg")
_ENLARGED = np.array([1.2, 1.1])
"""A box is so much wider and higher than its keypoints, as MPII's official box helper makes it."""


def _published(name: str) -> PublishedSet:
    url = f"https://sam.johnson.io/research/{name}_dataset.zip"
    places = (("images/im*.jpg", "images/"), ("joints.mat", "joints.mat"))
    return PublishedSet(name, {"all": Part((Archive(url, places),))})


class LspetSource(BaseSource):
    """LSP-extended: `joints.mat` and `images/`, whole or a part; no validation people.

    The images of HR-LSPET (hr-lspet.zip of the MPI) are PNG files whose keypoints go by their
    sorted names and not by their numbers: they cannot be taken for LSP-extended.

    Attributes:
        root: the folder.
    """

    skeleton = LSP
    published = (_published("lspet"),)

    kind: Literal["lspet"] = "lspet"
    root: Path

    def read(self, made_folder: Path | None = None) -> Source:
        people, skeleton = read_lspet(self.root)
        return assemble(skeleton, people)


class LspSource(BaseSource):
    """The original LSP: `joints.mat` and `images/`; images from 1001 on are the validation.

    Attributes:
        root: the folder.
    """

    skeleton = LSP
    published = (_published("lsp"),)

    kind: Literal["lsp"] = "lsp"
    root: Path

    def read(self, made_folder: Path | None = None) -> Source:
        people, skeleton = read_lsp(self.root)
        train = people.ids <= TRAINING_IMAGES
        if not train.any():
            rule = f"at least one of the training images (1 to {TRAINING_IMAGES}) must be there"
            raise BadInput(self.root / "images", rule, "Unpack them too")
        rest = people.take(~train) if (~train).any() else None
        return assemble(skeleton, people.take(train), rest)


def read_lsp(root: Path) -> tuple[Instances, Skeleton]:
    """The people of an LSP folder, in index order.

    Image i belongs to column i - 1 of ``joints.mat``, of shape (3, 14, n). The third number of a
    keypoint is taken for "occluded" (1: visibility 1, 0: visibility 2) and every keypoint for
    annotated. That is how public pose code reads it; the set's own documents were not at hand.
    Coordinates are used as they are; whether they count from 1 is not documented either.
    """
    other = "LSP-extended has another layout, (14, 3, n), and is of kind lspet"
    joints = _read_joints(root, (3, LSP.size), "the original LSP", "occluded", other)
    joints = joints.transpose(2, 1, 0)
    return _read_people(root, "LSP", joints[..., :2], np.where(joints[..., 2] > 0, 1, 2)), LSP


def read_lspet(root: Path) -> tuple[Instances, Skeleton]:
    """The people of an LSP-extended folder, in index order.

    Image i belongs to column i - 1 of ``joints.mat``, of shape (14, 3, n); a folder with only some
    of the images is a subset and is read as such. The third number of a keypoint says annotated (1)
    or not (0), and only that counts: unannotated keypoints have arbitrary coordinates. People
    without any annotated keypoint are left out. Coordinates are used as they are; whether they
    count from 1 is not documented.
    """
    other = "the original LSP has another layout, (3, 14, n), and is of kind lsp"
    joints = _read_joints(root, (LSP.size, 3), "LSP-extended", "annotated", other)
    joints = joints.transpose(2, 0, 1)
    visibility = np.where(joints[..., 2] > 0, 2, 0)
    return _read_people(root, "LSP-extended", joints[..., :2], visibility), LSP


def _read_joints(
    root: Path, shape: tuple[int, int], set_name: str, flag: str, other: str
) -> np.ndarray:
    """The matrix 'joints' (*shape, n), float64: finite, and its flags 0 or 1.

    Args:
        root: of joints.mat.
        shape: (14, 3) or (3, 14); the side of 3 holds x, y, flag.
        set_name: whose file it must be.
        flag: what a flag of 1 means.
        other: what to say of the set that has the other shape.
    """
    checks.need_folder(root)
    file = root / "joints.mat"
    remedy = f"Use joints.mat of {set_name}; {other}"
    joints = read_mat(file, "joints", remedy)
    if not np.issubdtype(joints.dtype, np.number) or np.iscomplexobj(joints):
        raise BadInput(f"{file}, joints", f"must be real numbers, found {joints.dtype}", remedy)
    if joints.shape[:2] != shape or joints.ndim != 3:
        rule = f"must have the shape ({shape[0]}, {shape[1]}, n), found {joints.shape}"
        raise BadInput(f"{file}, joints", rule, remedy)
    joints = joints.astype(np.float64)
    broken = ~np.isfinite(joints).all(axis=(0, 1))
    _refuse_columns(file, np.flatnonzero(broken), "the keypoints must be finite",
                    "Correct the keypoints, or set their third number to 0")  # fmt: skip
    odd = ~np.isin(np.take(joints, 2, axis=shape.index(3)), (0, 1)).all(axis=0)
    rule = f"the third number of a keypoint must be 1 ({flag}) or 0"
    _refuse_columns(file, np.flatnonzero(odd), rule, remedy)
    return joints


def _refuse_columns(file: Path, columns: np.ndarray, rule: str, remedy: str) -> None:
    checks.refuse(file, [(f"column {column}", rule) for column in columns], remedy)


def _read_people(
    root: Path, set_name: str, keypoints: np.ndarray, visibility: np.ndarray
) -> Instances:
    """The people (m) with annotated keypoints whose images are in the folder.

    Args:
        root: of joints.mat and images.
        set_name: for messages.
        keypoints: (n, 14, 2) of all images, image pixels.
        visibility: (n, 14) 0, 1, 2.
    """
    file = root / "joints.mat"
    path_of = _numbered_images(root / "images", len(keypoints), set_name)
    numbers = np.array([n for n in path_of if visibility[n - 1].any()], np.int64)
    if not len(numbers):
        rule = "at least one image must have an annotated keypoint"
        raise BadInput(file, rule, "Use the joints.mat that belongs to the images")
    paths = [path_of[number] for number in numbers.tolist()]
    keypoints, visibility = keypoints[numbers - 1], visibility[numbers - 1]
    image_hw = checks.stored_sizes(paths)
    return boxed_instances(
        ids=numbers, image_ids=numbers, paths=paths, image_hw=image_hw,
        boxes=_boxes(file, numbers - 1, keypoints, visibility > 0, image_hw),
        keypoints=keypoints, visibility=visibility,
    )  # fmt: skip


def _numbered_images(folder: Path, count: int, set_name: str) -> dict[int, Path]:
    """The images im0001.jpg and so on of a folder by their numbers, rising.

    A folder may hold only some of the ``count`` images that have keypoints.
    """
    checks.need_folder(folder)
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and (first := found.setdefault(int(match[1]), path)) != path:
            rule = f"an image must occur once, and is also {first.name}"
            raise BadInput(path, rule, "Remove one of the two files")
    if not found:
        rule = "the folder must hold im00001.jpg and so on, found none"
        raise BadInput(folder, rule, f"Unpack the images of {set_name} there")
    rule = f"the image must have a column in joints.mat, which has {count}"
    strays = [(found[n].name, rule) for n in sorted(found) if not 1 <= n <= count]
    checks.refuse(folder, strays, "Use the joints.mat that belongs to the images")
    return dict(sorted(found.items()))


def _boxes(
    file: Path, columns: np.ndarray, points: np.ndarray, annotated: np.ndarray, hw: np.ndarray
) -> np.ndarray:
    """Boxes (n, 4) x0, y0, x1, y1: tight around annotated keypoints, enlarged, cut at the image.

    Args:
        file: to name in errors, with the ``columns`` (n) of the people.
        columns: their places in the file.
        points: (n, k, 2) keypoints.
        annotated: (n, k) which of them count.
        hw: (n, 2) image sizes.
    """
    low = np.where(annotated[..., None], points, np.inf).min(axis=1)
    high = np.where(annotated[..., None], points, -np.inf).max(axis=1)
    rule = "the annotated keypoints must span a box, and lie on one line"
    _refuse_columns(file, columns[(high <= low).any(axis=1)], rule, "Remove the image")
    center, half = (low + high) / 2, (high - low) / 2 * _ENLARGED
    edge = hw[:, ::-1] - 1
    boxes = np.concatenate([np.clip(center - half, 0, edge), np.clip(center + half, 0, edge)], 1)
    outside = columns[(boxes[:, 2:] <= boxes[:, :2]).any(axis=1)]
    rule = "the keypoints must lie in the image, and all lie outside"
    _refuse_columns(file, outside, rule,
                    "Use the joints.mat that belongs to the images, at their size")  # fmt: skip
    return boxes
