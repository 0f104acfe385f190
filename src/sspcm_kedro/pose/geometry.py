"""Boxes to crops and back: every map between image, crop and heatmap is a (2, 3) matrix."""

import math

import numpy as np
import torch
from torch import Tensor

BOX_PADDING = 1.25
"""Context around a person's box, as in SimpleBaseline."""


def crop_extents(boxes: np.ndarray, input_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Centers (n, 2) and padded (width, height) (n, 2), in image pixels, of the crops of boxes.

    A box (n, 4) grows to the aspect of the input, then by ``BOX_PADDING``.

    Raises:
        ValueError: a box is empty or not finite.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    if not np.isfinite(boxes).all() or (sizes <= 0).any():
        bad = int(np.flatnonzero(~np.isfinite(boxes).all(1) | (sizes <= 0).any(1))[0])
        raise ValueError(
            f"boxes must be finite with x1 > x0 and y1 > y0, box {bad} is {boxes[bad]}"
        )
    aspect = input_hw[1] / input_hw[0]
    width = np.maximum(sizes[:, 0], sizes[:, 1] * aspect)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centers, BOX_PADDING * np.stack([width, width / aspect], axis=1)


def crop_matrix(boxes: np.ndarray, input_hw: tuple[int, int], *, border: int = 0) -> np.ndarray:
    """Image pixels to crop pixels (n, 2, 3), a similarity driven by the width.

    ``x_crop = (x - c_x) * W / width + W / 2``, and the same factor for y. ``border`` adds that many
    pixels of context on each side of the crop.
    """
    centers, extents = crop_extents(boxes, input_hw)
    factor = input_hw[1] / extents[:, 0]
    matrix = np.zeros((len(boxes), 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = factor
    half_wh = np.array(input_hw[::-1]) / 2
    matrix[:, :, 2] = half_wh + border - centers * factor[:, None]
    return matrix


def move_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (n, k, 2) through matrices (n, 2, 3)."""
    return points @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]


def invert(matrix: Tensor) -> Tensor:
    """The inverse maps (n, 2, 3) of (n, 2, 3)."""
    linear = torch.linalg.inv(matrix[:, :, :2])
    return torch.cat([linear, -linear @ matrix[:, :, 2:]], dim=2)


def at_stride(matrix: Tensor, stride: int) -> Tensor:
    """The same map in coordinates divided by ``stride`` (x_input = stride * x_heatmap)."""
    return torch.cat([matrix[:, :, :2], matrix[:, :, 2:] / stride], dim=2)


def similarity(scale: Tensor, rotation: Tensor, flip: Tensor, input_hw: tuple[int, int]) -> Tensor:
    """Maps (n, 2, 3) that mirror, then scale and rotate about the middle of the input, in pixels.

    Rigid at any aspect ratio, because it is written in pixels and not in normalized coordinates.

    Args:
        scale: (n) factor on the content; 2 makes the person twice as large.
        rotation: (n) degrees, clockwise on the screen (y points down).
        flip: (n) true mirrors left and right first.
        input_hw: input size; the fixed point is ((W - 1) / 2, (H - 1) / 2).
    """
    radians = rotation * (math.pi / 180)
    cos, sin = scale * torch.cos(radians), scale * torch.sin(radians)
    mirror = torch.where(flip, -1.0, 1.0)
    linear = torch.stack(
        [torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1
    )
    height, width = input_hw
    center = linear.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return torch.cat([linear, (center - linear @ center)[:, :, None]], dim=2)


def flip_keypoints(keypoints: Tensor, flip: Tensor, flip_order: tuple[int, ...]) -> Tensor:
    """Swap left and right channels (n, k, ...) of the people whose ``flip`` (n) is true."""
    condition = flip.reshape(-1, *[1] * (keypoints.ndim - 1))
    return torch.where(condition, keypoints[:, list(flip_order)], keypoints)


def sampling_grid(matrix: Tensor, source_hw: tuple[int, int], out_hw: tuple[int, int]) -> Tensor:
    """The ``grid_sample`` grid (n, H, W, 2) that applies a source-to-output map in pixels."""
    inverse = invert(matrix)[:, None, None]
    y = torch.arange(out_hw[0], device=matrix.device, dtype=matrix.dtype)[:, None, None]
    x = torch.arange(out_hw[1], device=matrix.device, dtype=matrix.dtype)[:, None]
    source = inverse[..., 0] * x + inverse[..., 1] * y + inverse[..., 2]
    # grid_sample (align_corners=False) calls the outer edges of the first and last pixel -1 and 1.
    return (2 * source + 1) / matrix.new_tensor(source_hw[::-1]) - 1


def warp(images: Tensor, matrix: Tensor, out_hw: tuple[int, int] | None = None) -> Tensor:
    """Images (n, c, H, W) through source-to-output pixel maps (n, 2, 3); zeros outside.

    For heatmaps pass ``at_stride(matrix, stride)``: the same map, so labels stay on the pixels.
    """
    source_hw = (images.shape[2], images.shape[3])
    grid = sampling_grid(matrix, source_hw, out_hw or source_hw)
    return torch.nn.functional.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    )
