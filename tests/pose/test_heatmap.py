"""Heatmaps: the published numbers, and decoders against slow loops."""

import math

import numpy as np
import pytest
import torch

from sspcm_kedro.pose.geometry import move_points, similarity
from sspcm_kedro.pose.heatmap import (
    HeatmapCodec,
    decode_heatmaps,
    encode_heatmaps,
    flip_back,
    peaks,
)

HW = (16, 12)
"""Cells of a 64x48 input."""


def encode(x: float, y: float, visibility: float = 2, hw=HW, sigma: float = 2.0):
    heatmaps, weights = encode_heatmaps(
        torch.tensor([[[x, y]]], dtype=torch.float),
        torch.tensor([[visibility]]),
        hw,
        stride=4,
        sigma=sigma,
    )
    return heatmaps[0, 0], weights.item()


def gaussian(x: float, y: float, hw=HW, sigma: float = 2.0) -> torch.Tensor:
    """A Gaussian about a point in cells, not rounded to a cell; float64."""
    columns, rows = np.meshgrid(np.arange(hw[1]), np.arange(hw[0]))
    squared = (columns - x) ** 2 + (rows - y) ** 2
    return torch.from_numpy(np.exp(-squared / (2 * sigma**2)))


def test_encoding_has_the_published_numbers():
    """Peak 1; d^2 = 1, 2, 4; the edge and the corner of the 13x13 square; nothing beyond."""
    heatmap, weight = encode(40, 44, hw=(24, 20))  # the cell (10, 11)
    assert weight == 1
    for (x, y), value in {
        (10, 11): 1.0, (11, 11): 0.882497, (10, 10): 0.882497, (9, 12): 0.778801,
        (12, 11): 0.606531, (10, 9): 0.606531, (16, 11): 0.011109, (10, 5): 0.011109,
        (16, 17): 0.000123, (4, 5): 0.000123,
    }.items():  # fmt: skip
        assert heatmap[y, x].item() == pytest.approx(value, abs=5e-7)
    rows, columns = heatmap.nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 17, 4, 16)
    assert heatmap.count_nonzero() == 13 * 13


def test_sigma_three_has_a_square_of_nineteen():
    heatmap, _ = encode(60, 48, hw=(24, 32), sigma=3.0)
    assert heatmap.count_nonzero() == 19 * 19
    assert heatmap[12, 18].item() == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize(
    ("pixel", "cell"),
    [(-5.9, 0), (-2.1, 0), (0, 0), (1.9, 0), (2, 1), (5.9, 1), (6, 2), (21.9, 5), (22, 6)],
)
def test_centers_round_to_the_nearest_cell_and_truncate_towards_zero(pixel, cell):
    """int(x / 4 + 0.5): everything in (-6, 2) falls into cell 0."""
    assert encode(pixel, 20)[0][5].argmax() == cell
    assert encode(20, pixel)[0][:, 5].argmax() == cell


@pytest.mark.parametrize(
    ("cell", "weight", "filled"),
    [
        (-8, 0, 0),  # the square misses the map
        (-7, 1, 0),  # the edge case: mu = -3 sigma - 1 keeps its weight with an empty map
        (-6, 1, 1),
        (17, 1, 1),  # 12 columns: the square of cell 17 starts in the last of them
        (18, 0, 0),
    ],
)
def test_a_keypoint_counts_where_its_square_meets_the_map(cell, weight, filled):
    heatmap, got = encode(4 * cell - (2 if cell < 0 else 0), 32)
    assert got == weight
    assert heatmap.any(dim=0).sum() == filled


def test_the_height_decides_for_y():
    assert encode(20, 4 * 21)[1] == 1
    assert encode(20, 4 * 22)[1] == 0
    assert encode(20, -4 * 7 - 2)[1] == 1
    assert encode(20, -4 * 8 - 2)[1] == 0


