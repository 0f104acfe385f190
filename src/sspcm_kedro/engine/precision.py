"""In which numbers networks are trained: ``training.precision``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from sspcm_kedro.nets.heatmap_network import HeatmapNetwork

Precision = Literal["fp32", "tf32", "bf16"]


def set_precision(method: nn.Module, precision: Precision) -> None:
    """All networks of a method, copies included, compute features in bfloat16, or none does."""
    for module in method.modules():
        if isinstance(module, HeatmapNetwork):
            module.bf16 = precision == "bf16"


@contextmanager
def allow_tf32(allowed: bool) -> Iterator[None]:
    """Whether a GPU may round what convolutions multiply to TF32; as before afterwards.

    Matrix products never are: the maps and points of crops are such. Torch's own defaults round
    convolutions.
    """
    matrices: Any = torch.backends.cuda.matmul
    convolutions: Any = torch.backends.cudnn
    before = matrices.allow_tf32, convolutions.allow_tf32
    try:
        matrices.allow_tf32, convolutions.allow_tf32 = False, allowed
        yield
    finally:
        matrices.allow_tf32, convolutions.allow_tf32 = before
