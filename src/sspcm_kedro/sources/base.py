"""What readers of sources share: parts put together, their ids made unique."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton


def labels_of(people: Instances, labels: Instances, file: Path) -> Instances:
    """The people with the labels of equal id, visibility 0 where there are none."""
    row_of = {int(label_id): row for row, label_id in enumerate(labels.ids)}
    rows = np.array([row_of.get(int(person), -1) for person in people.ids])
    known = rows >= 0
    if not known.any():
        rule = "the truth must have annotation ids of the unlabeled file, and has none of them"
        raise BadInput(file, rule, "Name the file that belongs to the unlabeled people")
    truth = people.without_labels()
    columns = {"keypoints": truth.keypoints, "visibility": truth.visibility,
               "areas": truth.areas.copy()}  # fmt: skip
    for name, column in columns.items():
        column[known] = getattr(labels, name)[rows[known]]
    return replace(truth, **columns)


def assemble(
    skeleton: Skeleton,
    annotated: Instances,
    validation: Instances | None,
    unlabeled: Instances | None,
    truth: Instances | None,
    test: Instances | None = None,
    ignored: Instances | None = None,
) -> Source:
    """A source whose ids are unique: a later part whose ids are taken is numbered on.

    Of the ignored, who come from the file of the validation people (of the annotated ones, where
    there is none), those on other images than theirs are left out.

    Raises:
        BadInput: an image of the validation is a training image, or one of the test is.
    """
    if validation is not None:
        _refuse_shared_images(validation, annotated, "training")
        if unlabeled is not None:
            _refuse_shared_images(validation, unlabeled, "unlabeled")
        validation = renumbered(validation, [annotated])
    if unlabeled is not None:
        taken = [part for part in (annotated, validation) if part is not None]
        unlabeled = renumbered(unlabeled, taken)
        if truth is not None:
            truth = replace(
                truth,
                ids=unlabeled.ids,
                image_ids=unlabeled.image_ids,
                source_ids=unlabeled.source_ids,
                source_image_ids=unlabeled.source_image_ids,
            )
    if test is not None:
        taken = [part for part in (annotated, validation, unlabeled) if part is not None]
        for part, name in ((annotated, "training"), (unlabeled, "unlabeled")):
            if part is not None:
                _refuse_shared_images(test, part, name, "test")
        test = renumbered(test, taken)
    if ignored is not None:
        parts = (annotated, validation, unlabeled, test)
        ignored = _beside(annotated if validation is None else validation, ignored,
                          [part for part in parts if part is not None])  # fmt: skip
    return Source(skeleton, annotated, validation, unlabeled, truth, test, ignored)


def _beside(people: Instances, ignored: Instances, taken: list[Instances]) -> Instances | None:
    """The ignored on images of these people, with the ids that those images have by now."""
    image_of = dict(zip(_files(people), people.image_ids, strict=True))
    rows = [row for row, file in enumerate(_files(ignored)) if file in image_of]
    if not rows:
        return None
    ignored = ignored.take(rows)
    images = np.array([image_of[file] for file in _files(ignored)])
    return renumbered(replace(ignored, image_ids=images), taken)


def _files(people: Instances) -> list[tuple[str, str]]:
    """(n) what tells images apart whatever their ids are here; a file may be listed twice."""
    return list(zip(people.paths, people.source_image_ids, strict=True))


def renumbered(part: Instances, taken: list[Instances]) -> Instances:
    """The part with other ids, and other ids of images, where those of ``taken`` are the same."""
    ids, image_ids = part.ids, part.image_ids
    used = np.concatenate([other.ids for other in taken])
    if np.isin(ids, used).any():
        ids = ids - ids.min() + used.max() + 1
    path_of = {i: p for other in taken for i, p in zip(other.image_ids, other.paths, strict=True)}
    if any(path_of.get(i, path) != path for i, path in zip(image_ids, part.paths, strict=True)):
        image_ids = image_ids - image_ids.min() + max(path_of) + 1
    return replace(part, ids=ids, image_ids=image_ids)


def _refuse_shared_images(
    held_out: Instances, other: Instances, name: str, kind: str = "validation"
) -> None:
    shared = sorted(set(held_out.paths) & set(other.paths))
    if shared:
        rule = f"a {kind} image must not be a {name} image, and {len(shared)} are"
        raise BadInput(shared[0], rule, "Correct the files of the source in the parameters")
