"""Settings that make no sense: refused with the key before work starts, or meant as they are."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from benchmarks.reliability.bench import Bench
from benchmarks.reliability.case import Case, Tried
from benchmarks.reliability.mutations import parameter_mutations
from benchmarks.reliability.place import PARAMS, Place
from benchmarks.reliability.worker import Answer, Worker

COUNT, BLOCK = 1000, 50
LIMIT = 20.0
"""Seconds for settings to be read and pipelines to be built; a quarter of one is usual."""
RUN_LIMIT, SILENCE = 240.0, 90.0
"""Seconds of a run with accepted settings; and without a file written, which is called a hang."""


def cases(bench: Bench) -> list[Case]:
    """Blocks of mutations; of each block one that was accepted is run."""
    found = list(islice(parameter_mutations(bench.seed), bench.size(COUNT, 40)))
    blocks = [found[start : start + BLOCK] for start in range(0, len(found), BLOCK)]
    return [
        Case(f"mutations {i * BLOCK + 1} to {i * BLOCK + len(block)}",
             lambda i=i, block=block: mutated(bench, i, block))
        for i, block in enumerate(blocks)
    ]  # fmt: skip


def mutated(bench: Bench, number: int, block: Sequence[tuple[str, Any]]) -> Tried:
    """Each mutation's settings and pipelines; then a run with one that was accepted."""
    place, faults, accepted = Place(bench.folder / f"settings_{number}"), [], []
    with Worker(build, LIMIT) as ask:
        for key, value in block:
            answer = ask((str(place.root), key, value))
            if answer.kind == "value":
                accepted.append((key, value))
            elif fault := refusal_fault(answer, key):
                faults.append(f"{key}={short(value)}: {fault}")
    note = f"{len(block) - len(accepted) - len(faults)} refused, {len(accepted)} accepted"
    if accepted:
        key, value = random.Random(f"{bench.seed} {number}").choice(accepted)
        note += f", run with {key}={short(value)}"
        faults += [
            f"run with {key}={short(value)}: {line}" for line in run_faults(place, key, value)
        ]
    if not faults:
        place.remove()
    return Tried(faults, len(block), note)


def refusal_fault(answer: Answer, key: str) -> str | None:
    """What is wrong with the refusal of a setting; None if it is told with its key."""
    if answer.kind != "error":
        return f"{answer.kind}: {answer.value}"
    if "BadInput" not in answer.error:
        return f"a raw error: {answer.error[0]}: {answer.value[:150]!r}"
    named = key in answer.value or key.rpartition(".")[2] in answer.value
    return None if named else f"does not name the key: {answer.value[:200]!r}"


def run_faults(place: Place, key: str, value: Any) -> list[str]:
    """The whole default run with a setting: to its end with finite numbers, or one sentence."""
    with Worker(run, RUN_LIMIT) as ask:
        answer = ask((str(place.root), key, value))
    if answer.kind == "hang":
        written = [path.stat().st_mtime for path in place.data.rglob("*") if path.is_file()]
        silent = time.time() - max(written, default=0.0)
        return [f"a hang: nothing was written for {silent:.0f} s"] if silent > SILENCE else []
    if answer.kind != "value":
        fault = refusal_fault(answer, key)
        return [fault] if fault else []
    return list(nonsense(place.data))


def nonsense(data: Path) -> Iterator[str]:
    """Losses that are no numbers, without a word."""
    for file in sorted(data.glob("06_models/*/history.csv")):
        table = pd.read_csv(file)
        for name in table.columns[table.columns.str.contains("loss")]:
            if not all(math.isfinite(value) for value in table[name].dropna()):
                yield f"{file.parent.name}: {name} is not finite, and the run ended well"


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({len(text)} signs)"


def nested(key: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} of a.b, as ``--params`` gives it to Kedro."""
    first, dot, rest = key.partition(".")
    return {first: nested(rest, value) if dot else value}


# What runs in the worker's process.


def session_with(root: str, params: dict[str, Any]) -> Any:
    """A session of a place with these parameters."""
    import os  # noqa: PLC0415

    from kedro.framework.project import configure_project  # noqa: PLC0415
    from kedro.framework.session import KedroSession  # noqa: PLC0415

    os.chdir(root)
    os.environ["SSPCM_TRACKING"] = "off"
    configure_project("sspcm_kedro")
    return KedroSession.create(root, env="smoke", runtime_params=params)


def build(item: tuple[str, str, Any]) -> None:
    """Read the settings, build all pipelines, make each of their typed parameters."""
    from kedro.framework.project import pipelines  # noqa: PLC0415

    from sspcm_kedro.hooks import PreparedMachine  # noqa: PLC0415

    root, key, value = item
    with session_with(root, nested(key, value)) as session:
        catalog, every = session.load_context().catalog, dict(pipelines)
        for name in sorted({name for pipeline in every.values() for name in pipeline.inputs()}):
            if name.startswith("params:"):
                catalog[name].load()
        machine = PreparedMachine()
        try:
            machine.before_pipeline_run(pipeline=every["__default__"], catalog=catalog)
        finally:
            machine.after_pipeline_run()


def run(item: tuple[str, str, Any]) -> None:
    """The default run."""
    root, key, value = item
    name, _, score = PARAMS.partition("=")
    params = nested(name, float(score))
    first, dot, rest = key.partition(".")
    if first not in params:
        params |= nested(key, value)
    else:
        params[first] = {**params[first], **nested(rest, value)} if dot else value
    with session_with(root, params) as session:
        session.run()
