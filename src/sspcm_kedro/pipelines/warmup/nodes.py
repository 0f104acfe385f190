"""All networks of the method, from different weights, on labels alone."""

from collections.abc import Iterator
from typing import Any

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.stored_crops import StoredCrops
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.fingerprint import code_digests
from sspcm_kedro.engine.learner import State
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.record import Stage
from sspcm_kedro.engine.stage import MonitorConfig, People, StageSettings, train_stage
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Seed


def warm_up(
    labeled: Instances,
    validation: Instances,
    skeleton: Skeleton,
    resume: State | None,
    seed: Seed,
    view: ViewConfig,
    network: NetworkConfig,
    method: MethodConfig,
    training: TrainingConfig,
    monitor: MonitorConfig,
    machine: MachineConfig,
    crop_cache: StoredCrops | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history every few minutes of supervised training."""
    yield from train_stage(
        Stage.numbered(0),
        People(labeled, None, validation, skeleton, crop_cache),
        StageSettings(seed, view, network, method, training, monitor, machine),
        resume=resume,
        code=code_digests("warmup"),
    )
