"""The training loop: a generator that knows no files, trackers or stopping rules."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from sspcm_kedro.batch import Batch
from sspcm_kedro.engine.compiled import Step
from sspcm_kedro.engine.determinism import explain_nondeterminism
from sspcm_kedro.engine.optimizer import StepDecay
from sspcm_kedro.methods.base import Method, total_loss
from sspcm_kedro.seeds import Stream, stream_seed


@dataclass(frozen=True)
class EpochPart:
    """Where an epoch stands that has not ended: besides method and optimizer, all to go on from.

    Attributes:
        epoch: counted from 0 over the whole training.
        steps: done of it.
        sums: of what ``training_step`` returned in these, on its device.
        people: labeled and unlabeled views in them.
        seconds: they took, batches included.
        generator: state of what the steps draw from.
    """

    epoch: int
    steps: int
    sums: dict[str, Tensor]
    people: int
    seconds: float
    generator: Tensor


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
    on_step: Callable[[dict[str, Tensor]], None] = lambda _: None,
    interval: float = math.inf,
    begun: EpochPart | None = None,
    step: Step | None = None,
) -> Iterator[EpochReport | EpochPart]:
    """Train epoch by epoch; yield after each, and within one from time to time.

    Args:
        method: what is trained, on its device.
        batches: the batches of an epoch, given its number, from a step of it on.
        optimizer: over the method's parameters.
        schedule: learning rate of a step.
        epochs: numbers of the epochs to do; a resumed run starts where the last one stopped.
        steps: optimizer steps an epoch.
        seed: of the experiment; an epoch's randomness comes from (seed, epoch) alone.
        on_step: told the scalars of each step, on the device, e.g. for a progress bar.
        interval: seconds after which an epoch tells where it stands. Only then, and at its end, are
            its losses read from the device.
        begun: where the first of these epochs stands, with method and optimizer as they were then.
        step: the method's own, compiled; None is the one it has.

    Raises:
        FloatingPointError: a loss is not finite; by the end of its epoch or interval.
    """
    device = next(method.parameters()).device
    take_step = method.training_step if step is None else step
    for epoch in epochs:
        rng = torch.Generator(device).manual_seed(stream_seed(seed, Stream.STEPS, epoch))
        method.train()
        first, people, before = 0, 0, 0.0
        sums: dict[str, Tensor] = {}
        if begun is not None and begun.epoch == epoch:
            first, people, before = begun.steps, begun.people, begun.seconds
            sums = {name: value.to(device) for name, value in begun.sums.items()}
            rng.set_state(begun.generator)
        began = told = time.perf_counter()
        for i, batch in enumerate(batches(epoch, first), start=first):
            number = epoch * steps + i
            schedule.apply(optimizer, number)
            with explain_nondeterminism():
                scalars = take_step(batch, rng)
                optimizer.zero_grad(set_to_none=True)
                total_loss(scalars).backward()
                optimizer.step()
                method.after_step(number + 1)
            for name, value in scalars.items():  # on the device: nothing is read before the end
                sums[name] = sums.get(name, 0) + value.detach()
            people += batch.size
            on_step(scalars)
            if i + 1 < steps and (now := time.perf_counter()) >= told + interval:
                mean_losses(epoch, sums, i + 1)
                seconds = before + now - began
                yield EpochPart(epoch, i + 1, dict(sums), people, seconds, rng.get_state())
                told = time.perf_counter()
                began += told - now  # what was done meanwhile is no part of the epoch
        means = mean_losses(epoch, sums, steps)
        seconds = before + time.perf_counter() - began
        rate = optimizer.param_groups[0]["lr"]
        pace, memory = people / seconds, memory_gib(device)
        yield EpochReport(epoch, (epoch + 1) * steps, rate, means, seconds, pace, memory)


def mean_losses(epoch: int, sums: dict[str, Tensor], steps: int) -> dict[str, float]:
    """The means of an epoch's steps, read from the device.

    Args:
        epoch: counted from 0.
        sums: of what its steps returned.
        steps: how many they are.

    Raises:
        FloatingPointError: one is not finite.
    """
    means = {name: (value / steps).item() for name, value in sums.items()}
    if not all(map(math.isfinite, means.values())):
        raise FloatingPointError(
            f"training diverged in epoch {epoch}: {means}; lower training.learning_rate"
        )
    return means


def memory_gib(device: torch.device) -> float:
    """Memory in use: the process's own, or a CUDA device's peak."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return psutil.Process().memory_info().rss / 2**30
