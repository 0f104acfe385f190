"""Compiled training: each network by itself, or a method's whole step as one graph."""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Generator, Tensor

from sspcm_kedro.augment.draws import Drawn, Noted, Request, draw_all
from sspcm_kedro.batch import Batch
from sspcm_kedro.machine import Compile
from sspcm_kedro.methods.base import Method

Step = Callable[[Batch, Generator], dict[str, Tensor]]
"""A method's ``training_step``, or the same compiled."""


def compiled_step(method: Method, kind: Compile | None, backend: str = "inductor") -> Step:
    """The method's training step.

    Args:
        method: trained, on its device.
        kind: ``networks`` compiles each of its networks, ``step`` the step; None nothing.
        backend: torch's compiler.
    """
    if kind == "step":
        return CompiledStep(method, backend)
    if kind == "networks":
        groups = (method.networks, method.averages, *method.frozen)
        for net in (net for group in groups for net in group.children()):
            net.compile(dynamic=False, backend=backend)
    return method.training_step


class CompiledStep:
    """A training step as one graph, which takes its random numbers as input.

    The first step of each kind of batch is not compiled: it tells which numbers a step asks for.
    Those of the later ones are drawn beforehand, from the same generator in the same order.
    """

    def __init__(self, method: Method, backend: str = "inductor") -> None:
        self.method = method
        self._requests: dict[Hashable, list[Request]] = {}
        self._graph = torch.compile(self._step, fullgraph=True, dynamic=False, backend=backend)

    def __call__(self, batch: Batch, rng: Generator) -> dict[str, Tensor]:
        """What ``training_step`` gives of the batch."""
        key = _shapes(batch)
        if key in self._requests:
            return self._graph(batch, draw_all(self._requests[key], rng))
        noted = Noted(rng)
        scalars = self.method.training_step(batch, noted)
        self._requests[key] = noted.requests
        return scalars

    def _step(self, batch: Batch, numbers: list[Tensor]) -> dict[str, Tensor]:
        return self.method.training_step(batch, Drawn(numbers))


def _shapes(value: Any) -> Hashable:
    """What tells kinds of batches apart: which parts they have, and how large these are."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, tuple):
        return tuple(map(_shapes, value))
    if hasattr(value, "__dataclass_fields__"):
        return tuple((name, _shapes(part)) for name, part in vars(value).items())
    return value
