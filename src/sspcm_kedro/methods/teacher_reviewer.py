"""Teacher-Reviewer-Student (Yun et al., arXiv 2501.09565), as far as its abstract tells."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.mix import KeypointMix
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


class TeacherReviewer(Method):
    """A teacher teaches the student; reviewers, averages of both over time, remind each of itself.

    On a strong view, mixed at keypoints and warped, the student learns what the teacher saw on the
    weak view and what its own reviewer saw; the teacher what its reviewer saw.

    Read from the abstract alone; who reviews whom, the weights and the numbers of Keypoint-Mix are
    our reading, not verified against the authors' code. Their multi-level features (heads on inner
    stages of the backbone) are left out: a network here gives one set of heatmaps.

    Args:
        make_net: builds teacher A (0) and the student (2).
        codec: heatmaps to keypoints.
        affine: the strong view, one similarity for both.
        mix: Keypoint-Mix at the peaks of the teacher.
        weight: of the student's loss towards the teacher.
        review_weight: of both losses towards the reviewers.
    """

    deployed = "student"
    labelers = ("teacher_a",)

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, mix: KeypointMix,
        weight: float, review_weight: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.networks = nn.ModuleDict({"teacher_a": make_net(0), "student": make_net(2)})
        self.codec, self.affine, self.mix = codec, affine, mix
        self.weight, self.review_weight = weight, review_weight

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled = batch.unlabeled
        losses = self.losses(supervised=1.0, review=self.review_weight, consistency=self.weight)
        self.add_supervised(losses, batch.labeled)
        if unlabeled is None:
            return losses.scalars()
        images, weights = unlabeled.images, unlabeled.weights
        reviewers = self.averaged_networks().values()
        (taught,) = pseudo_heatmaps([self.networks["teacher_a"]], images)
        theta, _ = self.affine.sample(len(images), input_hw(images), rng)
        reviewed = [self.codec.warp(seen, theta) for seen in pseudo_heatmaps(reviewers, images)]
        keypoints = self.codec.peaks(taught)
        for (name, net), target in zip(self.networks.items(), reviewed, strict=True):
            predicted = net(warp(self.mix(images, keypoints, weights, rng), theta))
            own = {"review": keypoint_mse(predicted, target, weights)}
            if name == "student":
                lesson = self.codec.warp(taught, theta)
                own["consistency"] = keypoint_mse(predicted, lesson, weights)
            losses.add(name, **own)
        return losses.scalars()


class TeacherReviewerConfig(MethodSettings):
    """The numbers of Teacher-Reviewer-Student."""

    labels_read = frozenset()
    reads_averages = True
    kind: Literal["teacher_reviewer"]
    affine: StrongView = AffineConfig()
    patches: int = Field(default=3, ge=0, le=100, description="mixed at keypoints of each image")
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the loss towards the teacher")
    review_weight: float = Field(
        default=1.0, gt=0, le=1000, description="of the losses towards the reviewers"
    )

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> TeacherReviewer:
        affine, mix = self.affine.build(), KeypointMix(self.patches)
        return TeacherReviewer(make_net, codec, affine, mix, self.weight, self.review_weight)
