"""The categories of people in a COCO file: their ids, their keypoints, their limbs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.coco_ap import PERSON
from sspcm_kedro.pose.sides import coco_name, flip_pairs_from_names
from sspcm_kedro.pose.skeleton import COCO, DEFAULT_SIGMA, Skeleton, plain_name, published
from sspcm_kedro.sources import checks, coco_checks
from sspcm_kedro.sources.checks import Record
from sspcm_kedro.sources.coco_checks import same_id
from sspcm_kedro.sources.own_skeleton import torso_from_names


def person_category(skeleton: Skeleton) -> Record:
    """The category of people: names of the keypoints, and limbs counted from 1."""
    return {
        "id": PERSON,
        "name": skeleton.category,
        "supercategory": skeleton.category,
        "keypoints": list(skeleton.names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }


def find_person_categories(
    file: Path, categories: list[Record], named: Sequence[str] = ()
) -> list[Record]:
    """The categories of people (at least one); several have the same keypoints.

    They are those that are ``named``; else the categories with keypoints (all categories, where
    none has some), if these are alike; else the one called person. A file without names means the
    id 1.

    Raises:
        BadInput: none of these is the case.
    """
    checks.need_keys(file, "category", categories, ("id",))
    coco_checks.category_ids(file, "category", categories, "id")
    if named:
        wanted = set(map(plain_name, named))
        chosen = [category for category in categories if _name(category) in wanted]
    else:
        posed = [category for category in categories if category.get("keypoints")]
        chosen = posed or categories
        if (not posed and len(chosen) > 1) or len({_spelled(category) for category in posed}) > 1:
            people = [category for category in chosen if _name(category) == "person"]
            nameless = not any("name" in category for category in chosen)
            chosen = people or [c for c in chosen if nameless and same_id(c["id"]) == PERSON]
    if chosen and len({_spelled(category) for category in chosen}) == 1:
        return chosen
    found = str([category.get("name", category["id"]) for category in categories])[:200]
    rule = f"one category must be people, found {found}"
    if named:
        rule = f"{', '.join(named)} must be categories with the same keypoints, found {found}"
    remedy = (
        f"Name it in the parameters (source.category), or give it the name person or id {PERSON}"
    )
    raise BadInput(f"{file}, categories", rule, remedy)


def _name(category: Record) -> str:
    return plain_name(str(category.get("name", "")))


def _spelled(category: Record) -> str:
    """The keypoints of a category, whatever stands there, to be compared."""
    listed = category.get("keypoints") or []
    return str([plain_name(str(name)) for name in listed] if isinstance(listed, list) else listed)


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
    name = category.get("name")
    called = name if isinstance(name, str) and name.strip() else Skeleton.category
    known = published(names)
    if known is not None:
        return replace(known, category=called)
    measured = dict(zip(COCO.names, COCO.sigmas, strict=True))
    return Skeleton(
        names=names,
        flip_pairs=flip_pairs_from_names(names),
        sigmas=tuple(measured.get(coco_name(name), DEFAULT_SIGMA) for name in names),
        limbs=_limbs(category.get("skeleton"), len(names)),
        torso=torso_from_names(names),
        category=called,
    )


def _limbs(pairs: Any, k: int) -> tuple[tuple[int, int], ...]:
    """The limbs, from 0; none where they are not of these k keypoints (CrowdPose ships COCO's)."""
    try:
        limbs = tuple((int(a) - 1, int(b) - 1) for a, b in pairs or ())
    except (TypeError, ValueError, OverflowError):
        return ()
    return limbs if all(0 <= keypoint < k for limb in limbs for keypoint in limb) else ()
