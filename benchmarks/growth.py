"""What tables of 10^4, 10^5 and 10^6 people cost: processor time and memory of each stage.

    python benchmarks/growth.py [--people 10000 100000 1000000] [--stages save load]

The tables are made up, with the 17 keypoints of COCO and 1.7 people an image; a tenth of them is
labeled. Each stage runs in a process of its own: what it reads is made first, and is not counted.
Printed are CPU-seconds and, in MiB, the most memory that the stage held besides what it was given;
and of that what is no part of a file (sampled), since the system can drop and read again the rest.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.source import Source
from sspcm_kedro.data.split import SplitConfig, split
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import as_unit, whose
from sspcm_kedro.datasets.annotation_queue import AnnotationQueueDataset
from sspcm_kedro.datasets.instances import InstancesDataset
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.fingerprint import fingerprint, people_text
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.pipelines.annotation_queue.nodes import QueueConfig, select_people
from sspcm_kedro.pipelines.evaluation.labels import score_pseudo_labels
from sspcm_kedro.pipelines.rounds.nodes import HELD_OUT, correction
from sspcm_kedro.pose.skeleton import COCO

K, PEOPLE_AN_IMAGE, ASKED, ROUNDS = 17, 1.7, 50, 9
CORRECTED = ("score", "inconsistency", "probability")
HW = (480, 640)
METHODS = {"sspcm": {"kind": "sspcm"}, "many_view": {"kind": "many_view"}}


def people_of(count: int, folder: Path) -> Instances:
    """So many people on images of a folder that is there by name only."""
    rng = np.random.default_rng(0)
    image = np.sort(rng.integers(0, max(1, round(count / PEOPLE_AN_IMAGE)), count))
    unique, place = np.unique(image, return_inverse=True)
    names = np.array([f"{folder}/images/{number:012d}.jpg" for number in unique.tolist()], object)
    start = rng.uniform((0, 0), (300, 200), (count, 2))
    boxes = np.concatenate([start, start + rng.uniform(40, 250, (count, 2))], axis=1)
    keypoints = start[:, None] + rng.uniform(0, 40, (count, K, 2)) + 10 * np.arange(K)[:, None]
    return Instances(
        ids=np.arange(1, count + 1), image_ids=image, paths=names[place],
        image_hw=np.tile(HW, (count, 1)), boxes=boxes.astype(np.float32),
        areas=np.full(count, 9000, np.float32), box_scores=np.ones(count, np.float32),
        keypoints=keypoints.astype(np.float32),
        visibility=rng.integers(1, 3, (count, K)), checksums=rng.integers(0, 2**32, count),
    )  # fmt: skip


def rows_of(people: Instances, labeled: Instances | None, seed: int) -> dict:
    """What two labelers would store of them, with views; and of held-out ones of the labeled."""
    rng, size = torch.Generator().manual_seed(seed), len(people)

    def look(count: int) -> dict:
        points = torch.rand(count, K, 2, generator=rng) * 40
        noise = torch.randn(2, count, K, 2, generator=rng)
        scores, spread = (torch.rand(2, count, K, generator=rng) for _ in range(2))
        return {"keypoints": points + noise, "scores": scores, "spread": spread}

    own = {}
    if labeled is not None:
        held_out = labeled.take(slice(2000))
        own = {"ids": whose(held_out)["ids"], **look(len(held_out))}
    return {
        **whose(people),
        **look(size),
        **{HELD_OUT + name: value for name, value in own.items()},
    }


def corrects(kind: str) -> Callable[[int, Path], Callable[[], object]]:
    """The correction node of a method."""

    def prepare(count: int, folder: Path) -> Callable[[], object]:
        people = people_of(count, folder)
        labeled = people.take(slice(max(1, count // 10)))
        unlabeled = people.without_labels()
        now, earlier = (rows_of(unlabeled, labeled, seed) for seed in (1, 2))
        method = MethodConfig.model_validate(METHODS[kind])
        view = ViewConfig()
        return lambda: correction(now, earlier, labeled, unlabeled, COCO, view, method)

    return prepare


def asks(count: int, folder: Path) -> Callable[[], object]:
    """The annotation queue: whom to label next, and its folder."""
    people = people_of(count, folder).without_labels()
    labeled = people.take(slice(0))
    (folder / "images").mkdir()
    for path in people.paths[:ASKED]:
        Image.new("RGB", (HW[1], HW[0])).save(path)
    corrected = {
        **whose(people), "keypoints": torch.full((count, K, 2), 20.0),
        "kept": torch.ones(count, K, dtype=torch.uint8),
        "inconsistency": torch.linspace(1, 0, count)[:, None].repeat(1, K),
    }  # fmt: skip
    people = Instances(**{**vars(people), "checksums": np.full(count, -1)})

    def run() -> None:
        made, _ = select_people(
            corrected, labeled, people, COCO, ViewConfig(), QueueConfig(people=ASKED, shown=10),
            MachineConfig(),
        )  # fmt: skip
        AnnotationQueueDataset(str(folder / "queue")).save(made)

    return run


def prepared(make: Callable[[Instances, Path], Callable[[], object]]):
    """A stage that is given the people."""
    return lambda count, folder: make(people_of(count, folder), folder)


def frames(people: Instances, folder: Path) -> Callable[[], object]:
    frame = people.to_frame()
    return lambda: Instances.from_frame(frame)


def saves(people: Instances, folder: Path) -> Callable[[], object]:
    return lambda: InstancesDataset(str(folder / "05" / "people.parquet")).save(people)


def loads(count: int, folder: Path) -> Callable[[], object]:
    saves(people_of(count, folder), folder)()
    return lambda: InstancesDataset(str(folder / "05" / "people.parquet")).load()


def splits(people: Instances, folder: Path) -> Callable[[], object]:
    config = SplitConfig(labeled=max(1, len(people) // 10), validation=max(1, len(people) // 20),
                         order="seeded")  # fmt: skip
    return lambda: split(Source(COCO, people), config, 0)


def stores(people: Instances, folder: Path) -> Callable[[], object]:
    rows = rows_of(people, None, 1)
    return lambda: TensorsDataset(str(folder / "07" / "predictions.safetensors")).save(rows)


def scores(count: int, folder: Path) -> Callable[[], object]:
    """Evaluation's look at the labels of nine rounds, which it reads from their files."""
    people, files = people_of(count, folder), []
    for number in range(1, ROUNDS + 1):
        rows = rows_of(people, None, number)
        kept = torch.ones(count, K, dtype=torch.uint8)
        corrected = {**whose(people), "keypoints": rows["keypoints"][0], "kept": kept,
                     **{name: rows["scores"][0] for name in CORRECTED}}  # fmt: skip
        for name, stored in (("predictions", rows), ("corrected", corrected)):
            files.append(TensorsDataset(str(folder / "07" / f"{number}_{name}.safetensors")))
            files[-1].save(stored)
    rules = EvaluationConfig()

    def run() -> None:
        score_pseudo_labels(people, COCO, ViewConfig(), rules, *(file.load() for file in files))

    return run


