"""Random color against torchvision's formulas, image by image."""

import pytest
import torch
from torch import Generator
from torchvision.transforms.v2 import functional

from sspcm_kedro.augment.color import jitter_color


def draws(seed: int, count: int, strength: float) -> torch.Tensor:
    """The factors that a generator of this seed gives, (3, count)."""
    numbers = torch.rand((3, count), generator=Generator().manual_seed(seed))
    return 1 - strength + 2 * strength * numbers


def test_each_image_is_changed_as_torchvision_changes_it():
    images = torch.rand((4, 3, 9, 7), generator=Generator().manual_seed(3))
    got = jitter_color(images, 0.6, Generator().manual_seed(5))
    for image, changed, factors in zip(images, got, draws(5, 4, 0.6).T, strict=True):
        brightness, contrast, saturation = factors.tolist()
        wanted = functional.adjust_brightness(image, brightness)
        wanted = functional.adjust_contrast(wanted, contrast)
        wanted = functional.adjust_saturation(wanted, saturation)
        torch.testing.assert_close(changed, wanted, atol=2e-3, rtol=0)  # its gray is of 4 digits


def test_images_draw_apart_and_stay_in_range():
    images = torch.rand((1, 3, 8, 8), generator=Generator().manual_seed(1)).expand(6, 3, 8, 8)
    before = images.clone()
    got = jitter_color(images, 1.0, Generator().manual_seed(2))
    assert images.equal(before)
    assert 0 <= got.min() and got.max() <= 1
    assert len({image.sum().item() for image in got}) == 6


@pytest.mark.parametrize("seed", [0, 1])
def test_the_generator_alone_decides(seed):
    images = torch.rand((2, 3, 4, 4), generator=Generator().manual_seed(7))
    first, again = (jitter_color(images, 0.4, Generator().manual_seed(seed)) for _ in range(2))
    assert first.equal(again)
    assert not first.equal(jitter_color(images, 0.4, Generator().manual_seed(seed + 1)))


def test_no_strength_changes_nothing():
    images = torch.rand((2, 3, 5, 4), generator=Generator().manual_seed(0))
    torch.testing.assert_close(jitter_color(images, 0.0, Generator().manual_seed(0)), images)
