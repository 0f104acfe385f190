"""COCO keypoint files of any skeleton: annotations, boxes without keypoints, detections."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import (
    DEFAULT_SIGMA,
    Skeleton,
    flip_pairs_from_names,
    plain_name,
    published,
)
from sspcm_kedro.sources import checks

Record = dict[str, Any]

PERSON = 1
"""The category of people where no category has keypoints, and in detection files."""

AREA_OF_BOX = 0.53
"""Area of a person in units of his box, where the file has no areas (as CrowdPose evaluates)."""


def read_coco(
    annotation_file: Path,
    image_root: Path,
    *,
    detections: Path | None = None,
    skeleton: Skeleton | None = None,
    sigmas: Sequence[float] | None = None,
    flip_pairs: Sequence[tuple[int, int]] | None = None,
) -> tuple[Instances, Skeleton]:
    """The people of a COCO file and their skeleton, in file order.

    File order means: ``images`` as listed, and each image's annotations as listed. The published
    "first N people" is the first N of these. Kept are people who are no crowd, have an area above
    0 and at least one labeled keypoint. A file without keypoints keeps every person, unlabeled.

    Args:
        annotation_file: a COCO JSON.
        image_root: the folder that ``file_name`` is relative to.
        detections: a list of {image_id, category_id, bbox, score} for these images. Its people
            replace the annotated ones, in its own order, with their boxes as they are.
        skeleton: the keypoints of a file whose categories name none; a file that does name some
            must name these.
        sigmas: k OKS sigmas, instead of COCO's or the default.
        flip_pairs: index pairs, from 0, instead of those found by left/right in the names.
    """
    keys = ("images", "categories") if detections else ("images", "categories", "annotations")
    content = checks.read_coco_json(annotation_file, keys)
    return coco_people(
        annotation_file, content, image_root,
        detections=detections, skeleton=skeleton, sigmas=sigmas, flip_pairs=flip_pairs,
    )  # fmt: skip


def coco_people(
    annotation_file: Path,
    content: dict[str, list[Record]],
    image_root: Path,
    *,
    detections: Path | None = None,
    skeleton: Skeleton | None = None,
    sigmas: Sequence[float] | None = None,
    flip_pairs: Sequence[tuple[int, int]] | None = None,
) -> tuple[Instances, Skeleton]:
    """As ``read_coco``, of a file's content that is read already; the file is only named."""
    images = _images_by_id(annotation_file, content["images"])
    category = _person_category(annotation_file, content["categories"])
    skeleton = _skeleton(annotation_file, category, skeleton)
    skeleton = replace(
        skeleton,
        sigmas=skeleton.sigmas if sigmas is None else tuple(sigmas),
        flip_pairs=skeleton.flip_pairs if flip_pairs is None else tuple(flip_pairs),
    )
    if detections:
        people = _detected(detections, images)
    else:
        people = _annotated(annotation_file, content["annotations"], images, category, skeleton)
    _refuse_nobody(detections or annotation_file, people)
    names = dict.fromkeys(images[person["image_id"]]["file_name"] for person in people)
    checks.images_exist(annotation_file, names, image_root)
    return _columns(people, images, image_root, skeleton.size, raw=bool(detections)), skeleton


def ignored_people(
    annotation_file: Path, content: dict[str, list[Record]], image_root: Path, k: int
) -> Instances | None:
    """Whom COCO's evaluation neither asks for nor calls a find at them wrong; None for nobody.

    Crowds, and people without a labeled keypoint. They are not learned from or looked at.

    Args:
        annotation_file: the file, which is only named.
        content: what it says, after ``coco_people`` has checked it.
        image_root: the folder that ``file_name`` is relative to.
        k: number of keypoints, all of which have visibility 0 (so have a crowd's).

    Returns:
        Them in file order, in their boxes and areas as annotated: these are what is evaluated by.
    """
    category = _person_category(annotation_file, content["categories"])
    people = [
        {**person, "keypoints": [0] * (3 * k), "score": 1}
        for person in content["annotations"]
        if person["category_id"] == category["id"]
        and (person.get("iscrowd", 0) or not any(person.get("keypoints", ())[2::3]))
    ]
    if not people:
        return None
    named = [(f"annotation {person['id']}", person["bbox"]) for person in people]
    checks.matrices(annotation_file, "bbox", named, (4,))
    images = {image["id"]: image for image in content["images"]}
    crowds = np.array([bool(person.get("iscrowd", 0)) for person in people])
    return replace(_columns(people, images, image_root, k, raw=True), crowds=crowds)