def test_any_visibility_above_zero_counts_and_none_gives_an_empty_map():
    assert encode(20, 20, visibility=1)[1] == 1
    assert encode(20, 20, visibility=2)[1] == 1
    heatmap, weight = encode(20, 20, visibility=0)
    assert weight == 0
    assert not heatmap.any()


def test_encoding_a_batch_is_encoding_each_keypoint():
    rng = torch.Generator().manual_seed(1)
    keypoints = torch.rand((3, 5, 2), generator=rng) * torch.tensor([80.0, 96.0]) - 16
    visibility = torch.randint(3, (3, 5), generator=rng)
    heatmaps, weights = encode_heatmaps(keypoints, visibility, HW, stride=4, sigma=2.0)
    for n in range(3):
        for j in range(5):
            alone, weight = encode(*keypoints[n, j].tolist(), visibility=int(visibility[n, j]))
            assert heatmaps[n, j].equal(alone)
            assert weights[n, j] == weight


@pytest.mark.parametrize("refinement", ["none", "shift", "dark"])
def test_decode_undoes_encode(refinement):
    """A symmetric Gaussian about a cell decodes to that cell, for every refinement."""
    cells = torch.tensor([[(x, y) for x in (3, 5, 8) for y in (3, 7, 12)]]).float()
    heatmaps, _ = encode_heatmaps(cells * 4, torch.ones(1, 9), HW, stride=4, sigma=2.0)
    keypoints, scores = decode_heatmaps(heatmaps, stride=4, refinement=refinement)
    assert scores.tolist() == [[1.0] * 9]
    # "dark" blurs with a zero border, which pulls keypoints near it inwards.
    torch.testing.assert_close(
        keypoints, cells * 4, atol=1.5 if refinement == "dark" else 0, rtol=0
    )


@pytest.fixture
def bumps() -> torch.Tensor:
    """(4, 16, 16, 12) float64: peaks at every distance from the border, with noise."""
    rng = np.random.default_rng(2)
    maps = [
        gaussian(rng.uniform(-0.4, 11.4), rng.uniform(-0.4, 15.4)) * rng.uniform(0.2, 1)
        + torch.from_numpy(rng.uniform(0, 0.02, HW))
        for _ in range(64)
    ]
    for j, cell in enumerate([(0, 0), (1, 5), (2, 5), (5, 2), (10, 5), (9, 13), (9, 14), (11, 15)]):
        maps[j] = gaussian(cell[0] + 0.2, cell[1] - 0.2) + maps[j] / 50
    return torch.stack(maps).reshape(4, 16, *HW)


def top(plane: np.ndarray) -> tuple[int, int, float]:
    """Column, row and value of the first highest cell."""
    best = (0, 0, -math.inf)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            if plane[y, x] > best[2]:
                best = (x, y, plane[y, x])
    return best


def quarter_shift(plane: np.ndarray) -> tuple[float, float]:
    """Method.md 6, 2, "shift"."""
    height, width = plane.shape
    x, y, _ = top(plane)
    if not (1 < x < width - 1 and 1 < y < height - 1):
        return x, y
    return (
        x + 0.25 * np.sign(plane[y, x + 1] - plane[y, x - 1]),
        y + 0.25 * np.sign(plane[y + 1, x] - plane[y - 1, x]),
    )


