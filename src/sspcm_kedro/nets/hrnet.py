"""HRNet for poses (Sun, Xiao, Liu and Wang, CVPR 2019) on timm's backbone.

timm's ``HighResolutionNet`` has the stem, blocks, transitions and fuse layers of the published pose
network under the published names, and comes with ImageNet weights; so it is used instead of a copy
of our own. One thing differs: timm's last module fuses into all four resolutions, the published
pose network into the highest alone. The other three fuse layers are dropped here. What is left has
the published number of parameters, to the last one, and each of them gets a gradient.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets.heatmap_network import HeatmapNetwork
from sspcm_kedro.nets.weights import PublishedConfig, Weights, fit_weights

Depth = Annotated[int, Field(ge=1, le=16)]
Modules = tuple[Depth, Depth, Depth]
"""How many modules stages 2, 3 and 4 have; published: 1, 4, 3."""


class HRNet(HeatmapNetwork):
    """Images (b, 3, H, W), sizes multiples of 32, to heatmaps (b, k, H / 4, W / 4).

    Initialized as published: N(0, 0.001^2) for convolutions, 1 and 0 for batch norm.

    Args:
        keypoints: output channels.
        width: channels of the highest resolution (published: 32, 48); each lower one has twice as
            many as the one above it.
        modules: modules of stages 2, 3 and 4.
        blocks: residual blocks of a branch in a module (published: 4).
    """

    def __init__(self, keypoints: int, *, width: int, modules: Modules, blocks: int) -> None:
        from timm.models.hrnet import HighResolutionNet  # noqa: PLC0415 - slow, and few commands need it

        super().__init__()
        self.backbone = HighResolutionNet(_layout(width, modules, blocks), head="")
        last: Any = list(self.backbone.stage4.children())[-1]
        last.fuse_layers = last.fuse_layers[:1]
        self.head = nn.Conv2d(width, keypoints, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def features(self, images: Tensor) -> Tensor:
        return self.backbone(images)[0]

    @property
    def last_layer(self) -> nn.Module:
        return self.head

    def load_backbone(self, state: Weights, where: object) -> None:
        """Take a classifier's weights, timm's or the published ones, all but its head.

        Raises:
            BadInput: they are not those of this HRNet; says which keys.
        """
        last = len(list(self.backbone.stage4.children())) - 1
        lower = tuple(f"stage4.{last}.fuse_layers.{i}." for i in (1, 2, 3))
        wanted = {key: value for key, value in state.items()
                  if not key.startswith((*_CLASSIFIER, *lower))}  # fmt: skip
        fit_weights(self.backbone, wanted, where)

    def load_published(self, state: Weights, where: object) -> None:
        """Take the weights of a whole published pose HRNet (deep-high-resolution-net).

        Raises:
            BadInput: they are not those of this network; says which keys.
        """

        def ours(key: str) -> str:
            part, _, rest = key.partition(".")
            return f"head.{rest}" if part == "final_layer" else f"backbone.{key}"

        fit_weights(self, state, where, rename=ours)


class HRNetConfig(PublishedConfig):
    """HRNet; ``weights`` may be a timm name (hrnet_w32.ms_in1k) or its tag (ms_in1k).

    ``width`` 32 and 48 are published; ``modules`` and ``blocks`` make smaller ones of its class.
    """

    kind: Literal["hrnet"]
    width: int = Field(default=32, ge=4, le=512, description="channels of the highest resolution")
    modules: Modules = Field(default=(1, 4, 3), description="of stages 2, 3 and 4")
    blocks: int = Field(default=4, ge=1, le=16, description="residual blocks a branch")

    multiple: ClassVar[int] = 32
    """Input sizes are multiples of this."""
    strides: ClassVar[tuple[int, ...]] = (4,)
    """Input pixels a heatmap cell may have."""

    @property
    def architecture(self) -> str:
        return f"hrnet_w{self.width}"

    def build(self, keypoints: int, *, stride: int = 4) -> HRNet:
        """The network.

        Raises:
            BadInput: it has no such stride, or its weights are not found or do not fit.
        """
        if stride not in self.strides:
            raise BadInput(f"view.stride {stride}", "must be 4 for an HRNet", "Change view.stride")
        net = HRNet(keypoints, width=self.width, modules=self.modules, blocks=self.blocks)
        self.start(net)
        return net


_CLASSIFIER = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")


def _layout(width: int, modules: Modules, blocks: int) -> dict[str, Any]:
    """What timm's constructor reads."""

    def stage(count: int, channels: tuple[int, ...], depth: int, block: str) -> dict[str, Any]:
        depths = (depth,) * len(channels)
        return {"num_modules": count, "num_branches": len(channels), "num_blocks": depths,
                "num_channels": channels, "block_type": block, "fuse_method": "SUM"}  # fmt: skip

    layout: dict[str, Any] = {"stem_width": 64, "stage1": stage(1, (64,), 4, "BOTTLENECK")}
    branches = tuple(width * 2**i for i in range(4))
    for i, count in zip((2, 3, 4), modules, strict=True):
        layout[f"stage{i}"] = stage(count, branches[:i], blocks, "BASIC")
    return layout
