"""Folders with a file or two for each predicted video, written as soon as it is predicted."""

import logging
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pandas as pd
from av.codec.codec import Codec, UnknownCodecError
from kedro.io import AbstractDataset

from sspcm_kedro.data.video_stream import VideoFrame
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.engine.frame_table import FrameTable
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)

CODECS = {"libx264": {"crf": "20", "preset": "veryfast"}, "libopenh264": {}, "mpeg4": {}}
"""Encoders, the best first, with their settings: the first that this build of FFmpeg has."""

TICKS = 90_000
"""A second of a video's time stamps."""


class PredictedVideo(NamedTuple):
    """A video, called by its place in the folder of videos, and what was predicted on it."""

    name: str
    table: FrameTable


class DrawnVideo(NamedTuple):
    """A video to write: frames of one size, drawn as they are asked for."""

    name: str
    frames: Iterable[VideoFrame]
    rate: float


class VideoFolderDataset(AbstractDataset[Any, Any]):
    """A folder with the files of videos; each save adds those of one, and replaces older ones."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}


class VideoTablesDataset(VideoFolderDataset):
    """Predictions: ``<video>.csv``, a row a keypoint, and ``<video>.parquet``, a row a person.

    Loading gives a function from a video's name to its table.
    """

    def save(self, data: PredictedVideo) -> None:
        with replace_file(self._folder / f"{data.name}.parquet") as path:
            data.table.to_columns().to_parquet(path)
        csv = self._folder / f"{data.name}.csv"
        with replace_file(csv) as path:
            data.table.to_frame().to_csv(path, index=False)
        logger.info("%s: %d frames, %s", data.name, data.table.count, csv)

    def load(self) -> Any:
        return self._table_of

    def _table_of(self, name: str) -> FrameTable:
        file = self._folder / f"{name}.parquet"
        remedy = "Predict it: kedro run --pipelines prediction --to-nodes predict_videos"
        if not file.is_file():
            raise BadInput(file, "there must be a table of predictions of the video", remedy)
        try:
            return FrameTable.from_columns(pd.read_parquet(file))
        except (OSError, ValueError, KeyError) as error:
            rule = f"must be a table as it was written ({type(error).__name__}: {error})"
            raise BadInput(file, rule, remedy) from error


class LabeledVideosDataset(VideoFolderDataset):
    """Videos as MP4, each frame at its own time."""

    def save(self, data: DrawnVideo) -> None:
        name = data.name if data.name.lower().endswith(".mp4") else f"{data.name}.mp4"
        with replace_file(self._folder / name) as path:
            codec = write_video(path, data.frames, data.rate)
        logger.info("%s: %s (%s)", data.name, self._folder / name, codec)

    def load(self) -> Any:
        raise BadInput(self._folder, "is a product, which nothing reads", "Open it with a player")


def write_video(file: Path, frames: Iterable[VideoFrame], rate: float) -> str:
    """The name of the encoder that wrote the frames as an MP4 file, each at its time.

    A side that is odd loses its last pixel, which H.264 cannot have; a frame of another size than
    the first is stretched to it.

    Args:
        file: any name.
        frames: in order; at least one.
        rate: frames a second, about.

    Raises:
        BadInput: this FFmpeg has none of ``CODECS``.
    """
    codec = next((name for name in CODECS if _is_there(name)), None)
    if codec is None:
        rule = f"PyAV's FFmpeg must have an encoder of {', '.join(CODECS)}"
        raise BadInput(file, rule, "Install PyAV from its wheel: pip install --force-reinstall av")
    with av.open(str(file), "w", format="mp4") as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                rational = Fraction(rate).limit_denominator(TICKS)
                stream = container.add_stream(codec, rate=rational, options=CODECS[codec])
                stream.height, stream.width = (side // 2 * 2 for side in frame.image.shape[:2])
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, TICKS)
                if codec != "libx264":
                    stream.bit_rate = round(0.2 * stream.height * stream.width * rate)
            picture = _picture(frame.image, stream.height, stream.width)
            picture.pts, picture.time_base = round(frame.seconds * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return codec


def _picture(image: np.ndarray, height: int, width: int) -> av.VideoFrame:
    if (image.shape[0] // 2 * 2, image.shape[1] // 2 * 2) == (height, width):
        pixels = np.ascontiguousarray(image[:height, :width])
        return av.VideoFrame.from_ndarray(pixels, format="rgb24")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return picture.reformat(width=width, height=height)


def _is_there(codec: str) -> bool:
    try:
        Codec(codec, "w")
    except UnknownCodecError:
        return False
    return True