STAGES: dict[str, tuple[str, Callable[[int, Path], Callable[[], object]]]] = {
    "from_frame": ("Instances.from_frame", prepared(frames)),
    "save": ("save the table of people", prepared(saves)),
    "load": ("load it", loads),
    "split": ("split", prepared(splits)),
    "unit": ("mark as one ingestion", prepared(lambda p, _: lambda: as_unit([p], {}))),
    "fingerprint": ("fingerprint of the people",
                    prepared(lambda p, _: lambda: fingerprint(people_text(p)))),
    "correction": ("correction, sspcm", corrects("sspcm")),
    "calibration": ("correction, many_view", corrects("many_view")),
    "queue": ("annotation queue of 50", asks),
    "predictions": ("save predictions", prepared(stores)),
    "scores": ("score labels of nine rounds", scores),
}  # fmt: skip


def measure(stage: str, count: int, folder: Path) -> dict[str, float]:
    """CPU-seconds and peak memory (MiB) of a stage in this process, without files: own."""
    run = STAGES[stage][1](count, folder)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is counted from here on
    before, own, ended = psutil.Process().memory_info().rss, [_own()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            own.append(_own())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.process_time()
    run()
    seconds = time.process_time() - began
    ended.set()
    watcher.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10 - before
    return {"seconds": seconds, "mib": max(0.0, peak / 2**20), "own": max(own) - own[0]}


def _own() -> float:
    """MiB of this process that are of no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 2**10


def measure_apart(stage: str, count: int) -> dict[str, float]:
    """The same in a process of its own, of one thread."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--one", stage, str(count), folder]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        made = subprocess.run(command, env={**os.environ, **threads}, check=True,
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
        return json.loads(made.stdout.splitlines()[-1])


@cache
def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--one", nargs=3, metavar=("STAGE", "PEOPLE", "FOLDER"),
                        help=argparse.SUPPRESS)  # fmt: skip
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.one:
        stage, count, folder = given.one
        sys.stdout.write(f"{json.dumps(measure(stage, int(count), Path(folder)))}\n")
        return
    table = Table("CPU-s", *(f"{count:,}" for count in given.people), "peak, MiB",
                  "of no file, MiB")  # fmt: skip
    for stage in given.stages:
        found = [measure_apart(stage, count) for count in given.people]
        table.add_row(STAGES[stage][0], *(f"{one['seconds']:.2f}" for one in found),
                      f"{found[-1]['mib']:,.0f}", f"{found[-1]['own']:,.0f}")  # fmt: skip
        Console(stderr=True).print(STAGES[stage][0], found)
    Console().print(table)


if __name__ == "__main__":
    main()
