"""What the input must satisfy. A refusal names the file, the record, the rule and the remedy."""

import json
import math
import os
import struct
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import DecompressionBombError as DecompressionBomb

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.errors import BadInput

Record = dict[str, Any]

ELSEWHERE = (
    "Correct the path in the parameters (source), or get the set first: "
    "kedro run --pipelines download fetches it or says how (docs/data.md)"
)
_VISIBILITY = (0, 1, 2)
_NUMBERS = {int, float}
BROKEN_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, DecompressionBomb)


def refuse(file: Path, broken: Sequence[tuple[str, str]], remedy: str) -> None:
    """Raise ``BadInput`` for the first of the broken (record, rule) pairs and count the others."""
    if not broken:
        return
    record, rule = broken[0]
    others = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
    raise BadInput(f"{file}, {record}" if record else file, rule + others, remedy)


def need_file(file: Path) -> None:
    """The file exists."""
    if not file.is_file():
        raise BadInput(file, "there must be such a file", ELSEWHERE)


def need_folder(folder: Path) -> None:
    """The folder exists."""
    if not folder.is_dir():
        raise BadInput(folder, "there must be such a folder", ELSEWHERE)


def read_json(file: Path, without: str | None = None) -> Any:
    """The content of a JSON file that parses; objects lose the key ``without`` as they are read."""

    def strip(record: Record) -> Record:
        return {key: value for key, value in record.items() if key != without}

    need_file(file)
    try:
        return json.loads(file.read_bytes(), object_hook=strip if without else None)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "The file may be cut short: copy or export it again"
        raise BadInput(file, f"must be JSON, but {error}", remedy) from error


def read_coco_json(file: Path, keys: Iterable[str]) -> dict[str, list[Record]]:
    """The content of a JSON file with the given COCO lists in it, without outlines of people."""
    content = read_json(file, without="segmentation")  # the larger half of COCO's own files
    remedy = "Export the annotations as COCO: an object with images, annotations and categories"
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise BadInput(file, f"a COCO file must hold one JSON object, found a {kind}", remedy)
    for key in keys:
        if not isinstance(content.get(key), list):
            raise BadInput(file, f"a COCO file must have a list called '{key}'", remedy)
        if not all(isinstance(record, dict) for record in content[key]):
            raise BadInput(file, f"'{key}' must be a list of JSON objects", remedy)
    return content


def have_keys(file: Path, kind: str, records: Sequence[Record], keys: Iterable[str]) -> None:
    """Every record has the given keys."""
    broken = [
        (name_of(kind, row, record), f"must have the key '{key}'")
        for row, record in enumerate(records)
        for key in keys
        if key not in record
    ]
    refuse(file, broken, f"Add the key to every such {kind}")


def name_of(kind: str, row: int, record: Record) -> str:
    """What to call a record: its id, or its row in the file."""
    return f"{kind} {record['id']}" if "id" in record else f"{kind} in row {row}"


def unique_ids(file: Path, kind: str, records: Sequence[Record]) -> None:
    """The ids of the records are whole numbers and differ."""
    seen: set[int] = set()
    wrong_type, repeated = [], []
    for record in records:
        value = record["id"]
        if not whole_number(value):
            wrong_type.append((f"{kind} {str(value)[:60]}", "the id must be a whole number"))
        elif value in seen:
            repeated.append((f"{kind} {value}", "the id must be unique, and occurs again"))
        else:
            seen.add(value)
    refuse(file, wrong_type, f"Number the {kind}s")
    refuse(file, repeated, f"Renumber the {kind}s, or remove the repetition")


