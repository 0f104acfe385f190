"""Absurd sizes are refused before memory is taken for them; what is freed is used again."""

import ctypes
import os
import sys

import torch

from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.optimizer import TrainingConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import ROLES, NetworkConfig, parameter_count
from sspcm_kedro.pose.skeleton import COCO

FLOAT = 4
"""Bytes of a float32."""

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""The names that glibc's mallopt(3) has for its settings."""


def need_memory(
    view: ViewConfig, network: NetworkConfig, training: TrainingConfig, device: torch.device
) -> None:
    """Refuse a training whose least memory the device does not have.

    Counted are the largest network's weights, gradients and Adam's two moments, and the crops of a
    shard of a batch as numbers; activations come on top, so that what passes may be too large.

    Raises:
        BadInput: says how much it needs, and how much there is.
    """
    there = memory_of(device)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        distinct = set(map(network.bare().of, ROLES))
        nets = [chosen.build(COCO.size, stride=view.stride) for chosen in distinct]
    sides = [side + 2 * view.border for side in view.input_hw]
    parts = {
        "the network": 4 * FLOAT * max(map(parameter_count, nets)),
        "a batch": 2 * FLOAT * training.batch // training.shards * 3 * sides[0] * sides[1],
    }
    if there is not None and sum(parts.values()) > there:
        counts = " and ".join(f"{size / 2**30:.1f} GiB for {part}" for part, size in parts.items())
        rule = f"must fit into the {there / 2**30:.1f} GiB of {device}, and need {counts} at least"
        where = "view.input_hw, view.border, training.batch, network"
        raise BadInput(f"parameters {where}", rule, "Make them smaller")


def memory_of(device: torch.device) -> int | None:
    """Bytes of memory of a GPU, or of this computer; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def keep_freed_memory() -> None:
    """Let the process keep the memory of freed tensors for those to come.

    glibc gives each large block back to the system, which fills the next one with zeros, page by
    page: on a CPU that took up to a third of a training step. Elsewhere nothing changes. Source:
    mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 2**30)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
