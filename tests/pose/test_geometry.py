"""Boxes to crops and back, random similarities, and warps that keep labels on their pixels."""

import math

import numpy as np
import pytest
import torch

from sspcm_kedro.pose.geometry import (
    CropFrame,
    at_stride,
    crop_extents,
    crop_matrix,
    flip_keypoints,
    invert,
    move_points,
    similarity,
    warp,
)

INPUT = (64, 48)
FRAME = CropFrame(INPUT)


def one(scale: float = 1.0, rotation: float = 0.0, flip: bool = False, hw=INPUT) -> torch.Tensor:
    """One similarity, in float64."""
    numbers = (torch.tensor([v], dtype=torch.float64) for v in (scale, rotation))
    return similarity(*numbers, torch.tensor([flip]), hw)


def blob(x: float, y: float, hw: tuple[int, int], sigma: float) -> torch.Tensor:
    """A Gaussian (1, 1, H, W) about a point in pixels."""
    rows = torch.arange(hw[0]).float()[:, None] - y
    columns = torch.arange(hw[1]).float() - x
    return torch.exp(-(rows**2 + columns**2) / (2 * sigma**2))[None, None]


def center_of_mass(image: torch.Tensor) -> torch.Tensor:
    """(x, y) of an image (1, 1, H, W)."""
    plane = image[0, 0].double()
    x = (plane.sum(0) * torch.arange(plane.shape[1])).sum() / plane.sum()
    y = (plane.sum(1) * torch.arange(plane.shape[0])).sum() / plane.sum()
    return torch.stack([x, y])


def test_crop_has_the_published_numbers():
    """Method.md 2.1: box (x, y, w, h) = (100, 50, 60, 200) on a 256x192 input."""
    box = np.array([[100, 50, 160, 250]])
    centers, extents = crop_extents(box, CropFrame((256, 192)))
    assert centers.tolist() == [[130, 150]]
    assert extents.tolist() == [[187.5, 250]]
    matrix = crop_matrix(box, CropFrame((256, 192)))[0]
    assert matrix == pytest.approx(
        np.array([[1.024, 0, 96 - 130 * 1.024], [0, 1.024, 128 - 150 * 1.024]])
    )


@pytest.mark.parametrize(
    ("padding", "factor", "offset"),
    [(1.0, 1.28, (-70.4, -64.0)), (1.25, 1.024, (-37.12, -25.6)), (2.0, 0.64, (12.8, 32.0))],
)
def test_the_padding_is_on_both_sides_of_the_grown_box(padding, factor, offset):
    """60 x 200 about (130, 150) grows to 150 x 200: 192 input pixels show 150 times the padding."""
    matrix = crop_matrix(np.array([[100, 50, 160, 250]]), CropFrame((256, 192), padding))[0]
    expected = [[factor, 0, offset[0]], [0, factor, offset[1]]]
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


def test_a_wide_box_grows_in_height():
    _, extents = crop_extents(np.array([[0, 0, 60, 20]]), FRAME)
    assert extents.tolist() == [[75, 100]]
    _, extents = crop_extents(np.array([[0, 0, 60, 20]]), CropFrame(INPUT, 1.5))
    assert extents.tolist() == [[90, 120]]


def test_another_height_shows_the_same_region():
    box, frame = np.array([[100, 50, 160, 250]]), CropFrame((96, 64), 1.1)
    larger = frame.with_height(384)
    assert larger == CropFrame((384, 256), 1.1)
    np.testing.assert_allclose(crop_extents(box, larger), crop_extents(box, frame))
    assert frame.with_height(100) == CropFrame((100, 67), 1.1)  # 66.7


def test_the_border_moves_the_origin_and_changes_nothing_else():
    box = np.array([[3.5, 7, 60, 91], [0, 0, 30, 10]])
    expected = crop_matrix(box, FRAME)
    expected[:, :, 2] += 9
    assert crop_matrix(box, FRAME, border=9) == pytest.approx(expected)


@pytest.mark.parametrize("padding", [0.5, 1.0, 1.07, 1.25, 4.0])
def test_image_to_crop_and_back_is_the_identity(padding):
    rng = np.random.default_rng(0)
    corner = rng.uniform(-50, 200, (6, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 300, (6, 2))], axis=1)
    matrix = torch.from_numpy(crop_matrix(boxes, CropFrame(INPUT, padding)))
    points = torch.from_numpy(rng.uniform(-100, 400, (6, 5, 2)))
    torch.testing.assert_close(move_points(move_points(points, matrix), invert(matrix)), points)


def test_points_move_row_by_row():
    matrix = torch.tensor([[[1.0, 2, 3], [4, 5, 6]]])
    assert move_points(torch.tensor([[[10.0, 100], [1, 0]]]), matrix).tolist() == [
        [[213, 546], [4, 10]]
    ]


@pytest.mark.parametrize(
    "box",
    [[5, 5, 5, 9], [5, 5, 9, 5], [5, 5, 4, 9], [np.nan, 0, 1, 1], [0, 0, np.inf, 1]],
)
def test_empty_and_unfinite_boxes_are_refused(box):
    with pytest.raises(ValueError, match=r"boxes must be finite .* box 1 is"):
        crop_matrix(np.array([[0, 0, 1, 1], box]), FRAME)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("scale", "rotation"), [(1, 0), (0.75, -60), (1.25, 37), (1, 90)])
