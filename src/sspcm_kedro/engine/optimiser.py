"""Adam and its learning rate over the whole training, warm-up and rounds together."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class StepDecay:
    """A tenth of the rate after each milestone (published: 70 % and 90 %).

    Attributes:
        rate: learning rate at the start.
        milestones: shares of the training, each followed by a ten times smaller rate.
        steps: length of the whole training in optimiser steps.
    """

    rate: float
    milestones: tuple[float, ...]
    steps: int

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        passed = sum(step >= share * self.steps for share in self.milestones)
        return self.rate * 0.1**passed

    def apply(self, optimiser: torch.optim.Optimizer, step: int) -> None:
        """Set the rate of a step; it depends on the step alone, so there is no state to lose."""
        for group in optimiser.param_groups:
            group["lr"] = self.at(step)


def adam(method: nn.Module, rate: float) -> torch.optim.Adam:
    """Adam without weight decay over what is trained; fused, the fastest form on CPU and CUDA."""
    return torch.optim.Adam([p for p in method.parameters() if p.requires_grad], rate, fused=True)
