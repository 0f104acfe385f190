"""A stage of a training (warm-up, a round, the comparison): from people and settings to epochs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from sspcm_kedro import ranks
from sspcm_kedro.data.held_out import held_out_rows
from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.loader import Batches, InstancePool, PseudoLabels
from sspcm_kedro.data.stored_crops import StoredCrops, crops_record
from sspcm_kedro.data.views import ViewConfig, crops_of
from sspcm_kedro.data.whose import check_unit
from sspcm_kedro.engine.calibration import check_measurable
from sspcm_kedro.engine.evaluate import HEADLINES, EvaluationConfig, evaluate
from sspcm_kedro.engine.fingerprint import file_digests, fingerprint, people_text
from sspcm_kedro.engine.learner import Learner, State, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.precision import allow_tf32
from sspcm_kedro.engine.predict import predict
from sspcm_kedro.engine.record import (
    Record,
    Stage,
    as_record,
    check_previous,
    is_same,
    origin,
    warn_of_other_code,
)
from sspcm_kedro.engine.training import Monitor, train
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import STORED, Method
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton


class MonitorConfig(EvaluationConfig):
    """The same for the quick look after each epoch; training reads this and not ``evaluation``."""

    key = "monitor"
    flip_test: bool = False
    people: int = Field(default=200, ge=0, le=10**9, description="validation people, evenly spaced")


@dataclass(frozen=True)
class People:
    """Whom a stage learns from and is monitored on; ``unlabeled`` is None where there are none.

    ``stored`` has crops of those whom it learns from, where ingestion stores any.
    """

    labeled: Instances
    unlabeled: Instances | None
    validation: Instances
    skeleton: Skeleton
    stored: StoredCrops | None = None

    def taught(self, held_out: float, seed: int) -> Instances:
        """The labeled people but for a share, whom ``held_out_rows`` names."""
        rows = held_out_rows(len(self.labeled), held_out, seed)
        everyone = np.arange(len(self.labeled))
        return self.labeled.take(np.setdiff1d(everyone, rows)) if len(rows) else self.labeled

    def held_out(self, share: float, seed: int) -> Instances:
        """That share of them."""
        return self.labeled.take(held_out_rows(len(self.labeled), share, seed))

    def check(self) -> None:
        """Refuse tables that do not belong together.

        Raises:
            BadInput: they are of several ingestions.
        """
        check_unit(
            self.skeleton.to_dict(), labeled=self.labeled, unlabeled=self.unlabeled,
            validation=self.validation,
        )  # fmt: skip


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
        return Learner(
            self.method,
            maker,
            self.view.codec,
            self.training,
            self.machine.pick(),
            self.machine.compile,
        )

    def read(self, stage: Stage, *, labels_only: bool) -> Record:
        """What a stage reads of them, which may learn from labels alone."""
        return {
            "seed": self.seed,
            "view": self.view.model_dump(mode="json"),
            "network": self.network.model_dump(mode="json"),
            "weights": file_digests(self.network.files()) or None,
            "method": self.method.read(
                labels_only=stage.number == 0, last=stage.is_last(self.training)
            ),
            "training": stage.read_training(self.training, labels_only=labels_only),
        }


def record_of(
    stage: Stage, people: People, settings: StageSettings, method: Method, *,
    pseudo: PseudoLabels | None = None, previous: State | None = None,
) -> Record:  # fmt: skip
    """What decides what a stage learns, but for the code.

    Args:
        stage: the stage.
        people: of a run.
        settings: of that run.
        method: that is trained.
        pseudo: what a round learns from, of the unlabeled people.
        previous: the checkpoint that a round starts from.
    """
    labels_only = stage.number == 0 or not method.needs_unlabeled
    stored = pseudo is not None and reads_stored(method)
    learners = method.learners(last=stage.is_last(settings.training))
    return as_record({
        "stage": stage.name,
        "learners": None if learners == tuple(method.networks) else learners,
        **settings.read(stage, labels_only=labels_only),
        "skeleton": people.skeleton.to_dict(),
        "crops": crops_record(people.stored),
        "labeled": _digest(people.labeled),
        "unlabeled": None if labels_only or people.unlabeled is None else _digest(people.unlabeled),
        "pseudo_labels": fingerprint(*pseudo.to_bytes()) if pseudo and stored else None,
        "previous": None if previous is None else previous["fingerprint"],
    })  # fmt: skip


def reads_stored(method: Method) -> bool:
    """Whether it learns from what a round stores of the unlabeled people."""
    return bool(method.reads & STORED)


def _digest(people: Instances) -> Record:
    return {"people": len(people), "digest": fingerprint(people_text(people))}


def train_stage(
    stage: Stage,
    people: People,
    settings: StageSettings,
    *,
    resume: State | None,
    code: dict[str, str],
    previous: State | None = None,
    pseudo: PseudoLabels | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history as often as ``train`` does.

    The epochs of the warm-up learn from labels alone, later ones from all that the method reads: of
    a method that reads labels alone every batch is as large as in the warm-up.

    Args:
        stage: its name and its place in the training.
        people: of whom the method is given what it reads.
        settings: of the training.
        resume: the stage's own checkpoint, to go on from if it is of the same training.
        code: digests of the source files that decide what is learned.
        previous: the checkpoint of the stage before, to start from.
        pseudo: what a round stored of the unlabeled people.

    Raises:
        BadInput: view and network do not fit, too few people are held out, the people are of
            several ingestions or not those of the pseudo-labels, or ``previous`` is not the end of
            the stage before, of these settings and people.
    """
    view, training, machine = settings.view, settings.training, settings.machine
    skeleton, last = people.skeleton, stage.is_last(training)
    people.check()
    view.check(settings.network)
    learner = settings.learner(skeleton.size)
    if previous is not None:
        expected = record_of(stage.before, people, settings, learner.method)
        check_previous(previous, stage.before, expected, stage.span(training).start)
        learner.restore(previous)
        learner.history = []
    learner.method.begin(last=last, step=stage.span(training).start * training.steps)
    if pseudo is not None and "donors" not in learner.method.reads:
        pseudo = replace(pseudo, occluders=pseudo.occluders[:0])
    if stage.number == 0:  # before hours of training, not after
        check_held_out(people.labeled, skeleton, learner.method.held_out, settings.seed)
    record = record_of(stage, people, settings, learner.method, pseudo=pseudo, previous=previous)
    comes_from = origin(record, code, people.labeled.unit)
    if previous is not None and not is_same(resume, comes_from):
        warn_of_other_code(f"{stage.name} starts", previous, code)
    unlabeled = people.unlabeled if learner.method.needs_unlabeled else None
    pseudo = pseudo if reads_stored(learner.method) else None
    held_out = 0.0 if last else learner.method.held_out
    labeled = people.taught(held_out, settings.seed)
    unlabeled, pseudo = without(people.held_out(held_out, settings.seed), unlabeled, pseudo)
    full = make_batches(
        labeled, unlabeled, pseudo, skeleton, view=view, training=training, machine=machine,
        seed=settings.seed, stored=people.stored,
    )  # fmt: skip
    warm = replace(full, unlabeled=None, pseudo=None, size=(training.batch, training.batch))
    alone = training.epochs if unlabeled is None else training.warmup_epochs
    ends = training.epochs - training.finish_epochs(learner.method.finish)
    with allow_tf32(training.precision == "tf32"):
        yield from train(
            learner,
            lambda epoch, *which: (full if alone <= epoch < ends else warm).epoch(epoch, *which),
            make_monitor(
                people.validation, skeleton, view, settings.monitor, machine,
                learner.method.learners(last=last),
            ),
            stage=stage.name, span=stage.span(training), training=training, seed=settings.seed,
            comes_from=comes_from, resume=resume, checkpoint_minutes=machine.checkpoint_minutes,
        )  # fmt: skip


