"""Random color: brightness, contrast and saturation, drawn for each image of a batch."""

from jaxtyping import Float
from torch import Tensor

from sspcm_kedro.augment.draws import Draws, draw_uniform
from sspcm_kedro.machine import to_device
from sspcm_kedro.pose.geometry import vector

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R BT.601), as torchvision has them."""


def jitter_color(
    images: Float[Tensor, "b 3 H W"], strength: float, rng: Draws
) -> Float[Tensor, "b 3 H W"]:
    """Images of RGB in 0..1 with brightness, contrast and saturation changed, in this order.

    Each by a factor of its own, drawn evenly from 1 - strength to 1 + strength, with the formulas
    of torchvision's ``ColorJitter``, whose draws are one for a whole batch and come from torch's
    global generator.

    Args:
        images: they stay as they are.
        strength: 0 to 1.
        rng: draws.
    """
    factors = to_device(draw_factors(len(images), rng), images.device)
    brightness, contrast, saturation = 1 + strength * (2 * factors - 1)
    images = (images * brightness).clamp(0, 1)
    mean = _gray(images).mean(dim=(2, 3), keepdim=True)
    images = (mean + contrast * (images - mean)).clamp(0, 1)
    gray = _gray(images)
    return (gray + saturation * (images - gray)).clamp(0, 1)


def draw_factors(count: int, rng: Draws) -> Float[Tensor, "3 count 1 1 1"]:
    """What ``jitter_color`` draws for a batch, 0..1, whatever the images are."""
    return draw_uniform(rng, (3, count, 1, 1, 1))


def _gray(images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 H W"]:
    weights = vector(LUMA, images)[None, :, None, None]
    return (images * weights).sum(dim=1, keepdim=True)
