"""The records of a COCO file: its images, its people and a detector's finds, checked."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import checks, coco_checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_checks import same_id

logger = logging.getLogger(__name__)

AREA_OF_BOX = 0.53
"""Area of a person in units of their box, where the file has no areas (as CrowdPose evaluates)."""


def index_images(file: Path, images: list[Record], as_published: bool) -> dict[int, Record]:
    """The image of each id; of several that list one file the first, unless ``as_published``."""
    checks.need_keys(file, "image", images, ("id", "file_name", "height", "width"))
    coco_checks.need_unique_ids(file, "image", images)
    coco_checks.need_good_images(file, images)
    by_id = {image["id"]: image for image in images}
    if as_published:
        return by_id
    first = first_listings(images)
    twice = [image for image in images if first[image["id"]] is not image]
    if twice:
        logger.warning("%s: %d image files are listed again under another id, the first %s: each "
                       "is one image", file, len(twice), twice[0]["file_name"])  # fmt: skip
    return first


def first_listings(images: list[Record]) -> dict[int, Record]:
    """The image of each id: the first that lists its file."""
    first: dict[PurePosixPath, Record] = {}
    return {
        image["id"]: first.setdefault(PurePosixPath(image["file_name"]), image) for image in images
    }


def select_people(
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


def read_detections(
    file: Path, images: dict[int, Record], categories: list[Any], min_score: float | None = None
) -> list[Record]:
    """The detected people of these categories' ids, in the order of their file, numbered from 1.

    Those whose score is below ``min_score`` are left out before their boxes are looked at, and how
    many they are is logged.
    """
    remedy = "Each needs image_id, category_id, bbox and score"
    records = checks.read_records(file, "detections", remedy)
    checks.need_keys(file, "detection", records, ("image_id", "category_id", "bbox", "score"))
    for row, record in enumerate(records, start=1):
        record["id"] = row
    people = _of_categories(file, "detection", records, categories)
    logger.info("%s: %d of %d detections are people", file, len(people), len(records))
    coco_checks.need_finite(file, "detection", people, "score", single=True)
    if min_score is not None:  # what is left out may be most of millions
        people = _sure(file, people, min_score)
    coco_checks.need_known_images(file, "detection", people, images.keys())
    coco_checks.need_finite(file, "detection", people, "bbox")
    _check_boxes(file, "detection", people, images)
    return people


def _sure(file: Path, people: list[Record], min_score: float) -> list[Record]:
    sure = [person for person in people if person["score"] >= min_score]
    if people and not sure:
        highest = max(person["score"] for person in people)
        rule = f"a detection must have a score of min_box_score = {min_score}, the highest has "
        raise BadInput(file, f"{rule}{highest}", "Lower source.unlabeled.min_box_score")
    logger.info("%s: %d of %d people are left out, for their score is below min_box_score = %s",
                file, len(people) - len(sure), len(people), min_score)  # fmt: skip
    return sure


def _check_boxes(file: Path, kind: str, people: list[Record], images: dict[int, Record]) -> None:
    sizes = [size_of(images[person["image_id"]]) for person in people]
    coco_checks.need_good_boxes(file, kind, people, sizes)


def size_of(image: Record) -> tuple[int, int]:
    """The (height, width) that a file gives an image."""
    return image["height"], image["width"]


def drop_repeated(file: Path, people: list[Record], images: dict[int, Record]) -> list[Record]:
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


def find_listed(file: Path, images: Iterable[Any], folder: Path) -> set[Path]:
    """Where images of a list, labeled or not, lie in the folder; those that do not are left out."""
    found = (find_image(file, image, folder) for image in images)
    return {path for path in found if path is not None}


def find_image(file: Path, image: Any, folder: Path) -> Path | None:
    """Where an image of a list lies in the folder; None where it does not, or has no such name."""
    name: Any = image.get("file_name") if isinstance(image, dict) else None
    with suppress(BadInput):
        checks.need_names_inside(file, [("image", name)])
        return folder / checks.find_images(file, [name], folder)[name]
    return None


def find_image_files(
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
