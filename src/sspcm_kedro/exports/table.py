"""Tables of keypoints as DeepLabCut has them: a head of three or four rows, then a row a frame."""

import csv
import io
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports.predictions import Predictions


def rows_of(predictions: Predictions, file: str | None) -> tuple[list[str], np.ndarray]:
    """What the rows of a table are called, and the row (n) of each instance; -1 for those of
    other files.

    Args:
        predictions: the n instances.
        file: the video, whose frames are the rows; None: images are.
    """
    if predictions.frames is None:
        names = list(dict.fromkeys(predictions.files))
        place = {name: row for row, name in enumerate(names)}
        return names, np.array([place[name] for name in predictions.files], np.int64)
    of_file = np.array([name == file for name in predictions.files], bool)
    rows = np.where(of_file, predictions.frames, -1)
    count = predictions.frame_counts.get(str(file), 0)
    return [str(row) for row in range(max(count, int(rows.max(initial=-1)) + 1))], rows


def columns_of(predictions: Predictions, rows: np.ndarray) -> tuple[list[str], np.ndarray]:
    """What the individuals are called, and the individual (n) of each instance.

    They are the table's tracks where those are known, else the first, second, ... of an image.
    Where never two are on an image there is one: a tracker calls it anew after it had lost it.

    Raises:
        BadInput: a track is twice on one image.
    """
    here, columns = rows >= 0, np.zeros(len(rows), np.int64)
    if np.unique(rows[here]).size == here.sum():
        return ["animal1"], columns
    tracks = predictions.tracks
    if tracks is not None and (tracks[here] >= 0).all():
        known, columns[here] = np.unique(tracks[here], return_inverse=True)
        pairs = Counter(zip(rows[here].tolist(), columns[here].tolist(), strict=True))
        twice = next((pair for pair, count in pairs.items() if count > 1), None)
        if twice:
            rule = f"a track must be on an image once, and {known[twice[1]]} is there again"
            raise BadInput(f"predictions, row {twice[0]}", rule, "Write them without tracks")
        return [f"animal{track + 1}" for track in known.tolist()], columns
    seen = dict[int, int]()
    for place, row in enumerate(rows.tolist()):
        if row >= 0:
            columns[place] = seen.get(row, 0)
            seen[row] = int(columns[place]) + 1
    return [f"animal{number + 1}" for number in range(max(seen.values()))], columns


def write_table(
    predictions: Predictions, names: Sequence[str], rows: np.ndarray, scorer: str,
    likelihood: bool = True,
) -> str:  # fmt: skip
    """The text of a table. Where there is no keypoint cells of labels are empty, those of
    predictions NaN: a first frame without anybody is no row of names to pandas then.

    Args:
        predictions: the n instances.
        names: what the rows are called.
        rows: (n) the row of each instance; -1: it is of another table.
        scorer: who has labeled, in the first row.
        likelihood: whether there is a column with the score; labels have none.
    """
    animals, columns = columns_of(predictions, rows)
    axes = ("x", "y", "likelihood")[: 3 if likelihood else 2]
    k, present = predictions.skeleton.size, predictions.present()
    values = np.concatenate([predictions.keypoints, predictions.scores[..., None]], axis=-1)
    cells = np.full((len(names), len(animals), k, len(axes)), "NaN" if likelihood else "", object)
    for place in np.flatnonzero(rows >= 0):
        for part in np.flatnonzero(present[place]):
            numbers = values[place, part, : len(axes)].tolist()
            texts = [f"{number:.{3 + axis // 2}f}" for axis, number in enumerate(numbers)]
            cells[rows[place], columns[place], part] = texts
    heads = [["scorer"], *([["individuals"]] if len(animals) > 1 else []), ["bodyparts"],
             ["coords"]]  # fmt: skip
    for animal in animals:
        for part in predictions.skeleton.names:
            for axis in axes:
                above = [animal] if len(animals) > 1 else []
                for head, cell in zip(heads, (scorer, *above, part, axis), strict=True):
                    head.append(cell)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(heads)
    body = cells.reshape(len(names), -1).tolist()
    writer.writerows([name, *row] for name, row in zip(names, body, strict=True))
    return text.getvalue()
