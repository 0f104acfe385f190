"""OCHuman: heavily occluded people with COCO's keypoints, meant for evaluation only."""

from pathlib import Path
from typing import Literal

from sspcm_kedro.config import Settings
from sspcm_kedro.data.source import Source
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import assemble
from sspcm_kedro.sources.coco_format import coco_people, ignored_people


class OchumanSource(Settings):
    """OCHuman. Its people are not meant to be learned from: name it as a mix's ``validation``.

    Attributes:
        root: the folder that all other paths are relative to.
        annotations: the validation or the test part.
        images: the folder of all images.
    """

    kind: Literal["ochuman"] = "ochuman"
    root: Path
    annotations: Path = Path("annotations/ochuman_coco_format_val_range_0.00_1.00.json")
    images: Path = Path("images")

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the part, as annotated ones."""
        file, images = self.root / self.annotations, self.root / self.images
        content = checks.read_coco_json(file, ("images", "categories", "annotations"))
        people, _ = coco_people(file, content, images, skeleton=COCO)
        ignored = ignored_people(file, content, images, COCO.size)
        return assemble(COCO, people, None, None, None, ignored=ignored)
