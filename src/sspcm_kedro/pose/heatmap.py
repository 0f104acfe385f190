"""Keypoints in input pixels to heatmaps in cells, and back."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor
from torch.nn import functional

from sspcm_kedro.pose.geometry import at_stride, in_order, vector, warp

Refinement = Literal["none", "shift", "dark", "parabola"]
"""From the highest cell to a point between cells (``decode_heatmaps``)."""


@dataclass(frozen=True)
class HeatmapCodec:
    """Keypoints to heatmaps and back, with the settings of both ways.

    Attributes:
        stride: input pixels a cell.
        sigma: standard deviation of the target Gaussian, in cells.
        sub_cell: centers Gaussians exactly; false rounds to cells, as published.
        refinement: from the highest cell to a point between cells (``decode_heatmaps``).
        blur: side of DARK's kernel in cells, odd; None fits it to sigma. Other refinements do not
            read it.
    """

    stride: int = 4
    sigma: float = 2.0
    sub_cell: bool = False
    refinement: Refinement = "shift"
    blur: int | None = None

    @property
    def kernel(self) -> int:
        """Side of DARK's kernel, in cells."""
        return dark_kernel(self.sigma) if self.blur is None else self.blur

    def heatmap_hw(self, input_hw: tuple[int, int]) -> tuple[int, int]:
        """Heatmap size (height, width) in cells, of an input size in pixels."""
        return input_hw[0] // self.stride, input_hw[1] // self.stride

    def encode(
        self, keypoints: Float[Tensor, "b k 2"], visibility: Real[Tensor, "b k"],
        input_hw: tuple[int, int],
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"]]:  # fmt: skip
        """Targets and weights of keypoints in input pixels (``encode_heatmaps``)."""
        return encode_heatmaps(
            keypoints, visibility, self.heatmap_hw(input_hw),
            stride=self.stride, sigma=self.sigma, sub_cell=self.sub_cell,
        )  # fmt: skip

    def decode(
        self, heatmaps: Float[Tensor, "b k h w"]
    ) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
        """Keypoints in input pixels, and their scores (``decode_heatmaps``)."""
        refinement, blur = self.refinement, self.kernel
        return decode_heatmaps(heatmaps, stride=self.stride, refinement=refinement, blur=blur)

    def unmirror(
        self, heatmaps: Float[Tensor, "b k h w"], flip_order: tuple[int, ...]
    ) -> Float[Tensor, "b k h w"]:
        """Heatmaps of mirrored images, as those of the images themselves (``flip_back``).

        Mirroring pixels puts x at W - 1 - x, mirroring cells at stride * (w - 1) - x: the map lies
        (stride - 1) / stride cells too far to the left. Where Gaussians are rounded to cells, as
        published, it moves by a whole cell, as published, which leaves the mean of both views half
        an input pixel too far to the right.
        """
        shift = (self.stride - 1) / self.stride if self.sub_cell else 1.0
        return flip_back(heatmaps, flip_order, shift)

    def peaks(self, heatmaps: Float[Tensor, "b k h w"]) -> Int[Tensor, "b k 2"]:
        """Centers of the highest cells, in whole input pixels: where augmentation aims."""
        return peaks(heatmaps)[0] * self.stride

    def warp(
        self, heatmaps: Float[Tensor, "b k h w"], matrix: Float[Tensor, "b 2 3"]
    ) -> Float[Tensor, "b k h w"]:
        """Heatmaps moved as their images are, by source-to-output maps in input pixels."""
        return warp(heatmaps, at_stride(matrix, self.stride))


def encode_heatmaps(
    keypoints: Float[Tensor, "b k 2"], visibility: Real[Tensor, "b k"],
    heatmap_hw: tuple[int, int], *, stride: int, sigma: float, sub_cell: bool = False,
) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"]]:  # fmt: skip
    """Target heatmaps of keypoints, and weights: 1 where a keypoint teaches, else 0.

    An unnormalized Gaussian of peak 1 about the nearest cell, on a square of 3 sigma either side,
    without circular cut-off. A keypoint that is not labeled, or whose square misses every cell of
    the map, has weight 0 and an empty map. (With rounded centers, as published, one exactly a cell
    beyond the reach on the left or above keeps weight 1.)

    Source: the encoding of SimpleBaseline (Xiao, Wu and Wei, ECCV 2018).

    Args:
        keypoints: (x, y) in input pixels.
        visibility: above 0 where labeled.
        heatmap_hw: size of the heatmaps, in cells.
        stride: input pixels a cell.
        sigma: standard deviation of the Gaussian, in cells.
        sub_cell: center it on the exact position (the unbiased encoding of DARK, Zhang et al., CVPR
            2020) instead of on the nearest cell: rounding costs up to half a cell an axis.
    """
    height, width = heatmap_hw
    center = keypoints / stride
    if not sub_cell:
        center = torch.trunc(center + 0.5)
    reach = 3 * sigma

    def profile(axis: int, size: int) -> Float[Tensor, "b k cells"]:
        cells = torch.arange(size, device=center.device, dtype=center.dtype)
        offset = cells - center[..., axis, None]
        return torch.exp(-(offset**2) / (2 * sigma**2)) * (offset.abs() <= reach)

    across, down = profile(0, width), profile(1, height)
    if sub_cell:
        meets = (across > 0).any(dim=2) & (down > 0).any(dim=2)
    else:
        sizes = vector((width, height), center)
        meets = ((center - reach < sizes) & (center + reach + 1 >= 0)).all(dim=2)
    weights = ((visibility > 0) & meets).to(center.dtype)
    heatmaps = down[..., :, None] * across[..., None, :]
    return heatmaps * weights[..., None, None], weights


def peaks(
    heatmaps: Float[Tensor, "b k h w"],
) -> tuple[Int[Tensor, "b k 2"], Float[Tensor, "b k"]]:
    """Highest cells as (x, y), in whole cells, and their values; of equals the first in rows.

    On a CPU numpy's argmax is several times faster than torch's and returns the same cell; an
    exported graph and a compiled one have torch's.
    """
    flat = heatmaps.flatten(2)
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if flat.device.type == "cpu" and not (tracing or torch.compiler.is_compiling()):
        index = torch.from_numpy(np.argmax(flat.detach().numpy(), axis=2))
    else:
        index = flat.argmax(dim=2)
    scores = flat.gather(2, index[..., None])[..., 0]
    width = heatmaps.shape[3]
    return torch.stack([index % width, index // width], dim=2), scores


def decode_heatmaps(
    heatmaps: Float[Tensor, "b k h w"], *, stride: int, refinement: Refinement = "shift",
    blur: int = 11,
) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:  # fmt: skip
    """Keypoints (x, y) in input pixels, and scores: the heatmaps' maxima.

    A map without a positive cell gives the point (0, 0).

    Args:
        heatmaps: network outputs.
        stride: input pixels a cell.
        refinement: ``shift`` moves a quarter cell towards the higher neighbor; ``dark`` is the
            Taylor step of DARK (Zhang et al. 2020) on the blurred logarithm; ``parabola`` fits the
            logarithm of three cells an axis, which is exact on a Gaussian of any sigma, and stays
            at the cell's center along an axis where one of them is off the map; ``none`` always
            does.
        blur: side of DARK's kernel in cells (``dark_kernel``).
    """
    cells, scores = peaks(heatmaps)
    offset = torch.zeros_like(cells, dtype=heatmaps.dtype)
    if refinement == "shift":
        offset = _quarter_shift(heatmaps, cells)
    elif refinement == "dark":
        offset = _dark_shift(heatmaps, cells, blur)
    elif refinement == "parabola":
        offset = _parabola_shift(heatmaps, cells)
    keypoints = (cells + offset) * stride
    return torch.where((scores > 0)[..., None], keypoints, torch.zeros_like(keypoints)), scores


def dark_kernel(sigma: float) -> int:
    """The side of DARK's kernel for a sigma, both in cells: the published 11 for 2, 17 for 3."""
    return max(3, 2 * round(3 * sigma - 1) + 1)


def _inside(cells: Int[Tensor, "b k 2"], hw: torch.Size, border: int) -> Bool[Tensor, "b k"]:
    """Whether 1 < x < w - border, and the same for y."""
    size = vector((hw[1], hw[0]), cells)
    return ((cells > 1) & (cells < size - border)).all(dim=2)


def _neighbors(
    heatmaps: Float[Tensor, "b k h w"], cells: Int[Tensor, "b k 2"], offsets: list[tuple[int, int]]
) -> Float[Tensor, "b k offsets"]:
    """Values at cells + offsets (x, y), clamped to the map."""
    height, width = heatmaps.shape[2:]
    across, down = (vector(axis, cells) for axis in zip(*offsets, strict=True))
    x = (cells[..., None, 0] + across).clamp(0, width - 1)
    y = (cells[..., None, 1] + down).clamp(0, height - 1)
    return heatmaps.flatten(2).gather(2, y * width + x)


def _quarter_shift(
    heatmaps: Float[Tensor, "b k h w"], cells: Int[Tensor, "b k 2"]
) -> Float[Tensor, "b k 2"]:
    at = _neighbors(heatmaps, cells, [(1, 0), (-1, 0), (0, 1), (0, -1)]).unbind(dim=2)
    shift = 0.25 * torch.stack([at[0] - at[1], at[2] - at[3]], dim=2).sign()
    return shift * _inside(cells, heatmaps.shape[2:], 1)[..., None]


def _dark_shift(
    heatmaps: Float[Tensor, "b k h w"], cells: Int[Tensor, "b k 2"], blur: int
) -> Float[Tensor, "b k 2"]:
    log = torch.log(_blur(heatmaps, blur).clamp_min(1e-10))
    ring = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (2, 0), (-2, 0), (0, 2), (0, -2)]
    corners = [(1, 1), (-1, 1), (1, -1), (-1, -1)]
    at = _neighbors(log, cells, ring + corners).unbind(dim=2)
    dx, dy = 0.5 * (at[1] - at[2]), 0.5 * (at[3] - at[4])
    dxx, dyy = 0.25 * (at[5] - 2 * at[0] + at[6]), 0.25 * (at[7] - 2 * at[0] + at[8])
    dxy = 0.25 * (at[9] - at[10] - at[11] + at[12])
    determinant = dxx * dyy - dxy**2
    solvable = (determinant != 0) & _inside(cells, heatmaps.shape[2:], 2)
    safe = torch.where(solvable, determinant, torch.ones_like(determinant))
    shift = -torch.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], dim=2) / safe[..., None]
    return shift * solvable[..., None]


