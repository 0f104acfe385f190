"""Hooks: parameters that shape the pipelines, and runs that stop cleanly."""

import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines, settings
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from sspcm_kedro import ranks
from sspcm_kedro.conf_files import StrictConfigLoader, change, explain_errors
from sspcm_kedro.datasets.lock import hold_folder
from sspcm_kedro.engine.determinism import configured_torch
from sspcm_kedro.engine.memory import need_memory
from sspcm_kedro.errors import BadInput, shown
from sspcm_kedro.parameters import near

logger = logging.getLogger(__name__)


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
        loader = StrictConfigLoader(
            conf_source=str(context.config_loader.conf_source),
            env=context.env,
            **settings.CONFIG_LOADER_ARGS,
        )
        parameters = loader["parameters"]
        for key in given:
            if key not in parameters:
                rule = "is not a parameter of this project"
                raise BadInput(f"--params {key}", rule, near(key, parameters))
        with explain_errors("--params"):
            context.config_loader["parameters"] = change(parameters, given)


class Terminated(SystemExit):
    """A signal, raised in the main thread so that clean-up runs.

    Like KeyboardInterrupt no ``Exception``: logging and libraries catch those and go on. Python
    ends with the code that shells give to that signal, and without a traceback.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}"


class GracefulStop:
    """Turns SIGTERM, SIGHUP and Ctrl-C into an exception; the same command goes on.

    Only while pipelines run, and in the main thread, which alone may handle signals. A signal may
    arrive where exceptions are lost (a ``__del__``, a callback of weakref or of C code): Python
    tells of most, and they are raised again a moment later; all others at the next node or
    checkpoint. A second signal does what it would do without this. Of several processes the first
    one stops and the others end with it; launchers signal all of them again, and hit none while it
    cleans up.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP")
               if hasattr(signal, name))  # fmt: skip

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._unraisable_before: Any = None
        self._asked: int | None = None
        self._epochs: dict[str, int] = {}

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self) -> None:
        self._restore()  # an interrupted run in a notebook ends without a word to the hooks
        self._asked, self._epochs = None, {}
        if threading.current_thread() is threading.main_thread():
            for signum in self.SIGNALS:
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):  # nohup ignores SIGHUP
                    what = self._stop if ranks.rank() == 0 else signal.SIG_IGN
                    self._before[signum] = signal.signal(signum, what)
            self._unraisable_before, sys.unraisablehook = sys.unraisablehook, self._lost

    @hook_impl(tryfirst=True)
    def before_node_run(self) -> None:
        self._look()

    @hook_impl(tryfirst=True)
    def before_dataset_saved(self) -> None:
        self._look()

    @hook_impl(tryfirst=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        if dataset_name.endswith("_checkpoint"):
            self._epochs[dataset_name.removesuffix("_checkpoint")] = data["epoch"]
        self._look()

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._restore()

    @hook_impl
    def on_pipeline_error(self) -> None:
        self._restore()

    def _look(self) -> None:
        if self._asked is not None:
            raise Terminated(self._asked)

    def _stop(self, signum: int, frame: object) -> None:
        if self._asked is None:
            self._asked = signum
            say(self._farewell())
        self._restore_signals()
        raise Terminated(signum)

    def _farewell(self) -> str:
        trained = "".join(f", {name} up to epoch {n}" for name, n in self._epochs.items())
        how = signal.Signals(self._asked or 0).name
        return (
            f"Stopped by {how}. Stored is what the finished nodes have made{trained}; "
            "the same command goes on from there."
        )

    def _lost(self, unraisable: Any) -> None:
        """Python's ``sys.unraisablehook``: raise what was lost again, outside of what lost it."""
        if not isinstance(unraisable.exc_value, Terminated):
            self._unraisable_before(unraisable)
            return
        signum = unraisable.exc_value.signum
        self._before[signum] = signal.signal(signum, self._stop)
        again = threading.Timer(0.02, os.kill, (os.getpid(), signum))
        again.daemon = True
        again.start()

    def _restore_signals(self) -> None:
        while self._before:
            signum, before = self._before.popitem()
            signal.signal(signum, before if ranks.world() == 1 else signal.SIG_IGN)

    def _restore(self) -> None:
        self._restore_signals()
        if self._unraisable_before is not None:
            sys.unraisablehook, self._unraisable_before = self._unraisable_before, None


def say(text: str) -> None:
    """Print to stderr, from within a signal handler too (which may have interrupted a print)."""
    with suppress(AttributeError, OSError, ValueError):  # there is no stderr, or nobody reads it
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode())


class ForARun:
    """What ``_run`` holds is let go when the run ends, well or not.

    Of a run that is stopped from outside no hook is told: the next one closes ``_run`` first.
    """

    def __init__(self) -> None:
        self._run = ExitStack()

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._run.close()

    @hook_impl
    def on_pipeline_error(self) -> None:
        self._run.close()


class PreparedMachine(ForARun):
    """Threads and determinism of ``machine`` for a run's length; a view that the network takes and
    that prediction asks for nothing untrained of; a training that keeps what the method reads, and
    whose shards the processes can share; weights to start from that are there."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._run.close()  # of a run that was stopped from outside
        if {"params:view", "params:network"} <= pipeline.inputs():  # they do not know each other
            catalog["params:view"].load().check(catalog["params:network"].load())
        for name in ("params:method", "params:comparison"):
            if {"params:training", name} <= pipeline.inputs():
                catalog["params:training"].load().check(catalog[name].load())
        if {"params:method", "params:evaluation"} <= pipeline.inputs():
            rules, evaluation = (
                catalog["params:method"].load().label_rules(), catalog["params:evaluation"].load()
            )  # fmt: skip
            if rules.held_out and rules.tolerance != evaluation.pck_threshold:
                logger.warning(
                    "method.tolerance = %s is not evaluation.pck_threshold = %s: pseudo-labels "
                    "count as right up to another distance than keypoints of the scores",
                    rules.tolerance, evaluation.pck_threshold,
                )  # fmt: skip
        for name in ("params:evaluation", "params:monitor"):
            if {"params:view", name} <= pipeline.inputs():
                catalog[name].load().averages_mirrored(catalog["params:view"].load())
        if "params:machine" in pipeline.inputs():
            machine = catalog["params:machine"].load()
            machine.need_device()
            if any("training" in node.tags for node in pipeline.nodes):
                machine.need_compile()
                network = catalog["params:network"].load()
                network.need_start()
                begins = {"resume_warmup", "resume_comparison"} & pipeline.inputs()
                if not all(catalog[name].exists() for name in begins):
                    network.fetch_start()  # before hours of reading people and of training
                ranks.mine(catalog["params:training"].load().shards)
            self._run.enter_context(configured_torch(machine))
            sizes = ("params:view", "params:network", "params:training")
            if set(sizes) <= pipeline.inputs():
                view, network, training = (catalog[name].load() for name in sizes)
                need_memory(view, network, training, machine.pick())


class OneRun(ForARun):
    """No second run writes into the same data folder; looking (kedro viz, notebooks) is free."""

    def __init__(self) -> None:
        super().__init__()
        self._root = Path()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        root = context.config_loader["globals"].get("data_root")
        if not isinstance(root, str):
            rule = f"globals.yml must say data_root, a folder, found {shown(root)}"
            raise BadInput(context.config_loader.conf_source, rule, "Write e.g. data_root: data")
        self._root = context.project_path / root

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self) -> None:
        self._run.close()  # of a run in this process that was interrupted
        if ranks.rank() == 0:  # the only process that writes
            self._run.enter_context(hold_folder(self._root))
