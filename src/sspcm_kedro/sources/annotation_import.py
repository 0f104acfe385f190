"""Labels that come back from an annotation tool, and the people they belong to.

Tools renumber images and annotations, rename what they stored, and draw boxes of their own. So a
person is known by the name of the image and by where the box is, never by an id.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.split import Split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.annotation_file import AnnotatedPerson, read_annotated_people

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
        draft: the queue's own annotations, as they went out: people who still are as they were
            there have not been looked at.
        confirmed: somebody has looked at those too, and found them right.
    """

    file: Path
    draft: Path
    confirmed: bool = False


class AnnotationImportConfig(Settings):
    """All files that came back so far; each is merged anew by every ingestion."""

    files: tuple[ImportedFile, ...] = ()


def flat_names(paths: Iterable[str]) -> dict[str, str]:
    """Image files by names without folders: the path below their common folder, with ``__``.

    Annotation tools differ in what they make of sub-folders; none minds a long name.
    """
    distinct = sorted({str(path) for path in paths})
    parents = [Path(path).parent.parts for path in distinct]
    shared = 0
    while all(len(p) > shared for p in parents) and len({p[shared] for p in parents}) == 1:
        shared += 1
    names = {path: "__".join(Path(path).parts[shared:]) for path in distinct}
    count = Counter(names.values())
    twice = [path for path in distinct if count[names[path]] > 1]
    if twice:
        rule = (
            f"must differ from {twice[1]} with __ between folders, and both are {names[twice[0]]}"
        )
        raise BadInput(twice[0], rule, "Rename one of the two images")
    return names


def merge(people: Split, annotation_import: AnnotationImportConfig, skeleton: Skeleton) -> Split:
    """The split after the imported people have moved from unlabeled to labeled.

    They keep their boxes, by which the pseudo-labels were made, and get the imported keypoints.
    Their order is that of ``unlabeled``, whatever that of the files. Where the split's unlabeled
    people include the labeled ones, they stay among them.

    Raises:
        BadInput: a file breaks a rule; says the file, the annotation, the rule and the remedy.
    """
    if not annotation_import.files:
        return people
    found: dict[int, AnnotatedPerson] = {}
    index = _PeopleIndex(people)
    for one in annotation_import.files:
        annotated = read_annotated_people(one.file, skeleton)
        _refuse_unfinished(one, annotated, skeleton)
        asked = read_annotated_people(one.draft, skeleton)
        for person in annotated:
            row = index.row_of(person, asked)
            if row in found:
                rule = f"is the same person as {found[row].where}"
                raise BadInput(person.where, rule, "Remove one of the two")
            found[row] = person
    rows = np.array(sorted(found))
    moved = replace(
        people.unlabeled.take(rows),
        keypoints=np.stack([found[row].keypoints for row in rows]).astype(np.float32),
        visibility=np.stack([found[row].visibility for row in rows]).astype(np.int64),
    )
    twice = np.isin(people.labeled.ids, people.unlabeled.ids).any()
    left = np.setdiff1d(np.arange(len(people.unlabeled)), [] if twice else rows)
    if not len(left):
        rule = "at least one person must remain unlabeled, and the imported labels leave none"
        raise BadInput(
            "parameter annotation_import", rule, "Add unlabeled people, or merge fewer labels"
        )
    truth = people.hidden_truth.without_labels(rows)  # what teaches measures nothing
    return replace(
        people,
        labeled=Instances.join([people.labeled, moved]),
        unlabeled=people.unlabeled.take(left),
        hidden_truth=truth.take(left),
    )


def _refuse_unfinished(
    one: ImportedFile, annotated: list[AnnotatedPerson], skeleton: Skeleton
) -> None:
    """Refuse people who stand exactly as in the draft: nobody has looked at them."""
    if one.confirmed:
        return
    drafts: dict[str, list[AnnotatedPerson]] = defaultdict(list)
    for person in read_annotated_people(one.draft, skeleton):
        drafts[person.image].append(person)
    of_image = [
        drafts.get(person.image) or drafts.get(_UPLOADED.sub("", person.image)) or []
        for person in annotated
    ]
    if not any(of_image):
        rule = f"must be the draft that {one.file} was made from, and has none of its images"
        remedy = "Name the annotations that the queue gave out (annotation_import.files, draft)"
        raise BadInput(one.draft, rule, remedy)
    untouched = [
        (person.where.removeprefix(f"{one.file}, "), "is still the draft: no keypoint was moved")
        for person, those in zip(annotated, of_image, strict=True)
        if any(_same_points(person, draft) for draft in those)
    ]
    remedy = "Export finished people only; or, if somebody has checked all, say confirmed: true"
    checks.refuse(one.file, untouched, remedy)