def test_a_similarity_is_rigid_in_pixels_of_a_tall_crop(scale, rotation, flip):
    """Both singular values are the scale, and the middle of the crop stays where it is."""
    matrix = one(scale, rotation, flip)
    singular = torch.linalg.svdvals(matrix[0, :, :2])
    assert singular.tolist() == pytest.approx([scale, scale])
    assert torch.linalg.det(matrix[0, :, :2]).item() == pytest.approx(
        -(scale**2) if flip else scale**2
    )
    middle = torch.tensor([[[23.5, 31.5]]], dtype=torch.float64)
    torch.testing.assert_close(move_points(middle, matrix), middle)


def test_directions_are_those_of_the_screen():
    """90 degrees turn right into down; scale 2 enlarges; a flip mirrors before it turns."""
    start = torch.tensor([[[33.5, 31.5]]], dtype=torch.float64)  # 10 to the right of the middle
    for matrix, expected in [
        (one(rotation=90), (23.5, 41.5)),
        (one(scale=2), (43.5, 31.5)),
        (one(flip=True), (13.5, 31.5)),
        (one(rotation=90, flip=True), (23.5, 21.5)),
    ]:
        assert move_points(start, matrix)[0, 0].tolist() == pytest.approx(expected)


def test_mirroring_twice_is_the_identity_for_points_and_pixels():
    rng = torch.Generator().manual_seed(0)
    matrix = one(flip=True)
    points = torch.rand((1, 4, 2), generator=rng, dtype=torch.float64) * 50
    once = move_points(points, matrix)
    torch.testing.assert_close(once[..., 0], 47 - points[..., 0])
    torch.testing.assert_close(move_points(once, matrix), points)

    images = torch.rand((1, 3, *INPUT), generator=rng)
    mirrored = warp(images, matrix.float())
    torch.testing.assert_close(mirrored, images.flip(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(warp(mirrored, matrix.float()), images, atol=1e-4, rtol=0)


def test_flip_keypoints_swaps_channels_of_the_mirrored_only():
    values = torch.arange(12.0).reshape(2, 3, 2)
    swapped = flip_keypoints(values, torch.tensor([False, True]), (1, 0, 2))
    assert swapped[0].equal(values[0])
    assert swapped[1].tolist() == [[8, 9], [6, 7], [10, 11]]
    again = flip_keypoints(swapped, torch.tensor([False, True]), (1, 0, 2))
    assert again.equal(values)


def test_flip_keypoints_takes_any_trailing_shape():
    for shape in ((2, 3), (2, 3, 4, 5)):
        values = torch.rand(shape)
        swapped = flip_keypoints(values, torch.tensor([True, False]), (2, 1, 0))
        assert swapped.equal(torch.stack([values[0, [2, 1, 0]], values[1]]))


@pytest.mark.parametrize("out_hw", [None, (32, 40), (70, 50)])
def test_the_identity_copies_pixels_at_their_index(out_hw):
    """No half-pixel shift, also onto another size: the common part is the same, the rest 0."""
    images = torch.rand((2, 3, *INPUT), generator=torch.Generator().manual_seed(1))
    out = warp(images, torch.eye(2, 3).expand(2, 2, 3), out_hw)
    height, width = out_hw or INPUT
    assert out.shape == (2, 3, height, width)
    rows, columns = min(height, 64), min(width, 48)
    torch.testing.assert_close(
        out[..., :rows, :columns], images[..., :rows, :columns], atol=1e-4, rtol=0
    )
    assert not out[..., 65:, :].any() and not out[..., 49:].any()


def test_a_warp_is_the_inverse_lookup_pixel_by_pixel():
    """Bilinear, zeros outside, against a loop over output pixels."""
    matrix = one(1.2, 25, flip=True, hw=(12, 9)).float()
    image = torch.rand((1, 1, 12, 9), generator=torch.Generator().manual_seed(2))
    out = warp(image, matrix)[0, 0]
    linear = np.linalg.inv(matrix[0, :, :2].double().numpy())
    shift = matrix[0, :, 2].double().numpy()

    def at(x: int, y: int) -> float:
        return float(image[0, 0, y, x]) if 0 <= x < 9 and 0 <= y < 12 else 0.0

    for row in range(12):
        for column in range(9):
            x, y = linear @ (np.array([column, row]) - shift)
            i, j = math.floor(x), math.floor(y)
            a, b = x - i, y - j
            value = (at(i, j) * (1 - a) + at(i + 1, j) * a) * (1 - b) + (
                at(i, j + 1) * (1 - a) + at(i + 1, j + 1) * a
            ) * b
            assert out[row, column].item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("scale", "rotation"), [(1, 0), (0.75, -50), (1.25, 40), (1.1, 100)])
def test_an_image_and_its_heatmap_take_the_same_map(scale, rotation, flip):
    """A dot in the image and its heatmap both land within half a cell of the moved point."""
    hw = (128, 96)
    matrix = one(scale, rotation, flip, hw)
    point = torch.tensor([[[58.0, 49.0]]], dtype=torch.float64)
    expected = move_points(point, matrix)[0, 0]
    image = warp(blob(58, 49, hw, sigma=2.5), matrix.float())
    heatmap = warp(blob(58 / 4, 49 / 4, (32, 24), sigma=1.5), at_stride(matrix, 4).float())
    assert (center_of_mass(image) - expected).abs().max() < 0.2
    assert (4 * center_of_mass(heatmap) - expected).abs().max() < 2


def test_at_stride_divides_points_by_the_stride():
    matrix = one(0.9, 20, flip=True)
    points = torch.tensor([[[8.0, 20], [33, 51]]], dtype=torch.float64)
    torch.testing.assert_close(
        move_points(points / 4, at_stride(matrix, 4)), move_points(points, matrix) / 4
    )