def check_held_out(labeled: Instances, skeleton: Skeleton, share: float, seed: int) -> None:
    """Refuse labeled people of whom those held out are too few to measure pseudo-labels on.

    Raises:
        BadInput: fewer than two of them have labels and a PCK unit.
    """
    if share:
        check_measurable(labeled.take(held_out_rows(len(labeled), share, seed)), skeleton)


def without(
    held_out: Instances, unlabeled: Instances | None, pseudo: PseudoLabels | None
) -> tuple[Instances | None, PseudoLabels | None]:
    """The unlabeled people, and what is known of them, but for those who are held out: they are
    among them where ``split.unlabeled_includes_labeled``."""
    if unlabeled is None:
        return None, pseudo
    rows = np.flatnonzero(~np.isin(unlabeled.ids, held_out.ids))
    if len(rows) == len(unlabeled):
        return unlabeled, pseudo
    return unlabeled.take(rows), None if pseudo is None else pseudo.take(rows)


def make_batches(
    labeled: Instances, unlabeled: Instances | None, pseudo: PseudoLabels | None,
    skeleton: Skeleton, *, view: ViewConfig, training: TrainingConfig, machine: MachineConfig,
    seed: int, stored: StoredCrops | None = None,
) -> Batches:  # fmt: skip
    """The batches of a stage."""

    def pool(people: Instances) -> InstancePool:
        return InstancePool.from_crops(crops_of(people, view, machine, stored))

    return Batches(
        pool(labeled), None if unlabeled is None else pool(unlabeled), pseudo, skeleton,
        view.codec, view.weak.build(), training.sizes, training.steps, seed, machine.pick(),
        view.color, training.shards,
    )  # fmt: skip


def make_monitor(
    validation: Instances, skeleton: Skeleton, view: ViewConfig,
    config: MonitorConfig, machine: MachineConfig, names: tuple[str, ...],
) -> Monitor:  # fmt: skip
    """Scores of a method's networks, of those names, on some validation people."""
    if config.people == 0:
        return lambda method: {}
    flip_test = config.averages_mirrored(view)
    rows = evenly_spaced(len(validation), config.people)
    crops = crops_of(validation.take(rows), view, machine)

    def monitor(method: Method) -> dict[str, float]:
        scores = {}
        for name in names:
            predictions = predict(
                method.shipped[name],
                crops,
                skeleton,
                view.codec,
                flip_test=flip_test,
                device=machine.pick(),
            )
            if ranks.rank() > 0:  # the first process keeps the history
                continue
            own = evaluate(*predictions, crops.instances, view.frame, skeleton, config).scores
            scores |= {f"{name}/{metric}": own[metric] for metric in HEADLINES if metric in own}
        return scores

    return monitor
