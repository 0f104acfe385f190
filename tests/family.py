"""What the tests of methods share: small lively networks, made-up people, and slow losses."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import Method
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec

H, W, K, B = 64, 48, 3, 4
STRIDE = 4
CODEC = HeatmapCodec(STRIDE, sigma=1.0, sub_cell=True, refinement="none")
STILL = {"scale": 0, "rotation": 0, "rotation_probability": 0, "flip_probability": 0}
"""Settings of a strong view that is the weak one."""
UNCUT = {"patches": 0}
FLIP_ORDER = (1, 0, 2)


def rand(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def lively_net(seed: int) -> nn.Module:
    """A small network whose heatmaps have peaks of about 0.1 to 1."""
    torch.manual_seed(seed)
    net = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16}).build(K)
    net.head[-1].weight.data *= 60
    return net


def build(kind: str, make_net: Any = lively_net, *, decay: float | None = None, **more: Any):
    method = MethodConfig.model_validate({"kind": kind, **more}).build(make_net, CODEC)
    if decay is not None:
        method.keep_averages(decay)
    return method.train()


def make_batch(*, flip_order: tuple[int, ...] | None = FLIP_ORDER) -> Batch:
    """Four people; nobody teaches the second keypoint of the unlabeled ones."""
    maps = rand(2, B, K, H // STRIDE, W // STRIDE)
    weights = torch.tensor([[1.0, 0, 1]]).expand(B, K)
    return Batch(
        Labeled(rand(1, B, 3, H, W), maps, (rand(6, B, K) > 0.3).float()),
        Unlabeled(rand(3, B, 3, H, W), weights, flip_order=flip_order),
    )


def step(method: Method, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
    return method.training_step(batch, torch.Generator().manual_seed(seed))


def slow_mse(predicted: Tensor, target: Tensor, weights: Tensor) -> float:
    """Half the mean over people, keypoints and cells of (w (P - T))^2, added up one by one."""
    total, count = 0.0, 0
    for n in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            pairs = zip(predicted[n, j].flatten().tolist(), target[n, j].flatten().tolist(),
                        strict=True)  # fmt: skip
            for p, t in pairs:
                total += (float(weights[n, j]) * (p - t)) ** 2
                count += 1
    return 0.5 * total / count


def peak(plane: Tensor) -> tuple[int, int]:
    """The highest cell (x, y), found by looking at each."""
    best, place = -math.inf, (0, 0)
    for y, row in enumerate(plane.tolist()):
        for x, value in enumerate(row):
            if value > best:
                best, place = value, (x, y)
    return place


def gaussian(x: float, y: float, *, sigma: float = 1.0) -> Tensor:
    """Cells of a Gaussian of height 1 about (x, y), in cells, on the square of 3 sigma."""
    plane = torch.zeros(H // STRIDE, W // STRIDE)
    for row in range(H // STRIDE):
        for column in range(W // STRIDE):
            if abs(column - x) <= 3 * sigma and abs(row - y) <= 3 * sigma:
                square = (column - x) ** 2 + (row - y) ** 2
                plane[row, column] = math.exp(-square / (2 * sigma**2))
    return plane


def in_training(net: nn.Module, images: Tensor) -> Tensor:
    """What a copy of the network gives, by the batch's own statistics."""
    with torch.no_grad():
        return copy.deepcopy(net).train()(images)


def in_evaluation(net: nn.Module, images: Tensor) -> Tensor:
    """What a copy of the network gives, by the statistics that it recorded."""
    with torch.no_grad():
        return copy.deepcopy(net).eval()(images)
