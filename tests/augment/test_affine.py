"""Random similarities: published ranges and shares, rigid in pixels, and reproducible."""

import math

import pytest
import torch

from sspcm_kedro.augment.affine import RandomAffine

HW = (64, 48)
N = 4000


def drawn(affine: RandomAffine, seed: int = 0, n: int = N):
    """Linear parts without their mirror, scales (n), degrees (n) and mirrored (n)."""
    matrix, flip = affine.sample(n, HW, torch.Generator().manual_seed(seed))
    linear = matrix[:, :, :2].clone()
    linear[flip, :, 0] *= -1
    degrees = torch.atan2(linear[:, 1, 0], linear[:, 0, 0]) * 180 / math.pi
    return matrix, torch.linalg.svdvals(linear), degrees, flip


def test_every_map_is_rigid_in_pixels_about_the_middle_of_the_crop():
    matrix, singular, _, flip = drawn(RandomAffine())
    torch.testing.assert_close(singular[:, 0], singular[:, 1], atol=1e-5, rtol=0)
    assert (torch.linalg.det(matrix[:, :, :2]) < 0).equal(flip)
    middle = torch.tensor([23.5, 31.5])
    moved = matrix[:, :, :2] @ middle + matrix[:, :, 2]
    torch.testing.assert_close(moved, middle.expand(N, 2), atol=1e-4, rtol=0)


def test_scales_and_angles_are_clipped_normals():
    """Scale within 1 -+ 0.25 and angle within -+60; the bounds hold the tails of the normals."""
    _, singular, degrees, _ = drawn(
        RandomAffine(scale=0.25, rotation=30, rotation_probability=1, flip_probability=0.5)
    )
    scale = singular[:, 0]
    assert scale.min() == pytest.approx(0.75, abs=1e-5)
    assert scale.max() == pytest.approx(1.25, abs=1e-5)
    assert degrees.min() == pytest.approx(-60, abs=1e-3)
    assert degrees.max() == pytest.approx(60, abs=1e-3)
    # P(N > 1) = 0.159 clips a scale, P(N > 2) = 0.023 an angle, P(|N| < 1) = 0.683.
    assert (scale > 1.2499).float().mean() == pytest.approx(0.159, abs=0.02)
    assert (scale < 0.7501).float().mean() == pytest.approx(0.159, abs=0.02)
    assert (degrees > 59.99).float().mean() == pytest.approx(0.023, abs=0.01)
    assert (degrees.abs() < 30).float().mean() == pytest.approx(0.683, abs=0.03)


@pytest.mark.parametrize(("rotated", "flipped"), [(0.6, 0.5), (0.8, 0.0), (0.0, 1.0)])
def test_shares_of_rotated_and_mirrored_people(rotated, flipped):
    _, _, degrees, flip = drawn(
        RandomAffine(rotation_probability=rotated, flip_probability=flipped)
    )
    assert (degrees.abs() > 1e-4).float().mean() == pytest.approx(rotated, abs=0.03)
    assert flip.float().mean() == pytest.approx(flipped, abs=0.03)


def test_no_spread_is_the_identity():
    matrix, flip = RandomAffine(0, 0, 1, 0).sample(3, HW, torch.Generator())
    torch.testing.assert_close(matrix, torch.eye(2, 3).expand(3, 2, 3))
    assert not flip.any()


def test_the_generator_alone_decides():
    torch.manual_seed(1)
    first = RandomAffine().sample(5, HW, torch.Generator().manual_seed(7))
    torch.manual_seed(2)
    again = RandomAffine().sample(5, HW, torch.Generator().manual_seed(7))
    other = RandomAffine().sample(5, HW, torch.Generator().manual_seed(8))
    assert first[0].equal(again[0]) and first[1].equal(again[1])
    assert not first[0].equal(other[0])