def dark(plane: np.ndarray, kernel: int, sigma: float) -> tuple[float, float]:
    """Method.md 6, 2, "DARK": blur, old maximum, logarithm, one Newton step."""
    height, width = plane.shape
    r = kernel // 2
    window = np.array(
        [
            [math.exp(-(i * i + j * j) / (2 * sigma**2)) for i in range(-r, r + 1)]
            for j in range(-r, r + 1)
        ]
    )
    window /= window.sum()
    padded = np.zeros((height + 2 * r, width + 2 * r))
    padded[r : r + height, r : r + width] = plane
    blurred = np.zeros_like(plane)
    for row in range(height):
        for column in range(width):
            blurred[row, column] = (
                padded[row : row + kernel, column : column + kernel] * window
            ).sum()
    blurred *= plane.max() / blurred.max()
    z = np.log(np.maximum(blurred, 1e-10))
    x, y, _ = top(plane)
    if not (1 < x < width - 2 and 1 < y < height - 2):
        return x, y
    gradient = np.array([z[y, x + 1] - z[y, x - 1], z[y + 1, x] - z[y - 1, x]]) / 2
    dxx = (z[y, x + 2] - 2 * z[y, x] + z[y, x - 2]) / 4
    dyy = (z[y + 2, x] - 2 * z[y, x] + z[y - 2, x]) / 4
    dxy = (z[y + 1, x + 1] - z[y - 1, x + 1] - z[y + 1, x - 1] + z[y - 1, x - 1]) / 4
    step = -np.linalg.inv(np.array([[dxx, dxy], [dxy, dyy]])) @ gradient
    return x + step[0], y + step[1]


def test_quarter_shift_is_the_slow_loop(bumps):
    keypoints, scores = decode_heatmaps(bumps, stride=4, refinement="shift")
    for n in range(4):
        for j in range(16):
            expected = quarter_shift(bumps[n, j].numpy())
            assert keypoints[n, j].tolist() == [4 * v for v in expected]
            assert scores[n, j] == bumps[n, j].max()


def test_a_flat_neighborhood_does_not_shift():
    heatmap = torch.zeros(1, 1, *HW)
    heatmap[0, 0, 7, 5], heatmap[0, 0, 8, 5] = 1, 0.5
    keypoints, _ = decode_heatmaps(heatmap, stride=4, refinement="shift")
    assert keypoints.tolist() == [[[20, 29]]]


@pytest.mark.parametrize(("blur", "sigma"), [(11, 2.0), (17, 2.9)])
def test_dark_is_the_slow_loop(bumps, blur, sigma):
    """The sigmas are those that OpenCV derives from a kernel of 11 and of 17."""
    keypoints, _ = decode_heatmaps(bumps, stride=4, refinement="dark", blur=blur)
    expected = [[dark(plane.numpy(), blur, sigma) for plane in person] for person in bumps]
    torch.testing.assert_close(keypoints, 4 * torch.tensor(expected, dtype=torch.float64))


def test_dark_recovers_a_point_between_cells():
    """Far from the border, within a tenth of a cell of a Gaussian that is not on the grid."""
    rng = np.random.default_rng(0)
    truth = rng.uniform((14, 18), (18, 24), (20, 2))
    heatmaps = torch.stack([gaussian(x, y, hw=(42, 32)) for x, y in truth])[None].float()
    keypoints, _ = decode_heatmaps(heatmaps, stride=4, refinement="dark")
    error = (keypoints[0] / 4 - torch.from_numpy(truth)).norm(dim=1)
    plain = (peaks(heatmaps)[0][0] - torch.from_numpy(truth)).norm(dim=1)
    assert error.max() < 0.1
    assert plain.max() > 0.4, "the argmax alone is worse"


@pytest.mark.parametrize("refinement", ["none", "shift", "dark"])
def test_a_map_without_a_positive_cell_decodes_to_the_origin(refinement):
    heatmaps = torch.stack([torch.zeros(HW), -gaussian(5, 7).float() - 1])[None]
    keypoints, scores = decode_heatmaps(heatmaps, stride=4, refinement=refinement)
    assert keypoints.tolist() == [[[0, 0], [0, 0]]]
    assert (scores <= 0).all()


