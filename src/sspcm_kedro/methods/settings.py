"""Settings that several methods share."""

from pydantic import Field

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.occlude import CutOcclude, JointCutout
from sspcm_kedro.config import Settings


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


class PatchConfig(Settings):
    """Square patches at key points: how many, and how large as shares of the input height.

    The published sizes are pixels of a 256x192 input: half sides 10 to 19, jitter 10.
    """

    patches: int = Field(default=2, ge=0)
    half_size: tuple[float, float] = (0.04, 0.075)
    jitter: float = Field(default=0.04, ge=0)

    def occlude(self) -> CutOcclude:
        return CutOcclude(self.patches, self.half_size, self.jitter)

    def cutout(self) -> JointCutout:
        return JointCutout(self.patches, self.half_size, self.jitter)
