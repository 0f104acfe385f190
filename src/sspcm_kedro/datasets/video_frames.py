"""The folder of frames that were chosen out of videos."""

import json
from collections.abc import Sequence
from pathlib import Path

from sspcm_kedro.data.instances import evenly_spaced
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.datasets.made_folder import MadeFolderDataset
from sspcm_kedro.sources.video_frames import LIST_FILE, VideoFrames

QUALITY = 95
"""Of the JPEG files. A video has lost more than they lose, and lossless PNG is thrice as large."""


class VideoFramesDataset(MadeFolderDataset[VideoFrames]):
    """A folder a video with the chosen frames as JPEG files, and their list; saving chooses them.

    A video is the same while its name, size and time of change are; its pixels are not compared.
    """

    entry, node, key = "video_frames", "choose_frames", "frames"
    what, made, again = "frames of videos", "written", "makes the same frames"

    def _write(self, folder: Path, data: VideoFrames) -> None:
        chosen = data.choose()
        total = sum(map(len, chosen.values()))
        records = []
        for image, record in show_progress(data.images(chosen), total, "writing frames"):
            file = folder / record["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file, quality=QUALITY)
            records.append(record)
        (folder / LIST_FILE).write_text(json.dumps(records))

    def _shown(self, folder: Path, images: int) -> Sequence[Path]:
        """Some, evenly over the list."""
        files = sorted(folder.rglob("*.jpg"))
        return [files[row] for row in evenly_spaced(len(files), images)] if files else []
