"""LSP-extended: ``joints.mat`` and ``images/im00001.jpg``, one annotated person an image."""

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


class LspetSource(Settings):
    """LSP-extended: ``joints.mat`` and ``images/`` in ``root``. It has no validation part."""

    kind: Literal["lspet"] = "lspet"
    root: Path

    def read(self, drawn_folder: Path | None = None) -> Source:
        """The people of the folder."""
        people, skeleton = read_lspet(self.root)
        return Source(skeleton, people)


def read_lspet(root: Path) -> tuple[Instances, Skeleton]:
    """The people of an LSP-extended folder, in index order.

    Image i belongs to column i - 1 of ``joints.mat``, of shape (14, 3, n); a folder with only some
    of the images is a subset and is read as such. The third number of a keypoint says annotated (1)
    or not (0), and only that counts: unannotated keypoints have arbitrary coordinates. People
    without any annotated keypoint are left out. Coordinates are used as they are; whether they
    count from 1 is not documented.
    """
    need_folder(root)
    file = root / "joints.mat"
    other = "the original LSP has another layout, (3, 14, n), and is of kind lsp"
    joints = read_joints(file, (LSP.size, 3), "LSP-extended", "annotated", other)
    joints = joints.transpose(2, 0, 1)
    numbers, paths = numbered_images(root / "images", len(joints), "LSP-extended")
    annotated = joints[numbers - 1, :, 2] > 0
    kept = annotated.any(axis=1)
    if not kept.any():
        rule = "at least one image must have an annotated keypoint"
        raise BadInput(file, rule, "Use the joints.mat that belongs to the images")
    numbers, paths, annotated = numbers[kept], paths[kept], annotated[kept]
    points = np.where(annotated[..., None], joints[numbers - 1, :, :2], 0)
    image_hw = stored_sizes([Path(path) for path in paths])
    boxes = boxes_of_joints(file, numbers, points, annotated, image_hw)
    instances = Instances(
        ids=numbers,
        image_ids=numbers,
        paths=paths,
        image_hw=image_hw,
        boxes=boxes.astype(np.float32),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).astype(np.float32),
        box_scores=np.ones(len(numbers), np.float32),
        keypoints=points.astype(np.float32),
        visibility=np.where(annotated, 2, 0).astype(np.int64),
    )
    return instances, LSP
