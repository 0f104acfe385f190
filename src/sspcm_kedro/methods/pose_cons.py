"""PoseCons (Xie, Wang, Wu and Wang, ICCV 2021): one network, easy view teaches hard view."""

from typing import ClassVar, Literal

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
    pseudo_heatmaps,
)
from sspcm_kedro.pose.geometry import warp
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse


class PoseCons(Method):
    """The network learns, on a cut-out and warped view, what it saw on the weak view.

    Args:
        make_net: builds each network from its place in ``nets.ROLES``.
        codec: heatmaps to keypoints.
        affine: the strong view.
        cutout: Joint Cutout at the peaks of what is learned.
        weight: of the consistency loss.
    """

    deployed = "student"
    labelers = ("student",)
    places: ClassVar = {"student": 2}
    supervised_weight = 1.0

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, cutout: JointCutout,
        weight: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.networks = nn.ModuleDict({name: make_net(i) for name, i in self.places.items()})
        self.codec, self.affine, self.cutout, self.weight = codec, affine, cutout, weight

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled, nets = batch.unlabeled, self.networks
        losses = self.losses(supervised=self.supervised_weight, consistency=self.weight)
        self.add_supervised(losses, batch.labeled)
        if unlabeled is None:
            return losses.scalars()
        seen = pseudo_heatmaps(nets.values(), unlabeled.images)
        theta, _ = self.affine.sample(len(seen[0]), input_hw(unlabeled.images), rng)
        # of two, each learns what the other saw
        for (name, net), pseudo in zip(nets.items(), reversed(seen), strict=True):
            keypoints = self.codec.peaks(pseudo)
            hard = self.cutout(unlabeled.images, keypoints, unlabeled.weights, rng)
            target = self.codec.warp(pseudo, theta)
            predicted = net(warp(hard, theta))
            losses.add(name, consistency=keypoint_mse(predicted, target, unlabeled.weights))
        return losses.scalars()


class CutoutSettings(MethodSettings):
    """The numbers of PoseCons and PoseDual."""

    labels_read = frozenset()
    method: ClassVar[type[PoseCons]]
    affine: StrongView = AffineConfig()
    cutout: PatchConfig = PatchConfig(patches=5)
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the consistency loss")

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> PoseCons:
        affine, cutout = self.affine.build(), self.cutout.cutout()
        return self.method(make_net, codec, affine, cutout, self.weight)


class PoseConsConfig(CutoutSettings):
    """PoseCons's numbers: one network."""

    kind: Literal["pose_cons"]
    method = PoseCons
