"""WEPDTOF-Pose and BKFisheye: people seen from above, in COCO files with rules of their own."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Literal

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import ByHand, Part, PublishedSet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import FISHEYE, Skeleton
from sspcm_kedro.sources import checks, coco_checks
from sspcm_kedro.sources.base import BaseSource, assemble
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_format import read_coco, read_coco_json
from sspcm_kedro.sources.coco_parts import CocoPart


def _published(name: str, title: str, where: str) -> PublishedSet:
    note = "its COCO files are numbered from 0; keep them as they come"
    paths = ("annotations/person_keypoints_train2017.json",
             "annotations/person_keypoints_val2017.json",
             "images/train2017", "images/val2017")  # fmt: skip
    by_hand = tuple(ByHand(f"{title}, {path}", where, f"coco/{path}", note) for path in paths)
    return PublishedSet(name, {"all": Part(by_hand=by_hand)})


class FisheyeSource(BaseSource):
    """WEPDTOF-Pose or BKFisheye, people seen from above; every box is an annotated one.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: the part to validate on, if any.
        unlabeled: further people; their labels are erased, and kept as the hidden truth.
    """

    skeleton = FISHEYE
    published = (
        _published("wepdtof_pose", "WEPDTOF-Pose", "the Baidu folder that the README of "
                   "github.com/hlz0606/SSPCM links (with an account)"),
        _published("bkfisheye", "BKFisheye",
                   "its authors (those of SSPCM, CVPR 2023): no address is published"),
    )  # fmt: skip

    kind: Literal["fisheye"] = "fisheye"
    root: Path
    train: CocoPart = CocoPart(
        annotations=Path("coco/annotations/person_keypoints_train2017.json"),
        images=Path("coco/images/train2017"),
    )
    validation: CocoPart | None = CocoPart(
        annotations=Path("coco/annotations/person_keypoints_val2017.json"),
        images=Path("coco/images/val2017"),
    )
    unlabeled: CocoPart | None = None

    def read(self, made_folder: Path | None = None) -> Source:
        annotated, validation, truth = (
            read_fisheye(self.root / part.annotations, self.root / part.images)[0] if part else None
            for part in (self.train, self.validation, self.unlabeled)
        )
        assert annotated is not None
        unlabeled = truth.without_labels() if truth else None
        return assemble(FISHEYE, annotated, validation, unlabeled, truth)


def read_fisheye(annotation_file: Path, image_root: Path) -> tuple[Instances, Skeleton]:
    """The people of a fisheye file, in file order.

    What differs from COCO, as in the published loader and evaluator: areas are 0.53 times those of
    the annotated boxes, whatever ``area`` says (it only drops people where it is 0); ``iscrowd``
    does not count; ``num_keypoints`` must be there; images must be numbered 0, 1, 2, ... as they
    are listed, since the loader takes them by place; and their base names must differ, since
    results are told apart by them. Boxes that the cleaning leaves without width or height are
    dropped. A file that follows COCO alone is of kind coco.
    """
    coco = read_coco_json(annotation_file)
    images, annotations = coco["images"], coco["annotations"]
    _check_images(annotation_file, images)
    checks.need_keys(annotation_file, "annotation", annotations, ("num_keypoints", "keypoints"))
    coco_checks.need_finite(
        annotation_file, "annotation", [a for a in annotations if "area" in a], "area", single=True
    )
    stripped = [
        {key: value for key, value in annotation.items() if key not in ("area", "iscrowd")}
        for annotation in annotations
        if annotation.get("area", 1) > 0
    ]
    categories = [_category(annotation_file, category) for category in coco["categories"]]
    coco = {"images": images, "annotations": stripped, "categories": categories}
    return read_coco(annotation_file, image_root, coco=coco, skeleton=FISHEYE, as_published=True)


def _check_images(file: Path, images: list[Record]) -> None:
    checks.need_keys(file, "image", images, ("id", "file_name"))
    broken = [
        (
            f"image in row {row}",
            f"its id must be its place in the list, {row}, found {image['id']!r}",
        )
        for row, image in enumerate(images)
        if image["id"] != row or isinstance(image["id"], bool)
    ]
    remedy = "Number the images 0, 1, 2, ...; a file that follows COCO alone is of kind coco"
    checks.refuse(file, broken, remedy)
    checks.need_names_inside(
        file, ((f"image {image['id']}", image["file_name"]) for image in images)
    )
    names = [PurePosixPath(image["file_name"]).name for image in images]
    count = Counter(names)
    twice = [
        (f"image {row}", f"base names must differ, and {name} occurs {count[name]} times")
        for row, name in enumerate(names)
        if count[name] > 1
    ]
    checks.refuse(file, twice, "Rename the images")


def _category(file: Path, category: Record) -> Record:
    """The category without names of keypoints: the set's order is fixed, its spelling is not."""
    names = category.get("keypoints")
    if names and not (isinstance(names, list) and len(names) == FISHEYE.size):
        found = len(names) if isinstance(names, list) else names
        rule = f"the category must have the set's {FISHEYE.size} keypoints, found {found}"
        raise BadInput(f"{file}, category {category.get('id')}", rule, "Use the file of the set")
    return {key: value for key, value in category.items() if key != "keypoints"}
