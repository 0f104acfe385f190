"""Crops a second a core, of each way that pixels come, beside decoding as the release does it.

    python benchmarks/crops.py [--images 60] [--hw 256 192] [--border 64] [--folder PHOTOGRAPHS]

The photographs are those of a folder, or noise smoothed to compress like photographs, of 640 x 480
pixels. Each way makes all crops in turn, by one thread, and its CPU seconds are counted: the median
of the turns is printed, and how many times less than by decoding. "as the release does" decodes
the whole file and warps it (cv2.imread and warpAffine; here Pillow's decoder and its affine
transform, bilinear). The last lines are of a device that is played by a step that sleeps: the share
of its time that it waits for crops. A GPU of 250 TFLOP/s takes about 4,000 a second in steps of
ResNet-18, 256x192 and 128 + 128 people.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from sspcm_kedro.data.ahead import read_ahead
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.image_file import checksum_of
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.stored_crops import CropsToStore, StoredKind
from sspcm_kedro.datasets.crop_cache import CropCacheDataset
from sspcm_kedro.pose.geometry import CropFrame


def draw_photograph(path: Path, rng: np.random.Generator) -> None:
    """Smooth colors under fine grain: about 120 kB at quality 92, as COCO's images have."""
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.float32)
    grain = rng.normal(0, 9, (480, 640, 1))
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(path, quality=92)


def people_on(paths: list[Path], rng: np.random.Generator) -> Instances:
    """A person an image, half as high as it."""
    n = len(paths)
    sizes = np.array([Image.open(path).size[::-1] for path in paths])
    corner = sizes[:, ::-1] * rng.uniform(0.05, 0.4, (n, 2))
    boxes = np.concatenate([corner, corner + sizes[:, ::-1] * [0.25, 0.5]], axis=1)
    return Instances(
        ids=np.arange(n), image_ids=np.arange(n), paths=np.array([str(p) for p in paths], object),
        image_hw=sizes, boxes=boxes.astype(np.float32), areas=np.ones(n, np.float32),
        box_scores=np.ones(n, np.float32), keypoints=np.zeros((n, 1, 2), np.float32),
        visibility=np.zeros((n, 1), np.int64),
        checksums=np.array([checksum_of(path) for path in paths], np.int64),
    )  # fmt: skip


def released(people: Instances, crops: Crops) -> None:
    """Whole images, each warped to its crop without antialiasing."""
    height, width = (size + 2 * crops.border for size in crops.input_hw)
    for path, matrix in zip(people.paths, crops.matrix, strict=True):
        with Image.open(path) as file:
            image = file.convert("RGB")
        scale = 1 / matrix[0, 0]
        left, top = -scale * (matrix[:, 2] + crops.border)
        image.transform(
            (width, height), Image.Transform.AFFINE, (scale, 0, left, 0, scale, top),
            resample=Image.Resampling.BILINEAR,
        )  # fmt: skip


def cpu_seconds(ways: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """The median CPU seconds of each way, taken in turns; the first turn does not count."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeat + 1):
        for name, make in ways.items():
            began = time.process_time()
            make()
            if turn:
                spent[name].append(time.process_time() - began)
    return {name: statistics.median(times) for name, times in spent.items()}


def waiting(crops: Crops, batch: int, rate: float, steps: int) -> float:
    """The share of its time that a device waits which takes ``rate`` crops a second.

    A step sleeps, as a training thread does while a GPU computes. The first batch does not count.
    """
    rows = torch.arange(steps * batch).reshape(steps, batch) % len(crops)
    reads = ([crops.read(own)] for own in rows)
    waited = whole = 0.0
    with closing(read_ahead(reads, crops.workers)) as batches:
        next(batches)
        for _ in range(steps - 1):
            began = time.perf_counter()
            next(batches)
            waited += time.perf_counter() - began
            time.sleep(batch / rate)
            whole += time.perf_counter() - began
    return waited / whole


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--hw", type=int, nargs=2, default=(256, 192))
    parser.add_argument("--border", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="of the waiting device")
    parser.add_argument("--rate", type=float, default=4000.0, help="crops a second that it takes")
    parser.add_argument("--folder", type=Path, help="of JPEG photographs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, frame = np.random.default_rng(0), CropFrame((options.hw[0], options.hw[1]))
    with tempfile.TemporaryDirectory() as temporary:
        paths = sorted(options.folder.glob("*.jpg"))[: options.images] if options.folder else []
        for i in range(0 if options.folder else options.images):
            paths.append(Path(temporary) / f"{i}.jpg")
            draw_photograph(paths[-1], rng)
        if not paths:
            sys.exit(f"{options.folder}: there must be *.jpg")
        people = people_on(paths, rng)
        everyone = torch.arange(len(people))

        def crops(kind: StoredKind | None = None, memory: int = 0, workers: int = 1) -> Crops:
            stored = None
            if kind is not None:
                dataset = CropCacheDataset(f"{temporary}/{kind}")
                dataset.save(CropsToStore(people, frame, options.border, kind, workers))
                stored = dataset.load()
            return Crops(people, frame, border=options.border, workers=workers, memory=memory,
                         stored=stored)  # fmt: skip

        decoded = crops()
        ways = {
            "as the release does (decode, warp)": lambda: released(people, decoded),
            "decode, antialiased resize (none)": lambda: decoded[everyone],
        }
        for name, own in {
            "stored as JPEG (jpeg)": crops("jpeg"),
            "stored as they are (uint8)": crops("uint8"),
            "kept in memory (crop_memory_gib)": crops(memory=2**40),
        }.items():
            ways[name] = lambda own=own: own[everyone]
        seconds = cpu_seconds(ways, options.repeat)
        kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
        table = Table(title=f"{len(paths)} crops of {options.hw[0]}x{options.hw[1]}, border "
                            f"{options.border}, of images of {kilobytes:.0f} kB")  # fmt: skip
        for column in ("way", "CPU-ms a crop", "crops a second a core", "times less CPU"):
            table.add_column(column, justify="left" if column == "way" else "right")
        by_decoding = seconds["decode, antialiased resize (none)"]
        for name, spent in seconds.items():
            each = spent / len(paths)
            table.add_row(name, f"{1e3 * each:.3f}", f"{1 / each:,.0f}",
                          f"{by_decoding / spent:.1f}")  # fmt: skip
        Console().print(table)
        for kind in ("jpeg", "uint8"):
            # Batches small enough (below 32 MiB) that malloc gives the same memory again, as CUDA's
            # pinned does.
            share = waiting(crops(kind, workers=options.workers), 64, options.rate, 80)
            line = f"A device that takes {options.rate:,.0f} crops a second waits {share:.1%} of "
            Console().print(f"{line}its time for {kind} and {options.workers} workers")


if __name__ == "__main__":
    main()