def read_boxes(
    annotation_file: Path, image_root: Path, *, detections: Path | None = None
) -> Instances:
    """The people of a COCO file as boxes alone, without keypoints (k = 0), in file order.

    Args:
        annotation_file: a COCO JSON; everybody but crowds is read, whatever his keypoints.
        image_root: the folder that ``file_name`` is relative to.
        detections: boxes to read instead, as in ``read_coco``; the file then lists the images.
    """
    keys = ("images",) if detections else ("images", "categories", "annotations")
    content = checks.read_coco_json(annotation_file, keys)
    images = _images_by_id(annotation_file, content["images"])
    if detections:
        people = _detected(detections, images)
    else:
        category = _person_category(annotation_file, content["categories"])
        boxed = [{k: v for k, v in p.items() if k != "keypoints"} for p in content["annotations"]]
        people = _annotated(annotation_file, boxed, images, category, Skeleton(()))
    _refuse_nobody(detections or annotation_file, people)
    names = dict.fromkeys(images[person["image_id"]]["file_name"] for person in people)
    checks.images_exist(annotation_file, names, image_root)
    return _columns(people, images, image_root, 0, raw=bool(detections))


def _refuse_nobody(file: Path, people: list[Record]) -> None:
    if not people:
        rule = "the file must hold at least one person, and no person in it is usable"
        remedy = "Usable means: iscrowd 0, area above 0, one labeled keypoint (v 1 or 2)"
        raise BadInput(file, rule, remedy)


