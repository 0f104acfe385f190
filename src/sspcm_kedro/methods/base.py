"""What every learning algorithm is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Generator, Tensor, nn

from sspcm_kedro.batch import Batch

MakeNet = Callable[[int], nn.Module]
"""Builds a network, given its place in ``nets.ROLES``; those of different places start apart."""


class Method(nn.Module, ABC):
    """One learning algorithm: owns its networks; knows no loader, file or tracker.

    Attributes:
        networks: the trained networks by name.
        deployed: the name of the one that ships.
    """

    networks: nn.ModuleDict
    deployed: str
    needs_unlabeled: bool = True

    @abstractmethod
    def training_step(self, batch: Batch, rng: Generator) -> dict[str, Tensor]:
        """Scalars by name; those named ``loss/...`` are summed and minimized."""

    def after_step(self, step: int) -> None:
        """Called with the number of optimizer steps done, after each of them."""


def per_network(loss: str, networks: Iterable[str], values: Iterable[Tensor]) -> dict[str, Tensor]:
    """A loss network by network, unweighted, under names that are not minimized."""
    pairs = zip(networks, values, strict=True)
    return {f"{network}/loss/{loss}": value.detach() for network, value in pairs}


@contextmanager
def frozen_statistics(*networks: nn.Module) -> Iterator[None]:
    """Batch norm uses the batch's statistics without recording them, as a reader should.

    The release lets these label-free passes move the running statistics (method.md D4).
    """
    layers = [
        module
        for network in networks
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def input_size(images: Tensor) -> tuple[int, int]:
    """(height, width) of images (b, 3, H, W)."""
    _, _, height, width = images.shape
    return height, width
