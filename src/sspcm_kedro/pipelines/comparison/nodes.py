"""Any method without rounds, with as many optimizer steps as warm-up and rounds together."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.fingerprint import code_digests, fingerprint
from sspcm_kedro.engine.learner import Learner, State, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import MonitorConfig, make_batches, make_monitor, train
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import ComparisonConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines.people import content
from sspcm_kedro.pose.skeleton import Skeleton


def train_comparison(
    labeled: pd.DataFrame,
    unlabeled: pd.DataFrame,
    validation: pd.DataFrame,
    skeleton: dict[str, Any],
    resume: State | None,
    seed: int,
    view: ViewConfig,
    network: NetworkConfig,
    comparison: ComparisonConfig,
    training: TrainingConfig,
    monitor: MonitorConfig,
    machine: MachineConfig,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history after each epoch; the warm-up uses labels alone."""
    view.check(network)
    joints = Skeleton.from_dict(skeleton)
    maker = network_maker(network, joints.size, seed, stride=view.stride)
    learner = Learner(comparison, maker, view.codec, training, machine.pick())
    people = unlabeled if learner.method.needs_unlabeled else None

    def batches_of(unlabeled: pd.DataFrame | None) -> Any:
        return make_batches(
            labeled, unlabeled, None, joints, view=view, training=training, machine=machine,
            seed=seed,
        )  # fmt: skip

    warm, full = batches_of(None), batches_of(people)
    settings = [x.model_dump() for x in (view, network, comparison, training)]
    data = [content(table) for table in (labeled, people) if table is not None]
    yield from train(
        learner,
        lambda epoch: (warm if epoch < training.warmup_epochs else full).epoch(epoch),
        make_monitor(validation, joints, view, monitor, machine),
        stage="comparison",
        span=range(training.epochs),
        training=training,
        seed=seed,
        fingerprint=fingerprint(
            "comparison", seed, settings, skeleton, data, code_digests("comparison")
        ),
        resume=resume,
    )
