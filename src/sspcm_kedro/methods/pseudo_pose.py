"""PseudoPose (the two-stage baseline of Xie, Wang, Wu and Wang, ICCV 2021): a frozen teacher."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.batch import Batch, Unlabeled
from sspcm_kedro.methods.base import (
    MakeNet,
    Method,
    MethodSettings,
    StrongView,
    eval_mode,
    input_hw,
    move_average,
)
from sspcm_kedro.pose.geometry import warp
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse

SAME_VIEW = AffineConfig(scale=0, rotation=0, rotation_probability=0)
"""The student sees the weak view, as the teacher does."""


class PseudoPose(Method):
    """A teacher learns from the labels; then a new student learns from labels and its heatmaps.

    Steps without unlabeled people (the warm-up) train teacher A alone. Those with them train the
    student alone, from the weights that it began with; the teacher predicts as an evaluation would.
    Where averages are kept the teacher's is what teaches, and both stop with it.

    Args:
        make_net: builds teacher A (0) and the student (2).
        codec: moves heatmaps.
        affine: between the view that the teacher reads and the student's. Our reading: none, not
            verified against the authors' code.
        weight: of the loss on the teacher's heatmaps.
    """

    deployed = "student"
    labelers = ("teacher_a",)
    student_steps: Tensor

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, weight: float
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"teacher_a": make_net(0), "student": make_net(2)})
        self.codec, self.affine, self.weight = codec, affine, weight
        self.register_buffer("student_steps", torch.zeros(()))
        self.teaching = False

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled = batch.unlabeled
        self.teaching = unlabeled is not None
        losses = self.losses(supervised=1.0, consistency=self.weight)
        self.add_supervised(losses, batch.labeled, ["student" if self.teaching else "teacher_a"])
        if unlabeled is None:
            return losses.scalars()
        target = self.teacher_heatmaps(unlabeled)
        theta, _ = self.affine.sample(len(target), input_hw(unlabeled.images), rng)
        predicted = self.networks["student"](warp(unlabeled.images, theta))
        loss = keypoint_mse(predicted, self.codec.warp(target, theta), unlabeled.weights)
        losses.add("student", consistency=loss)
        return losses.scalars()

    @torch.no_grad()
    def teacher_heatmaps(self, unlabeled: Unlabeled) -> Tensor:
        """What the teacher sees on the weak views, (b, k, h, w)."""
        return self.predict(unlabeled.images)

    def predict(self, images: Tensor) -> Tensor:
        """The teacher's heatmaps of images, in eval mode."""
        teacher = self.shipped["teacher_a"]
        with eval_mode(teacher):
            return teacher(images)

    def after_step(self, step: int) -> None:
        """The teacher's average ends with its training; the student's begins with the student's,
        whose own steps count."""
        if not self.teaching:
            super().after_step(step)
            return
        self.student_steps += 1
        if len(self.averages):
            kept = ((1 + self.student_steps) / (10 + self.student_steps)).clamp_max(self.decay)
            move_average(self.averages["student"], self.networks["student"], kept)


class TwoStageSettings(MethodSettings):
    """The numbers of PseudoPose and DataDistill."""

    labels_read = frozenset()
    affine: StrongView = SAME_VIEW
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="of the loss on the teacher's heatmaps"
    )


class PseudoPoseConfig(TwoStageSettings):
    """PseudoPose's numbers."""

    kind: Literal["pseudo_pose"]

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> PseudoPose:
        return PseudoPose(make_net, codec, self.affine.build(), self.weight)
