"""The tracking server: reached at the start or an error, and trained on without if it goes away."""

import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Before MLflow reads them: it reports its use to its makers, and waits minutes for a dead server.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput
from sspcm_kedro.tracking.database import (
    OFF,
    absolute,
    lock_creation,
    make_database,
    mask,
    refuse_half_made,
    refuse_unusable,
    sqlite_file,
)
from sspcm_kedro.tracking.run import Run, drop_pending_models
from sspcm_kedro.tracking.surroundings import is_gone

logger = logging.getLogger(__name__)
# It prints a traceback of each failed write, which is told here in one sentence.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

PATIENCE = 30.0
"""Seconds without another attempt after a write has failed, so that training is not held up."""
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""MLflow's pages open on a training's runs, and not on traces of language models."""


COLUMNS = (
    "attributes.`Dataset`", "params.`method.kind`",
    "params.`split.labeled`", "params.`seed`", "metrics.`final/AP`", "metrics.`final/PCK`",
    "metrics.`final/error_px`", "metrics.`choice/gain`", "tags.`ships`",
)  # fmt: skip
"""Of the table of runs, as ``make ui`` opens it; those that no run has are left out."""
VIEW = {"mlflow.sharedViewState.sspcm": json.dumps({"selectedColumns": COLUMNS})}
"""MLflow's way to share a view: ``viewStateShareKey=sspcm`` in the address opens it."""


class TrackingConfig(Settings):
    """Where runs are recorded.

    Attributes:
        uri: an MLflow server or database; a relative SQLite file lies in the project.
        experiment: the MLflow experiment that all runs are in.
        artifacts: where a database's files lie; a server has a place of its own.
    """

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "sspcm"
    artifacts: str = "mlartifacts"


class Store:
    """One MLflow experiment on a server.

    Args:
        config: where.
        root: the project, for relative paths.

    Raises:
        BadInput: it cannot be reached or written.
    """

    def __init__(self, config: TrackingConfig, root: Path) -> None:
        uri = absolute(config.uri, root)
        self.uri = mask(uri)
        if self.uri != uri:  # MLflow prints where a run can be seen, with the password
            os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        self.name, self.runs = config.experiment, dict[str, Run]()
        self._waiting: dict[tuple[str, ...], Callable[[], object]] = {}
        self._failed: tuple[float, str] | None = None
        self._lock = threading.RLock()
        place = None if uri.startswith("http") else artifact_place(config.artifacts, root)
        with explain_mlflow_errors(uri):
            with lock_creation(uri):
                check_reachable(uri)
                with defer_signals():
                    self.client = MlflowClient(uri)
                    self.experiment = self._experiment(config.experiment, place)
            with defer_signals():
                self._end_what_was_killed()

    def _experiment(self, name: str, place: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, place, {**KIND, **VIEW})
        if found.lifecycle_stage != "active":
            raise BadInput(
                f"MLflow experiment {name!r} in {self.uri}",
                "has been deleted there",
                f"Restore it (mlflow experiments restore -x {found.experiment_id}) or set "
                f"MLFLOW_EXPERIMENT_NAME to another, {OFF}",
            )
        for tag, value in VIEW.items():
            if found.tags.get(tag) != value:
                self.client.set_experiment_tag(found.experiment_id, tag, value)
        return found.experiment_id

    def _end_what_was_killed(self) -> None:
        """Runs that a process of this machine left open without a word (SIGKILL, power cut)."""
        running = self.client.search_runs([self.experiment], "attributes.status = 'RUNNING'")
        for run in running:
            if is_gone(run.data.tags.get("process", "")):
                drop_pending_models(self.client, self.experiment, run.info.run_id)
                self.client.set_terminated(run.info.run_id, "KILLED")

    def write(self, what: tuple[str, ...], write: Callable[[], object]) -> None:
        """Write, now or later.

        Args:
            what: the thing written; of two waiting writes of one thing the later is kept.
            write: does it; doing it twice must be as doing it once.
        """
        with self._lock:
            self._waiting[what] = write
            if self._failed is None or time.monotonic() > self._failed[0] + PATIENCE:
                self._flush()

    def _flush(self) -> None:
        while self._waiting:
            what, write = next(iter(self._waiting.items()))
            try:
                with defer_signals():
                    write()
                    del self._waiting[what]
            except Exception as error:  # of MLflow, the server, a full disk or TMPDIR
                if self._failed is None:
                    logger.warning(
                        "%s does not take %s (%s); training goes on, and it is tried again",
                        self.uri, " ".join(what), first_line(error),
                    )  # fmt: skip
                self._failed = time.monotonic(), first_line(error)
                return
        if self._failed is not None:
            logger.info("%s is back: the log is complete again", self.uri)
            self._failed = None

    def close(self, status: str) -> None:
        """End all runs of this process; say what could not be written.

        Of a run that is stopped only the status is written: the same command completes its log.

        Args:
            status: "FINISHED", "FAILED" or "KILLED".
        """
        with self._lock:
            if status == "KILLED":
                self._waiting.clear()
            for name, run in self.runs.items():
                self._waiting[name, "status"] = lambda run=run: run.end(status)
            self._flush()
            self.runs = {}
            if self._waiting:
                assert self._failed is not None
                logger.error(
                    "%s is away (%s), and MLflow lacks of this run: %s. Start it and give the same "
                    "command again: what is trained is not trained again, and the log is completed",
                    self.uri, self._failed[1], ", ".join(map(" ".join, self._waiting)),
                )  # fmt: skip


@contextmanager
def defer_signals() -> Iterator[None]:
    """Signals that stop a run act when the block ends.

    The exception that they raise would break MLflow off in a transaction, and keep the database
    locked for the status that closing writes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for number in came[:1]:
            signal.raise_signal(number)


def artifact_place(artifacts: str, root: Path) -> str:
    """The URI of the artifacts' place; a local folder is made.

    Raises:
        BadInput: it cannot be written.
    """
    if "://" in artifacts:
        return artifacts
    folder = root / artifacts
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(
            folder,
            f"must be a folder that can be written, for MLflow's artifacts ({error.strerror})",
            f"Make it writable, set artifacts in conf/*/tracking.yml, {OFF}",
        ) from error
    return folder.as_uri()


def check_reachable(uri: str) -> None:
    """What MLflow itself would try for minutes, or put less clearly.

    Raises:
        BadInput: an SQLite file that is locked, not to be written, or no database.
        OSError: nobody listens where a database should be.
    """
    if file := sqlite_file(uri):
        make_database(file)
        refuse_unusable(file)
    if port := PORTS.get(uri.partition(":")[0].partition("+")[0]):
        server = make_url(uri)
        socket.create_connection((server.host or "localhost", server.port or port), 5).close()


@contextmanager
def explain_mlflow_errors(uri: str) -> Iterator[None]:
    """MLflow's errors at the start, as ours."""
    try:
        yield
    except BadInput:
        raise
    except (MlflowException, SQLAlchemyError, OSError, ValueError) as error:
        remedy = "Start the server, unset MLFLOW_TRACKING_URI (then runs go to mlflow.db), "
        if file := sqlite_file(uri):
            refuse_half_made(file)
            remedy = f"If it is of another MLflow, run mlflow db upgrade {uri}, "
        # From None: MLflow's own message may have the password, and Python would print it.
        rule = f"cannot be used: {first_line(error)}"
        raise BadInput(f"MLflow at {mask(uri)}", rule, remedy + OFF) from None


def first_line(error: BaseException) -> str:
    """The beginning of a message that may hold pages, without passwords."""
    text = str(error).strip() or type(error).__name__
    return mask(text.splitlines()[0])[:300]
