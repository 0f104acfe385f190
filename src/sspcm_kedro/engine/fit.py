"""The training loop: a generator that knows no files, trackers or stopping rules."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.utils._pytree import tree_map_only

from sspcm_kedro import ranks
from sspcm_kedro.batch import Batch
from sspcm_kedro.engine.compiled import Learn, by_network
from sspcm_kedro.engine.determinism import explain_nondeterminism
from sspcm_kedro.engine.optimizer import StepDecay
from sspcm_kedro.errors import Diverged
from sspcm_kedro.methods.base import Method, freeze_statistics
from sspcm_kedro.seeds import Stream, place_of, stream_seed

logger = logging.getLogger(__name__)

CHECKS = 64
"""How often in an epoch several processes agree on whether to tell where it stands."""


@dataclass(frozen=True)
class EpochPart:
    """Where an epoch stands that has not ended: besides method and optimizer, all to go on from.

    Attributes:
        epoch: counted from 0 over the whole training.
        steps: done of it.
        sums: of what ``training_step`` returned in these, of each shard; on its device, or, of
            several processes, on the CPU.
        people: labeled and unlabeled views in them.
        seconds: they took, batches included.
        generators: states of what the steps of each shard draw from.
    """

    epoch: int
    steps: int
    sums: list[dict[str, Tensor]]
    people: int
    seconds: float
    generators: list[Tensor]


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
    batches: Callable[[int, int, int], Iterator[Batch]],
    optimizer: torch.optim.Optimizer,
    schedule: StepDecay,
    *,
    epochs: range,
    steps: int,
    seed: int,
    shards: int = 1,
    on_step: Callable[[dict[str, Tensor]], None] = lambda _: None,
    interval: float = math.inf,
    begun: EpochPart | None = None,
    learn: Learn | None = None,
) -> Iterator[EpochReport | EpochPart]:
    """Train epoch by epoch; yield after each, and within one from time to time.

    A step takes the shards of its batch one after the other, each a whole ``training_step`` with
    batch-norm statistics of its own, and adds up their gradients; the first shard comes last, and
    its statistics alone are recorded (as data parallelism records those of the first device).
    Several processes (``ranks``) share the shards and learn the same.

    Args:
        method: what is trained, on its device.
        batches: a shard's batches of an epoch, given the epoch's number and the shard's, from a
            step of the epoch on.
        optimizer: over the method's parameters.
        schedule: learning rate of a step.
        epochs: numbers of the epochs to do; a resumed run starts where the last one stopped.
        steps: optimizer steps an epoch.
        seed: of the experiment; an epoch's randomness comes from (seed, epoch) alone.
        shards: parts of a batch; each loss counts one part of so many.
        on_step: told the scalars of each step, on the device, e.g. for a progress bar.
        interval: seconds after which an epoch tells where it stands. Only then, and at its end, are
            its losses read from the device. Of several processes the first decides, at one of
            ``CHECKS`` places of an epoch.
        begun: where the first of these epochs stands, with method and optimizer as they were then.
        learn: the method's step with its backward pass; None is ``by_network``.

    Raises:
        Diverged: a loss or a weight is not finite; by the end of its epoch or interval, before it
            is stored.
    """
    device = next(method.parameters()).device
    learn = learn or by_network(method)
    mine = ranks.mine(shards)[::-1]
    for epoch in epochs:
        rngs = [
            torch.Generator(device).manual_seed(
                stream_seed(seed, Stream.STEPS, *place_of(epoch, shard))
            )
            for shard in mine
        ]
        method.train()
        first, people, before = 0, 0, 0.0
        sums: list[dict[str, Tensor]] = [{} for _ in mine]
        if begun is not None and begun.epoch == epoch:
            first, people, before = begun.steps, begun.people // ranks.world(), begun.seconds
            for shard, rng, own in zip(mine, rngs, sums, strict=True):
                own |= {name: value.to(device) for name, value in begun.sums[shard].items()}
                if rng.get_state().shape == begun.generators[shard].shape:
                    rng.set_state(begun.generators[shard])
                else:
                    logger.warning(
                        "The epoch was begun on another kind of device, whose random numbers "
                        "cannot be gone on with: new ones are drawn."
                    )
                    rng.manual_seed(stream_seed(seed, Stream.STEPS, epoch, shard, first))
        began = told = time.perf_counter()
        shares = [batches(epoch, shard, first) for shard in mine]
        for i, parts in enumerate(zip(*shares, strict=True), start=first):
            number = epoch * steps + i
            schedule.apply(optimizer, number)
            optimizer.zero_grad(set_to_none=True)
            scalars: dict[str, Tensor] = {}
            with explain_nondeterminism():
                for shard, part, rng, own in zip(mine, parts, rngs, sums, strict=True):
                    with freeze_statistics(method) if shard else nullcontext():
                        scalars = learn(part, rng, shards)
                    for name, value in scalars.items():  # on the device: read at the end
                        own[name] = own.get(name, 0) + value.detach()
                    people += part.size
                ranks.add_gradients(method)
                optimizer.step()
                method.after_step(number + 1)
                ranks.share_buffers(method)
            on_step(scalars)
            now = time.perf_counter()
            if i + 1 < steps and is_due(now >= told + interval, i, steps):
                mean_losses(epoch, sums, i + 1, everywhere=True)
                need_finite(method, epoch)
                yield EpochPart(
                    epoch, i + 1, of_all([dict(own) for own in sums]), people * ranks.world(),
                    before + now - began, of_all([rng.get_state() for rng in rngs]),
                )  # fmt: skip
                told = time.perf_counter()
                began += told - now  # what was done meanwhile is no part of the epoch
        means = mean_losses(epoch, sums, steps, everywhere=True)
        need_finite(method, epoch)
        seconds = before + time.perf_counter() - began
        rate = optimizer.param_groups[0]["lr"]
        pace, memory = people * ranks.world() / seconds, memory_gib(device)
        yield EpochReport(epoch, (epoch + 1) * steps, rate, means, seconds, pace, memory)


def is_due(own: bool, step: int, steps: int) -> bool:
    """Whether an epoch tells where it stands: of several processes what the first says of itself,
    which is asked at some of its steps alone, since to ask takes a message."""
    if ranks.world() == 1:
        return own
    return step % math.ceil(steps / CHECKS) == 0 and ranks.exchange(own)[0]


def of_all(shards: list[Any]) -> list[Any]:
    """What there is of each shard of a batch, ascending, given that of this process's, descending.

    Of several processes tensors are on the CPU.
    """
    if ranks.world() == 1:
        return shards[::-1]
    own = tree_map_only(Tensor, Tensor.cpu, shards[::-1])
    return [shard for each in ranks.exchange(own) for shard in each]


def mean_losses(
    epoch: int, sums: Sequence[dict[str, Tensor]], steps: int, *, everywhere: bool = False
) -> dict[str, float]:
    """The means of an epoch's steps, read from the device.

    Args:
        epoch: counted from 0.
        sums: of what its steps returned, of each shard of this process.
        steps: how many they are.
        everywhere: of all processes' shards, which are waited for.

    Raises:
        Diverged: one is not finite.
    """
    names, count = list(sums[0]), steps * len(sums)
    values = torch.stack([torch.stack([own[name] for name in names]) for own in sums]).sum(dim=0)
    if everywhere:
        values, count = ranks.total(values), count * ranks.world()
    means = dict(zip(names, (values / count).tolist(), strict=True))
    if not all(map(math.isfinite, means.values())):
        raise Diverged(f"training diverged in epoch {epoch}: {means}; lower training.learning_rate")
    return means


def need_finite(method: Method, epoch: int) -> None:
    """Refuse weights that the last steps have broken, before a checkpoint has them: their losses
    come with the next step.

    Raises:
        Diverged: one is not finite.
    """
    weights = [value.detach() for value in method.networks.parameters()]
    if not get_total_norm(weights).isfinite().item():
        rule = f"training diverged in epoch {epoch}: a weight is not finite"
        raise Diverged(f"{rule}; lower training.learning_rate")


def memory_gib(device: torch.device) -> float:
    """Memory in use: the process's own, or a CUDA device's peak."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return psutil.Process().memory_info().rss / 2**30
