"""Damage to every file that a finished run leaves and a pipeline reads: seen, or without effect."""

import hashlib
import random
import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.compare import data_differences, leftovers
from benchmarks.reliability.place import Place
from benchmarks.reliability.worker import Answer, Worker
from torch import Tensor

FLIPS = 12
"""Bits that are flipped in each file, one at a time."""
LIMIT = 60.0
WHOLE = {
    "06_models/warmup/checkpoint.pt": "rounds",
    "06_models/round_1/checkpoint.pt": "rounds",
    "05_model_input/labeled.parquet": "warmup",
    "05_model_input/validation.parquet": "evaluation",
    "03_primary/skeleton.json": "reporting",
    "07_model_output/round_2/corrected.safetensors": "annotation_queue",
    "07_model_output/validation/predictions.safetensors": "reporting",
    "07_model_output/comparison_scores.json": "reporting",
    "08_reporting/metrics.json": "reporting",
    "01_raw/drawn/images/val/000000.jpg": "evaluation",
}
"""Files for which the pipeline that reads them is run as a process, damaged in one way each."""


def cases(bench: Bench) -> list[Case]:
    """A case for each file, in one process; and a case for some, in a process of its own each."""
    place = bench.reference()
    copy = bench.folder / "damage"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(place.root, copy)
    with Worker(read_names, LIMIT) as ask:
        answer = ask(str(copy))
    if answer.kind != "value":
        raise RuntimeError(f"the catalog cannot be read: {answer.value}")
    files = [*answer.value.items(), *raw_files(copy)]
    if bench.quick:
        files = files[:: max(1, len(files) // 3)]
    whole = list(WHOLE.items())[:: 5 if bench.quick else 1]
    return [
        *(Case(name, lambda n=name, d=dataset: damaged_loads(bench, copy, n, d))
          for name, dataset in files),
        *(Case(f"{name} and --pipelines {pipeline}",
               lambda n=name, p=pipeline, i=i: damaged_run(bench, i, n, p))
          for i, (name, pipeline) in enumerate(whole)),
    ]  # fmt: skip


def raw_files(root: Path) -> list[tuple[str, str]]:
    """The drawn people's files, which are read below the catalog: (file, how it is read)."""
    drawn = root / "data" / "smoke" / "01_raw" / "drawn"
    images = [min((drawn / "images" / part).iterdir()) for part in ("train", "unlabeled", "val")]
    told = sorted((drawn / "annotations").iterdir())
    data = root / "data" / "smoke"
    return [(file.relative_to(data).as_posix(), "(pixels)") for file in images] + [
        (file.relative_to(data).as_posix(), "(annotations)") for file in told
    ]


def damages(content: bytes, chance: random.Random, flips: int) -> Iterator[tuple[str, bytes]]:
    """A file's content, damaged in each way: cut, emptied, and one bit flipped."""
    yield "cut to half", content[: len(content) // 2]
    yield "cut by a byte", content[:-1]
    yield "emptied", b""
    for _ in range(flips):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        yield f"bit {bit} of byte {place} flipped", bytes(flipped)


def damaged_loads(bench: Bench, root: Path, name: str, dataset: str) -> Tried:
    """Loads of one file's dataset with each damage; the file is whole again at the end.

    Each case has a folder of hard links of its own, for cases run side by side.
    """
    own = root.with_name(f"damage_{hashlib.sha256(name.encode()).hexdigest()[:8]}")
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(root, own, copy_function=link)
    file, faults, tries = own / "data" / "smoke" / name, [], 0
    content = file.read_bytes()
    chance = random.Random(f"{bench.seed} {name}")
    equal = 0
    with Worker(load, LIMIT) as ask:
        whole = ask((str(own), dataset, name))
        if whole.kind != "value":
            return Tried([f"cannot be loaded undamaged: {whole.value}"])
        for how, bytes_ in damages(content, chance, bench.size(FLIPS, 4)):
            file.unlink()  # and not written over: it is a link
            file.write_bytes(bytes_)
            answer, tries = ask((str(own), dataset, name)), tries + 1
            if answer.kind == "value" and answer.value == whole.value:
                equal += 1
            elif fault := load_fault(answer, file):
                faults.append(f"{how}: {fault}")
    shutil.rmtree(own)
    note = f"{tries - equal - len(faults)} told, {equal} without effect, {len(faults)} wrong"
    return Tried(faults, tries, note)


def link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def load_fault(answer: Answer, file: Path) -> str | None:
    """What is wrong with the answer to a damaged file; None if it is told with its file."""
    if answer.kind == "value":
        return "SILENT: other values"
    if answer.kind != "error":
        return str(answer.value)
    if "BadInput" not in answer.error:
        return f"a raw error: {answer.error[0]}: {answer.value[:120]}"
    return None if file.name in answer.value else f"does not name the file: {answer.value[:200]}"


def damaged_run(bench: Bench, number: int, name: str, pipeline: str) -> Tried:
    """A pipeline that reads a damaged file names it and ends; all other files are as they were."""
    reference, place = bench.reference(), Place(bench.folder / f"damaged_run_{number}")
    shutil.copytree(reference.data, place.data)
    shutil.copytree(reference.root / "mlartifacts", place.root / "mlartifacts")
    shutil.copy(reference.root / "mlflow.db", place.root)
    file = place.data / name
    content = file.read_bytes()
    every = list(damages(content, random.Random(f"{bench.seed} {name}"), 3))
    how, damaged = every[3 if number % 2 == 0 else number % len(every)]
    file.write_bytes(damaged)
    ended = place.run("--pipelines", pipeline)
    faults = ended.faults(1, file.name) if ended.code else [f"SILENT: {pipeline} ended well"]
    if file.exists() and file.read_bytes() == damaged:
        file.write_bytes(content)
    faults += [f"afterwards, {line}" for line in data_differences(reference.data, place.data)]
    faults = [f"{how}: {fault}" for fault in faults + leftovers(place.root)]
    if not faults:
        place.remove()
    return Tried(faults, note=how)


# What runs in the worker's process.


def read_names(root: str) -> dict[str, str]:
    """The files of the catalog that a pipeline reads, below the data folder: file to dataset."""
    catalog, pipelines = project(root)
    data, found = Path(root) / "data" / "smoke", {}
    for name in sorted({name for pipe in pipelines.values() for node in pipe.nodes
                        for name in node.inputs if not name.startswith("param")}):  # fmt: skip
        if name not in catalog:
            continue
        path = getattr(catalog[name], "_filepath", None)
        if path is not None and (Path(root) / path).is_file() and not name.startswith("resume_"):
            found[(Path(root) / path).relative_to(data).as_posix()] = name
    return found


@cache
def project(root: str) -> tuple[Any, Any]:
    """Catalog and pipelines of a place."""
    import os  # noqa: PLC0415

    from kedro.framework.project import configure_project, pipelines  # noqa: PLC0415
    from kedro.framework.session import KedroSession  # noqa: PLC0415

    os.chdir(root)
    os.environ["SSPCM_TRACKING"] = "off"
    configure_project("sspcm_kedro")
    session = KedroSession.create(root, env="smoke")
    return session.load_context().catalog, dict(pipelines)


def load(item: tuple[str, str, str]) -> str:
    """The digest of what a dataset's file holds, of an image's crops, or of the people read."""
    root, dataset, name = item
    catalog, _ = project(root)
    if dataset == "(pixels)":
        return digest(crops(catalog, Path(name).name, Path(name).parent.name))
    if dataset == "(annotations)":
        return digest(read_source(catalog))
    return digest(catalog[dataset].load())


def crops(catalog: Any, image: str, part: str) -> Tensor:
    """What a network sees of the people of one image."""
    from sspcm_kedro.data.crops import Crops  # noqa: PLC0415
    from sspcm_kedro.pose.geometry import CropFrame  # noqa: PLC0415

    tables = {"train": "labeled", "unlabeled": "unlabeled", "val": "validation"}
    people = catalog[tables[part]].load()
    rows = np.array([Path(path).name == image for path in people.paths])
    return Crops(people.take(rows), CropFrame((64, 48)), border=12, workers=1)[tensor_of(rows)]


def tensor_of(rows: np.ndarray) -> Tensor:
    """The numbers of as many crops as there are rows."""
    import torch  # noqa: PLC0415

    return torch.arange(int(rows.sum()))


def read_source(catalog: Any) -> Any:
    """The people as ingestion reads them."""
    source = catalog["params:source"].load().root
    return source.read(catalog["drawn_folder"].load())


def digest(value: Any) -> str:
    """Equal digests, equal values: types, shapes and bits."""
    found = hashlib.sha256()
    for piece in pieces(value):
        found.update(piece)
    return found.hexdigest()


def pieces(value: Any) -> Iterator[bytes]:
    """All that a value consists of, in order."""
    yield type(value).__name__.encode()
    if isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.contiguous().numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
    elif isinstance(value, pd.DataFrame):
        yield from pieces({name: value[name].to_numpy() for name in value})
    elif hasattr(value, "to_tensors"):  # a trained model, whose network has no value of its own
        yield from pieces(value.to_tensors())
    elif is_dataclass(value):
        yield from pieces({field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, dict):
        for key, item in value.items():
            yield repr(key).encode()
            yield from pieces(item)
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from pieces(item)
    else:
        yield repr(value).encode()
