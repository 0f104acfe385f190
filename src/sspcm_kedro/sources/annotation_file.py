"""The people of a COCO keypoint file, whatever tool wrote it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import checks, coco_checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_checks import read_coco_json, same_id


@dataclass(frozen=True)
class AnnotatedPerson:
    """One person in an annotation file.

    Attributes:
        where: the file and the record, for messages.
        image: file name without folders.
        image_hw: (height, width) that the file gives the image.
        box: (4) x0, y0, x1, y1 in image pixels; around the keypoints where the file has none.
        keypoints: (k, 2) x, y in image pixels, in the skeleton's order; 0 where absent.
        visibility: (k) 0, 1, 2.
    """

    where: str
    image: str
    image_hw: tuple[int, int]
    box: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray


def read_annotated_people(file: Path, skeleton: Skeleton) -> list[AnnotatedPerson]:
    """The people of a COCO keypoint file, their keypoints in the skeleton's order.

    Categories without keypoints (a tool's own boxes) do not count.

    Raises:
        BadInput: the file is not COCO, has another skeleton, or a record breaks a rule.
    """
    coco = read_coco_json(file)
    images, people = coco["images"], coco["annotations"]
    checks.need_keys(file, "image", images, ("id", "file_name", "height", "width"))
    coco_checks.need_unique_ids(file, "image", images)
    checks.need_keys(file, "annotation", people, ("id", "image_id", "category_id"))
    coco_checks.need_unique_ids(file, "annotation", people)
    image_of = {image["id"]: image for image in images}
    coco_checks.need_known_images(file, "annotation", people, image_of.keys())
    orders = _orders(file, coco["categories"], skeleton)
    of = coco_checks.category_ids(file, "annotation", people)
    people = [person for person, category in zip(people, of, strict=True) if category in orders]
    if not people:
        rule = "must hold at least one person with keypoints, found none"
        raise BadInput(file, rule, "Export the skeletons, as COCO keypoints")
    checks.need_keys(file, "annotation", people, ("keypoints",))
    coco_checks.need_keypoints(file, people, skeleton.size)
    coco_checks.need_finite(file, "annotation", people, "keypoints")
    coco_checks.need_finite(file, "annotation", [p for p in people if "bbox" in p], "bbox")
    empty = [
        (f"annotation {p['id']}", "at least one keypoint must be labeled (v 1 or 2)")
        for p in people if not any(p["keypoints"][2::3])
    ]  # fmt: skip
    checks.refuse(file, empty, "Remove people whom nobody can label; they stay unlabeled")
    return [
        _annotated_person(
            file, person, image_of[person["image_id"]], orders[same_id(person["category_id"])]
        )
        for person in people
    ]


def _orders(file: Path, categories: list[Record], skeleton: Skeleton) -> dict[Any, list[int]]:
    """For each category with keypoints, where the skeleton's keypoints stand in it.

    Tools may list them in another order than they were given.
    """
    checks.need_keys(file, "category", categories, ("id",))
    ids = coco_checks.category_ids(file, "category", categories, "id")
    orders = {}
    for category_id, category in zip(ids, categories, strict=True):
        names = category.get("keypoints")
        if not names:
            continue
        if not isinstance(names, list) or sorted(map(str, names)) != sorted(skeleton.names):
            rule = f"its keypoints must be {', '.join(skeleton.names)}; found {names}"
            remedy = "Set the tool up with the queue's own category"
            raise BadInput(f"{file}, category {category['id']}", rule, remedy)
        orders[category_id] = [names.index(name) for name in skeleton.names]
    return orders


def _annotated_person(
    file: Path, person: Record, image: Record, order: list[int]
) -> AnnotatedPerson:
    triples = np.array(person["keypoints"], np.float64).reshape(-1, 3)[order]
    visibility = triples[:, 2].astype(np.int64)
    present = triples[visibility > 0, :2]
    x, y, width, height = _bbox(person)
    box = np.array([x, y, x + width, y + height])
    if width <= 0 or height <= 0:  # COCO Annotator writes four zeros
        box = np.concatenate([present.min(axis=0), present.max(axis=0)])
    return AnnotatedPerson(
        where=f"{file}, annotation {person['id']}",
        image=_base_name(str(image["file_name"])),
        image_hw=(image["height"], image["width"]),
        box=box,
        keypoints=np.where(visibility[:, None] > 0, triples[:, :2], 0),
        visibility=visibility,
    )


def _base_name(name: str) -> str:
    """A file's name without folders; tools write addresses (%C3%A4 for a letter, ?d= before it)."""
    decoded = unquote(name.rsplit("?d=", maxsplit=1)[-1])
    return PurePosixPath(decoded.replace("\\", "/")).name


def _bbox(person: Record) -> Sequence[float]:
    box = person.get("bbox")
    return box if isinstance(box, list) and len(box) == 4 else (0, 0, 0, 0)
