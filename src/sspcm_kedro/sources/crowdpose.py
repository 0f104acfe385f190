"""CrowdPose, as mmpose distributes it: COCO files of 14 keypoints, most of them without areas."""

from pathlib import Path
from typing import Literal

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import Archive, ByHand, Part, PublishedSet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import CROWDPOSE, plain_name
from sspcm_kedro.sources.base import BaseSource, assemble
from sspcm_kedro.sources.coco_format import parse_ignored, read_coco, read_coco_json
from sspcm_kedro.sources.coco_parts import CocoPart, DetectedPart

_FILE = "mmpose_crowdpose_{}.json"
_FILES = tuple(_FILE.format(part) for part in ("trainval", "test"))
_ANNOTATIONS = Archive(
    "https://download.openmmlab.com/mmpose/datasets/crowdpose_annotations.tar",
    tuple((file, f"annotations/{file}") for file in _FILES),
)
_IMAGES = ByHand(
    "images.zip of CrowdPose",
    "https://drive.google.com/file/d/1VprytECcLtU4tKP32SYi_7oDRbw7yUTL "
    "(linked in github.com/Jeff-sjtu/CrowdPose)",
    "images",
)


def _part(name: str) -> CocoPart:
    return CocoPart(annotations=Path("annotations", _FILE.format(name)), images=Path("images"))


class CrowdposeSource(BaseSource):
    """CrowdPose, as mmpose distributes it: trained on trainval, evaluated on test, as is usual.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: the part to validate on, if any.
        test: people to hand in predictions for, e.g. those that a detector found in the test part.
    """

    skeleton = CROWDPOSE
    published = (PublishedSet("crowdpose", {
        "annotations": Part((_ANNOTATIONS,)), "images": Part(by_hand=(_IMAGES,)),
    }),)  # fmt: skip

    kind: Literal["crowdpose"] = "crowdpose"
    root: Path
    train: CocoPart = _part("trainval")
    validation: CocoPart | None = _part("test")
    test: DetectedPart | None = None

    def read(self, made_folder: Path | None = None) -> Source:
        annotated, ignored = self._people(self.train)
        validation = test = None
        if self.validation:
            validation, ignored = self._people(self.validation)
        if self.test:
            test = self._people(self.test)[0].without_labels()
        return assemble(CROWDPOSE, annotated, validation, test=test, ignored=ignored)

    def _people(self, part: CocoPart) -> tuple[Instances, Instances | None]:
        found = part.detections if isinstance(part, DetectedPart) else None
        file, images = self.root / part.annotations, self.root / part.images
        return read_crowdpose(file, images, self.root / found if found else None)


def read_crowdpose(
    annotation_file: Path, image_root: Path, detections: Path | None = None
) -> tuple[Instances, Instances | None]:
    """The people of a CrowdPose file, and whom evaluation ignores; see ``coco_format.read_coco``.

    Areas that are missing are 0.53 times those of the boxes. The limbs in the file are COCO's,
    with indices that the 14 keypoints do not have: they are ignored. The head's name is head,
    top_head or head_top, depending on who wrote the file.
    """
    keys = ("images", "categories") if detections else ("images", "categories", "annotations")
    coco = read_coco_json(annotation_file, keys)
    for category in coco["categories"]:
        listed = category.pop("keypoints", None) or []
        names = tuple(plain_name(str(name)) for name in listed) if isinstance(listed, list) else "?"
        if names and (len(names) != CROWDPOSE.size or names[:12] != CROWDPOSE.names[:12]):
            rule = f"the keypoints must be {CROWDPOSE.names}, found {names}"
            where = f"{annotation_file}, category {category.get('id')}"
            raise BadInput(where, rule, "Use CrowdPose's file, or read this one as kind coco")
    people, _ = read_coco(
        annotation_file,
        image_root,
        coco=coco,
        detections=detections,
        skeleton=CROWDPOSE,
        as_published=True,
    )
    if detections:
        return people, None
    return people, parse_ignored(
        annotation_file, coco, image_root, CROWDPOSE.size, as_published=True
    )
