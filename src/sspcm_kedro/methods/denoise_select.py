"""Denoising and selecting pseudo-heatmaps (WACV 2024, arXiv 2310.00099): two students."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.fixed_views import FixedViews, read_views
from sspcm_kedro.augment.occlude import JointCutout, PatchConfig
from sspcm_kedro.batch import Batch, Unlabeled
from sspcm_kedro.config import Share
from sspcm_kedro.methods.base import (
    MakeNet,
    Method,
    MethodSettings,
    StrongView,
    freeze_statistics,
    input_hw,
    move_keypoints,
)
from sspcm_kedro.pose.geometry import warp
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse


class DenoiseSelect(Method):
    """Both students learn, of each keypoint, the one of their two targets that is less uncertain.

    Denoise: a student's heatmaps of several views are averaged; where the mean's peak reaches
    ``min_score`` the target is a Gaussian drawn anew at it, else there is none.
    Select: a target is as uncertain as the points that the *other* student sees, view by view, lie
    far from it on average; of equals student A's is taken.

    Read from the abstract alone; which views, what uncertainty and what strong view is our reading,
    not verified against the authors' code.

    Args:
        make_net: builds teacher A (0) and teacher B (1), both students here.
        codec: heatmaps to keypoints and back.
        affine: the strong view, one similarity for both.
        cutout: Joint Cutout at the selected keypoints, drawn for each.
        views: what is averaged.
        min_score: of a mean heatmap's peak.
        weight: of the consistency losses.
    """

    deployed = "teacher_a"
    labelers = ("teacher_a", "teacher_b")

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, cutout: JointCutout,
        views: FixedViews, min_score: float, weight: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.networks = nn.ModuleDict({name: make_net(i) for i, name in enumerate(self.labelers)})
        self.codec, self.affine, self.cutout, self.views = codec, affine, cutout, views
        self.min_score, self.weight = min_score, weight

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled = batch.unlabeled
        losses = self.losses(supervised=1.0, consistency=self.weight)
        self.add_supervised(losses, batch.labeled)
        if unlabeled is None:
            return losses.scalars()
        keypoints, uncertainty = self.select(*self.denoise(unlabeled))
        kept = unlabeled.weights * uncertainty.isfinite()
        theta, _ = self.affine.sample(len(kept), input_hw(unlabeled.images), rng)
        target, shown = move_keypoints(self.codec, keypoints, theta, input_hw(unlabeled.images))
        for name, net in self.networks.items():
            hard = self.cutout(unlabeled.images, keypoints, kept, rng)
            losses.add(name, consistency=keypoint_mse(net(warp(hard, theta)), target, kept * shown))
        return {**losses.scalars(), "kept": kept.sum() / unlabeled.weights.sum()}

    @torch.no_grad()
    def denoise(self, unlabeled: Unlabeled) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Of each student the points (b, k, 2) of its mean heatmaps and their scores (b, k), and
        the points (views, b, k, 2) that it sees on each view; input pixels of the weak view."""
        points, scores, each = [], [], []
        for net in self.networks.values():
            with freeze_statistics(net):
                found, mean = read_views(
                    net, unlabeled.images, self.views, self.codec, unlabeled.flip_order
                )
            xy, score = self.codec.decode(mean)
            points.append(xy)
            scores.append(score)
            each.append(self.codec.decode(found.flatten(0, 1))[0].reshape(len(found), *xy.shape))
        return points, scores, each

    def select(
        self, points: Sequence[Tensor], scores: Sequence[Tensor], each: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Per keypoint the less uncertain target (b, k, 2), and its uncertainty (b, k) in input
        pixels, infinite where neither student is sure."""
        uncertainty = [
            (others - xy).norm(dim=3).mean(dim=0).masked_fill(score < self.min_score, torch.inf)
            for xy, score, others in zip(points, scores, reversed(each), strict=True)
        ]
        second = uncertainty[1] < uncertainty[0]
        chosen = torch.where(second[..., None], points[1], points[0])
        return chosen, torch.minimum(*uncertainty)


class DenoiseSelectConfig(MethodSettings):
    """The numbers of denoising and selecting."""

    labels_read = frozenset()
    kind: Literal["denoise_select"]
    affine: StrongView = AffineConfig()
    cutout: PatchConfig = PatchConfig(patches=5)
    views: FixedViews = FixedViews(rotations=(-20.0, 20.0))
    min_score: Share = Field(default=0.3, description="a mean heatmap's peak counts from here on")
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the consistency losses")

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> DenoiseSelect:
        return DenoiseSelect(
            make_net, codec, self.affine.build(), self.cutout.cutout(), self.views,
            self.min_score, self.weight,
        )  # fmt: skip
