"""The settings of a training: stored in its checkpoints, compared by what reads them."""

import json
import logging
import re
import shlex
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines, settings
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import BaseModel

from sspcm_kedro.conf_files import StrictConfigLoader
from sspcm_kedro.engine import record
from sspcm_kedro.errors import BadInput
from sspcm_kedro.parameters import parameter_types, parse
from sspcm_kedro.revision import git_revision

logger = logging.getLogger(__name__)

SHAPING = ("seed", "view", "network", "training")
"""With ``method`` or ``comparison``: the parameters that decide what a training learns."""
STAGE = re.compile(r"(comparison)_checkpoint|(warmup|round_\d+)_\w+")
"""What a stage of a training makes."""


class RunSettings:
    """Settings are stored in each checkpoint; a pipeline that reads a training must have the same.

    Pipelines that train are left to the stages, which know what each of them reads. The trained
    model is read with what its own file says.
    """

    def __init__(self) -> None:
        self._raw: dict[str, Any] = {}
        self._context: KedroContext | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._raw, self._context = context.config_loader["parameters"], context

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """A checkpoint is given the settings; it is written with them, and never without. The
        record of the run is given them too, and which of them somebody has changed."""
        if dataset_name.endswith("_checkpoint") and isinstance(data, dict):
            names = (*SHAPING, trained_by(dataset_name))
            data["settings"] = plain(typed({name: self._raw[name] for name in names}))
        if dataset_name == "run_record" and self._context is not None:
            data.update(said_of_run(self._context))

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Refuse to read a training with other settings than it had.

        Raises:
            BadInput: a setting differs; its two values are said, and how to give the old one.
        """
        for trained in ("method", "comparison"):
            if reads(pipeline, trained):
                compare(catalog, trained, self._raw)


def said_of_run(context: KedroContext) -> dict[str, Any]:
    """What the record of a run says beside its results.

    Returns:
        ``environment``; ``settings``, all of them, flat; ``changed``, those that are not as in
        conf/base, with what stands there and what is instead (None where there is no such setting);
        ``revision`` of the project (commit, branch, dirty), None without Git.
    """
    base = StrictConfigLoader(
        conf_source=str(context.config_loader.conf_source), env="base",
        **settings.CONFIG_LOADER_ARGS,
    )["parameters"]  # fmt: skip
    usual, here = flat(typed(base)), flat(typed(context.config_loader["parameters"]))
    keys = [key for key in {**usual, **here} if usual.get(key) != here.get(key)]
    revision = git_revision(context.project_path)
    return {
        "environment": context.env if context.env not in (None, "local") else "base",
        "settings": here,
        "changed": {key: [usual.get(key), here.get(key)] for key in keys},
        "revision": None if revision is None else revision._asdict(),
    }


def trained_by(name: str) -> str:
    """Which training a dataset belongs to, by the parameter that says what is trained."""
    return "comparison" if name.startswith("comparison_") else "method"


def reads(pipeline: Pipeline, trained: str) -> bool:
    """Whether a pipeline reads a training's products and trains nothing of it."""
    if any(STAGE.fullmatch(n) and trained_by(n) == trained for n in pipeline.all_outputs()):
        return False
    made = pipelines["__default__"].all_outputs() - pipelines["ingestion"].all_outputs()
    return any(trained_by(n) == trained for n in (pipeline.inputs() & made) - {"trained_model"})


def compare(catalog: CatalogProtocol, trained: str, raw: dict[str, Any]) -> None:
    """Refuse parameters that are not those of a training.

    Raises:
        BadInput: they are not.
    """
    where, settings = stored_settings(catalog, trained, raw["training"].get("rounds", 2))
    if settings is None:
        return
    today = flat(typed({name: raw[name] for name in settings if name in raw}))
    before = flat(record.in_full(settings))
    differ = {k: (before[k], today[k]) for k in before if k in today and before[k] != today[k]}
    if differ:
        values = "; ".join(f"{k} was {_text(a)}, is {_text(b)}" for k, (a, b) in differ.items())
        remedy = f"{how_to_give({k: a for k, (a, _) in differ.items()})} to go on with it"
        raise BadInput(
            where,
            f"was trained with other settings: {values}",
            f"{remedy}, or train with today's settings first",
        )


def how_to_give(settings: dict[str, Any]) -> str:
    """What gives settings (flat) to a run: ``--params``, which Kedro parts at every comma, and for
    lists the file."""
    texts = {name: _text(value) for name, value in settings.items()}
    given = ",".join(f"{name}={text}" for name, text in texts.items() if "," not in text)
    lists = [f"{name} = {text}" for name, text in texts.items() if "," in text]
    ways = [f"add --params {shlex.quote(given)}"] if given else []
    if lists:
        ways.append(f"set {', '.join(lists)} in the environment's parameters.yml (--params takes "
                    "no list)")  # fmt: skip
    text = " and ".join(ways)
    return text[0].upper() + text[1:]


def stored_settings(
    catalog: CatalogProtocol, trained: str, rounds: int
) -> tuple[str, dict[str, Any] | None]:
    """The last checkpoint that a training has left, and its settings (None: it has not left any).

    Args:
        catalog: of the run.
        trained: "method" or "comparison".
        rounds: the round whose checkpoint is looked at first; earlier stages follow.
    """
    stages = [f"round_{n}" for n in range(rounds, 0, -1)] + ["warmup"]
    for stage in ["comparison"] if trained == "comparison" else stages:
        if catalog.exists(f"{stage}_checkpoint"):
            dataset: Any = catalog[f"{stage}_checkpoint"]
            where, settings = dataset._describe()["filepath"], dataset.load().get("settings")
            if settings is None:
                logger.warning(
                    "%s was written by an older version and does not say its settings: this run's "
                    "are taken for them", where,
                )  # fmt: skip
            return where, settings
    return "", None


def trained_settings(catalog: CatalogProtocol) -> dict[str, Any]:
    """The typed parameters that the method in the data folder was trained with.

    For notebooks: seed, view, network, training and method, whatever today's files say.

    Args:
        catalog: of a context.

    Raises:
        BadInput: nothing is trained.
    """
    _, begun = stored_settings(catalog, "method", rounds=0)
    if begun is None:
        remedy = "Run the default pipeline first: kedro run, with the same --env"
        raise BadInput("the data folder", "must hold a training with its settings", remedy)
    _, settings = stored_settings(catalog, "method", begun["training"]["rounds"])
    return typed(settings or begun)


def typed(raw: dict[str, Any]) -> dict[str, Any]:
    """Parameters as the nodes of all pipelines will see them.

    Kedro's own ``context.params`` types those of the pipelines being run alone, and what is stored
    or compared must not depend on which part of an experiment a process does.
    """
    types = parameter_types({"__default__": pipelines["__default__"]})
    return {key: parse(key, raw[key], types[key]) for key in raw if key in types}


def plain(settings: Any) -> Any:
    """Typed parameters as plain values, defaults filled in."""
    if isinstance(settings, BaseModel):
        return settings.model_dump(mode="json")
    return {k: plain(v) for k, v in settings.items()} if isinstance(settings, dict) else settings


def flat(settings: Any) -> dict[str, Any]:
    """Nested settings with dotted names; lists stay whole, as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, list) else value
        for name, value in record.flat(plain(settings)).items()
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
