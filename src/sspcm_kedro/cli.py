"""``kedro run`` and ``start``; users' errors are one sentence, without a traceback."""

import copy
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import configure_project
from kedro.io import DatasetError

from sspcm_kedro.errors import BadInput, Diverged

VERBOSE = "SSPCM_VERBOSE"
"""The environment variable that shows tracebacks."""


def sentence_of(error: BaseException) -> str | None:
    """What an error says to users; None if it is none of theirs.

    Theirs are ``BadInput``, also behind what Kedro makes of it, and what Kedro itself refuses:
    names of pipelines and nodes, the catalog's files, values for options.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BadInput):
            return str(cause)
        if isinstance(cause, FileNotFoundError) and isinstance(error, DatasetError):
            rule = "there must be such a file, and a pipeline before this one makes it"
            remedy = "kedro run --only-missing-outputs, with the --env and --params of now, makes "
            remedy += "what is missing"
            return str(BadInput(cause.filename or _line(cause), rule, remedy))
        cause = cause.__cause__
    if isinstance(error, Diverged):
        return str(error)
    if "OutOfMemory" in type(error).__name__ or isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    ):  # fmt: skip
        remedy = "Lower training.batch, view.input_hw or the network's width"
        return str(BadInput("memory", f"there is not enough ({_line(error)})", remedy))
    if isinstance(error, ValueError | DatasetError | MissingConfigException):
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        raiser = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
        if raiser.startswith(("kedro.", "kedro_datasets.")):
            return f"{_line(error)} ({VERBOSE}=1 shows where)"
    return None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:600]


class SaidAtTheEnd(logging.Filter):
    """Drops Kedro's own words about an error that ends as one sentence."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        return error is None or is_verbose() or sentence_of(error) is None


def is_verbose() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(VERBOSE, "") not in ("", "0")


def tell_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, whose users' errors are one sentence on stderr, and exit code 1."""

    @functools.wraps(command)
    def told(**options: Any) -> Any:
        loggers = [logging.getLogger(name) for name in ("kedro.pipeline.node", *_RUNNERS)]
        quiet = SaidAtTheEnd()
        for logger in loggers:
            logger.addFilter(quiet)
        try:
            return command(**options)
        except Exception as error:
            if not _tells(error):
                raise SystemExit(1) from None
            sentence = sentence_of(error)
            if sentence is None or is_verbose():
                raise
            raise click.ClickException(sentence) from error
        finally:
            for logger in loggers:
                logger.removeFilter(quiet)

    return told


def _tells(error: Exception) -> bool:
    """Whether this process tells of it; of several processes one does."""
    if "WORLD_SIZE" not in os.environ:
        return True
    from sspcm_kedro import ranks  # noqa: PLC0415 # torch is slow

    return ranks.tells(error)


def use_all_gpus(command: Callable[..., Any]) -> Callable[..., Any]:
    """``run``, in as many processes as the machine has GPUs for it; or as one of the processes that
    a launcher of torch's or ``srun`` has started."""

    @functools.wraps(command)
    def shared(**options: Any) -> Any:
        import torch  # noqa: PLC0415 # it is slow

        from sspcm_kedro import ranks  # noqa: PLC0415

        ranks.take_slurms_place()
        if torch.cuda.device_count() > 1 and not ranks.is_launched():
            from sspcm_kedro.launch import launch, processes_for  # noqa: PLC0415

            processes = processes_for(options)
            if processes > 1:
                return launch(processes, run_as_one_of_several, options)
        with ranks.joined():
            if ranks.world() > 1:
                if options["runner"] is not None:
                    rule = f"cannot share a run among {ranks.world()} processes (WORLD_SIZE)"
                    raise BadInput(f"--runner {options['runner']}", rule, "Leave it out")
                options["runner"] = "sspcm_kedro.runner.RankedRunner"
            return command(**options)

    return shared


def run_as_one_of_several(options: dict[str, Any]) -> None:
    """``run`` in a process that ``sspcm_kedro.launch`` has started."""
    configure_project(Path(__file__).parent.name)
    try:
        run.callback(**options)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except Exception:  # the launcher would keep it to itself
        traceback.print_exc()
        raise SystemExit(1) from None


_RUNNERS = tuple(f"kedro.runner.{name}_runner" for name in ("sequential", "thread", "parallel"))


def _be_verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        os.environ[VERBOSE] = "1"  # for processes that this one starts, too


run: Any = copy.copy(kedro_run)
run.callback = tell_errors(use_all_gpus(run.callback))
run.params = [
    *run.params,
    click.Option(
        ["--verbose"], is_flag=True, expose_value=False, callback=_be_verbose,
        help=f"Show tracebacks of errors, as {VERBOSE}=1 does.",
    ),
]  # fmt: skip


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", help="Of the environment; the folder's by default.")
@click.option(
    "--source",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of source, e.g. names=[nose,tail]; comes before what is found.",
)
@click.option("--force", is_flag=True, help="Write over an environment of this name.")
@click.option("--no-probe", is_flag=True, help="Do not time a few steps of training.")
@tell_errors
def start(
    folder: Path, name: str | None, given: tuple[str, ...], force: bool, no_probe: bool
) -> None:
    """Write conf/NAME for the project in FOLDER, with a reason beside each value.

    FOLDER is a project of DeepLabCut, lightning-pose, SLEAP, YOLO-pose, CVAT or Label Studio, or
    holds labels in COCO's form or LSP's.
    """
    from sspcm_kedro.start.command import start as start_project  # noqa: PLC0415 # torch is slow

    start_project(folder, name, given, force=force, probe=not no_probe)


@click.group(name="sspcm_kedro")
def cli() -> None:
    """Kedro's commands of this project."""


cli.add_command(run)
cli.add_command(start)
