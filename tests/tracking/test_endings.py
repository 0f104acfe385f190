"""However a run ends, its experiment is one MLflow run, never left open, and goes on in it."""

import signal
import time

import pandas as pd
import pytest

from .conftest import SHORT

LONG = (
    "training.steps=2,training.warmup_epochs=40,training.rounds=1,monitor.people=0,"
    "machine.checkpoint_minutes=0"
)


def epochs_done(project) -> int:
    file = project.data / "06_models" / "warmup" / "history.csv"
    if not file.exists():
        return 0
    return len(pd.read_csv(file))


def stop(project, how: signal.Signals) -> str:
    """Start training, and stop it two epochs later; what it printed."""
    before = epochs_done(project)
    process = project.start("--pipelines", "warmup", "--params", LONG)
    deadline = time.monotonic() + 300
    while epochs_done(project) < before + 2:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    printed, _ = process.communicate(timeout=200)
    assert process.returncode != 0
    assert 0 < epochs_done(project) < 40, printed
    return printed


def test_stopped_killed_and_finished_in_five_processes(tracked):
    project, book = tracked
    for how, status in (
        (signal.SIGINT, "KILLED"),
        (signal.SIGTERM, "KILLED"),
        (signal.SIGKILL, "RUNNING"),  # nobody is left to say so
    ):
        stop(project, how)
        (run,) = book.runs()
        assert run.info.status == status, how
    project.run("warmup", seed=1, **SHORT)  # any other run of this machine tells what happened
    assert book.run(seed="0").info.status == "KILLED"

    project.kedro("--pipelines", "warmup", "--params", LONG)
    run = book.run(seed="0")
    assert run.info.status == "FINISHED"
    rows = pd.read_csv(project.data / "06_models" / "warmup" / "history.csv")
    assert rows["epoch"].tolist() == list(range(1, 41))
    for name in ("loss/supervised", "people_per_second"):
        assert [step for step, _ in book.curve(run, name)] == list(range(2, 82, 2))
    losses = [value for _, value in book.curve(run, "loss/supervised")]  # of epochs done again, too
    assert losses == pytest.approx(rows["loss/supervised"].tolist(), rel=1e-12)


def test_a_run_that_fails_is_failed(tracked):
    project, book = tracked
    project.run("warmup", **SHORT)
    checkpoint = project.data / "06_models" / "warmup" / "checkpoint.pt"
    checkpoint.write_bytes(b"nothing")
    with pytest.raises(Exception, match="must be as it was written"):
        project.run("round_1", "warmup", **SHORT)
    assert [run.info.status for run in book.runs()] == ["FINISHED"]  # it had not begun

    history = project.data / "06_models" / "warmup" / "history.csv"
    checkpoint.unlink()
    history.unlink()
    history.mkdir()  # where the first epoch's history would go
    with pytest.raises(Exception, match="history"):
        project.run("warmup", **SHORT)
    assert [run.info.status for run in book.runs()] == ["FAILED"]
    history.rmdir()
    project.run("warmup", **SHORT)
    (run,) = book.runs()
    assert run.info.status == "FINISHED"
    assert [step for step, _ in book.curve(run, "loss/supervised")] == [2, 4]


def test_an_interrupted_session_is_closed_by_the_next_of_its_process(tracked, monkeypatch):
    """As Ctrl-C in a notebook, of which Kedro tells no hook."""
    project, book = tracked

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sspcm_kedro.engine.training.format_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.run("warmup", **SHORT)
    assert [run.info.status for run in book.runs()] == ["RUNNING"]
    project.run("warmup", seed=1, **SHORT)
    assert book.run(seed="0").info.status == "KILLED"
    assert book.run(seed="1").info.status == "FINISHED"


def test_only_what_belongs_to_an_experiment_makes_a_run(tracked, monkeypatch):
    project, book = tracked
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # not even asked
    project.run("ingestion")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    project.run("ingestion")
    monkeypatch.setenv("SSPCM_TRACKING", "off")
    project.run("warmup", **SHORT)
    assert book.runs() == []
