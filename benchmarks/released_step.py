"""How fast a training step of `sspcm` is on a CPU, beside the published code's.

    python benchmarks/released_step.py [--people 32] [--hw 64 48] [--width 16] [--repeat 15]

The published step is re-created here from a description of it, not copied, and measured in turns
with this project's on the same networks: CPU time and wall time, and their ratios turn by turn.

What it re-creates: ten forward passes (teachers and their frozen copies on the weak view without
gradient, all three networks on labeled people and on their strong views with it), all in train mode
and in torch's own memory layout; the pair chosen by NumPy's argmax and copied keypoint by keypoint;
Cut-Occlude in a loop over images and patches that reads single numbers off tensors; the affine maps
drawn one by one; a loss that loops over keypoints; the loss and an accuracy read each step; torch's
default Adam. Where the description leaves a choice, the faster form is taken.

What neither side does here: decode images. The published side is given ready batches always, this
project makes its own out of crops in memory (weak views, targets, stored labels) in one of its two
rows. What is done once an epoch or once a round (copies of the teachers there, stored predictions
here) is in neither.
"""

import argparse
import copy
import math
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from step import NoiseCrops, noise_labels, take_turns
from torch import Tensor, nn
from torch.nn import functional

from sspcm_kedro.augment.affine import AffineConfig
from sspcm_kedro.batch import Batch
from sspcm_kedro.data.loader import Batches, InstancePool
from sspcm_kedro.engine.compiled import learning_step
from sspcm_kedro.engine.learner import network_maker
from sspcm_kedro.engine.optimizer import adam
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import MakeNet
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import COCO

PEOPLE = 256
"""Of each kind, that batches are drawn from."""
STRIDE = 4
"""Input pixels a heatmap cell."""
HALF_SIDES, JITTER, PATCHES = (10, 20), 10, 2
"""Of Cut-Occlude: half sides of a patch (the second is excluded) and standard deviation of its
center, in input pixels whatever the input's size; patches an image."""


