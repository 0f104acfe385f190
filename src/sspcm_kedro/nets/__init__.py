"""Networks, and the tagged union that chooses one."""

from pathlib import Path
from typing import Annotated, Literal, Self

import torchvision
from pydantic import Field, RootModel, model_validator
from torch import nn

from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets.hrnet import HRNet, Modules, imagenet_names, imagenet_weights
from sspcm_kedro.nets.simple_baseline import (
    Depth,
    SimpleBaseline,
    load_backbone,
    load_published,
    resnet_baseline,
    small_baseline,
)
from sspcm_kedro.nets.weights import read_weights

ROLES = ("teacher_a", "teacher_b", "student")
"""What the networks of a method may be called; each starts from weights of its own."""


class SmallBaselineConfig(Settings):
    """A SimpleBaseline of CPU size: three residual stages to stride 16, two deconvolutions."""

    kind: Literal["small_baseline"]
    width: int = Field(
        default=16,
        ge=16,  # below, oneDNN's backward pass of the shortcuts writes past its memory (issue 6035)
        description="channels of the first stage",
    )
    blocks: int = Field(default=1, ge=1, description="residual blocks a stage")

    @property
    def multiple(self) -> int:
        """Input sizes are multiples of this."""
        return 16

    def bare(self) -> Self:
        """The same network without weights to start from."""
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels a heatmap cell may have."""
        return (1, 2, 4, 8, 16)

    def build(self, keypoints: int, *, stride: int = 4) -> SimpleBaseline:
        return small_baseline(keypoints, width=self.width, blocks=self.blocks, stride=stride)


class _Published(Settings):
    """A network that others have trained: it starts at random, from ImageNet, or from a pose."""

    weights: str | None = Field(
        default=None,
        description="of the backbone: a name to download, or a local file of ImageNet weights",
    )
    checkpoint: str | None = Field(
        default=None,
        description="of the whole network: a local file in the layout its authors publish",
    )

    @model_validator(mode="after")
    def _one_start(self) -> "_Published":
        if self.weights is not None and self.checkpoint is not None:
            raise ValueError("weights and checkpoint exclude each other: a checkpoint is whole")
        return self

    @property
    def multiple(self) -> int:
        """Input sizes are multiples of this."""
        return 32

    def bare(self) -> Self:
        """The same network without weights to start from."""
        return self.model_copy(update={"weights": None, "checkpoint": None})


class SimpleBaselineConfig(_Published):
    """SimpleBaseline on torchvision's ResNet.

    ``weights`` may be a torchvision name (ResNet18_Weights.IMAGENET1K_V1).
    """

    kind: Literal["simple_baseline"]
    depth: Depth = 18

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels a heatmap cell may have."""
        return (1, 2, 4, 8, 16, 32)

    def build(self, keypoints: int, *, stride: int = 4) -> SimpleBaseline:
        net = resnet_baseline(self.depth, keypoints, stride=stride)
        if self.checkpoint is not None:
            load_published(net, read_weights(Path(self.checkpoint)), self.checkpoint)
        known = [str(w) for w in torchvision.models.get_model_weights(f"resnet{self.depth}")]
        if self.weights in known:
            named = torchvision.models.get_weight(self.weights)
            load_backbone(net, named.get_state_dict(progress=True), self.weights)
        elif self.weights is not None:
            load_backbone(net, read_weights(_file(self.weights, known)), self.weights)
        return net


class HRNetConfig(_Published):
    """HRNet; ``weights`` may be a timm name (hrnet_w32.ms_in1k).

    ``width`` 32 and 48 are published; ``modules`` and ``blocks`` make smaller ones of its class.
    """

    kind: Literal["hrnet"]
    width: int = Field(default=32, ge=4, description="channels of the highest resolution")
    modules: Modules = Field(default=(1, 4, 3), description="of stages 2, 3 and 4")
    blocks: int = Field(default=4, ge=1, description="residual blocks a branch")

    @model_validator(mode="after")
    def _every_stage(self) -> "HRNetConfig":
        if min(self.modules) < 1:
            raise ValueError(f"modules: every stage has at least one, got {self.modules}")
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels a heatmap cell may have."""
        return (4,)

    def build(self, keypoints: int, *, stride: int = 4) -> HRNet:
        if stride not in self.strides:
            raise ValueError(f"an HRNet has heatmaps of stride 4, not {stride}")
        net = HRNet(keypoints, width=self.width, modules=self.modules, blocks=self.blocks)
        if self.checkpoint is not None:
            net.load_published(read_weights(Path(self.checkpoint)), self.checkpoint)
        if self.weights is not None:
            known = imagenet_names(self.width)
            named = self.weights in known
            state = (
                imagenet_weights(self.weights)
                if named
                else read_weights(_file(self.weights, known))
            )
            net.load_backbone(state, self.weights)
        return net


def _file(name: str, known: list[str]) -> Path:
    """The file that is meant by what is no known name."""
    path = Path(name)
    if not path.is_file():
        raise BadInput(
            f"network.weights = {name}",
            f"must be a file that exists or one of {known}",
            "Give a local path to a .safetensors or .pth file, or null for random weights",
        )
    return path


OneNetwork = Annotated[
    SmallBaselineConfig | SimpleBaselineConfig | HRNetConfig, Field(discriminator="kind")
]


class TeacherStudentConfig(Settings):
    """Teachers of one network, a student of another: large teachers train a small student."""

    kind: Literal["teacher_student"]
    teacher: OneNetwork
    student: OneNetwork

    def bare(self) -> Self:
        """The same networks without weights to start from."""
        parts = {"teacher": self.teacher.bare(), "student": self.student.bare()}
        return self.model_copy(update=parts)


class NetworkConfig(
    RootModel[
        Annotated[
            SmallBaselineConfig | SimpleBaselineConfig | HRNetConfig | TeacherStudentConfig,
            Field(discriminator="kind"),
        ]
    ]
):
    """Which network all learners of a run have, or which the teachers and which the student."""

    def of(self, name: str) -> SmallBaselineConfig | SimpleBaselineConfig | HRNetConfig:
        """The network of a learner: teacher_a, teacher_b or student."""
        if isinstance(self.root, TeacherStudentConfig):
            return self.root.student if name == "student" else self.root.teacher
        return self.root

    def bare(self) -> Self:
        """The same without weights to start from: what trained weights are loaded into."""
        return type(self)(self.root.bare())

    def build(self, keypoints: int, name: str = "student", *, stride: int = 4) -> nn.Module:
        """The network of a learner; all have the same unless the kind is ``teacher_student``."""
        return self.of(name).build(keypoints, stride=stride)
