"""The category of people in a COCO file: its id, its keypoints, its limbs."""

from pathlib import Path
from typing import Any

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.coco_ap import PERSON
from sspcm_kedro.pose.skeleton import (
    DEFAULT_SIGMA,
    Skeleton,
    flip_pairs_from_names,
    plain_name,
    published,
)
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.checks import Record


def person_category(skeleton: Skeleton) -> Record:
    """The category of people: names of the keypoints, and limbs counted from 1."""
    return {
        "id": PERSON,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }


def find_person_category(file: Path, categories: list[Record]) -> Record:
    """The one category with keypoints, else the category of people (which may be unlisted)."""
    checks.need_keys(file, "category", categories, ("id",))
    posed = [category for category in categories if category.get("keypoints")]
    candidates = posed or categories
    people = [category for category in candidates if category["id"] == PERSON]
    if people:
        return people[0]
    if len(candidates) == 1:
        return candidates[0]
    rule = f"one category must be people, found {[c.get('name', c['id']) for c in candidates]}"
    raise BadInput(f"{file}, categories", rule, f"Give the category of people the id {PERSON}")


def parse_skeleton(file: Path, category: Record, wanted: Skeleton | None) -> Skeleton:
    """The skeleton that a category lists; it must be the ``wanted`` one, which is given for none.

    Raises:
        BadInput: the category's keypoints are no names, other ones, or there are none at all.
    """
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
    return limbs if all(0 <= keypoint < k for limb in limbs for keypoint in limb) else ()
