"""What the training nodes of warm-up, rounds and comparison share."""

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.loader import Batches, InstancePool, PseudoLabels
from sspcm_kedro.data.views import ViewConfig, crops_of
from sspcm_kedro.engine.evaluate import HEADLINES, EvaluationConfig, evaluate
from sspcm_kedro.engine.fit import EpochReport, fit
from sspcm_kedro.engine.learner import Learner, State
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods.base import Method
from sspcm_kedro.pose.skeleton import Skeleton

logger = logging.getLogger(__name__)
Monitor = Callable[[Method], dict[str, float]]


class MonitorConfig(EvaluationConfig):
    """The same for the quick look after each epoch; training reads this and not ``evaluation``."""

    flip_test: bool = False
    people: int = Field(default=200, ge=0, description="validation people, evenly spread")


def make_batches(
    labeled: Instances,
    unlabeled: Instances | None,
    pseudo: PseudoLabels | None,
    skeleton: Skeleton,
    *,
    view: ViewConfig,
    training: TrainingConfig,
    machine: MachineConfig,
    seed: int,
) -> Batches:
    """The batches of a stage."""
    pools = [
        InstancePool.from_crops(crops_of(people, view, machine)) if people is not None else None
        for people in (labeled, unlabeled)
    ]
    assert pools[0] is not None
    return Batches(
        pools[0], pools[1], pseudo, skeleton, view.codec, view.weak.build(), training.batch,
        training.steps, seed, machine.pick(),
    )  # fmt: skip


def make_monitor(
    validation: Instances, skeleton: Skeleton, view: ViewConfig,
    config: MonitorConfig, machine: MachineConfig,
) -> Monitor:  # fmt: skip
    """Scores of every network of a method on some validation people."""
    if config.people == 0:
        return lambda method: {}
    rows = evenly_spaced(len(validation), config.people)
    crops = crops_of(validation.take(rows), view, machine)

    def monitor(method: Method) -> dict[str, float]:
        found = {}
        for name, net in method.networks.items():
            keypoints, scores = predict(
                net, crops, skeleton, view.codec, flip_test=config.flip_test, device=machine.pick()
            )
            evaluated = evaluate(
                keypoints, scores, crops.instances, view.input_hw, skeleton, config
            ).scores
            found |= {f"{name}/{k}": evaluated[k] for k in HEADLINES if k in evaluated}
        return found

    return monitor


def train(
    learner: Learner,
    batches: Callable[[int], Iterator[Any]],
    monitor: Monitor,
    *,
    stage: str,
    span: range,
    training: TrainingConfig,
    seed: int,
    fingerprint: str,
    resume: State | None,
) -> Iterator[dict[str, Any]]:
    """Train the epochs of a stage; yield checkpoint and history after each, for the catalog.

    A checkpoint of the same fingerprint is gone on from; one of another is of other settings, data
    or code, and the stage starts afresh. A finished stage yields what it has.
    """
    if resume is not None and resume["fingerprint"] == fingerprint:
        learner.restore(resume)
        logger.info("%s goes on after epoch %d of %d", stage, learner.epoch, span.stop)
    elif resume is not None:
        logger.warning("%s has a checkpoint of other settings, data or code: starts afresh", stage)

    def outputs() -> dict[str, Any]:
        return {
            "checkpoint": learner.state(fingerprint),
            "history": pd.DataFrame(learner.history),
        }

    epochs = range(max(span.start, learner.epoch), span.stop)
    if not epochs:
        yield outputs()
        return
    with StepProgress(stage, len(epochs) * training.steps) as on_step:
        for report in fit(
            learner.method, batches, learner.optimizer, learner.schedule,
            epochs=epochs, steps=training.steps, seed=seed, on_step=on_step,
        ):  # fmt: skip
            learner.epoch = report.epoch + 1
            learner.history.append(row(stage, report, monitor(learner.method)))
            logger.info("%s", described(learner.history[-1]))
            yield outputs()


def row(stage: str, report: EpochReport, scores: dict[str, float]) -> dict[str, float | str]:
    """One line of the history."""
    return {
        "stage": stage,
        "epoch": report.epoch + 1,
        "step": report.step,
        "learning_rate": report.learning_rate,
        "people_per_second": report.people_per_second,
        "memory_gib": report.memory_gib,
        **report.scalars,
        **scores,
    }


def described(line: dict[str, Any]) -> str:
    """A history line for the log."""
    skip = {"stage", "epoch", "step", "learning_rate", "memory_gib"}
    numbers = ", ".join(
        f"{k} {v:.4g}" for k, v in line.items() if k not in skip and "/loss/" not in k
    )
    return f"{line['stage']} epoch {line['epoch']} (step {line['step']}): {numbers}"


class StepProgress:
    """A bar with loss and time left on a terminal; nothing elsewhere (the log has a line an epoch).

    Entering it gives the function that is told each step's scalars.
    """

    def __init__(self, title: str, total: int) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self.task = self.bar.add_task(title, total=total, loss="-")
        self.steps = 0

    def __enter__(self) -> Callable[[dict[str, torch.Tensor]], None]:
        self.bar.start()
        return self.advance

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, scalars: dict[str, torch.Tensor]) -> None:
        """Count a step; the loss is read every 20 steps, since reading stops a GPU's queue."""
        self.steps += 1
        if not self.bar.disable and self.steps % 20 == 0:
            loss = sum(v.item() for k, v in scalars.items() if k.startswith("loss/"))
            self.bar.update(self.task, loss=f"{loss:.5f}")
        self.bar.advance(self.task)
