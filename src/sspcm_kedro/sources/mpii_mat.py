"""MPII's original annotations: one Matlab structure, RELEASE."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sspcm_kedro.data.instances import Instances, as_text
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import MPII
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.mat import read_mat
from sspcm_kedro.sources.mpii_json import HEAD_SIZE, mpii_people, person_boxes

REMEDY = "Use mpii_human_pose_v1_u12_1.mat, as it was downloaded"

NOT_RELEASED = {"002878268.jpg", "013401523.jpg", "040348287.jpg"}
"""Images that public readers of the mat skip, because MPII's own archive lacks them."""

logger = logging.getLogger(__name__)


def read_mpii_mat(
    annotation_file: Path, image_root: Path, *, test: bool = False
) -> tuple[Instances, Instances | None]:
    """The annotated people of the mat, and those of its test images if asked for, in file order.

    Annotated are people of the training images with keypoints, a center and a scale; test people
    those of the other images with a center and a scale, whether or not they stand apart from others
    (``single_person`` is not read). Coordinates in the file count from 1, here from 0; boxes are
    those of ``mpii.read_mpii``. A keypoint whose ``is_visible`` is 0 is covered (visibility 1);
    where it is empty, as it is for the head, the keypoint counts as visible. ``source_image_ids``
    are the places of the images in ``annolist`` and ``source_ids`` those of the people in
    ``annorect``, from 1: what the set's evaluation calls imgidx and ridx.
    """
    annotated, unlabeled = _people(annotation_file)
    if not annotated:
        rule = (
            "someone on a training image must have keypoints, a center and a scale, and no one has"
        )
        raise BadInput(annotation_file, rule, REMEDY)
    people = _instances(annotation_file, image_root, annotated)
    return people, _test(annotation_file, image_root, unlabeled) if test else None


def read_mpii_test(annotation_file: Path, image_root: Path) -> Instances:
    """The test people of the mat alone; no training image is looked for."""
    return _test(annotation_file, image_root, _people(annotation_file)[1])


def _people(file: Path) -> tuple[list[Record], list[Record]]:
    """The annotated people, and those of the test images."""
    annotated: list[Record] = []
    unlabeled: list[Record] = []
    for place, (image, trains) in enumerate(_release(file), start=1):
        for rect_place, rect in enumerate(_structs(image.get("annorect")), start=1):
            person = _person(image, place, rect, rect_place)
            if trains and person["placed"] and person["points"]:
                annotated.append(person)
            elif not trains and person["placed"]:
                unlabeled.append(person)
    return annotated, unlabeled


def _test(file: Path, image_root: Path, people: list[Record]) -> Instances:
    if not people:
        rule = "at least one test person must have a center and a scale, and none has"
        raise BadInput(file, rule, REMEDY)
    return _instances(file, image_root, people)


@dataclass(frozen=True)
class TestImages:
    """The images of the release that MPII's server evaluates, in their order (n).

    Attributes:
        names: of their files.
        places: in ``annolist``, from 1.
        people: how many each lists in ``annorect``, whether or not they are to be predicted.
    """

    names: list[str]
    places: list[int]
    people: list[int]


def read_test_images(annotation_file: Path) -> TestImages:
    """The images whose ``img_train`` is 0: what ``pred``, the file to hand in, lists again."""
    found = [
        (image, place)
        for place, (image, trains) in enumerate(_release(annotation_file), start=1)
        if not trains
    ]
    named = [
        (f"annolist {place}", label.get("name") if isinstance(label, dict) else None)
        for image, place in found
        for label in [image.get("image")]
    ]
    checks.need_names_inside(annotation_file, named)
    return TestImages(
        [str(name) for _, name in named],
        [place for _, place in found],
        [len(_structs(image.get("annorect"))) for image, _ in found],
    )


def _release(file: Path) -> list[tuple[Record, bool]]:
    """Every image of the mat, and whether it trains."""
    release = read_mat(file, "RELEASE", REMEDY, simplify_cells=True)
    if not isinstance(release, dict) or not {"annolist", "img_train"} <= set(release):
        raise BadInput(file, "RELEASE must have annolist and img_train", REMEDY)
    images = _structs(release["annolist"])
    training = np.atleast_1d(release["img_train"]).astype(bool).tolist()
    if len(training) != len(images):
        rule = f"img_train must have one number an image, {len(images)}, found {len(training)}"
        raise BadInput(file, rule, REMEDY)
    return list(zip(images, training, strict=True))


