"""Adam and its learning rate over the whole training, warm-up and rounds together."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from sspcm_kedro.config import Ascending, Distinct, Settings


@dataclass(frozen=True)
class StepDecay:
    """A tenth of the rate after each milestone (published: 70 % and 90 %).

    Attributes:
        rate: learning rate at the start.
        milestones: shares of the training, each followed by a ten times smaller rate.
        steps: length of the whole training in optimizer steps.
    """

    rate: float
    milestones: tuple[float, ...]
    steps: int

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        passed = sum(step >= share * self.steps for share in self.milestones)
        return self.rate * 0.1**passed

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the rate of a step; it depends on the step alone, so there is no state to lose."""
        for group in optimizer.param_groups:
            group["lr"] = self.at(step)


def adam(method: nn.Module, rate: float) -> torch.optim.Adam:
    """Adam without weight decay over what is trained; fused, the fastest form on CPU and CUDA."""
    return torch.optim.Adam([p for p in method.parameters() if p.requires_grad], rate, fused=True)


Milestone = Annotated[float, Field(gt=0, le=1)]


class TrainingConfig(Settings):
    """Length and optimizer of the whole training: warm-up, then rounds, under one schedule.

    ``comparison`` trains as many steps as all of them together.
    """

    batch: int = Field(default=32, ge=2, le=8192, description="people of each kind in a batch")
    steps: int = Field(default=100, ge=1, le=10**7, description="optimizer steps an epoch")
    warmup_epochs: int = Field(default=8, ge=1, le=10**5, description="labels only")
    round_epochs: int = Field(default=8, ge=1, le=10**5, description="epochs of each round")
    rounds: int = Field(default=2, ge=1, le=200, description="each adds its nodes to the pipeline")
    learning_rate: float = Field(default=3e-3, gt=0, le=10)
    milestones: Annotated[tuple[Milestone, ...], Ascending, Distinct] = Field(
        default=(0.7, 0.9), max_length=100,
        description="shares of the whole training, ascending; a tenth of the rate after each",
    )  # fmt: skip

    @property
    def epochs(self) -> int:
        """Epochs of the whole training."""
        return self.warmup_epochs + self.rounds * self.round_epochs

    def span(self, stage: int) -> range:
        """Epochs of the warm-up (0) or of round ``stage``."""
        if stage == 0:
            return range(self.warmup_epochs)
        start = self.warmup_epochs + (stage - 1) * self.round_epochs
        return range(start, start + self.round_epochs)
