"""A tracking server that is not there, goes away, or comes back; and stores that cannot be used."""

import logging
import sqlite3
import subprocess
import threading
import time
from contextlib import closing

import pytest
from kedro.runner import ParallelRunner

from sspcm_kedro.errors import BadInput
from sspcm_kedro.tracking import store, surroundings

from .conftest import SHORT, Book

STEPS = [2, 4, 6, 8]


@pytest.fixture
def messages():
    """What tracking logs, with its level."""
    found: list[tuple[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.levelname, record.getMessage()))

    logger, handler = logging.getLogger("sspcm_kedro.tracking"), Keep()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)


@pytest.fixture
def remote(tracked, server, monkeypatch):
    """A project that tracks to the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    return tracked[0], Book(server.uri)


def when(project, stage: str, action) -> threading.Thread:
    """Does something as soon as a stage has saved its first epoch."""

    def wait() -> None:
        file = project.data / "06_models" / stage / "checkpoint.pt"
        while not file.exists():
            time.sleep(0.001)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def trained(project, stage: str) -> bool:
    return (project.data / "06_models" / stage / "checkpoint.pt").exists()


def assert_complete(book: Book) -> None:
    (run,) = book.runs()
    assert run.info.status == "FINISHED"
    for name in ("loss/supervised", "deployed/PCK"):
        assert [step for step, _ in book.curve(run, name)] == STEPS
    assert "figures/round_1_cut_occlude.png" in book.files(run)


def test_a_server_holds_all_that_a_file_does(remote, server):
    project, book = remote
    project.run("warmup", "round_1", **SHORT)
    assert_complete(book)
    assert not (project.root / "mlartifacts").exists()


def test_no_server_is_an_error_before_anything_is_trained(tracked, server, monkeypatch):
    project, _ = tracked
    server.stop()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with pytest.raises(BadInput) as caught:
        project.run("warmup", **SHORT)
    server.start()
    text = str(caught.value)
    assert server.uri in text
    assert "Start the server" in text and "unset MLFLOW_TRACKING_URI" in text
    assert "SSPCM_TRACKING=off" in text
    assert not trained(project, "warmup")


def test_a_server_that_goes_away_loses_nothing_that_the_same_command_does_not_bring_back(
    remote, server, messages
):
    project, book = remote
    gone = when(project, "warmup", server.stop)
    project.run("warmup", "round_1", **SHORT)
    gone.join()
    assert trained(project, "round_1")
    errors = [text for level, text in messages if level == "ERROR"]
    assert len(errors) == 1
    assert server.uri in errors[0] and "round_1_history" in errors[0]
    assert "the same command again" in errors[0]
    assert len([text for level, text in messages if level == "WARNING" and server.uri in text]) == 1

    server.start()
    project.run("warmup", "round_1", **SHORT)
    assert_complete(book)


def test_a_server_that_comes_back_gets_the_rest(remote, server, messages, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.0)
    project, book = remote
    gone = when(project, "warmup", server.stop)
    back = when(project, "round_1", server.start)
    project.run("warmup", "round_1", **SHORT)
    gone.join()
    back.join()
    assert [text for level, text in messages if "complete again" in text]
    assert not [text for level, text in messages if level == "ERROR"]
    assert_complete(book)


def test_a_server_is_not_asked_again_at_once(monkeypatch, tracked, messages):
    """Training waits for a dead server once in a while, not at each write."""
    project, _ = tracked
    made = store.Store(store.TrackingConfig(), project.root)
    asked = []

    def write():
        asked.append(True)
        raise OSError("no route to host\nand more")

    made.write(("a", "history"), write)
    made.write(("a", "figure"), write)
    made.write(("a", "history"), write)
    assert len(asked) == 1
    made.close("FINISHED")
    assert len(asked) == 2
    level, text = messages[-1]
    assert level == "ERROR" and "a history, a figure" in text and "no route to host)" in text


def test_a_locked_database(tracked):
    project, _ = tracked
    file = project.root / "mlflow.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BadInput, match=r"mlflow\.db.*database is locked.*end the process"):
            project.run("warmup", **SHORT)
    assert not trained(project, "warmup")


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("sqlite:///blocked/mlflow.db", "must be an SQLite database that can be written"),
        ("sqlite:///blocked", "file is not a database"),
        ("./mlruns", "cannot be used"),
        ("postgresql://127.0.0.1:9/mlflow", "cannot be used: .*refused"),
        ("nonsense://x", "cannot be used"),
    ],
)
def test_stores_that_cannot_be_used(tracked, monkeypatch, uri, rule):
    project, _ = tracked
    (project.root / "blocked").write_text("a file, and no folder or database")
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(BadInput, match=rule) as caught:
        project.run("warmup", **SHORT)
    assert "SSPCM_TRACKING=off" in str(caught.value)
    assert not trained(project, "warmup")


def test_a_folder_of_artifacts_that_cannot_be_written(tracked):
    project, _ = tracked
    (project.root / "mlartifacts").write_text("a file")
    with pytest.raises(BadInput, match=r"mlartifacts: must be a folder that can be written"):
        project.run("warmup", **SHORT)


def test_a_deleted_mlflow_experiment(tracked, monkeypatch):
    project, book = tracked
    book.client.delete_experiment(book.client.create_experiment("sspcm"))
    with pytest.raises(BadInput, match=r"has been deleted.*mlflow experiments restore"):
        project.run("warmup", **SHORT)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    project.run("warmup", **SHORT)
    experiment = book.client.get_experiment_by_name("another")
    assert len(book.client.search_runs([experiment.experiment_id])) == 1


def test_processes_side_by_side_are_refused(tracked):
    with pytest.raises(BadInput, match="ParallelRunner"):
        tracked[0].run("warmup", only={"runner": ParallelRunner()}, **SHORT)


def test_git_is_told_or_missed(tmp_path, messages):
    surroundings.git_tags.cache_clear()
    assert surroundings.git_tags(tmp_path) == {}
    assert len(messages) == 1 and "git init" in messages[0][1]

    def git(*words):
        identity = ("-c", "user.name=A", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-b", "trunk")
    surroundings.git_tags.cache_clear()
    assert surroundings.git_tags(tmp_path) == {}  # no commit yet
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a = 1")
    git("add", "."), git("commit", "-m", "one")
    for content, dirty in (("a = 1", "false"), ("a = 2", "true")):
        (tmp_path / "src" / "a.py").write_text(content)
        surroundings.git_tags.cache_clear()
        assert surroundings.git_tags(tmp_path) == {
            "mlflow.source.git.commit": git("rev-parse", "HEAD"),
            "mlflow.source.git.branch": "trunk",
            "git.dirty": dirty,
        }
    surroundings.git_tags.cache_clear()
