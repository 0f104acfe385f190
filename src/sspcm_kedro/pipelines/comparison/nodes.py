"""Any method without rounds, with as many optimizer steps as warm-up and rounds together."""

from collections.abc import Iterator
from typing import Any

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.stored_crops import StoredCrops
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.fingerprint import code_digests
from sspcm_kedro.engine.learner import State
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.engine.record import COMPARISON
from sspcm_kedro.engine.stage import MonitorConfig, People, StageSettings, train_stage
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import ComparisonConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.seeds import Seed


def train_comparison(
    labeled: Instances,
    unlabeled: Instances,
    validation: Instances,
    skeleton: Skeleton,
    resume: State | None,
    seed: Seed,
    view: ViewConfig,
    network: NetworkConfig,
    comparison: ComparisonConfig,
    training: TrainingConfig,
    monitor: MonitorConfig,
    machine: MachineConfig,
    crop_cache: StoredCrops | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield checkpoint and history every few minutes; the warm-up uses labels alone."""
    yield from train_stage(
        COMPARISON,
        People(labeled, unlabeled, validation, skeleton, crop_cache),
        StageSettings(seed, view, network, comparison, training, monitor, machine),
        resume=resume,
        code=code_digests("comparison"),
    )
