"""Videos: frames decoded one by one, and few of them chosen that differ."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image

from sspcm_kedro.data.instances import evenly_spaced
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})

CANDIDATES = 2
"""So many times as many frames as are wanted are looked at, evenly over all videos."""

SIDE = 24
"""Cells of a thumbnail, in height and width, whatever the frame's shape: area means, gray."""

LEVELS = 64
"""Of a cell: noise and compression do not count, and sums of squares are exact in float32."""

NEAR = SIDE * SIDE // 100
"""Frames are alike whose thumbnails' squared difference (levels) is not above it: one level in 1 %
of the cells."""


def count_frames(video: Path) -> int:
    """The frames that a video shows, from its packets: nothing is decoded. A damaged one may have
    fewer. What was cut off without encoding anew is in the file still, and does not count.

    Raises:
        BadInput: the file is no video that can be read, or is empty.
    """
    with open_video(video) as (container, stream):
        count = sum(1 for packet in container.demux(stream)
                    if packet.size and not packet.is_discard)  # fmt: skip
    if not count:
        raise BadInput(video, "the video must have a frame, and has none", _REMEDY)
    return count


def read_frames(video: Path, indices: Collection[int]) -> Iterator[tuple[int, Any]]:
    """These frames, counted from 0 as they are shown, as (index, PyAV's frame), in that order.

    The video is decoded from its beginning to the last of them. Frames that the decoder marks as
    damaged are left out.

    Raises:
        BadInput: the file cannot be read or decoded.
    """
    wanted = set(indices)
    with open_video(video) as (container, stream):
        stream.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                wanted.discard(index)
                if not frame.is_corrupt:
                    yield index, frame
            if not wanted:
                return


def to_image(frame: Any) -> Image.Image:
    """A frame as 8-bit RGB, turned as the video asks players to (phones lie on their side)."""
    image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def to_pixels(frame: Any) -> np.ndarray:
    """The same as ``to_image``, as an array (H, W, 3), with one copy less."""
    return np.asarray(to_image(frame)) if frame.rotation else frame.to_ndarray(format="rgb24")


def seconds_of(frame: Any) -> float | None:
    """When a frame is shown; None where the video does not say."""
    return None if frame.time is None else round(float(frame.time), 6)


def choose_frames(videos: Mapping[Path, Collection[int]], most: int) -> dict[Path, list[int]]:
    """At most so many frames of videos that differ in time and in appearance; always the same.

    Candidates are ``CANDIDATES`` times as many, evenly over all videos one after the other. Of
    these, one by one, the frame is taken that differs most from the nearest of those taken before
    (farthest-point sampling of thumbnails), as long as one is left that is not ``NEAR``.

    Args:
        videos: each with the indices of frames that are known already: none of them is chosen, nor
            one like them.
        most: frames, over all videos.

    Returns:
        The indices of the chosen frames of each video, rising.

    Raises:
        BadInput: a video cannot be read or decoded.
    """
    counts = {video: count_frames(video) for video in videos}
    ends = np.cumsum(list(counts.values()))
    spread = evenly_spaced(ends[-1], CANDIDATES * most) if counts else np.zeros(0, int)
    places: list[tuple[Path, int]] = []
    thumbnails: list[np.ndarray] = []
    with_bar = show_progress(_candidates(videos, counts, spread), len(spread), "choosing frames")
    for video, index, frame in with_bar:
        places.append((video, index))
        thumbnails.append(_thumbnail(frame))
    known = np.array([index in videos[video] for video, index in places], bool)
    chosen: dict[Path, list[int]] = {video: [] for video in videos}
    for row in choose_different(np.array(thumbnails).reshape(len(places), SIDE**2), known, most):
        video, index = places[row]
        chosen[video].append(index)
    for video, indices in chosen.items():
        logger.info("%s: %d of %d frames", video.name, len(indices), counts[video])
    return chosen


def choose_different(thumbnails: np.ndarray, known: np.ndarray, most: int) -> np.ndarray:
    """Rows, rising, of at most so many thumbnails that differ from the known ones and each other.

    Args:
        thumbnails: (n, cells) levels, whole numbers from 0 to ``LEVELS`` - 1.
        known: (n) which are there already; none of them is chosen.
        most: how many.
    """
    levels = thumbnails.astype(np.float32)
    squares = (levels**2).sum(axis=1)
    nearest = np.full(len(levels), np.inf)

    def take(row: int) -> None:
        np.minimum(nearest, squares + squares[row] - 2 * (levels @ levels[row]), out=nearest)

    for row in np.flatnonzero(known).tolist():
        take(row)
    chosen: list[int] = []
    while len(chosen) < min(most, len(levels)):
        row = int(nearest.argmax())
        if nearest[row] <= NEAR:
            break
        chosen.append(row)
        take(row)
    return np.sort(np.array(chosen, int))


def _candidates(
    videos: Mapping[Path, Collection[int]], counts: Mapping[Path, int], spread: np.ndarray
) -> Iterator[tuple[Path, int, Any]]:
    """The frames of ``spread``, numbered over all videos, and the known ones."""
    start = 0
    for video, known in videos.items():
        end = start + counts[video]
        own = spread[(spread >= start) & (spread < end)] - start
        for index, frame in read_frames(video, {*own.tolist(), *known}):
            yield video, index, frame
        start = end


def _thumbnail(frame: Any) -> np.ndarray:
    """(SIDE, SIDE) levels."""
    small = frame.reformat(width=SIDE, height=SIDE, format="gray", interpolation="AREA")
    return small.to_ndarray() // (256 // LEVELS)


_REMEDY = "Copy the video again or convert it, or take it out of the folder"


@contextmanager
def open_video(video: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; what goes wrong in the block is one sentence, too.

    Raises:
        BadInput: no such file, no video, or it does not decode.
    """
    if not video.is_file():
        raise BadInput(video, "there must be such a file", _REMEDY)
    try:
        # Absolute: FFmpeg takes what stands before a colon, as in 12:30.mp4, for a protocol.
        with av.open(str(video.absolute()), metadata_errors="replace") as container:
            if not container.streams.video:
                raise BadInput(video, "must be a video, and has no pictures", _REMEDY)
            yield container, container.streams.video[0]
    except FFmpegError as error:
        rule = f"the video must decode, but {error.strerror or error}"
        raise BadInput(video, rule, _REMEDY) from error
