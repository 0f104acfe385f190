"""Cut-Occlude and Joint Cutout on a tall image: right axes, right windows, nothing blank."""

import pytest
import torch

from sspcm_kedro.augment.occlude import (
    CutOcclude,
    Donors,
    JointCutout,
    draw_keypoints,
    jitter_points,
    paste,
    pixel_range,
)

H, W = 64, 32
EXACT = {"half_size": (4 / H, 4 / H), "jitter": 0.0}
"""Windows of 8x8 pixels right at the keypoints."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def constant_donors(*colors: float, at=(16.0, 32.0)) -> Donors:
    """Donors of one color each, cut out in their middle."""
    images = torch.stack([torch.full((3, H, W), color) for color in colors])
    return Donors(images, torch.tensor(at).expand(len(colors), 1, 2))


def rectangle(x: slice, y: slice) -> torch.Tensor:
    mask = torch.zeros(H, W, dtype=torch.bool)
    mask[y, x] = True
    return mask


def slow_paste(images, pixels, target, source, half):
    """Pixel by pixel: copy where the window, the image and the donor all have one."""
    out = images.clone()
    for n in range(len(images)):
        (tx, ty), (sx, sy), (a, b) = target[n].tolist(), source[n].tolist(), half[n].tolist()
        for dy in range(-b, b):
            for dx in range(-a, a):
                inside = 0 <= tx + dx < W and 0 <= ty + dy < H
                if inside and 0 <= sx + dx < W and 0 <= sy + dy < H:
                    out[n, :, ty + dy, tx + dx] = pixels[n, :, sy + dy, sx + dx]
    return out


def test_paste_is_the_loop_over_pixels():
    """Centers in the middle, at every edge, and outside of the image and of the donor."""
    images, pixels = (torch.rand((40, 3, H, W), generator=rng(s)) for s in (1, 2))
    low, high = torch.tensor([-6, -6]), torch.tensor([W + 6, H + 6])

    def centers(seed: int) -> torch.Tensor:
        return (low + torch.rand((40, 2), generator=rng(seed)) * (high - low)).long()

    half = torch.randint(1, 8, (40, 2), generator=rng(5))
    target, source = centers(3), centers(4)
    expected = slow_paste(images, pixels, target, source, half)
    assert (expected != images).any(dim=1).sum() > 500
    assert paste(images, pixels, target, source, half, reach=7).equal(expected)


def test_the_patch_lands_at_x_y_and_not_at_y_x():
    images = torch.zeros(1, 3, H, W)
    out = CutOcclude(patches=1, **EXACT)(
        images, torch.tensor([[[9.0, 50.0]]]), torch.ones(1, 1), constant_donors(1.0), rng()
    )
    expected = rectangle(slice(5, 13), slice(46, 54))
    assert (out[0] == 1).all(dim=0).equal(expected)
    assert (out[0] == 0).all(dim=0).equal(~expected)


@pytest.mark.parametrize(
    ("point", "x", "y"),
    [
        ((1.0, 2.0), slice(0, 5), slice(0, 6)),
        ((31.0, 63.0), slice(27, 32), slice(59, 64)),
        ((-2.0, 61.0), slice(0, 2), slice(57, 64)),
        ((40.0, 10.0), slice(0, 0), slice(0, 0)),
    ],
)
def test_windows_are_clipped_at_the_corners(point, x, y):
    """To [0, W) and [0, H): the last row and the last column are reached."""
    images, points = torch.zeros(1, 3, H, W), torch.tensor([[point]])
    out = CutOcclude(patches=1, **EXACT)(
        images, points, torch.ones(1, 1), constant_donors(1.0), rng()
    )
    assert (out[0, 0] == 1).equal(rectangle(x, y))


def test_pixels_without_a_source_in_the_donor_stay():
    """A donor point in the corner has only the lower right quarter of a window; no zero fill."""
    images = torch.full((1, 3, H, W), 0.25)
    out = CutOcclude(patches=1, **EXACT)(
        images, torch.tensor([[[16.0, 40.0]]]), torch.ones(1, 1),
        constant_donors(1.0, at=(0.0, 0.0)), rng(),
    )  # fmt: skip
    pasted = rectangle(slice(16, 20), slice(40, 44))
    assert (out[0] == torch.where(pasted, 1.0, 0.25)).all()


def test_only_keypoints_that_count_are_covered():
    """Weights 0 never; all others do get their turn."""
    n = 60
    points = torch.tensor([[5.0, 8.0], [24.0, 20.0], [8.0, 40.0], [26.0, 56.0]])
    images, weights = torch.zeros(n, 3, H, W), torch.tensor([0.0, 1.0, 0.0, 0.3]).expand(n, 4)
    for augment in (
        lambda: CutOcclude(2, **EXACT)(
            images, points.expand(n, 4, 2), weights, constant_donors(1.0), rng()
        ),
        lambda: JointCutout(2, **EXACT)(images + 1, points.expand(n, 4, 2), weights, rng()) - 1,
    ):
        covered = augment()[:, 0] != 0
        x, y = points.long().unbind(1)
        assert covered[:, y, x].any(dim=0).tolist() == [False, True, False, True]


def test_a_person_without_counting_keypoints_is_not_an_error():
    joints = draw_keypoints(torch.tensor([[0.0, 0, 0], [0, 1, 0]]), 200, rng())
    assert set(joints[0].tolist()) == {0, 1, 2}
    assert set(joints[1].tolist()) == {1}


def test_the_images_given_are_left_as_they_are():
    """Other networks and the donors read the same tensor; a patch shows the untouched donor."""
    images = torch.rand((4, 3, H, W), generator=rng(1))
    before = images.clone()
    points = torch.tensor([[[16.0, 32.0]]]).expand(4, 1, 2)
    CutOcclude(3, **EXACT)(images, points, torch.ones(4, 1), Donors(images, points), rng())
    JointCutout(3, **EXACT)(images, points, torch.ones(4, 1), rng())
    assert images.equal(before)


def test_donors_and_their_points_are_all_used():
    """Colors tell the donor, halves of a donor its point."""
    n = 200
    pixels = torch.zeros(2, 3, H, W)
    pixels[0, :, : H // 2], pixels[0, :, H // 2 :] = 1, 2
    pixels[1, :, : H // 2], pixels[1, :, H // 2 :] = 3, 4
    donors = Donors(pixels, torch.tensor([[[16.0, 16.0], [16.0, 48.0]]]).expand(2, 2, 2))
    points = torch.tensor([[[16.0, 30.0]]]).expand(n, 1, 2)
    out = CutOcclude(1, **EXACT)(torch.zeros(n, 3, H, W), points, torch.ones(n, 1), donors, rng())
    colors, counts = out[:, 0, 30, 16].unique(return_counts=True)
    assert colors.tolist() == [1, 2, 3, 4]
    assert counts.min() > 25


def test_only_points_that_are_worth_it_are_cut():
    """Of donor 0 the upper point, of donor 1 the lower; donor 2 has none, so either serves."""
    n = 200
    pixels = torch.stack([torch.full((3, H, W), 2.0 * donor) for donor in range(3)])
    pixels[:, :, H // 2 :] += 1
    points = torch.tensor([[[16.0, 16.0], [16.0, 48.0]]]).expand(3, 2, 2)
    weights = torch.tensor([[0.5, 0.0], [0.0, 1.0], [0.0, 0.0]])
    target = torch.tensor([[[16.0, 30.0]]]).expand(n, 1, 2)
    out = CutOcclude(1, **EXACT)(
        torch.full((n, 3, H, W), 9.0), target, torch.ones(n, 1), Donors(pixels, points, weights),
        rng(),
    )  # fmt: skip
    assert out[:, 0, 30, 16].unique().tolist() == [0, 3, 4, 5]


def test_nothing_to_paste_or_to_cut_changes_nothing():
    images = torch.rand((2, 3, H, W), generator=rng())
    points, weights = torch.full((2, 1, 2), 20.0), torch.ones(2, 1)
    donors = constant_donors(9.0)
    assert CutOcclude(0, **EXACT)(images, points, weights, donors, rng()).equal(images)
    assert JointCutout(0, **EXACT)(images, points, weights, rng()).equal(images)


def test_the_generator_alone_decides():
    images = torch.rand((4, 3, H, W), generator=rng(1))
    points, weights = torch.rand((4, 5, 2), generator=rng(2)) * 32, torch.ones(4, 5)
    for augment in (
        lambda seed: CutOcclude()(images, points, weights, Donors(images, points), rng(seed)),
        lambda seed: JointCutout()(images, points, weights, rng(seed)),
    ):
        torch.manual_seed(1)
        first = augment(7)
        torch.manual_seed(2)
        assert augment(7).equal(first)
        assert not augment(8).equal(first)


@pytest.mark.parametrize(
    ("point", "x", "y"),
    [
        ((9.0, 50.0), slice(5, 13), slice(46, 54)),
        ((20.0, 60.0), slice(16, 24), slice(56, 64)),
        ((1.0, 2.0), slice(0, 5), slice(0, 6)),
        ((30.0, 63.0), slice(26, 32), slice(59, 64)),
        ((16.0, 80.0), slice(0, 0), slice(0, 0)),
    ],
)
def test_cutout_erases_the_window_also_in_the_lowest_quarter(point, x, y):
    """The released code swaps width and height there and never reaches ankles (method.md D9)."""
    out = JointCutout(5, **EXACT)(
        torch.ones(1, 3, H, W), torch.tensor([[point]]), torch.ones(1, 1), rng()
    )
    assert (out[0] == 0).all(dim=0).equal(rectangle(x, y))
    assert (out[0] == 1).all(dim=0).equal(~rectangle(x, y))


def test_sizes_follow_the_height_of_the_input():
    """The published 10 to 19 pixels of 256, and at least one pixel."""
    assert pixel_range((0.04, 0.075), 256) == (10, 19)
    assert pixel_range((0.04, 0.075), 64) == (3, 5)
    assert pixel_range((0.001, 0.002), 64) == (1, 1)


def test_half_sizes_are_drawn_for_each_axis_within_their_range():
    n = 300
    images = torch.ones(n, 3, H, W)
    points = torch.tensor([[[16.0, 32.0]]]).expand(n, 1, 2)
    for out in (
        1 - JointCutout(1, (2 / H, 5 / H), 0.0)(images, points, torch.ones(n, 1), rng()),
        CutOcclude(1, (2 / H, 5 / H), 0.0)(
            0 * images, points, torch.ones(n, 1), constant_donors(1.0), rng()
        ),
    ):
        sides = {(int(plane.any(dim=0).sum()), int(plane.any(dim=1).sum())) for plane in out[:, 0]}
        assert sides == {(a, b) for a in (4, 6, 8, 10) for b in (4, 6, 8, 10)}


def test_jitter_is_whole_pixels_of_the_given_spread():
    """Truncated towards zero, as the released code does."""
    points = torch.tensor([[-0.7, 10.9], [0.7, -3.2]])
    assert jitter_points(points, 0.0, rng()).tolist() == [[0, 10], [0, -3]]
    noise = jitter_points(torch.full((4000, 2), 1000.5), 10.0, rng()).float() - 1000
    assert noise.mean(dim=0).tolist() == pytest.approx([0, 0], abs=0.5)
    assert noise.std(dim=0).tolist() == pytest.approx([10, 10], rel=0.05)


def test_patches_lie_about_keypoints_and_about_donor_points_as_jitter_says():
    """Normally, each on its own; a donor's rows tell where it was cut."""
    n, std = 1500, 4.0
    rows = torch.arange(H).float().reshape(1, 1, H, 1).expand(1, 3, H, W) + 1
    points = torch.tensor([[[16.0, 32.0]]])
    out = CutOcclude(1, (2 / H, 2 / H), jitter=std / H)(
        torch.zeros(n, 3, H, W), points.expand(n, 1, 2), torch.ones(n, 1), Donors(rows, points),
        rng(),
    )[:, 0]  # fmt: skip
    out = out[(out > 0).sum(dim=(1, 2)) == 4 * 4]  # all but the few at the sides
    assert len(out) > 0.95 * n
    x, y = ((out > 0).any(dim=axis).int().argmax(dim=1) + 2.0 for axis in (1, 2))
    cut = out.amax(dim=(1, 2)) - 2  # the fourth of the rows, counted from 1
    for centers, middle in ((x, 16), (y, 32), (cut, 32)):
        assert centers.mean().item() == pytest.approx(middle - 0.5, abs=0.4), "truncated"
        assert centers.std().item() == pytest.approx(std, rel=0.1)
    assert torch.corrcoef(torch.stack([x, y, cut])).triu(1).abs().max() < 0.1


def test_cutouts_lie_about_keypoints_as_jitter_says():
    n, std = 1500, 4.0
    out = JointCutout(1, (2 / H, 2 / H), jitter=std / H)(
        torch.ones(n, 3, H, W), torch.tensor([[[16.0, 32.0]]]).expand(n, 1, 2), torch.ones(n, 1),
        rng(),
    )[:, 0]  # fmt: skip
    out = out[(out == 0).sum(dim=(1, 2)) == 4 * 4]
    assert len(out) > 0.95 * n
    for axis, middle in ((1, 16), (2, 32)):
        centers = (out == 0).any(dim=axis).int().argmax(dim=1) + 2.0
        assert centers.mean().item() == pytest.approx(middle - 0.5, abs=0.4), "truncated"
        assert centers.std().item() == pytest.approx(std, rel=0.1)