def test_peaks_are_x_then_y_and_ties_go_to_the_first():
    heatmaps = torch.zeros(1, 2, *HW)
    heatmaps[0, 0, 13, 4] = 0.7
    heatmaps[0, 1, 3, 9] = heatmaps[0, 1, 8, 2] = 0.5
    cells, values = peaks(heatmaps)
    assert cells.tolist() == [[[4, 13], [9, 3]]]
    torch.testing.assert_close(values, torch.tensor([[0.7, 0.5]]))


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_unmirror_undoes_a_mirrored_image(stride):
    """An ideal network: it draws, in the mirrored image, Gaussians about the mirrored keypoints."""
    codec = HeatmapCodec(stride, sigma=1.5, sub_cell=True, refinement="parabola")
    order, hw = (1, 0, 2), (64, 48)
    keypoints = torch.tensor([[[14.0, 30.5], [33.3, 22.0], [23.0, 37.9]]])  # (x, y) of 48x64
    mirrored = torch.stack([47 - keypoints[..., 0], keypoints[..., 1]], dim=-1)[:, list(order)]
    labeled = torch.ones(1, 3)
    plain = codec.encode(keypoints, labeled, hw)[0]
    back = codec.unmirror(codec.encode(mirrored, labeled, hw)[0], order)
    for seen in (back, (plain + back) / 2):
        decoded, _ = codec.decode(seen)
        torch.testing.assert_close(decoded, keypoints, atol=0.03 * stride, rtol=0)


def test_where_cells_are_rounded_unmirror_moves_by_a_whole_cell_as_published():
    """Which is a cell's part of one input pixel too far."""
    codec = HeatmapCodec(stride=4, sub_cell=False)
    order = (1, 0, 2)
    joints = [(14.0, 30.0), (37.0, 22.0), (23.0, 41.0)]  # input pixels of 64x48
    mirrored = [(47 - joints[j][0], joints[j][1]) for j in order]
    seen = torch.stack([gaussian(x / 4, y / 4) for x, y in mirrored])[None]
    back = codec.unmirror(seen, order)
    apart = (back - torch.stack([gaussian(x / 4 + 0.25, y / 4) for x, y in joints])).abs()
    assert apart[..., 1:].max() < 1e-12, "a quarter of a cell to the right, and no more"


def test_flip_back_keeps_the_first_column_and_moves_by_a_part_of_a_cell():
    heatmap = torch.arange(12.0).reshape(1, 2, 2, 3)
    assert flip_back(heatmap, (1, 0), 1.0).tolist() == [
        [[[8, 8, 7], [11, 11, 10]], [[2, 2, 1], [5, 5, 4]]]
    ]
    assert flip_back(heatmap, (1, 0), 0.75).tolist() == [
        [[[8, 7.75, 6.75], [11, 10.75, 9.75]], [[2, 1.75, 0.75], [5, 4.75, 3.75]]]
    ]
    assert flip_back(heatmap, (1, 0), 0.0).tolist() == heatmap.flip(3)[:, [1, 0]].tolist()


@pytest.mark.parametrize("sigma", [0.8, 1.0, 2.0])
def test_parabola_recovers_exact_centers_of_gaussians_of_any_sigma(sigma):
    keypoints = torch.tensor([[[21.3, 33.9], [17.0, 30.1], [26.9, 24.6]]])
    heatmaps, weights = encode_heatmaps(
        keypoints, torch.ones(1, 3), (16, 12), stride=4, sigma=sigma, sub_cell=True
    )
    assert weights.tolist() == [[1.0, 1.0, 1.0]]
    decoded, _ = decode_heatmaps(heatmaps, stride=4, refinement="parabola")
    torch.testing.assert_close(decoded, keypoints, atol=1e-3, rtol=0)


def test_sub_cell_and_rounded_encodings_agree_on_cell_centers_and_only_there():
    keypoints = torch.tensor([[[20.0, 32.0], [21.0, 32.0]]])
    exact, rounded = (
        encode_heatmaps(keypoints, torch.ones(1, 2), (16, 12), stride=4, sigma=1, sub_cell=s)[0]
        for s in (True, False)
    )
    torch.testing.assert_close(exact[:, 0], rounded[:, 0])
    assert exact[0, 1, 8, 5] == pytest.approx(np.exp(-(0.25**2) / 2), abs=1e-6)
    assert rounded[0, 1, 8, 5] == 1


