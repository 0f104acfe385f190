"""AI Challenger's human keypoints: its own JSON, not the converted COCO form."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from sspcm_kedro.data.instances import Instances, as_text
from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import ByHand, Part, PublishedSet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import AIC, Skeleton
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import BaseSource, assemble, boxed_instances, number_names
from sspcm_kedro.sources.coco_parts import CocoPart

_VISIBILITY = np.array([0, 2, 1, 0])
"""The set's v: 1 visible, 2 covered, 3 absent; the project's: 2, 1, 0."""


_OWNERS = (
    "github.com/AIChallenger/AI_Challenger_2017, or dataset AI_Challenger of OpenXLab (with an "
    "account), which mmpose's 'mim download mmpose --dataset aic' fetches"
)
_TRAIN = Part(by_hand=(
    ByHand("ai_challenger_keypoint_train, folder keypoint_train_images_20170902", _OWNERS,
           "train/images", "rename the folder"),
    ByHand("ai_challenger_keypoint_train, keypoint_train_annotations_20170909.json", _OWNERS,
           "train/keypoint_train_annotation.json",
           "rename the file; mmpose's aic_annotations are converted and of kind coco"),
))  # fmt: skip
_VALIDATION = Part(by_hand=(
    ByHand("ai_challenger_keypoint_validation_20170911, folder keypoint_validation_images_20170911",
           _OWNERS, "validation/images", "rename the folder"),
    ByHand("ai_challenger_keypoint_validation_20170911, "
           "keypoint_validation_annotations_20170911.json", _OWNERS,
           "validation/keypoint_validation_annotation.json", "rename the file"),
), source={"validation": {"annotations": "validation/keypoint_validation_annotation.json",
                          "images": "validation/images"}})  # fmt: skip


class AicSource(BaseSource):
    """AI Challenger's own JSON; a file converted to COCO's form is of kind `coco`.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: the part to validate on, if any.
    """

    skeleton = AIC
    published = (PublishedSet(
        "aic", {"train": _TRAIN, "validation": _VALIDATION}, folder="ai_challenger"
    ),)  # fmt: skip

    kind: Literal["aic"] = "aic"
    root: Path
    train: CocoPart = CocoPart(
        annotations=Path("train/keypoint_train_annotation.json"), images=Path("train/images")
    )
    validation: CocoPart | None = None

    def read(self, made_folder: Path | None = None) -> Source:
        train, validation = (
            read_aic(self.root / part.annotations, self.root / part.images)[0] if part else None
            for part in (self.train, self.validation)
        )
        assert train is not None
        return assemble(AIC, train, validation)


def read_aic(annotation_file: Path, image_root: Path) -> tuple[Instances, Skeleton]:
    """The people of an AI Challenger file, in file order.

    Kept are people with at least one annotated keypoint. Boxes and keypoints are used as they are
    (the set counts from 0); areas are those of the boxes, as in the set's own metric. The images'
    sizes are read from the image files, since the annotations have none. ``source_ids`` are the
    names of the people (human1), ``source_image_ids`` those of the images without ".jpg": what a
    result file of the set needs.
    """
    people = _people(annotation_file)
    boxes = checks.parse_numbers(
        annotation_file, "human_annotations", [(name, box) for name, _, _, box, _ in people], (4,)
    )
    _check_corners(annotation_file, people, boxes)
    labels = checks.parse_numbers(
        annotation_file,
        "keypoint_annotations",
        [(name, points) for name, _, _, _, points in people],
        (3 * AIC.size,),
    ).reshape(-1, AIC.size, 3)
    odd = ~np.isin(labels[..., 2], (1, 2, 3)).all(axis=1)
    rule = "v must be 1 (visible), 2 (covered) or 3 (absent)"
    records = [(people[row][0], rule) for row in np.flatnonzero(odd)]
    checks.refuse(annotation_file, records, "A file converted to COCO's form is of kind coco")
    visibility = _VISIBILITY[labels[..., 2].astype(np.int64)]
    kept = np.flatnonzero(visibility.any(axis=1))
    if not len(kept):
        rule = "the file must hold at least one person with an annotated keypoint"
        raise BadInput(annotation_file, rule, "Export the annotations again")
    people, boxes = [people[row] for row in kept], boxes[kept]
    labels, visibility = labels[kept], visibility[kept]

    images = [image for _, image, _, _, _ in people]
    names = [f"{image}.jpg" for image in images]
    checks.need_images(annotation_file, dict.fromkeys(names), image_root)
    paths = [image_root / name for name in names]
    instances = boxed_instances(
        ids=kept + 1,
        image_ids=number_names(images),
        paths=paths,
        image_hw=checks.stored_sizes(paths),
        boxes=boxes,
        keypoints=labels[..., :2],
        visibility=visibility,
        source_ids=as_text(human for _, _, human, _, _ in people),
        source_image_ids=as_text(images),
    )
    _check_inside(annotation_file, [person[0] for person in people], instances)
    return instances, AIC


def _people(file: Path) -> list[tuple[str, str, str, Any, Any]]:
    """(name for messages, image, human, box, keypoints) of every person, in file order."""
    records = checks.read_records(
        file, "an AI Challenger file", "A file converted to COCO's form is of kind coco"
    )
    keys = ("image_id", "human_annotations", "keypoint_annotations")
    checks.need_keys(file, "image", records, keys)
    names = [(f"image in row {row}", record["image_id"]) for row, record in enumerate(records)]
    checks.need_names_inside(file, names)
    first: dict[str, int] = {}
    repeated = [
        (name, f"an image must occur once, and {image} is also row {first[image]}")
        for row, (name, image) in enumerate(names)
        if first.setdefault(image, row) != row
    ]
    checks.refuse(file, repeated, "Join the people of the two records, or remove one")
    people = []
    for record in records:
        image = record["image_id"]
        boxes, joints = record["human_annotations"], record["keypoint_annotations"]
        if not isinstance(boxes, dict) or not isinstance(joints, dict) or set(boxes) != set(joints):
            rule = "human_annotations and keypoint_annotations must name the same people"
            raise BadInput(f"{file}, image {image}", rule, "Give each a box and keypoints")
        people += [
            (f"image {image}, {human}", image, human, box, joints[human])
            for human, box in boxes.items()
        ]
    return people


def _check_corners(file: Path, people: list[tuple[str, str, str, Any, Any]], boxes: np.ndarray):
    empty = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    broken = [
        (
            people[row][0],
            f"the box [x0, y0, x1, y1] must have positive sides, found {people[row][3]}",
        )
        for row in empty
    ]
    checks.refuse(file, broken, "Correct the box, or remove the person")


def _check_inside(file: Path, names: list[str], people: Instances) -> None:
    x0, y0, x1, y1 = people.boxes.T
    height, width = people.image_hw.T
    outside = np.flatnonzero((x0 >= width) | (y0 >= height) | (x1 <= 0) | (y1 <= 0))
    broken = [
        (names[row], f"the box must touch the image, (height, width) = "
         f"{tuple(people.image_hw[row].tolist())}, found {people.boxes[row].tolist()}")
        for row in outside
    ]  # fmt: skip
    checks.refuse(file, broken, "Boxes are [x0, y0, x1, y1] in pixels of the original image")
