"""What every kind of source is, and what readers share: parts put together, with unique ids."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import PublishedSet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.video_frames import VideoFrames


class BaseSource(Settings, ABC):
    """One kind of source: its settings (``kind`` names it), its reader, and the facts about it.

    The first line of a kind's docstring stands in docs/data.md.

    Attributes:
        skeleton: its keypoints; where files name their own, the usual ones.
        published: the sets that it reads.
        has_videos: whether ingestion makes images of its videos first.
    """

    skeleton: ClassVar[Skeleton]
    published: ClassVar[tuple[PublishedSet, ...]] = ()
    has_videos: ClassVar[bool] = False

    @abstractmethod
    def read(self, made_folder: Path | None = None) -> Source:
        """The people of the source; ``made_folder`` is what ingestion has made of it before.

        Kind ``drawn`` needs it, and kinds with videos for their frames.

        Raises:
            BadInput: a file breaks a rule; says the file, the record, the rule and the remedy.
        """

    def video_frames(self) -> VideoFrames:
        """What images to make of its videos.

        Raises:
            BadInput: it is of a kind without videos.
        """
        kind = type(self).model_fields["kind"].default
        rule = f"node 'choose_frames' needs a source with videos, got '{kind}'"
        raise BadInput("parameter source", rule, "Build the pipeline with videos=False")


def boxed_instances(
    *,
    boxes: np.ndarray,
    keypoints: np.ndarray,
    visibility: np.ndarray,
    paths: Sequence[Path],
    area_of_box: float = 1.0,
    **columns: Any,
) -> Instances:
    """The n people of a format without areas and detector scores.

    Args:
        boxes: (n, 4) x0, y0, x1, y1 in image pixels.
        keypoints: (n, k, 2) x, y in image pixels, anything where visibility is 0.
        visibility: (n, k) 0, 1, 2.
        paths: the n image files.
        area_of_box: the area of a person in units of their box.
        columns: the other columns of ``Instances``.
    """
    return Instances(
        paths=np.array([str(path) for path in paths], object),
        boxes=boxes.astype(np.float32),
        areas=(area_of_box * np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)).astype(np.float32),
        box_scores=np.ones(len(boxes), np.float32),
        keypoints=np.where(visibility[..., None] > 0, keypoints, 0).astype(np.float32),
        visibility=visibility.astype(np.int64),
        **columns,
    )


def number_names(names: Sequence[str]) -> np.ndarray:
    """(n) ids from 1 for images that have names only, in the order of their first occurrence."""
    number = {name: place for place, name in enumerate(dict.fromkeys(names), start=1)}
    return np.array([number[name] for name in names], np.int64)


def copy_labels(people: Instances, labels: Instances, file: Path) -> Instances:
    """The people with the labels of equal id, visibility 0 where there are none.

    Raises:
        BadInput: no id is equal; names the ``file`` of the labels.
    """
    row_of = pd.Series(np.arange(len(labels)), labels.ids)
    row_of = row_of.loc[~row_of.index.duplicated(keep="last")]
    rows = row_of.reindex(people.ids, fill_value=-1).to_numpy(int)
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
    validation: Instances | None = None,
    unlabeled: Instances | None = None,
    truth: Instances | None = None,
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
        validation = renumber(validation, [annotated])
    if unlabeled is not None:
        taken = [part for part in (annotated, validation) if part is not None]
        unlabeled = renumber(unlabeled, taken)
        if truth is not None:
            ids = ("ids", "image_ids", "source_ids", "source_image_ids")
            truth = replace(truth, **{name: getattr(unlabeled, name) for name in ids})
    if test is not None:
        taken = [part for part in (annotated, validation, unlabeled) if part is not None]
        for part, name in ((annotated, "training"), (unlabeled, "unlabeled")):
            if part is not None:
                _refuse_shared_images(test, part, name, "test")
        test = renumber(test, taken)
    if ignored is not None:
        parts = (annotated, validation, unlabeled, test)
        ignored = _on_images_of(annotated if validation is None else validation, ignored,
                                [part for part in parts if part is not None])  # fmt: skip
    return Source(skeleton, annotated, validation, unlabeled, truth, test, ignored)


def _on_images_of(
    people: Instances, ignored: Instances, taken: list[Instances]
) -> Instances | None:
    """The ignored on images of these people, with the ids that those images have by now."""
    image_of = dict(zip(_image_keys(people), people.image_ids, strict=True))
    rows = [row for row, key in enumerate(_image_keys(ignored)) if key in image_of]
    if not rows:
        return None
    ignored = ignored.take(rows)
    images = np.array([image_of[key] for key in _image_keys(ignored)])
    return renumber(replace(ignored, image_ids=images), taken)


def _image_keys(people: Instances) -> list[tuple[str, str]]:
    """(n) what tells images apart whatever their ids are here; a file may be listed twice."""
    return list(zip(people.paths, people.source_image_ids, strict=True))


def renumber(part: Instances, taken: list[Instances]) -> Instances:
    """The part with other ids, and other ids of images, where those of ``taken`` are the same."""
    ids, image_ids = part.ids, part.image_ids
    used = np.concatenate([other.ids for other in taken])
    if np.isin(ids, used).any():
        ids = ids - ids.min() + used.max() + 1
    taken_ids = np.concatenate([other.image_ids for other in taken])
    taken_paths = pd.Series(np.concatenate([other.paths for other in taken]), taken_ids)
    path_of = taken_paths.loc[~taken_paths.index.duplicated(keep="last")].reindex(image_ids)
    if (path_of.notna().to_numpy() & (path_of.to_numpy(object) != part.paths)).any():
        image_ids = image_ids - image_ids.min() + taken_ids.max() + 1
    return replace(part, ids=ids, image_ids=image_ids)


def _refuse_shared_images(
    held_out: Instances, other: Instances, name: str, kind: str = "validation"
) -> None:
    shared = sorted(set(held_out.paths) & set(other.paths))
    if shared:
        rule = f"a {kind} image must not be among the {name} ones, and {len(shared)} are"
        raise BadInput(shared[0], rule, "Correct the files of the source in the parameters")
