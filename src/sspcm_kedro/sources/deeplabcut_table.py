"""DeepLabCut's table of labels, ``CollectedData_<scorer>.csv``."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks

Rows = list[list[str]]

HEADS = (("scorer", "bodyparts", "coords"), ("scorer", "individuals", "bodyparts", "coords"))
"""The first rows of a table of one animal, and of one of several."""

UNIQUE = "single"
"""What the table of several animals calls the owner of points that are there once (a nest)."""

_EXPORT = "Export the table again with DeepLabCut (its .h5 twin is not read)"


@dataclass(frozen=True)
class LabelTable:
    """The labels of the images of one folder.

    Attributes:
        images: the n images' file names.
        animals: the m animals; one without a name in a table of one animal.
        points: (n, m, k, 2) x, y in image pixels; nan where a point is not labeled.
    """

    images: tuple[str, ...]
    animals: tuple[str, ...]
    points: np.ndarray


@dataclass(frozen=True)
class PlainTable:
    """The labels of a table that names its own keypoints, of one animal.

    Attributes:
        names: the k keypoints, in the order of the columns.
        images: the n images as the rows name them, with slashes.
        points: (n, k, 2) x, y in image pixels; nan where a point is not labeled.
    """

    names: tuple[str, ...]
    images: tuple[str, ...]
    points: np.ndarray


def read_plain_table(file: Path, scorer: str | None = None) -> PlainTable:
    """A table of one animal whose keypoints are those of its columns.

    Args:
        file: the table.
        scorer: whose columns, where several have labeled.

    Raises:
        BadInput: the file is not such a table, or is one of several scorers or of several animals.
    """
    rows = _rows(file)
    heads, body, first = _parts(file, rows)
    if "individuals" in heads:
        rule = "must be of one animal, and has a row 'individuals'"
        raise BadInput(file, rule, "Read the project as source.kind=deeplabcut")
    whose = heads["scorer"][first:]
    if scorer is None:
        scorers = list(dict.fromkeys(whose))
        if len(scorers) > 1:
            rule = f"must be of one scorer, found {', '.join(scorers)}"
            raise BadInput(f"{file}, row scorer", rule, "Say whose labels are read: source.scorer")
    elif scorer in whose:
        kept = [True] * first + [name == scorer for name in whose]
        heads = {name: _only(row, kept) for name, row in heads.items()}
        body = [_only(row, kept) for row in body]
    else:
        _check_scorer(file, whose, scorer)
    names = tuple(dict.fromkeys(heads["bodyparts"][first:]))
    columns = _columns(file, heads, first, names)
    images = tuple("/".join(row[:first]).replace("\\", "/") for row in body)
    return PlainTable(names, images, _points(file, images, body, names, ("",), columns)[:, 0])


def _only(row: list[str], kept: list[bool]) -> list[str]:
    return [cell for cell, keep in zip(row, kept, strict=True) if keep]


def read_label_table(file: Path, scorer: str, bodyparts: Sequence[str]) -> LabelTable:
    """A table with the k points in the order of ``bodyparts``; those it lacks are not labeled.

    Raises:
        BadInput: the file is not such a table, of another scorer, of other body parts or of the
            images of another folder.
    """
    rows = _rows(file)
    heads, body, first = _parts(file, rows)
    _check_scorer(file, heads["scorer"][first:], scorer)
    columns = _columns(file, heads, first, bodyparts)
    images = _images(file, body, first)
    animals = tuple(dict.fromkeys(animal for animal, _, _ in columns.values()))
    points = _points(file, images, body, bodyparts, animals, columns)
    return LabelTable(images, animals, points)


def _points(
    file: Path, images: Sequence[str], body: Rows, bodyparts: Sequence[str],
    animals: Sequence[str], columns: dict[int, tuple[str, int, int]],
) -> np.ndarray:  # fmt: skip
    """(n, m, k, 2) the coordinates of the rows; nan where a cell is empty."""
    points = np.full((len(body), len(animals), len(bodyparts), 2), np.nan)
    for column, (animal, part, axis) in columns.items():
        name = bodyparts[part]
        values = [_number(file, image, name, row[column])
                  for image, row in zip(images, body, strict=True)]  # fmt: skip
        points[:, animals.index(animal), part, axis] = values
    halves = np.isnan(points).any(axis=-1) != np.isnan(points).all(axis=-1)
    broken = [(f"image {images[row]}", f"{bodyparts[part]} must have both x and y, or neither")
              for row, _, part in np.argwhere(halves)]  # fmt: skip
    checks.refuse(file, broken, "Label the point again, or empty both cells")
    return points


def _rows(file: Path) -> Rows:
    """The rows that are not blank."""
    checks.need_file(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream)]
    except UnicodeDecodeError as error:
        raise BadInput(file, f"must be text in the encoding UTF-8, but {error}", _EXPORT) from error
    except csv.Error as error:
        raise BadInput(file, f"must be a table of comma-separated values, but {error}",
                       _EXPORT) from error  # fmt: skip
    return [row for row in rows if any(row)]


def _parts(file: Path, rows: Rows) -> tuple[dict[str, list[str]], Rows, int]:
    """The head's rows by name, the other rows, and the first column with numbers (1 or 3)."""
    names = tuple(row[0] for row in rows[:4])
    head = next((known for known in HEADS if names[: len(known)] == known), None)
    if head is None:
        wanted = " or ".join(", ".join(known) for known in HEADS)
        rule = f"must begin with the rows {wanted}, found {', '.join(names) or 'nothing'}"
        raise BadInput(file, rule, _EXPORT)
    width = len(rows[0])
    uneven = [(f"row {number}", f"must have {width} cells as the first row, found {len(row)}")
              for number, row in enumerate(rows, start=1) if len(row) != width]  # fmt: skip
    checks.refuse(file, uneven, f"The file may be cut short. {_EXPORT}")
    first = 3 if rows[0][1:3] == ["", ""] else 1
    return dict(zip(head, rows, strict=False)), rows[len(head) :], first


