"""Any method without rounds, with as many optimizer steps as warm-up and rounds together."""

from collections.abc import Iterator
from typing import Any

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.fingerprint import code_digests, fingerprint, people_content
from sspcm_kedro.engine.learner import Learner, State, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import MonitorConfig, make_batches, make_monitor, train
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import ComparisonConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton


def train_comparison(
    labeled: Instances,
    unlabeled: Instances,
    validation: Instances,
    skeleton: Skeleton,
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
    maker = network_maker(network, skeleton.size, seed, stride=view.stride)
    learner = Learner(comparison, maker, view.codec, training, machine.pick())
    people = unlabeled if learner.method.needs_unlabeled else None

    def batches_of(unlabeled: Instances | None) -> Any:
        return make_batches(
            labeled, unlabeled, None, skeleton, view=view, training=training, machine=machine,
            seed=seed,
        )  # fmt: skip

    warm, full = batches_of(None), batches_of(people)
    settings = [x.model_dump() for x in (view, network, comparison, training)]
    data = [people_content(table) for table in (labeled, people) if table is not None]
    yield from train(
        learner,
        lambda epoch: (warm if epoch < training.warmup_epochs else full).epoch(epoch),
        make_monitor(validation, skeleton, view, monitor, machine),
        stage="comparison",
        span=range(training.epochs),
        training=training,
        seed=seed,
        fingerprint=fingerprint(
            "comparison", seed, settings, skeleton.to_dict(), data, code_digests("comparison")
        ),
        resume=resume,
    )
