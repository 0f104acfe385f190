"""Where a run computes: the device is chosen here, and nowhere else."""

import torch
from pydantic import Field

from sspcm_kedro.config import Settings


class MachineConfig(Settings):
    """Where it runs; does not count as part of the experiment."""

    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:1")
    workers: int = Field(default=2, ge=1, description="threads that decode images")
    crop_memory_gib: float = Field(
        default=1.0, ge=0, description="crops are kept decoded up to this"
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of torch; null is torch's choice"
    )
    deterministic: bool = Field(default=False, description="the same bits again, on CUDA too")

    def pick(self) -> torch.device:
        """The device; ``auto`` is CUDA where there is one."""
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
