"""One experiment as one MLflow run: written twice is written once."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset
from mlflow.models import Model

from sspcm_kedro.hooks import Terminated
from sspcm_kedro.tracking.identity import Identity
from sspcm_kedro.tracking.run import Point, Run
from sspcm_kedro.tracking.store import Store, TrackingConfig, defer_signals
from sspcm_kedro.tracking.surroundings import is_gone, process

IDENTITY = Identity("key", "training", "a name", {"seed": 0, "method.kind": "sspcm"})


@pytest.fixture
def client(empty_database, tmp_path):
    return MlflowClient(f"sqlite:///{shutil.copy(empty_database, tmp_path)}")


@pytest.fixture
def experiment(client, tmp_path):
    return client.create_experiment("sspcm", (tmp_path / "artifacts").as_uri())


@pytest.fixture
def make(client, experiment):
    """The run as another process would have it."""
    return lambda identity=IDENTITY: Run(client, experiment, identity, {"process": process()})


def curve(*losses, start=0):
    return [Point("loss/a", 10 * (start + i + 1), loss) for i, loss in enumerate(losses)]


def history(client, run_id, name="loss/a"):
    return [(m.step, m.value) for m in client.get_metric_history(run_id, name)]


def test_the_run_is_found_again(client, experiment, make):
    first = make()
    run_id = first.open()
    first.end("FINISHED")
    assert client.get_run(run_id).info.status == "FINISHED"
    assert make().open() == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING" and run.info.run_name == "a name"
    assert run.data.params == {"seed": "0", "method.kind": "sspcm"}
    assert make(Identity("other", "other", "a name", {})).open() != run_id


def test_asking_makes_no_run(client, experiment, make):
    assert make().find() is None
    make().end("FINISHED")
    assert client.search_runs([experiment]) == []


def test_curves_go_on_without_a_step_twice_or_missing(client, make):
    make().curves(curve(3.0, 2.0))
    again = make()
    again.curves(curve(3.0, 2.0))
    again.curves(curve(3.0, 2.0, 1.0))
    again.curves(curve(3.0, 2.0, 1.0))
    assert history(client, again.open()) == [(10, 3.0), (20, 2.0), (30, 1.0)]


def test_what_arrived_before_ctrl_c_is_not_written_again(client, make, monkeypatch):
    run = make()
    run.curves(curve(3.0))
    arrives = client.log_batch

    def arrives_and_is_interrupted(*arguments, **others):
        arrives(*arguments, **others)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "log_batch", arrives_and_is_interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.curves(curve(3.0, 2.0))
    run.curves(curve(3.0, 2.0))  # closing the run tries again what was being written
    assert history(client, run.open()) == [(10, 3.0), (20, 2.0)]


def test_a_number_that_is_none_is_left_out(client, make):
    run = make()
    run.curves([*curve(1.0, float("nan"), float("inf")), Point("AP", 10, 0.5)])
    assert history(client, run.open()) == [(10, 1.0)]
    assert history(client, run.open(), "AP") == [(10, 0.5)]


def test_more_numbers_than_a_request_holds(client, make):
    run = make()
    run.curves(curve(*map(float, range(2500))))
    assert len(history(client, run.open())) == 2500


def test_results_are_written_when_they_change(client, make):
    for value in (0.5, 0.5, 0.6):
        make().numbers([Point("final/AP", 100, value)])
    assert history(client, make().open(), "final/AP") == [(100, 0.5), (100, 0.6)]
    assert client.get_run(make().open()).data.metrics["final/AP"] == 0.6


def test_another_training_of_the_same_settings_gets_a_run_of_its_own(client, make):
    """With the curves up to where it goes another way."""
    first = make()
    first.curves([*curve(3.0, 2.0, 1.0), Point("pace", 10, 7.0), Point("pace", 20, 8.0)])
    first.end("FINISHED")
    old = first._newest("tags.key = 'key'")
    second = make()
    second.curves([*curve(3.0, 2.5), Point("pace", 10, 70.0), Point("pace", 20, 80.0)])
    new = second.open()
    assert new != old
    assert history(client, old) == [(10, 3.0), (20, 2.0), (30, 1.0)]
    assert history(client, new) == [(10, 3.0), (20, 2.5)]
    assert history(client, new, "pace") == [(10, 7.0), (20, 80.0)]
    assert client.get_run(old).data.tags["superseded_by"] == new
    assert client.get_run(old).info.status == "KILLED"
    assert make().open() == new


def test_another_evaluation_takes_over_the_curves_and_not_the_results(client, make):
    first = make()
    first.curves(curve(3.0, 2.0))
    first.numbers([Point("final/AP", 20, 0.5), Point("pseudo_labels/mean", 10, 0.4)])
    other = make(Identity("key 2", "training", "a name", {}))
    other.curves(curve(3.0, 2.0))
    assert history(client, other.open()) == [(10, 3.0), (20, 2.0)]
    assert client.get_run(other.open()).data.metrics.keys() == {"loss/a"}


@pytest.mark.parametrize("key", ["key", "another evaluation"])
def test_a_run_that_takes_over_curves_learned_from_the_same_people(client, make, key):
    """Of another evaluation, or of a training that came out otherwise."""
    tables = [
        (Dataset("labeled", "0f8a", "local", "{}", profile='{"num_rows": 12}'), "training"),
        (Dataset("validation", "91ab", "local", "{}"), "validation"),
    ]
    trained = make()
    trained.inputs(tables)
    trained.curves(curve(0.5, 0.4))
    first = trained.open()
    trained.end("FINISHED")
    other = make(Identity(key, "training", "a name", {}))
    if key == "key":
        other.curves(curve(0.5, 0.3))
    assert other.open() != first
    found = client.get_run(other.open()).inputs.dataset_inputs
    assert {(d.dataset.name, d.dataset.digest, d.tags[0].value) for d in found} == {
        ("labeled", "0f8a", "training"), ("validation", "91ab", "validation")
    }  # fmt: skip


def test_a_store_ends_runs_of_processes_that_are_gone(client, experiment, make, tmp_path):
    """After SIGKILL or a power cut nobody else could."""
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    host = process().rpartition(":")[0]
    described = {
        "gone": f"{host}:{child.stdout.strip()}",
        "alive": f"{host}:{os.getppid()}",
        "elsewhere": f"not-{host}:{child.stdout.strip()}",
    }
    ids = {
        name: Run(client, experiment, Identity(name, name, name, {}), {"process": tag}).open()
        for name, tag in described.items()
    }
    Store(TrackingConfig(uri=client.tracking_uri), tmp_path)
    found = {name: client.get_run(run_id).info.status for name, run_id in ids.items()}
    assert found == {"gone": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING"}


def models(client, experiment):
    return [(model.name, str(model.status)) for model in client.search_logged_models([experiment])]


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, Terminated(15), OSError(28, "no space")])
def test_a_model_whose_upload_is_broken_off_is_not_left_pending(
    client, experiment, make, tmp_path, monkeypatch, stopped
):
    def broken_off(*_, **__):
        assert models(client, experiment) == [("model", "PENDING")]
        raise stopped

    monkeypatch.setattr(Model, "log", broken_off)
    with pytest.raises(BaseException) as caught:
        make().model(tmp_path, [{"image": "none"}], 10, [])
    assert caught.value is stopped or caught.type is stopped
    assert models(client, experiment) == []


@pytest.mark.parametrize("next_is", ["any run", "this upload again"])
def test_a_model_of_a_killed_process_does_not_stay_pending(
    client, experiment, make, tmp_path, monkeypatch, next_is
):
    run, others = make(), make(Identity("other", "other", "another", {}))
    client.set_tag(others.open(), "process", "elsewhere:1")
    client.create_logged_model(experiment, "model", run.open())
    client.create_logged_model(experiment, "others", others.open())
    if next_is == "any run":
        Store(TrackingConfig(uri=client.tracking_uri), tmp_path)
    else:
        monkeypatch.setattr(Model, "log", lambda *_, model_id, **__: client.finalize_logged_model(
            model_id, "READY"))  # fmt: skip
        run.model(tmp_path, [{"image": "none"}], 10, [])
    assert ("others", "PENDING") in models(client, experiment)
    assert ("model", "PENDING") not in models(client, experiment)


def test_a_stopped_run_gets_its_status_and_nothing_else(client, make, tmp_path):
    """The process is about to end, and an upload can take longer than it has."""
    store = Store(TrackingConfig(uri=client.tracking_uri), tmp_path)
    run = make()
    run_id, tried = run.open(), []

    def upload():
        tried.append(True)
        if len(tried) == 1:
            raise Terminated(15)

    store.runs["method"] = run
    with pytest.raises(Terminated):
        store.write(("a run", "model"), upload)
    store.close("KILLED")
    assert client.get_run(run_id).info.status == "KILLED"
    assert len(tried) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("[enforce "
                         "fail"), FileNotFoundError("No usable temporary directory")])  # fmt: skip
def test_no_trouble_with_a_write_stops_training(client, tmp_path, caplog, error):
    store = Store(TrackingConfig(uri=client.tracking_uri), tmp_path)

    def write():
        raise error

    store.write(("a run", "model"), write)
    store.close("FINISHED")
    assert (
        "training goes on" in caplog.text and "MLflow lacks of this run: a run model" in caplog.text
    )


def test_a_database_that_takes_no_write_is_one_sentence(client, make, tmp_path, capfd, caplog):
    """As on a full disk; MLflow would print a traceback for each try."""
    store, run_id = Store(TrackingConfig(uri=client.tracking_uri), tmp_path), make().open()
    with closing(sqlite3.connect(client.tracking_uri.removeprefix("sqlite:///"))) as database:
        database.execute("DROP TABLE tags")
    store.write(("a run", "tag"), lambda: client.set_tag(run_id, "a", "b"))
    assert "does not take a run tag ((sqlite3.OperationalError) no such table: tags" in caplog.text
    assert "Traceback" not in caplog.text + capfd.readouterr().err


def test_processes():
    assert is_gone(process())  # an earlier one of this number: this one has nothing open yet
    assert not is_gone("")
    assert not is_gone(f"{process().rpartition(':')[0]}:1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_the_end_of_a_write(number):
    """Raised inside, it would leave MLflow's transaction open and the database locked."""

    class Stopped(BaseException):
        pass

    def stop(*_):
        raise Stopped

    before, written = signal.signal(number, stop), []
    try:
        with pytest.raises(Stopped), defer_signals():
            signal.raise_signal(number)
            written.append("all of it")
        assert written == ["all of it"]
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_a_stop_while_mlflow_is_opened_is_no_error_of_mlflow(tmp_path, monkeypatch, empty_database):
    """The stop would break SQLAlchemy off in a transaction, which then looked like a bad server."""

    class Stopped(BaseException):
        pass

    def stop(*_):
        raise Stopped

    asked, opened = [], MlflowClient.get_experiment_by_name

    def interrupted(self, name):
        asked.append(name)
        signal.raise_signal(signal.SIGTERM)
        return opened(self, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", interrupted)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped):
            Store(TrackingConfig(), tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked == ["sspcm"]
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert opened(client, "sspcm") is not None  # what had begun was done
