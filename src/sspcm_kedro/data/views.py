"""How a person is shown to a network: its crop, the weak view of it, and the heatmaps."""

from collections.abc import Callable
from typing import Annotated

import torch
from jaxtyping import Float, UInt8
from pydantic import Field, model_validator
from torch import Tensor

from sspcm_kedro.augment.affine import AffineConfig
from sspcm_kedro.config import Settings, Share
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.stored_crops import StoredCrops
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig, to_device
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.pose.geometry import BOX_PADDING, CropFrame, vector, warp
from sspcm_kedro.pose.heatmap import HeatmapCodec, Refinement

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's statistics of red, green and blue in 0..1, which pretrained backbones expect."""


Side = Annotated[int, Field(ge=1, le=2048)]
"""Of a crop, in input pixels."""


class ViewConfig(Settings):
    """The crop of a person, its heatmaps, and the weak view.

    The defaults of ``weak`` are those of the published code.
    """

    input_hw: tuple[Side, Side] = Field(
        default=(64, 48), description="(height, width) of a person's crop, in input pixels"
    )
    padding: float = Field(
        default=BOX_PADDING,
        ge=0.5,
        le=4,
        description="factor on both sides of a person's box, grown to the input's aspect; the "
        "default is SimpleBaseline's",
    )
    border: int = Field(
        default=12,
        ge=0,
        le=1024,
        description="input pixels of context that weak views may turn into",
    )
    stride: int = Field(default=4, ge=1, le=64, description="input pixels a heatmap cell")
    sigma: float = Field(
        default=1.0,
        gt=0,
        description="standard deviation of the target Gaussian, in heatmap cells; at most half of "
        "the heatmap's longer side",
    )
    sub_cell: bool = Field(
        default=True, description="Gaussians centered exactly; false rounds to cells, as published"
    )
    refinement: Refinement = Field(
        default="parabola",
        description="from heatmap cells to input pixels, of predictions",
    )
    blur: int | None = Field(
        default=None,
        ge=3,
        le=255,
        description="DARK's kernel, odd; null fits it to sigma, the published code has 11 always",
    )
    weak: AffineConfig = AffineConfig(
        scale=0.25, rotation=30, rotation_probability=0.6, flip_probability=0.5
    )
    color: Share = Field(
        default=0.0,
        description="brightness, contrast and saturation of training views vary by this share",
    )

    @model_validator(mode="after")
    def _fits(self) -> "ViewConfig":
        cells = max(self.input_hw) / self.stride
        if self.sigma > cells / 2:
            raise ValueError(
                f"sigma must be at most half of the heatmap's {cells:g} cells, got {self.sigma}"
            )
        if self.blur is not None and self.blur % 2 == 0:
            raise ValueError(f"blur must be odd, got {self.blur}")
        return self

    def check(self, network: NetworkConfig) -> None:
        """Refuse an input or a stride that the network does not have.

        Raises:
            BadInput: says by what the sides must be divisible, or which strides there are.
        """
        for chosen in map(network.of, ROLES):
            if any(size % chosen.multiple for size in self.input_hw):
                rule = f"both sides must be multiples of {chosen.multiple} for a {chosen.kind}"
                near = [max(1, round(s / chosen.multiple)) * chosen.multiple for s in self.input_hw]
                remedy = f"Change view.input_hw, e.g. to {near}."
                raise BadInput(f"view.input_hw {self.input_hw}", rule, remedy)
            if self.stride not in chosen.strides:
                rule = f"must be one of {list(chosen.strides)} for a {chosen.kind}"
                near = min(chosen.strides, key=lambda stride: abs(stride - self.stride))
                remedy = f"Change view.stride, e.g. to {near}."
                raise BadInput(f"view.stride {self.stride}", rule, remedy)

    @property
    def mirrors(self) -> bool:
        """Whether training shows people mirrored, too. Strong views never mirror."""
        return self.weak.flip_probability > 0

    @property
    def frame(self) -> CropFrame:
        """The crop of a person."""
        return CropFrame(self.input_hw, self.padding)

    @property
    def codec(self) -> HeatmapCodec:
        """Keypoints to heatmaps and back."""
        return HeatmapCodec(self.stride, self.sigma, self.sub_cell, self.refinement, self.blur)


def crops_of(
    people: Instances, view: ViewConfig, machine: MachineConfig, stored: StoredCrops | None = None
) -> Crops:
    """The pixels of people, read once and kept if the machine's limit allows; from the stored
    crops, where there are such."""
    return Crops(
        people, view.frame, border=view.border, workers=machine.decoders,
        memory=int(machine.crop_memory_gib * 2**30), stored=stored,
    )  # fmt: skip


def weak_view(
    crops: UInt8[Tensor, "b 3 _ _"], input_hw: tuple[int, int], matrix: Float[Tensor, "b 2 3"],
    device: torch.device, recolor: Callable[[Tensor], Tensor] = lambda pixels: pixels,
) -> Float[Tensor, "b 3 H W"]:  # fmt: skip
    """Normalized views of crops through maps from canonical input pixels to those of the view.

    Outside the crop is black, before normalization, as in the loaders of the field.

    Args:
        crops: of people, with their border.
        input_hw: (height, width) of the views.
        matrix: the maps.
        device: where the views are made.
        recolor: changes the pixels, RGB in 0..1 (b, 3, H, W), before they are normalized.
    """
    pixels = to_device(crops, device).contiguous().float().div_(255)
    border = (crops.shape[2] - input_hw[0]) // 2
    shift = matrix[:, :, :2].sum(dim=2) * border  # the border moves the crop's origin
    matrix = torch.cat([matrix[:, :, :2], (matrix[:, :, 2] - shift)[..., None]], dim=2)
    views = recolor(warp(pixels, matrix, input_hw))
    return normalize(views).contiguous(memory_format=torch.channels_last)


def plain_view(
    crops: UInt8[Tensor, "b 3 _ _"], input_hw: tuple[int, int], device: torch.device
) -> Float[Tensor, "b 3 H W"]:
    """Normalized crops as they are: a weak view through the identity, but cheaper."""
    pixels = plain_pixels(to_device(crops, device), input_hw)
    return normalize(pixels.float().div_(255)).contiguous(memory_format=torch.channels_last)


def plain_pixels(
    crops: UInt8[Tensor, "b 3 _ _"], input_hw: tuple[int, int]
) -> UInt8[Tensor, "b 3 H W"]:
    """Crops without their border, RGB."""
    (height, width), border = input_hw, (crops.shape[2] - input_hw[0]) // 2
    return crops[:, :, border : border + height, border : border + width]


def normalize(images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 H W"]:
    """Images of RGB in 0..1, standardized by ImageNet's statistics."""
    mean, std = (vector(v, images)[None, :, None, None] for v in (MEAN, STD))
    return (images - mean).div_(std)
