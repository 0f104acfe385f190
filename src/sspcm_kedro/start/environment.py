"""The files of an environment, with a reason beside each value."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from kedro.framework.project import settings

from sspcm_kedro.errors import BadInput, shown
from sspcm_kedro.parameters import parse
from sspcm_kedro.pipelines.plan.nodes import count_cost
from sspcm_kedro.start.decide import Reasoned

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
TAKEN = ("base", "local")
GLOBALS, PARAMETERS = "globals.yml", "parameters.yml"


def name_for(folder: Path) -> str:
    """A name for the environment of a folder, from the folder's."""
    return re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")[:100] or "mine"


def need_new_environment(conf: Path, name: str, *, force: bool) -> Path:
    """The folder of an environment that is to be written.

    Raises:
        BadInput: the name is none, or there is one that is not to be written over.
    """
    if not _NAME.fullmatch(name) or name in TAKEN:
        rule = "the name of an environment must be letters, digits, _ and -, and neither of "
        rule += f"{' and '.join(TAKEN)}, found {shown(name)}"
        raise BadInput("--name", rule, "Choose another: --name mine")
    folder = conf / name
    if folder.exists() and not force:
        rule = "there is such an environment already, and it is not written over"
        raise BadInput(folder, rule, "Choose another --name, or say --force")
    return folder


def to_yaml(decisions: Mapping[str, Reasoned], heading: str) -> str:
    """The parameters as YAML, with the reasons as comments."""
    lines = ["# yaml-language-server: $schema=../parameters.schema.json",
             *(f"# {line}" for line in heading.splitlines())]  # fmt: skip
    for parameter, values in decisions.items():
        lines += ["", f"{parameter}:"]
        for key, (value, reason) in values.items():
            lines.append(f"  {key}: {_flow(value)} # {' '.join(reason.split())}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("...\n").strip()


def write_environment(
    folder: Path, name: str, decisions: Mapping[str, Reasoned], heading: str
) -> None:
    """Write both files, once all values are known to be ones that the project takes.

    Raises:
        BadInput: a value breaks a rule of its parameter.
    """
    for parameter, kind in parameter_kinds().items():
        if parameter in decisions:
            values = {key: value for key, (value, _) in decisions[parameter].items()}
            parse(parameter, values, kind)
    folder.mkdir(parents=True, exist_ok=True)
    root = f"${{env:SSPCM_DATA,data/{name}}}"
    text = f"data_root: {root} # all that runs make; a folder of this environment's own\n"
    (folder / GLOBALS).write_text(text, encoding="utf-8")
    (folder / PARAMETERS).write_text(to_yaml(decisions, heading), encoding="utf-8")


def load_parameters(conf: Path, name: str) -> dict[str, Any]:
    """The environment's parameters, as a run reads them, as typed objects; but ``plan``."""
    loader = settings.CONFIG_LOADER_CLASS(str(conf), env=name, **settings.CONFIG_LOADER_ARGS)
    raw = loader["parameters"]
    return {key: parse(key, raw[key], kind) for key, kind in parameter_kinds().items()}


def parameter_kinds() -> dict[str, Any]:
    """The types of the parameters that cost depends on: all that are decided here, and more."""
    hints = get_type_hints(count_cost, include_extras=True)
    return {key: kind for key, kind in hints.items() if key not in ("return", "plan")}