@pytest.mark.parametrize("faint", [1e-6, 0.0, -0.2])
def test_parabola_takes_what_is_fainter_than_a_thousandth_for_a_thousandth(faint):
    """Networks put any small number there, also below 0. By hand, of logarithms 0, ln .5, ln .001:
    the slope is half of their difference, and so on."""
    heatmap = torch.full((1, 1, *HW), faint)
    heatmap[0, 0, 7, 5], heatmap[0, 0, 7, 6] = 1, 0.5
    right, left = math.log(0.5), math.log(0.001)
    shift = -0.5 * (right - left) / (right + left)
    keypoints, _ = decode_heatmaps(heatmap, stride=4, refinement="parabola")
    assert keypoints[0, 0].tolist() == pytest.approx([4 * (5 + shift), 4 * 7], abs=1e-4)
    assert 0.4 < shift < 0.5


@pytest.mark.parametrize("sigma", [0.1, 1.0, 1.7, 2.0])
def test_of_exact_centers_what_teaches_has_a_cell_and_what_has_none_does_not(sigma):
    """Every odd twentieth of a pixel along an axis (no bound is one), against a loop over cells:
    within 3 sigma of one."""
    for axis, size in ((0, HW[1]), (1, HW[0])):
        parts = range(-80 * 7 - 1, 80 * (size + 7), 2)
        points = torch.full((1, len(parts), 2), 20.0, dtype=torch.float64)
        points[0, :, axis] = torch.tensor(parts, dtype=torch.float64) / 20
        maps, weights = encode_heatmaps(
            points, torch.ones(1, len(parts)), HW, stride=4, sigma=sigma, sub_cell=True
        )
        reached = [any(abs(80 * c - part) <= 240 * sigma for c in range(size)) for part in parts]
        assert weights[0].bool().tolist() == reached
        assert maps[0].flatten(1).any(dim=1).tolist() == reached
        assert set(reached) == {True, False}


@pytest.mark.parametrize(
    ("x", "weight"),
    [(-22.0, 0), (-18.5, 0), (-12.1, 0), (-12.0, 1), (47.0, 1), (56.0, 1), (56.1, 0), (79.0, 0)],
)
def test_exact_centers_more_than_three_sigma_off_the_map_teach_nothing(x, weight):
    """Cells 0 to 11 lie at 0 to 44 pixels; three sigma are 12."""
    heatmaps, got = encode_heatmaps(
        torch.tensor([[[x, 32.0]]]), torch.ones(1, 1), HW, stride=4, sigma=1.0, sub_cell=True
    )
    assert got.item() == weight
    assert bool(heatmaps.any()) == bool(weight)


@pytest.mark.parametrize("refinement", ["none", "parabola"])
def test_mirrored_heatmaps_decode_to_mirrored_points(refinement):
    """Peaks at every cell, the border too: x becomes w - 1 - x, y becomes h - 1 - y."""
    rng = np.random.default_rng(5)
    cells = [(x, y) for y in range(HW[0]) for x in range(HW[1])]
    centers = np.array(cells) + rng.uniform(-0.3, 0.3, (len(cells), 2))
    heatmaps = torch.stack([gaussian(x, y) for x, y in centers])[None]
    plain, scores = decode_heatmaps(heatmaps, stride=4, refinement=refinement)
    for axis, size in ((0, HW[1]), (1, HW[0])):
        mirrored, same = decode_heatmaps(heatmaps.flip(3 - axis), stride=4, refinement=refinement)
        mirrored[..., axis] = 4 * (size - 1) - mirrored[..., axis]
        torch.testing.assert_close(mirrored, plain)
        assert same.equal(scores)


def test_a_parabola_refines_wherever_both_neighbors_are_on_the_map():
    """Axis by axis: a peak in the first column has its row refined, and one in the second both."""
    cells = [(0, 7), (1, 1), (1, 14), (10, 1), (10, 14), (11, 7), (5, 0), (5, 15)]
    offset = np.array([0.2, -0.3])
    heatmaps = torch.stack([gaussian(*(np.array(cell) + offset)) for cell in cells])[None]
    found = decode_heatmaps(heatmaps, stride=4, refinement="parabola")[0][0] / 4
    for (x, y), at in zip(cells, found.tolist(), strict=True):
        expected = (x + 0.2 * (0 < x < 11), y - 0.3 * (0 < y < 15))
        assert at == pytest.approx(expected, abs=1e-6)


