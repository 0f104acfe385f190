"""People through a network, back to keypoints in image pixels."""

import math
from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch
from torch import Tensor, nn

from sspcm_kedro import ranks
from sspcm_kedro.augment.fixed_views import FixedViews, see_views
from sspcm_kedro.data.ahead import read_ahead
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.data.views import plain_view, weak_view
from sspcm_kedro.engine.determinism import explain_nondeterminism
from sspcm_kedro.methods.base import eval_mode
from sspcm_kedro.pose.geometry import CropFrame, crop_matrix, invert, move_points
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton

ON_CPU = 16
"""The most people that a network sees at once on a CPU: more leave its caches, and take longer."""


@torch.no_grad()
@explain_nondeterminism()
def predict(
    net: nn.Module,
    crops: Crops,
    skeleton: Skeleton,
    codec: HeatmapCodec,
    *,
    flip_test: bool,
    device: torch.device,
    batch: int = 128,
    title: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Keypoints (n, k, 2) in canonical input pixels and scores (n, k), of the unrotated crops.

    Args:
        net: the network, on ``device``; evaluated in eval mode and left in the mode it was in.
        crops: the people (n).
        skeleton: for the flip order.
        codec: reads keypoints from heatmaps.
        flip_test: average with the mirrored view.
        device: where to compute.
        batch: people at once, on a CPU at most ``ON_CPU``.
        title: of the progress bar; without it there is none.
    """

    def look(pixels: Tensor) -> tuple[Tensor, ...]:
        images = plain_view(pixels, crops.input_hw, device)
        return locate(net, images, skeleton, codec, flip_test=flip_test)

    keypoints, scores = _look_at_all(net, crops, batch, title, look, device)
    return keypoints, scores


def _look_at_all(
    net: nn.Module, crops: Crops, batch: int, title: str | None,
    look: Callable[[Tensor], tuple[Tensor, ...]], device: torch.device,
) -> list[Tensor]:  # fmt: skip
    """What ``look`` gives of the pixels of some people, of all of them, on the CPU.

    Several processes deal out the batches, which are the same for any number of them.
    """
    batch = min(batch, ON_CPU) if device.type == "cpu" else batch
    parts = torch.arange(len(crops)).split(batch)[ranks.rank() :: ranks.world()]
    reads = ([crops.read(rows, device)] for rows in parts)
    with eval_mode(net), closing(read_ahead(reads, crops.workers)) as pixels:
        found = [
            [part.cpu() for part in look(own)]
            for (own,) in (show_progress(pixels, len(parts), title) if title else pixels)
        ]
    return [torch.cat(part) for part in zip(*ranks.gather(found), strict=True)]


@torch.no_grad()
def locate(
    net: nn.Module, images: Tensor, skeleton: Skeleton, codec: HeatmapCodec, *, flip_test: bool
) -> tuple[Tensor, Tensor]:
    """Keypoints (b, k, 2) in input pixels and scores (b, k), of normalized images (b, 3, H, W).

    The network is in eval mode, and on the images' device.
    """
    heatmaps = net(images)
    if flip_test:
        heatmaps = (heatmaps + codec.unmirror(net(images.flip(3)), skeleton.flip_order)) / 2
    return codec.decode(heatmaps.float())


@torch.no_grad()
@explain_nondeterminism()
def predict_views(
    net: nn.Module,
    crops: Crops,
    skeleton: Skeleton,
    codec: HeatmapCodec,
    views: FixedViews,
    *,
    mirrored: bool,
    device: torch.device,
    batch: int = 64,
    title: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keypoints (n, k, 2) in canonical input pixels, scores (n, k) of the mean over fixed views,
    and the spread (n, k): how far from it a view's own peak lies in the mean, in input diagonals.

    Args:
        net: the network, on ``device``; evaluated in eval mode and left in the mode it was in.
        crops: the people (n).
        skeleton: for the flip order.
        codec: reads keypoints from heatmaps.
        views: how each person is shown.
        mirrored: whether mirrored views mean anything.
        device: where to compute.
        batch: people at once, on a CPU at most ``ON_CPU``.
        title: of the progress bar; without it there is none.
    """
    flip_order = skeleton.flip_order if mirrored else None

    def look(pixels: Tensor) -> tuple[Tensor, ...]:
        def see(maps: Tensor) -> Tensor:
            return net(weak_view(pixels, crops.input_hw, maps, device)).float()

        each, mean = see_views(see, len(pixels), crops.input_hw, views, codec, flip_order, device)
        xy, score = codec.decode(mean)
        peaks = codec.decode(each.flatten(0, 1))[0].unflatten(0, each.shape[:2])
        spread = (peaks - xy).norm(dim=-1).mean(dim=0) / math.hypot(*crops.input_hw)
        return xy, score, spread

    keypoints, scores, spread = _look_at_all(net, crops, batch, title, look, device)
    return keypoints, scores, spread


def to_image(keypoints: Tensor, people: Instances, frame: CropFrame) -> np.ndarray:
    """Keypoints (n, k, 2) of people's canonical input pixels, in image pixels."""
    return from_crops(keypoints, people.boxes, frame)


def from_crops(keypoints: Tensor, boxes: np.ndarray, frame: CropFrame) -> np.ndarray:
    """Keypoints (n, k, 2) of the canonical input pixels of boxes (n, 4), in image pixels."""
    matrix = torch.from_numpy(crop_matrix(boxes, frame))
    return move_points(keypoints.double(), invert(matrix)).float().numpy()
