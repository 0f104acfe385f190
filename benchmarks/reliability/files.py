"""Files that somebody made to do harm: only data, read or refused in one sentence."""

import json
import os
import pickle
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.hostile import NAMES, good_coco, hostile_files
from benchmarks.reliability.worker import Answer, Worker

LIMIT, BLOCK = 30.0, 25
CANARY = "hostile_was_here"
"""What code in these files would make in the folder where it runs."""
LONGEST = 1000
"""Letters of a message."""


class Payload:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, (f"touch {CANARY}",)


def cases(bench: Bench) -> list[Case]:
    """All files, so many a case."""
    folder = bench.folder / "files"
    shutil.rmtree(folder, ignore_errors=True)
    found = [*hostile_files(folder / "given", bench.seed), *stored_files(folder, bench.seed)]
    if bench.quick:
        found = found[::15]
    blocks = [found[start : start + BLOCK] for start in range(0, len(found), BLOCK)]
    return [
        Case(f"files {i * BLOCK + 1} to {i * BLOCK + len(block)}",
             lambda i=i, block=block: read_block(folder, i, block))
        for i, block in enumerate(blocks)
    ]  # fmt: skip


def stored_files(folder: Path, seed: int) -> Iterator[tuple[Path, str]]:
    """What stands where our own files and downloaded weights are read: pickles, and noise."""
    chance = random.Random(seed)
    folder = folder / "stored"
    folder.mkdir(parents=True)
    torch.save({"fingerprint": "x", "method": Payload()}, folder / "saved.bin")
    saved = (folder / "saved.bin").read_bytes()
    texts = [b"", b"{}", b"[]", b"null", b"9" * 5000, b"[" * 100_000, b'{"names": 5}']
    contents = [
        pickle.dumps(Payload()), pickle.dumps({"fingerprint": Payload()}, 2), saved,
        saved[: len(saved) // 2], b"\x93NUMPY" + chance.randbytes(50), b"PAR1" + b"\xff" * 40,
        (2**62).to_bytes(8, "little") + b"{}", chance.randbytes(1000), *texts,
    ]  # fmt: skip
    for kind, suffix in (("weights", "pth"), ("weights", "safetensors"), ("checkpoint", "pt"),
                         ("tensors", "safetensors"), ("people", "parquet"), ("mat", "mat"),
                         ("skeleton", "json")):  # fmt: skip
        for number, content in enumerate(contents):
            file = folder / f"{kind}_{number}.{suffix}"
            file.write_bytes(content)
            yield file, kind


def read_block(folder: Path, number: int, block: Sequence[tuple[Path, str]]) -> Tried:
    """Each file read by what reads such files, in a folder of its own; nothing else may appear."""
    here, faults, accepted = folder / f"run_{number}" / "a" / "b", [], 0
    here.mkdir(parents=True)
    with Worker(read, LIMIT) as ask:
        for file, kind in block:
            answer = ask((str(here), str(file), kind))
            accepted += answer.kind == "value"
            faults += [f"{file.name} ({kind}): {line}" for line in answer_faults(answer)]
            if found := strangers(folder / f"run_{number}", here):
                faults.append(f"{file.name} ({kind}): made {', '.join(found)}")
                for name in found:
                    (folder / f"run_{number}" / name).unlink()
    note = f"{len(block) - accepted - len(faults)} refused, {accepted} read without harm"
    return Tried(faults, len(block), note)


def answer_faults(answer: Answer) -> Iterator[str]:
    """What is wrong with the answer to a hostile file."""
    if answer.kind in ("hang", "death"):
        yield f"{answer.kind}: {answer.value}"
    elif answer.kind == "error":
        if "BadInput" not in answer.error:
            yield f"a raw error: {answer.error[0]}: {answer.value[:150]!r}"
        elif len(answer.value) > LONGEST:
            yield f"a message of {len(answer.value)} letters"


def strangers(root: Path, here: Path) -> list[str]:
    """Files outside of the one folder that an archive is unpacked into."""
    inside = here / "unpacked"
    found = (path for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return [str(path.relative_to(root)) for path in found if inside not in path.parents]


# What runs in the worker's process.


def read(item: tuple[str, str, str]) -> None:
    """Read a file as such files are read."""
    here, name, kind = item
    os.chdir(here)
    READERS[kind](Path(name))


def read_settings(file: Path) -> None:
    from sspcm_kedro.conf_files import StrictConfigLoader  # noqa: PLC0415

    conf = file.parent / f"conf_{file.stem}"
    for name in ("base", "local"):
        (conf / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(file, conf / "local" / "parameters.yml")
    StrictConfigLoader(str(conf), base_env="base", default_run_env="local")["parameters"]


def read_people(file: Path) -> None:
    from sspcm_kedro.errors import BadInput  # noqa: PLC0415
    from sspcm_kedro.pose.skeleton import Skeleton  # noqa: PLC0415
    from sspcm_kedro.sources.annotation_file import read_annotated_people  # noqa: PLC0415
    from sspcm_kedro.sources.coco import CocoSource  # noqa: PLC0415

    train = {"annotations": file.name, "images": "images"}
    try:
        CocoSource.model_validate({"root": file.parent, "train": train}).read()
    except BadInput as error:
        refused = error
    else:
        refused = None
    read_annotated_people(file, Skeleton(NAMES))
    if refused is not None:
        raise refused


def read_detections(file: Path) -> None:
    from sspcm_kedro.sources.coco_format import read_boxes  # noqa: PLC0415

    boxes = file.with_name(f"{file.stem}_boxes.json")
    boxes.write_text(json.dumps(good_coco()))
    read_boxes(boxes, file.parent / "images", detections=file)


def read_image(file: Path) -> None:
    from sspcm_kedro.data.image_file import read_rgb  # noqa: PLC0415

    read_rgb(file)


def unpack_images(file: Path) -> None:
    from sspcm_kedro.downloads.unpack import unpack  # noqa: PLC0415

    folder = Path("unpacked")
    shutil.rmtree(folder, ignore_errors=True)
    unpack(file, folder, [("*.jpg", "images/")])


def read_weights(file: Path) -> None:
    from sspcm_kedro.nets.weights import read_weights  # noqa: PLC0415

    read_weights(file)


def load_with(module: str, name: str, file: Path) -> None:
    """Load a file by one of the project's datasets."""
    from importlib import import_module  # noqa: PLC0415

    getattr(import_module(f"sspcm_kedro.datasets.{module}"), name)(filepath=str(file)).load()


def read_matlab(file: Path) -> None:
    from sspcm_kedro.sources.mat import read_mat  # noqa: PLC0415

    read_mat(file, "joints", "Fetch it again")


READERS = {
    "yaml": read_settings,
    "coco": read_people,
    "detections": read_detections,
    "image": read_image,
    "archive": unpack_images,
    "weights": read_weights,
    "checkpoint": lambda file: load_with("checkpoint", "CheckpointDataset", file),
    "tensors": lambda file: load_with("tensors", "TensorsDataset", file),
    "people": lambda file: load_with("instances", "InstancesDataset", file),
    "skeleton": lambda file: load_with("skeleton", "SkeletonDataset", file),
    "mat": read_matlab,
}
