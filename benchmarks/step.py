"""The share of a training step that is not network work, and what each part of it costs.

    python benchmarks/step.py [--people 32] [--repeat 15] [--threads 1]

Prints, for each method, the median time of a whole step (batch making included) beside the time of
its network passes alone, measured in turns in one run, and the ratio. Times are wall times on
whatever machine this is: quote the ratios, not the seconds.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from sspcm_kedro.augment.affine import AffineConfig
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.loader import Batches, InstancePool, PseudoLabels
from sspcm_kedro.engine.learner import network_maker
from sspcm_kedro.engine.optimizer import adam
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import Method, total_loss
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import COCO

METHODS = {
    "supervised": {"kind": "supervised"},
    "pose_cons": {"kind": "pose_cons"},
    "pose_dual": {"kind": "pose_dual"},
    "sspcm (rounds)": {"kind": "sspcm"},
    "sspcm (snapshots)": {"kind": "sspcm", "snapshot_every": 1000},
}
PASSES = {  # (networks, forward passes without gradient, with gradient) a step
    "supervised": (1, 0, 1),
    "pose_cons": (1, 1, 2),
    "pose_dual": (2, 2, 4),
    "sspcm (rounds)": (3, 2, 6),
    "sspcm (snapshots)": (3, 4, 6),
}


class NoiseCrops(Crops):
    """Crops of noise: a benchmark needs no files."""

    def __init__(self, n: int, input_hw: tuple[int, int], border: int) -> None:
        zeros = np.zeros(n, np.int64)
        boxes = np.tile(np.array([0, 0, *input_hw[::-1]], np.float32), (n, 1))
        keypoints = np.random.default_rng(0).uniform(0, min(input_hw), (n, COCO.size, 2))
        self.instances = Instances(
            zeros, zeros, np.full(n, ""), np.tile(input_hw, (n, 1)), boxes, zeros, zeros,
            keypoints.astype(np.float32), np.full((n, COCO.size), 2),
        )  # fmt: skip
        self.frame, self.border, self.workers = CropFrame(input_hw), border, 1
        self.matrix = np.tile(np.eye(2, 3), (n, 1, 1))
        size = (n, input_hw[0] + 2 * border, input_hw[1] + 2 * border, 3)
        self._kept = np.random.default_rng(0).integers(0, 256, size, np.uint8)


def network_passes(method: Method, images: torch.Tensor, passes: tuple[int, int, int]) -> None:
    """The step's forward and backward passes and its optimizer, and nothing else."""
    nets = list(method.networks.values())
    with torch.no_grad():
        for i in range(passes[1]):
            nets[i % len(nets)](images)
    outputs = [nets[i % len(nets)](images) for i in range(passes[2])]
    loss = torch.stack([output.square().mean() for output in outputs]).sum()
    loss.backward()


def noise_labels(people: int, input_hw: tuple[int, int]) -> PseudoLabels:
    """Stored labels of noise. No occluders: by default limbs are cut out of the batch, and a stage
    then reads none."""
    keypoints = torch.rand(3, people, COCO.size, 2) * min(input_hw)
    scores = torch.rand(3, people, COCO.size)
    rows, nobody = torch.arange(people), torch.empty(0, 3)
    return PseudoLabels(rows, keypoints[:2], scores[:2], nobody, keypoints[2], scores[2])


def take_turns(
    actions: Mapping[str, Callable[[], object]], repeat: int,
    clock: Callable[[], Any] = time.perf_counter,
) -> dict[str, list[Any]]:  # fmt: skip
    """What a clock passed in each action, by default seconds, taken in turns so that a slow moment
    of the machine hits all."""
    times: dict[str, list[Any]] = {name: [] for name in actions}
    for turn in range(repeat + 2):
        for name, action in actions.items():
            began = clock()
            action()
            if turn >= 2:
                times[name].append(clock() - began)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=32, help="of each kind in a batch")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pool = InstancePool.from_crops(NoiseCrops(256, (64, 48), 12))
    pseudo = noise_labels(256, (64, 48))
    table = Table(title=f"A step of {options.people} + {options.people} people, 64x48, {device}")
    for column in ("method", "step, ms", "networks, ms", "not network (min to max)"):
        table.add_column(column, justify="right")
    for name, settings in METHODS.items():
        method = MethodConfig.model_validate(settings).build(
            network_maker(NetworkConfig.model_validate({"kind": "small_baseline"}), COCO.size, 0),
            HeatmapCodec(sigma=1.0),
        )
        method.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimizer, rng = adam(method, 1e-3), torch.Generator(device).manual_seed(0)
        weak = AffineConfig(rotation_probability=0.6, flip_probability=0.5).build()
        batches = Batches(
            pool, pool if method.needs_unlabeled else None,
            pseudo if name == "sspcm (rounds)" else None, COCO, HeatmapCodec(sigma=1.0), weak,
            (options.people, options.people), 1, 0, device,
        )  # fmt: skip
        images = next(batches.epoch(0)).labeled.images

        def step(
            method: Method = method,
            batches: Batches = batches,
            optimizer: torch.optim.Optimizer = optimizer,
            rng: torch.Generator = rng,
        ) -> None:
            scalars = method.training_step(next(batches.epoch(0)), rng)
            total_loss(scalars).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            _ = next(iter(scalars.values())).item()  # waits for the device

        def passes(
            method: Method = method,
            images: torch.Tensor = images,
            counts: tuple[int, int, int] = PASSES[name],
        ) -> None:
            network_passes(method, images, counts)
            _ = next(method.parameters()).sum().item()

        times = take_turns({"step": step, "networks": passes}, options.repeat)
        shares = [1 - n / s for s, n in zip(times["step"], times["networks"], strict=True)]
        step_ms, nets_ms = (1e3 * statistics.median(times[k]) for k in ("step", "networks"))
        table.add_row(
            name, f"{step_ms:.1f}", f"{nets_ms:.1f}",
            f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
