"""A relative of SimpleBaseline that a CPU trains in minutes."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import nn

from sspcm_kedro.config import Settings
from sspcm_kedro.nets.simple_baseline import DeconvolutionNetwork, deconvolution_head


class SmallBaseline(DeconvolutionNetwork):
    """Images (b, 3, H, W), sizes multiples of 16, to heatmaps (b, k, H / stride, W / stride).

    A 3x3 stem at stride 2, three residual stages to stride 16, then deconvolutions.

    Args:
        keypoints: output channels, k.
        width: channels of the first stage (at stride 4); the others have 2 and 4 times as many.
        blocks: residual blocks a stage.
        stride: input pixels a heatmap cell, a power of two up to 16.
    """

    def __init__(self, keypoints: int, *, width: int, blocks: int, stride: int = 4) -> None:
        super().__init__()
        parts: list[nn.Module] = [
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
        for planes in (width, 2 * width, 4 * width):
            parts.append(_halve(channels, planes))
            parts += [_block(planes, planes) for _ in range(blocks - 1)]
            channels = planes
        self.backbone = nn.Sequential(*parts)
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        layers = (16 // stride).bit_length() - 1
        self.head = deconvolution_head(channels, 2 * width, keypoints, layers=layers)


class SmallBaselineConfig(Settings):
    """A SimpleBaseline of CPU size: three residual stages to stride 16, two deconvolutions."""

    kind: Literal["small_baseline"]
    # Below 16, oneDNN's backward pass of the shortcuts writes past its memory (issue 6035).
    width: int = Field(default=16, ge=16, le=1024, description="channels of the first stage")
    blocks: int = Field(default=1, ge=1, le=64, description="residual blocks a stage")

    multiple: ClassVar[int] = 16
    """Input sizes are multiples of this."""
    strides: ClassVar[tuple[int, ...]] = (1, 2, 4, 8, 16)
    """Input pixels a heatmap cell may have."""

    def bare(self) -> Self:
        """The same network without weights to start from."""
        return self

    def build(self, keypoints: int, *, stride: int = 4) -> SmallBaseline:
        """The network."""
        return SmallBaseline(keypoints, width=self.width, blocks=self.blocks, stride=stride)


def _halve(channels: int, planes: int) -> nn.Module:
    shortcut = nn.Conv2d(channels, planes, 1, stride=2, bias=False)
    return _block(channels, planes, 2, nn.Sequential(shortcut, nn.BatchNorm2d(planes)))


def _block(*arguments: Any) -> nn.Module:
    from timm.models.resnet import BasicBlock  # noqa: PLC0415 - slow, and few commands need it

    return BasicBlock(*arguments)
