"""COCO keypoint files of any skeleton: annotations, boxes without keypoints, detections."""

import logging
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
from sspcm_kedro.sources.coco_category import find_person_categories, parse_skeleton
from sspcm_kedro.sources.coco_checks import LISTS, CocoLists, read_coco_json, same_id
from sspcm_kedro.sources.coco_records import (
    AREA_OF_BOX,
    drop_repeated,
    find_image_files,
    first_listings,
    index_images,
    read_detections,
    select_people,
    size_of,
)  # fmt: skip
from sspcm_kedro.sources.own_skeleton import adjust_skeleton, warn_of_lone_sides

logger = logging.getLogger(__name__)

CORNERS = 0.2
"""A larger share of boxes that end off their image is warned of."""


def read_coco(
    annotation_file: Path,
    image_root: Path,
    *,
    coco: CocoLists | None = None,
    detections: Path | None = None,
    min_box_score: float | None = None,
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
        min_box_score: those of a lower score are left out; None keeps everybody.
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
    images = index_images(annotation_file, coco["images"], as_published)
    categories = find_person_categories(annotation_file, coco["categories"], category)
    given = skeleton is not None
    skeleton = parse_skeleton(annotation_file, categories[0], skeleton)
    skeleton = adjust_skeleton(skeleton, sigmas=sigmas, flip_pairs=flip_pairs, torso=torso)
    if not given and flip_pairs is None:
        warn_of_lone_sides(annotation_file, skeleton)
    if detections:
        ids = [entry["id"] for entry in categories]
        people = read_detections(detections, images, ids, min_box_score)
    else:
        people = select_people(annotation_file, coco["annotations"], images, categories, skeleton)
    if not as_published:
        people = drop_repeated(annotation_file, people, images)
        sizes = [size_of(images[person["image_id"]]) for person in people]
        coco_checks.need_points_inside(annotation_file, people, sizes)
        say_cut_boxes(detections or annotation_file, people, sizes)
    find_image_files(annotation_file, image_root, people, images, detections)
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
        images = first_listings(coco["images"])
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
    images = index_images(annotation_file, coco["images"], False)
    if detections:
        people = read_detections(detections, images, [PERSON])
    else:
        categories = find_person_categories(annotation_file, coco["categories"])
        boxed = [{k: v for k, v in p.items() if k != "keypoints"} for p in coco["annotations"]]
        people = select_people(annotation_file, boxed, images, categories, Skeleton(()))
        people = drop_repeated(annotation_file, people, images)
        sizes = [size_of(images[person["image_id"]]) for person in people]
        say_cut_boxes(annotation_file, people, sizes)
    find_image_files(annotation_file, image_root, people, images, detections)
    kind = "detection" if detections else "annotation"
    table = _columns(people, images, image_root, 0, raw=bool(detections))
    return _wide(detections or annotation_file, kind, table, drop=False)


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


def say_cut_boxes(
    file: Path, people: Sequence[Record], sizes: Sequence[tuple[int, int]]
) -> None:  # fmt: skip
    """Log how many boxes reach off their image; of many, corners may have been given for a width.

    Args:
        file: of the boxes.
        people: records with ``bbox``, checked.
        sizes: (height, width) of their images, in pixels.
    """
    if not people:
        return
    xywh = np.array([person["bbox"] for person in people], np.float64)
    beyond = (xywh[:, :2] + xywh[:, 2:] > np.array(sizes)[:, ::-1] + 1).any(axis=1)
    cut = beyond | (xywh[:, :2] < -1).any(axis=1)
    if not cut.any():
        return
    many = beyond.mean() > CORNERS
    logger.log(
        logging.WARNING if many else logging.INFO,
        "%s: %d of %d boxes reach off their image by more than a pixel, and their part inside "
        "counts%s", file, cut.sum(), len(people),
        ". So many may be corners: bbox is [x, y, width, height]" if many else "",
    )  # fmt: skip


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


def _columns(
    people: list[Record], images: dict[int, Record], image_root: Path, k: int, *, raw: bool,
    as_published: bool = False,
) -> Instances:  # fmt: skip
    """The columns of checked records; ``raw`` takes boxes as they are, and scores."""
    shown = [images[person["image_id"]] for person in people]
    names = dict.fromkeys(image["file_name"] for image in shown)
    path_of = {name: str(image_root / name) for name in names}
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
        paths=np.array([path_of[image["file_name"]] for image in shown], object),
        image_hw=image_hw,
        boxes=cleaned.astype(np.float32),
        areas=np.array(areas, np.float32),
        box_scores=np.array(scores, np.float32),
        keypoints=np.where(visibility[..., None] > 0, labels[..., :2], 0).astype(np.float32),
        visibility=visibility,
    )
