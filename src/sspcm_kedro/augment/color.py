"""Random color: brightness, contrast and saturation, drawn for each image of a batch."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R BT.601), as torchvision has them."""


def jitter_color(
    images: Float[Tensor, "b 3 H W"], strength: float, rng: Generator
) -> Float[Tensor, "b 3 H W"]:
    """Images of RGB in 0..1 with brightness, contrast and saturation changed, in this order.

    Each by a factor of its own, drawn evenly from 1 - strength to 1 + strength, with the formulas
    of torchvision's ``ColorJitter``, whose draws are one for a whole batch and come from torch's
    global generator.

    Args:
        images: they stay as they are.
        strength: 0 to 1.
        rng: draws, on the images' device.
    """
    factors = draw_factors(len(images), rng)
    brightness, contrast, saturation = 1 + strength * (2 * factors - 1)
    images = (images * brightness).clamp(0, 1)
    mean = _gray(images).mean(dim=(2, 3), keepdim=True)
    images = (mean + contrast * (images - mean)).clamp(0, 1)
    gray = _gray(images)
    return (gray + saturation * (images - gray)).clamp(0, 1)


def draw_factors(count: int, rng: Generator) -> Float[Tensor, "3 count 1 1 1"]:
    """What ``jitter_color`` draws for a batch, 0..1, whatever the images are."""
    return torch.rand((3, count, 1, 1, 1), generator=rng, device=rng.device)


def _gray(images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 H W"]:
    weights = images.new_tensor(LUMA)[None, :, None, None]
    return (images * weights).sum(dim=1, keepdim=True)
