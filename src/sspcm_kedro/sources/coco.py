"""COCO files as a source: COCO 2017 in all its parts, and any data of that form."""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.video import SUFFIXES
from sspcm_kedro.downloads.published import Archive, ByHand, Part, PublishedSet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import COCO, Skeleton
from sspcm_kedro.sources.base import BaseSource, assemble, copy_labels
from sspcm_kedro.sources.coco_checks import need_lists
from sspcm_kedro.sources.coco_format import parse_ignored, read_coco, read_coco_json
from sspcm_kedro.sources.coco_parts import (
    CocoPart,
    DetectedPart,
    UnlabeledFolderOrPart,
    UnlabeledPart,
)
from sspcm_kedro.sources.coco_records import find_listed
from sspcm_kedro.sources.labeled import frame_boxes, shares_of_images, to_instances
from sspcm_kedro.sources.project import frame_images, further_images, videos_in
from sspcm_kedro.sources.video_frames import VideoFrames

logger = logging.getLogger(__name__)


def _images(name: str, size: int, checksum: str) -> Archive:
    url = f"http://images.cocodataset.org/zips/{name}.zip"
    return Archive(url, ((f"{name}/*.jpg", f"images/{name}/"),), size, checksum)


def _lists(archive: str, size: int, checksum: str, *names: str) -> Archive:
    url = f"http://images.cocodataset.org/annotations/{archive}.zip"
    files = [f"annotations/{name}.json" for name in names]
    return Archive(url, tuple((file, file) for file in files), size, checksum, growth=8)


def _keys(key: str, annotations: str, images: str, detections: str | None = None) -> dict[str, Any]:
    """What a part sets in ``source``."""
    paths = {"annotations": f"annotations/{annotations}.json", "images": f"images/{images}"}
    return {key: {**paths, "detections": detections} if detections else paths}


_FOUND = "person_detection_results/"
_FOUND_UNLABELED = "COCO_unlabeled2017_detections_person_faster_rcnn.json"
_FOUND_TEST = "COCO_test-dev2017_detections_AP_H_609_person.json"

