"""What makes an experiment: a training with the same code, people and settings is the same run."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kedro.framework.project import pipelines

import sspcm_kedro
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine.fingerprint import fingerprint, people_text
from sspcm_kedro.run_settings import flat, typed

Trained = Literal["method", "comparison"]
"""The two trainings of the project, by the parameter that says what is trained."""

PACKAGE = Path(sspcm_kedro.__file__).parent
REPORTING_CODE = ("tracking/", "serving.py", "pipelines/reporting/", "figures/")
"""Code that changes no number."""
EVALUATION = ("pipelines/evaluation/",)
"""Code that changes no training."""


@dataclass(frozen=True)
class Identity:
    """One experiment.

    Attributes:
        key: tells experiments apart: code, people, environment and settings but ``machine``.
        training: the same, but for how the trained networks are evaluated.
        name: for people; several experiments may share it.
        params: flat settings of the training and its evaluation, every default filled in.
    """

    key: str
    training: str
    name: str
    params: dict[str, Any]


def identify(trained: Trained, raw: dict[str, Any], env: str, people: str) -> Identity:
    """The experiment that a training belongs to.

    Args:
        trained: "method" (warm-up and rounds) or "comparison".
        raw: the parameters of the run, as configured.
        env: the Kedro environment.
        people: ``people_of`` the tables.
    """
    others = {"machine", "published", "method", "comparison"} - {trained}
    kinds = {name for name in raw if f"params:{name}" in pipelines["__default__"].inputs()}
    settings = typed({name: raw[name] for name in kinds - others})
    settings["method"] = settings.pop(trained)  # one name, so that runs compare line by line
    params = flat(settings)
    kept = {k: v for k, v in params.items() if not k.startswith("evaluation.")}
    training = fingerprint(trained, env, people, code(*REPORTING_CODE, *EVALUATION), kept)
    digest = code(*REPORTING_CODE)
    key = fingerprint(training, digest, params)
    facts = {"environment": env, "trained_by": trained, "people": people, "code": digest}
    return Identity(key, training, run_name(params, env, trained), {**facts, **params})


def run_name(params: dict[str, Any], env: str, trained: Trained) -> str:
    """Such as ``sspcm, 100 labels, seed 0``; an environment of one's own stands before it."""
    kind = params["method.kind"]
    if trained == "comparison" and kind == "sspcm":
        kind = "sspcm without rounds"
    parts = [] if env == "base" else [env]
    return ", ".join([*parts, kind, f"{params['split.labeled']} labels", f"seed {params['seed']}"])


def people_of(tables: dict[str, Instances | None]) -> str:
    """Twelve digits that change when any person or label does; not with where the files lie."""
    return fingerprint(
        *((name, None if table is None else people_text(table)) for name, table in tables.items())
    )


@cache
def code(*without: str) -> str:
    """Twelve digits that change when a module of this package does.

    Args:
        without: modules and folders that do not count, relative to the package.
    """
    files = {file.relative_to(PACKAGE).as_posix(): file for file in PACKAGE.rglob("*.py")}
    return fingerprint(
        *((name, files[name].read_text()) for name in sorted(files) if not name.startswith(without))
    )
