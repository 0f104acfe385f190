"""COCO files as a source: COCO 2017 in all its parts, and any data of that form."""

from pathlib import Path
from typing import Literal

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import assemble, labels_of
from sspcm_kedro.sources.coco_format import coco_people, ignored_people, read_coco


class CocoPart(Settings):
    """Annotations and their images, both relative to the source's root."""

    annotations: Path
    images: Path


class DetectedPart(CocoPart):
    """People in boxes.

    Attributes:
        annotations: their boxes; with ``detections`` only the list of images.
        detections: their boxes as a detector's result list.
    """

    detections: Path | None = None


class UnlabeledPart(DetectedPart):
    """People without labels; labels in ``annotations`` are erased, and kept as the hidden truth.

    Attributes:
        truth: their labels in a file of its own, with the same annotation ids.
    """

    truth: Path | None = None


class CocoSource(Settings):
    """A folder of COCO files with any skeleton.

    COCO 2017 itself is one: ``person_keypoints_train2017.json`` and ``..._val2017.json``,
    ``image_info_unlabeled2017.json`` with the detections of its people, and
    ``image_info_test-dev2017.json`` with those of its people. Every detected box is used, however
    low its score, as published.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: an annotated part to validate on; without it, ``split`` holds some people out.
        unlabeled: further people without labels.
        test: people to hand in predictions for: a list of images and a detector's result list.
        sigmas: OKS sigmas, where the keypoints are not COCO's.
        flip_pairs: index pairs, from 0, where left/right in the names does not tell them.
    """

    kind: Literal["coco"] = "coco"
    root: Path
    train: CocoPart
    validation: CocoPart | None = None
    unlabeled: UnlabeledPart | None = None
    test: DetectedPart | None = None
    sigmas: tuple[float, ...] | None = None
    flip_pairs: tuple[tuple[int, int], ...] | None = None

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the folder."""
        annotated, skeleton, ignored = self._labeled(self.train, None, self.validation is None)
        validation = None
        if self.validation:
            validation, _, ignored = self._labeled(self.validation, skeleton, True)
        unlabeled, truth = self._unlabeled(skeleton)
        test = self._boxed(self.test, skeleton).without_labels() if self.test else None
        return assemble(skeleton, annotated, validation, unlabeled, truth, test, ignored)

    def _labeled(
        self, part: CocoPart, skeleton: Skeleton | None, evaluated: bool
    ) -> tuple[Instances, Skeleton, Instances | None]:
        """The labeled people, and whom evaluation ignores if it is to happen on them."""
        file, images = self.root / part.annotations, self.root / part.images
        content = checks.read_coco_json(file, ("images", "categories", "annotations"))
        people, skeleton = coco_people(
            file, content, images,
            skeleton=skeleton, sigmas=self.sigmas, flip_pairs=self.flip_pairs,
        )  # fmt: skip
        if not people.visibility.any():
            rule = "people to train or validate on need labels, and no annotation has 'keypoints'"
            raise BadInput(file, rule, "Name the keypoint file, or use this one as unlabeled")
        ignored = ignored_people(file, content, images, skeleton.size) if evaluated else None
        return people, skeleton, ignored

    def _unlabeled(self, skeleton: Skeleton) -> tuple[Instances | None, Instances | None]:
        part = self.unlabeled
        if part is None:
            return None, None
        people = self._boxed(part, skeleton)
        truth = people if people.visibility.any() else None
        if part.truth:
            labels, _ = read_coco(
                self.root / part.truth, self.root / part.images, skeleton=skeleton
            )
            truth = labels_of(people, labels, self.root / part.truth)
        return people.without_labels(), truth

    def _boxed(self, part: DetectedPart, skeleton: Skeleton) -> Instances:
        detections = self.root / part.detections if part.detections else None
        file, images = self.root / part.annotations, self.root / part.images
        return read_coco(file, images, detections=detections, skeleton=skeleton)[0]