def _check_scorer(file: Path, found: list[str], scorer: str) -> None:
    others = [name for name in found if name != scorer]
    if others or not found:
        rule = f"the scorer must be {scorer!r} in every column, found {others[:1] or 'no column'}"
        raise BadInput(f"{file}, row scorer", rule, "Say whose labels are read: source.scorer")


def _columns(
    file: Path, heads: dict[str, list[str]], first: int, bodyparts: Sequence[str]
) -> dict[int, tuple[str, int, int]]:
    """The animal, the body part and the axis of each column with numbers that counts."""
    columns: dict[int, tuple[str, int, int]] = {}
    strange, odd = [], []
    for column in range(first, len(heads["scorer"])):
        animal = heads["individuals"][column] if "individuals" in heads else ""
        part, coord = heads["bodyparts"][column], heads["coords"][column]
        if animal == UNIQUE:
            continue
        if part not in bodyparts:
            strange.append(("row bodyparts", f"must name body parts of config.yaml "
                            f"({', '.join(bodyparts)}), found {part!r}"))  # fmt: skip
        elif coord not in ("x", "y"):
            odd.append(("row coords", f"must hold x and y only, found {coord!r}"))
        else:
            columns[column] = (animal, bodyparts.index(part), "xy".index(coord))
    checks.refuse(file, strange, "Name each body part the same in both files")
    checks.refuse(file, odd, _EXPORT)
    count = Counter(columns.values())
    for (animal, part, axis), number in count.items():
        if number > 1 or (animal, part, 1 - axis) not in count:
            rule = f"{animal} {bodyparts[part]} must have one column x and one column y".strip()
            raise BadInput(f"{file}, row coords", rule, _EXPORT)
    if not columns:
        raise BadInput(file, "must have columns of body parts, found none", _EXPORT)
    return columns


def _images(file: Path, body: Rows, first: int) -> tuple[str, ...]:
    """The file names of the rows, which must be of images beside the table, each once.

    Rows name them from the project's folder, with either separator, or from a disk elsewhere.
    """
    folder, images, broken = file.parent.name, [], []
    for row in body:
        path = "/".join(row[:first]).replace("\\", "/")
        *folders, name = path.split("/")
        images.append(name)
        if not name or (folders and folders[-1] != folder):
            broken.append((f"image {path}", f"must lie in the table's own folder, {folder}"))
    checks.refuse(file, broken, "Give the folder the name that the rows have, or correct the rows")
    twice = [(f"image {name}", f"must have one row, found {count}")
             for name, count in Counter(images).items() if count > 1]  # fmt: skip
    checks.refuse(file, twice, "Remove all rows but the right one")
    return tuple(images)


def _number(file: Path, image: str, bodypart: str, cell: str) -> float:
    """A coordinate; nan for an empty cell."""
    try:
        number = float(cell or "nan")
    except ValueError:
        number = math.inf
    if math.isinf(number):
        rule = f"{bodypart} must have a number or an empty cell, found {cell[:60]!r}"
        raise BadInput(f"{file}, image {image}", rule, "Correct the cell, or empty it")
    return number
