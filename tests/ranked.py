"""What the processes of ``test_ranks.py`` do: a module of its own, which they can import."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sspcm_kedro import ranks
from sspcm_kedro.data.ahead import Read
from sspcm_kedro.data.crops import CPU, Crops
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.skeleton import Skeleton


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
