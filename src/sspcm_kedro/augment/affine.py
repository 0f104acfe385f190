"""Random similarities: the weak (easy) and the strong (hard) view differ only in their numbers."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Generator, Tensor

from sspcm_kedro.config import Settings
from sspcm_kedro.pose.geometry import similarity


@dataclass(frozen=True)
class RandomAffine:
    """Scale, rotation and mirroring about the middle of the crop, rigid in pixels.

    Attributes:
        scale: spread of the scale, clip(1 + scale * N(0, 1), 1 - scale, 1 + scale).
        rotation: spread in degrees, clip(rotation * N(0, 1), -2 rotation, 2 rotation).
        rotated: share of people that are rotated at all.
        flipped: share of people that are mirrored.

    Source: the published SSPCM code (weak: 0.25, 30, 0.6, 0.5; strong: 0.25, 30, 0.8, 0).
    """

    scale: float = 0.25
    rotation: float = 30.0
    rotated: float = 0.6
    flipped: float = 0.5

    def sample(self, n: int, input_hw: tuple[int, int], rng: Generator) -> tuple[Tensor, Tensor]:
        """Maps (n, 2, 3) from source to view in input pixels, and which of them mirror (n)."""

        def normal() -> Tensor:
            return torch.randn(n, generator=rng, device=rng.device)

        def chance(share: float) -> Tensor:
            return torch.rand(n, generator=rng, device=rng.device) < share

        scale = (1 + self.scale * normal()).clamp(1 - self.scale, 1 + self.scale)
        limit = 2 * self.rotation
        rotation = (self.rotation * normal()).clamp(-limit, limit) * chance(self.rotated)
        flip = chance(self.flipped)
        return similarity(scale, rotation, flip, input_hw), flip


class AffineConfig(Settings):
    """A random similarity; the defaults are the published strong view."""

    scale: float = Field(default=0.25, ge=0, lt=1)
    rotation: float = Field(
        default=30.0, ge=0, le=90, description="degrees; drawn up to twice this"
    )
    rotated: float = Field(default=0.8, ge=0, le=1)
    flipped: float = Field(default=0.0, ge=0, le=1)

    def build(self) -> RandomAffine:
        return RandomAffine(self.scale, self.rotation, self.rotated, self.flipped)
