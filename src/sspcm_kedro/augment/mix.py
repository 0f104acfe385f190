"""Hard samples of MultiAugs and of Teacher-Reviewer-Student: cutout, CutMix and Keypoint-Mix."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from sspcm_kedro.augment.draws import Draws, draw_integers, draw_uniform
from sspcm_kedro.augment.occlude import (
    Donors,
    draw_keypoints,
    jitter_points,
    paste,
    pixel_range,
)
from sspcm_kedro.pose.geometry import vector


@dataclass(frozen=True)
class RandomCutout:
    """Erase rectangles anywhere.

    Attributes:
        patches: rectangles erased in each image.
        half_size: smallest and largest half side, as shares of the input height.

    Source: MultiAugs, arXiv 2402.11566 (5 holes, half sides of 10 to 19 pixels of a 256x192 input).
    """

    patches: int = 5
    half_size: tuple[float, float] = (0.04, 0.075)

    def __call__(self, images: Float[Tensor, "b 3 H W"], rng: Draws) -> Tensor:
        """Images (b, 3, H, W) set to 0, the mean color, in places; those given stay as they are."""
        blank = torch.zeros_like(images)
        return _replace(images, blank, self.patches, self.half_size, rng)


@dataclass(frozen=True)
class RandomCutMix:
    """Replace rectangles anywhere by the same place of another person's image.

    Attributes:
        patches: rectangles replaced in each image, all from one other.
        half_size: smallest and largest half side, as shares of the input height.

    Source: MultiAugs, arXiv 2402.11566 (2 holes; the others are the batch in another order).
    """

    patches: int = 2
    half_size: tuple[float, float] = (0.04, 0.075)

    def __call__(self, images: Float[Tensor, "b 3 H W"], rng: Draws) -> Tensor:
        """Images (b, 3, H, W) with parts of others; those given stay as they are."""
        order = draw_uniform(rng, (len(images),)).argsort()
        return _replace(images, images[order], self.patches, self.half_size, rng)


def _replace(
    images: Tensor, others: Tensor, patches: int, half_size: tuple[float, float], rng: Draws
) -> Tensor:
    """Rectangles of ``others`` in the images, each about an evenly drawn pixel."""
    b, _, height, width = images.shape
    low, high = pixel_range(half_size, height)
    size = vector((width, height), images)
    for _ in range(patches):
        place = draw_uniform(rng, (b, 2))
        center = (place * size).long()
        half = draw_integers(rng, low, high + 1, (b, 2))
        images = paste(images, others, center, center, half, reach=high)
    return images


@dataclass(frozen=True)
class KeypointMix:
    """Blend patches at keypoints with patches at other keypoints, of the same or other people.

    Attributes:
        patches: patches blended in each image.
        half_size: smallest and largest half side, as shares of the input height.
        jitter: standard deviation of the centers an axis, as a share of the input height.
        share: smallest and largest share that the image keeps of itself in a patch.

    Source: Teacher-Reviewer-Student, arXiv 2501.09565, whose abstract says that it perturbs poses
    by mixing different keypoints. How many, how large and how much is our reading, not verified.
    """

    patches: int = 3
    half_size: tuple[float, float] = (0.04, 0.075)
    jitter: float = 0.04
    share: tuple[float, float] = (0.3, 0.7)

    def __call__(
        self, images: Float[Tensor, "b 3 H W"], keypoints: Real[Tensor, "b k 2"],
        weights: Float[Tensor, "b k"], rng: Draws,
    ) -> Tensor:  # fmt: skip
        """Images (b, 3, H, W) blended at some keypoints; those given stay as they are.

        Args:
            images: normalized crops.
            keypoints: (x, y) in input pixels.
            weights: only keypoints of weight above 0 are mixed.
            rng: draws people, keypoints, centers, sizes and shares.
        """
        b, height = len(images), images.shape[2]
        donor = draw_integers(rng, 0, b, (b, self.patches))
        own = draw_keypoints(weights, self.patches, rng)
        theirs = Donors(images, keypoints, weights).draw_points(donor, rng)
        std = self.jitter * height
        target = jitter_points(keypoints.gather(1, own[..., None].expand(-1, -1, 2)), std, rng)
        source = jitter_points(keypoints[donor, theirs], std, rng)
        low, high = pixel_range(self.half_size, height)
        half = draw_integers(rng, low, high + 1, (*donor.shape, 2))
        least, most = self.share
        kept = least + (most - least) * draw_uniform(rng, tuple(donor.shape))
        mixed = images
        for p in range(self.patches):
            other = images[donor[:, p]]
            pasted = paste(mixed, other, target[:, p], source[:, p], half[:, p], reach=high)
            mixed = torch.lerp(pasted, mixed, kept[:, p, None, None, None])
        return mixed
