"""What a COCO file must satisfy. A refusal names the file, the record, the rule and the remedy."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources.checks import Record, name_of, need_names_inside, read_json, refuse

CocoLists = dict[str, list[Record]]
"""What a COCO file says: images, annotations and categories, each a list of records."""

LISTS = ("images", "annotations", "categories")

VISIBLE = 2
_VISIBILITY = (0, 1, VISIBLE)
_NUMBERS = {int, float}


def read_coco_json(file: Path, keys: Iterable[str] = LISTS) -> CocoLists:
    """The lists of a COCO file, of which those of ``keys`` must be there; outlines are dropped."""
    content = read_json(file, without="segmentation")  # the larger half of COCO's own files
    remedy = "Export the annotations as COCO: an object with images, annotations and categories"
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise BadInput(file, f"a COCO file must hold one JSON object, found a {kind}", remedy)
    return need_lists(file, content, keys)


def need_lists(file: Path, content: Record, keys: Iterable[str]) -> CocoLists:
    """What a COCO file says, after a refusal of lists that are missing or hold no objects."""
    remedy = "Export the annotations as COCO: an object with images, annotations and categories"
    for key in keys:
        if not isinstance(content.get(key), list):
            raise BadInput(file, f"a COCO file must have a list called '{key}'", remedy)
        if not all(isinstance(record, dict) for record in content[key]):
            raise BadInput(file, f"'{key}' must be a list of JSON objects", remedy)
    return content


def need_unique_ids(file: Path, kind: str, records: Sequence[Record]) -> None:
    """Refuse ids that are no whole numbers, or occur twice."""
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


def same_id(value: Any) -> int | str | None:
    """A category's id, the same whether a tool wrote it as a number or as text; None for no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 19 else value
    return int(value) if whole_number(value) else None


def category_ids(
    file: Path, kind: str, records: Sequence[Record], key: str = "category_id"
) -> list[int | str]:
    """The id of each record's category, of whatever type; refuse what is none."""
    ids = [same_id(record[key]) for record in records]
    broken = [
        (
            name_of(kind, row, record),
            f"'{key}' must be a whole number, found {str(record[key])[:60]}",
        )
        for row, (record, found) in enumerate(zip(records, ids, strict=True))
        if found is None
    ]
    refuse(file, broken, "Write the id of a category of the file")
    return [found for found in ids if found is not None]


_CROWD = {None: False, "": False, "0": False, "1": True, 0: False, 1: True}
"""What tools write for iscrowd; true and 1.0 are equal to 1."""


def crowds(file: Path, annotations: Sequence[Record]) -> list[bool]:
    """Whether each annotation is a crowd; refuse an iscrowd that says neither."""
    said = [annotation.get("iscrowd") for annotation in annotations]
    broken = [
        (f"annotation {annotation['id']}", f"'iscrowd' must be 0 or 1, found {str(value)[:60]!r}")
        for annotation, value in zip(annotations, said, strict=True)
        if isinstance(value, list | dict) or value not in _CROWD
    ]
    refuse(file, broken, "Write 1 for a box around several people, else 0")
    return [_CROWD[value] for value in said]


def need_known_images(
    file: Path, kind: str, records: Sequence[Record], ids: Collection[int]
) -> None:
    """Refuse records whose ``image_id`` is not the id of an image."""
    broken = [
        (name_of(kind, row, record), f"no image has the id image_id = {record['image_id']!r}")
        for row, record in enumerate(records)
        if not whole_number(record["image_id"]) or record["image_id"] not in ids
    ]
    refuse(file, broken, f"Add the image to 'images', or remove the {kind}")


def need_good_images(file: Path, images: Sequence[Record]) -> None:
    """Refuse file names outside the image folder, and sizes but positive whole numbers."""
    need_names_inside(file, ((f"image {image['id']}", image["file_name"]) for image in images))
    sizes = []
    for image in images:
        size = (image["width"], image["height"])
        if not all(whole_number(side) and side > 0 for side in size):
            rule = f"width and height must be positive whole numbers, found {size}"
            sizes.append((f"image {image['id']}", rule))
    refuse(file, sizes, "Write the size of the image file in pixels")


def need_finite(
    file: Path, kind: str, records: Sequence[Record], key: str, *, single: bool = False
) -> None:
    """Refuse a key's value, one number (must be, if ``single``) or a list, that is not finite."""
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


def need_keypoints(file: Path, annotations: Sequence[Record], k: int) -> None:
    """Refuse keypoints but k triples x, y, v with COCO's v: 0, 1 or 2."""
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


def need_points_inside(
    file: Path, people: Sequence[Record], image_hw: Sequence[tuple[int, int]]
) -> None:
    """Refuse visible keypoints more than a pixel off the stored image (height, width)."""
    outside = []
    for row in _doubtful_rows([p.get("keypoints", ()) for p in people], image_hw, _are_outside):
        person, (height, width) = people[row], image_hw[row]
        triples = person.get("keypoints", ())
        for x, y, v in zip(triples[::3], triples[1::3], triples[2::3], strict=True):
            if v == VISIBLE and not (-1 <= x <= width and -1 <= y <= height):
                rule = (
                    "a visible keypoint must be inside the stored image, (height, width) = "
                    f"{(height, width)}, found {(x, y)}"
                )
                outside.append((f"annotation {person['id']}", rule))
                break
    remedy = (
        "Correct it, or give it v 1; if the image has an orientation tag (EXIF), which is ignored, "
        "turn its pixels first"
    )
    refuse(file, outside, remedy)


def _doubtful_rows(
    values: Sequence[Any], image_hw: Sequence[tuple[int, int]],
    are_bad: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Sequence[int]:  # fmt: skip
    """Rows to look at one by one: those that are bad, or all where the values are no table."""
    try:
        table = np.array(values, np.float64)
        if table.ndim != 2:
            return range(len(values))
        bad = are_bad(table, np.array(image_hw, np.float64).reshape(-1, 2))
    except (ValueError, TypeError, OverflowError):  # ragged, or no numbers
        return range(len(values))
    return np.flatnonzero(bad).tolist()


def _are_outside(triples: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
    x, y, v = (triples[:, i::3] for i in range(3))
    height, width = image_hw.T[..., None]
    return ((v == VISIBLE) & ~((x >= -1) & (x <= width) & (y >= -1) & (y <= height))).any(axis=1)


def _are_bad_boxes(boxes: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
    (x, y, w, h), (height, width) = boxes.T, image_hw.T
    off = (x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0)
    return (w <= 0) | (h <= 0) | off


def need_good_boxes(
    file: Path, kind: str, records: Sequence[Record], image_hw: Sequence[tuple[int, int]]
) -> None:
    """Refuse boxes x, y, w, h without positive sides or off their image (height, width)."""
    shapes, empty, outside = [], [], []
    for row in _doubtful_rows([r["bbox"] for r in records], image_hw, _are_bad_boxes):
        record, (height, width) = records[row], image_hw[row]
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
