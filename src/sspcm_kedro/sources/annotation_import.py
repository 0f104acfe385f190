"""Labels that come back from an annotation tool, and the people they belong to.

Tools renumber images and annotations, rename what they stored, and draw boxes of their own. So a
person is known by his image's name and by where his box is, never by an id.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.split import Split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import checks

Record = dict[str, Any]

SAME_POINT = 1.0
"""Pixels: tools that store whole pixels move a point by less."""

LEAST_OVERLAP = 0.3
"""Intersection over union below which two boxes are not of one person: a box around the keypoints
alone has about two thirds of the person's own."""

CLEARLY_BETTER = 0.1
"""By how much the best overlap must exceed the second best."""

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""


class ImportedFile(Settings):
    """One COCO file that came back.

    Attributes:
        file: as the tool exported it.
        draft: the queue's own annotations, as they went out: who is still as he was there has not
            been looked at.
        confirmed: somebody has looked at those too, and found them right.
    """

    file: Path
    draft: Path
    confirmed: bool = False


class AnnotationImportConfig(Settings):
    """All files that came back so far; each is merged anew by every ingestion."""

    files: tuple[ImportedFile, ...] = ()


@dataclass(frozen=True)
class Marked:
    """One person in an annotation file.

    Attributes:
        where: the file and the record, for messages.
        image: file name without folders.
        image_hw: (height, width) that the file gives the image.
        box: (4) x0, y0, x1, y1; around the keypoints where the file has none.
        keypoints: (k, 2) image pixels in the skeleton's order, 0 where absent.
        visibility: (k) 0, 1, 2.
    """

    where: str
    picture: str
    image_hw: tuple[int, int]
    box: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray


def flat_names(paths: Iterable[str]) -> dict[str, str]:
    """Image files by names without folders: the path below their common folder, with ``__``.

    Annotation tools differ in what they make of sub-folders; none minds a long name.
    """
    distinct = sorted({str(path) for path in paths})
    parents = [Path(path).parent.parts for path in distinct]
    shared = 0
    while all(len(p) > shared for p in parents) and len({p[shared] for p in parents}) == 1:
        shared += 1
    return {path: "__".join(Path(path).parts[shared:]) for path in distinct}


def merge(people: Split, annotation_import: AnnotationImportConfig, skeleton: Skeleton) -> Split:
    """The split after the returned people have moved from unlabeled to labeled.

    They keep their boxes, by which the pseudo-labels were made, and get the returned keypoints.
    Their order is that of ``unlabeled``, whatever that of the files. Where the split's unlabeled
    people include the labeled ones, they stay among them.

    Raises:
        BadInput: a file breaks a rule; says the file, the annotation, the rule and the remedy.
    """
    found: dict[int, Marked] = {}
    known = _Known(people)
    for one in annotation_import.files:
        marked = read_marked(one.file, skeleton)
        _refuse_unfinished(one, marked, skeleton)
        for person in marked:
            row = known.row_of(person)
            if row in found:
                rule = f"is the same person as {found[row].where}"
                raise BadInput(person.where, rule, "Remove one of the two")
            found[row] = person
    if not found:
        return people
    rows = np.array(sorted(found))
    moved = replace(
        people.unlabeled.take(rows),
        keypoints=np.stack([found[row].keypoints for row in rows]).astype(np.float32),
        visibility=np.stack([found[row].visibility for row in rows]).astype(np.int64),
    )
    twice = np.isin(people.labeled.ids, people.unlabeled.ids).any()
    left = np.setdiff1d(np.arange(len(people.unlabeled)), [] if twice else rows)
    if not len(left):
        rule = "at least one person must remain unlabeled, and the returned labels leave none"
        raise BadInput("parameter returned", rule, "Add unlabeled people, or merge fewer labels")
    return replace(
        people,
        labeled=Instances.join([people.labeled, moved]),
        unlabeled=people.unlabeled.take(left),
        hidden_truth=people.hidden_truth.take(left),
    )


