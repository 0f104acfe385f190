"""Tracking turned on, into stores of the tests' own."""

import importlib
import os
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

SHORT = {
    "training": {"steps": 2, "warmup_epochs": 2, "round_epochs": 2, "rounds": 1},
    "comparison": {"kind": "pose_dual"},
}


class Book:
    """What an MLflow store says of the project's experiments."""

    def __init__(self, uri: str) -> None:
        self.uri, self.client = uri, MlflowClient(uri)

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        experiment = self.client.get_experiment_by_name("sspcm")
        if experiment is None:
            return []
        return self.client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])

    def run(self, **params: str) -> Run:
        """The one run with these parameters (a dot is written as two underscores)."""
        wanted = {name.replace("__", "."): value for name, value in params.items()}
        found = [run for run in self.runs() if wanted.items() <= run.data.params.items()]
        assert len(found) == 1, [run.info.run_name for run in self.runs()]
        return found[0]

    def curve(self, run: Run, name: str) -> list[tuple[int, float]]:
        """Steps and values in the order in which they were written."""
        return [(m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, name)]

    def files(self, run: Run, folder: str | None = None) -> set[str]:
        found: set[str] = set()
        for entry in self.client.list_artifacts(run.info.run_id, folder):
            found |= self.files(run, entry.path) if entry.is_dir else {entry.path}
        return found


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """MLflow's tables without a run; making them takes it seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="module")
def tracking_on() -> Iterator[pytest.MonkeyPatch]:
    """Also for what runs in other processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSPCM_TRACKING")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        for name in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
            patch.delenv(name, raising=False)
        yield patch
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def make_tracked(make_project, drawn_project, empty_database, tracking_on) -> Any:
    """A factory of projects with people and an empty store: (project, its book)."""

    def make(name: str) -> tuple[Any, Book]:
        project = make_project(name)
        project.take_people(drawn_project)
        shutil.copy(empty_database, project.root / "mlflow.db")
        return project, Book(f"sqlite:///{project.root / 'mlflow.db'}")

    return make


@pytest.fixture
def tracked(make_tracked) -> tuple[Any, Book]:
    return make_tracked("tracked")


class Server:
    """A real MLflow server of this process, which can go away and come back."""

    def __init__(self, app: Any) -> None:
        self.app, self.port = app, 0
        self.start()

    def start(self) -> None:
        from werkzeug.serving import make_server  # noqa: PLC0415

        self._server = make_server("127.0.0.1", self.port, self.app, threaded=True)
        self.port = self._server.port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server(empty_database, tmp_path, monkeypatch) -> Iterator[Server]:
    store = f"sqlite:///{shutil.copy(empty_database, tmp_path)}"
    for name, value in {
        "FILE_STORE": store,
        "ARTIFACT_ROOT": "mlflow-artifacts:/",
        "SERVE_ARTIFACTS": "true",
        "ARTIFACT_DESTINATION": str(tmp_path / "artifacts"),
    }.items():
        monkeypatch.setenv(f"_MLFLOW_SERVER_{name}", value)
    with warnings.catch_warnings(), suppress(ImportError):
        warnings.simplefilter("ignore")  # what the server imports is old-fashioned
        importlib.import_module("mlflow.server.auth")  # it tries this itself, and can do without
    from mlflow.server import app, handlers  # noqa: PLC0415

    monkeypatch.setattr(handlers, "_tracking_store", None)
    monkeypatch.setattr(handlers, "_artifact_repo", None)
    handlers._get_tracking_store()  # names itself as the store of the whole process
    mlflow.set_tracking_uri(None)
    server = Server(app)
    yield server
    server.stop()