def _same_points(person: AnnotatedPerson, draft: AnnotatedPerson) -> bool:
    """Alike but for what tools do unasked: rounding, and calling every point visible."""
    present = person.visibility > 0
    if (present != (draft.visibility > 0)).any():
        return False
    return bool((np.abs(person.keypoints - draft.keypoints)[present] <= SAME_POINT).all())


class _PeopleIndex:
    """Finds people of a split by image and box."""

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

    def row_of(self, person: AnnotatedPerson, asked: list[AnnotatedPerson]) -> int:
        """The row of a person in ``unlabeled``.

        Raises:
            BadInput: nobody, somebody else, one of several, or, by a box of the tool's own,
                somebody who was not ``asked`` for.
        """
        there = self._on[self._path(person)]
        tables = [self._parts[part][0] for part, _ in there]
        height, width = tables[0].image_hw[there[0][1]].tolist()
        if person.image_hw != (height, width):
            rule = f"its image must be {(height, width)} (height, width), not {person.image_hw}"
            raise BadInput(person.where, rule, "Export in pixels of the queue's own images")
        boxes = np.stack([table.boxes[row] for table, (_, row) in zip(tables, there, strict=True)])
        best = _matching_box(person, boxes.astype(np.float64))
        part, row = there[best]
        drafts = [draft.box for draft in asked if self._paths(draft.image) == [self._path(person)]]
        near = [np.abs(boxes[best] - box).max() <= 1 for box in (person.box, *drafts)]
        if drafts and not any(near):
            rule = "its box is nearest to somebody who was not asked for"
            remedy = "Write the person's own box as the bbox, or remove the annotation"
            raise BadInput(person.where, rule, remedy)
        if part != "unlabeled":
            rule = f"must be an unlabeled person, and is a {part} one of this split"
            remedy = "Remove them, or use the seed and the split that the queue was made with"
            raise BadInput(person.where, rule, remedy)
        return row

    def _path(self, person: AnnotatedPerson) -> str:
        found = self._paths(person.image) or self._paths(_UPLOADED.sub("", person.image))
        if not found:
            rule = f"no person of this split is on an image called {person.image!r}"
            remedy = "Keep the queue's file names, or remove the image and its people"
            raise BadInput(person.where, rule, remedy)
        if len(found) > 1:
            rule = f"the image {person.image!r} may be {found[0]} or {found[1]}"
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


def _matching_box(person: AnnotatedPerson, boxes: np.ndarray) -> int:
    """Which of the boxes (n, 4) is the person's: the one that overlaps theirs clearly best."""
    same = np.flatnonzero((np.abs(boxes - person.box) <= 1).all(axis=1))
    if len(same) == 1:
        return int(same[0])
    overlaps = _overlaps(person.box, boxes)
    best, *others = np.argsort(-overlaps, kind="stable").tolist()
    if overlaps[best] < LEAST_OVERLAP:
        rule = (
            f"must be one of the people of {person.image}; the nearest overlaps by "
            f"{overlaps[best]:.2f} (intersection over union), and {LEAST_OVERLAP} is needed"
        )
        raise BadInput(person.where, rule, "Remove them, or add them to the source with a box")
    if others and overlaps[best] - overlaps[others[0]] < CLEARLY_BETTER:
        rule = (
            f"two people of {person.image} overlap this box alike, by {overlaps[best]:.2f} and "
            f"{overlaps[others[0]]:.2f}"
        )
        raise BadInput(
            person.where, rule, "Write the queue's own box as the bbox, or remove the person"
        )
    return best


def _overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (n) of a box (4) and boxes (n, 4)."""
    first, last = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.maximum(last - first, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, 1e-9)
