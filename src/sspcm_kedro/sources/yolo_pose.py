"""YOLO-pose data sets: data.yaml, images/ and labels/."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput, shown
from sspcm_kedro.pose.skeleton import COCO, Skeleton
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.image_folder import is_image
from sspcm_kedro.sources.labeled import Labeled, unlabeled_images
from sspcm_kedro.sources.moved_files import find_moved_folder
from sspcm_kedro.sources.project import ProjectSource

_REMEDY = "Write data.yaml as Ultralytics documents it for pose"


class YoloPoseSource(ProjectSource):
    """A YOLO-pose data set: `data.yaml` with `kpt_shape`, and `labels/*.txt` beside `images/`.

    Its train images are annotated, its val images are the validation. Boxes are its own. An image
    without a txt file has no labels, one with an empty file has nobody.

    Attributes:
        data: the YAML file, relative to the root.
        names: of the keypoints, where the file has no ``kpt_names``.
    """

    kind: Literal["yolo_pose"] = "yolo_pose"
    data: Path = Path("data.yaml")
    names: tuple[str, ...] | None = None

    def read(self, made_folder: Path | None = None) -> Source:
        file = self.root / self.data
        config = checks.read_yaml(file, _REMEDY)
        k, dims = _shape(file, config.get("kpt_shape"))
        order = _flip_order(file, config.get("flip_idx"), k)
        skeleton = self.own_skeleton(
            file, self._names(file, config, k, order), flip_pairs=None if order is None else
            tuple((a, b) for a, b in enumerate(order) if a < b), category=_category(config),
        )  # fmt: skip
        labeled, pool = self._part(file, config, "train", skeleton, dims)
        validation: list[Labeled] = []
        if config.get("val"):
            validation, _ = self._part(file, config, "val", skeleton, dims)
        return self.source_of(file, skeleton, labeled, pool, validation)

    def _names(
        self, file: Path, config: dict[Any, Any], k: int, order: list[int] | None
    ) -> tuple[str, ...]:
        listed = config.get("kpt_names")
        if isinstance(listed, dict):
            listed = next(iter(listed.values()), None)
        if self.names is not None:
            listed = list(self.names)
        elif listed is None and order == list(COCO.flip_order):
            listed = list(COCO.names)
        if not isinstance(listed, list) or len(listed) != k:
            rule = f"its {k} keypoints must have names (kpt_names), found {shown(listed)}"
            raise BadInput(file, rule, "Name them in their order: source.names=[nose, left_eye]")
        return tuple(str(name) for name in listed)

    def _part(
        self, file: Path, config: dict[Any, Any], part: str, skeleton: Skeleton, dims: int
    ) -> tuple[list[Labeled], list[Labeled]]:
        """Those on the images of a part, and its images without a txt file."""
        given = config.get(part)
        places = given if isinstance(given, list) else [given]
        images: list[Path] = []
        for place in places:
            folder = find_moved_folder(self.root, place) if isinstance(place, str) else None
            if folder is None or not folder.is_dir():
                rule = f"must name a folder of images in {self.root}, found {shown(place)}"
                raise BadInput(f"{file}, {part}", rule, "Copy the images there, or correct it")
            images += [path for path in sorted(folder.rglob("*"))
                       if is_image(path.relative_to(folder)) and path.is_file()]  # fmt: skip
        labels = [_label_file(path) for path in images]
        with_file = [path for path, label in zip(images, labels, strict=True) if label.is_file()]
        others = [path for path, label in zip(images, labels, strict=True) if not label.is_file()]
        sizes = checks.stored_sizes(with_file).tolist()
        people: list[Labeled] = []
        for path, (height, width) in zip(with_file, sizes, strict=True):
            people += _people(path, self._name(path), (height, width), skeleton.size, dims)
        checks.refuse_turned(person.path for person in people)
        names = [self._name(path) for path in others]
        return people, unlabeled_images(others, names, skeleton.size)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _shape(file: Path, given: Any) -> tuple[int, int]:
    if not (isinstance(given, list) and len(given) == 2 and all(type(n) is int for n in given)
            and given[0] > 0 and given[1] in (2, 3)):  # fmt: skip
        rule = f"must be [number of keypoints, 2 or 3], found {shown(given)}"
        raise BadInput(f"{file}, kpt_shape", rule, _REMEDY)
    return given[0], given[1]


def _flip_order(file: Path, given: Any, k: int) -> list[int] | None:
    """The keypoint that each becomes in a mirror image; None where the file does not say."""
    if given is None:
        return None
    right = isinstance(given, list) and sorted(map(str, given)) == sorted(map(str, range(k)))
    if not right or any(given[other] != place for place, other in enumerate(given)):
        rule = f"must swap pairs of the {k} keypoints, counted from 0, found {shown(given)}"
        raise BadInput(f"{file}, flip_idx", rule, "Correct it, or leave it out")
    return given


def _category(config: dict[Any, Any]) -> str:
    names = config.get("names")
    values = list(names.values()) if isinstance(names, dict) else names
    first = values[0] if isinstance(values, list) and values else None
    return first if isinstance(first, str) and first.strip() else "object"


def _label_file(image: Path) -> Path:
    """Where the labels of an image are: in labels/ for images/, the last folder called so."""
    parts = list(image.with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts)


def _people(image: Path, name: str, image_hw: tuple[int, int], k: int, dims: int) -> list[Labeled]:
    """Those of an image; places are shares of its width and height."""
    file = _label_file(image)
    height, width = image_hw
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(file, f"must be text in the encoding UTF-8, but {error}",
                       "Export the labels again") from error  # fmt: skip
    people = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where, cells = f"{file}, line {number}", line.split()
        if len(cells) != 5 + k * dims:
            rule = f"must have {5 + k * dims} numbers (class, box, {k} keypoints of {dims}), "
            raise BadInput(where, f"{rule}found {len(cells)}", "Correct it, or kpt_shape")
        values = np.array([_number(where, cell) for cell in cells[1:]])
        box, points = values[:4], values[4:].reshape(k, dims)
        if (values[:4] < 0).any() or (values[:4] > 1.001).any() or np.abs(points[:, :2]).max() > 2:
            rule = f"places must be shares of the image's width and height, found {line[:60]}"
            raise BadInput(where, rule, "Divide x by the width and y by the height")
        x, y = box[0] * width, box[1] * height
        w, h = box[2] * width / 2, box[3] * height / 2
        seen = points[:, 2] > 0 if dims == 3 else (points != 0).any(axis=1)
        xy = np.where(seen[:, None], points[:, :2] * (width, height), np.nan)
        covered = points[:, 2] == 1 if dims == 3 else None
        corners = (float(x - w), float(y - h), float(x + w), float(y + h))
        people.append(Labeled(image, image_hw, xy, covered, corners, name))
    return people


def _number(where: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(where, f"must hold finite numbers, found {cell[:60]!r}", "Correct the line")
    return number
