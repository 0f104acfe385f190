"""Which frames of videos are to be made images, and the people on them. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sspcm_kedro.data.video import (
    CANDIDATES,
    LEVELS,
    NEAR,
    SIDE,
    choose_frames,
    read_frames,
    seconds_of,
    to_image,
)
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.checks import Record

LIST_FILE = "frames.json"
"""The frames of a folder: file, video, frame (from 0), seconds, height, width."""

LAYOUT = 1
"""Raise it when the files of the folder change, so that old folders are written anew."""


@dataclass(frozen=True)
class VideoFrames:
    """What to choose frames of. No video is opened before ``choose``.

    Attributes:
        known: the frames of each video that are images already, by their indices from 0.
        most: frames, over all videos.
    """

    known: Mapping[Path, tuple[int, ...]]
    most: int

    def choose(self) -> dict[Path, list[int]]:
        """The indices of the chosen frames (``data.video``)."""
        return choose_frames(self.known, self.most) if self.most else {}

    def images(self, chosen: Mapping[Path, list[int]]) -> Iterator[tuple[Image.Image, Record]]:
        """The chosen frames and what the list says of them, video by video."""
        for video, indices in chosen.items():
            for index, frame in read_frames(video, indices):
                image = to_image(frame)
                yield image, {
                    "file": f"{video.name}/{index:06d}.jpg", "video": video.name, "frame": index,
                    "seconds": seconds_of(frame), "height": image.height, "width": image.width,
                }  # fmt: skip

    def fingerprint(self) -> Any:
        """All that decides the files: the videos' names, sizes and times of change, the choice."""
        for video in self.known:
            checks.need_file(video)
        stats = {video: video.stat() for video in self.known}
        videos = [[video.name, stats[video].st_size, stats[video].st_mtime_ns, list(known)]
                  for video, known in self.known.items()]  # fmt: skip
        return {"videos": videos, "most": self.most, "layout": LAYOUT,
                "choice": [CANDIDATES, SIDE, LEVELS, NEAR]}  # fmt: skip


def listed_frames(folder: Path) -> list[Record]:
    """What a folder of frames holds."""
    return json.loads((folder / LIST_FILE).read_text())
