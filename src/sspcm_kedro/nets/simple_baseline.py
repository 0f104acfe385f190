"""SimpleBaseline (Xiao, Wu and Wei, ECCV 2018): a residual backbone and a deconvolution head."""

from typing import Literal

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from sspcm_kedro.nets.weights import Weights, fit_weights

Depth = Literal[18, 34, 50, 101, 152]


def deconvolution_head(channels: int, width: int, keypoints: int, *, layers: int) -> nn.Sequential:
    """``layers`` x (4x4 transposed convolution, stride 2, BN, ReLU), then 1x1 to ``keypoints``.

    Initialized as published: N(0, 0.001^2) for convolutions, 1 and 0 for batch norm.
    """
    modules: list[nn.Module] = []
    for i in range(layers):
        deconvolution = nn.ConvTranspose2d(
            channels if i == 0 else width, width, 4, stride=2, padding=1, bias=False
        )
        nn.init.normal_(deconvolution.weight, std=0.001)
        modules += [deconvolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    final = nn.Conv2d(width if layers else channels, keypoints, 1)
    nn.init.normal_(final.weight, std=0.001)
    nn.init.zeros_(final.bias)  # type: ignore[arg-type]
    return nn.Sequential(*modules, final)


class SimpleBaseline(nn.Module):
    """Images (b, 3, H, W) to heatmaps (b, k, H / stride, W / stride).

    H and W are multiples of 32, of 16 for the small relative.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def resnet_baseline(depth: Depth, keypoints: int, *, stride: int = 4) -> SimpleBaseline:
    """The published network on torchvision's ResNet, with random weights.

    Args:
        depth: ResNet depth.
        keypoints: output channels.
        stride: input pixels a heatmap cell, a power of two up to 32 (published: 4).
    """
    resnet = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    backbone = nn.Sequential(*(getattr(resnet, name) for name in _RESNET))
    layers = (32 // stride).bit_length() - 1
    return SimpleBaseline(
        backbone, deconvolution_head(resnet.fc.in_features, 256, keypoints, layers=layers)
    )


def load_backbone(net: SimpleBaseline, state: Weights, where: object) -> None:
    """Take a ResNet's weights in torchvision's layout, all but the classifier (``fc``).

    Raises:
        BadInput: they are not those of this ResNet; says which keys.
    """

    def ours(key: str) -> str | None:
        return None if key.startswith("fc.") else _place(key)

    fit_weights(net.backbone, state, where, rename=ours)


def load_published(net: SimpleBaseline, state: Weights, where: object) -> None:
    """Take the weights of a whole published network (human-pose-estimation.pytorch).

    The layout does not tell where a bottleneck strides. Here it is the 3x3 convolution, as in
    torchvision; the authors' "caffe" files, which stride in the first 1x1, fit and are wrong.

    Raises:
        BadInput: they are not those of this network; says which keys.
    """
    final = f"head.{len(net.head) - 1}."  # type: ignore[arg-type]

    def ours(key: str) -> str:
        if key.startswith("deconv_layers."):
            return key.replace("deconv_layers.", "head.", 1)
        if key.startswith("final_layer."):
            return key.replace("final_layer.", final, 1)
        return f"backbone.{_place(key)}"

    fit_weights(net, state, where, rename=ours)


_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _place(key: str) -> str:
    """A ResNet's key in a sequence of its parts; an unknown one stays as it is."""
    part, _, rest = key.partition(".")
    return f"{_RESNET.index(part)}.{rest}" if part in _RESNET else key


def small_baseline(keypoints: int, *, width: int, blocks: int, stride: int = 4) -> SimpleBaseline:
    """A CPU-sized relative: 3x3 stem at stride 2, three residual stages to stride 16, two deconvs.

    Args:
        keypoints: output channels.
        width: channels of the first stage (at stride 4); the others have 2 and 4 times as many.
        blocks: residual blocks a stage.
        stride: input pixels a heatmap cell, a power of two up to 16.
    """
    stem = [
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    stages: list[nn.Module] = []
    channels = width
    for planes in (width, 2 * width, 4 * width):
        for block in range(blocks):
            stages.append(_residual_block(channels, planes, stride=2 if block == 0 else 1))
            channels = planes
    backbone = nn.Sequential(*stem, *stages)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    layers = (16 // stride).bit_length() - 1
    head = deconvolution_head(channels, 2 * width, keypoints, layers=layers)
    return SimpleBaseline(backbone, head)


def _residual_block(channels: int, planes: int, *, stride: int) -> BasicBlock:
    shortcut = None
    if stride != 1 or channels != planes:
        shortcut = nn.Sequential(
            nn.Conv2d(channels, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
        )
    return BasicBlock(channels, planes, stride, shortcut)


def parameter_count(net: nn.Module) -> int:
    """Trainable numbers in a network."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
