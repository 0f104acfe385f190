"""Any method without rounds, with as many optimiser steps as warm-up and rounds together."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from pydantic import model_validator

from sspcm_kedro.engine.learner import Learner, State, fingerprint, network_maker
from sspcm_kedro.engine.settings import MachineConfig, MonitorConfig, TrainingConfig, ViewConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines.learning import code, make_batches, make_monitor, train
from sspcm_kedro.pipelines.people import content
from sspcm_kedro.pose.skeleton import Skeleton


class BaselineConfig(MethodConfig):
    """A method that needs no stored predictions."""

    @model_validator(mode="after")
    def _keeps_its_own_past(self) -> "BaselineConfig":
        if isinstance(self.root, SSPCMConfig) and self.root.snapshot_every is None:
            raise ValueError(
                "a baseline of kind sspcm has no rounds to read an earlier period from; "
                "set baseline.snapshot_every (optimiser steps)"
            )
        return self


def train_baseline(
    labelled: pd.DataFrame,
    unlabelled: pd.DataFrame,
    validation: pd.DataFrame,
    skeleton: dict[str, Any],
    resume: State | None,
    seed: int,
    view: ViewConfig,
    network: NetworkConfig,
    baseline: BaselineConfig,
    training: TrainingConfig,
    monitor: MonitorConfig,
    machine: MachineConfig,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history after each epoch; the warm-up uses labels alone."""
    view.check(network)
    joints = Skeleton.from_dict(skeleton)
    maker = network_maker(network, joints.size, seed)
    learner = Learner(baseline, maker, training, machine.pick())
    people = unlabelled if learner.method.needs_unlabeled else None

    def batches_of(unlabelled: pd.DataFrame | None) -> Any:
        return make_batches(
            labelled, unlabelled, None, joints, view=view, training=training, machine=machine,
            seed=seed,
        )  # fmt: skip

    warm, full = batches_of(None), batches_of(people)
    settings = [x.model_dump() for x in (view, network, baseline, training)]
    data = [content(table) for table in (labelled, people) if table is not None]
    yield from train(
        learner,
        lambda epoch: (warm if epoch < training.warmup_epochs else full).epoch(epoch),
        make_monitor(validation, joints, view, monitor, machine),
        stage="baseline",
        span=range(training.epochs),
        training=training,
        seed=seed,
        fingerprint=fingerprint("baseline", seed, settings, skeleton, data, code("baseline")),
        resume=resume,
    )
