"""The same bits again: what a machine must be told before it computes."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sspcm_kedro.engine.memory import keep_freed_memory
from sspcm_kedro.engine.precision import allow_tf32
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""How cuBLAS shares out its memory. It reads the variable once, when CUDA starts."""

FIXED_WORKSPACES = (":4096:8", ":16:8")
"""The values with which cuBLAS adds in one order; the first is the fast one."""


@contextmanager
def configured_torch(machine: MachineConfig) -> Iterator[None]:
    """Torch's threads and determinism as the machine says, and as they were afterwards. On a CPU
    the process keeps the memory of freed tensors from then on.

    Raises:
        BadInput: it is too late for cuBLAS to be deterministic.
    """
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    if machine.deterministic and machine.pick().type == "cuda":
        _fix_workspace()
    if machine.pick().type == "cpu":
        keep_freed_memory()
    try:
        torch.use_deterministic_algorithms(machine.deterministic)
        if machine.threads is not None:
            torch.set_num_threads(machine.threads)
        with allow_tf32(False):  # training allows it itself
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.set_num_threads(threads)


def _fix_workspace() -> None:
    found = os.environ.get(WORKSPACE)
    if found is not None and found not in FIXED_WORKSPACES:
        rule = f"must be one of {', '.join(FIXED_WORKSPACES)} with machine.deterministic"
        remedy = "Unset it; it is then set for you"
        raise BadInput(f"environment variable {WORKSPACE}", f"{rule}, found {found!r}", remedy)
    if found is None and torch.cuda.is_initialized():
        rule = f"{WORKSPACE} must be set before CUDA starts, and CUDA has started in this process"
        remedy = f"Set {WORKSPACE}={FIXED_WORKSPACES[0]} before the process starts"
        raise BadInput("machine.deterministic = true", rule, remedy)
    os.environ[WORKSPACE] = found or FIXED_WORKSPACES[0]


@contextmanager
def explain_nondeterminism() -> Iterator[None]:
    """Torch's refusal of an operation becomes an error that says what to do about it.

    Raises:
        BadInput: an operation has no deterministic form on its device.
    """
    try:
        yield
    except RuntimeError as error:
        found = re.match(r"(\S+) does not have a deterministic implementation", str(error))
        if found is None:
            raise
        rule = f"every operation must have a deterministic form, and {found[1]} has none here"
        remedy = "Set machine.deterministic=false, or machine.device=cpu"
        raise BadInput("machine.deterministic = true", rule, remedy) from error
