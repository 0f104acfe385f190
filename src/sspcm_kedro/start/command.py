"""The command ``start``: looks, decides, writes, and says what a run costs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from kedro.framework import project as project_module
from kedro.framework.project import configure_project
from kedro.utils import find_kedro_project
from rich.console import Console
from rich.table import Table

from sspcm_kedro.data.split import split
from sspcm_kedro.errors import BadInput
from sspcm_kedro.ingestion_check import check_lines
from sspcm_kedro.start.cost import hours_of_run, which_helps
from sspcm_kedro.start.decide import Reasoned, decide
from sspcm_kedro.start.environment import (
    PARAMETERS,
    load_parameters,
    name_for,
    need_new_environment,
    write_environment,
)
from sspcm_kedro.start.find import find_project
from sspcm_kedro.start.read import Project, read_project

PACKAGE = "sspcm_kedro"
SHOWN = ("kind", "labels", "unlabeled", "frames", "torso", "labeled", "validation", "input_hw",
         "padding", "weak", "batch", "steps", "rounds", "pck_threshold")  # fmt: skip
"""The values of the table; all others are in the file."""


def start(
    folder: Path, name: str | None, given: Sequence[str], *, force: bool, probe: bool
) -> None:
    """Write the environment of a project, and say what it is, what it costs and what to type.

    Args:
        folder: somebody's project.
        name: of the environment; None: the folder's.
        given: settings of ``source`` (``names=[nose,tail]``), which come before what is found.
        force: write over an environment.
        probe: time a few steps of training.

    Raises:
        BadInput: there are no labels of a known form, or something breaks a rule.
    """
    if project_module.PACKAGE_NAME != PACKAGE:
        configure_project(PACKAGE)
    conf = need_settings()
    folder = folder.resolve()
    chosen = name_for(folder) if name is None else name
    target = need_new_environment(conf, chosen, force=force)
    with _without_counts():
        project = read_project(folder, find_project(folder), _parsed(given))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    decisions = decide(project, device)
    program = "kedro" if find_kedro_project(Path.cwd()) else "sspcm-kedro"
    command = f"{program} run --env {chosen}"
    heading = (
        f"Written by sspcm-kedro start, with its reasons; change what you know better.\n{command}"
    )
    write_environment(target, chosen, decisions, heading)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(_table(decisions))
    _tell(console, project, load_parameters(conf, chosen), chosen, device, probe=probe)
    console.print(f"\nWritten:     {target / PARAMETERS}, all values with their reasons")
    console.print(f"Now type:    {command}")


def need_settings() -> Path:
    """The folder conf of the project of the working folder.

    Raises:
        BadInput: there is none.
    """
    conf = (find_kedro_project(Path.cwd()) or Path.cwd()) / "conf"
    if not (conf / "base").is_dir():
        rule = "must hold the settings of a project (conf/base), and does not"
        raise BadInput(conf.parent, rule, "Go to the project's folder, and start again")
    return conf


@contextmanager
def _without_counts() -> Iterator[None]:
    """Readers warn, and do not say what they count: all of it is told together in the end."""
    logger = logging.getLogger(PACKAGE)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _parsed(given: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for text in given:
        key, equals, value = text.partition("=")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadInput(
                f"--source {text}", "must be key=value, in YAML", "Correct it"
            ) from error
        if not equals or key.strip() in ("kind", "root"):
            rule = "must be key=value, of another setting than kind and root"
            raise BadInput(f"--source {text}", rule, "Write e.g. --source names=[nose,tail]")
    return settings


def _table(decisions: Mapping[str, Reasoned]) -> Table:
    table = Table("setting", "value", "reason")
    for parameter, values in decisions.items():
        for key, (value, reason) in values.items():
            if key in SHOWN and (parameter, key) not in (("network", "kind"), ("method", "kind")):
                mirrors = isinstance(value, dict) and "flip_probability" in value
                shown = f"flip {value['flip_probability']:g}" if mirrors else str(value)
                table.add_row(f"{parameter}.{key}", shown, reason)
    return table


def _tell(
    console: Console, project: Project, typed: dict[str, Any], name: str, device: str,
    *, probe: bool,
) -> None:  # fmt: skip
    """The check of ingestion, the cost, and what would help."""
    chosen = typed["split"].model_copy(update={"unlabeled_includes_labeled": True})
    parts = split(project.people, chosen, 0)  # frames of videos are not there yet
    unlabeled = parts.unlabeled
    if not typed["split"].unlabeled_includes_labeled:
        unlabeled = unlabeled.take(~np.isin(unlabeled.ids, parts.labeled.ids))
    tables = {"labeled": parts.labeled, "unlabeled": unlabeled, "validation": parts.validation}
    lines, warnings = check_lines(
        tables, project.people.skeleton, typed["view"], typed["evaluation"].pck_threshold
    )
    if project.frames:
        lines[0] += f"; and up to {project.frames:,} frames of videos"
    for line in (*lines, *(f"Mind: {warning}" for warning in warnings)):
        console.print(line)
    people = {"labeled": len(parts.labeled), "validation": len(parts.validation),
              "unlabeled": len(unlabeled) + project.frames}  # fmt: skip
    console.print()
    if probe:
        hours, seconds = hours_of_run(typed, project.people.skeleton.size, people)
        took = f"{hours:.1f} hours" if hours >= 2 else f"{max(1, round(60 * hours))} minutes"
        console.print(
            f"A run takes about {took} here ({device}; a step of a round took {seconds:.2f} s just "
            "now), and some for reading images and choosing frames."
        )
    console.print(which_helps(people["labeled"], project.unlabeled, name))