def clean_boxes(xywh: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
    """Annotated boxes (n, 4) x, y, w, h as x0, y0, x1, y1 on pixel centers inside the image.

    The published cleaning: a box w pixels wide spans w - 1 from its first pixel to its last.
    """
    first = np.maximum(xywh[:, :2], 0)
    last = np.minimum(image_hw[:, ::-1] - 1, first + np.maximum(xywh[:, 2:] - 1, 0))
    return np.concatenate([first, np.maximum(last, first)], axis=1)


def _images_by_id(file: Path, images: list[Record]) -> dict[int, Record]:
    checks.have_keys(file, "image", images, ("id", "file_name", "height", "width"))
    checks.unique_ids(file, "image", images)
    checks.good_images(file, images)
    return {image["id"]: image for image in images}


def _person_category(file: Path, categories: list[Record]) -> Record:
    """The one category with keypoints, else the category of people (which may be unlisted)."""
    checks.have_keys(file, "category", categories, ("id",))
    posed = [category for category in categories if category.get("keypoints")]
    candidates = posed or categories
    people = [category for category in candidates if category["id"] == PERSON]
    if people:
        return people[0]
    if len(candidates) == 1:
        return candidates[0]
    rule = f"one category must be people, found {[c.get('name', c['id']) for c in candidates]}"
    raise BadInput(f"{file}, categories", rule, f"Give the category of people the id {PERSON}")


def _skeleton(file: Path, category: Record, wanted: Skeleton | None) -> Skeleton:
    where = f"{file}, category {category['id']}"
    listed = category.get("keypoints") or []
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        rule = f"'keypoints' must be a list of names, found {str(listed)[:60]}"
        raise BadInput(where, rule, "List the names of the keypoints, in the order of the file")
    names = tuple(listed)
    if not names:
        if wanted is None:
            rule = "the category must list its 'keypoints', found none"
            raise BadInput(where, rule, "Add their names; the flip pairs are found by left/right")
        return wanted
    if wanted is not None:
        if tuple(map(plain_name, names)) != tuple(map(plain_name, wanted.names)):
            rule = f"the keypoints must be {wanted.names}, found {names}"
            raise BadInput(where, rule, "Every part of a source has the skeleton of its train part")
        return wanted
    known = published(names)
    if known is not None:
        return known
    index = {name: i for i, name in enumerate(names)}
    torso = (index.get("left_shoulder"), index.get("right_hip"))
    return Skeleton(
        names=names,
        flip_pairs=flip_pairs_from_names(names),
        sigmas=(DEFAULT_SIGMA,) * len(names),
        limbs=_limbs(category.get("skeleton"), len(names)),
        torso=None if torso[0] is None or torso[1] is None else (torso[0], torso[1]),
    )


def _limbs(pairs: Any, k: int) -> tuple[tuple[int, int], ...]:
    """The limbs, from 0; none where they are not of these k keypoints (CrowdPose ships COCO's)."""
    try:
        limbs = tuple((int(a) - 1, int(b) - 1) for a, b in pairs or ())
    except (TypeError, ValueError, OverflowError):
        return ()
    return limbs if all(0 <= joint < k for limb in limbs for joint in limb) else ()


def _annotated(
    file: Path,
    annotations: list[Record],
    images: dict[int, Record],
    category: Record,
    skeleton: Skeleton,
) -> list[Record]:
    """The kept annotations, sorted by their image's place in the file."""
    checks.have_keys(file, "annotation", annotations, ("id", "image_id", "category_id", "bbox"))
    checks.unique_ids(file, "annotation", annotations)
    checks.known_images(file, "annotation", annotations, images.keys())
    people = [person for person in annotations if person["category_id"] == category["id"]]
    checks.finite_numbers(file, "annotation", people, "bbox")
    checks.finite_numbers(
        file, "annotation", [p for p in people if "area" in p], "area", single=True
    )
    if any("keypoints" in person for person in people):
        checks.have_keys(file, "annotation", people, ("keypoints",))
        checks.keypoint_lists(file, people, skeleton.size)
        checks.finite_numbers(file, "annotation", people, "keypoints")
        people = [person for person in people if any(person["keypoints"][2::3])]
    people = [person for person in people if _counts(person)]
    _check_boxes(file, "annotation", people, images)
    place = {image_id: row for row, image_id in enumerate(images)}
    return sorted(people, key=lambda person: place[person["image_id"]])  # stable: file order


def _counts(person: Record) -> bool:
    return not person.get("iscrowd", 0) and person.get("area", 1) > 0


def _detected(file: Path, images: dict[int, Record]) -> list[Record]:
    """The detected people, in the order of their file, numbered from 1."""
    records = checks.read_json(file)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        rule = "detections must be a list of JSON objects"
        raise BadInput(file, rule, "Each needs image_id, category_id, bbox and score")
    checks.have_keys(file, "detection", records, ("image_id", "category_id", "bbox", "score"))
    numbered = [{**record, "id": row} for row, record in enumerate(records, start=1)]
    people = [record for record in numbered if record["category_id"] == PERSON]
    checks.known_images(file, "detection", people, images.keys())
    checks.finite_numbers(file, "detection", people, "bbox")
    checks.finite_numbers(file, "detection", people, "score", single=True)
    _check_boxes(file, "detection", people, images)
    return people


def _check_boxes(file: Path, kind: str, people: list[Record], images: dict[int, Record]) -> None:
    sizes = [(images[p["image_id"]]["height"], images[p["image_id"]]["width"]) for p in people]
    checks.good_boxes(file, kind, people, sizes)


def _columns(
    people: list[Record], images: dict[int, Record], image_root: Path, k: int, *, raw: bool
) -> Instances:
    pictures = [images[person["image_id"]] for person in people]
    image_hw = np.array([(picture["height"], picture["width"]) for picture in pictures], np.int64)
    xywh = np.array([person["bbox"] for person in people], np.float64)
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    areas = [
        person.get("area", AREA_OF_BOX * w * h)
        for person, (_, _, w, h) in zip(people, xywh, strict=True)
    ]
    scores = [person["score"] if raw else 1 for person in people]
    absent = [0] * (3 * k)
    labels = np.array([person.get("keypoints", absent) for person in people], np.float64)
    labels = labels.reshape(len(people), k, 3)
    visibility = labels[..., 2].astype(np.int64)
    return Instances(
        ids=np.array([person["id"] for person in people], np.int64),
        image_ids=np.array([person["image_id"] for person in people], np.int64),
        paths=np.array([str(image_root / p["file_name"]) for p in pictures], object),
        image_hw=image_hw,
        boxes=(corners if raw else clean_boxes(xywh, image_hw)).astype(np.float32),
        areas=np.array(areas, np.float32),
        box_scores=np.array(scores, np.float32),
        keypoints=np.where(visibility[..., None] > 0, labels[..., :2], 0).astype(np.float32),
        visibility=visibility,
    )
