"""Where people come from: drawn, any COCO file, or LSP-extended. One config class a kind."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, RootModel

from sspcm_kedro.config import Settings
from sspcm_kedro.data.coco import read_coco
from sspcm_kedro.data.drawn import DrawnSettings
from sspcm_kedro.data.drawn_folder import (
    BOXES_FILE,
    PART_SPAN,
    TRUTH_FILE,
    DrawnPeople,
    Part,
    images_folder,
    keypoints_file,
)
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.lspet import read_lspet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton

Pictures = Annotated[int, Field(ge=1, lt=PART_SPAN)]


@dataclass(frozen=True)
class Source:
    """All people of a source. Ids are unique over the parts; no part shares validation's images.

    Attributes:
        skeleton: the key points of every part.
        annotated: people with labels, in file order.
        validation: the source's own validation people, if it has some.
        unlabelled: people without labels, if it has some.
        hidden_truth: the unlabelled people, same order, with their labels where they are known
            (visibility 0 where not). Only ever compared with, never trained on.
    """

    skeleton: Skeleton
    annotated: Instances
    validation: Instances | None = None
    unlabelled: Instances | None = None
    hidden_truth: Instances | None = None


class CocoPart(Settings):
    """Annotations and their images, both relative to the source's root."""

    annotations: Path
    images: Path


class UnlabelledPart(CocoPart):
    """People without labels.

    Attributes:
        annotations: their boxes; with ``detections`` only the list of images. Labels in it are
            erased and kept aside as the hidden truth.
        detections: their boxes as a detector's result list.
        truth: their labels in a file of its own, with the same annotation ids.
    """

    detections: Path | None = None
    truth: Path | None = None


class CocoSource(Settings):
    """A folder of COCO files with any skeleton.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: an annotated part to validate on; without it, ``split`` holds some people out.
        unlabelled: further people without labels.
        sigmas: OKS sigmas, where the key points are not COCO's.
        flip_pairs: index pairs, from 0, where left/right in the names does not tell them.
    """

    kind: Literal["coco"] = "coco"
    root: Path
    train: CocoPart
    validation: CocoPart | None = None
    unlabelled: UnlabelledPart | None = None
    sigmas: tuple[float, ...] | None = None
    flip_pairs: tuple[tuple[int, int], ...] | None = None

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the folder."""
        annotated, skeleton = self._labelled(self.train, None)
        validation = self._labelled(self.validation, skeleton)[0] if self.validation else None
        unlabelled, truth = self._unlabelled(skeleton)
        return _source(skeleton, annotated, validation, unlabelled, truth)

    def _labelled(self, part: CocoPart, skeleton: Skeleton | None) -> tuple[Instances, Skeleton]:
        file = self.root / part.annotations
        people, skeleton = read_coco(
            file,
            self.root / part.images,
            skeleton=skeleton,
            sigmas=self.sigmas,
            flip_pairs=self.flip_pairs,
        )
        if not people.visibility.any():
            rule = "people to train or validate on need labels, and no annotation has 'keypoints'"
            raise BadInput(file, rule, "Name the key-point file, or use this one as unlabelled")
        return people, skeleton

    def _unlabelled(self, skeleton: Skeleton) -> tuple[Instances | None, Instances | None]:
        part = self.unlabelled
        if part is None:
            return None, None
        images, file = self.root / part.images, self.root / part.annotations
        detections = self.root / part.detections if part.detections else None
        people, _ = read_coco(file, images, detections=detections, skeleton=skeleton)
        truth = people if people.visibility.any() else None
        if part.truth:
            labels, _ = read_coco(self.root / part.truth, images, skeleton=skeleton)
            truth = _labels_of(people, labels, self.root / part.truth)
        return people.without_labels(), truth


class DrawnSource(Settings):
    """People drawn by this package; their folder is read back as any COCO folder.

    Attributes:
        annotated: annotated pictures; a picture has one to a few people.
        unlabelled: unlabelled pictures.
        validation: validation pictures.
        look: how the pictures look.
        processes: how many processes draw.
    """

    kind: Literal["drawn"] = "drawn"
    annotated: Pictures
    unlabelled: Pictures
    validation: Pictures
    look: DrawnSettings = DrawnSettings()
    processes: Annotated[int, Field(ge=1)] = 1

    def people(self, seed: int) -> DrawnPeople:
        """What the drawing node has to draw."""
        counts: dict[Part, int] = {
            "train": self.annotated,
            "val": self.validation,
            "unlabelled": self.unlabelled,
        }
        return DrawnPeople(self.look, seed, counts, self.processes)

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the drawn folder."""
        if drawn_folder is None:
            rule = "a drawn source is read from the folder that node 'draw' writes, got none"
            raise BadInput("source", rule, "Run node 'draw' first")
        unlabelled = UnlabelledPart(
            annotations=Path(BOXES_FILE),
            images=Path(images_folder("unlabelled")),
            truth=Path(TRUTH_FILE),
        )
        return CocoSource(
            root=drawn_folder,
            train=_drawn_part("train"),
            validation=_drawn_part("val"),
            unlabelled=unlabelled,
        ).read()


