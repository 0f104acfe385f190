"""MLflow's SQLite file: made whole or not at all, in folders of any name; passwords stay unsaid."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from mlflow import MlflowClient

from sspcm_kedro.errors import BadInput
from sspcm_kedro.tracking import database
from sspcm_kedro.tracking.database import absolute, make_database, mask, sqlite_file
from sspcm_kedro.tracking.store import Store, TrackingConfig, first_line

FIRST_RUN = """
import sys
from pathlib import Path
from sspcm_kedro.tracking.store import Store, TrackingConfig
print("ready", flush=True), sys.stdin.readline()
store = Store(TrackingConfig(), Path(sys.argv[1]))
store.client.create_run(store.experiment)
"""


def first_run(root) -> "subprocess.Popen[str]":
    """A process that has imported what it needs, and makes its run when it is told."""
    process = subprocess.Popen(
        [sys.executable, "-c", FIRST_RUN, str(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "ready\n":
        assert line, "it has ended"
    return process


def test_two_first_runs_at_once_both_work(tmp_path):
    both = [first_run(tmp_path) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sspcm")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2
    assert {file.name for file in tmp_path.iterdir()} <= {
        "mlflow.db", "mlflow.db.lock", "mlartifacts"
    }  # fmt: skip


def test_a_kill_while_the_tables_are_made_leaves_no_database(tmp_path):
    process = first_run(tmp_path)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    part = tmp_path / ".mlflow.db.part"
    deadline = time.monotonic() + 200
    while not part.exists() or part.stat().st_size == 0:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "mlflow.db").exists() and part.exists()
    make_database(tmp_path / "mlflow.db")
    assert not list(tmp_path.glob(".mlflow.db.part*"))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as whole:
        assert whole.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_the_lock_is_taken_before_anything_touches_the_file(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    made: list[Store] = []
    with database.lock_creation(uri):
        other = threading.Thread(
            target=lambda: made.append(Store(TrackingConfig(uri=uri), tmp_path)), daemon=True
        )
        other.start()
        other.join(1)
        assert other.is_alive()
        assert not list(tmp_path.glob("*.db")) and not list(tmp_path.glob(".*"))
    other.join(200)
    assert len(made) == 1


def test_a_half_made_database_of_an_older_kill_is_told_with_the_remedy(tmp_path, empty_database):
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(empty_database)) as whole, closing(sqlite3.connect(file)) as half:
        whole.backup(half)
        half.execute("DELETE FROM alembic_version")
        half.execute("DROP TABLE entity_associations")
        half.commit()
    with pytest.raises(BadInput, match=r"mlflow\.db: is a database that MLflow did not make to its "
                                       r"end.*Delete it"):  # fmt: skip
        Store(TrackingConfig(), tmp_path)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_damage_is_told_from_a_lock_and_an_empty_file_is_made(tmp_path, content):
    (tmp_path / "mlflow.db").write_bytes(content)
    if not content:
        assert Store(TrackingConfig(), tmp_path).experiment
        return
    with pytest.raises(BadInput, match="It is damaged or no database: move it away"):
        Store(TrackingConfig(), tmp_path)


@pytest.mark.parametrize("name", ["my pröject", "100% done", "a%20b", "run #1", "what?now"])
def test_folders_of_any_name(tmp_path, empty_database, name):
    root = tmp_path / name
    root.mkdir()
    file = root / "mlflow.db"
    assert sqlite_file(absolute("sqlite:///mlflow.db", root)) == file
    file.write_bytes(empty_database.read_bytes())
    store = Store(TrackingConfig(), root)
    run = store.client.create_run(store.experiment).info.run_id
    (root / "x.txt").write_text("x")
    store.client.log_artifact(run, str(root / "x.txt"), "figures")
    assert [a.path for a in store.client.list_artifacts(run, "figures")] == ["figures/x.txt"]
    assert os.listdir(tmp_path) == [name]
    with closing(sqlite3.connect(file)) as held:
        assert held.execute("SELECT run_uuid FROM runs").fetchall() == [(run,)]


def test_a_relative_file_lies_in_the_project_and_other_addresses_stay(tmp_path):
    assert absolute("sqlite:///sub/x.db?timeout=5", tmp_path) == (
        f"sqlite:///{tmp_path}/sub/x.db?timeout=5"
    )
    for uri in (f"sqlite:///{tmp_path}/x.db", "http://a:b@host", "postgresql://u:p%40q@h/d"):
        assert absolute(uri, tmp_path) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "http://anna:s3cr3t@127.0.0.1:9/",
        "http://s3cr3t@127.0.0.1:9/",
        "http://anna:p@s3cr3t@127.0.0.1:9/",
        "postgresql://anna:s3cr3t@127.0.0.1:9/mlflow",
        "postgresql://127.0.0.1:9/mlflow?password=s3cr3t",
        "mysql+pymysql://anna:a/s3cr3t@127.0.0.1:9/mlflow",
    ],
)
def test_passwords_are_said_nowhere(tmp_path, uri, caplog, capfd):
    with pytest.raises(BadInput) as caught:
        Store(TrackingConfig(uri=uri), tmp_path)
    error: BaseException | None = caught.value
    shown = [str(error)]
    while error is not None and not error.__suppress_context__:
        error = error.__cause__ or error.__context__
        shown.append(str(error))
    printed = "".join(shown) + caplog.text + "".join(capfd.readouterr())
    assert "s3cr3t" not in printed and "anna" not in printed
    assert "127.0.0.1" in str(caught.value)


def test_what_has_no_password_is_not_changed():
    for text in ("http://host:5000/a", "sqlite:////srv/me@work.db", "http://h/a: mail a@b.c"):
        assert mask(text) == text
    assert first_line(OSError("API request to http://a:b@h/x failed\nmore")) == (
        "API request to http://***@h/x failed"
    )
