"""All pipelines, by name."""

import os
from pathlib import Path
from typing import Any

from kedro.framework.project import settings
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from sspcm_kedro.conf_files import StrictConfigLoader
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.hooks import PipelineShape
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.parameters import parse
from sspcm_kedro.pipelines import (
    annotation_queue,
    boxed,
    comparison,
    crops,
    download,
    evaluation,
    export,
    ingestion,
    plan,
    prediction,
    reporting,
    rounds,
    submission,
    warmup,
)
from sspcm_kedro.sources import has_videos


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines, shaped by ``source.kind``, ``training.rounds``, ``submission``,
    ``machine.crop_cache``, and by whether ``prediction.images`` are videos.

    ``__default__`` is ingestion, warm-up, rounds, comparison, evaluation and reporting; the
    others run when they are asked for.
    """
    parameters = PipelineShape.parameters or base_parameters()
    count = number_of_rounds(parameters)
    kind = kind_of_source(parameters)
    machine = parse("machine", parameters.get("machine", {}), MachineConfig)
    cached = machine.crop_cache != "none"
    people = ingestion.create_pipeline(kind == "drawn", has_videos(_table(parameters, "source")))
    compared = boxed("comparison", evaluation.create_comparison_pipeline())
    stages = {
        "ingestion": boxed("ingestion", people + crops.create_pipeline(cached)),
        "warmup": boxed("warmup", warmup.create_pipeline(cached)),
        "rounds": rounds.create_pipeline(count, cached),
        "comparison": boxed("comparison", comparison.create_pipeline(cached)) + compared,
        "evaluation": compared + boxed("evaluation", evaluation.create_pipeline(count)),
        "reporting": boxed("reporting", reporting.create_pipeline(count)),
    }
    each_round = {
        f"round_{n}": stages["rounds"].only_nodes_with_namespaces([f"round_{n}"])
        for n in range(1, count + 1)
    }
    on_demand = {
        "annotation_queue": annotation_queue.create_pipeline(count),
        "download": download.create_pipeline(),
        "export": export.create_pipeline(),
        "plan": plan.create_pipeline(),
        "prediction": prediction.create_pipeline(of_videos(parameters)),
        "submission": submission.create_pipeline(count, *of_submission(parameters)),
    }
    return {
        **stages, **each_round, **on_demand, "__default__": sum(stages.values(), Pipeline([])),
    }  # fmt: skip


def number_of_rounds(parameters: dict[str, Any]) -> int:
    """``training.rounds``, before Kedro has made typed objects of the parameters.

    Raises:
        BadInput: ``training`` breaks a rule, whichever: each round has nodes of its own.
    """
    return parse("training", _table(parameters, "training"), TrainingConfig).rounds


def kind_of_source(parameters: dict[str, Any]) -> str:
    """``source.kind``, likewise.

    Raises:
        BadInput: there is none.
    """
    kind = _table(parameters, "source").get("kind")
    if not isinstance(kind, str):
        rule = f"must say where the people come from, found {kind!r}"
        remedy = "Write e.g. kind: coco; docs/data.md has all kinds"
        raise BadInput("parameter source.kind", rule, remedy)
    return kind


def of_submission(parameters: dict[str, Any]) -> tuple[str, str]:
    """``submission.kind`` and ``.network``, likewise. (Their values are its class's business.)"""
    table = _table(parameters, "submission")
    return str(table.get("kind", "coco")), str(table.get("network", "shipped"))


def of_videos(parameters: dict[str, Any]) -> bool:
    """Whether ``prediction.images`` is a video or a folder of videos, likewise."""
    images = _table(parameters, "prediction").get("images")
    if not isinstance(images, str) or not images:
        return False
    return bool(prediction.find_videos(Path(os.path.expanduser(images))))


def _table(parameters: dict[str, Any], name: str) -> dict[str, Any]:
    value = parameters.get(name)
    if not isinstance(value, dict):
        rule = f"must be a table of settings, found {value!r}"
        remedy = f"Change single ones: {name}.<setting>=<value>"
        if name == "source":
            remedy += " (what is to be fetched is download.source=<set>)"
        raise BadInput(f"parameter {name}", rule, remedy)
    return value


def base_parameters() -> dict[str, Any]:
    """The project's own parameters, for commands that make no context (``registry list``)."""
    root = find_kedro_project(Path.cwd()) or Path.cwd()
    loader = StrictConfigLoader(
        conf_source=str(Path(root) / "conf"), env="base", **settings.CONFIG_LOADER_ARGS
    )
    return loader["parameters"]
