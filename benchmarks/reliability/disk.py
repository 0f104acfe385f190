"""Full and read-only disks: small file systems in memory (tmpfs), which root alone may mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.compare import data_differences, leftovers, record_differences
from benchmarks.reliability.output import compared, finished
from benchmarks.reliability.place import Ended, Place, wait_for

ROOM = 512 * 2**20
FULL = "the disk is full"
STAGES = {
    "drawing": "01_raw/drawn/images/unlabeled",
    "people": "05_model_input",
    "warmup": "06_models/warmup",
    "round_1": "06_models/round_1",
    "comparison": "06_models/comparison",
    "evaluation": "07_model_output/validation",
    "reporting": "08_reporting/report.html",
}
"""Stages of the default pipeline, and what each writes first or most."""


def cases(bench: Bench) -> list[Case]:
    """A full disk at each stage, and in other places."""
    found = [Case(f"full in {stage}", lambda s=stage: full_stage(bench, s)) for stage in STAGES]
    found += [
        Case("full for MLflow", lambda: full_tracking(bench)),
        Case("full TMPDIR", lambda: full_tmpdir(bench)),
        Case("read-only data folder", lambda: read_only(bench)),
    ]
    return found[2:10:7] if bench.quick else found


def full_stage(bench: Bench, stage: str) -> Tried:
    """The disk has room for what came before the stage, and for half of what the stage writes."""
    reference = bench.reference()
    root = bench.folder / f"disk_{stage}"
    place = Place(root, root.with_name(f"{root.name}_mounted"))
    with mounted(place.data, bytes_until(reference.data, stage)) as resize:
        ended = place.run()
        faults = sentence_faults(ended, FULL, str(place.data))
        faults += unreadable(place.data)
        resize(ROOM)
        faults += place.run().faults(0) + compared(reference, place) + leftovers(place.data)
    return finished(place, faults)


def bytes_until(data: Path, stage: str) -> int:
    """What the files of an uninterrupted run take in whole pages, up to the middle of a stage's."""
    chosen = data / STAGES[stage]
    mine = [chosen] if chosen.is_file() else [file for file in chosen.rglob("*") if file.is_file()]
    first = min(file.stat().st_mtime_ns for file in mine)
    before = sum(
        pages(file) for file in data.rglob("*")
        if file.is_file() and file not in mine and file.stat().st_mtime_ns < first
    )  # fmt: skip
    return before + sum(pages(file) for file in mine) // 2


def pages(file: Path) -> int:
    return -(-file.stat().st_size // 4096) * 4096


def full_tracking(bench: Bench) -> Tried:
    """Where MLflow writes is full: training goes on, and the same command completes the record."""
    reference, place = bench.reference(), Place(bench.folder / "disk_tracking")
    folder = place.root / "tracking"
    place.environ["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{folder / 'mlflow.db'}"
    with mounted(folder, ROOM) as resize:
        running = place.start()
        began = wait_for((place.data / "05_model_input" / "labeled.parquet").exists, running)
        faults = [] if began else ["the run ended before the disk was full"]
        fill(folder)
        faults += running.wait().faults(0, "the same command again")
        faults += data_differences(reference.data, place.data)
        resize(2 * ROOM)
        faults += place.run().faults(0) + data_differences(reference.data, place.data)
        faults += record_differences(reference.uri, uri)
    return finished(place, faults)


def full_tmpdir(bench: Bench) -> Tried:
    """No room for temporary files: the run ends well, and the same command completes the record."""
    reference, place = bench.reference(), Place(bench.folder / "disk_tmpdir")
    folder = place.root / "tmp"
    with mounted(folder, 2**20):
        fill(folder)
        faults = place.run(environ={"TMPDIR": str(folder)}).faults(0)
        faults += data_differences(reference.data, place.data)
    return finished(place, faults + place.run().faults(0) + compared(reference, place))


def read_only(bench: Bench) -> Tried:
    """A data folder that cannot be written."""
    reference = bench.reference()
    root = bench.folder / "disk_read_only"
    place = Place(root, root.with_name(f"{root.name}_mounted"))
    with mounted(place.data, ROOM) as resize:
        call("mount", "-o", "remount,ro", str(place.data))
        faults = sentence_faults(place.run(), str(place.data))
        resize(ROOM)
        faults += place.run().faults(0) + compared(reference, place) + leftovers(place.data)
    return finished(place, faults)


def sentence_faults(ended: Ended, *texts: str) -> list[str]:
    """A run that must stop says why, in one sentence."""
    return ended.faults(1, *texts)


def unreadable(data: Path) -> list[str]:
    """Empty files: a run that had no room keeps what there was, or has nothing."""
    empty = [file for file in data.rglob("*") if file.is_file() and not file.stat().st_size]
    return [f"{file.name}: is empty" for file in empty if file.name != ".run.lock"]


def fill(folder: Path) -> None:
    """Use up all room."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@contextmanager
def mounted(folder: Path, size: int) -> Iterator["Resize"]:
    """A file system of so many bytes; what it gives makes it larger, and writable.

    Raises:
        PermissionError: only root may mount.
    """
    if os.geteuid() != 0:
        raise PermissionError("full disks are mounted (tmpfs), which takes root")
    folder.mkdir(parents=True, exist_ok=True)
    call("umount", "-l", str(folder), check=False)  # of a campaign that was killed
    call("mount", "-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs", str(folder))
    try:
        yield Resize(folder)
    finally:
        call("umount", "-l", str(folder))


class Resize:
    """Makes a mounted folder as large as it is told, and writable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, size: int) -> None:
        call("mount", "-o", f"remount,rw,size={size}", str(self.folder))


def call(*command: str, check: bool = True) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, check=check, capture_output=True)