COCO_2017 = PublishedSet(
    "coco",
    usual=("annotations", "train2017", "val2017"),
    parts={
        "annotations": Part((_lists(
            "annotations_trainval2017", 252907541,
            "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            "person_keypoints_train2017", "person_keypoints_val2017"),)),
        "train2017": Part(
            (_images("train2017", 19336861798,
                     "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),),
            source=_keys("train", "person_keypoints_train2017", "train2017")),
        "val2017": Part(
            (_images("val2017", 815585330,
                     "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),),
            source=_keys("validation", "person_keypoints_val2017", "val2017")),
        "unlabeled2017": Part(
            (_lists("image_info_unlabeled2017", 4902013, "md5:ede38355d5c3e5251bb7f8b68e2c068f",
                    "image_info_unlabeled2017"),
             _images("unlabeled2017", 20126613414, "md5:7ebc562819fdb32847aab79530457326")),
            (ByHand(
                _FOUND_UNLABELED,
                "the cloud folder that the README of github.com/xierc/Semi_Human_Pose links",
                f"{_FOUND}{_FOUND_UNLABELED}",
                "the results of any person detector on unlabeled2017 in the same form serve as "
                "well, but are not the published protocol"),),
            _keys("unlabeled", "image_info_unlabeled2017", "unlabeled2017",
                  f"{_FOUND}{_FOUND_UNLABELED}")),
        "test2017": Part(
            (_lists("image_info_test2017", 1144034,
                    "sha256:e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
                    "image_info_test-dev2017"),
             _images("test2017", 6646970404,
                     "sha256:c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba")),
            (ByHand(
                _FOUND_TEST,
                "https://drive.google.com/drive/folders/1fRUDNUDxe9fjqcRZ2bnF_TKMlO0nB_dk "
                "(folder of HRNet-Human-Pose-Estimation)",
                f"{_FOUND}{_FOUND_TEST}"),),
            _keys("test", "image_info_test-dev2017", "test2017", f"{_FOUND}{_FOUND_TEST}")),
    },
)  # fmt: skip
"""cocodataset.org; the usual parts are all that runs with few labels need.

Sizes and checksums are those that the lists of public projects have (TensorFlow Datasets,
pytorchcocotools); the size of image_info_unlabeled2017 is from one listing only.
"""


class CocoSource(BaseSource):
    """Any COCO keypoint JSON and its images; any skeleton in `categories`.

    COCO 2017 itself is one: ``person_keypoints_train2017.json`` and ``..._val2017.json``,
    ``image_info_unlabeled2017.json`` with the detections of its people, and
    ``image_info_test-dev2017.json`` with those of its people. Every detected box is used, however
    low its score, as published, unless ``unlabeled.min_box_score`` says which.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: an annotated part to validate on; without it, ``split`` holds some people out.
        unlabeled: further people without labels; a folder alone is of images, one person in each.
        test: people to hand in predictions for: a list of images and a detector's result list.
        sigmas: OKS sigmas, where the keypoints are not COCO's.
        flip_pairs: index pairs, from 0, where left/right in the names does not tell them.
        torso: index pair, from 0: the keypoints whose distance is PCK's unit, where they are not
            the left shoulder and the right hip.
        category: name of the category of people, or of several with the same keypoints, where the
            files have others and none is called person.
        as_published: treat boxes and labels that reach off their image as published code for COCO
            does: such a box is moved inside with its whole width.
    """

    skeleton = COCO
    published = (COCO_2017,)

    kind: Literal["coco"] = "coco"
    root: Path
    train: CocoPart
    validation: CocoPart | None = None
    unlabeled: UnlabeledFolderOrPart = None
    test: DetectedPart | None = None
    sigmas: tuple[float, ...] | None = None
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    torso: tuple[int, int] | None = None
    category: str | tuple[str, ...] = ()
    as_published: bool = False

    @property
    def _how(self) -> dict[str, Any]:
        """What reading depends on, for every file."""
        names = (self.category,) if isinstance(self.category, str) else self.category
        return {"category": names, "as_published": self.as_published}

    def read(self, made_folder: Path | None = None) -> Source:
        annotated, skeleton, ignored = self._labeled(self.train, None, self.validation is None)
        validation = None
        if self.validation:
            validation, _, ignored = self._labeled(self.validation, skeleton, True)
        unlabeled, truth = self._unlabeled(skeleton, annotated, made_folder)
        test = self._boxed(self.test, skeleton).without_labels() if self.test else None
        return assemble(skeleton, annotated, validation, unlabeled, truth, test, ignored)

    def _labeled(
        self, part: CocoPart, skeleton: Skeleton | None, evaluated: bool
    ) -> tuple[Instances, Skeleton, Instances | None]:
        """The labeled people, and whom evaluation ignores if it is to happen on them."""
        file, images = self.root / part.annotations, self.root / part.images
        coco = read_coco_json(file)
        people, skeleton = read_coco(
            file, images, coco=coco,
            skeleton=skeleton, sigmas=self.sigmas, flip_pairs=self.flip_pairs, torso=self.torso,
            **self._how,
        )  # fmt: skip
        if not people.visibility.any():
            rule = "people to train or validate on need labels, and no annotation has 'keypoints'"
            raise BadInput(file, rule, "Name the keypoint file, or use this one as unlabeled")
        if not evaluated:
            return people, skeleton, None
        return people, skeleton, parse_ignored(file, coco, images, skeleton.size, **self._how)

    def video_frames(self) -> VideoFrames:
        part = self.unlabeled
        if part is None or part.videos is None:
            return super().video_frames()
        folder = self.root / part.videos
        videos = videos_in(folder)
        if not videos:
            rule = f"must hold a video ({', '.join(sorted(SUFFIXES))}), found none"
            raise BadInput(folder, rule, "Name the folder with the videos")
        return VideoFrames(dict.fromkeys(videos, ()), part.frames)

    def _unlabeled(
        self, skeleton: Skeleton, annotated: Instances, made_folder: Path | None
    ) -> tuple[Instances | None, Instances | None]:
        """The people without labels, and the truth of them."""
        part = self.unlabeled
        if part is None:
            return None, None
        boxed = part.boxed
        if boxed is None:
            return self._whole_images(part, skeleton.size, annotated, made_folder), None
        people = self._boxed(boxed, skeleton, part.min_box_score)
        truth = people if people.visibility.any() else None
        if part.truth:
            labels, _ = read_coco(
                self.root / part.truth, self.root / boxed.images, skeleton=skeleton, **self._how
            )
            truth = copy_labels(people, labels, self.root / part.truth)
        return people.without_labels(), truth

    def _whole_images(
        self, part: UnlabeledPart, k: int, annotated: Instances, made_folder: Path | None
    ) -> Instances | None:
        if part.images is not None:
            labeled = set(map(Path, annotated.paths))
            pool = further_images(self.root / part.images, k, labeled | self.listed_images())
        elif made_folder is None:
            rule = "can be of videos where node 'choose_frames' chooses frames, not in a union"
            raise BadInput("parameter source.unlabeled", rule, "Name a folder of images")
        else:
            pool = frame_images(made_folder, k)
        share = float(np.median(shares_of_images(annotated)))
        logger.warning(
            "%d images without labels have no boxes: each was taken as one person who fills it, "
            "and labeled people fill %.0f %% of theirs (median)", len(pool), 100 * share,
        )  # fmt: skip
        return to_instances(pool, frame_boxes(pool)) if pool else None

    def listed_images(self) -> set[Path]:
        """The images of validation and test, also those of nobody: a bare folder's are none of
        them. Images of ``train`` without annotations are unlabeled: many exports list all."""
        found: set[Path] = set()
        for part in (self.validation, self.test):
            if part is not None:
                file = self.root / part.annotations
                images = read_coco_json(file, ("images",))["images"]
                found |= find_listed(file, images, self.root / part.images)
        return found

    def _boxed(
        self, part: DetectedPart, skeleton: Skeleton, min_box_score: float | None = None
    ) -> Instances:
        detections = self.root / part.detections if part.detections else None
        file, images = self.root / part.annotations, self.root / part.images
        coco = read_coco_json(file, ("images", "categories"))
        if not detections:
            if not coco.get("annotations"):
                rule = "people without labels need boxes or detections, and it has no annotations"
                remedy = "Annotate boxes, or name a detector's result list (its key 'detections')"
                raise BadInput(file, rule, remedy)
            need_lists(file, coco, ("annotations",))
        return read_coco(
            file, images, coco=coco, detections=detections, skeleton=skeleton,
            min_box_score=min_box_score, **self._how,
        )[0]  # fmt: skip