INPUT = (96, 64)
POINTS = torch.tensor(
    [[[20.3, 40.9], [31.0, 55.5], [42.7, 33.2]], [[24.0, 48.0], [40, 56], [32, 40]]]
)


@pytest.mark.parametrize("stride", [2, 4, 8])
class TestCodec:
    def test_decode_undoes_encode(self, stride):
        """Exactly with centers between cells, within half a cell with rounded ones."""
        exact = HeatmapCodec(stride, sigma=1.5, sub_cell=True, refinement="parabola")
        heatmaps, weights = exact.encode(POINTS, torch.ones(2, 3), INPUT)
        assert heatmaps.shape == (2, 3, 96 // stride, 64 // stride)
        assert exact.heatmap_hw(INPUT) == heatmaps.shape[2:]
        assert weights.tolist() == [[1] * 3] * 2
        keypoints, scores = exact.decode(heatmaps)
        torch.testing.assert_close(keypoints, POINTS, atol=1e-2, rtol=0)
        assert (scores > 0.75).all() and (scores <= 1).all()

        rounded = HeatmapCodec(stride, sigma=1.5, refinement="none")
        heatmaps, _ = rounded.encode(POINTS, torch.ones(2, 3), INPUT)
        keypoints, scores = rounded.decode(heatmaps)
        assert (keypoints - POINTS).abs().max() <= stride / 2
        assert scores.tolist() == [[1] * 3] * 2

    def test_peaks_are_whole_input_pixels_of_the_highest_cells(self, stride):
        codec = HeatmapCodec(stride, sigma=1.0)
        heatmaps, _ = codec.encode(POINTS, torch.ones(2, 3), INPUT)
        expected = [[[stride * math.floor(v / stride + 0.5) for v in point] for point in person]
                    for person in POINTS.tolist()]  # fmt: skip
        assert codec.peaks(heatmaps).tolist() == expected

    def test_heatmaps_move_as_their_images_do(self, stride):
        """Decoded keypoints of moved heatmaps are the moved keypoints."""
        codec = HeatmapCodec(stride, sigma=1.5, sub_cell=True, refinement="parabola")
        heatmaps, _ = codec.encode(POINTS, torch.ones(2, 3), INPUT)
        matrix = similarity(
            torch.tensor([0.9, 1.1]), torch.tensor([20.0, -35]), torch.tensor([False, True]), INPUT
        )
        moved, _ = codec.decode(codec.warp(heatmaps, matrix))
        apart = (moved - move_points(POINTS, matrix)).norm(dim=2)
        assert apart.max() < 0.15 * stride, "bilinear, so a little off"
        assert (moved - POINTS).norm(dim=2).max() > 8

    def test_every_refinement_and_kernel_reaches_the_decoder(self, stride):
        """DARK fits its kernel to sigma unless one is given; none stays on cells."""
        assert HeatmapCodec(stride, sigma=3.0, refinement="dark").kernel == 17
        assert HeatmapCodec(stride, sigma=2.0, refinement="dark").kernel == 11
        heatmaps, _ = HeatmapCodec(stride, 2.0, True).encode(POINTS, torch.ones(2, 3), INPUT)
        for refinement, blur in (("none", 11), ("shift", 11), ("dark", 11), ("dark", 5),
                                 ("parabola", 11)):  # fmt: skip
            codec = HeatmapCodec(stride, 2.0, refinement=refinement, blur=blur)
            expected = decode_heatmaps(heatmaps, stride=stride, refinement=refinement, blur=blur)
            assert codec.decode(heatmaps)[0].equal(expected[0])
            cells = codec.decode(heatmaps)[0] / stride
            assert (cells == cells.round()).all() == (refinement == "none")
