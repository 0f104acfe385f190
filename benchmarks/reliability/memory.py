"""Memory of a long training: it must not grow with the epochs."""

import re
import time

import numpy as np
import psutil
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.place import LIMIT, Place, ended_group

MOST = 0.2
"""MiB an epoch, the slope of a line of least squares."""
FIRST = 10
"""Epochs that are left out: caches fill, and the first look at the validation people is theirs."""
EPOCH = re.compile(r"warmup epoch (\d+) ")


def cases(bench: Bench) -> list[Case]:
    """One training, with MLflow's record and without."""
    tracked = Case("training with MLflow", lambda: slope(bench, "on"))
    untracked = Case("training without MLflow", lambda: slope(bench, "off"))
    return [untracked] if bench.quick else [tracked, untracked]


def slope(bench: Bench, tracking: str) -> Tried:
    """The slope of resident memory over the epochs after the first ones."""
    count = bench.size(100, 20) + FIRST
    place = Place(bench.folder / f"memory_{tracking}")
    environ = {} if tracking == "on" else {"SSPCM_TRACKING": "off"}
    params = f"training.warmup_epochs={count}"
    arguments = ("--pipelines", "ingestion,warmup")
    points: dict[int, float] = {}
    with ended_group(place.start(*arguments, params=params, environ=environ)) as running:
        process, deadline = psutil.Process(running.process.pid), time.monotonic() + 3 * LIMIT
        while not running.ended() and time.monotonic() < deadline:
            epochs = EPOCH.findall(running.printed())
            if epochs and int(epochs[-1]) not in points:
                try:
                    points[int(epochs[-1])] = process.memory_info().rss / 2**20
                except psutil.NoSuchProcess:
                    break
            time.sleep(0.02)
        faults = running.wait(1).faults(0)
    kept = {epoch: size for epoch, size in points.items() if FIRST < epoch < count}
    if len(kept) < (count - FIRST) // 2:
        return Tried([*faults, f"only {len(kept)} epochs were seen"], count)
    growth = least_squares(list(kept), list(kept.values()))
    if growth >= MOST:
        faults.append(f"grows by {growth:.3f} MiB an epoch")
    if not faults:
        place.remove()
    return Tried(faults, len(kept), f"{growth:+.3f} MiB an epoch, at {max(kept.values()):.0f} MiB")


def least_squares(xs: list[int], ys: list[float]) -> float:
    """The slope of the line through the points."""
    return float(np.polyfit(np.array(xs, float), np.array(ys, float), 1)[0])
