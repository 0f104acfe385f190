"""Several processes that train and predict together: which one this is, and what they exchange.

Torch's launcher starts them (``torchrun``, or ``kedro run`` itself: ``sspcm_kedro.launch``), or
Slurm's ``srun``. Outside of ``joined`` a process is alone: rank 0 of 1, and nothing here waits or
sends.
"""

import logging
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from sspcm_kedro.errors import BadInput

Item = TypeVar("Item")

LONGEST_NODE = timedelta(hours=12)
"""What the first process does alone (reading a data set, drawing figures) others wait for; torch's
own ten minutes are for steps of a training."""

_place = (0, 1)


class ProcessLost(BadInput):
    """Another of the processes has ended, which is what ended this one."""


def rank() -> int:
    """The number of this process, from 0; 0 saves, logs and tells."""
    return _place[0]


def world() -> int:
    """How many processes there are."""
    return _place[1]


def local_rank() -> int:
    """The number of this process on its machine: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world() > 1 else 0


def local_world() -> int:
    """How many processes of the run share the cores that this one sees. Slurm gives each task cores
    of its own."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world() > 1 else 1


def is_launched() -> bool:
    """Whether a launcher of torch's or ``srun`` has started this process, alone or among others."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


def take_slurms_place() -> None:
    """Where ``srun`` has started this process among others, say so in the variables of torch's
    launcher. A step of one task, a batch script and what a launcher has started are left alone.

    The first host of the step is where they meet, at a port that its job and number give. Source
    of the variables: srun(1), "Output environment variables".
    """
    there = os.environ
    if is_launched() or int(there.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return
    own = "SLURM_GPUS_PER_TASK" in there and torch.cuda.device_count() == 1  # and sees no other
    met = 1009 * int(there["SLURM_JOB_ID"]) + int(there["SLURM_STEP_ID"])
    there |= {
        "RANK": there["SLURM_PROCID"],
        "WORLD_SIZE": there["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": "0" if own else there["SLURM_LOCALID"],
        "MASTER_ADDR": first_host(there["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(20_000 + met % 10_000),
    }


def first_host(nodes: str) -> str:
    """The first of hosts as Slurm writes them: ``a[01-03,7],b`` begins with ``a01``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^-,\]]*)[^\]]*\]", r"\1", first.group()) if first else nodes


@contextmanager
def joined() -> Iterator[None]:
    """One of the processes that the launcher started, each with its GPU; all but the first are
    silent.

    On an error the others are not told: they may be waiting for this process in the midst of an
    exchange, and NCCL would wait for them. They end when it has ended.

    Raises:
        ProcessLost: another process ended before it came.
    """
    global _place  # noqa: PLW0603
    if not is_launched() or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    cuda = torch.cuda.is_available()
    with _explained():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=LONGEST_NODE
        )
    _place = (distributed.get_rank(), distributed.get_world_size())
    if cuda and local_rank() < torch.cuda.device_count():  # else ``need_device`` says it
        torch.cuda.set_device(local_rank())
    if rank() > 0:
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
    try:
        yield
        sys.stdout.flush()  # who waits too long for the others to let go is killed
        distributed.destroy_process_group()
    finally:
        _place = (0, 1)
        logging.disable(logging.NOTSET)


def tells(error: BaseException) -> bool:
    """Whether this process tells of its error: of several the first one that has any. None tells
    that another has ended where ``sspcm_kedro.launch`` does: it waits to be ended by that."""
    if isinstance(error, ProcessLost) and os.environ.get("TORCHELASTIC_RUN_ID") == RUN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(5)
        return False
    if not is_launched():
        return True
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = distributed.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]),
            timeout=timedelta(seconds=10),
        )  # fmt: skip
        return store.add(f"errors of attempt {attempt}", 1) == 1
    except (RuntimeError, KeyError):  # it ended with the process that held it
        return True


RUN = "sspcm_kedro"
"""What ``sspcm_kedro.launch`` calls a run."""


def mine(shards: int) -> range:
    """The shards of this process, of each batch.

    Raises:
        BadInput: the processes cannot share them evenly.
    """
    if shards % world():
        rule = f"must be a multiple of the {world()} processes (WORLD_SIZE) that share its shards"
        fitting = [str(n) for n in range(1, shards + 1) if shards % n == 0]
        remedy = f"Start {' or '.join(fitting)}, or set training.shards, which changes the result"
        raise BadInput(f"training.shards = {shards}", rule, remedy)
    share = shards // world()
    return range(rank() * share, (rank() + 1) * share)


def wait() -> None:
    """Until all processes are here, however long one works alone."""
    total(torch.zeros(1))


def total(value: Tensor) -> Tensor:
    """The sum of all processes' values."""
    if world() == 1:
        return value
    value = value.clone()
    with _explained():
        distributed.all_reduce(value)
    return value


def gather(items: Sequence[Item]) -> list[Item]:
    """All processes' items, dealt out in turn: of process r those at r, r + world, ..."""
    found = exchange(list(items))
    return [found[i % world()][i // world()] for i in range(sum(map(len, found)))]


def exchange(own: Item) -> list[Item]:
    """What each process has, in their order."""
    if world() == 1:
        return [own]
    found: list[Any] = [None] * world()
    with _explained():
        distributed.all_gather_object(found, own)
    return found


@torch.no_grad()
def add_gradients(module: nn.Module) -> None:
    """Every gradient becomes the sum of all processes'."""
    if world() > 1:
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = total(torch.cat([g.reshape(-1) for g in gradients]))
        _spread(flat, gradients)


@torch.no_grad()
def share_buffers(module: nn.Module) -> None:
    """Every buffer (statistics of batch norm, counters) becomes that of the first process."""
    if world() == 1:
        return
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for buffer in module.buffers():
        kinds.setdefault(buffer.dtype, []).append(buffer)
    for buffers in kinds.values():
        flat = torch.cat([b.reshape(-1) for b in buffers])
        with _explained():
            distributed.broadcast(flat, 0)
        _spread(flat, buffers)


def _spread(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    parts = flat.split([t.numel() for t in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


@contextmanager
def _explained() -> Iterator[None]:
    """What torch says where a connection breaks off becomes an error that says what it means."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        where = "one of the processes that train together"
        rule = f"must live as long as the others, and has ended ({error})"
        remedy = "The same command goes on from what is stored"
        raise ProcessLost(where, rule, remedy) from error
