"""ScarceNet (Li and Lee, CVPR 2023, arXiv 2303.15023): of small-loss and agreed pseudo-labels."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.occlude import JointCutout, PatchConfig
from sspcm_kedro.batch import Batch
from sspcm_kedro.methods.base import (
    MakeNet,
    Method,
    MethodSettings,
    StrongView,
    input_hw,
    move_keypoints,
    pseudo_heatmaps,
)
from sspcm_kedro.pose.geometry import warp
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse

SUPERVISED_WEIGHT = 2.0
"""Labels count twice as much as pseudo-labels."""


class ScarceNet(Method):
    """One network learns pseudo-labels of its moving average, keypoint by keypoint, of three kinds.

    1. Those of smallest loss in the batch are taken as they are: Gaussians at the average's points.
    2. Of the others, where network and average lie close on the weak view: Gaussians between them.
    3. What is left is only followed: the loss is towards the average's heatmap.

    Our reading, not verified against the authors' code: there is no schedule (they let the share
    that is kept fall and the weight of consistency rise at the start, where here is the warm-up),
    the average labels anew in each step, and the two views that must agree are the two networks'.

    Args:
        make_net: builds the student (2).
        codec: heatmaps to keypoints and back.
        affine: the strong view.
        cutout: Joint Cutout at the average's peaks.
        keep: share of a keypoint's people in a batch whose losses are small.
        max_distance: between two points that agree, as a share of the input's diagonal.
        weight: of the loss on pseudo-labels.
        consistency_weight: of the loss on what is only followed.
    """

    deployed = "student"
    labelers = ("student",)

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, cutout: JointCutout,
        keep: float, max_distance: float, weight: float, consistency_weight: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.networks = nn.ModuleDict({"student": make_net(2)})
        self.codec, self.affine, self.cutout = codec, affine, cutout
        self.keep, self.max_distance = keep, max_distance
        self.weight, self.consistency_weight = weight, consistency_weight

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled, student = batch.unlabeled, self.networks["student"]
        losses = self.losses(
            supervised=SUPERVISED_WEIGHT, pseudo=self.weight, consistency=self.consistency_weight
        )
        self.add_supervised(losses, batch.labeled)
        if unlabeled is None:
            return losses.scalars()
        images, weights, hw = unlabeled.images, unlabeled.weights, input_hw(unlabeled.images)
        average = self.averaged_networks()["student"]
        taught, seen = pseudo_heatmaps([average, student], images)
        first, second = self.codec.decode(taught)[0], self.codec.decode(seen)[0]
        theta, _ = self.affine.sample(len(images), hw, rng)
        hard = self.cutout(images, self.codec.peaks(taught), weights, rng)
        predicted = student(warp(hard, theta))

        own, shown = move_keypoints(self.codec, first, theta, hw)
        small = smallest((predicted.detach() - own).square().mean(dim=(2, 3)), shown > 0, self.keep)
        apart = (first - second).norm(dim=2) / (hw[0] ** 2 + hw[1] ** 2) ** 0.5
        agreed = ~small & (apart <= self.max_distance)
        between, still = move_keypoints(self.codec, (first + second) / 2, theta, hw)
        label = torch.where(small[..., None, None], own, between)
        labeled = weights * (small | agreed & (still > 0))
        followed = weights * ~(small | agreed)
        losses.add(
            "student",
            pseudo=keypoint_mse(predicted, label, labeled),
            consistency=keypoint_mse(predicted, self.codec.warp(taught, theta), followed),
        )
        return {**losses.scalars(), "kept": labeled.sum() / weights.sum()}


def smallest(losses: Tensor, counted: Tensor, keep: float) -> Tensor:
    """Which people's losses (b, k) of each keypoint are among the smallest ``keep`` of those that
    are ``counted`` (b, k), rounded; of equals the first."""
    order = losses.masked_fill(~counted, torch.inf).argsort(dim=0, stable=True)
    rank = order.argsort(dim=0, stable=True)
    return counted & (rank < (keep * counted.sum(dim=0)).round())


class ScarceNetConfig(MethodSettings):
    """ScarceNet's numbers."""

    labels_read = frozenset()
    reads_averages = True
    kind: Literal["scarce_net"]
    affine: StrongView = AffineConfig()
    cutout: PatchConfig = PatchConfig(patches=0)
    keep: float = Field(
        default=0.8, gt=0, le=1, description="share of each keypoint's losses that are small"
    )
    max_distance: float = Field(
        default=0.05, gt=0, le=1,
        description="of two points that agree, as a share of the input's diagonal",
    )  # fmt: skip
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the loss on pseudo-labels")
    consistency_weight: float = Field(
        default=2.0, gt=0, le=1000, description="of the loss on what is neither small nor agreed on"
    )

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> ScarceNet:
        return ScarceNet(
            make_net, codec, self.affine.build(), self.cutout.cutout(), self.keep,
            self.max_distance, self.weight, self.consistency_weight,
        )  # fmt: skip
