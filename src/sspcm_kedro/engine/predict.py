"""People through a network, back to keypoints in image pixels."""

import numpy as np
import torch
from torch import Tensor, nn

from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.loader import plain_view
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.engine.determinism import naming_the_operation
from sspcm_kedro.pose.geometry import crop_matrix, invert, move_points
from sspcm_kedro.pose.heatmap import Refinement, decode_heatmaps, flip_back
from sspcm_kedro.pose.skeleton import Skeleton


@torch.no_grad()
@naming_the_operation()
def predict(
    net: nn.Module,
    crops: Crops,
    skeleton: Skeleton,
    *,
    flip_test: bool,
    refinement: Refinement,
    device: torch.device,
    blur: int = 11,
    batch: int = 128,
    title: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Keypoints (n, k, 2) in canonical input pixels and scores (n, k), of the unrotated crops.

    Args:
        net: the network, on ``device``; evaluated in eval mode and left in the mode it was in.
        crops: the people (n).
        skeleton: for the flip order.
        flip_test: average with the mirrored view.
        refinement: of the decoder.
        device: where to compute.
        blur: kernel size of refinement ``dark``; the others do not read it.
        batch: people at once.
        title: of the progress bar; without it there is none.
    """
    training = net.training
    net.eval()
    keypoints, scores = [], []
    parts = torch.arange(len(crops)).split(batch)
    for rows in show_progress(parts, len(parts), title) if title else parts:
        images = plain_view(crops, rows, device)
        xy, score = locate(
            net, images, skeleton, flip_test=flip_test, refinement=refinement, blur=blur
        )
        keypoints.append(xy.cpu())
        scores.append(score.cpu())
    net.train(training)
    return torch.cat(keypoints), torch.cat(scores)


@torch.no_grad()
def locate(
    net: nn.Module, images: Tensor, skeleton: Skeleton, *, flip_test: bool,
    refinement: Refinement, blur: int = 11,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Keypoints (b, k, 2) in pixels of the images (b, 3, H, W), normalised, and scores (b, k).

    The network is in eval mode, and on the images' device.
    """
    heatmaps = net(images)
    if flip_test:
        heatmaps = (heatmaps + flip_back(net(images.flip(3)), skeleton.flip_order)) / 2
    stride = images.shape[2] // heatmaps.shape[2]
    return decode_heatmaps(heatmaps.float(), stride=stride, refinement=refinement, blur=blur)


def to_image(keypoints: Tensor, people: Instances, input_hw: tuple[int, int]) -> np.ndarray:
    """Keypoints (n, k, 2) of people's canonical input pixels, in image pixels."""
    matrix = torch.from_numpy(crop_matrix(people.boxes, input_hw))
    return move_points(keypoints.double(), invert(matrix)).float().numpy()
