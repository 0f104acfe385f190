"""How people are shown to networks and how long networks learn."""

from typing import Literal

import torch
from pydantic import Field, model_validator

from sspcm_kedro.config import Settings
from sspcm_kedro.data.loader import Heatmap
from sspcm_kedro.errors import BadInput
from sspcm_kedro.methods.base import NAMES
from sspcm_kedro.methods.settings import AffineConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.heatmap import Refinement, dark_kernel


class ViewConfig(Settings):
    """The crop of a person, its heatmaps, and the weak view.

    The defaults of ``weak`` are those of the published code.
    """

    input_hw: tuple[int, int] = (64, 48)
    border: int = Field(
        default=12, ge=0, description="context in pixels that weak views may turn into"
    )
    sigma: float = Field(default=1.0, gt=0, description="of the target Gaussian, in heatmap cells")
    sub_cell: bool = Field(
        default=True, description="Gaussians centred exactly; false rounds to cells, as published"
    )
    refinement: Refinement = Field(
        default="parabola", description="from cells to pixels: of pseudo-labels and predictions"
    )
    blur: int | None = Field(
        default=None,
        ge=3,
        description="DARK's kernel, odd; null fits it to sigma, the published code has 11 always",
    )
    weak: AffineConfig = AffineConfig(scale=0.25, rotation=30, rotated=0.6, flipped=0.5)

    @model_validator(mode="after")
    def _fits(self) -> "ViewConfig":
        if any(size <= 0 or size % 16 for size in self.input_hw):
            raise ValueError(f"input_hw must be multiples of 16, got {self.input_hw}")
        if self.blur is not None and self.blur % 2 == 0:
            raise ValueError(f"blur must be odd, got {self.blur}")
        return self

    def check(self, network: NetworkConfig) -> None:
        """Refuse an input that the network cannot halve as often as it does.

        Raises:
            BadInput: says by what the sides must be divisible.
        """
        for chosen in map(network.of, NAMES):
            if any(size % chosen.multiple for size in self.input_hw):
                raise BadInput(
                    f"view.input_hw {self.input_hw}",
                    f"both sides must be multiples of {chosen.multiple} for a {chosen.kind}",
                    "Change view.input_hw, e.g. to [256, 192].",
                )

    def kernel(self) -> int:
        """DARK's kernel size."""
        return dark_kernel(self.sigma) if self.blur is None else self.blur

    def heatmap(self) -> Heatmap:
        return Heatmap(stride=4, sigma=self.sigma, sub_cell=self.sub_cell)


class TrainingConfig(Settings):
    """Length and optimiser of the whole training: warm-up, then rounds, under one schedule.

    ``baseline`` trains as many steps as all of them together.
    """

    batch: int = Field(default=32, ge=2, description="people of each kind in a batch")
    steps: int = Field(default=100, ge=1, description="optimiser steps an epoch")
    warmup_epochs: int = Field(default=8, ge=1, description="labels only")
    round_epochs: int = Field(default=8, ge=1, description="epochs of each round")
    rounds: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    milestones: tuple[float, ...] = (0.7, 0.9)

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


class EvaluationConfig(Settings):
    """How the trained networks' predictions are made and judged.

    Protocols: ``coco`` is OKS AP with the areas of the source (for CrowdPose and fisheye 0.53 of
    the box), where there are sigmas; ``aic`` AI Challenger's score; ``pckh`` MPII's; ``pck`` alone.
    PCK comes with each.
    """

    protocol: Literal["coco", "aic", "pckh", "pck"] = "coco"
    flip_test: bool = True
    pck_threshold: float = Field(default=0.2, gt=0, description="share of the torso's length")
    nms_threshold: float = Field(
        default=0.9, gt=0, le=1, description="OKS above which people are one"
    )
    score_threshold: float = Field(
        default=0.2, ge=0, description="joints below do not re-score a box"
    )


class MonitorConfig(EvaluationConfig):
    """The same for the quick look after each epoch; training reads this and not ``evaluation``."""

    flip_test: bool = False
    people: int = Field(default=200, ge=0, description="validation people, evenly spread")


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