def _parabola_shift(
    heatmaps: Float[Tensor, "b k h w"], cells: Int[Tensor, "b k 2"]
) -> Float[Tensor, "b k 2"]:
    """Vertex of the parabola through log-values at -1, 0 and 1, at most half a cell away; 0 along
    an axis on which the cell lies at the border."""
    log = torch.log(heatmaps.clamp_min(1e-3))  # what is fainter than a thousandth is noise
    at = _neighbors(log, cells, [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]).unbind(dim=2)
    slope = 0.5 * torch.stack([at[1] - at[2], at[3] - at[4]], dim=2)
    curvature = torch.stack([at[1] + at[2], at[3] + at[4]], dim=2) - 2 * at[0][..., None]
    shift = (-slope / curvature.clamp_max(-1e-3)).clamp(-0.5, 0.5)
    last = vector((heatmaps.shape[3] - 1, heatmaps.shape[2] - 1), cells)
    return shift * ((cells > 0) & (cells < last))


def _blur(heatmaps: Float[Tensor, "b k h w"], size: int) -> Float[Tensor, "b k h w"]:
    """Gaussian blur with zero border, each map rescaled to its old maximum."""
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8  # the sigma that OpenCV derives from a kernel size
    x = torch.arange(size, device=heatmaps.device, dtype=heatmaps.dtype) - (size - 1) / 2
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum())[None, None]
    flat = heatmaps.flatten(0, 1)[:, None]
    blurred = functional.conv2d(flat, kernel[:, :, None], padding=(0, size // 2))
    blurred = functional.conv2d(blurred, kernel[:, :, :, None], padding=(size // 2, 0))
    blurred = blurred.reshape(heatmaps.shape)
    highest = blurred.amax(dim=(2, 3), keepdim=True).clamp_min(1e-10)
    return blurred * heatmaps.amax(dim=(2, 3), keepdim=True) / highest


def flip_back(
    heatmaps: Float[Tensor, "b k h w"], flip_order: tuple[int, ...], shift: float
) -> Float[Tensor, "b k h w"]:
    """Heatmaps of mirrored images, in the frame and with the channels of the unmirrored ones.

    Args:
        heatmaps: of the mirrored images.
        flip_order: which keypoint each one is in a mirrored image.
        shift: cells to the right, at most 1, interpolated; the first column is kept.

    Source: ``SHIFT_HEATMAP`` of SimpleBaseline and HRNet, by a whole cell; why that is too far: the
    unbiased data processing of Huang et al., CVPR 2020.
    """
    mirrored = in_order(heatmaps.flip(3), flip_order)
    right = torch.cat([mirrored[..., :1], mirrored[..., :-1]], dim=3)
    return shift * right + (1 - shift) * mirrored
