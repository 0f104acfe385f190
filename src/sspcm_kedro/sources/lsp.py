"""The original LSP: ``joints.mat`` and ``images/im0001.jpg``, one annotated person an image."""

from pathlib import Path
from typing import Literal

import numpy as np

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.skeleton import LSP, Skeleton
from sspcm_kedro.sources.checks import need_folder, stored_sizes
from sspcm_kedro.sources.joints_mat import boxes_of_joints, numbered_images, read_joints

TRAINING_IMAGES = 1000
"""The first 1000 images are the published training set, the others the test set."""


class LspSource(Settings):
    """LSP: ``joints.mat`` and ``images/`` in ``root``; images from 1001 on are the validation."""

    kind: Literal["lsp"] = "lsp"
    root: Path

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the folder."""
        people, skeleton = read_lsp(self.root)
        first = people.ids <= TRAINING_IMAGES
        if not first.any():
            rule = f"at least one of the training images (1 to {TRAINING_IMAGES}) must be there"
            raise BadInput(self.root / "images", rule, "Unpack them too")
        rest = people.take(~first) if (~first).any() else None
        return Source(skeleton, people.take(first), rest)


def read_lsp(root: Path) -> tuple[Instances, Skeleton]:
    """The people of an LSP folder, in index order.

    Image i belongs to column i - 1 of ``joints.mat``, of shape (3, 14, n). The third number of a
    keypoint is taken for "occluded" (1: visibility 1, 0: visibility 2) and every keypoint for
    annotated. That is how public pose code reads it; the set's own documents were not at hand.
    Coordinates are used as they are; whether they count from 1 is not documented either.
    """
    need_folder(root)
    file = root / "joints.mat"
    other = "LSP-extended has another layout, (14, 3, n), and is of kind lspet"
    joints = read_joints(file, (3, LSP.size), "the original LSP", "occluded", other)
    joints = joints.transpose(2, 1, 0)
    numbers, paths = numbered_images(root / "images", len(joints), "LSP")
    points = joints[numbers - 1, :, :2]
    occluded = joints[numbers - 1, :, 2] > 0
    image_hw = stored_sizes([Path(path) for path in paths])
    every = np.ones(occluded.shape, bool)
    boxes = boxes_of_joints(file, numbers, points, every, image_hw)
    instances = Instances(
        ids=numbers,
        image_ids=numbers,
        paths=paths,
        image_hw=image_hw,
        boxes=boxes.astype(np.float32),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).astype(np.float32),
        box_scores=np.ones(len(numbers), np.float32),
        keypoints=points.astype(np.float32),
        visibility=np.where(occluded, 1, 2).astype(np.int64),
    )
    return instances, LSP
