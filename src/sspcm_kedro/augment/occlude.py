"""Cut-Occlude and Joint Cutout: hard samples made at pseudo-keypoints."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Generator, Tensor

from sspcm_kedro.config import Settings


@dataclass(frozen=True)
class Donors:
    """People whose limbs are pasted over others.

    Attributes:
        images: (d, 3, H, W) normalized crops.
        keypoints: (d, q, 2) points of each crop worth cutting out, in input pixels.
    """

    images: Tensor
    keypoints: Tensor


@dataclass(frozen=True)
class CutOcclude:
    """Paste patches around other people's limbs onto keypoints; the label stays.

    Attributes:
        patches: patches pasted on each image.
        half_size: smallest and largest half side of a patch, as a share of the input height.
        jitter: spread of the patch centers, as a share of the input height.

    Source: SSPCM, section 3 (SSCO). Published sizes are pixels of a 256x192 input: half sides
    10 to 19 and jitter 10. Here they scale with the input. Axes are right, donors are never blank:
    a pixel is replaced only where the donor has one.
    """

    patches: int = 2
    half_size: tuple[float, float] = (0.04, 0.075)
    jitter: float = 0.04

    def __call__(
        self, images: Tensor, keypoints: Tensor, weights: Tensor, donors: Donors, rng: Generator
    ) -> Tensor:
        """Images (b, 3, H, W) with patches over some of their keypoints (b, k, 2).

        Args:
            images: the crops, left as they are; a new tensor is returned.
            keypoints: where limbs are, in input pixels.
            weights: (b, k); only keypoints of weight above 0 are covered.
            donors: where patches are cut.
            rng: draws keypoints, donors, centers and sizes.
        """
        b, height = len(images), images.shape[2]
        shape = (b, self.patches)
        joint = draw_keypoints(weights, self.patches, rng)
        donor = torch.randint(len(donors.images), shape, generator=rng, device=rng.device)
        point = torch.randint(donors.keypoints.shape[1], shape, generator=rng, device=rng.device)
        spread = self.jitter * height
        target = jittered(keypoints.gather(1, joint[..., None].expand(-1, -1, 2)), spread, rng)
        source = jittered(donors.keypoints[donor, point], spread, rng)
        low, high = pixel_range(self.half_size, height)
        half = torch.randint(low, high + 1, (*shape, 2), generator=rng, device=rng.device)
        for p in range(self.patches):
            pixels = donors.images[donor[:, p]]
            images = paste(images, pixels, target[:, p], source[:, p], half[:, p], reach=high)
        return images


@dataclass(frozen=True)
class JointCutout:
    """Erase squares at keypoints (Xie et al., ICCV 2021: 5 keypoints).

    Attributes:
        keypoints: squares an image.
        half_size: smallest and largest half side, as a share of the input height.
        jitter: spread of the centers, as a share of the input height.
    """

    joints: int = 5
    half_size: tuple[float, float] = (0.04, 0.075)
    jitter: float = 0.04

    def __call__(
        self, images: Tensor, keypoints: Tensor, weights: Tensor, rng: Generator
    ) -> Tensor:
        """Images (b, 3, H, W), set to 0 around some of their keypoints (b, k, 2)."""
        b, _, height, width = images.shape
        joint = draw_keypoints(weights, self.joints, rng)[..., None].expand(-1, -1, 2)
        center = jittered(keypoints.gather(1, joint), self.jitter * height, rng)
        low, high = pixel_range(self.half_size, height)
        shape = (b, self.joints, 2)
        half = torch.randint(low, high + 1, shape, generator=rng, device=rng.device)

        def covered(axis: int, size: int) -> Tensor:
            offset = torch.arange(size, device=images.device) - center[..., axis, None]
            return (offset >= -half[..., axis, None]) & (offset < half[..., axis, None])

        boxes = covered(1, height)[..., :, None] & covered(0, width)[..., None, :]
        return images * ~boxes.any(dim=1)[:, None]


class PatchConfig(Settings):
    """Square patches at keypoints: how many, and how large as shares of the input height.

    The published sizes are pixels of a 256x192 input: half sides 10 to 19, jitter 10.
    """

    patches: int = Field(default=2, ge=0)
    half_size: tuple[float, float] = (0.04, 0.075)
    jitter: float = Field(default=0.04, ge=0)

    def occlude(self) -> CutOcclude:
        return CutOcclude(self.patches, self.half_size, self.jitter)

    def cutout(self) -> JointCutout:
        return JointCutout(self.patches, self.half_size, self.jitter)


def draw_keypoints(weights: Tensor, count: int, rng: Generator) -> Tensor:
    """Indices (b, count) of keypoints with weight above 0, repeats allowed; any where none has."""
    odds = (weights > 0).float()
    odds = torch.where(odds.sum(dim=1, keepdim=True) > 0, odds, torch.ones_like(odds))
    if count == 0:  # multinomial refuses to draw nothing
        return torch.empty((len(odds), 0), dtype=torch.long, device=odds.device)
    return torch.multinomial(odds, count, replacement=True, generator=rng)


def jittered(points: Tensor, spread: float, rng: Generator) -> Tensor:
    """Whole pixels near points (..., 2)."""
    noise = torch.randn(points.shape, generator=rng, device=rng.device)
    return torch.trunc(points + spread * noise).long()


def pixel_range(shares: tuple[float, float], height: int) -> tuple[int, int]:
    """Smallest and largest half side in whole pixels (at least 1), from shares of the height."""
    low = max(1, round(shares[0] * height))
    return low, max(low, round(shares[1] * height))


def paste(
    images: Tensor, pixels: Tensor, target: Tensor, source: Tensor, half: Tensor, *, reach: int
) -> Tensor:
    """Copy the window [source - half, source + half) of ``pixels`` to that about ``target``.

    All at once, with fixed shapes and no host read: windows are gathered at the largest size, and
    what lies outside its own half size, the donor or the image goes to a spare cell.

    Args:
        images: (b, 3, H, W).
        pixels: (b, 3, H, W), one donor an image.
        target: (b, 2) whole pixels, (x, y).
        source: (b, 2) whole pixels in the donor.
        half: (b, 2) half width and half height.
        reach: the largest half size, a plain number so that shapes are known without a host read.
    """
    b, channels, height, width = images.shape
    steps = torch.arange(-reach, reach, device=images.device)
    offset = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).reshape(1, -1, 2)
    size = target.new_tensor([width, height])
    to, at = target[:, None] + offset, source[:, None] + offset
    valid = ((offset >= -half[:, None]) & (offset < half[:, None])).all(dim=2)
    valid &= ((to >= 0) & (to < size) & (at >= 0) & (at < size)).all(dim=2)
    spare = height * width
    to_index = torch.where(valid, to[..., 1] * width + to[..., 0], spare)[:, None]
    at_index = torch.where(valid, at[..., 1] * width + at[..., 0], 0)[:, None]
    values = pixels.flatten(2).gather(2, at_index.expand(-1, channels, -1))
    canvas = torch.cat([images.flatten(2), images.new_zeros(b, channels, 1)], dim=2)
    canvas = canvas.scatter(2, to_index.expand(-1, channels, -1), values)
    return canvas[..., :spare].reshape(images.shape)
