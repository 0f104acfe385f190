"""The epochs of a stage: trained, scored, stored from time to time, gone on from."""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any

from sspcm_kedro.batch import Batch
from sspcm_kedro.engine.fit import EpochPart, EpochReport, fit
from sspcm_kedro.engine.learner import Learner, State
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.progress import MINUTE, Checkpoints, StepProgress, format_epoch
from sspcm_kedro.engine.record import differences_of, is_same, place, warn_of_other_code
from sspcm_kedro.methods.base import Method

logger = logging.getLogger(__name__)
Monitor = Callable[[Method], dict[str, float]]


def train(
    learner: Learner,
    batches: Callable[[int, int, int], Generator[Batch, None, None]],
    monitor: Monitor,
    *,
    stage: str,
    span: range,
    training: TrainingConfig,
    seed: int,
    comes_from: dict[str, Any],
    resume: State | None,
    checkpoint_minutes: float,
) -> Iterator[dict[str, Any]]:
    """Train the epochs of a stage; yield checkpoint and history from time to time and at the end.

    A checkpoint of the same record is gone on from, and keeps the digests of the code that it began
    with; one of another record is of another training, and the stage starts afresh. A finished
    stage yields what it has.

    Args:
        learner: at the start of the stage.
        batches: a shard's of an epoch, from a step of it on.
        monitor: scores of the networks.
        stage: its name.
        span: its epochs, of the whole training.
        training: its length.
        seed: of the experiment.
        comes_from: what ``record.origin`` gives.
        resume: the stage's own checkpoint.
        checkpoint_minutes: between two yields, of which the first comes no later than the first
            epoch ends; 0 yields after every step. An epoch may be in its middle then.
    """
    if resume is not None and is_same(resume, comes_from):
        learner.restore(resume)
        logger.info("%s goes on after %s of %d", stage, place(resume), span.stop)
        warn_of_other_code(f"{stage} goes on", resume, comes_from["code"])
        comes_from = {**comes_from, "code": resume["code"]}
    elif resume is not None:
        found = differences_of(resume, comes_from["record"])
        logger.warning("%s has a checkpoint of another training, starts afresh: %s", stage, found)

    def outputs() -> dict[str, Any]:
        return {"checkpoint": learner.state(comes_from), "history": learner.table()}

    epochs = range(max(span.start, learner.epoch), span.stop)
    if not epochs:
        yield outputs()
        return
    due, begun = Checkpoints(MINUTE * checkpoint_minutes), learner.part
    done = begun.steps if begun else 0
    progress = StepProgress(stage, len(epochs) * training.steps - done)
    with progress as on_step, ExitStack() as ends:
        for report in fit(
            learner.method, lambda *which: ends.enter_context(closing(batches(*which))),
            learner.optimizer, learner.schedule,
            epochs=epochs, steps=training.steps, seed=seed, shards=training.shards,
            on_step=on_step, interval=min(MINUTE, due.interval), begun=begun,
            learn=learner.learn,
        ):  # fmt: skip
            if isinstance(report, EpochPart):
                progress.tell(report, training.steps)
                learner.part = report
            else:
                learner.epoch, learner.part = report.epoch + 1, None
                learner.history.append(history_row(stage, report, monitor(learner.method)))
                logger.info("%s", format_epoch(learner.history[-1]))
            if due.at(whole=learner.part is None, last=learner.epoch == span.stop):
                yield outputs()
                due.restart()


def history_row(
    stage: str, report: EpochReport, scores: dict[str, float]
) -> dict[str, float | str]:
    """One line of the history."""
    return {
        "stage": stage,
        "epoch": report.epoch + 1,
        "step": report.step,
        "learning_rate": report.learning_rate,
        "seconds": report.seconds,
        "people_per_second": report.people_per_second,
        "memory_gib": report.memory_gib,
        **report.scalars,
        **scores,
    }
