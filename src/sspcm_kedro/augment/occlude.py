"""Cut-Occlude and Joint Cutout: hard samples made at pseudo-keypoints."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int, Real
from pydantic import Field
from torch import Tensor

from sspcm_kedro.augment.draws import (
    Draws,
    draw_exponential,
    draw_integers,
    draw_normal,
    draw_uniform,
)
from sspcm_kedro.config import Ascending, Settings, Share
from sspcm_kedro.pose.geometry import vector


@dataclass(frozen=True)
class Donors:
    """People whose limbs are pasted over others.

    Attributes:
        images: normalized crops.
        keypoints: points (x, y) of each crop worth cutting out, in input pixels.
        weights: only points of weight above 0 are cut out; None where all are worth it.
    """

    images: Float[Tensor, "donors 3 H W"]
    keypoints: Real[Tensor, "donors points 2"]
    weights: Float[Tensor, "donors points"] | None = None

    def draw_points(self, donor: Int[Tensor, "b patches"], rng: Draws) -> Int[Tensor, "b patches"]:
        """A point of each of these donors; any, of a donor who has none of weight above 0."""
        if self.weights is None:
            points = self.keypoints.shape[1]
            return draw_integers(rng, 0, points, tuple(donor.shape))
        odds = self.weights[donor.flatten()]
        return draw_keypoints(odds, 1, rng).reshape(donor.shape)


@dataclass(frozen=True)
class CutOcclude:
    """Paste patches around other people's limbs onto keypoints; the label stays.

    Attributes:
        patches: patches pasted on each image.
        half_size: smallest and largest half side of a patch, as shares of the input height.
        jitter: standard deviation of the patch centers an axis, as a share of the input height.

    Source: SSPCM, section 3 (SSCO). Published sizes are pixels of a 256x192 input: half sides
    10 to 19 and jitter 10. Here they scale with the input. Axes are right, donors are never blank:
    a pixel is replaced only where the donor has one.
    """

    patches: int = 2
    half_size: tuple[float, float] = (0.04, 0.075)
    jitter: float = 0.04

    def __call__(
        self,
        images: Float[Tensor, "b 3 H W"],
        keypoints: Real[Tensor, "b k 2"],
        weights: Float[Tensor, "b k"],
        donors: Donors,
        rng: Draws,
    ) -> Float[Tensor, "b 3 H W"]:
        """Images with patches over some of their keypoints; those given stay as they are.

        Args:
            images: normalized crops.
            keypoints: where limbs are, (x, y) in input pixels.
            weights: keypoints of weight above 0 are covered, and any of a person without one.
            donors: where patches are cut, of the same size as the images.
            rng: draws keypoints, donors, centers and sizes.
        """
        b, height = len(images), images.shape[2]
        shape = (b, self.patches)
        chosen = draw_keypoints(weights, self.patches, rng)
        donor = draw_integers(rng, 0, len(donors.images), shape)
        point = donors.draw_points(donor, rng)
        std = self.jitter * height
        target = jitter_points(keypoints.gather(1, chosen[..., None].expand(-1, -1, 2)), std, rng)
        source = jitter_points(donors.keypoints[donor, point], std, rng)
        low, high = pixel_range(self.half_size, height)
        half = draw_integers(rng, low, high + 1, (*shape, 2))
        for p in range(self.patches):
            pixels = donors.images[donor[:, p]]
            images = paste(images, pixels, target[:, p], source[:, p], half[:, p], reach=high)
        return images


@dataclass(frozen=True)
class JointCutout:
    """Erase rectangles at keypoints.

    Attributes:
        patches: rectangles erased in each image.
        half_size: smallest and largest half side, as shares of the input height.
        jitter: standard deviation of the centers an axis, as a share of the input height.

    Source: Xie, Wang, Wu and Wang, ICCV 2021 (5 keypoints).
    """

    patches: int = 5
    half_size: tuple[float, float] = (0.04, 0.075)
    jitter: float = 0.04

    def __call__(
        self,
        images: Float[Tensor, "b 3 H W"],
        keypoints: Real[Tensor, "b k 2"],
        weights: Float[Tensor, "b k"],
        rng: Draws,
    ) -> Float[Tensor, "b 3 H W"]:
        """Images set to 0 around some of their keypoints; those given stay as they are.

        Args:
            images: normalized crops, so that 0 is the mean color.
            keypoints: where limbs are, (x, y) in input pixels.
            weights: keypoints of weight above 0 are covered, and any of a person without one.
            rng: draws keypoints, centers and sizes.
        """
        b, _, height, width = images.shape
        chosen = draw_keypoints(weights, self.patches, rng)[..., None].expand(-1, -1, 2)
        center = jitter_points(keypoints.gather(1, chosen), self.jitter * height, rng)
        low, high = pixel_range(self.half_size, height)
        shape = (b, self.patches, 2)
        half = draw_integers(rng, low, high + 1, shape)

        def covers(axis: int, size: int) -> Tensor:
            offset = torch.arange(size, device=images.device) - center[..., axis, None]
            return (offset >= -half[..., axis, None]) & (offset < half[..., axis, None])

        boxes = covers(1, height)[..., :, None] & covers(0, width)[..., None, :]
        return images * ~boxes.any(dim=1)[:, None]


HalfSize = Annotated[float, Field(gt=0, le=1)]

DonorSource = Annotated[
    Literal["batch", "bank"],
    Field(
        description="whose limbs Cut-Occlude pastes: people of the same batch, as published, or "
        "the round's occluder bank, of kept keypoints alone, which reads a crop more a person"
    ),
]


class PatchConfig(Settings):
    """Patches at keypoints: how many, and how large as shares of the input height.

    The published sizes are pixels of a 256x192 input: half sides 10 to 19, jitter 10.
    """

    patches: int = Field(default=2, ge=0, le=100)
    half_size: Annotated[tuple[HalfSize, HalfSize], Ascending] = Field(
        default=(0.04, 0.075), description="smallest and largest, as shares of the input height"
    )
    jitter: Share = 0.04

    def occlude(self) -> CutOcclude:
        """Cut-Occlude with these patches."""
        return CutOcclude(self.patches, self.half_size, self.jitter)

    def cutout(self) -> JointCutout:
        """Joint Cutout of these patches."""
        return JointCutout(self.patches, self.half_size, self.jitter)


def draw_keypoints(
    weights: Float[Tensor, "b k"], count: int, rng: Draws
) -> Int[Tensor, "b {count}"]:
    """Indices of keypoints with weight above 0, repeats allowed; of any where none has.

    Draws as ``torch.multinomial`` does on a CPU and finds the same indices, but reads nothing on
    the host, and takes numbers that were drawn before.
    """
    able = weights > 0
    able = able | ~able.any(dim=1, keepdim=True)
    if count == 1:
        return (able / draw_exponential(rng, tuple(able.shape))).argmax(dim=1, keepdim=True)
    passed = able.long().cumsum(dim=1)  # whole numbers: their sum is the same in any order
    share = passed.float() / passed[:, -1:].float()
    return torch.searchsorted(share.double(), draw_uniform(rng, (len(able), count), torch.float64))


def jitter_points(
    points: Real[Tensor, "*shape 2"], std: float, rng: Draws
) -> Int[Tensor, "*shape 2"]:
    """Whole pixels near points, normally distributed an axis; ``std`` in pixels."""
    noise = draw_normal(rng, tuple(points.shape))
    return torch.trunc(points + std * noise).long()


def pixel_range(shares: tuple[float, float], height: int) -> tuple[int, int]:
    """Smallest and largest half side in whole input pixels, at least 1, from shares of a height."""
    low = max(1, round(shares[0] * height))
    return low, max(low, round(shares[1] * height))


def paste(
    images: Float[Tensor, "b c H W"],
    pixels: Float[Tensor, "b c H W"],
    target: Int[Tensor, "b 2"],
    source: Int[Tensor, "b 2"],
    half: Int[Tensor, "b 2"],
    *,
    reach: int,
) -> Float[Tensor, "b c H W"]:
    """Images with the window [source - half, source + half) of ``pixels`` at ``target``.

    All at once, with fixed shapes and no host read: windows are gathered at the largest size, and
    what lies outside its own half size, the donor or the image goes to a spare cell.

    Args:
        images: where to paste; they stay as they are.
        pixels: one donor an image.
        target: centers (x, y) in whole input pixels of the image.
        source: centers in whole input pixels of the donor.
        half: half width and half height, in input pixels.
        reach: the largest half size, a plain number so that shapes are known without a host read.
    """
    b, channels, height, width = images.shape
    steps = torch.arange(-reach, reach, device=images.device)
    offset = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).reshape(1, -1, 2)
    size = vector((width, height), target)
    to, at = target[:, None] + offset, source[:, None] + offset
    valid = ((offset >= -half[:, None]) & (offset < half[:, None])).all(dim=2)
    valid &= ((to >= 0) & (to < size) & (at >= 0) & (at < size)).all(dim=2)
    spare = height * width
    to_index = torch.where(valid, to[..., 1] * width + to[..., 0], spare)[:, None]
    at_index = torch.where(valid, at[..., 1] * width + at[..., 0], 0)[:, None]
    values = pixels.flatten(2).gather(2, at_index.expand(-1, channels, -1))
    canvas = torch.cat([images.flatten(2), images.new_zeros(b, channels, 1)], dim=2)
    canvas.scatter_(2, to_index.expand(-1, channels, -1), values)
    return canvas[..., :spare].reshape(images.shape)
