"""People in their images with keypoints on them, for the eye."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.figures.sheets import overlay_sheet
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pose.geometry import crop_matrix, move_points
from sspcm_kedro.pose.skeleton import Skeleton

TALL = 256
"""Height of a person's tile in pixels."""

TITLE = 28
"""Characters that fit over a tile."""


def draw_overlays(
    people: Instances,
    keypoints: np.ndarray,
    titles: Sequence[str],
    skeleton: Skeleton,
    input_hw: tuple[int, int],
    machine: MachineConfig,
    *,
    kept: np.ndarray | None = None,
) -> Figure:
    """A sheet of people (n), cut as networks see them but sharper.

    Args:
        people: the people (n).
        keypoints: (n, k, 2) image pixels.
        titles: n lines; long ones lose their middle.
        skeleton: the k keypoints.
        input_hw: whose aspect the tiles have.
        machine: that reads the pixels.
        kept: (n, k) bool; tells keypoints apart by it instead of by side.
    """
    tile_hw = (TALL, round(TALL * input_hw[1] / input_hw[0]))
    crops = Crops(people, tile_hw, border=0, workers=machine.workers)[torch.arange(len(people))]
    matrix = torch.from_numpy(crop_matrix(people.boxes, tile_hw))
    points = move_points(torch.from_numpy(keypoints).double(), matrix).numpy()
    short = [t if len(t) <= TITLE else f"{t[:9]}…{t[10 - TITLE :]}" for t in titles]
    return overlay_sheet(
        crops.numpy(), points, skeleton.limbs, short, names=skeleton.names, kept=kept
    )
