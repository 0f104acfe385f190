"""Where people come from: one config class a kind, each beside its reader."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, RootModel

from sspcm_kedro.config import Settings
from sspcm_kedro.data.coco_source import CocoPart, CocoSource, UnlabelledPart
from sspcm_kedro.data.drawn import DrawnSettings
from sspcm_kedro.data.drawn_folder import (
    BOXES_FILE,
    PART_SPAN,
    TRUTH_FILE,
    DrawnPeople,
    Part,
    images_folder,
    keypoints_file,
)
from sspcm_kedro.data.lspet import LspetSource
from sspcm_kedro.data.mix import FolderSource, MixSource
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput

__all__ = ["CocoSource", "DrawnSource", "LspetSource", "MixSource", "SourceConfig"]

Pictures = Annotated[int, Field(ge=1, lt=PART_SPAN)]


class DrawnSource(Settings):
    """People drawn by this package; their folder is read back as any COCO folder.

    Attributes:
        annotated: annotated pictures; a picture has one to a few people.
        unlabelled: unlabelled pictures.
        validation: validation pictures.
        look: how the pictures look.
        processes: how many processes draw.
    """

    kind: Literal["drawn"] = "drawn"
    annotated: Pictures
    unlabelled: Pictures
    validation: Pictures
    look: DrawnSettings = DrawnSettings()
    processes: Annotated[int, Field(ge=1)] = 1

    def people(self, seed: int) -> DrawnPeople:
        """What the drawing node has to draw."""
        counts: dict[Part, int] = {
            "train": self.annotated,
            "val": self.validation,
            "unlabelled": self.unlabelled,
        }
        return DrawnPeople(self.look, seed, counts, self.processes)

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the drawn folder."""
        if drawn_folder is None:
            rule = "a drawn source is read from the folder that node 'draw' writes, got none"
            raise BadInput("source", rule, "Run node 'draw' first")
        unlabelled = UnlabelledPart(
            annotations=Path(BOXES_FILE),
            images=Path(images_folder("unlabelled")),
            truth=Path(TRUTH_FILE),
        )
        return CocoSource(
            root=drawn_folder,
            train=_drawn_part("train"),
            validation=_drawn_part("val"),
            unlabelled=unlabelled,
        ).read()


class SourceConfig(RootModel[Annotated[DrawnSource | FolderSource | MixSource,
                                       Field(discriminator="kind")]]):  # fmt: skip
    """One of the sources, chosen by ``kind``."""


def _drawn_part(part: Part) -> CocoPart:
    return CocoPart(annotations=Path(keypoints_file(part)), images=Path(images_folder(part)))
