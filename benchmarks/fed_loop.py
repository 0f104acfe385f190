"""The training loop itself, fed from crops that are stored: does the device wait for pixels?

A part of ``benchmarks/device.py``, and with as few needs.
"""

import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.step import noise_labels

from sspcm_kedro.batch import Batch
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.loader import Batches, InstancePool
from sspcm_kedro.data.stored_crops import ENTRY, StoredCrops, crop_keys
from sspcm_kedro.engine.compiled import learning_step
from sspcm_kedro.engine.fit import EpochReport, fit
from sspcm_kedro.engine.optimizer import StepDecay, adam
from sspcm_kedro.engine.precision import Precision, allow_tf32, set_precision
from sspcm_kedro.machine import Compile
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import COCO

KEYPOINTS = COCO.size
PEOPLE = 512
"""Whose crops are stored, and read again and again."""


def stored_people(step: Any, folder: Path, workers: int) -> InstancePool:
    """People whose crops, of noise, lie in a file as ingestion stores them (uint8)."""
    n, view = PEOPLE, step.view
    rng, box = np.random.default_rng(0), np.array([150, 50, 400, 450], np.float32)
    points = rng.uniform(box[:2], box[2:], (n, KEYPOINTS, 2)).astype(np.float32)
    zeros, names = np.zeros(n, np.int64), np.full(n, "noise.jpg")
    people = Instances(
        np.arange(n), zeros, names, np.tile((480, 640), (n, 1)), np.tile(box, (n, 1)), zeros, zeros,
        points, np.full((n, KEYPOINTS), 2), checksums=np.arange(n),
    )  # fmt: skip
    frame, border = CropFrame(view.input_hw, view.padding), view.border
    height, width = (size + 2 * border for size in view.input_hw)
    entries, file = np.zeros(n, ENTRY), folder / "crops"
    keys = crop_keys(people, frame, border, "uint8")
    with file.open("wb") as out:
        for i, key in enumerate(keys):
            crop = rng.integers(0, 256, (height, width, 3), np.uint8).tobytes()
            entries[i] = (np.void(key), i * len(crop), len(crop), zlib.crc32(crop))
            out.write(crop)
    stored = StoredCrops(file, entries, "uint8")
    crops = Crops(people, frame, border=border, workers=workers, memory=0, stored=stored)
    return InstancePool.from_crops(crops)


def feed(
    step: Any,
    precision: Precision,
    shards: int,
    device: torch.device,
    how: Compile | None = None,
    *,
    steps: int = 25,
) -> dict[str, float]:
    """Images a second of the training loop itself, read from stored crops, in so many shards.

    And the share of its time in which the host made batches or waited for them.
    """
    workers = len(os.sched_getaffinity(0))
    method = step.build(device)
    set_precision(method, precision)
    with tempfile.TemporaryDirectory() as folder, allow_tf32(precision == "tf32"):
        pool = stored_people(step, Path(folder), workers)
        batches = Batches(
            pool, pool, noise_labels(PEOPLE, step.view.input_hw), COCO, step.view.codec,
            step.view.weak.build(), step.training.sizes, steps, 0, device, step.view.color, shards,
        )  # fmt: skip
        spent: dict[int, float] = {}

        def timed(epoch: int, shard: int, start: int) -> Iterator[Batch]:
            made = batches.epoch(epoch, shard, start)
            while True:
                began = time.perf_counter()
                batch = next(made, None)
                spent[epoch] = spent.get(epoch, 0.0) + time.perf_counter() - began
                if batch is None:
                    return
                yield batch

        epochs = fit(
            method, timed, adam(method, 1e-4), StepDecay(1e-4, (), 2 * steps),
            epochs=range(2), steps=steps, seed=0, shards=shards,
            learn=learning_step(method, how),
        )  # fmt: skip
        *_, last = (report for report in epochs if isinstance(report, EpochReport))
    return {
        "images_per_second": last.people_per_second, "shards": shards,
        "making_batches": spent[last.epoch] / last.seconds,
    }  # fmt: skip
