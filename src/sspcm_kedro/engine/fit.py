"""The training loop: a generator that knows no files, trackers or stopping rules."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from sspcm_kedro import ranks
from sspcm_kedro.batch import Batch
from sspcm_kedro.engine.determinism import explain_nondeterminism
from sspcm_kedro.engine.optimizer import StepDecay
from sspcm_kedro.methods.base import Method, freeze_statistics, total_loss
from sspcm_kedro.seeds import Stream, place_of, stream_seed


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did.

    Attributes:
        epoch: counted from 0 over the whole training, all rounds included.
        step: optimizer steps done so far.
        learning_rate: of the last step.
        scalars: means over the epoch of what ``training_step`` returned.
        seconds: the optimizer steps took, batches included; not what comes between epochs.
        people_per_second: labeled and unlabeled views per second of them.
        memory_gib: what the process holds at the end; of a CUDA device the most that tensors held.
    """

    epoch: int
    step: int
    learning_rate: float
    scalars: dict[str, float]
    seconds: float
    people_per_second: float
    memory_gib: float


def fit(
    method: Method,
    batches: Callable[[int, int], Iterator[Batch]],
    optimizer: torch.optim.Optimizer,
    schedule: StepDecay,
    *,
    epochs: range,
    steps: int,
    seed: int,
    shards: int = 1,
    on_step: Callable[[dict[str, Tensor]], None] = lambda _: None,
) -> Iterator[EpochReport]:
    """Train epoch by epoch; yield after each.

    A step takes the shards of its batch one after the other, each a whole ``training_step`` with
    batch-norm statistics of its own, and adds up their gradients; the first shard comes last, and
    its statistics alone are recorded (as data parallelism records those of the first device).
    Several processes (``ranks``) share the shards and learn the same.

    Args:
        method: what is trained, on its device.
        batches: the batches of an epoch, given its number and that of the shard.
        optimizer: over the method's parameters.
        schedule: learning rate of a step.
        epochs: numbers of the epochs to do; a resumed run starts where the last one ended.
        steps: optimizer steps an epoch.
        seed: of the experiment; an epoch's randomness comes from (seed, epoch) alone.
        shards: parts of a batch; each loss counts one part of so many.
        on_step: told the scalars of each step, on the device, e.g. for a progress bar.
    """
    device = next(method.parameters()).device
    mine = ranks.mine(shards)[::-1]
    for epoch in epochs:
        rngs = [
            torch.Generator(device).manual_seed(
                stream_seed(seed, Stream.STEPS, *place_of(epoch, shard))
            )
            for shard in mine
        ]
        method.train()
        sums: list[dict[str, Tensor]] = [{} for _ in mine]
        people, began = 0, time.perf_counter()
        for i, parts in enumerate(zip(*(batches(epoch, shard) for shard in mine), strict=True)):
            step = epoch * steps + i
            schedule.apply(optimizer, step)
            optimizer.zero_grad(set_to_none=True)
            scalars: dict[str, Tensor] = {}
            with explain_nondeterminism():
                for shard, part, rng, own in zip(mine, parts, rngs, sums, strict=True):
                    with freeze_statistics(method) if shard else nullcontext():
                        scalars = method.training_step(part, rng)
                    (total_loss(scalars) / shards).backward()
                    for name, value in scalars.items():  # on the device: read at the end
                        own[name] = own.get(name, 0) + value.detach()
                    people += part.size
                ranks.add_gradients(method)
                optimizer.step()
                method.after_step(step + 1)
                ranks.share_buffers(method)
            on_step(scalars)
        means = _means(sums, steps * shards)
        if not all(map(torch.isfinite, map(torch.tensor, means.values()))):
            raise FloatingPointError(
                f"training diverged in epoch {epoch}: {means}; lower training.learning_rate"
            )
        seconds = time.perf_counter() - began
        rate = optimizer.param_groups[0]["lr"]
        pace, memory = people * ranks.world() / seconds, memory_gib(device)
        yield EpochReport(epoch, (epoch + 1) * steps, rate, means, seconds, pace, memory)


def _means(sums: Sequence[dict[str, Tensor]], count: int) -> dict[str, float]:
    """The means of scalars over an epoch, given the sums of this process's shards."""
    names = list(sums[0])
    values = torch.stack([torch.stack([own[name] for name in names]) for own in sums])
    return dict(zip(names, (ranks.total(values.sum(dim=0)) / count).tolist(), strict=True))


def memory_gib(device: torch.device) -> float:
    """Memory in use: the process's own, or a CUDA device's peak."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return psutil.Process().memory_info().rss / 2**30
