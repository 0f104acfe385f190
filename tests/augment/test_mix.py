"""Random cutout, random CutMix and Keypoint-Mix: which pixels change, and to what."""

import pytest
import torch

from sspcm_kedro.augment.mix import KeypointMix, RandomCutMix, RandomCutout

H, W, B = 64, 32, 5
EXACT = {"half_size": (4 / H, 4 / H)}
"""Rectangles of 8x8 pixels."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colors(b: int = B) -> torch.Tensor:
    """Image n is n + 1 all over."""
    return (torch.arange(b) + 1.0).reshape(b, 1, 1, 1).expand(b, 3, H, W).contiguous()


def is_window(mask: torch.Tensor, side: int) -> bool:
    """Whether a mask is one whole rectangle, as large as ``side`` but where the image ends."""
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    whole = bool(mask[y0:y1, x0:x1].all())
    full = (y1 - y0 == side or y0 == 0 or y1 == H) and (x1 - x0 == side or x0 == 0 or x1 == W)
    return whole and bool(full) and y1 - y0 <= side and x1 - x0 <= side


def test_cutout_erases_whole_rectangles():
    images = colors(40)
    hard = RandomCutout(patches=1, **EXACT)(images, rng())
    for n in range(40):
        holes = hard[n] == 0
        assert holes[0].equal(holes[1]) and holes[0].equal(holes[2])
        assert is_window(holes[0], 8)
        assert hard[n][~holes].eq(n + 1).all()
    assert images.equal(colors(40))


def test_holes_are_anywhere_and_their_number_is_given():
    """Over many images every pixel is erased some time; no patches leave all as it is."""
    images = torch.ones(600, 3, H, W)
    erased = (RandomCutout(patches=5)(images, rng()) == 0)[:, 0]
    share = erased.float().mean(dim=0)
    assert (share > 0).all()
    middle = share[16:48, 10:22]
    assert middle.std() < 0.15 * middle.mean() + 0.02
    assert RandomCutout(patches=0)(images, rng()).equal(images)


def test_sizes_are_the_published_ones_at_the_published_height():
    """Half sides of 10 to 19 pixels at 256: sides of 20 to 38."""
    images = torch.ones(300, 3, 256, 192)
    erased = (RandomCutout(patches=1)(images, rng()) == 0)[:, 0]
    heights, widths = erased.any(dim=2).sum(dim=1), erased.any(dim=1).sum(dim=1)
    assert (heights.max(), widths.max()) == (38, 38)
    whole = ~(erased[:, 0].any(1) | erased[:, -1].any(1))
    assert heights[whole].min() == 20


def test_cutmix_takes_the_same_place_of_one_other_person():
    """Every pixel of an image that changed is that pixel of one and the same other image."""
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    place = (y * W + x).float()
    images = torch.stack([place + 10_000 * n for n in range(B)])[:, None].expand(B, 3, H, W)
    donors = set()
    for seed in range(30):
        mixed = RandomCutMix(patches=2, **EXACT)(images, rng(seed))
        assert (mixed % 10_000).equal(place.expand(B, 3, H, W)), "every pixel stays in its place"
        owners = (mixed // 10_000).long()
        for n in range(B):
            other = set(owners[n].unique().tolist()) - {n}
            assert len(other) <= 1
            donors |= {(n, m) for m in other}
    assert donors == {(n, m) for n in range(B) for m in range(B) if n != m}


def test_cutmix_is_a_permutation():
    """Of three people each gives to one at most."""
    for seed in range(20):
        mixed = RandomCutMix(patches=3)(colors(3), rng(seed))
        given = [set(mixed[n].unique().tolist()) - {n + 1.0} for n in range(3)]
        others = [value for values in given for value in values]
        assert len(others) == len(set(others))


def test_keypoint_mix_is_a_blend_at_the_keypoint():
    """Person 0 and 1 at (9, 50) and (16, 20): 8x8 pixels are s of their own and 1 - s of the
    other's, or unchanged where the draw gave a person to himself."""
    images = colors(2)
    points = torch.tensor([[[9.0, 50.0]], [[16.0, 20.0]]])
    mix = KeypointMix(patches=1, jitter=0.0, share=(0.25, 0.25), **EXACT)
    places, outcomes = [(9, 50), (16, 20)], set()
    for seed in range(20):
        mixed = mix(images, points, torch.ones(2, 1), rng(seed))
        for n, (x, y) in enumerate(places):
            window = torch.zeros(H, W, dtype=torch.bool)
            window[y - 4 : y + 4, x - 4 : x + 4] = True
            assert mixed[n][:, ~window].eq(n + 1).all()
            (value,) = mixed[n][:, window].unique().tolist()
            outcomes.add((n, value))
    assert outcomes == {(0, 1.0), (0, 0.25 * 1 + 0.75 * 2), (1, 2.0), (1, 0.25 * 2 + 0.75 * 1)}
    assert images.equal(colors(2))


def test_keypoint_mix_blends_other_keypoints_of_the_same_person_too():
    """One person, red at one keypoint and blue at the other: each gets something of the other."""
    images = torch.zeros(1, 3, H, W)
    images[0, 0, 10:20, 5:15], images[0, 2, 40:50, 15:25] = 1, 1
    points = torch.tensor([[[10.0, 15.0], [20.0, 45.0]]])
    mix = KeypointMix(patches=1, jitter=0.0, share=(0.5, 0.5), **EXACT)
    seen = {
        tuple(mix(images, points, torch.ones(1, 2), rng(seed))[0, :, 15, 10].tolist())
        for seed in range(40)
    }
    assert seen == {(1, 0, 0), (0.5, 0, 0.5)}


@pytest.mark.parametrize("share", [(0.3, 0.7), (0.0, 0.2)])
def test_the_share_is_drawn_from_its_range(share):
    images, points = colors(2), torch.tensor([[[16.0, 32.0]]] * 2)
    mix = KeypointMix(patches=1, jitter=0.0, share=share, **EXACT)
    values = [mix(images, points, torch.ones(2, 1), rng(s))[0, 0, 32, 16] for s in range(200)]
    kept = torch.tensor([2 - v for v in values if v != 1])
    assert len(kept) > 50
    assert kept.min() >= share[0] - 1e-6 and kept.max() <= share[1] + 1e-6
    assert kept.max() - kept.min() > 0.8 * (share[1] - share[0])


def test_only_keypoints_that_count_are_mixed_and_taken():
    """Keypoint 1 has no weight: nothing changes about it, and nobody gets what is there."""
    images = torch.zeros(2, 3, H, W)
    images[:, :, 40:56, 8:24] = 5  # around keypoint 1
    points = torch.tensor([[[8.0, 10.0], [16.0, 48.0]]] * 2)
    weights = torch.tensor([[1.0, 0.0]] * 2)
    for seed in range(20):
        mixed = KeypointMix(patches=2, jitter=0.0, **EXACT)(images, points, weights, rng(seed))
        assert mixed.equal(images)
