"""Which frames of videos are to be made images, and the people on them. Pure."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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

logger = logging.getLogger(__name__)

Crop = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the frame; the last two are the first outside."""

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
        crops: the part that frames of some videos are cut to, where they have not its size.
    """

    known: Mapping[Path, tuple[int, ...]]
    most: int
    crops: Mapping[Path, Crop] = field(default_factory=dict, kw_only=True)

    def choose(self) -> dict[Path, list[int]]:
        """The indices of the chosen frames (``data.video``)."""
        return choose_frames(self.known, self.most) if self.most else {}

    def images(self, chosen: Mapping[Path, list[int]]) -> Iterator[tuple[Image.Image, Record]]:
        """The chosen frames and what the list says of them, video by video."""
        for video, indices in chosen.items():
            crop, cut = self.crops.get(video), 0
            for index, frame in read_frames(video, indices):
                image = to_image(frame)
                if crop and image.size != (crop[2] - crop[0], crop[3] - crop[1]):
                    image, cut = image.crop(crop), cut + 1
                yield image, {
                    "file": f"{video.name}/{index:06d}.jpg", "video": video.name, "frame": index,
                    "seconds": seconds_of(frame), "height": image.height, "width": image.width,
                }  # fmt: skip
            if cut:
                logger.info("%s: %d frames were cut to x0, y0, x1, y1 = %s", video, cut, crop)

    def fingerprint(self) -> Any:
        """All that decides the files: the videos' names, sizes and times of change, the choice and
        the crops."""
        for video in self.known:
            checks.need_file(video)
        stats = {video: video.stat() for video in self.known}
        videos = [[video.name, stats[video].st_size, stats[video].st_mtime_ns, list(known)]
                  for video, known in self.known.items()]  # fmt: skip
        crops = {video.name: list(crop) for video, crop in self.crops.items()}
        return {"videos": videos, "most": self.most, "layout": LAYOUT,
                "choice": [CANDIDATES, SIDE, LEVELS, NEAR],
                **({"crops": crops} if crops else {})}  # fmt: skip


def listed_frames(folder: Path) -> list[Record]:
    """What a folder of frames holds."""
    return json.loads((folder / LIST_FILE).read_text())
