"""COCO keypoint files of any skeleton: annotations, boxes without keypoints, detections."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.coco_ap import PERSON
from sspcm_kedro.pose.sides import lone_sides
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import checks, coco_checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_category import find_person_categories, parse_skeleton
from sspcm_kedro.sources.coco_checks import LISTS, CocoLists, read_coco_json, same_id

logger = logging.getLogger(__name__)

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
    torso: tuple[int, int] | None = None,
    category: Sequence[str] = (),
    as_published: bool = False,
) -> tuple[Instances, Skeleton]:
    """The people of a COCO file and their skeleton, in file order.

    File order means: ``images`` as listed, and each image's annotations as listed. The published
    "first N people" is the first N of these. Kept are people who are no crowd and have at least one
    labeled keypoint. A file without keypoints keeps every person, unlabeled. Where an area is
    missing or 0, it is 0.53 times the box's. An image file that is listed twice is one image, and
    people who are the same there are one. How many are kept and left out is logged.

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
        torso: an index pair, from 0, instead of the left shoulder and the right hip.
        category: names of the categories of people, where the file does not tell.
        as_published: do as the code of the published sets does: boxes that begin off the image are
            moved into it (instead of cut), those too narrow are left out (instead of refused),
            visible keypoints may be off the image, and image files may be listed twice.
    """
    if coco is None:
        coco = read_coco_json(annotation_file, ("images", "categories") if detections else LISTS)
    images = _images_by_id(annotation_file, coco["images"], as_published)
    categories = find_person_categories(annotation_file, coco["categories"], category)
    given = skeleton is not None
    skeleton = parse_skeleton(annotation_file, categories[0], skeleton)
    try:
        skeleton = replace(
            skeleton,
            sigmas=skeleton.sigmas if sigmas is None else tuple(sigmas),
            flip_pairs=skeleton.flip_pairs if flip_pairs is None else tuple(flip_pairs),
            torso=torso or skeleton.torso,
        )
    except ValueError as error:
        remedy = f"Count from 0 in {skeleton.names}"
        raise BadInput("source, sigmas, flip_pairs, torso", str(error), remedy) from error
    lone = lone_sides(skeleton.names)
    if not given and flip_pairs is None and (lone or not skeleton.flip_pairs):
        logger.warning(
            "%s: by name no keypoint is the other side of one of %s, which stay in place in a "
            "mirror image; if some must swap, set source.flip_pairs (if none, to []), or mirror "
            "nobody: view.weak.flip_probability=0", annotation_file, lone or skeleton.names,
        )  # fmt: skip
    if detections:
        people = _detected(detections, images, [entry["id"] for entry in categories])
    else:
        people = _annotated(annotation_file, coco["annotations"], images, categories, skeleton)
    if not as_published:
        people = _once(annotation_file, people, images)
        sizes = [_hw(images[person["image_id"]]) for person in people]
        coco_checks.need_points_inside(annotation_file, people, sizes)
    _refuse_unusable(annotation_file, image_root, people, images, detections)
    kind = "detection" if detections else "annotation"
    table = _columns(
        people, images, image_root, skeleton.size, raw=bool(detections), as_published=as_published
    )
    return _wide(detections or annotation_file, kind, table, drop=as_published), skeleton


def parse_ignored(
    annotation_file: Path, coco: CocoLists, image_root: Path, k: int, *,
    category: Sequence[str] = (), as_published: bool = False,
) -> Instances | None:  # fmt: skip
    """Whom COCO's evaluation neither asks for nor calls a find at them wrong; None for nobody.

    Crowds, and people without a labeled keypoint. They are not learned from or looked at.

    Args:
        annotation_file: the file, which is only named.
        coco: what it says, after ``read_coco`` has checked it.
        image_root: the folder that ``file_name`` is relative to.
        k: number of keypoints, all of which have visibility 0 (so have a crowd's).
        category: as for ``read_coco``.
        as_published: as for ``read_coco``.

    Returns:
        Them in file order, in their boxes and areas as annotated: these are what is evaluated by.
    """
    categories = find_person_categories(annotation_file, coco["categories"], category)
    wanted = {same_id(entry["id"]) for entry in categories}
    of_people = [p for p in coco["annotations"] if same_id(p["category_id"]) in wanted]
    crowd = coco_checks.crowds(annotation_file, of_people)
    ignored = [(person, is_crowd) for person, is_crowd in zip(of_people, crowd, strict=True)
               if is_crowd or not any(person.get("keypoints", ())[2::3])]  # fmt: skip
    people = [{**person, "keypoints": [0] * (3 * k), "score": 1} for person, _ in ignored]
    if not people:
        return None
    named = [(f"annotation {person['id']}", person["bbox"]) for person in people]
    checks.parse_numbers(annotation_file, "bbox", named, (4,))
    images = {image["id"]: image for image in coco["images"]}
    if not as_published:
        images = _first_listings(coco["images"])
    crowds = np.array([is_crowd for _, is_crowd in ignored])
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
    images = _images_by_id(annotation_file, coco["images"], False)
    if detections:
        people = _detected(detections, images, [PERSON])
    else:
        categories = find_person_categories(annotation_file, coco["categories"])
        boxed = [{k: v for k, v in p.items() if k != "keypoints"} for p in coco["annotations"]]
        people = _annotated(annotation_file, boxed, images, categories, Skeleton(()))
        people = _once(annotation_file, people, images)
    _refuse_unusable(annotation_file, image_root, people, images, detections)
    kind = "detection" if detections else "annotation"
    table = _columns(people, images, image_root, 0, raw=bool(detections))
    return _wide(detections or annotation_file, kind, table, drop=False)


def _refuse_unusable(
    file: Path, image_root: Path, people: list[Record], images: dict[int, Record],
    detections: Path | None,
) -> None:  # fmt: skip
    if not people:
        rule = "the file must hold at least one person, and no person in it is usable"
        remedy = "Usable means: iscrowd 0, one labeled keypoint (v 1 or 2)"
        raise BadInput(detections or file, rule, remedy)
    names = dict.fromkeys(images[person["image_id"]]["file_name"] for person in people)
    found = checks.find_images(file, names, image_root)
    for image in images.values():  # in place: whoever reads this file again finds them, too
        image["file_name"] = found.get(image["file_name"], image["file_name"])


def clean_boxes(
    xywh: np.ndarray, image_hw: np.ndarray, *, as_published: bool = False
) -> np.ndarray:
    """Annotated boxes (n, 4) x, y, w, h as x0, y0, x1, y1 on pixel centers inside the image.

    A box w pixels wide spans w - 1 from its first pixel to its last. Published code keeps this
    width where a box begins off the image, and so moves the part inside.
    """
    first = np.maximum(xywh[:, :2], 0)
    start = first if as_published else xywh[:, :2]
    last = np.minimum(image_hw[:, ::-1] - 1, start + np.maximum(xywh[:, 2:] - 1, 0))
    return np.concatenate([first, np.maximum(last, first)], axis=1)


def _wide(file: Path, kind: str, table: Instances, *, drop: bool) -> Instances:
    """Those with boxes that a crop can be made of; the others are left out or refused."""
    wide = (table.boxes[:, 2:] > table.boxes[:, :2]).all(axis=1)
    narrow = [
        (f"{kind} {person}", "the box must be wider and higher than a pixel inside its image, "
         f"found corners {box}")
        for person, box in zip(table.ids[~wide], table.boxes[~wide].tolist(), strict=True)
    ]  # fmt: skip
    if not drop:
        checks.refuse(file, narrow, f"Correct the box, or remove the {kind}")
    elif not wide.any():
        rule = "at least one box must have a width and a height inside its image"
        raise BadInput(file, rule, "Boxes are [x, y, width, height] in pixels")
    elif narrow:
        logger.warning(
            "%s: %d people are left out, the first %s: %s", file, len(narrow), *narrow[0]
        )
    return table.take(wide)


def _once(file: Path, people: list[Record], images: dict[int, Record]) -> list[Record]:
    """The people without those who are the same on another listing of their image's file."""
    seen: dict[str, Any] = {}
    kept = []
    for person in people:
        image = images[person["image_id"]]["id"]
        same = str((image, person["bbox"], person.get("keypoints")))
        if seen.setdefault(same, person["image_id"]) == person["image_id"]:
            kept.append(person)
    if len(kept) < len(people):
        logger.warning("%s: %d people are there twice, on images that are listed twice, and are "
                       "kept once", file, len(people) - len(kept))  # fmt: skip
    return kept


def _first_listings(images: list[Record]) -> dict[int, Record]:
    """The image of each id: the first that lists its file."""
    first: dict[PurePosixPath, Record] = {}
    return {
        image["id"]: first.setdefault(PurePosixPath(image["file_name"]), image) for image in images
    }


def _images_by_id(file: Path, images: list[Record], as_published: bool) -> dict[int, Record]:
    checks.need_keys(file, "image", images, ("id", "file_name", "height", "width"))
    coco_checks.need_unique_ids(file, "image", images)
    coco_checks.need_good_images(file, images)
    by_id = {image["id"]: image for image in images}
    if as_published:
        return by_id
    first = _first_listings(images)
    twice = [image for image in images if first[image["id"]] is not image]
    if twice:
        logger.warning("%s: %d image files are listed again under another id, the first %s: each "
                       "is one image", file, len(twice), twice[0]["file_name"])  # fmt: skip
    return first


def _annotated(
    file: Path,
    annotations: list[Record],
    images: dict[int, Record],
    categories: list[Record],
    skeleton: Skeleton,
) -> list[Record]:
    """The kept annotations, sorted by their image's place in the file."""
    checks.need_keys(file, "annotation", annotations, ("id", "image_id", "category_id", "bbox"))
    coco_checks.need_unique_ids(file, "annotation", annotations)
    coco_checks.need_known_images(file, "annotation", annotations, images.keys())
    people = _of_categories(file, "annotation", annotations, [c["id"] for c in categories])
    left_out = {"of other categories": len(annotations) - len(people)}
    coco_checks.need_finite(file, "annotation", people, "bbox")
    coco_checks.need_finite(
        file, "annotation", [p for p in people if "area" in p], "area", single=True
    )
    crowd = coco_checks.crowds(file, people)
    left_out["crowds"] = sum(crowd)
    one = dict(zip((person["id"] for person in people), crowd, strict=True))
    if any("keypoints" in person for person in people):
        checks.need_keys(file, "annotation", people, ("keypoints",))
        coco_checks.need_keypoints(file, people, skeleton.size)
        coco_checks.need_finite(file, "annotation", people, "keypoints")
    people = [person for person in people if not one[person["id"]]]
    labeled = [p for p in people if "keypoints" not in p or any(p["keypoints"][2::3])]
    left_out["without labeled keypoints"] = len(people) - len(labeled)
    counts = ", ".join(f"{count} {what}" for what, count in left_out.items())
    logger.info("%s: %d of %d annotations are read as people; left out: %s",
                file, len(labeled), len(annotations), counts)  # fmt: skip
    _check_boxes(file, "annotation", labeled, images)
    people = _with_areas(file, labeled)
    place = {image_id: row for row, image_id in enumerate(images)}
    return sorted(people, key=lambda person: place[images[person["image_id"]]["id"]])  # stable


def _of_categories(file: Path, kind: str, records: list[Record], ids: list[Any]) -> list[Record]:
    wanted = {same_id(value) for value in ids}
    found = coco_checks.category_ids(file, kind, records)
    return [record for record, of in zip(records, found, strict=True) if of in wanted]


def _with_areas(file: Path, people: list[Record]) -> list[Record]:
    """The people, without areas that are not above 0: their boxes give some."""
    empty = [person for person in people if person.get("area", 1) <= 0]
    if not empty:
        return people
    logger.warning("%s: %d areas are not above 0, the first of annotation %s: %s of the box's is "
                   "taken", file, len(empty), empty[0]["id"], AREA_OF_BOX)  # fmt: skip
    return [
        {key: value for key, value in person.items() if key != "area"}
        if person.get("area", 1) <= 0
        else person
        for person in people
    ]


def _detected(file: Path, images: dict[int, Record], categories: list[Any]) -> list[Record]:
    """The detected people, in the order of their file, numbered from 1."""
    remedy = "Each needs image_id, category_id, bbox and score"
    records = checks.read_records(file, "detections", remedy)
    checks.need_keys(file, "detection", records, ("image_id", "category_id", "bbox", "score"))
    numbered = [{**record, "id": row} for row, record in enumerate(records, start=1)]
    people = _of_categories(file, "detection", numbered, categories)
    logger.info("%s: %d of %d detections are people", file, len(people), len(records))
    coco_checks.need_known_images(file, "detection", people, images.keys())
    coco_checks.need_finite(file, "detection", people, "bbox")
    coco_checks.need_finite(file, "detection", people, "score", single=True)
    _check_boxes(file, "detection", people, images)
    return people


def _check_boxes(file: Path, kind: str, people: list[Record], images: dict[int, Record]) -> None:
    sizes = [_hw(images[person["image_id"]]) for person in people]
    coco_checks.need_good_boxes(file, kind, people, sizes)


def _hw(image: Record) -> tuple[int, int]:
    return image["height"], image["width"]


def _columns(
    people: list[Record], images: dict[int, Record], image_root: Path, k: int, *, raw: bool,
    as_published: bool = False,
) -> Instances:  # fmt: skip
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
    cleaned = corners if raw else clean_boxes(xywh, image_hw, as_published=as_published)
    absent = [0] * (3 * k)
    labels = np.array([person.get("keypoints", absent) for person in people], np.float64)
    labels = labels.reshape(len(people), k, 3)
    visibility = labels[..., 2].astype(np.int64)
    return Instances(
        ids=np.array([person["id"] for person in people], np.int64),
        image_ids=np.array([image["id"] for image in shown], np.int64),
        paths=np.array([str(image_root / image["file_name"]) for image in shown], object),
        image_hw=image_hw,
        boxes=cleaned.astype(np.float32),
        areas=np.array(areas, np.float32),
        box_scores=np.array(scores, np.float32),
        keypoints=np.where(visibility[..., None] > 0, labels[..., :2], 0).astype(np.float32),
        visibility=visibility,
    )