def whole_number(value: Any) -> bool:
    """Whether it is an integer that fits into 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def known_images(file: Path, kind: str, records: Sequence[Record], ids: Collection[int]) -> None:
    """The ``image_id`` of every record is the id of an image."""
    broken = [
        (name_of(kind, row, record), f"no image has the id image_id = {record['image_id']!r}")
        for row, record in enumerate(records)
        if not whole_number(record["image_id"]) or record["image_id"] not in ids
    ]
    refuse(file, broken, f"Add the image to 'images', or remove the {kind}")


def good_images(file: Path, images: Sequence[Record]) -> None:
    """File names stay inside the image folder, and sizes are positive whole numbers."""
    names_inside(file, ((f"image {image['id']}", image["file_name"]) for image in images))
    sizes = []
    for image in images:
        size = (image["width"], image["height"])
        if not all(whole_number(side) and side > 0 for side in size):
            rule = f"width and height must be positive whole numbers, found {size}"
            sizes.append((f"image {image['id']}", rule))
    refuse(file, sizes, "Write the size of the image file in pixels")


def names_inside(file: Path, names: Iterable[tuple[str, Any]]) -> None:
    """The image's name in each (record, name) stays inside the image folder."""
    broken = [
        (record, f"the image's name must be a path inside the image folder, found {name!r}")
        for record, name in names
        if not isinstance(name, str) or not _stays_inside(name)
    ]
    refuse(file, broken, "Write file names relative to the image folder, without '..'")


def _stays_inside(name: str) -> bool:
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return bool(name) and not any(path.anchor or ".." in path.parts for path in paths)


def finite_numbers(
    file: Path, kind: str, records: Sequence[Record], key: str, *, single: bool = False
) -> None:
    """The value of a key, one number (must be, if ``single``) or a list, is finite."""
    broken = []
    for row, record in enumerate(records):
        value = record[key]
        numbers = value if isinstance(value, list) and not single else [value]
        if not _plain_and_finite(numbers):
            odd = next(number for number in numbers if not _plain_and_finite([number]))
            wanted = "be finite" if type(odd) in _NUMBERS else "hold numbers"
            rule = f"'{key}' must {wanted}, found {odd!r}"
            broken.append((name_of(kind, row, record), rule))
    refuse(file, broken, f"Correct the value, or remove the {kind}")


def _plain_and_finite(numbers: list[Any]) -> bool:
    """A big file has ten million numbers: no Python loop over them."""
    try:
        return set(map(type, numbers)) <= _NUMBERS and all(map(math.isfinite, numbers))
    except OverflowError:  # an integer of more than 300 digits
        return False


def matrices(
    file: Path, key: str, values: Sequence[tuple[str, Any]], shape: tuple[int, ...]
) -> np.ndarray:
    """The value of each (record, value) as finite numbers: (n, *shape), float64."""
    found = _numbers([value for _, value in values])
    if found is not None and found.shape == (len(values), *shape):
        return found
    broken = []
    for record, value in values:
        numbers = _numbers(value)
        if numbers is None or numbers.shape != shape:
            wanted = " x ".join(map(str, shape)) + " finite numbers" if shape else "a finite number"
            broken.append((record, f"'{key}' must hold {wanted}, found {str(value)[:60]}"))
    refuse(file, broken, "Correct the value, or remove the record")
    return np.zeros((0, *shape))


def _numbers(value: Any) -> np.ndarray | None:
    """Finite numbers as an array, or None if it holds anything else."""
    try:
        found = np.asarray(value)
    except ValueError:  # ragged
        return None
    if found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        return None
    return found.astype(np.float64)


def keypoint_lists(file: Path, annotations: Sequence[Record], k: int) -> None:
    """Keypoints are k triples x, y, v, and v is COCO's 0, 1 or 2."""
    lengths, meanings = [], []
    for annotation in annotations:
        record, values = f"annotation {annotation['id']}", annotation["keypoints"]
        found = len(values) if isinstance(values, list) else 0
        if found % 3:
            rule = f"'keypoints' must hold triples x, y, v: a multiple of 3 numbers, found {found}"
            lengths.append((record, rule))
        elif found != 3 * k:
            rule = f"'keypoints' must hold the category's {k} keypoints, found {found // 3}"
            lengths.append((record, rule))
        elif any(v not in _VISIBILITY for v in values[2::3]):
            rule = f"v must be 0 (absent), 1 (covered) or 2 (visible), found {values[2::3]}"
            meanings.append((record, rule))
    refuse(file, lengths, "List every keypoint of the category, (0, 0, 0) where it is absent")
    refuse(file, meanings, "Convert the visibility flags to COCO's meaning")


