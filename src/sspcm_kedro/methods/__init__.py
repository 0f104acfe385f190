"""Learning algorithms, and the tagged union that chooses one.

A new method is a file with a ``Method`` and its config, and one word in the union below.
"""

from typing import Annotated, Any

from pydantic import Field, RootModel, model_validator
from torch import nn

from sspcm_kedro.methods.base import LabelRules, MakeNet, Method
from sspcm_kedro.methods.data_distill import DataDistillConfig
from sspcm_kedro.methods.denoise_select import DenoiseSelectConfig
from sspcm_kedro.methods.many_view import ManyViewConfig
from sspcm_kedro.methods.multi_augs import MultiAugsConfig
from sspcm_kedro.methods.pose_cons import PoseConsConfig
from sspcm_kedro.methods.pose_dual import PoseDualConfig
from sspcm_kedro.methods.pseudo_pose import PseudoPoseConfig
from sspcm_kedro.methods.scarce_net import ScarceNetConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.methods.supervised import SupervisedConfig
from sspcm_kedro.methods.teacher_reviewer import TeacherReviewerConfig
from sspcm_kedro.methods.ubpl import UBPLConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec


class MethodConfig(
    RootModel[
        Annotated[
            SupervisedConfig
            | PseudoPoseConfig
            | DataDistillConfig
            | PoseConsConfig
            | PoseDualConfig
            | SSPCMConfig
            | UBPLConfig
            | ScarceNetConfig
            | DenoiseSelectConfig
            | MultiAugsConfig
            | TeacherReviewerConfig
            | ManyViewConfig,
            Field(discriminator="kind"),
        ]
    ]
):
    """Which algorithm a run trains."""

    @property
    def kind(self) -> str:
        """The algorithm's name in the union."""
        return self.root.kind

    @property
    def reads_averages(self) -> bool:
        """Whether it learns from averages of weights, which ``training.average_decay`` keeps."""
        return self.root.reads_averages

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> Method:
        """The algorithm, its networks made by ``make_net``."""
        return self.root.build(make_net, codec)

    def read(self, *, labels_only: bool, last: bool = True) -> dict[str, Any]:
        """The settings that training reads: the whole, on labels alone, before the last stage."""
        return self.root.read(labels_only=labels_only, last=last)

    def label_rules(self) -> LabelRules:
        """What makes a round's stored pseudo-labels reliable."""
        return self.root.label_rules()


class ComparisonConfig(MethodConfig):
    """A method that needs no stored predictions, since it is trained without rounds."""

    @model_validator(mode="after")
    def _needs_no_round(self) -> "ComparisonConfig":
        if {"earlier", "corrected"} & self.build(lambda _: nn.Identity(), HeatmapCodec()).reads:
            own = "snapshot_every" in type(self.root).model_fields
            raise ValueError(
                f"a comparison of kind {self.kind} has no rounds, which store what it reads; "
                + ("set comparison.snapshot_every (optimizer steps)" if own else
                   "train it as method")
            )  # fmt: skip
        return self
