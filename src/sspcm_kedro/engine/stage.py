"""A stage of a training (warm-up, a round, the comparison): from people and settings to epochs."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from pydantic import Field

from sspcm_kedro.batch import Batch
from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.loader import Batches, InstancePool, PseudoLabels
from sspcm_kedro.data.views import ViewConfig, crops_of
from sspcm_kedro.engine.evaluate import HEADLINES, EvaluationConfig, evaluate
from sspcm_kedro.engine.fingerprint import fingerprint, people_text
from sspcm_kedro.engine.fit import EpochReport, fit
from sspcm_kedro.engine.learner import Learner, State, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.engine.progress import StepProgress, format_epoch
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import Method
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton

logger = logging.getLogger(__name__)
Monitor = Callable[[Method], dict[str, float]]


class MonitorConfig(EvaluationConfig):
    """The same for the quick look after each epoch; training reads this and not ``evaluation``."""

    flip_test: bool = False
    people: int = Field(default=200, ge=0, le=10**9, description="validation people, evenly spaced")


@dataclass(frozen=True)
class People:
    """Whom a stage learns from and is monitored on; ``unlabeled`` is None where there are none."""

    labeled: Instances
    unlabeled: Instances | None
    validation: Instances
    skeleton: Skeleton


@dataclass(frozen=True)
class StageSettings:
    """The parameters of a training; all but ``monitor`` and ``machine`` decide what it learns."""

    seed: int
    view: ViewConfig
    network: NetworkConfig
    method: MethodConfig
    training: TrainingConfig
    monitor: MonitorConfig
    machine: MachineConfig

    def learner(self, keypoints: int) -> Learner:
        """The method with networks of ``keypoints`` channels, at the start of its training."""
        maker = network_maker(self.network, keypoints, self.seed, stride=self.view.stride)
        return Learner(self.method, maker, self.view.codec, self.training, self.machine.pick())

    def fingerprint_parts(self) -> list[Any]:
        """What decides what is learned, to be fingerprinted."""
        configs = (self.view, self.network, self.method, self.training)
        return [self.seed, *(config.model_dump() for config in configs)]


def train_stage(
    stage: str,
    span: range,
    people: People,
    settings: StageSettings,
    *,
    resume: State | None,
    code: dict[str, str],
    previous: State | None = None,
    pseudo: PseudoLabels | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history after each epoch.

    The epochs of the warm-up learn from labels alone, later ones from all that the method reads.

    Args:
        stage: its name, in the history and the log.
        span: its epochs, of the whole training.
        people: of whom the method is given what it reads.
        settings: of the training.
        resume: the stage's own checkpoint, to go on from if it is of the same training.
        code: digests of the source files that decide what is learned.
        previous: the checkpoint of the stage before, to start from.
        pseudo: what a round stored of the unlabeled people.

    Raises:
        BadInput: view and network do not fit, or ``previous`` is no end of the stage before.
    """
    view, training, machine = settings.view, settings.training, settings.machine
    labeled, skeleton = people.labeled, people.skeleton
    view.check(settings.network)
    learner = settings.learner(skeleton.size)
    prints = [stage, settings.fingerprint_parts(), skeleton.to_dict(), code]
    if previous is not None:
        start_from(learner, previous, span)
        prints.append(previous["fingerprint"])
    unlabeled = people.unlabeled if learner.method.needs_unlabeled else None
    pseudo = pseudo if learner.method.reads & {"earlier", "donors"} else None
    prints += [people_text(part) for part in (labeled, unlabeled) if part is not None]
    prints += pseudo.to_bytes() if pseudo is not None else []
    full = make_batches(
        labeled, unlabeled, pseudo, skeleton, view=view, training=training, machine=machine,
        seed=settings.seed,
    )  # fmt: skip
    warm = replace(full, unlabeled=None, pseudo=None)
    yield from train(
        learner,
        lambda epoch: (warm if epoch < training.warmup_epochs else full).epoch(epoch),
        make_monitor(people.validation, skeleton, view, settings.monitor, machine),
        stage=stage, span=span, training=training, seed=settings.seed,
        fingerprint=fingerprint(*prints), resume=resume,
    )  # fmt: skip


def start_from(learner: Learner, previous: State, span: range) -> None:
    """Restore a learner from the end of the stage before; its history begins anew.

    Raises:
        BadInput: the checkpoint is of another method, or not of the last epoch before ``span``.
    """
    where, remedy = "checkpoint of the stage before this round", "Run that stage to its end first"
    if previous["kind"] != learner.kind:
        rule = f"must be of method.kind = {learner.kind}, found {previous['kind']}"
        raise BadInput(where, rule, remedy)
    if previous["epoch"] != span.start:
        rule = f"must stand at the end of its stage, found it after epoch {previous['epoch']}"
        raise BadInput(where, rule, f"{remedy} (the same command goes on with it)")
    learner.restore(previous)
    learner.history = []


def make_batches(
    labeled: Instances, unlabeled: Instances | None, pseudo: PseudoLabels | None,
    skeleton: Skeleton, *, view: ViewConfig, training: TrainingConfig, machine: MachineConfig,
    seed: int,
) -> Batches:  # fmt: skip
    """The batches of a stage."""

    def pool(people: Instances) -> InstancePool:
        return InstancePool.from_crops(crops_of(people, view, machine))

    return Batches(
        pool(labeled), None if unlabeled is None else pool(unlabeled), pseudo, skeleton,
        view.codec, view.weak.build(), training.batch, training.steps, seed, machine.pick(),
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
        scores = {}
        for name, net in method.networks.items():
            predictions = predict(
                net, crops, skeleton, view.codec, flip_test=config.flip_test, device=machine.pick()
            )
            own = evaluate(*predictions, crops.instances, view.input_hw, skeleton, config).scores
            scores |= {f"{name}/{metric}": own[metric] for metric in HEADLINES if metric in own}
        return scores

    return monitor


def train(
    learner: Learner,
    batches: Callable[[int], Iterator[Batch]],
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
        return {"checkpoint": learner.state(fingerprint), "history": pd.DataFrame(learner.history)}

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
            learner.history.append(history_row(stage, report, monitor(learner.method)))
            logger.info("%s", format_epoch(learner.history[-1]))
            yield outputs()


def history_row(
    stage: str, report: EpochReport, scores: dict[str, float]
) -> dict[str, float | str]:
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
