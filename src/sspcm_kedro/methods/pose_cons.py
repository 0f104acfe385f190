"""PoseCons (Xie, Wang, Wu and Wang, ICCV 2021): one network, easy view teaches hard view."""

from typing import Literal

from pydantic import Field
from torch import Generator, Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.occlude import JointCutout, PatchConfig
from sspcm_kedro.batch import Batch
from sspcm_kedro.methods.base import MakeNet, Method, MethodSettings, input_hw, pseudo_heatmaps
from sspcm_kedro.pose.geometry import warp
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse


class PoseCons(Method):
    """The network learns, on a cut-out and warped view, what it saw on the weak view.

    Args:
        make_net: builds the network.
        codec: heatmaps to keypoints.
        affine: the strong view.
        cutout: Joint Cutout at the network's own peaks.
        weight: of the consistency loss.
    """

    deployed = "student"
    labelers = ("student",)

    def __init__(
        self,
        make_net: MakeNet,
        codec: HeatmapCodec,
        *,
        affine: RandomAffine,
        cutout: JointCutout,
        weight: float,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"student": make_net(2)})
        self.codec = codec
        self.affine, self.cutout, self.weight = affine, cutout, weight

    def training_step(self, batch: Batch, rng: Generator) -> dict[str, Tensor]:
        net, unlabeled = self.networks["student"], batch.unlabeled
        losses = self.sum_losses("supervised", self.supervised_losses(batch.labeled))
        if unlabeled is None:
            return losses
        (pseudo,) = pseudo_heatmaps([net], unlabeled.images)
        theta, _ = self.affine.sample(len(pseudo), input_hw(unlabeled.images), rng)
        hard = self.cutout(unlabeled.images, self.codec.peaks(pseudo), unlabeled.weights, rng)
        target = self.codec.warp(pseudo, theta)
        loss = keypoint_mse(net(warp(hard, theta)), target, unlabeled.weights)
        return losses | self.sum_losses("consistency", [loss], self.weight)


class PoseConsConfig(MethodSettings):
    """PoseCons's numbers: one network."""

    kind: Literal["pose_cons"]
    affine: AffineConfig = AffineConfig()
    cutout: PatchConfig = PatchConfig(patches=5)
    weight: float = Field(default=1.0, gt=0, description="of the consistency loss")

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> PoseCons:
        return PoseCons(
            make_net,
            codec,
            affine=self.affine.build(),
            cutout=self.cutout.cutout(),
            weight=self.weight,
        )
