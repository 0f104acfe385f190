"""DataDistill (Radosavovic et al., CVPR 2018, as a baseline of Xie et al., ICCV 2021)."""

from typing import Literal

import torch
from torch import Tensor

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.fixed_views import FixedViews, read_views
from sspcm_kedro.batch import Unlabeled
from sspcm_kedro.methods.base import MakeNet
from sspcm_kedro.methods.pseudo_pose import PseudoPose, TwoStageSettings
from sspcm_kedro.pose.heatmap import HeatmapCodec


class DataDistill(PseudoPose):
    """PseudoPose whose frozen teacher looks several times: scaled, mirrored, rotated if asked.

    Its heatmaps of all views are mapped back and averaged. Which views the authors took is our
    reading, not verified against their code.

    Args:
        make_net, codec, affine, weight: of ``PseudoPose``.
        views: what the teacher looks at.
    """

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, weight: float,
        views: FixedViews,
    ) -> None:  # fmt: skip
        super().__init__(make_net, codec, affine, weight)
        self.views = views

    @torch.no_grad()
    def teacher_heatmaps(self, unlabeled: Unlabeled) -> Tensor:
        """The mean of what the teacher sees on all views, (b, k, h, w)."""
        images, flip_order = unlabeled.images, unlabeled.flip_order
        return read_views(self.predict, images, self.views, self.codec, flip_order)[1]


class DataDistillConfig(TwoStageSettings):
    """DataDistill's numbers."""

    kind: Literal["data_distill"]
    views: FixedViews = FixedViews(scales=(0.7, 0.9, 1.1, 1.3))

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> DataDistill:
        affine = self.affine.build()
        return DataDistill(make_net, codec, affine, self.weight, self.views)
