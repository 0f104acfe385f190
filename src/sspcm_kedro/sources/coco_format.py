"""COCO keypoint files of any skeleton: annotations, boxes without keypoints, detections."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.coco_ap import PERSON
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import checks, coco_checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_category import find_person_category, parse_skeleton
from sspcm_kedro.sources.coco_checks import LISTS, CocoLists, read_coco_json

AREA_OF_BOX = 0.53
"""Area of a person in units of their box, where the file has no areas (as CrowdPose evaluates)."""


def read_coco(
    annotation_file: Path,
    image_root: Path,
    *,
    coco: CocoLists | None = None,
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
        coco: what the file says, where it is read already; the file is then only named.
        detections: a list of {image_id, category_id, bbox, score} for these images. Its people
            replace the annotated ones, in its own order, with their boxes as they are.
        skeleton: the keypoints of a file whose categories name none; a file that does name some
            must name these.
        sigmas: k OKS sigmas, instead of COCO's or the default.
        flip_pairs: index pairs, from 0, instead of those found by left/right in the names.
    """
    if coco is None:
        coco = read_coco_json(annotation_file, ("images", "categories") if detections else LISTS)
    images = _images_by_id(annotation_file, coco["images"])
    category = find_person_category(annotation_file, coco["categories"])
    skeleton = parse_skeleton(annotation_file, category, skeleton)
    skeleton = replace(
        skeleton,
        sigmas=skeleton.sigmas if sigmas is None else tuple(sigmas),
        flip_pairs=skeleton.flip_pairs if flip_pairs is None else tuple(flip_pairs),
    )
    if detections:
        people = _detected(detections, images)
    else:
        people = _annotated(annotation_file, coco["annotations"], images, category, skeleton)
    _refuse_unusable(annotation_file, image_root, people, images, detections)
    return _columns(people, images, image_root, skeleton.size, raw=bool(detections)), skeleton


def parse_ignored(
    annotation_file: Path, coco: CocoLists, image_root: Path, k: int
) -> Instances | None:
    """Whom COCO's evaluation neither asks for nor calls a find at them wrong; None for nobody.

    Crowds, and people without a labeled keypoint. They are not learned from or looked at.

    Args:
        annotation_file: the file, which is only named.
        coco: what it says, after ``read_coco`` has checked it.
        image_root: the folder that ``file_name`` is relative to.
        k: number of keypoints, all of which have visibility 0 (so have a crowd's).

    Returns:
        Them in file order, in their boxes and areas as annotated: these are what is evaluated by.
    """
    category = find_person_category(annotation_file, coco["categories"])
    people = [
        {**person, "keypoints": [0] * (3 * k), "score": 1}
        for person in coco["annotations"]
        if person["category_id"] == category["id"]
        and (person.get("iscrowd", 0) or not any(person.get("keypoints", ())[2::3]))
    ]
    if not people:
        return None
    named = [(f"annotation {person['id']}", person["bbox"]) for person in people]
    checks.parse_numbers(annotation_file, "bbox", named, (4,))
    images = {image["id"]: image for image in coco["images"]}
    crowds = np.array([bool(person.get("iscrowd", 0)) for person in people])
    return replace(_columns(people, images, image_root, k, raw=True), crowds=crowds)


def read_boxes(
    annotation_file: Path, image_root: Path, *, detections: Path | None = None
) -> Instances:
    """The people of a COCO file as boxes alone, without keypoints (k = 0), in file order.

    Args:
        annotation_file: a COCO JSON; everybody but crowds is read, whatever their keypoints.
        image_root: the folder that ``file_name`` is relative to.
        detections: boxes to read instead, as in ``read_coco``; the file then lists the images.
    """
    coco = read_coco_json(annotation_file, ("images",) if detections else LISTS)
    images = _images_by_id(annotation_file, coco["images"])
    if detections:
        people = _detected(detections, images)
    else:
        category = find_person_category(annotation_file, coco["categories"])
        boxed = [{k: v for k, v in p.items() if k != "keypoints"} for p in coco["annotations"]]
        people = _annotated(annotation_file, boxed, images, category, Skeleton(()))
    _refuse_unusable(annotation_file, image_root, people, images, detections)
    return _columns(people, images, image_root, 0, raw=bool(detections))


