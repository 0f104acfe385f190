"""UBPL (github.com/Qi2019KB/UBPL-PoseEstimation): two networks and their averages, where sure."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.occlude import JointCutout, PatchConfig
from sspcm_kedro.batch import Batch
from sspcm_kedro.config import Share
from sspcm_kedro.methods.base import (
    MakeNet,
    Method,
    MethodSettings,
    StrongView,
    input_hw,
    pseudo_heatmaps,
)
from sspcm_kedro.pose.geometry import warp
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse


class UBPL(Method):
    """Both networks learn the mean heatmap of both moving averages, where all are sure of it.

    A keypoint counts for a network where the peak of its own prediction and that of the target,
    both in the strong view, reach ``min_score``. The recipe is that of the authors' public
    code. Our reading, not verified against the authors' code: the strong view
    (one similarity for both, Joint Cutout drawn for each) and the weights of the losses. Their
    distance between the covariances of both networks' features is left out: a network here is
    asked for heatmaps alone.

    Args:
        make_net: builds teacher A (0) and teacher B (1), both trained.
        codec: heatmaps to keypoints.
        affine: the strong view.
        cutout: Joint Cutout at the peaks of the target.
        min_score: of both peaks.
        weight: of the consistency losses.
    """

    deployed = "teacher_a"
    labelers = ("teacher_a", "teacher_b")

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, cutout: JointCutout,
        min_score: float, weight: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.networks = nn.ModuleDict({name: make_net(i) for i, name in enumerate(self.labelers)})
        self.codec, self.affine, self.cutout = codec, affine, cutout
        self.min_score, self.weight = min_score, weight

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled = batch.unlabeled
        losses = self.losses(supervised=1.0, consistency=self.weight)
        self.add_supervised(losses, batch.labeled)
        if unlabeled is None:
            return losses.scalars()
        seen = pseudo_heatmaps(self.averaged_networks().values(), unlabeled.images)
        mean = torch.stack(seen).mean(dim=0)
        theta, _ = self.affine.sample(len(mean), input_hw(unlabeled.images), rng)
        target, keypoints = self.codec.warp(mean, theta), self.codec.peaks(mean)
        kept = []
        for name, net in self.networks.items():
            hard = self.cutout(unlabeled.images, keypoints, unlabeled.weights, rng)
            predicted = net(warp(hard, theta))
            sure = torch.minimum(highest(predicted.detach()), highest(target)) >= self.min_score
            kept.append(unlabeled.weights * sure)
            losses.add(name, consistency=keypoint_mse(predicted, target, kept[-1]))
        share = torch.stack(kept).mean(dim=0).sum() / unlabeled.weights.sum()
        return {**losses.scalars(), "kept": share}


def highest(heatmaps: Tensor) -> Tensor:
    """The maximum of each heatmap, (b, k)."""
    return heatmaps.amax(dim=(2, 3))


class UBPLConfig(MethodSettings):
    """UBPL's numbers."""

    labels_read = frozenset()
    reads_averages = True
    kind: Literal["ubpl"]
    affine: StrongView = AffineConfig()
    cutout: PatchConfig = PatchConfig(patches=5)
    min_score: Share = Field(
        default=0.5, description="a keypoint counts where prediction and target peak at least here"
    )
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the consistency losses")

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> UBPL:
        affine, cutout = self.affine.build(), self.cutout.cutout()
        return UBPL(make_net, codec, affine, cutout, self.min_score, self.weight)
