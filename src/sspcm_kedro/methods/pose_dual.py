"""PoseDual (Xie, Wang, Wu and Wang, ICCV 2021): two networks teach each other."""

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


class PoseDual(Method):
    """Each network learns, on a view cut out at the other's keypoints, what the other saw.

    Args:
        make_net: builds network A (0) and B (1).
        codec: heatmaps to keypoints.
        affine: the strong view, shared by both.
        cutout: Joint Cutout at the other network's peaks.
        weight: of the consistency losses.
    """

    deployed = "teacher_a"
    labelers = ("teacher_a", "teacher_b")

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
        self.networks = nn.ModuleDict({"teacher_a": make_net(0), "teacher_b": make_net(1)})
        self.codec = codec
        self.affine, self.cutout, self.weight = affine, cutout, weight

    def training_step(self, batch: Batch, rng: Generator) -> dict[str, Tensor]:
        unlabeled, nets = batch.unlabeled, self.networks.values()
        losses = self.sum_losses("supervised", self.supervised_losses(batch.labeled), weight=0.5)
        if unlabeled is None:
            return losses
        seen = pseudo_heatmaps(nets, unlabeled.images)
        theta, _ = self.affine.sample(len(seen[0]), input_hw(unlabeled.images), rng)
        consistency = []
        for net, pseudo in zip(nets, reversed(seen), strict=True):
            keypoints = self.codec.peaks(pseudo)
            hard = self.cutout(unlabeled.images, keypoints, unlabeled.weights, rng)
            target = self.codec.warp(pseudo, theta)
            consistency.append(keypoint_mse(net(warp(hard, theta)), target, unlabeled.weights))
        return losses | self.sum_losses("consistency", consistency, self.weight)


class PoseDualConfig(MethodSettings):
    """PoseDual's numbers: two networks."""

    kind: Literal["pose_dual"]
    affine: AffineConfig = AffineConfig()
    cutout: PatchConfig = PatchConfig(patches=5)
    weight: float = Field(default=1.0, gt=0, description="of the consistency loss")

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> PoseDual:
        return PoseDual(
            make_net,
            codec,
            affine=self.affine.build(),
            cutout=self.cutout.cutout(),
            weight=self.weight,
        )