def _refuse_unusable(
    file: Path, image_root: Path, people: list[Record], images: dict[int, Record],
    detections: Path | None,
) -> None:  # fmt: skip
    if not people:
        rule = "the file must hold at least one person, and no person in it is usable"
        remedy = "Usable means: iscrowd 0, area above 0, one labeled keypoint (v 1 or 2)"
        raise BadInput(detections or file, rule, remedy)
    names = dict.fromkeys(images[person["image_id"]]["file_name"] for person in people)
    checks.need_images(file, names, image_root)


def clean_boxes(xywh: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
    """Annotated boxes (n, 4) x, y, w, h as x0, y0, x1, y1 on pixel centers inside the image.

    The published cleaning: a box w pixels wide spans w - 1 from its first pixel to its last.
    """
    first = np.maximum(xywh[:, :2], 0)
    last = np.minimum(image_hw[:, ::-1] - 1, first + np.maximum(xywh[:, 2:] - 1, 0))
    return np.concatenate([first, np.maximum(last, first)], axis=1)


def _images_by_id(file: Path, images: list[Record]) -> dict[int, Record]:
    checks.need_keys(file, "image", images, ("id", "file_name", "height", "width"))
    coco_checks.need_unique_ids(file, "image", images)
    coco_checks.need_good_images(file, images)
    return {image["id"]: image for image in images}


def _annotated(
    file: Path,
    annotations: list[Record],
    images: dict[int, Record],
    category: Record,
    skeleton: Skeleton,
) -> list[Record]:
    """The kept annotations, sorted by their image's place in the file."""
    checks.need_keys(file, "annotation", annotations, ("id", "image_id", "category_id", "bbox"))
    coco_checks.need_unique_ids(file, "annotation", annotations)
    coco_checks.need_known_images(file, "annotation", annotations, images.keys())
    people = [person for person in annotations if person["category_id"] == category["id"]]
    coco_checks.need_finite(file, "annotation", people, "bbox")
    coco_checks.need_finite(
        file, "annotation", [p for p in people if "area" in p], "area", single=True
    )
    if any("keypoints" in person for person in people):
        checks.need_keys(file, "annotation", people, ("keypoints",))
        coco_checks.need_keypoints(file, people, skeleton.size)
        coco_checks.need_finite(file, "annotation", people, "keypoints")
        people = [person for person in people if any(person["keypoints"][2::3])]
    people = [person for person in people if _counts(person)]
    _check_boxes(file, "annotation", people, images)
    place = {image_id: row for row, image_id in enumerate(images)}
    return sorted(people, key=lambda person: place[person["image_id"]])  # stable: file order


def _counts(person: Record) -> bool:
    return not person.get("iscrowd", 0) and person.get("area", 1) > 0


def _detected(file: Path, images: dict[int, Record]) -> list[Record]:
    """The detected people, in the order of their file, numbered from 1."""
    remedy = "Each needs image_id, category_id, bbox and score"
    records = checks.read_records(file, "detections", remedy)
    checks.need_keys(file, "detection", records, ("image_id", "category_id", "bbox", "score"))
    numbered = [{**record, "id": row} for row, record in enumerate(records, start=1)]
    people = [record for record in numbered if record["category_id"] == PERSON]
    coco_checks.need_known_images(file, "detection", people, images.keys())
    coco_checks.need_finite(file, "detection", people, "bbox")
    coco_checks.need_finite(file, "detection", people, "score", single=True)
    _check_boxes(file, "detection", people, images)
    return people


def _check_boxes(file: Path, kind: str, people: list[Record], images: dict[int, Record]) -> None:
    sizes = [(images[p["image_id"]]["height"], images[p["image_id"]]["width"]) for p in people]
    coco_checks.need_good_boxes(file, kind, people, sizes)


def _columns(
    people: list[Record], images: dict[int, Record], image_root: Path, k: int, *, raw: bool
) -> Instances:
    """The columns of checked records; ``raw`` takes boxes as they are, and scores."""
    shown = [images[person["image_id"]] for person in people]
    image_hw = np.array([(image["height"], image["width"]) for image in shown], np.int64)
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
        paths=np.array([str(image_root / image["file_name"]) for image in shown], object),
        image_hw=image_hw,
        boxes=(corners if raw else clean_boxes(xywh, image_hw)).astype(np.float32),
        areas=np.array(areas, np.float32),
        box_scores=np.array(scores, np.float32),
        keypoints=np.where(visibility[..., None] > 0, labels[..., :2], 0).astype(np.float32),
        visibility=visibility,
    )
