"""Crops that are stored for training to read; ingestion makes them with the people."""

from kedro.pipeline import Node, Pipeline

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.stored_crops import CropsToStore
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.machine import MachineConfig


def crops_to_store(
    labeled: Instances, unlabeled: Instances, view: ViewConfig, machine: MachineConfig
) -> CropsToStore:
    """The crops that training reads; the catalog entry that saves them cuts them."""
    assert machine.crop_cache != "none"
    people = Instances.join([labeled, unlabeled])
    return CropsToStore(people, view.frame, view.border, machine.crop_cache, machine.decoders)


def create_pipeline(cached: bool) -> Pipeline:
    """People to their crops; nothing, where none are stored."""
    node = Node(
        crops_to_store, ["labeled", "unlabeled", "params:view", "params:machine"], "crop_cache",
        name="store_crops",
    )  # fmt: skip
    return Pipeline([node] if cached else [], tags="people")
