"""SSPCM (Huang et al., CVPR 2023): two teachers, position-inconsistency correction, one student."""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig, RandomAffine
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.occlude import Donors, DonorSource, PatchConfig
from sspcm_kedro.batch import Batch, Unlabeled
from sspcm_kedro.methods.base import (
    LabelRules,
    MakeNet,
    Method,
    MethodSettings,
    StrongView,
    input_hw,
    pseudo_heatmaps,
)
from sspcm_kedro.pose.consistency import correct_heatmaps
from sspcm_kedro.pose.geometry import warp
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse


class SSPCM(Method):
    """A learns from B, B from A, the student from the corrected heatmap.

    Args:
        make_net: builds teacher A (0), teacher B (1) and the student (2).
        codec: heatmaps to keypoints.
        affine: the strong view.
        rules: ``min_score`` is of the teachers' mean peak; a keypoint is an outlier where even the
            best pair is further apart than ``max_inconsistency`` of the heatmap's diagonal (1 keeps
            all); ``occlude`` is Cut-Occlude.
        weight: of the consistency losses.
        snapshot_every: None reads the earlier period from the batch (stored predictions); a number
            keeps frozen copies of the teachers, refreshed every so many steps (the release's way).
    """

    deployed = "student"
    labelers = ("teacher_a", "teacher_b")

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, affine: RandomAffine, rules: LabelRules,
        weight: float, snapshot_every: int | None,
    ) -> None:  # fmt: skip
        super().__init__()
        names = ("teacher_a", "teacher_b", "student")
        self.networks = nn.ModuleDict({name: make_net(i) for i, name in enumerate(names)})
        self.codec, self.affine, self.occlude = codec, affine, rules.occlude
        self.min_score, self.max_inconsistency = rules.min_score, rules.max_inconsistency
        self.weight, self.snapshot_every = weight, snapshot_every
        self.reads = frozenset({"images", "earlier"})
        if rules.donors == "bank":
            self.reads = self.reads.union({"donors"})
        if snapshot_every is not None:
            self.reads -= {"earlier"}
            self.snapshots = copy.deepcopy(self.teachers).requires_grad_(False)

    @property
    def teachers(self) -> nn.ModuleList:
        return nn.ModuleList([self.networks["teacher_a"], self.networks["teacher_b"]])

    @property
    def frozen(self) -> tuple[nn.Module, ...]:
        return () if self.snapshot_every is None else (self.snapshots,)

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        unlabeled = batch.unlabeled
        losses = self.losses(supervised=0.5, consistency=self.weight)
        self.add_supervised(losses, batch.labeled)
        if unlabeled is None:
            return losses.scalars()

        with torch.no_grad():  # both teachers read the weak view, now and in an earlier period
            now = pseudo_heatmaps(self.teachers, unlabeled.images)
            earlier = self.earlier_heatmaps(unlabeled)
            corrected, choice = correct_heatmaps((now[0], earlier[0]), (now[1], earlier[1]))
            score = 0.5 * (now[0].amax(dim=(2, 3)) + now[1].amax(dim=(2, 3)))
            trusted = unlabeled.weights * (score > self.min_score)
            agreed = trusted * (choice.inconsistency <= self.max_inconsistency)
            theta, _ = self.affine.sample(len(score), input_hw(unlabeled.images), rng)

        # each network learns, on its strong view, what the others saw
        targets = ((now[1], trusted), (now[0], trusted), (corrected, agreed))
        for (name, net), (pseudo, weights) in zip(self.networks.items(), targets, strict=True):
            keypoints = self.codec.peaks(pseudo)
            bank = unlabeled.donors if "donors" in self.reads else None
            donors = bank or Donors(unlabeled.images, keypoints, unlabeled.weights)
            hard = self.occlude(unlabeled.images, keypoints, weights, donors, rng)
            predicted = net(warp(hard, theta))
            loss = keypoint_mse(predicted, self.codec.warp(pseudo, theta), weights)
            losses.add(name, consistency=loss)
        taught = unlabeled.weights.sum()  # untaught channels of a union are noise
        return {
            **losses.scalars(),
            "kept": agreed.sum() / taught,
            "inconsistency": (unlabeled.weights * choice.inconsistency).sum() / taught,
        }

    def earlier_heatmaps(self, unlabeled: Unlabeled) -> Sequence[Tensor]:
        """What teachers A and B predicted in the earlier period, (b, k, h, w) each.

        Raises:
            ValueError: it is to be in the batch, and is not.
        """
        if self.snapshot_every is not None:
            return pseudo_heatmaps(self.snapshots, unlabeled.images)
        if unlabeled.earlier is None:
            raise ValueError(
                "SSPCM without snapshots reads the earlier period from the batch, and it has none; "
                "give Unlabeled.earlier, or set snapshot_every"
            )
        return unlabeled.earlier

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if self.snapshot_every is not None and step % self.snapshot_every == 0:
            self.snapshots.load_state_dict(self.teachers.state_dict())


class SSPCMConfig(MethodSettings):
    """SSPCM's numbers; the defaults are the published ones where there are any.

    But ``max_inconsistency``: the released settings drop no outlier, which is 1 here.
    """

    labels_read = frozenset({"snapshot_every"})
    kind: Literal["sspcm"]
    affine: StrongView = AffineConfig()
    occlude: PatchConfig = PatchConfig(patches=2)
    donors: DonorSource = "batch"
    min_score: float = Field(
        default=0.1, ge=0, le=1, description="a keypoint counts above this mean peak"
    )
    max_inconsistency: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="an outlier lies further apart, as a share of the diagonal",
    )
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the consistency losses")
    snapshot_every: int | None = Field(
        default=None,
        ge=1,
        le=10**7,
        description="optimizer steps between frozen copies; null reads stored labels",
    )

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> SSPCM:
        affine, rules = self.affine.build(), self.label_rules()
        return SSPCM(make_net, codec, affine, rules, self.weight, self.snapshot_every)

    def label_rules(self) -> LabelRules:
        """A round's stored labels are kept, and occluded, as the step does with heatmaps."""
        return LabelRules(
            self.min_score, self.max_inconsistency, self.occlude.occlude(), donors=self.donors
        )