def good_boxes(
    file: Path, kind: str, records: Sequence[Record], image_hw: Sequence[tuple[int, int]]
) -> None:
    """Boxes x, y, w, h have positive sides and touch their image (height, width)."""
    shapes, empty, outside = [], [], []
    for row, (record, (height, width)) in enumerate(zip(records, image_hw, strict=True)):
        name, box = name_of(kind, row, record), record["bbox"]
        if not isinstance(box, list) or len(box) != 4:
            shapes.append((name, f"'bbox' must be [x, y, width, height], found {box!r}"))
            continue
        x, y, w, h = box
        if w <= 0 or h <= 0:
            empty.append((name, f"the box must have positive sides, found {box}"))
        elif x >= width or y >= height or x + w <= 0 or y + h <= 0:
            rule = f"the box must touch the image, (height, width) = {(height, width)}, found {box}"
            outside.append((name, rule))
    refuse(file, shapes, "Write boxes as COCO does")
    refuse(file, empty, f"Correct the box, or remove the {kind}")
    refuse(file, outside, "Boxes are [x, y, width, height] in pixels of the original image")


def images_exist(file: Path, names: Iterable[str], folder: Path) -> None:
    """Every named image is in the folder."""
    need_folder(folder)
    broken = [
        (f"image {name}", f"the image must be in {folder}, and is not there")
        for name in names
        if not (folder / name).is_file()
    ]
    refuse(file, broken, "Copy the missing images, or correct the images folder in the parameters")


def verify_images(instances: Instances, workers: int | None = None) -> None:
    """Decode every distinct image once; it must be whole and of the size that was promised.

    Sizes are those of the stored pixels: EXIF orientation is ignored, as in training.
    """
    _, rows = np.unique(instances.paths.astype(str), return_index=True)
    paths = [Path(str(instances.paths[row])) for row in np.sort(rows)]
    promised_hw = [tuple(instances.image_hw[row].tolist()) for row in np.sort(rows)]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        decoded = pool.map(_decoded_hw, paths)
        found = list(show_progress(decoded, len(paths), "checking images"))

    unreadable = [(path, hw) for path, hw in zip(paths, found, strict=True) if isinstance(hw, str)]
    if unreadable:
        rule = f"the image must decode, but {unreadable[0][1]}"
        remedy = "Copy the file again, or remove the image and its people"
        refuse(unreadable[0][0], [("", rule)] * len(unreadable), remedy)

    triples = zip(paths, promised_hw, found, strict=True)
    resized = [(path, wanted, hw) for path, wanted, hw in triples if wanted != hw]
    if resized:
        path, wanted, hw = resized[0]
        rule = f"the image must have the annotated (height, width) {wanted}, the file has {hw}"
        remedy = "Annotate the size of the stored pixels; orientation tags (EXIF) are ignored"
        refuse(path, [("", rule)] * len(resized), remedy)


def stored_sizes(paths: Sequence[Path], workers: int | None = None) -> np.ndarray:
    """The (height, width) (n, 2) of stored images, from their headers, whatever EXIF says."""
    distinct = dict.fromkeys(paths)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        found = pool.map(_stored_hw, distinct)
        sizes = dict(zip(distinct, show_progress(found, len(distinct), "image sizes"), strict=True))
    return np.array([sizes[path] for path in paths], np.int64).reshape(-1, 2)


def _stored_hw(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except BROKEN_IMAGE as error:
        remedy = "Copy the file again, or remove it"
        raise BadInput(path, f"the image must be readable, but {error}", remedy) from error


def _decoded_hw(path: Path) -> tuple[int, int] | str:
    """The (height, width) of an image that decodes to its last row, else what went wrong."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.height, image.width
    except BROKEN_IMAGE as error:
        return str(error)