class ReleasedStep:
    """The published training step of SSPCM, from a batch in memory to updated weights.

    Args:
        make_net: builds teacher A (0), teacher B (1) and the student (2).
        seed: of what the step draws.
    """

    def __init__(self, make_net: MakeNet, seed: int = 0) -> None:
        self.networks = nn.ModuleList([make_net(i) for i in range(3)]).train()
        self.copies = copy.deepcopy(self.networks[:2]).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=1e-3)
        self.rng, self.numbers = torch.Generator().manual_seed(seed), np.random.default_rng(seed)

    def __call__(self, batch: Batch) -> tuple[float, float]:
        """The loss, and the share of labeled keypoints that the student has about right.

        Args:
            batch: labeled and unlabeled people; what a round stored is not read.
        """
        labeled, unlabeled = batch.labeled, batch.unlabeled
        assert unlabeled is not None
        outputs = [net(labeled.images) for net in self.networks]
        losses = [loop_mse(output, labeled.heatmaps, labeled.weights) for output in outputs]
        supervised = (losses[0] + losses[1] + losses[2]) / 2

        with torch.no_grad():
            a, b = (net(unlabeled.images) for net in self.networks[:2])
            a_earlier, b_earlier = (net(unlabeled.images) for net in self.copies)
            corrected, peaks = loop_correct((a, a_earlier), (b, b_earlier))
            targets, seen = (b, a, corrected), (peaks[1], peaks[0], highest(corrected))
            hard = [self.cut_occlude(unlabeled.images, STRIDE * at) for at in seen]
            theta = self.draw_affine(len(a))
            grid = functional.affine_grid(theta, list(hard[0].shape), align_corners=False)
            hard = [sample(images, grid) for images in hard]
            grid = functional.affine_grid(theta, list(a.shape), align_corners=False)
            targets = [sample(heatmaps, grid) for heatmaps in targets]
            score = (a.amax(dim=(2, 3)) + b.amax(dim=(2, 3))) / 2
            weights = unlabeled.weights * (score > 0.1)

        consistency = [
            loop_mse(net(images), target, weights)
            for net, images, target in zip(self.networks, hard, targets, strict=True)
        ]
        loss = supervised + consistency[0] + consistency[1] + consistency[2]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item(), accuracy(outputs[2], labeled.heatmaps)

    def cut_occlude(self, images: Tensor, peaks: np.ndarray) -> Tensor:
        """Images with patches of others pasted at some of their keypoints.

        As published: x is taken for the row and y for the column, all channels are drawn from, and
        a patch whose donor lies outside its image is blank.

        Args:
            images: (b, 3, H, W); they stay as they are.
            peaks: (b, k, 2) as (x, y), in input pixels.
        """
        people, keypoints = peaks.shape[:2]
        height, width = images.shape[2:]
        noise = JITTER * torch.randn(peaks.shape, generator=self.rng)
        centers = (torch.from_numpy(peaks) + noise).trunc().long()
        halves = torch.randint(*HALF_SIDES, peaks.shape, generator=self.rng)
        occluded = images.clone()
        for person in range(people):
            donor = int(self.numbers.integers(people))
            drawn = self.numbers.integers(keypoints, size=(PATCHES, 2))
            for own, other in drawn.tolist():
                row, column = centers[donor, other]
                tall, wide = halves[donor, other]
                top, bottom = inside(row - tall, height), inside(row + tall, height)
                left, right = inside(column - wide, width), inside(column + wide, width)
                y, x = centers[person, own]
                first = inside(y - abs(top - row), height)
                last = inside(y + abs(bottom - row), height)
                start = inside(x - abs(left - column), width)
                end = inside(x + abs(right - column), width)
                if first >= last or start >= end:
                    continue
                window = occluded[person, :, first:last, start:end]
                patch = images[donor, :, top:bottom, left:right]
                if window.shape == patch.shape:
                    window.copy_(patch)
                else:
                    window.zero_()
        return occluded

    def draw_affine(self, people: int) -> Tensor:
        """Maps (people, 2, 3) from output to input, both from -1 to 1, one after the other."""
        theta = np.zeros((people, 2, 3), np.float32)
        for i in range(people):
            scale = np.clip(1 + 0.25 * self.numbers.standard_normal(), 0.75, 1.25)
            angle = np.clip(30 * self.numbers.standard_normal(), -60, 60)
            angle = math.radians(angle) if self.numbers.random() < 0.8 else 0.0
            cos, sin = scale * math.cos(angle), scale * math.sin(angle)
            theta[i, :, :2] = [[cos, sin], [-sin, cos]]
        return torch.from_numpy(theta)


def inside(edge: Tensor, size: int) -> Tensor | int:
    """An edge, at most at the last row or column."""
    return max(0, min(edge, size - 1))


def sample(images: Tensor, grid: Tensor) -> Tensor:
    """Images at the points of a grid, bilinear; zeros outside."""
    return functional.grid_sample(images, grid, align_corners=False)