class LspetSource(Settings):
    """LSP-extended: ``joints.mat`` and ``images/`` in ``root``. It has no validation part."""

    kind: Literal["lspet"] = "lspet"
    root: Path

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the folder."""
        people, skeleton = read_lspet(self.root)
        return Source(skeleton, people)


class SourceConfig(RootModel[Annotated[DrawnSource | CocoSource | LspetSource,
                                       Field(discriminator="kind")]]):  # fmt: skip
    """One of the sources, chosen by ``kind``."""


def _drawn_part(part: Part) -> CocoPart:
    return CocoPart(annotations=Path(keypoints_file(part)), images=Path(images_folder(part)))


def _labels_of(people: Instances, labels: Instances, file: Path) -> Instances:
    """The people with the labels of equal id, visibility 0 where there are none."""
    row_of = {int(label_id): row for row, label_id in enumerate(labels.ids)}
    rows = np.array([row_of.get(int(person), -1) for person in people.ids])
    known = rows >= 0
    if not known.any():
        rule = "the truth must have annotation ids of the unlabelled file, and has none of them"
        raise BadInput(file, rule, "Name the file that belongs to the unlabelled people")
    truth = people.without_labels()
    columns = {"keypoints": truth.keypoints, "visibility": truth.visibility,
               "areas": truth.areas.copy()}  # fmt: skip
    for name, column in columns.items():
        column[known] = getattr(labels, name)[rows[known]]
    return replace(truth, **columns)


def _source(
    skeleton: Skeleton,
    annotated: Instances,
    validation: Instances | None,
    unlabelled: Instances | None,
    truth: Instances | None,
) -> Source:
    """A source whose ids are unique: a later part whose ids are taken is numbered on."""
    if validation is not None:
        _refuse_shared_images(validation, annotated, "training")
        if unlabelled is not None:
            _refuse_shared_images(validation, unlabelled, "unlabelled")
        validation = _renumbered(validation, [annotated])
    if unlabelled is not None:
        taken = [part for part in (annotated, validation) if part is not None]
        unlabelled = _renumbered(unlabelled, taken)
        if truth is not None:
            truth = replace(truth, ids=unlabelled.ids, image_ids=unlabelled.image_ids)
    return Source(skeleton, annotated, validation, unlabelled, truth)


def _renumbered(part: Instances, taken: list[Instances]) -> Instances:
    ids, image_ids = part.ids, part.image_ids
    used = np.concatenate([other.ids for other in taken])
    if np.isin(ids, used).any():
        ids = ids - ids.min() + used.max() + 1
    path_of = {i: p for other in taken for i, p in zip(other.image_ids, other.paths, strict=True)}
    if any(path_of.get(i, path) != path for i, path in zip(image_ids, part.paths, strict=True)):
        image_ids = image_ids - image_ids.min() + max(path_of) + 1
    return replace(part, ids=ids, image_ids=image_ids)


def _refuse_shared_images(validation: Instances, other: Instances, name: str) -> None:
    shared = sorted(set(validation.paths) & set(other.paths))
    if shared:
        rule = f"a validation image must not be a {name} image, and {len(shared)} are"
        raise BadInput(shared[0], rule, "Correct the files of the source in the parameters")
