"""Every frame of a video in order, with its time; damage costs the damaged frames alone."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError

from sspcm_kedro.data.video import count_frames, open_video, seconds_of, to_pixels
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)

RATE = 25.0
"""Frames a second of a video that does not say how many it has."""


MISSING = 5
"""Frames by which a video is shorter than it says before that counts as cut short."""


class VideoFrame(NamedTuple):
    """A frame: its number from 0 as shown, when it is shown (seconds), uint8 RGB (H, W, 3)."""

    index: int
    seconds: float
    image: np.ndarray


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself.

    Attributes:
        frames: how many there should be; of a damaged one fewer decode, and of one that was cut
            without encoding anew fewer are shown.
        rate: frames a second, on average.
        seconds: how long the pictures should last; 0 where it does not say.
    """

    frames: int
    rate: float
    seconds: float = 0.0

    @classmethod
    def of(cls, video: Path) -> "VideoInfo":
        """Of a file, from its header or its packets.

        Raises:
            BadInput: it is no video that can be read, or is empty.
        """
        with open_video(video) as (container, stream):
            frames, rate = stream.frames, float(stream.average_rate or 0)
            seconds = float((stream.duration or 0) * (stream.time_base or 0))
            if not seconds and len(container.streams) == 1:  # else it may be that of the sound
                seconds = (container.duration or 0) / av.time_base
        return cls(frames or count_frames(video), rate if rate > 0 else RATE, seconds)


def stream_video(video: Path) -> Iterator[VideoFrame]:
    """All frames of a video that decode, turned as it asks players to; one at a time in memory.

    Times are those of the stream, so frames may follow each other unevenly; where it gives none, or
    they do not rise, a frame is one step of its rate after the one before. What does not decode, or
    is marked as damaged, is left out (its number too, if there is a picture), and one line of the
    log says from which frame on.

    Raises:
        BadInput: the file cannot be read, or none of its frames decodes.
    """
    info = VideoInfo.of(video)
    damage: list[tuple[int, str]] = []
    seconds, lasts, count, shown = -1 / info.rate, 0.0, 0, 0
    with open_video(video) as (container, stream):
        stream.thread_type = "AUTO"
        for index, frame in enumerate(_decoded(container, stream, damage)):
            count = index + 1
            time = seconds_of(frame)
            seconds = seconds + 1 / info.rate if time is None or time <= seconds else time
            lasts = float((frame.duration or 0) * (frame.time_base or 0))
            if frame.is_corrupt:
                damage.append((index, "the decoder marks it as damaged"))
            else:
                shown += 1
                yield VideoFrame(index, seconds, to_pixels(frame))
    if not shown:
        why = damage[0][1] if damage else "it has none"
        raise BadInput(video, f"a frame of the video must decode, but {why}", _REMEDY)
    ends_early = seconds + lasts + MISSING / info.rate < info.seconds
    frames = info.frames - (_not_shown(video) if count < info.frames else 0)
    if damage or count < frames or ends_early:
        at, why = damage[0] if damage else (count, "the file ends there")
        expected = max(frames, round(info.seconds * info.rate) if ends_early else 0)
        logger.warning(
            "%s: %d of about %d frames decode; damage begins at frame %d (%s). %s",
            video, shown, expected, at, why, _REMEDY,
        )  # fmt: skip


_REMEDY = "Copy the video again or convert it, to have all of its frames"


def _not_shown(video: Path) -> int:
    """The frames of a file that players are asked to leave out: it was cut, not encoded anew."""
    with open_video(video) as (container, stream):
        return sum(packet.is_discard for packet in container.demux(stream))


def _decoded(container: Any, stream: Any, damage: list[tuple[int, str]]) -> Iterator[Any]:
    """The decoder's frames; packets that it refuses are noted and passed over."""
    count = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except FFmpegError as error:
            damage.append((count, str(error.strerror or error)))
            if not isinstance(error, InvalidDataError):
                return
            continue
        for frame in frames:
            count += 1
            yield frame
