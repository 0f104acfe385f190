"""The folder of drawn people."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.datasets.made_folder import MadeFolderDataset
from sspcm_kedro.sources.drawn_folder import (
    BOXES_FILE,
    PARTS,
    TRUTH_FILE,
    CocoRecords,
    DrawnPeople,
    images_folder,
    keypoints_file,
)


class DrawnFolderDataset(MadeFolderDataset[DrawnPeople]):
    """A COCO folder of drawn people; saving draws them."""

    entry, node, key = "drawn_folder", "draw", "people"
    what, made, again = "drawn people", "drawn", "makes the same people"

    def _write(self, folder: Path, data: DrawnPeople) -> None:
        records = {part: CocoRecords(part, data.settings.image_hw) for part in PARTS}
        for part in PARTS:
            (folder / images_folder(part)).mkdir(parents=True)
        (folder / "annotations").mkdir()
        for image in show_progress(data.images(), len(data), "drawing people"):
            (folder / image.file).write_bytes(image.jpeg)
            records[image.part].add(image)
        files = {
            keypoints_file("train"): records["train"].labeled(),
            keypoints_file("val"): records["val"].labeled(),
            BOXES_FILE: records["unlabeled"].boxes(),
            TRUTH_FILE: records["unlabeled"].labeled(),
        }
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))

    def _shown(self, folder: Path, images: int) -> Sequence[Path]:
        """The first annotated images."""
        return list(islice(sorted((folder / images_folder("train")).iterdir()), images))
