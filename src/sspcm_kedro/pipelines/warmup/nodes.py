"""Both teachers and the student, from different weights, on labels alone."""

from collections.abc import Iterator
from typing import Any

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.fingerprint import code_digests, fingerprint, people_content
from sspcm_kedro.engine.learner import Learner, State, network_maker
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.stage import MonitorConfig, make_batches, make_monitor, train
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton


def warm_up(
    labeled: Instances,
    validation: Instances,
    skeleton: Skeleton,
    resume: State | None,
    seed: int,
    view: ViewConfig,
    network: NetworkConfig,
    method: SSPCMConfig,
    training: TrainingConfig,
    monitor: MonitorConfig,
    machine: MachineConfig,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history after each epoch of supervised training of three networks."""
    view.check(network)
    maker = network_maker(network, skeleton.size, seed, stride=view.stride)
    learner = Learner(MethodConfig(method), maker, view.codec, training, machine.pick())
    batches = make_batches(
        labeled, None, None, skeleton, view=view, training=training, machine=machine, seed=seed
    )
    settings = [x.model_dump() for x in (view, network, method, training)]
    yield from train(
        learner,
        batches.epoch,
        make_monitor(validation, skeleton, view, monitor, machine),
        stage="warmup",
        span=training.span(0),
        training=training,
        seed=seed,
        fingerprint=fingerprint(
            "warmup",
            seed,
            settings,
            skeleton.to_dict(),
            people_content(labeled),
            code_digests("warmup"),
        ),
        resume=resume,
    )
