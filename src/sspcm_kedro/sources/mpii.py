"""MPII as a source: the JSON files of HRNet and its relatives, or the original mat."""

from pathlib import Path
from typing import Literal

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.downloads.published import Archive, Part, PublishedSet
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import MPII
from sspcm_kedro.sources import checks
from sspcm_kedro.sources.base import BaseSource, assemble
from sspcm_kedro.sources.mpii_json import read_mpii
from sspcm_kedro.sources.mpii_mat import read_mpii_mat, read_mpii_test

_OWNERS = "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr"
_IMAGES = Part((Archive(f"{_OWNERS}/mpii_human_pose_v1.tar.gz", (("images/*.jpg", "images/"),)),))
_JSON = Archive(
    "https://download.openmmlab.com/mmpose/datasets/mpii_annotations.tar",
    (("mpii_train.json", "annot/train.json"), ("mpii_val.json", "annot/valid.json"),
     ("mpii_test.json", "annot/test.json"), ("mpii_gt_val.mat", "annot/gt_valid.mat")),
)  # fmt: skip
_MAT = "mpii_human_pose_v1_u12_1.mat"
_MAT_ARCHIVE = Archive(f"{_OWNERS}/mpii_human_pose_v1_u12_2.zip", ((_MAT, _MAT),), growth=8)


class MpiiSource(BaseSource):
    """MPII as the JSON of HRNet and its relatives.

    Attributes:
        root: the folder that all other paths are relative to.
        train: the annotated part.
        validation: the part to validate on, if any.
        head_boxes: the head boxes of ``validation``, which PCKh needs, row by row.
        test: people to hand in predictions for: the original mat, which alone knows the places
            that MPII's server looks for them, or a JSON file without keypoints.
        images: the folder of all images.
    """

    skeleton = MPII
    published = (PublishedSet("mpii", {"annotations": Part((_JSON,)), "images": _IMAGES}),)

    kind: Literal["mpii"] = "mpii"
    root: Path
    train: Path = Path("annot/train.json")
    validation: Path | None = Path("annot/valid.json")
    head_boxes: Path | None = Path("annot/gt_valid.mat")
    test: Path | None = None
    images: Path = Path("images")

    def read(self, made_folder: Path | None = None) -> Source:
        images = self.root / self.images
        train, _ = read_mpii(self.root / self.train, images)
        validation = test = None
        if self.validation:
            heads = self.root / self.head_boxes if self.head_boxes else None
            validation, _ = read_mpii(self.root / self.validation, images, head_boxes=heads)
        if self.test and self.test.suffix == ".mat":
            test = read_mpii_test(self.root / self.test, images)
        elif self.test:
            test, _ = read_mpii(self.root / self.test, images, labeled=False)
        return assemble(MPII, train, validation, test=test)


class MpiiMatSource(BaseSource):
    """MPII's original mat.

    Attributes:
        root: the folder that all other paths are relative to.
        annotations: the mat.
        images: the folder of all images.
        validation_images: a text file with one image name a line; people of these images are the
            validation part. The mat itself knows no such part: it was defined with the hourglass
            network, as a list of images.
        test: whether to read the test people too.
    """

    skeleton = MPII
    published = (PublishedSet(
        "mpii_mat", {"annotations": Part((_MAT_ARCHIVE,)), "images": _IMAGES}, folder="mpii"
    ),)  # fmt: skip

    kind: Literal["mpii_mat"] = "mpii_mat"
    root: Path
    annotations: Path = Path(_MAT)
    images: Path = Path("images")
    validation_images: Path | None = None
    test: bool = False

    def read(self, made_folder: Path | None = None) -> Source:
        file, images = self.root / self.annotations, self.root / self.images
        people, test = read_mpii_mat(file, images, test=self.test)
        validation = None
        if self.validation_images:
            listed = self.root / self.validation_images
            held_out = _on_listed_images(people, listed)
            people, validation = people.take(~held_out), people.take(held_out)
            if not len(people):
                rule = "some annotated image must remain to train on, and all are listed"
                raise BadInput(listed, rule, "List the validation images only")
        return assemble(MPII, people, validation, test=test)


def _on_listed_images(people: Instances, file: Path) -> np.ndarray:
    """(n) which people are on an image that the text file lists."""
    checks.need_file(file)
    try:
        names = {line.strip() for line in file.read_text().splitlines() if line.strip()}
    except UnicodeDecodeError as error:
        raise BadInput(file, f"must be text, but {error}", "List one image name a line") from error
    held_out = np.array([Path(path).name in names for path in people.paths])
    if not held_out.any():
        rule = "at least one listed image must have annotated people, and none has"
        raise BadInput(file, rule, "List image names as they are in the mat, e.g. 015601864.jpg")
    return held_out
