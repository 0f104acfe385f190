"""People drawn by this package, read back from their folder."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sspcm_kedro.data.source import Source
from sspcm_kedro.drawn import DrawnSettings
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources.base import BaseSource
from sspcm_kedro.sources.coco import CocoSource
from sspcm_kedro.sources.coco_parts import CocoPart, UnlabeledPart
from sspcm_kedro.sources.drawn_folder import (
    BOXES_FILE,
    PART_SPAN,
    TRUTH_FILE,
    DrawnPeople,
    Part,
    images_folder,
    keypoints_file,
)

Images = Annotated[int, Field(ge=1, lt=PART_SPAN)]


class DrawnSource(BaseSource):
    """People drawn by this package, the same for the same `seed`, into a COCO folder of the run.

    Attributes:
        annotated: annotated images; an image has one to a few people.
        unlabeled: unlabeled images.
        validation: validation images.
        look: how the images look.
        processes: how many processes draw.
    """

    skeleton = COCO

    kind: Literal["drawn"] = "drawn"
    annotated: Images
    unlabeled: Images
    validation: Images
    look: DrawnSettings = DrawnSettings()
    processes: Annotated[int, Field(ge=1, le=256)] = 1

    def people(self, seed: int) -> DrawnPeople:
        """What the drawing node has to draw."""
        counts: dict[Part, int] = {
            "train": self.annotated,
            "val": self.validation,
            "unlabeled": self.unlabeled,
        }
        return DrawnPeople(self.look, seed, counts, self.processes)

    def read(self, made_folder: Path | None = None) -> Source:
        if made_folder is None:
            rule = "a drawn source is read from the folder that node 'draw' writes, got none"
            raise BadInput("source", rule, "Run node 'draw' first")
        unlabeled = UnlabeledPart(
            annotations=Path(BOXES_FILE),
            images=Path(images_folder("unlabeled")),
            truth=Path(TRUTH_FILE),
        )
        return CocoSource(
            root=made_folder,
            train=_drawn_part("train"),
            validation=_drawn_part("val"),
            unlabeled=unlabeled,
            as_published=True,
        ).read()


def _drawn_part(part: Part) -> CocoPart:
    return CocoPart(annotations=Path(keypoints_file(part)), images=Path(images_folder(part)))
