"""Where the boxes of a video's people come from: the frame, a table, a detector."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sspcm_kedro.data.video_stream import VideoFrame
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets.detector import Detector

logger = logging.getLogger(__name__)

DETECTED = 4
"""Frames that a detector sees at once."""

COLUMNS = ("x0", "y0", "x1", "y1")


class BoxedFrame(NamedTuple):
    """A frame and its people: boxes (n, 4) in image pixels, their scores (n), and who they are (n),
    where that is known."""

    frame: VideoFrame
    boxes: np.ndarray
    scores: np.ndarray
    tracks: np.ndarray | None = None


def whole_box(image: np.ndarray) -> np.ndarray:
    """The box (1, 4) of all of an image, from the first pixel's center to the last one's."""
    height, width = image.shape[:2]
    return np.array([[0, 0, width - 1, height - 1]], np.float32)


def whole_frames(frames: Iterable[VideoFrame]) -> Iterator[BoxedFrame]:
    """Each frame as one person who fills it."""
    one, first = np.ones(1, np.float32), np.zeros(1, np.int64)
    for frame in frames:
        yield BoxedFrame(frame, whole_box(frame.image), one, first)


def detected_boxes(frames: Iterable[VideoFrame], detector: Detector) -> Iterator[BoxedFrame]:
    """The people whom a detector finds on each frame; often nobody."""
    iterator = iter(frames)
    while some := list(islice(iterator, DETECTED)):
        found = detector.detect([frame.image for frame in some])
        for frame, (boxes, scores) in zip(some, found, strict=True):
            yield BoxedFrame(frame, boxes, scores)


def boxes_of_table(
    frames: Iterable[VideoFrame], table: pd.DataFrame, video: str
) -> Iterator[BoxedFrame]:
    """The people whom a table that ``read_box_table`` read has on each frame.

    Args:
        frames: of the video.
        table: the boxes.
        video: which rows are its, by the column ``video`` if there is one.
    """
    if "video" in table:
        table = table.loc[table["video"].eq(video).to_numpy()]
    table = table.sort_values("frame", kind="stable")
    numbers, boxes = table["frame"].to_numpy(), table[list(COLUMNS)].to_numpy(np.float32)
    scores = np.ones(len(table), np.float32)
    if "score" in table:
        scores = table["score"].to_numpy(np.float32)
    tracks = table["track"].to_numpy(np.int64) if "track" in table else None
    for frame in frames:
        rows = slice(*np.searchsorted(numbers, [frame.index, frame.index + 1]).tolist())
        who = None if tracks is None else tracks[rows]
        yield BoxedFrame(frame, boxes[rows], scores[rows], who)


def read_box_table(file: Path) -> pd.DataFrame:
    """Boxes of videos: a CSV with columns frame (from 0), x0, y0, x1, y1 (image pixels), and where
    they are known video (what it is called below the folder of videos), track and score.

    Raises:
        BadInput: a column lacks, a row is no box, or there is none.
    """
    remedy = f"Columns are frame, {', '.join(COLUMNS)}; video, track and score may be there"
    if not file.is_file():
        raise BadInput(file, "there must be such a file", "Correct prediction.boxes")
    try:
        table = pd.read_csv(file)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise BadInput(file, f"must be a CSV table ({error})", remedy) from error
    missing = [name for name in ("frame", *COLUMNS) if name not in table]
    if missing:
        raise BadInput(file, f"must have the columns {missing}, found {list(table)}", remedy)
    if table.empty:
        raise BadInput(file, "must have a box, and has none", remedy)
    whole = [name for name in ("frame", "track") if name in table]
    numbers = [*whole, *COLUMNS, *(["score"] if "score" in table else [])]
    values = table[numbers].apply(pd.to_numeric, errors="coerce")
    good = np.isfinite(values).all(axis=1) & (values["x1"] > values["x0"])
    good &= (values["y1"] > values["y0"]) & (values["frame"] >= 0)
    good &= (values[whole] % 1 == 0).all(axis=1)
    if "track" in table:
        keys = [name for name in ("video", "frame", "track") if name in table]
        good &= ~table.duplicated(keys)
    bad = np.flatnonzero(~good)
    if len(bad):
        rule = (
            "must be numbers with x1 > x0, y1 > y0 a whole frame from 0, and a track once a frame"
        )
        found = table[numbers].iloc[bad[0]].to_dict()
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise BadInput(f"{file}, line {bad[0] + 2}", f"{rule}, found {found}{more}", remedy)
    return table.assign(**{name: values[name] for name in numbers})


def need_videos(file: Path, table: pd.DataFrame, videos: Sequence[str]) -> None:
    """Refuse a table of boxes that names none of these videos, and log names that are none.

    Args:
        file: the table's.
        table: that ``read_box_table`` read.
        videos: what they are called below their folder, with slashes.

    Raises:
        BadInput: each row is of something else: nobody would be on any frame.
    """
    named = set(map(str, table["video"])) if "video" in table else set[str]()
    strange = sorted(named - set(videos))
    if not strange:
        return
    names = f"{', '.join(strange[:3])}{', ...' if len(strange) > 3 else ''}"
    if named.isdisjoint(videos):
        rule = f"column video must name one of {', '.join(videos[:3])}, found {names}"
        remedy = "Write names relative to the folder of prediction.images, with the suffix"
        raise BadInput(file, rule, remedy)
    logger.warning("%s: boxes of %d videos are not used, which are not predicted on: %s", file,
                   len(strange), names)  # fmt: skip
