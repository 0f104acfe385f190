"""What the processes of ``test_ranks.py`` do: a module of its own, which they can import."""

import os
import pickle
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro_datasets.text import TextDataset
from torch import distributed, nn

from methods.test_contract import build, make_batch
from sspcm_kedro import ranks
from sspcm_kedro.batch import Batch
from sspcm_kedro.cli import tell_errors
from sspcm_kedro.data.ahead import Read
from sspcm_kedro.data.crops import CPU, Crops
from sspcm_kedro.engine.fit import EpochPart, EpochReport, fit
from sspcm_kedro.engine.optimizer import StepDecay, adam
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.runner import RankedRunner


class Noise(Crops):
    """Crops of people who are noise; says which rows were read."""

    def __init__(self, people: int) -> None:
        self.frame, self.border, self.workers = CropFrame((16, 16)), 0, 1
        rng = np.random.default_rng(0)
        self.pixels = torch.from_numpy(rng.integers(0, 256, (people, 3, 16, 16), np.uint8))
        self.rows: list[int] = []

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: torch.Tensor, device: torch.device = CPU) -> Read:
        self.rows += rows.tolist()
        return Read(self.pixels[rows], [])


def predict_noise() -> tuple[Any, list[int]]:
    """Keypoints and scores of seven people in batches of two; and the rows that were read."""
    torch.manual_seed(0)
    net = nn.Conv2d(3, 2, 4, stride=4)
    crops = Noise(7)
    skeleton = Skeleton(names=("left_hand", "right_hand"), flip_pairs=((0, 1),))
    found = predict(net, crops, skeleton, HeatmapCodec(), flip_test=True, device=CPU, batch=2)
    return found, crops.rows


def sleep(folder: Path) -> None:
    """As long as nobody ends it; a file is named after the process."""
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def exchange(folder: Path) -> None:
    """Everything that ``ranks`` gives, into a file a process."""
    torch.set_num_threads(1)
    with ranks.joined():
        rank = ranks.rank()
        net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1), nn.Linear(1, 1))
        net[0].weight.grad = torch.full((1, 2), 1.0 + rank)
        net[1].running_mean.fill_(10.0 + rank)
        net[1].num_batches_tracked.fill_(20 + rank)
        ranks.add_gradients(net)
        ranks.share_buffers(net)
        try:
            ranks.mine(3)
        except BadInput as error:
            refused = str(error)
        found = {
            "place": (rank, ranks.world()), "shards": list(ranks.mine(4)), "refused": refused,
            "gradient": net[0].weight.grad.tolist(), "none": net[2].weight.grad,
            "statistics": (net[1].running_mean.item(), net[1].num_batches_tracked.item()),
            "gathered": ranks.gather([f"{rank}{i}" for i in range(3 - rank)]),
            "predicted": predict_noise(),
            "tells": (ranks.tells(ValueError()), ranks.tells(ValueError())),
        }  # fmt: skip
        (folder / str(rank)).write_bytes(pickle.dumps(found))


def fail(folder: Path) -> None:
    """The second process has an error while the first waits for it; what it tells, as a run."""

    @tell_errors
    def command() -> None:
        with ranks.joined():
            if ranks.rank() == 1:
                distributed.destroy_process_group = (folder / "destroyed").touch
                raise BadInput("an image", "must be whole, and is not", "Copy it again")
            ranks.wait()

    try:
        command()
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None


def look_for_what_is_missing(folder: Path) -> None:
    """Which nodes each process would run, where the first has stored an output before the second
    looks."""
    nodes = [
        Node(str.strip, "given", "one", name="first"),
        Node(str.strip, "one", "two", name="second"),
    ]
    with ranks.joined():
        one = folder / f"of_{ranks.rank()}"
        if ranks.rank() == 0:
            one.write_text("stored")
        catalog = DataCatalog({
            "given": MemoryDataset(""), "one": TextDataset(filepath=str(one)),
            "two": TextDataset(filepath=str(folder / "two")),
        })  # fmt: skip
        left = RankedRunner()._filter_pipeline_for_missing_outputs(Pipeline(nodes), catalog)
        (folder / str(ranks.rank())).write_text(" ".join(node.name for node in left.nodes))


def meet(rank: int, folder: Path) -> None:
    """Add up the numbers of the processes that ``srun`` has started, this one among them."""
    os.environ |= {
        "SLURM_JOB_ID": str(os.getppid()), "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_STEP_NODELIST": "localhost",
    }  # fmt: skip
    ranks.take_slurms_place()
    with ranks.joined():
        found = ranks.total(torch.tensor([1.0 + ranks.rank()]))
        (folder / str(ranks.rank())).write_text(str(found.item()))


def train_in_parts(folder: Path) -> None:
    """Where two epochs stand in their midst and how they end, of two shards, into a file."""
    torch.set_num_threads(1)
    with ranks.joined():
        found = [asdict(report) for report in two_epochs()]
        torch.save(found, folder / f"{ranks.world()}_{ranks.rank()}")


def two_epochs() -> Iterator[EpochReport | EpochPart]:
    """Of three steps of two shards on noise, told after each."""
    method = build("sspcm")

    def batches(epoch: int, shard: int, start: int) -> Iterator[Batch]:
        return (make_batch(100 * epoch + 10 * shard + i) for i in range(start, 3))

    schedule, steps = StepDecay(1e-3, (), 6), {"steps": 3, "seed": 1, "shards": 2}
    return fit(method, batches, adam(method, 1e-3), schedule,
               epochs=range(2), interval=0.0, **steps)  # fmt: skip
