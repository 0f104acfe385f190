"""CrowdPose, as mmpose distributes it: COCO files of 14 keypoints, most of them without areas."""

from pathlib import Path
from typing import Literal

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import CROWDPOSE, plain_name
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import assemble
from sspcm_kedro.sources.coco import CocoPart, DetectedPart
from sspcm_kedro.sources.coco_format import coco_people, ignored_people

IMAGES = Path("images")


class CrowdposeSource(Settings):
    """CrowdPose: trained on its trainval part and evaluated on its test part, as is usual.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: the part to validate on, if any.
        test: people to hand in predictions for, e.g. those that a detector found in the test part.
    """

    kind: Literal["crowdpose"] = "crowdpose"
    root: Path
    train: CocoPart = CocoPart(
        annotations=Path("annotations/mmpose_crowdpose_trainval.json"), images=IMAGES
    )
    validation: CocoPart | None = CocoPart(
        annotations=Path("annotations/mmpose_crowdpose_test.json"), images=IMAGES
    )
    test: DetectedPart | None = None

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the folder."""
        annotated, ignored = self._people(self.train)
        validation = test = None
        if self.validation:
            validation, ignored = self._people(self.validation)
        if self.test:
            test = self._people(self.test)[0].without_labels()
        return assemble(CROWDPOSE, annotated, validation, None, None, test, ignored)

    def _people(self, part: CocoPart) -> tuple[Instances, Instances | None]:
        found = part.detections if isinstance(part, DetectedPart) else None
        file, images = self.root / part.annotations, self.root / part.images
        return read_crowdpose(file, images, self.root / found if found else None)


def read_crowdpose(
    annotation_file: Path, image_root: Path, detections: Path | None = None
) -> tuple[Instances, Instances | None]:
    """The people of a CrowdPose file, and whom evaluation ignores; see ``coco.coco_people``.

    Areas that are missing are 0.53 times those of the boxes. The limbs in the file are COCO's,
    with indices that the 14 keypoints do not have: they are ignored. The head's name is head,
    top_head or head_top, depending on who wrote the file.
    """
    keys = ("images", "categories") if detections else ("images", "categories", "annotations")
    content = checks.read_coco_json(annotation_file, keys)
    for category in content["categories"]:
        listed = category.pop("keypoints", None) or []
        names = tuple(plain_name(str(name)) for name in listed) if isinstance(listed, list) else "?"
        if names and (len(names) != CROWDPOSE.size or names[:12] != CROWDPOSE.names[:12]):
            rule = f"the keypoints must be {CROWDPOSE.names}, found {names}"
            where = f"{annotation_file}, category {category.get('id')}"
            raise BadInput(where, rule, "Use CrowdPose's file, or read this one as kind coco")
    people, _ = coco_people(
        annotation_file, content, image_root, detections=detections, skeleton=CROWDPOSE
    )
    if detections:
        return people, None
    return people, ignored_people(annotation_file, content, image_root, CROWDPOSE.size)
