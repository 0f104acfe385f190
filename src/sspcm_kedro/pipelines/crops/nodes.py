"""What is stored for training to read."""

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
    return CropsToStore(people, view.frame, view.border, machine.crop_cache, machine.workers)
