"""The tracking server: reached at the start or an error, and trained on without if it goes away."""

import logging
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

# Before MLflow reads them: it reports its use to its makers, and waits minutes for a dead server.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput
from sspcm_kedro.tracking.run import Run
from sspcm_kedro.tracking.surroundings import is_gone

logger = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds without another attempt after a write has failed, so that training is not held up."""
OFF = "or run without a log: SSPCM_TRACKING=off"
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


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
        self.uri = absolute(config.uri, root)
        self.runs: dict[str, Run] = {}
        self._waiting: dict[tuple[str, ...], Callable[[], object]] = {}
        self._failed: tuple[float, str] | None = None
        self._lock = threading.RLock()
        place = None if self.uri.startswith("http") else artifact_place(config.artifacts, root)
        with explain_mlflow_errors(self.uri):
            check_reachable(self.uri)
            self.client = MlflowClient(self.uri)
            with lock_creation(self.uri):
                self.experiment = self._experiment(config.experiment, place)
            self._end_what_was_killed()

    def _experiment(self, name: str, place: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, place)
        if found.lifecycle_stage != "active":
            raise BadInput(
                f"MLflow experiment {name!r} in {self.uri}",
                "has been deleted there",
                f"Restore it (mlflow experiments restore -x {found.experiment_id}) or set "
                f"MLFLOW_EXPERIMENT_NAME to another, {OFF}",
            )
        return found.experiment_id

    def _end_what_was_killed(self) -> None:
        """Runs that a process of this machine left open without a word (SIGKILL, power cut)."""
        running = self.client.search_runs([self.experiment], "attributes.status = 'RUNNING'")
        for run in running:
            if is_gone(run.data.tags.get("process", "")):
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
            except (MlflowException, OSError) as error:
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
        """End all runs as "FINISHED", "FAILED" or "KILLED"; say what could not be written."""
        with self._lock:
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
    """SIGINT and SIGTERM act when the block ends: the exception that they raise would break MLflow
    off in a transaction, and keep the database locked for the status that closing writes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def absolute(uri: str, root: Path) -> str:
    """The URI with a relative SQLite file put into the project."""
    if match := re.fullmatch(r"sqlite:///(?!/)(.+)", uri):
        return f"sqlite:///{root / match[1]}"
    return uri


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
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///"))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(file, timeout=3)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
        except (sqlite3.Error, OSError) as error:
            raise BadInput(
                file,
                f"must be an SQLite database that can be written, for MLflow ({error})",
                "If it is locked, end the process that holds it (fuser shows which); if it cannot "
                f"be written, set MLFLOW_TRACKING_URI to one that can, {OFF}",
            ) from error
    parts = urlsplit(uri)
    if port := PORTS.get(parts.scheme.partition("+")[0]):
        socket.create_connection((parts.hostname or "localhost", parts.port or port), 5).close()


@contextmanager
def explain_mlflow_errors(uri: str) -> Iterator[None]:
    """MLflow's errors at the start, as ours."""
    try:
        yield
    except BadInput:
        raise
    except (MlflowException, OSError) as error:
        remedy = "Start the server, unset MLFLOW_TRACKING_URI (then runs go to mlflow.db), "
        if uri.startswith("sqlite:"):
            remedy = f"If it is of another MLflow, run mlflow db upgrade {uri}, "
        raise BadInput(
            f"MLflow at {uri}", f"cannot be used: {first_line(error)}", remedy + OFF
        ) from error


@contextmanager
def lock_creation(uri: str) -> Iterator[None]:
    """Two processes that create MLflow's tables at once leave a database that is broken."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    with FileLock(uri.removeprefix("sqlite:///") + ".lock"):
        yield


def first_line(error: BaseException) -> str:
    """The beginning of a message that may hold pages."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
