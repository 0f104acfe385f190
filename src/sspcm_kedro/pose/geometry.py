"""Boxes to crops and back: every map between image pixels, input pixels and cells is a matrix.

A (2, 3) matrix M maps a point (x, y) to M[:, :2] (x, y) + M[:, 2].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Real, Shaped
from torch import Tensor

BOX_PADDING = 1.25
"""Factor on both sides of a person's box, for context, as in SimpleBaseline."""


@dataclass(frozen=True)
class CropFrame:
    """Which region around a person's box is cut out, and at what size.

    Attributes:
        hw: (height, width) of the network's input, in input pixels.
        padding: factor on both sides of a box, once it has grown to the aspect of ``hw``.
    """

    hw: tuple[int, int]
    padding: float = BOX_PADDING

    def with_height(self, height: int) -> "CropFrame":
        """A frame of about the same region, at another height (pixels); the width is rounded."""
        return CropFrame((height, round(height * self.hw[1] / self.hw[0])), self.padding)


def crop_extents(
    boxes: Real[np.ndarray, "n 4"], frame: CropFrame
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """Centers (x, y) and padded (width, height) of the crops of boxes, all in image pixels.

    A box grows to the aspect of the frame, then by its padding.

    Raises:
        ValueError: a box is empty or not finite.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    wrong = np.flatnonzero(~np.isfinite(boxes).all(axis=1) | (sizes <= 0).any(axis=1))
    if len(wrong):
        bad = int(wrong[0])
        rule = "boxes must be finite with x1 > x0 and y1 > y0"
        raise ValueError(f"{rule}, box {bad} is {boxes[bad]}")
    aspect = frame.hw[1] / frame.hw[0]
    width = np.maximum(sizes[:, 0], sizes[:, 1] * aspect)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centers, frame.padding * np.stack([width, width / aspect], axis=1)


def crop_matrix(
    boxes: Real[np.ndarray, "n 4"], frame: CropFrame, *, border: int = 0
) -> Float[np.ndarray, "n 2 3"]:
    """Maps from image pixels to input pixels, similarities driven by the width.

    ``x_input = (x - c_x) * W / width + W / 2``, and the same factor for y.

    Args:
        boxes: in image pixels.
        frame: size of the network's input, and the padding of boxes.
        border: input pixels of context on each side of the crop; the origin moves with it.

    Raises:
        ValueError: a box is empty or not finite.
    """
    centers, extents = crop_extents(boxes, frame)
    factor = frame.hw[1] / extents[:, 0]
    matrix = np.zeros((len(boxes), 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = factor
    half_wh = np.array(frame.hw[::-1]) / 2
    matrix[:, :, 2] = half_wh + border - centers * factor[:, None]
    return matrix


def vector(values: Sequence[Any], like: Shaped[Tensor, "*any"]) -> Shaped[Tensor, " n"]:
    """The numbers as a tensor of the type and device of another.

    They are written there, one by one: a GPU would wait for a copy of them. (While a graph is
    traced for export the sizes among them are tensors.)
    """
    return torch.stack([like.new_full((), value) for value in values])


def in_order(
    keypoints: Shaped[Tensor, "n k *features"], order: Sequence[int]
) -> Shaped[Tensor, "n k *features"]:
    """Keypoints in another order, without a copy of the order to their device."""
    return torch.stack([keypoints[:, place] for place in order], dim=1)


def move_points(
    points: Float[Tensor, "n k 2"], matrix: Float[Tensor, "n 2 3"]
) -> Float[Tensor, "n k 2"]:
    """Points in the frame that the maps lead to."""
    return points @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]


def invert(matrix: Float[Tensor, "n 2 3"]) -> Float[Tensor, "n 2 3"]:
    """The inverse maps; not finite where there is none, which is not asked: a GPU would wait."""
    linear, _ = torch.linalg.inv_ex(matrix[:, :, :2])
    return torch.cat([linear, -linear @ matrix[:, :, 2:]], dim=2)


def at_stride(matrix: Float[Tensor, "n 2 3"], stride: int) -> Float[Tensor, "n 2 3"]:
    """A map of input pixels, in cells of ``stride`` pixels (x_input = stride * x_heatmap)."""
    return torch.cat([matrix[:, :, :2], matrix[:, :, 2:] / stride], dim=2)


def similarity(
    scale: Float[Tensor, " n"], rotation: Float[Tensor, " n"], flip: Bool[Tensor, " n"],
    input_hw: tuple[int, int],
) -> Float[Tensor, "n 2 3"]:  # fmt: skip
    """Maps of input pixels that mirror, then scale and rotate about the middle of the input.

    Rigid at any aspect ratio, because it is written in pixels and not in normalized coordinates.

    Args:
        scale: factor on the content; 2 makes the person twice as large.
        rotation: degrees, clockwise on the screen (y points down).
        flip: true mirrors left and right first.
        input_hw: input size in pixels; the fixed point is ((W - 1) / 2, (H - 1) / 2).
    """
    radians = rotation * (math.pi / 180)
    cos, sin = scale * torch.cos(radians), scale * torch.sin(radians)
    mirror = 1.0 - 2.0 * flip  # no where: its plain numbers are copied to a GPU
    columns = torch.stack([cos * mirror, sin * mirror], 1), torch.stack([-sin, cos], 1)
    linear = torch.stack(columns, 2)
    height, width = input_hw
    center = vector(((width - 1) / 2, (height - 1) / 2), linear)
    return torch.cat([linear, (center - linear @ center)[:, :, None]], dim=2)


def flip_keypoints(
    keypoints: Shaped[Tensor, "n k *features"], flip: Bool[Tensor, " n"],
    flip_order: tuple[int, ...],
) -> Shaped[Tensor, "n k *features"]:  # fmt: skip
    """Keypoints with left and right swapped for the people whose ``flip`` is true.

    Coordinates stay: the map that mirrors the image moves them (``similarity``).
    """
    condition = flip.reshape(-1, *[1] * (keypoints.ndim - 1))
    return torch.where(condition, in_order(keypoints, flip_order), keypoints)


def sampling_grid(
    matrix: Float[Tensor, "n 2 3"], source_hw: tuple[int, int], out_hw: tuple[int, int]
) -> Float[Tensor, "n H W 2"]:
    """The ``grid_sample`` grid, -1 to 1, that applies source-to-output maps in pixels.

    All x lie in memory before all y, and all but one step is in place: several times faster.
    """
    inverse = invert(matrix)[..., None, None]
    y = torch.arange(out_hw[0], device=matrix.device, dtype=matrix.dtype)[:, None]
    x = torch.arange(out_hw[1], device=matrix.device, dtype=matrix.dtype)
    source = inverse[:, :, 0] * x + inverse[:, :, 1] * y
    source += inverse[:, :, 2]
    # grid_sample (align_corners=False) calls the outer edges of the first and last pixel -1 and 1.
    source.mul_(2).add_(1).div_(vector(source_hw[::-1], matrix)[:, None, None]).sub_(1)
    return source.permute(0, 2, 3, 1)


def warp(
    images: Float[Tensor, "n c H W"],
    matrix: Float[Tensor, "n 2 3"],
    out_hw: tuple[int, int] | None = None,
) -> Float[Tensor, "n c out_h out_w"]:
    """Images through source-to-output maps in pixels, bilinear; zeros outside.

    Args:
        images: for heatmaps pass ``at_stride(matrix, stride)``, as ``HeatmapCodec.warp`` does: the
            same map, so labels stay on the pixels.
        matrix: in pixels of the images.
        out_hw: size of the output in pixels, by default that of the images.
    """
    source_hw = (images.shape[2], images.shape[3])
    grid = sampling_grid(matrix, source_hw, out_hw or source_hw)
    return torch.nn.functional.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    )
