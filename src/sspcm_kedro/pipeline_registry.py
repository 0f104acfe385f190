"""All pipelines, by name."""

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.framework.project import settings
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from sspcm_kedro.hooks import PipelineShape
from sspcm_kedro.pipelines import baseline, evaluation, ingestion, reporting, rounds, warmup


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines, shaped by ``source.kind`` and ``training.rounds``.

    ``__default__`` is everything: ingestion, warm-up, rounds, baseline, evaluation, reporting.
    """
    parameters = PipelineShape.parameters or base_parameters()
    count = int(parameters["training"].get("rounds", 2))
    stages = {
        "ingestion": ingestion.create_pipeline(drawn=parameters["source"]["kind"] == "drawn"),
        "warmup": warmup.create_pipeline(),
        "rounds": rounds.create_pipeline(count),
        "baseline": baseline.create_pipeline(),
        "evaluation": evaluation.create_pipeline(count),
        "reporting": reporting.create_pipeline(count),
    }
    each_round = {
        f"round_{n}": stages["rounds"].only_nodes_with_namespaces([f"round_{n}"])
        for n in range(1, count + 1)
    }
    return {**stages, **each_round, "__default__": sum(stages.values(), Pipeline([]))}


def base_parameters() -> dict[str, Any]:
    """The project's own parameters, for commands that make no context (``registry list``)."""
    root = find_kedro_project(Path.cwd()) or Path.cwd()
    loader = OmegaConfigLoader(
        conf_source=str(Path(root) / "conf"), env="base", **settings.CONFIG_LOADER_ARGS
    )
    return loader["parameters"]
