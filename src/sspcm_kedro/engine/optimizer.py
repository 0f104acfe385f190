"""Adam and its learning rate over the whole training, warm-up and rounds together."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import nn

from sspcm_kedro.config import Ascending, Distinct, Settings
from sspcm_kedro.engine.precision import Precision
from sspcm_kedro.errors import BadInput
from sspcm_kedro.methods import MethodConfig


@dataclass(frozen=True)
class StepDecay:
    """A tenth of the rate after each milestone (published: 70 % and 90 %), after a linear start.

    Attributes:
        rate: learning rate after the linear start.
        milestones: shares of the training, each followed by a ten times smaller rate.
        steps: length of the whole training in optimizer steps.
        linear_start: steps in which the rate rises linearly; 0 starts at the whole.
    """

    rate: float
    milestones: tuple[float, ...]
    steps: int
    linear_start: int = 0

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self._decayed(step) * min(1.0, (step + 1) / max(1, self.linear_start))

    def _decayed(self, step: int) -> float:
        passed = sum(step >= share * self.steps for share in self.milestones)
        return self.rate * 0.1**passed

    def rates(self, steps: range) -> dict[int, float]:
        """The rates of some steps but for the linear start, by the first step of each."""
        changes = (math.ceil(share * self.steps) for share in self.milestones)
        firsts = {steps.start, *(step for step in changes if step in steps)}
        return {step: self._decayed(step) for step in sorted(firsts)}

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the rate of a step; it depends on the step alone, so there is no state to lose."""
        for group in optimizer.param_groups:
            group["lr"] = self.at(step) * group.get("share", 1.0)


def adam(method: nn.Module, rate: float, backbone_rate: float = 1.0) -> torch.optim.Adam:
    """Adam without weight decay over what is trained; fused, the fastest form on CPU and CUDA.

    Args:
        method: whose networks are trained.
        rate: learning rate.
        backbone_rate: the share of it at which modules called ``backbone`` learn. Unless it is 1
            they are a group of their own.
    """
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    if backbone_rate == 1:
        return torch.optim.Adam(trained.values(), rate, fused=True)
    inside = {name for name in trained if "backbone" in name.split(".")}
    groups = [
        {"params": [p for name, p in trained.items() if name not in inside], "share": 1.0},
        {"params": [trained[name] for name in trained if name in inside], "share": backbone_rate},
    ]
    return torch.optim.Adam([group for group in groups if group["params"]], rate, fused=True)


Milestone = Annotated[float, Field(gt=0, le=1)]


class RoundBatch(Settings):
    """People of a batch where there are labeled and unlabeled ones."""

    labeled: int = Field(ge=1, le=8192)
    unlabeled: int = Field(ge=1, le=8192)


class TrainingConfig(Settings):
    """Length and optimizer of the whole training: warm-up, then rounds, under one schedule.

    ``comparison`` trains as many steps as all of them together.
    """

    batch: int = Field(default=32, ge=2, le=8192, description="people of each kind in a batch")
    steps: int = Field(default=100, ge=1, le=10**7, description="optimizer steps an epoch")
    warmup_epochs: int = Field(default=8, ge=1, le=10**5, description="labels only")
    round_epochs: int = Field(default=8, ge=1, le=10**5, description="epochs of each round")
    last_round_epochs: int | None = Field(
        default=None, ge=1, le=10**5,
        description="of the last round, in which the student of many_view learns; null: as many as "
        "of each",
    )  # fmt: skip
    round_batch: RoundBatch | None = Field(
        default=None, description="a round's batches; null: batch of each"
    )
    shards: int = Field(
        default=1, ge=1, le=8192,
        description="parts of a batch with batch-norm statistics of their own, done one after the "
        "other, or shared by the processes of several GPUs",
    )  # fmt: skip
    rounds: int = Field(default=2, ge=1, le=200, description="each adds its nodes to the pipeline")
    learning_rate: float = Field(default=3e-3, gt=0, le=10)
    milestones: Annotated[tuple[Milestone, ...], Ascending, Distinct] = Field(
        default=(0.7, 0.9), max_length=100,
        description="shares of the whole training, ascending; a tenth of the rate after each",
    )  # fmt: skip
    linear_start: int = Field(
        default=0, ge=0, le=10**7, description="optimizer steps in which the rate rises to its own"
    )
    backbone_rate: float = Field(
        default=1.0, gt=0, le=1, description="of the learning rate, for backbones"
    )
    average_decay: float | None = Field(
        default=None, gt=0, lt=1,
        description="of the moving average of each network's weights, which predicts and ships; "
        "null: none",
    )  # fmt: skip
    precision: Precision = Field(
        default="fp32",
        description="of networks in training. tf32: a GPU rounds what convolutions multiply, where "
        "it can; bf16: all but the last layer. Heatmaps, losses and predictions are fp32, "
        "but for the scores after an epoch",
    )
    version: int = Field(
        default=1, ge=0, le=10**9, description="raise it to train again, e.g. after code changed"
    )

    @model_validator(mode="after")
    def _can_be_cut(self) -> "TrainingConfig":
        for size in {self.batch, *self.sizes}:
            if size % self.shards:
                raise ValueError(
                    f"shards must divide the people of a batch, and {self.shards} does not divide "
                    f"{size}"
                )
        if self.batch < 2 * self.shards:
            raise ValueError(f"batch must have 2 people a shard at least, got {self.batch}")
        return self

    def check(self, method: MethodConfig) -> None:
        """Refuse a method that learns from averages of weights where none are kept.

        Raises:
            BadInput: says what to set.
        """
        if method.reads_averages and self.average_decay is None:
            rule = (
                f"must be a number for {method.kind}, whose targets come from averages of weights"
            )
            remedy = "Set training.average_decay, e.g. to 0.99, or choose another method."
            raise BadInput("training.average_decay", rule + ", found null", remedy)

    def schedule(self) -> StepDecay:
        """The learning rate of each step of the whole training."""
        steps = self.epochs * self.steps
        return StepDecay(self.learning_rate, self.milestones, steps, self.linear_start)

    @property
    def sizes(self) -> tuple[int, int]:
        """Labeled and unlabeled people of a batch of both."""
        mixed = self.round_batch
        return (self.batch, self.batch) if mixed is None else (mixed.labeled, mixed.unlabeled)

    @property
    def epochs(self) -> int:
        """Epochs of the whole training."""
        return self.warmup_epochs + (self.rounds - 1) * self.round_epochs + self.ends

    @property
    def ends(self) -> int:
        """Epochs of the last round."""
        return self.last_round_epochs or self.round_epochs

    def finish_epochs(self, share: float) -> int:
        """Epochs of the last round that learn from labels alone, given ``Method.finish``; never all
        of them."""
        return min(math.floor(share * self.ends + 0.5), self.ends - 1)

    def span(self, stage: int) -> range:
        """Epochs of the warm-up (0) or of round ``stage``."""
        if stage == 0:
            return range(self.warmup_epochs)
        start = self.warmup_epochs + (stage - 1) * self.round_epochs
        return range(start, start + (self.ends if stage == self.rounds else self.round_epochs))
