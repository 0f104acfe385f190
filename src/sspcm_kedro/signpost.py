"""What a run says at its end: where everything is, and what to type next."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project
from rich.console import Console

from sspcm_kedro import ranks

PRODUCTS = {
    "report": "Report, open it in a browser",
    "trained_model": "Trained model",
    "onnx_model": "Model for onnxruntime",
    "metrics": "All scores",
    "predicted_keypoints": "Keypoints",
    "prediction_overlays": "Keypoints on images",
    "annotation_queue": "Images to label",
    "plan": "Plan",
}
"""What people look for, by its name in the catalog."""
NEXT = {
    "trained_model": (
        ("find keypoints", "run --pipelines prediction --params prediction.images=FOLDER"),
        ("choose whom to label next", "run --pipelines annotation_queue"),
    ),
}
"""What is then typed after ``caller``, likewise."""
LOOK = "Compare runs in a browser:      make ui"


class Signpost:
    """Prints the places of what a run has made, and the next commands."""

    @hook_impl(trylast=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        if ranks.rank() > 0:
            return
        given = run_params.get("runtime_params") or {}
        lines = signs(pipeline.all_outputs(), catalog, run_params.get("env"), given)
        if lines:
            console = Console(soft_wrap=True, highlight=False, markup=False)
            console.print("\n".join(["", *lines]))


def signs(
    made: set[str], catalog: CatalogProtocol, env: str | None, given: Mapping[str, Any]
) -> list[str]:
    """The lines: a product each that was made, then a command each that is of use now.

    Args:
        made: names of datasets.
        catalog: knows where they are.
        env: the Kedro environment of the run.
        given: its ``--params``, which a run that reads its results has to repeat.
    """
    lines, project = [], find_kedro_project(Path.cwd())
    for name in (name for name in PRODUCTS if name in made):
        place = getattr(catalog[name], "_describe", dict)().get("filepath")
        if place:
            lines.append(f"{PRODUCTS[name] + ':':31} {place}")
    chosen = f" --env {env}" if env and env != "local" else ""
    for name in (name for name in NEXT if name in made):
        for what, command in NEXT[name]:
            first, rest = command.split(" ", 1)
            rest, *own = rest.split(" --params ")
            if params := ",".join([*own, *flat(given)]):
                rest += f" --params {shlex.quote(params)}"
            lines.append(f"To {what + ':':28} {caller(project)} {first}{chosen} {rest}")
        if project and (project / "Makefile").is_file():
            lines.append(LOOK)
    return lines


def caller(project: Path | None) -> str:
    """What calls this project as this run was called: ``kedro``, or where only settings are,
    ``sspcm-kedro``; after the data folder, without which another training's results are read."""
    program = "kedro" if project else "sspcm-kedro"
    data = os.environ.get("SSPCM_DATA")
    return f"SSPCM_DATA={shlex.quote(data)} {program}" if data else program


def flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Params as ``kedro run --params`` takes them: ``key.key=value``."""
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            told = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            yield f"{prefix}{key}={told}"