def read_marked(file: Path, skeleton: Skeleton) -> list[Marked]:
    """The people of a COCO keypoint file, their keypoints in the skeleton's order.

    Categories without keypoints (a tool's own boxes) do not count.

    Raises:
        BadInput: the file is not COCO, has another skeleton, or a record breaks a rule.
    """
    content = checks.read_coco_json(file, ("images", "annotations", "categories"))
    images, people = content["images"], content["annotations"]
    checks.have_keys(file, "image", images, ("id", "file_name", "height", "width"))
    checks.unique_ids(file, "image", images)
    checks.have_keys(file, "annotation", people, ("id", "image_id", "category_id"))
    checks.unique_ids(file, "annotation", people)
    image_of = {image["id"]: image for image in images}
    checks.known_images(file, "annotation", people, image_of.keys())
    orders = _orders(file, content["categories"], skeleton)
    people = [person for person in people if person["category_id"] in orders]
    if not people:
        rule = "must hold at least one person with keypoints, found none"
        raise BadInput(file, rule, "Export the skeletons, as COCO keypoints")
    checks.have_keys(file, "annotation", people, ("keypoints",))
    checks.keypoint_lists(file, people, skeleton.size)
    checks.finite_numbers(file, "annotation", people, "keypoints")
    checks.finite_numbers(file, "annotation", [p for p in people if "bbox" in p], "bbox")
    empty = [
        (f"annotation {p['id']}", "at least one keypoint must be labeled (v 1 or 2)")
        for p in people if not any(p["keypoints"][2::3])
    ]  # fmt: skip
    checks.refuse(file, empty, "Remove people whom nobody can label; they stay unlabeled")
    return [
        _marked(file, person, image_of[person["image_id"]], orders[person["category_id"]])
        for person in people
    ]


def _orders(file: Path, categories: list[Record], skeleton: Skeleton) -> dict[Any, list[int]]:
    """For each category with keypoints, where the skeleton's keypoints stand in it.

    Tools may list them in another order than they were given.
    """
    checks.have_keys(file, "category", categories, ("id",))
    orders = {}
    for category in categories:
        names = category.get("keypoints")
        if not names:
            continue
        if sorted(map(str, names)) != sorted(skeleton.names):
            rule = f"its keypoints must be {', '.join(skeleton.names)}; found {names}"
            remedy = "Set the tool up with the queue's own category"
            raise BadInput(f"{file}, category {category['id']}", rule, remedy)
        orders[category["id"]] = [names.index(name) for name in skeleton.names]
    return orders


def _marked(file: Path, person: Record, image: Record, order: list[int]) -> Marked:
    triples = np.array(person["keypoints"], np.float64).reshape(-1, 3)[order]
    visibility = triples[:, 2].astype(np.int64)
    present = triples[visibility > 0, :2]
    x, y, width, height = _bbox(person)
    box = np.array([x, y, x + width, y + height])
    if width <= 0 or height <= 0:  # COCO Annotator writes four zeros
        box = np.concatenate([present.min(axis=0), present.max(axis=0)])
    return Marked(
        where=f"{file}, annotation {person['id']}",
        picture=PurePosixPath(str(image["file_name"]).replace("\\", "/")).name,
        image_hw=(image["height"], image["width"]),
        box=box,
        keypoints=np.where(visibility[:, None] > 0, triples[:, :2], 0),
        visibility=visibility,
    )


def _bbox(person: Record) -> Sequence[float]:
    box = person.get("bbox")
    return box if isinstance(box, list) and len(box) == 4 else (0, 0, 0, 0)


def _refuse_unfinished(one: ImportedFile, marked: list[Marked], skeleton: Skeleton) -> None:
    """Everybody has been looked at: nobody stands exactly as in the draft."""
    if one.confirmed:
        return
    drafts: dict[str, list[Marked]] = defaultdict(list)
    for person in read_marked(one.draft, skeleton):
        drafts[person.picture].append(person)
    of_picture = [_first_of(drafts, person.picture) for person in marked]
    if not any(of_picture):
        rule = f"must be the draft that {one.file} was made from, and has none of its images"
        remedy = "Name the annotations of the queue that was handed out (returned.files, draft)"
        raise BadInput(one.draft, rule, remedy)
    untouched = [
        (person.where.removeprefix(f"{one.file}, "), "is still the draft: no keypoint was moved")
        for person, those in zip(marked, of_picture, strict=True)
        if any(_same_points(person, draft) for draft in those)
    ]
    remedy = "Export finished people only; or, if somebody has checked all, say confirmed: true"
    checks.refuse(one.file, untouched, remedy)


def _same_points(person: Marked, draft: Marked) -> bool:
    """Alike but for what tools do unasked: rounding, and calling every point visible."""
    present = person.visibility > 0
    if (present != (draft.visibility > 0)).any():
        return False
    return bool((np.abs(person.keypoints - draft.keypoints)[present] <= SAME_POINT).all())


