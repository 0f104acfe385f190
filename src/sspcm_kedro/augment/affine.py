"""Random similarities: the weak (easy) and the strong (hard) view differ only in their numbers."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from sspcm_kedro.augment.draws import Draws, draw_normal, draw_uniform
from sspcm_kedro.config import Settings
from sspcm_kedro.pose.geometry import similarity


@dataclass(frozen=True)
class RandomAffine:
    """Scale, rotation and mirroring about the middle of the crop, rigid in input pixels.

    Attributes:
        scale: standard deviation of the factor, clip(1 + scale * N(0, 1), 1 - scale, 1 + scale).
        rotation: standard deviation in degrees, clip(rotation * N(0, 1), -2 rotation, 2 rotation).
        rotation_probability: of being rotated at all, 0 to 1.
        flip_probability: of being mirrored, 0 to 1.

    Source: the published SSPCM code (weak: 0.25, 30, 0.6, 0.5; strong: 0.25, 30, 0.8, 0). But there
    the factor is that of the region which is shown, so that people become 1 / factor as large.
    """

    scale: float = 0.25
    rotation: float = 30.0
    rotation_probability: float = 0.6
    flip_probability: float = 0.5

    def sample(
        self, n: int, input_hw: tuple[int, int], rng: Draws
    ) -> tuple[Float[Tensor, "n 2 3"], Bool[Tensor, " n"]]:
        """Maps from crop to view in input pixels, and which of them mirror.

        Args:
            n: how many are drawn.
            input_hw: size of the crop, in input pixels.
            rng: draws; the result is on its device.
        """

        def normal() -> Tensor:
            return draw_normal(rng, (n,))

        def chance(probability: float) -> Tensor:
            return draw_uniform(rng, (n,)) < probability

        scale = (1 + self.scale * normal()).clamp(1 - self.scale, 1 + self.scale)
        limit = 2 * self.rotation
        rotation = (self.rotation * normal()).clamp(-limit, limit)
        rotation = rotation * chance(self.rotation_probability)
        flip = chance(self.flip_probability)
        return similarity(scale, rotation, flip, input_hw), flip


class AffineConfig(Settings):
    """A random similarity; the defaults are the published strong view."""

    scale: float = Field(
        default=0.25, ge=0, lt=1, description="standard deviation; drawn up to once this"
    )
    rotation: float = Field(
        default=30.0, ge=0, le=90, description="standard deviation, degrees; drawn up to twice this"
    )
    rotation_probability: float = Field(default=0.8, ge=0, le=1)
    flip_probability: float = Field(default=0.0, ge=0, le=1)

    def build(self) -> RandomAffine:
        """The similarity with these numbers."""
        return RandomAffine(**self.model_dump())
