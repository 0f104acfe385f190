"""A training step recorded once as a CUDA graph, which a GPU then replays as a whole.

A network that sees few people is many small kernels, and a processor takes longer to launch them
one by one than the GPU to compute them.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sspcm_kedro.augment.draws import Drawn, Noted, Request, draw_all
from sspcm_kedro.batch import Batch, map_tensors, tensors_of
from sspcm_kedro.methods.base import Method, total_loss

Record = Callable[[Callable[[], None]], Callable[[], object]]
"""Takes work down without doing it; what it gives does the work, as often as it is called."""


class CudaGraphs:
    """Records work as graphs of a GPU, which share what memory they need.

    Other threads may decode and copy meanwhile.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Callable[[], object]:
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self.stream.device),
            torch.cuda.graph(
                graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
            ),
        ):
            work()
        return graph.replay


@dataclass(frozen=True)
class Recording:
    """A step with its backward pass, for batches of one kind.

    Attributes:
        inputs: where it reads the batch, and the numbers drawn for it.
        scalars: where it leaves what the step gives.
        sums: where it adds the gradient of each parameter that has one.
        replay: does it.
    """

    inputs: list[Tensor]
    scalars: dict[str, Tensor]
    sums: dict[nn.Parameter, Tensor]
    replay: Callable[[], object]


class RecordedStep:
    """A training step with its backward pass, replayed: the same kernels, so the same numbers.

    The first step of each kind of batch is done as it is, and tells which numbers a step asks for
    and what has gradients. The second is recorded. Each replay overwrites what the one before gave.

    Args:
        method: trained, on its device. All that changes from step to step are numbers in tensors.
        record: how work is taken down.
    """

    def __init__(self, method: Method, record: Record) -> None:
        self.method, self.record = method, record
        self._layers = [m for m in method.modules() if isinstance(m, _BatchNorm)]
        self._told: dict[Hashable, tuple[list[Request], list[nn.Parameter]]] = {}
        self._recordings: dict[Hashable, Recording] = {}
        self._sums: dict[nn.Parameter, Tensor] = {}

    def __call__(self, batch: Batch, rng: Generator, shards: int) -> dict[str, Tensor]:
        """What ``training_step`` gives of the batch; adds the gradients of the loss, divided by
        the shards."""
        statistics = tuple(layer.track_running_stats for layer in self._layers)
        key = (shapes_of(batch), shards, statistics)  # later shards of a batch record none
        if key not in self._told:
            noted = Noted(rng)
            scalars = self.method.training_step(batch, noted)
            (total_loss(scalars) / shards).backward()
            taught = [p for p in self.method.parameters() if p.grad is not None]
            self._told[key] = noted.requests, taught
            return scalars
        requests, taught = self._told[key]
        numbers = draw_all(requests, rng)
        if key not in self._recordings:
            self._recordings[key] = self._take_down(batch, numbers, taught, shards)
        recording = self._recordings[key]
        with torch.no_grad():
            torch._foreach_copy_(recording.inputs, [*tensors_of(batch), *numbers])  # pyright: ignore[reportPrivateImportUsage]
            hand_over(recording.sums)
        recording.replay()
        return recording.scalars

    def _take_down(
        self, batch: Batch, numbers: list[Tensor], taught: list[nn.Parameter], shards: int
    ) -> Recording:
        own, drawn = map_tensors(batch, Tensor.clone), [tensor.clone() for tensor in numbers]
        inputs = [*tensors_of(own), *drawn]
        for p in taught:
            if p not in self._sums:  # the recordings of all shards add to the same
                self._sums[p] = torch.zeros_like(p)
        sums = {p: self._sums[p] for p in taught}
        scalars: dict[str, Tensor] = {}

        def work() -> None:
            found = self.method.training_step(own, Drawn(drawn))
            gradients = torch.autograd.grad(total_loss(found) / shards, taught)
            torch._foreach_add_(list(sums.values()), gradients)  # pyright: ignore[reportPrivateImportUsage]
            scalars.update({name: value.detach() for name, value in found.items()})

        return Recording(inputs, scalars, sums, self.record(work))


def hand_over(sums: dict[nn.Parameter, Tensor]) -> None:
    """Make these sums the gradients of their parameters: with what is there, or from 0."""
    fresh = {p: total for p, total in sums.items() if p.grad is not total}
    if fresh:
        torch._foreach_zero_(list(fresh.values()))  # pyright: ignore[reportPrivateImportUsage]
    for p, total in fresh.items():
        if p.grad is not None:  # of a shard that was not replayed
            total.copy_(p.grad)
        p.grad = total


def shapes_of(value: Any) -> Hashable:
    """What tells kinds of batches apart: which parts they have, and how large these are."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, tuple):
        return tuple(map(shapes_of, value))
    if hasattr(value, "__dataclass_fields__"):
        return tuple((name, shapes_of(part)) for name, part in vars(value).items())
    return value
