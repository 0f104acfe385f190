"""MultiAugs (arXiv 2402.11566): PoseCons or PoseDual with several strong views of each person."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.mix import RandomCutMix, RandomCutout
from sspcm_kedro.augment.occlude import CutOcclude, Donors, JointCutout
from sspcm_kedro.batch import Batch, Unlabeled
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

Path = Literal["joco", "jccm", "jo", "jc"]
"""Cut-Occlude then random cutout; Joint Cutout then random CutMix; Cut-Occlude; Joint Cutout."""


class MultiAugs(Method):
    """Each network learns, on several hard views, what it (or of two, the other) saw on the weak.

    All views of a person are warped alike, all count alike, and no score masks a keypoint.
    Limbs for Cut-Occlude come from the batch. As in the published code, but that random holes may
    lie anywhere in the image and that CutMix has 2 of them in the dual form, too.

    Args:
        make_net: builds the student (2), or teachers A (0) and B (1).
        codec: heatmaps to keypoints.
        affine: the similarity of all strong views.
        paths: the hard views.
        dual: whether two networks teach each other.
        weight: of the consistency losses.
    """

    joint_cutout, cut_occlude = JointCutout(patches=5), CutOcclude(patches=2)
    cutout, cutmix = RandomCutout(patches=5), RandomCutMix(patches=2)

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, paths: Sequence[Path],
        weight: float, *, dual: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        places = {"teacher_a": 0, "teacher_b": 1} if dual else {"student": 2}
        self.networks = nn.ModuleDict({name: make_net(i) for name, i in places.items()})
        self.labelers, self.deployed = tuple(places), next(iter(places))
        self.codec, self.affine, self.paths, self.weight = codec, affine, paths, weight

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled, nets = batch.unlabeled, self.networks
        losses = self.losses(supervised=1 / len(nets), consistency=self.weight)
        self.add_supervised(losses, batch.labeled)
        if unlabeled is None:
            return losses.scalars()
        seen = pseudo_heatmaps(nets.values(), unlabeled.images)
        theta, _ = self.affine.sample(len(seen[0]), input_hw(unlabeled.images), rng)
        # of two, each learns what the other saw
        for (name, net), pseudo in zip(nets.items(), reversed(seen), strict=True):
            keypoints, target = self.codec.peaks(pseudo), self.codec.warp(pseudo, theta)
            hard = (self.harden(path, unlabeled, keypoints, rng) for path in self.paths)
            each = [
                keypoint_mse(net(warp(view, theta)), target, unlabeled.weights) for view in hard
            ]
            losses.add(name, consistency=sum(each[1:], each[0]))
        return losses.scalars()

    def harden(self, path: Path, unlabeled: Unlabeled, keypoints: Tensor, rng: Draws) -> Tensor:
        """Images (b, 3, H, W) by one path, with holes or limbs at keypoints (b, k, 2), in input
        pixels."""
        images, weights = unlabeled.images, unlabeled.weights
        if path in ("jo", "joco"):
            donors = Donors(images, keypoints, weights)
            hard = self.cut_occlude(images, keypoints, weights, donors, rng)
            return self.cutout(hard, rng) if path == "joco" else hard
        hard = self.joint_cutout(images, keypoints, weights, rng)
        return self.cutmix(hard, rng) if path == "jccm" else hard


class MultiAugsConfig(MethodSettings):
    """MultiAugs's numbers; the defaults are those of its 1K to 10K settings."""

    labels_read = frozenset({"dual"})
    kind: Literal["multi_augs"]
    dual: bool = Field(default=False, description="two networks that teach each other")
    paths: tuple[Path, ...] = Field(
        default=("joco", "jccm", "jc", "jo"), min_length=1, max_length=16,
        description="hard views, each a pass of every network",
    )  # fmt: skip
    affine: StrongView = AffineConfig()
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the consistency losses")

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> MultiAugs:
        affine = self.affine.build()
        return MultiAugs(make_net, codec, affine, self.paths, self.weight, dual=self.dual)
