"""Projects of their own for the tests that run Kedro, and two ways to run them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"  # read by kedro-telemetry when it is imported
os.environ["SSPCM_TRACKING"] = "off"  # the tests of tracking turn it on

import numpy as np
import pytest
import timm  # noqa: F401 - else a hooked module imports it, and its bytecode cache is not read
import torch
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.hooks import PipelineShape

ROOT = Path(__file__).parents[1]
PACKAGE = "sspcm_kedro"

TRAINED = {
    "training": {"steps": 2, "warmup_epochs": 1, "round_epochs": 1, "rounds": 1},
    "method": {"min_score": 0.0},
}
"""What ``trained_project`` was run with."""


MINUTES = {"test_dvc", "test_endings", "test_benchmark_environments", "test_resume"}
"""Files that take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first, so that at the end no process waits for another's."""
    items.sort(key=lambda item: item.path.stem not in MINUTES)


class Project:
    """A copy of this project's settings in a folder of its own; the code is the installed one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        (root / "conf" / "local").mkdir()
        shutil.copy(ROOT / "pyproject.toml", root)
        (root / "src").mkdir()

    @property
    def data(self) -> Path:
        """Where the smoke environment keeps its data."""
        return self.root / "data" / "smoke"

    def take_people(self, other: "Project") -> None:
        """Copies of another project's images and tables of people."""
        for layer in ("01_raw", "03_primary", "05_model_input"):
            shutil.copytree(other.data / layer, self.data / layer)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """``kedro run --env smoke`` as users start it, on one core."""
        return subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--env", "smoke", *arguments],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kedro(self, *arguments: str) -> str:
        """What the command prints; it must succeed."""
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        return printed

    @contextmanager
    def session(self, env: str = "smoke", **params: Any) -> Iterator[KedroSession]:
        """A session in this process; ``params`` are what ``--params`` gives."""
        with KedroSession.create(self.root, env=env, runtime_params=params) as session:
            yield session

    def run(self, *pipelines: str, env: str = "smoke", only: Any = None, **params: Any) -> None:
        """``kedro run --pipelines`` in this process; ``only`` holds further arguments of a run."""
        with self.session(env, **params) as session:
            session.run(pipeline_names=list(pipelines) or None, **(only or {}))


@pytest.fixture(scope="session")
def configured() -> None:
    """Kedro knows the package (once: it sets up logging each time)."""
    configure_project(PACKAGE)


@pytest.fixture(autouse=True)
def no_shape_is_left(monkeypatch) -> None:
    """The hook keeps a run's parameters for the whole process; no test sees another's."""
    monkeypatch.setattr(PipelineShape, "parameters", None)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as ``Project.start`` gives: sums are added in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_project(configured, tmp_path_factory) -> Callable[[str], Project]:
    """A factory of projects without data."""
    return lambda name: Project(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def drawn_project(make_project) -> Project:
    """A project whose people are drawn and split; tests only read it."""
    project = make_project("drawn")
    project.run("ingestion")
    return project


@pytest.fixture(scope="session")
def trained_project(make_project) -> Project:
    """A project after one short round, with its trained model; tests only read it."""
    project = make_project("trained")
    wanted = ["trained_model", "validation_predictions", "round_1_corrected"]
    project.run(only={"to_outputs": wanted}, **TRAINED)
    return project


@pytest.fixture
def project(make_project, drawn_project) -> Project:
    """A project of the test's own, with drawn people and their tables."""
    fresh = make_project("project")
    fresh.take_people(drawn_project)
    return fresh


@pytest.fixture(scope="session")
def whole(make_project) -> SimpleNamespace:
    """The project after ``kedro run --env smoke``, and what was printed.

    min_score is low: networks of twelve steps are sure of nothing, and some keypoints must be kept.
    """
    project = make_project("whole")
    printed = project.kedro("--params", "method.min_score=0.02")
    return SimpleNamespace(project=project, data=project.data, printed=printed)


@pytest.fixture
def make_people():
    """A factory of people: one for each image name, three keypoints, row number in each x."""

    def make(images: str, first_id: int = 1, labeled: bool = True) -> Instances:
        n = len(images)
        xs = np.arange(first_id, first_id + n, dtype=np.float32)
        people = Instances(
            ids=np.arange(first_id, first_id + n),
            image_ids=np.array([ord(name) for name in images]),
            paths=np.array([f"{name}.jpg" for name in images], object),
            image_hw=np.full((n, 2), (40, 60)),
            boxes=np.tile(np.array([1, 2, 30, 20], np.float32), (n, 1)),
            areas=np.full(n, 9, np.float32),
            box_scores=np.ones(n, np.float32),
            keypoints=np.repeat(xs, 6).reshape(n, 3, 2),
            visibility=np.full((n, 3), 2),
        )
        return people if labeled else people.without_labels()

    return make
