"""Where a run computes: the device is chosen here, and nowhere else."""

from typing import Literal

import torch
from joblib import cpu_count
from pydantic import Field
from torch import Tensor

from sspcm_kedro import ranks
from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput

Compile = Literal["networks", "step", "graph"]
MOST_DECODERS = 16
"""The most threads that a process takes by itself."""


class MachineConfig(Settings):
    """Where it runs; does not count as part of the experiment."""

    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$",
        description="auto, cpu, cuda or cuda:1",
    )  # fmt: skip
    workers: int | None = Field(
        default=None, ge=1, le=256,
        description="threads that decode images; null: one for each core of the process, shared "
        "with the other processes of a run on this machine, 16 at most",
    )  # fmt: skip
    crop_memory_gib: float = Field(
        default=1.0, ge=0, le=4096, description="crops are kept decoded up to this"
    )
    crop_cache: Literal["none", "uint8", "jpeg"] = Field(
        default="none",
        description="ingestion stores the crops that training reads, so that no training decodes "
        "images again (scores and figures do): uint8 as they are, jpeg in about a seventh of the "
        "room and changed a little, so that it counts as part of the experiment",
    )
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="CPU threads of torch; null is torch's choice"
    )
    checkpoint_minutes: float = Field(
        default=5.0, ge=0, le=1440,
        description="training stores where it stands this often, within epochs too; 0: after "
        "every step",
    )  # fmt: skip
    deterministic: bool = Field(default=False, description="the same bits again, on CUDA too")
    compile: Compile | None = Field(
        default=None,
        description="networks or step: each network, or the whole step, by torch.compile; minutes "
        "at the start, less a step. graph: a GPU replays the step as a whole; pays for small "
        "networks and batches, without compiling. null: nothing",
    )

    @property
    def decoders(self) -> int:
        """How many threads decode images: ``workers``, or what this machine has cores for."""
        return self.workers or max(1, min(MOST_DECODERS, cpu_count() // ranks.local_world()))

    def pick(self) -> torch.device:
        """The device; ``auto`` is CUDA where there is one, and each process's own of several."""
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def need_device(self) -> None:
        """Refuse a GPU that is not there, before any work.

        Raises:
            BadInput: torch does not find it; says how many there are.
        """
        device, count = self.pick(), torch.cuda.device_count()
        if device.type == "cuda" and (device.index or 0) >= count:
            rule = f"there must be such a GPU, and torch {torch.__version__} finds {count} here"
            raise BadInput(f"machine.device {self.device}", rule, "Set machine.device=auto or cpu")
        if device.type == "cuda" and ranks.world() > 1:
            if device.index is not None or ranks.local_rank() >= count:
                rule = "each of the processes that train together must have a GPU of its own, and "
                rule += f"process {ranks.local_rank() + 1} of a machine with {count} has none"
                remedy = f"Set machine.device=auto, and start at most {count} processes a machine"
                raise BadInput(f"machine.device {self.device}", rule, remedy)

    def need_compile(self) -> None:
        """Refuse, before anything is trained, what the device cannot record.

        Raises:
            BadInput: a graph is asked for on a CPU.
        """
        if self.compile == "graph" and self.pick().type == "cpu":
            rule = "needs a GPU, which replays what it has once been told; this run is on the CPU"
            raise BadInput("machine.compile graph", rule, "Set machine.compile=null")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; where that is a GPU, neither side waits for the copy."""
    if device.type == "cpu" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
