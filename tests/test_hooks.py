"""Stopping: SIGTERM becomes an exception, so that what is open is closed."""

import logging
import os
import signal
import threading

import pytest

from sspcm_kedro.hooks import GracefulStop, Terminated


@pytest.fixture(autouse=True)
def handler_as_before():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_raises_in_the_middle_of_the_work():
    GracefulStop().before_pipeline_run()
    cleaned = []
    with pytest.raises(Terminated, match="SIGTERM"):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)
    assert cleaned


@pytest.mark.parametrize("ending", ["after_pipeline_run", "on_pipeline_error", "signal"])
def test_the_handler_is_that_of_before_once_the_run_has_ended(ending):
    def mine(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, mine)
    hook = GracefulStop()
    for _ in range(2):
        hook.before_pipeline_run()
        hook.before_pipeline_run()  # the run before was interrupted, of which no hook is told
        assert signal.getsignal(signal.SIGTERM) != mine
        if ending == "signal":
            with pytest.raises(Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
        else:
            getattr(hook, ending)()
        assert signal.getsignal(signal.SIGTERM) is mine


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
    assert process.returncode not in (0, -signal.SIGTERM), rest
    assert "Terminated" in rest and "SIGTERM" in rest
    stage = project.data / "06_models" / "warmup"
    assert {file.name for file in stage.iterdir()} == {"checkpoint.pt", "history.csv"}
