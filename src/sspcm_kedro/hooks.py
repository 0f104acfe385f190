"""Hooks: parameters that shape the pipelines, and runs that stop cleanly."""

import difflib
import signal
import threading
from contextlib import ExitStack
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines, settings
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from omegaconf import OmegaConf

from sspcm_kedro.engine.determinism import configured_torch
from sspcm_kedro.errors import BadInput


class PipelineShape:
    """Builds the pipelines for the run's own number of rounds and kind of source.

    Kedro builds pipelines without parameters. The context is made before they are first looked at,
    so what it knows is kept here for the registry.
    """

    parameters: dict[str, Any] | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        PipelineShape.parameters = context.config_loader["parameters"]
        # A process may hold several sessions (tests, notebooks): each gets pipelines of its own.
        pipelines.configure(pipelines._pipelines_module)


class KnownParameters:
    """--params changes single values, and only of parameters that there are.

    Kedro alone would take a mistyped key for a new parameter; and in an environment that replaces
    whole keys, ``training.rounds=3`` would drop every other value of a ``training`` that stands in
    base. So the environment's parameters are read first, and changed then.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        given = context.config_loader.runtime_params or {}
        loader = OmegaConfigLoader(
            conf_source=str(context.config_loader.conf_source),
            env=context.env,
            **settings.CONFIG_LOADER_ARGS,
        )
        parameters = loader["parameters"]
        known = sorted(parameters)
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(known)}."
                raise BadInput(f"--params {key}", "is not a parameter of this project", hint)
        context.config_loader["parameters"] = OmegaConf.to_container(
            OmegaConf.merge(parameters, given)
        )


class Terminated(BaseException):
    """SIGTERM, raised in the main thread so that clean-up runs.

    Like KeyboardInterrupt no ``Exception``: logging and libraries catch those and go on.
    """


class GracefulStop:
    """Turns SIGTERM into an exception; what was saved stays, and the same command goes on.

    Only while pipelines run, and in the main thread, which alone may handle signals.
    """

    def __init__(self) -> None:
        self._before: Any = None

    @hook_impl
    def before_pipeline_run(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._restore()  # Ctrl-C in a notebook ends a run without a word to the hooks
            self._before = signal.signal(signal.SIGTERM, self._stop)

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._restore()

    @hook_impl
    def on_pipeline_error(self) -> None:
        self._restore()

    def _stop(self, signum: int, frame: object) -> None:
        self._restore()
        raise Terminated(signal.Signals(signum).name)

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None


class PreparedMachine:
    """Threads and determinism of ``machine`` for a run's length; a view that the network takes."""

    def __init__(self) -> None:
        self._run = ExitStack()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._run.close()  # of a run that was stopped from outside
        if {"params:view", "params:network"} <= pipeline.inputs():  # they do not know each other
            catalog["params:view"].load().check(catalog["params:network"].load())
        if "params:machine" in pipeline.inputs():
            self._run.enter_context(configured_torch(catalog["params:machine"].load()))

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._run.close()

    @hook_impl
    def on_pipeline_error(self) -> None:
        self._run.close()