def highest(heatmaps: Tensor) -> np.ndarray:
    """Highest cells (b, k, 2) of heatmaps (b, k, h, w), as (x, y)."""
    flat = heatmaps.detach().flatten(2).numpy()
    index, width = np.argmax(flat, axis=2), heatmaps.shape[3]
    return np.stack([index % width, index // width], axis=2)


def loop_correct(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> tuple[Tensor, list[np.ndarray]]:
    """Means (b, k, h, w) of the two heatmaps that agree best; peaks (x, y) of both teachers now.

    Args:
        first: heatmaps of teacher A, now and earlier.
        second: of teacher B.
    """
    a, b = [highest(maps) for maps in first], [highest(maps) for maps in second]
    orders = [(0, 0), (1, 0), (0, 1), (1, 1)]
    distances = [np.linalg.norm(a[i] - b[j], axis=2) for i, j in orders]
    best = np.argmin(np.stack(distances) / math.hypot(*first[0].shape[2:]), axis=0)
    means = [(first[i] + second[j]) / 2 for i, j in orders]
    corrected = torch.empty_like(first[0])
    for person in range(best.shape[0]):
        for keypoint in range(best.shape[1]):
            corrected[person, keypoint] = means[best[person, keypoint]][person, keypoint]
    return corrected, [a[0], b[0]]


def loop_mse(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Half the mean of (w (P - T))^2, a scalar, keypoint by keypoint."""
    keypoints = predicted.shape[1]
    predicted, target = predicted.flatten(2), target.flatten(2)
    loss = predicted.new_zeros(())
    for keypoint in range(keypoints):
        weight = weights[:, keypoint, None]
        ours, theirs = predicted[:, keypoint] * weight, target[:, keypoint] * weight
        loss = loss + 0.5 * functional.mse_loss(ours, theirs)
    return loss / keypoints


def accuracy(predicted: Tensor, target: Tensor) -> float:
    """Share of the keypoints with a target whose highest cell is within a twentieth of the map."""
    height, width = target.shape[2:]
    offset = (highest(predicted) - highest(target)) / np.array([width / 10, height / 10])
    known = target.flatten(2).amax(dim=2).numpy() > 0
    return float((np.linalg.norm(offset, axis=2)[known] < 0.5).mean()) if known.any() else 0.0


def clocks() -> np.ndarray:
    """CPU seconds of all threads, and seconds."""
    return np.array([time.process_time(), time.perf_counter()])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=32, help="of each kind in a batch")
    parser.add_argument("--hw", type=int, nargs=2, default=[64, 48], help="of the input, pixels")
    parser.add_argument("--width", type=int, default=16, help="of a small_baseline")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    network = NetworkConfig.model_validate({"kind": "small_baseline", "width": options.width})
    make_net, hw = network_maker(network, COCO.size, 0), (options.hw[0], options.hw[1])
    method = MethodConfig.model_validate({"kind": "sspcm"}).build(make_net, HeatmapCodec(sigma=1.0))
    method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer, rng = adam(method, 1e-3), torch.Generator().manual_seed(0)
    pool = InstancePool.from_crops(NoiseCrops(PEOPLE, hw, 12))
    weak = AffineConfig(rotation_probability=0.6, flip_probability=0.5).build()
    batches = Batches(
        pool, pool, noise_labels(PEOPLE, hw), COCO, HeatmapCodec(sigma=1.0), weak,
        (options.people, options.people), options.repeat + 8, 0, torch.device("cpu"),
    )  # fmt: skip
    released = ReleasedStep(make_net)

    learn = learning_step(method, None)

    def step(batch: Batch) -> None:
        learn(batch, rng, 1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with closing(batches.epoch(0)) as epoch:
        ready = next(epoch)
        labeled, unlabeled = ready.labeled, ready.unlabeled
        assert unlabeled is not None
        plain = Batch(  # as the published step has them in memory, channel after channel
            replace(labeled, images=labeled.images.contiguous()),
            replace(unlabeled, images=unlabeled.images.contiguous()),
        )
        actions = {
            "published (re-created)": lambda: released(plain),
            "sspcm, batch made": lambda: step(next(epoch)),
            "sspcm, batch ready": lambda: step(ready),
        }
        times = take_turns(actions, options.repeat, clocks)

    size = f"{options.people} + {options.people} people, {hw[0]}x{hw[1]}, width {options.width}"
    table = Table(title=f"A step of {size}, {torch.get_num_threads()} thread(s)")
    for column in ("step", "CPU, ms", "wall, ms", "published / it, CPU", "published / it, wall"):
        table.add_column(column, justify="right")
    base, *_ = (np.array(measured) for measured in times.values())
    for name, measured in times.items():
        each = [f"{1e3 * statistics.median(column):.1f}" for column in zip(*measured, strict=True)]
        ratios = (base / np.array(measured)).T
        each += [f"{np.median(r):.2f} ({r.min():.2f} to {r.max():.2f})" for r in ratios]
        table.add_row(name, *each)
    Console().print(table)


if __name__ == "__main__":
    main()
