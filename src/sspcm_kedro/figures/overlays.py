"""People of any images with keypoints on them, cut as networks see them but sharper."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from sspcm_kedro.figures.sheets import overlay_sheet
from sspcm_kedro.pose.geometry import CropFrame, crop_matrix, move_points
from sspcm_kedro.pose.skeleton import Skeleton

TILE_HEIGHT = 256
"""Of a person's tile, in pixels."""

TITLE_LENGTH = 28
"""Characters that fit over a tile."""


def tile_frame(frame: CropFrame) -> CropFrame:
    """A tile that shows what the network sees of a person, at a tile's size in pixels."""
    return frame.with_height(TILE_HEIGHT)


def draw_overlays(
    crops: np.ndarray,
    boxes: np.ndarray,
    frame: CropFrame,
    keypoints: np.ndarray,
    titles: Sequence[str],
    skeleton: Skeleton,
    *,
    kept: np.ndarray | None = None,
) -> Figure:
    """A sheet of people (n) with their keypoints.

    Args:
        crops: (n, 3, H, W) uint8, without a border.
        boxes: (n, 4) what they were cut by, image pixels.
        frame: how they were cut, a ``tile_frame``.
        keypoints: (n, k, 2) image pixels.
        titles: n lines; long ones lose their middle.
        skeleton: the k keypoints.
        kept: (n, k) bool; tells keypoints apart by it instead of by side.
    """
    matrix = torch.from_numpy(crop_matrix(boxes, frame))
    points = move_points(torch.from_numpy(keypoints).double(), matrix).numpy()
    short = [t if len(t) <= TITLE_LENGTH else f"{t[:9]}…{t[10 - TITLE_LENGTH :]}" for t in titles]
    pairs = skeleton.flip_pairs
    return overlay_sheet(crops, points, skeleton.limbs, short, flip_pairs=pairs, kept=kept)
