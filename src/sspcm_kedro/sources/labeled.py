"""Labeled people and animals of projects with keypoints of their own, and the boxes around them."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sspcm_kedro.data.instances import Instances, as_text
from sspcm_kedro.errors import BadInput
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import boxed_instances, number_names

logger = logging.getLogger(__name__)

BoxKind = Literal["frame", "keypoints", "annotated"]


@dataclass(frozen=True)
class Labeled:
    """One on an image.

    Attributes:
        path: the image.
        image_hw: its (height, width).
        points: (k, 2) x, y in image pixels; nan where a point is not labeled.
        covered: (k) whether a labeled point is hidden behind something; None: none is said to be.
        box: x0, y0, x1, y1 in image pixels, where the project has boxes.
        name: what the project calls the image.
    """

    path: Path
    image_hw: tuple[int, int]
    points: np.ndarray
    covered: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    name: str = ""

    @property
    def visibility(self) -> np.ndarray:
        """(k) 0 not labeled, 1 covered, 2 visible."""
        covered = np.zeros(len(self.points), bool) if self.covered is None else self.covered
        return np.where(np.isnan(self.points).any(axis=-1), 0, np.where(covered, 1, 2))


def unlabeled_images(paths: Sequence[Path], names: Sequence[str], k: int) -> list[Labeled]:
    """One without a label on each image."""
    sizes, nothing = checks.stored_sizes(paths).tolist(), np.full((k, 2), np.nan)
    return [Labeled(path, (height, width), nothing, name=name)
            for path, name, (height, width) in zip(paths, names, sizes, strict=True)]  # fmt: skip


def drop_points_outside(people: Sequence[Labeled]) -> list[Labeled]:
    """Those with a labeled point on their image; a point off it counts as not labeled.

    How many points and how many people this leaves out is logged.
    """
    kept, outside = [], 0
    for person in people:
        last = np.array(person.image_hw[::-1]) - 0.5
        off = np.any((person.points < -0.5) | (person.points > last), axis=-1)
        outside += int(off.sum())
        points = np.where(np.expand_dims(off, -1), np.nan, person.points)
        if not np.isnan(points).all():
            kept.append(replace(person, points=points))
    if outside:
        logger.warning("%d points are off their images: they count as not labeled", outside)
    if len(kept) < len(people):
        logger.warning("%d have no labeled point: they are left out", len(people) - len(kept))
    return kept


def usual_box(people: Sequence[Labeled]) -> BoxKind:
    """The project's own boxes where it has them; else whole images, where one is on each."""
    if all(person.box for person in people):
        return "annotated"
    count = Counter(person.path for person in people)
    return "keypoints" if max(count.values(), default=0) > 1 else "frame"


def put_in_boxes(
    file: Path, people: Sequence[Labeled], kind: BoxKind, margin: float
) -> tuple[list[Labeled], np.ndarray]:
    """Those who have a box, and the boxes (n, 4) x0, y0, x1, y1.

    Args:
        file: for the message.
        people: those with a labeled point.
        kind: the whole image, what labeled keypoints span, or the project's own box.
        margin: of what keypoints span, as for ``keypoint_boxes``.

    Raises:
        BadInput: several are on an image, and the image is to be their box; or one has no box.
    """
    if kind == "keypoints":
        return keypoint_boxes(people, margin)
    if kind == "frame":
        for path, found in Counter([person.path for person in people]).items():
            if found > 1:
                rule = f"one animal can have the whole image for its box, found {found}"
                raise BadInput(f"{file}, image {path.name}", rule, "Set source.box=keypoints")
        return list(people), frame_boxes(people)
    boxes = []
    for person in people:
        if person.box is None:
            rule = "everybody must have a box, and one has none"
            remedy = "Draw it, or set source.box=keypoints"
            raise BadInput(f"{file}, image {person.name}", rule, remedy)
        edge = np.array(person.image_hw[::-1] * 2) - 1
        boxes.append(np.clip(person.box, 0, edge))
        if (boxes[-1][2:] <= boxes[-1][:2]).any():
            rule = f"a box must be wider and higher than a pixel on its image, found {person.box}"
            raise BadInput(f"{file}, image {person.name}", rule, "Draw the box again")
    return list(people), np.array(boxes).reshape(-1, 4)


def frame_boxes(people: Sequence[Labeled]) -> np.ndarray:
    """(n, 4) whole images, from the first pixel's center to the last one's."""
    return np.array([(0, 0, width - 1, height - 1)
                     for height, width in (person.image_hw for person in people)])  # fmt: skip


def shares_of_images(people: Instances) -> np.ndarray:
    """The share of its image that each person's box has (n): 1 for a whole image."""
    width, height = (people.boxes[:, 2:] - people.boxes[:, :2]).astype(float).T
    image_height, image_width = np.maximum(people.image_hw - 1, 1).T
    return width * height / (image_width * image_height)


def keypoint_boxes(people: Sequence[Labeled], margin: float) -> tuple[list[Labeled], np.ndarray]:
    """Those whose labeled points span a box, and these boxes (n, 4), cut at the image.

    Args:
        people: those with a labeled point.
        margin: how far a box reaches beyond the points, as a share of its longer side; at least a
            pixel.
    """
    boxed, boxes = [], []
    for person in people:
        low, high = np.nanmin(person.points, axis=0), np.nanmax(person.points, axis=0)
        longer = (high - low).max()
        if longer > 0:
            beyond, edge = max(margin * longer, 1.0), np.array(person.image_hw[::-1]) - 1
            boxed.append(person)
            boxes.append([*np.clip(low - beyond, 0, edge), *np.clip(high + beyond, 0, edge)])
    if len(boxed) < len(people):
        logger.warning("%d animals have one labeled point, which is no box: they are left out",
                       len(people) - len(boxed))  # fmt: skip
    return boxed, np.array(boxes).reshape(-1, 4)


def to_instances(people: Sequence[Labeled], boxes: np.ndarray) -> Instances:
    """The people, numbered from 1, on images that are called as in the project."""
    return boxed_instances(
        ids=np.arange(1, len(people) + 1),
        image_ids=number_names([person.name for person in people]),
        source_image_ids=as_text([person.name for person in people]),
        paths=[person.path for person in people],
        image_hw=np.array([person.image_hw for person in people], np.int64),
        boxes=boxes,
        keypoints=np.stack([person.points for person in people]),
        visibility=np.stack([person.visibility for person in people]),
    )