def _first_of(by_name: dict[str, list[Any]], picture: str) -> list[Any]:
    """What an image's name stands for, with or without what an upload put before it."""
    return by_name.get(picture) or by_name.get(_UPLOADED.sub("", picture)) or []


class _Known:
    """All people of a split, to be found by image and box."""

    def __init__(self, people: Split) -> None:
        second = ~np.isin(people.unlabeled.ids, people.labeled.ids)
        self._parts = {
            "unlabeled": (people.unlabeled, np.flatnonzero(second)),
            "labeled": (people.labeled, np.arange(len(people.labeled))),
            "validation": (people.validation, np.arange(len(people.validation))),
        }
        self._on: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for part, (table, rows) in self._parts.items():
            for row in rows.tolist():
                self._on[str(table.paths[row])].append((part, row))
        self._names = flat_names(self._parts["unlabeled"][0].paths)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for path in self._on:
            self._by_base[Path(path).name].append(path)

    def row_of(self, person: Marked) -> int:
        """The row of a person in ``unlabeled``.

        Raises:
            BadInput: nobody, somebody else, or one of several.
        """
        there = self._on[self._picture(person)]
        tables = [self._parts[part][0] for part, _ in there]
        height, width = tables[0].image_hw[there[0][1]].tolist()
        if person.image_hw != (height, width):
            rule = f"its image must be {(height, width)} (height, width), not {person.image_hw}"
            raise BadInput(person.where, rule, "Export in pixels of the queue's own images")
        boxes = np.stack([table.boxes[row] for table, (_, row) in zip(tables, there, strict=True)])
        part, row = there[_whose(person, boxes.astype(np.float64))]
        if part != "unlabeled":
            rule = f"must be an unlabeled person, and is a {part} one of this split"
            remedy = "Remove him, or use the seed and the split that the queue was made with"
            raise BadInput(person.where, rule, remedy)
        return row

    def _picture(self, person: Marked) -> str:
        found = self._paths(person.picture) or self._paths(_UPLOADED.sub("", person.picture))
        if not found:
            rule = f"no person of this split is on an image called {person.picture!r}"
            remedy = "Keep the queue's file names, or remove the image and its people"
            raise BadInput(person.where, rule, remedy)
        if len(found) > 1:
            rule = f"the image {person.picture!r} may be {found[0]} or {found[1]}"
            raise BadInput(person.where, rule, "Write the name as the queue does")
        return found[0]

    def _paths(self, name: str) -> list[str]:
        """The files whose path ends as the name does; of several the one of just this name.

        The ends count because a source that grows may have another common folder than before.
        """
        pieces = name.split("__")
        ends = ["__".join(pieces[start:]) for start in range(len(pieces))]
        paths = dict.fromkeys(path for end in ends for path in self._by_base.get(end, []))
        found = [p for p in paths if f"__{'__'.join(Path(p).parts)}".endswith(f"__{name}")]
        exact = [path for path in found if self._names.get(path) == name]
        return exact if len(found) > 1 and len(exact) == 1 else found


def _whose(person: Marked, boxes: np.ndarray) -> int:
    """Which of the boxes (n, 4) is the person's: the one that overlaps his clearly best."""
    same = np.flatnonzero((np.abs(boxes - person.box) <= 1).all(axis=1))
    if len(same) == 1:
        return int(same[0])
    overlaps = _overlaps(person.box, boxes)
    best, *others = np.argsort(-overlaps, kind="stable").tolist()
    if overlaps[best] < LEAST_OVERLAP:
        rule = (
            f"must be one of the people of {person.picture}; the nearest overlaps by "
            f"{overlaps[best]:.2f} (intersection over union), and {LEAST_OVERLAP} is needed"
        )
        raise BadInput(person.where, rule, "Remove him, or add him to the source with a box")
    if others and overlaps[best] - overlaps[others[0]] < CLEARLY_BETTER:
        rule = (
            f"two people of {person.picture} overlap his box alike, by {overlaps[best]:.2f} and "
            f"{overlaps[others[0]]:.2f}"
        )
        raise BadInput(person.where, rule, "Write the queue's own box as his bbox, or remove him")
    return best


def _overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (n) of a box (4) and boxes (n, 4)."""
    first, last = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.maximum(last - first, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, 1e-9)
