"""OCHuman: heavily occluded people with COCO's keypoints, meant for evaluation only."""

from pathlib import Path
from typing import Literal

from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import ByHand, Part, PublishedSet
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.sources.base import BaseSource, assemble
from sspcm_kedro.sources.coco_format import parse_ignored, read_coco, read_coco_json

FILE = "annotations/ochuman_coco_format_val_range_0.00_1.00.json"
_FORM = "https://cg.cs.tsinghua.edu.cn/dataset/form.html?dataset=ochuman (a form to fill in)"


class OchumanSource(BaseSource):
    """OCHuman; to evaluate on, as the `validation` of a union.

    Attributes:
        root: the folder that all other paths are relative to.
        annotations: the validation or the test part.
        images: the folder of all images.
    """

    skeleton = COCO
    published = (PublishedSet("ochuman", {"all": Part(by_hand=(
        ByHand("images of OCHuman", _FORM, "images"), ByHand(Path(FILE).name, _FORM, FILE),
    ))}),)  # fmt: skip

    kind: Literal["ochuman"] = "ochuman"
    root: Path
    annotations: Path = Path(FILE)
    images: Path = Path("images")

    def read(self, made_folder: Path | None = None) -> Source:
        file, images = self.root / self.annotations, self.root / self.images
        coco = read_coco_json(file)
        people, _ = read_coco(file, images, coco=coco, skeleton=COCO, as_published=True)
        ignored = parse_ignored(file, coco, images, COCO.size, as_published=True)
        return assemble(COCO, people, ignored=ignored)
