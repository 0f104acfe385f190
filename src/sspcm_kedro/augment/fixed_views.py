"""One network's reading of the same images under several fixed similarities, mapped back."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from sspcm_kedro.config import Distinct, Settings
from sspcm_kedro.pose.geometry import flip_keypoints, invert, similarity, vector, warp
from sspcm_kedro.pose.heatmap import HeatmapCodec

ViewScale = Annotated[float, Field(ge=0.25, le=4)]
Angle = Annotated[float, Field(ge=-180, le=180)]


class FixedViews(Settings):
    """Every scale with every rotation, and where ``mirrored`` each of these mirrored, too."""

    scales: Annotated[tuple[ViewScale, ...], Distinct] = Field(
        default=(1.0,), min_length=1, max_length=20, description="factors; 2 is twice as large"
    )
    rotations: Annotated[tuple[Angle, ...], Distinct] = Field(
        default=(0.0,), min_length=1, max_length=20, description="degrees, clockwise on the screen"
    )
    mirrored: bool = Field(
        default=True, description="mirrored views as well, where training mirrors"
    )

    def count(self, *, mirrors: bool) -> int:
        """How many views an image has; ``mirrors`` says whether mirrored ones mean anything."""
        return len(self.scales) * len(self.rotations) * (2 if self.mirrored and mirrors else 1)

    def maps(
        self, input_hw: tuple[int, int], flip_order: tuple[int, ...] | None, device: torch.device
    ) -> tuple[Float[Tensor, "views 2 3"], list[bool]]:
        """Maps of input pixels from the image to each view, and which of them mirror.

        Args:
            input_hw: size of the images, in input pixels.
            flip_order: None where training mirrors nobody: then no view mirrors.
            device: of the maps.
        """
        flips = (False, True) if self.mirrored and flip_order is not None else (False,)
        views = [(s, r, f) for f in flips for s in self.scales for r in self.rotations]
        like = torch.empty(0, device=device)
        scale, rotation, flip = (vector(part, like) for part in zip(*views, strict=True))
        return similarity(scale, rotation, flip > 0, input_hw), [mirrors for *_, mirrors in views]


def read_views(
    predict: Callable[[Tensor], Tensor], images: Float[Tensor, "b 3 H W"], views: FixedViews,
    codec: HeatmapCodec, flip_order: tuple[int, ...] | None,
) -> tuple[Float[Tensor, "views b k h w"], Float[Tensor, "b k h w"]]:  # fmt: skip
    """Heatmaps predicted on each view, mapped back to the images, and their mean.

    A cell's mean is over the views that show it; a view has zeros where it shows nothing.

    Args:
        predict: heatmaps of images.
        images: normalized; they stay as they are.
        views: which.
        codec: of the heatmaps.
        flip_order: which keypoint each one is in a mirrored image; None mirrors nothing.

    Source: Radosavovic et al., CVPR 2018 (data distillation), section 3.
    """
    return see_views(
        lambda maps: predict(warp(images, maps)), len(images), images.shape[2:], views, codec,
        flip_order, images.device,
    )  # fmt: skip


def see_views(
    see: Callable[[Float[Tensor, "b 2 3"]], Float[Tensor, "b k h w"]], count: int,
    input_hw: Sequence[int], views: FixedViews, codec: HeatmapCodec,
    flip_order: tuple[int, ...] | None, device: torch.device,
) -> tuple[Float[Tensor, "views b k h w"], Float[Tensor, "b k h w"]]:  # fmt: skip
    """As ``read_views``, of people whom ``see`` shows to a network through any map.

    Args:
        see: heatmaps of the people through maps of input pixels, one a person.
        count: of the people, b.
        input_hw: size of a view, in input pixels.
        views: which.
        codec: of the heatmaps.
        flip_order: which keypoint each one is in a mirrored image; None mirrors nothing.
        device: of the maps.
    """
    height, width = input_hw
    maps, flips = views.maps((height, width), flip_order, device)
    found, shown = [], []
    for one, mirrors in zip(maps, flips, strict=True):
        matrix = one.expand(count, -1, -1)
        heatmaps = see(matrix)
        back = codec.warp(heatmaps, invert(matrix))
        if mirrors and flip_order is not None:
            everyone = torch.ones(count, dtype=torch.bool, device=device)
            back = flip_keypoints(back, everyone, flip_order)
        found.append(back)
        shown.append(codec.warp(torch.ones_like(heatmaps[:1, :1]), invert(matrix[:1])))
    mean = torch.stack(found).sum(dim=0) / torch.stack(shown).sum(dim=0).clamp_min(1e-6)
    return torch.stack(found), mean
