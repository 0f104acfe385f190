"""Ours: SSPCM's frame, taught by what a round saw in many views and how likely that is right."""

import logging
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.fixed_views import FixedViews
from sspcm_kedro.augment.occlude import CutOcclude, Donors, DonorSource, PatchConfig
from sspcm_kedro.batch import Batch
from sspcm_kedro.config import Share
from sspcm_kedro.methods.base import LabelRules, MakeNet, Method, MethodSettings
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse

TEACHERS, STUDENT = ("teacher_a", "teacher_b"), "student"
_logger = logging.getLogger(__name__)


class ManyView(Method):
    """Two teachers learn from each other's corrected labels, and in the end a student from theirs.

    A round looks at each unlabeled person once, so that it can afford many views, whose mean is
    nearer to the truth than one view. Position-inconsistency correction picks of both teachers, now
    and in the period before, the pair that agrees best. On labeled people whom no teacher learns
    from it is measured how likely such a label is right, and the target is the *expected* heatmap:
    a Gaussian as high as that. The student, which never teaches, waits for the last round: it
    starts as teacher A, if that is the same network, and learns from all labels, in the end from
    nothing else, since the best pseudo-label is not as exact.

    Args:
        make_net: builds teacher A (0), teacher B (1) and the student (2).
        codec: heatmaps to keypoints.
        occlude: Cut-Occlude.
        sure: keypoints that are right at least this likely may be covered.
        weight: of the loss on unlabeled people.
        held_out: the share of the labeled people on whom the labels are measured.
        finish: the share of the student's epochs, the last ones, that learn from labels alone.
        donors: whose limbs Cut-Occlude pastes.

    Source: SSPCM's frame (section 3); many views as in data distillation (Radosavovic et al., CVPR
    2018); labels alone at the end (Yalniz et al., arXiv 1905.00546); the expected heatmap is ours
    (docs/method.md).
    """

    deployed = STUDENT
    labelers = TEACHERS

    def __init__(
        self, make_net: MakeNet, codec: HeatmapCodec, occlude: CutOcclude, *,
        sure: float, weight: float, held_out: float, finish: float, donors: DonorSource,
    ) -> None:  # fmt: skip
        super().__init__()
        names = (*TEACHERS, STUDENT)
        self.networks = nn.ModuleDict({name: make_net(i) for i, name in enumerate(names)})
        self.codec, self.occlude = codec, occlude
        self.held_out, self.finish = held_out, finish
        self.sure, self.weight = sure, weight
        self.reads = frozenset({"images", "corrected"})
        if donors == "bank":
            self.reads = self.reads.union({"donors"})
        self.learning = TEACHERS
        self.waited = 0

    def learners(self, *, last: bool) -> tuple[str, ...]:
        return (STUDENT,) if last else TEACHERS

    def begin(self, *, last: bool, step: int = 0) -> None:
        self.learning, self.waited = self.learners(last=last), 0
        if not last:
            return
        taught = self.shipped["teacher_a"].state_dict()  # as it ships, where averages ship
        if _shapes(taught) != _shapes(self.networks[STUDENT].state_dict()):
            self.waited = step
            _logger.info("The student is another network than teacher A, and starts as itself: it "
                         "needs more steps (training.last_round_epochs).")  # fmt: skip
            return
        self.networks[STUDENT].load_state_dict(taught)
        if len(self.averages):
            self.averages[STUDENT].load_state_dict(taught)

    def after_step(self, step: int) -> None:
        """Of the average of a student that starts as itself its own steps count: by those of the
        whole training it would keep much of weights that have learned nothing."""
        super().after_step(step - self.waited)

    def averaging(self) -> tuple[str, ...]:
        """Who learns: the teachers stay what they were when they labeled last."""
        return self.learning

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        labeled, unlabeled, names = batch.labeled, batch.unlabeled, self.learning
        losses = self.losses(supervised=1.0, consistency=self.weight)
        if unlabeled is None:
            self.add_supervised(losses, labeled, names)
            return losses.scalars()
        if unlabeled.corrected is None:
            raise ValueError("ManyView learns from what a round corrected (Unlabeled.corrected), "
                             "and the batch has none")  # fmt: skip
        target, taught = unlabeled.corrected, unlabeled.weights
        probability = target.amax(dim=(2, 3))
        sure = taught * (probability > self.sure)
        keypoints = self.codec.peaks(target)
        bank = unlabeled.donors if "donors" in self.reads else None
        donors = bank or Donors(unlabeled.images, keypoints, sure)
        for name in names:  # labeled and unlabeled people are one batch to the batch norm
            hard = self.occlude(unlabeled.images, keypoints, sure, donors, rng)
            both = self.networks[name](torch.cat([labeled.images, hard]))
            own, others = both.split([len(labeled.images), len(hard)])
            losses.add(
                name,
                supervised=keypoint_mse(own, labeled.heatmaps, labeled.weights),
                consistency=keypoint_mse(others, target, taught),
            )
        return {**losses.scalars(), "kept": sure.sum() / taught.sum()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Of the weights of a network; where they are equal, one can start as the other."""
    return {name: value.shape for name, value in state.items()}


class ManyViewConfig(MethodSettings):
    """The numbers of our method."""

    labels_read = frozenset({"held_out"})
    last_read = frozenset({"finish"})
    kind: Literal["many_view"]
    occlude: PatchConfig = PatchConfig(patches=1)
    donors: DonorSource = "batch"
    views: FixedViews = FixedViews()
    held_out: float = Field(
        default=0.15, gt=0, le=0.5,
        description="share of the labeled people whom only the student learns from: on them is "
        "measured how likely a label is right",
    )  # fmt: skip
    finish: float = Field(
        default=0.5, ge=0, lt=1,
        description="share of the student's epochs, the last ones, that learn from labels alone",
    )  # fmt: skip
    tolerance: float = Field(
        default=0.2, gt=0, le=10, description="of right labels, as a share of the PCK unit"
    )
    sure: Share = Field(
        default=0.5, description="keypoints that are right at least this likely may be covered"
    )
    max_inconsistency: float = Field(
        default=0.1, gt=0, le=1,
        description="the pair's midpoint is the label up to this distance, else the likelier of "
        "the two; a share of the diagonal",
    )  # fmt: skip
    weight: float = Field(default=1.0, gt=0, le=1000, description="of the loss on unlabeled people")

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> ManyView:
        return ManyView(
            make_net, codec, self.occlude.occlude(), sure=self.sure, weight=self.weight,
            held_out=self.held_out, finish=self.finish, donors=self.donors,
        )  # fmt: skip

    def label_rules(self) -> LabelRules:
        """In which views a round looks, and whom Cut-Occlude may cover."""
        return LabelRules(
            0.0, self.max_inconsistency, self.occlude.occlude(), self.views, self.held_out,
            self.tolerance, self.sure, self.donors,
        )  # fmt: skip
