"""Settings that make no sense: refused with the key before work starts, or meant as they are."""

import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.mutations import mutated, parameter_mutations
from benchmarks.reliability.place import Place
from benchmarks.reliability.worker import Answer, Worker

Parameters = dict[str, Any]
Mutation = tuple[str, Any]
ENV = "mutated"
COUNT, BLOCK = 1000, 50
LIMIT = 20.0
"""Seconds for settings to be read and pipelines to be built; a quarter of one is usual."""
RUN_LIMIT, SILENCE = 240.0, 90.0
"""Seconds of a run with accepted settings; and without a file written, which is called a hang."""


def cases(bench: Bench) -> list[Case]:
    """Blocks of mutations; of each block one that was accepted is run."""
    place = Place(bench.folder / "settings")
    with Worker(read_parameters, LIMIT) as ask:
        answer = ask(str(place.root))
    if answer.kind != "value":
        raise RuntimeError(f"the smoke environment cannot be read: {answer.value}")
    base = answer.value
    places = parameter_mutations(bench.seed, base)
    found = list(islice(places, bench.size(COUNT, 40)))
    blocks = [found[start : start + BLOCK] for start in range(0, len(found), BLOCK)]
    return [
        Case(f"mutations {i * BLOCK + 1} to {i * BLOCK + len(block)}",
             lambda i=i, block=block: mutations(bench, i, base, block))
        for i, block in enumerate(blocks)
    ]  # fmt: skip


def mutations(bench: Bench, number: int, base: Parameters, block: Sequence[Mutation]) -> Tried:
    """Each mutation's settings and pipelines; then a run with one that was accepted."""
    root, faults, accepted = bench.folder / f"settings_{number}", [], []
    place = Place(root)
    (root / "conf" / ENV).mkdir()
    (root / "conf" / ENV / "globals.yml").write_text(f"data_root: data/{ENV}\n")
    with Worker(build, LIMIT) as ask:
        for key, value in block:
            write_parameters(root, mutated(base, key, value))
            answer = ask(str(root))
            if answer.kind == "value":
                accepted.append((key, value))
            elif fault := refusal_fault(answer, key):
                faults.append(f"{told(key, value)}: {fault}")
    note = f"{len(block) - len(accepted) - len(faults)} refused, {len(accepted)} accepted"
    if accepted:
        key, value = random.Random(f"{bench.seed} {number}").choice(accepted)
        note += f", run with {told(key, value)}"
        write_parameters(root, mutated(base, key, value))
        faults += [f"run with {told(key, value)}: {line}" for line in run_faults(root)]
    if not faults:
        place.remove()
    return Tried(faults, len(block), note)


def write_parameters(root: Path, parameters: Parameters) -> None:
    """The parameters of an environment, as somebody may write them."""
    text = yaml.safe_dump(parameters, allow_unicode=False)
    (root / "conf" / ENV / "parameters.yml").write_text(text)


def refusal_fault(answer: Answer, key: str) -> str | None:
    """What is wrong with the refusal of a setting; None if its key is named, or file and line."""
    if answer.kind != "error":
        return f"{answer.kind}: {answer.value}"
    if "BadInput" not in answer.error:
        return f"a raw error: {answer.error[0]}: {answer.value[:150]!r}"
    named = any(part in answer.value for part in [*key.split("."), "parameters.yml, line "])
    return None if named else f"does not name the key: {answer.value[:200]!r}"


def run_faults(root: Path) -> list[str]:
    """The whole default run with a setting: to its end with finite numbers, or one sentence."""
    with Worker(run, RUN_LIMIT) as ask:
        answer = ask(str(root))
    data = root / "data" / ENV
    if answer.kind == "hang":
        written = [path.stat().st_mtime for path in data.rglob("*") if path.is_file()]
        silent = time.time() - max(written, default=0.0)
        return [f"a hang: nothing was written for {silent:.0f} s"] if silent > SILENCE else []
    if answer.kind != "value":
        if "BadInput" in answer.error:
            return []
        return [f"{answer.kind}: {' '.join(answer.error[:1])} {answer.value[:150]!r}"]
    return list(nonsense(data))


def nonsense(data: Path) -> Iterator[str]:
    """Losses that are no numbers, without a word."""
    for file in sorted(data.glob("06_models/*/history.csv")):
        table = pd.read_csv(file)
        for name in table.columns[table.columns.str.contains("loss")]:
            if not all(math.isfinite(value) for value in table[name].dropna()):
                yield f"{file.parent.name}: {name} is not finite, and the run ended well"


def told(key: str, value: Any) -> str:
    """A mutation on part of a line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = type(value).__name__
    text = text if len(text) <= 60 else f"{text[:50]}... ({len(text)} signs)"
    return f"{key}={text}"


# What runs in the worker's process.


def open_session(root: str, env: str) -> Any:
    """A session of a place."""
    os.chdir(root)
    os.environ["SSPCM_TRACKING"] = "off"
    from kedro.framework.project import configure_project  # noqa: PLC0415
    from kedro.framework.session import KedroSession  # noqa: PLC0415

    configure_project("sspcm_kedro")
    return KedroSession.create(root, env=env)


def read_parameters(root: str) -> Parameters:
    """Those of the smoke environment, all keys together."""
    with open_session(root, "smoke") as session:
        return session.load_context().config_loader["parameters"]


def build(root: str) -> None:
    """Read the settings, build all pipelines, make each of their typed parameters."""
    from kedro.framework.project import pipelines  # noqa: PLC0415

    from sspcm_kedro.hooks import PreparedMachine  # noqa: PLC0415

    with open_session(root, ENV) as session:
        catalog, every = session.load_context().catalog, dict(pipelines)
        for name in sorted({name for pipeline in every.values() for name in pipeline.inputs()}):
            if name.startswith("params:"):
                catalog[name].load()
        machine = PreparedMachine()
        try:
            machine.before_pipeline_run(pipeline=every["__default__"], catalog=catalog)
        finally:
            machine.after_pipeline_run()


def run(root: str) -> None:
    """The default run."""
    with open_session(root, ENV) as session:
        session.run()