def _instances(file: Path, image_root: Path, people: list[Record]) -> Instances:
    checks.need_names_inside(file, [(person["name"], person["image"]) for person in people])
    people = _released(image_root, people)
    names = [person["name"] for person in people]
    centers = checks.parse_numbers(file, "objpos", [(p["name"], p["center"]) for p in people], (2,))
    scales = checks.parse_numbers(file, "scale", [(p["name"], p["scale"]) for p in people], ())
    keypoints, visibility = _joints(file, people)
    return mpii_people(
        file,
        image_root,
        [person["image"] for person in people],
        np.arange(len(people)),
        boxes=person_boxes(file, centers, np.stack([scales, scales], axis=1), names),
        keypoints=keypoints,
        visibility=visibility,
        head_sizes=np.array([person["head_size"] for person in people]),
        source_image_ids=as_text(person["place"] for person in people),
        source_ids=as_text(person["rect_place"] for person in people),
    )


def _released(image_root: Path, people: list[Record]) -> list[Record]:
    """The people but for those on images that MPII lists and has not released."""
    gone = {name for name in NOT_RELEASED if not (image_root / name).exists()}
    there = [person for person in people if person["image"] not in gone]
    if len(there) < len(people):
        absent = sorted({person["image"] for person in people} & gone)
        logger.warning("MPII has not released %s: their people are left out", ", ".join(absent))
    return there


def _person(image: Record, place: int, rect: Record, rect_place: int) -> Record:
    """A person of the mat, as it is; without a center or a scale both are None."""
    label, objpos, annopoints = image.get("image"), rect.get("objpos"), rect.get("annopoints")
    center = [_number(objpos.get(axis)) for axis in "xy"] if isinstance(objpos, dict) else None
    scale = _number(rect.get("scale"))
    placed = center is not None and scale is not None
    return {
        "name": f"annolist {place}, annorect {rect_place}",
        "image": label.get("name") if isinstance(label, dict) else None,
        "place": place,
        "rect_place": rect_place,
        "placed": placed,
        "center": center,
        "scale": scale,
        "points": _structs(annopoints.get("point")) if isinstance(annopoints, dict) else [],
        "head_size": _head_size(rect),
    }


def _joints(file: Path, people: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (n, 16, 2), from 0, and visibility (n, 16); the lists of points have any order."""
    keypoints = np.zeros((len(people), MPII.size, 2))
    visibility = np.zeros((len(people), MPII.size), np.int64)
    places, points = [], []
    for row, person in enumerate(people):
        for point in person["points"]:
            joint = _number(point.get("id"))
            if joint is None or joint not in range(MPII.size):
                rule = f"a keypoint's id must be 0 to {MPII.size - 1}, found {point.get('id')!r}"
                raise BadInput(f"{file}, {person['name']}", rule, REMEDY)
            joint = int(joint)
            if visibility[row, joint]:
                rule = f"keypoint {joint} must occur once, and occurs again"
                raise BadInput(f"{file}, {person['name']}", rule, "Remove one of the points")
            visibility[row, joint] = _visibility(file, person["name"], point.get("is_visible"))
            places.append((row, joint))
            xy = [_number(point.get(axis)) for axis in "xy"]
            points.append((f"{person['name']}, keypoint {joint}", xy))
    if places:
        rows, joints = np.array(places).T
        keypoints[rows, joints] = checks.parse_numbers(file, "x, y", points, (2,)) - 1
    return keypoints, visibility


def _visibility(file: Path, name: str, flag: Any) -> int:
    """2 for 1 and nothing, 1 for 0; the file has numbers, text and empty fields."""
    if flag is None or np.size(flag) == 0 or flag == "":
        return 2
    number = _number(flag) if not isinstance(flag, str) else {"0": 0, "1": 1}.get(flag)
    if number is None or number not in (0, 1):
        rule = f"is_visible must be 0, 1 or empty, found {flag!r}"
        raise BadInput(f"{file}, {name}", rule, REMEDY)
    return 1 + int(number)


def _head_size(rect: Record) -> float:
    """0.6 times the diagonal of the head box, nan where there is none."""
    x1, y1, x2, y2 = (_number(rect.get(key)) for key in ("x1", "y1", "x2", "y2"))
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return float("nan")
    return HEAD_SIZE * float(np.hypot(x2 - x1, y2 - y1))


def _number(value: Any) -> float | None:
    """One number, of whatever type Matlab gave it; None for an empty field or anything else."""
    if value is None or np.size(value) != 1 or np.asarray(value).dtype.kind not in "iuf":
        return None
    return float(np.asarray(value).item())


def _structs(value: Any) -> list[Record]:
    """A Matlab structure array as a list: one element comes without a list, none as an array."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list | np.ndarray):
        return []
    return [item if isinstance(item, dict) else {} for item in np.ravel(np.array(value, object))]
