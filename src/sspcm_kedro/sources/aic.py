"""AI Challenger's human keypoints: its own JSON, not the converted COCO form."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances, as_text
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import AIC, Skeleton
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import assemble
from sspcm_kedro.sources.coco import CocoPart

Record = dict[str, Any]

_VISIBILITY = np.array([0, 2, 1, 0])
"""The set's v: 1 visible, 2 covered, 3 absent; the project's: 2, 1, 0."""


class AicSource(Settings):
    """AI Challenger. As an unlabeled set its people, in their annotated boxes, lose their labels.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: the part to validate on, if any.
    """

    kind: Literal["aic"] = "aic"
    root: Path
    train: CocoPart = CocoPart(
        annotations=Path("train/keypoint_train_annotation.json"), images=Path("train/images")
    )
    validation: CocoPart | None = None

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the folder."""
        parts = [
            read_aic(self.root / part.annotations, self.root / part.images)[0] if part else None
            for part in (self.train, self.validation)
        ]
        assert parts[0] is not None
        return assemble(AIC, parts[0], parts[1], None, None)


def read_aic(annotation_file: Path, image_root: Path) -> tuple[Instances, Skeleton]:
    """The people of an AI Challenger file, in file order.

    Kept are people with at least one annotated keypoint. Boxes and keypoints are used as they are
    (the set counts from 0); areas are those of the boxes, as in the set's own metric. The images'
    sizes are read from the image files, since the annotations have none. ``source_ids`` are the
    names of the people (human1), ``source_image_ids`` those of the images without ".jpg": what a
    result file of the set needs.
    """
    people = _people(annotation_file)
    boxes = checks.matrices(
        annotation_file, "human_annotations", [(name, box) for name, _, _, box, _ in people], (4,)
    )
    _good_corners(annotation_file, people, boxes)
    labels = checks.matrices(
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

    images = dict.fromkeys(image for _, image, _, _, _ in people)
    checks.images_exist(annotation_file, [f"{image}.jpg" for image in images], image_root)
    number = {image: place for place, image in enumerate(images, start=1)}
    paths = [image_root / f"{image}.jpg" for _, image, _, _, _ in people]
    instances = Instances(
        ids=kept + 1,
        image_ids=np.array([number[image] for _, image, _, _, _ in people], np.int64),
        paths=np.array([str(path) for path in paths], object),
        image_hw=checks.stored_sizes(paths),
        boxes=boxes.astype(np.float32),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).astype(np.float32),
        box_scores=np.ones(len(people), np.float32),
        keypoints=np.where(visibility[..., None] > 0, labels[..., :2], 0).astype(np.float32),
        visibility=visibility,
        source_ids=as_text(human for _, _, human, _, _ in people),
        source_image_ids=as_text(image for _, image, _, _, _ in people),
    )
    _touching(annotation_file, [person[0] for person in people], instances)
    return instances, AIC


def _people(file: Path) -> list[tuple[str, str, str, Any, Any]]:
    """(what to call him, image, human, box, keypoints) of every person, in file order."""
    records = checks.read_json(file)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        rule = "an AI Challenger file must be a list of JSON objects"
        raise BadInput(file, rule, "A file converted to COCO's form is of kind coco")
    keys = ("image_id", "human_annotations", "keypoint_annotations")
    checks.have_keys(file, "image", records, keys)
    names = [(f"image in row {row}", record["image_id"]) for row, record in enumerate(records)]
    checks.names_inside(file, names)
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
            raise BadInput(f"{file}, image {image}", rule, "Give each a box and his keypoints")
        people += [
            (f"image {image}, {human}", image, human, box, joints[human])
            for human, box in boxes.items()
        ]
    return people


def _good_corners(file: Path, people: list[tuple[str, str, str, Any, Any]], boxes: np.ndarray):
    empty = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))
    broken = [
        (
            people[row][0],
            f"the box [x0, y0, x1, y1] must have positive sides, found {people[row][3]}",
        )
        for row in empty
    ]
    checks.refuse(file, broken, "Correct the box, or remove the person")


def _touching(file: Path, names: list[str], people: Instances) -> None:
    x0, y0, x1, y1 = people.boxes.T
    height, width = people.image_hw.T
    outside = np.flatnonzero((x0 >= width) | (y0 >= height) | (x1 <= 0) | (y1 <= 0))
    broken = [
        (names[row], f"the box must touch the image, (height, width) = "
         f"{tuple(people.image_hw[row].tolist())}, found {people.boxes[row].tolist()}")
        for row in outside
    ]  # fmt: skip
    checks.refuse(file, broken, "Boxes are [x0, y0, x1, y1] in pixels of the original image")
