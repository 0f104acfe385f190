"""Stopping: signals become an exception, so that what is open is closed."""

import logging
import os
import signal
import sys
import threading
import time
import weakref
from contextlib import nullcontext
from urllib.error import URLError

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from sspcm_kedro.datasets.checkpoint import CheckpointDataset
from sspcm_kedro.datasets.lock import hold_folder
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.hooks import GracefulStop, PreparedMachine, Terminated
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers_as_before():
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    unraisable = sys.unraisablehook
    for signum in SIGNALS:  # a shell ignores some for what it starts in the background
        signal.signal(signum, signal.SIG_DFL)
    yield
    sys.unraisablehook = unraisable
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_raises_in_the_middle_of_the_work(signum):
    GracefulStop().before_pipeline_run()
    cleaned = []
    with pytest.raises(Terminated, match=signum.name) as caught:
        try:
            os.kill(os.getpid(), signum)
            signal.pause()
        finally:
            cleaned.append(True)
    assert cleaned
    assert caught.value.code == 128 + signum  # as shells say it
    assert not isinstance(caught.value, Exception)


@pytest.mark.parametrize("ending", ["after_pipeline_run", "on_pipeline_error", "signal"])
def test_the_handler_is_that_of_before_once_the_run_has_ended(ending):
    def mine(*_: object) -> None: ...

    for signum in SIGNALS:
        signal.signal(signum, mine)
    hook, unraisable = GracefulStop(), sys.unraisablehook
    for _ in range(2):
        hook.before_pipeline_run()
        hook.before_pipeline_run()  # the run before was interrupted, of which no hook is told
        assert all(signal.getsignal(signum) != mine for signum in SIGNALS)
        if ending == "signal":
            with pytest.raises(Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
        else:
            getattr(hook, ending)()
            assert sys.unraisablehook is unraisable
        assert all(signal.getsignal(signum) is mine for signum in SIGNALS)


def test_a_signal_that_is_ignored_stays_ignored():
    """As SIGHUP by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    GracefulStop().before_pipeline_run()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class Finalized:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)  # here the handler runs


def by_del() -> None:
    Finalized()


def by_weakref() -> None:
    watched = Other()
    watched.watch = weakref.ref(watched, lambda _: Finalized.__del__(Other()))  # pyright: ignore
    keep.append(watched.watch)
    del watched  # nothing else holds it: the callback runs here


class Other:
    watch: object = None


keep: list[object] = []


@pytest.mark.parametrize("lose", [by_del, by_weakref])
def test_a_signal_in_a_callback_that_loses_exceptions_stops_the_run_all_the_same(lose):
    GracefulStop().before_pipeline_run()
    lost = False
    with pytest.raises(Terminated):
        lose()
        lost = True  # Python has dropped what the handler raised
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:  # a step that takes long
            time.sleep(0.001)
    assert lost


def test_a_signal_that_was_swallowed_stops_the_run_at_the_next_node_or_epoch():
    looks = [
        lambda hook: hook.before_node_run(),
        lambda hook: hook.before_dataset_saved(),
        lambda hook: hook.after_dataset_saved("warmup_checkpoint", {"epoch": 1}),
    ]
    for look in looks:
        hook = GracefulStop()
        hook.before_pipeline_run()
        look(hook)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except BaseException:  # as some libraries do
            pass
        with pytest.raises(Terminated):
            look(hook)
        hook.before_pipeline_run()
        look(hook)  # another run in this process


def test_the_sentence_says_what_is_stored(capfd):
    hook = GracefulStop()
    hook.before_pipeline_run()
    hook.after_dataset_saved("warmup_checkpoint", {"epoch": 2})
    hook.after_dataset_saved("round_1_checkpoint", {"epoch": 5})
    hook.after_dataset_saved("warmup_history", None)
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGHUP)
        signal.pause()
    assert capfd.readouterr().err.strip() == (
        "Stopped by SIGHUP. Stored is what the finished nodes have made, warmup up to epoch 2, "
        "round_1 up to epoch 5; the same command goes on from there."
    )


def test_nobody_reads_the_sentence(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    GracefulStop().before_pipeline_run()
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def test_a_run_in_another_thread_leaves_signals_alone():
    before, failed = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        try:
            hook = GracefulStop()
            hook.before_pipeline_run()
            hook.after_pipeline_run()
        except ValueError as error:  # "signal only works in main thread"
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed and signal.getsignal(signal.SIGTERM) == before


def test_sigterm_in_the_middle_of_a_log_line_is_not_lost():
    """Handlers of logging survive every ``Exception``; a run would go on for hours."""
    GracefulStop().before_pipeline_run()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            except Exception:
                self.handleError(record)

    logger = logging.Logger("slow")
    logger.addHandler(Slow())
    with pytest.raises(Terminated):
        logger.info("epoch 1")


def test_a_run_that_is_asked_to_stop_keeps_its_checkpoint(project):
    """`kill` and batch systems send SIGTERM: the run ends with an error, its files whole."""
    params = "training.warmup_epochs=500,training.steps=1,monitor.people=0"
    process = project.start("--pipelines", "warmup", "--params", params)
    printed = ""
    assert process.stdout is not None
    while "warmup epoch 2 " not in printed:
        line = process.stdout.readline()
        assert line, printed
        printed += line
    process.terminate()
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, rest
    assert "Stopped by SIGTERM" in rest and "warmup up to epoch" in rest
    assert "Traceback" not in rest
    stage = project.data / "06_models" / "warmup"
    assert {file.name for file in stage.iterdir()} == {"checkpoint.pt", "history.csv"}


def test_a_second_run_in_the_data_folder_is_refused_and_looking_is_not(project):
    with hold_folder(project.data):
        with pytest.raises(BadInput, match="one run at a time"):
            project.run("warmup", training={"steps": 1, "warmup_epochs": 1})
        with project.session() as session:
            assert len(session.load_context().catalog.load("labeled")) > 0
    assert not (project.data / "06_models").exists()


def test_a_network_that_cannot_start_ends_a_run_before_anything_is_read(make_project):
    project = make_project("no_weights")
    network = {"kind": "simple_baseline", "reduction": 16, "weights": "nowhere.pth"}
    with pytest.raises(BadInput, match=r"network\.weights = nowhere\.pth: must be a file that"):
        project.run("ingestion", "warmup", network=network)
    assert not (project.data / "03_primary" / "instances.parquet").exists()


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)


def test_weights_that_cannot_be_downloaded_end_a_run_before_anything_is_read(make_project, offline):
    project = make_project("no_network")
    network = {"kind": "simple_baseline", "reduction": 16, "weights": "tv_in1k"}
    with pytest.raises(BadInput, match=r"network\.weights = tv_in1k: .* could not be downloaded"):
        project.run("ingestion", "warmup", network=network)
    assert not (project.data / "03_primary" / "instances.parquet").exists()


@pytest.mark.parametrize("trained", [False, True])
def test_what_is_trained_already_needs_no_weights_to_start_from(trained, offline, tmp_path):
    network = NetworkConfig.model_validate({"kind": "simple_baseline", "weights": "tv_in1k"})
    catalog = DataCatalog({
        "params:network": MemoryDataset(network), "params:machine": MemoryDataset(MachineConfig()),
        "params:training": MemoryDataset(TrainingConfig()),
        "resume_warmup": CheckpointDataset(str(tmp_path / "checkpoint.pt"), optional=True),
    })  # fmt: skip
    if trained:
        catalog.save("resume_warmup", {"fingerprint": "a"})
    reads = ["params:network", "params:machine", "params:training", "resume_warmup"]
    training = Pipeline([Node(lambda *_: 0, reads, "any", name="warm_up", tags="training")])
    hook = PreparedMachine()
    with nullcontext() if trained else pytest.raises(BadInput, match="could not be downloaded"):
        hook.before_pipeline_run(training, catalog)
    hook.after_pipeline_run()


def pair(one: object, other: object) -> tuple[object, object]:
    return one, other


@pytest.mark.parametrize(("threshold", "warned"), [(0.2, False), (0.1, True)])
def test_another_tolerance_of_labels_than_of_scores_is_said(threshold, warned, caplog):
    config = MethodConfig.model_validate({"kind": "many_view"})
    evaluation = EvaluationConfig(protocol="pck", flip_test=False, pck_threshold=threshold)
    catalog = DataCatalog({
        "params:method": MemoryDataset(config), "params:evaluation": MemoryDataset(evaluation),
    })  # fmt: skip
    both = Node(pair, ["params:method", "params:evaluation"], "any", name="both")
    PreparedMachine().before_pipeline_run(Pipeline([both]), catalog)
    said = "method.tolerance = 0.2 is not evaluation.pck_threshold = 0.1" in caplog.text
    assert said == warned
