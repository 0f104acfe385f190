"""How a step is computed: as it is, compiled in parts or as a whole, or recorded and replayed."""

from collections.abc import Callable, Hashable

import torch
from torch import Generator, Tensor

from sspcm_kedro.augment.draws import Drawn, Noted, Request, draw_all
from sspcm_kedro.batch import Batch
from sspcm_kedro.engine.recorded import CudaGraphs, RecordedStep, shapes_of
from sspcm_kedro.machine import Compile
from sspcm_kedro.methods.base import Method, total_loss

Step = Callable[[Batch, Generator], dict[str, Tensor]]
"""A method's ``training_step``, or the same compiled."""

Learn = Callable[[Batch, Generator, int], dict[str, Tensor]]
"""A step and its backward pass: adds the gradients of the loss, divided by a number of shards."""


def learning_step(method: Method, kind: Compile | None) -> Learn:
    """The method's training step with its backward pass.

    Args:
        method: trained, on its device.
        kind: ``graph`` records both and replays them, for which the device must be a GPU; else as
            ``compiled_step`` says. But for ``graph`` and ``step`` each network has a backward pass
            of its own.
    """
    if kind == "graph":
        return RecordedStep(method, CudaGraphs(next(method.parameters()).device))
    step = compiled_step(method, kind)
    return with_backward(step) if kind == "step" else by_network(method)


def by_network(method: Method) -> Learn:
    """A method's step, in which each network's loss is gone back through as soon as it is known:
    of activations there are those of one network's pass at a time."""

    def learn(batch: Batch, rng: Generator, shards: int) -> dict[str, Tensor]:
        before = {p: p.grad for p in method.parameters() if p.grad is not None}
        for p in before:  # a shard's gradients are summed by themselves, as another process does
            p.grad = None
        method.backward = lambda loss: (loss / shards).backward()
        try:
            scalars = method.training_step(batch, rng)
        finally:
            method.backward = None
        if (rest := total_loss(scalars)).requires_grad:  # of a method that sums losses itself
            (rest / shards).backward()
        found = [(total, p.grad) for p, total in before.items() if p.grad is not None]
        if found:  # a few launches, not one a parameter
            torch._foreach_add_(*map(list, zip(*found, strict=True)))  # pyright: ignore[reportPrivateImportUsage]
        for p, total in before.items():
            p.grad = total
        return scalars

    return learn


def with_backward(step: Step) -> Learn:
    """A step, and after it one backward pass through all of it."""

    def learn(batch: Batch, rng: Generator, shards: int) -> dict[str, Tensor]:
        scalars = step(batch, rng)
        (total_loss(scalars) / shards).backward()
        return scalars

    return learn


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
        key = shapes_of(batch)
        if key in self._requests:
            return self._graph(batch, draw_all(self._requests[key], rng))
        noted = Noted(rng)
        scalars = self.method.training_step(batch, noted)
        self._requests[key] = noted.requests
        return scalars

    def _step(self, batch: Batch, numbers: list[Tensor]) -> dict[str, Tensor]:
        return self.method.training_step(batch, Drawn(numbers))
