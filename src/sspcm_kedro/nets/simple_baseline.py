"""SimpleBaseline (Xiao, Wu and Wei, ECCV 2018): a residual backbone and a deconvolution head."""

from typing import Literal

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

Depth = Literal[18, 34, 50, 101, 152]


def deconvolution_head(channels: int, width: int, keypoints: int, *, layers: int) -> nn.Sequential:
    """``layers`` x (4x4 transposed convolution, stride 2, BN, ReLU), then 1x1 to ``keypoints``.

    Initialised as published: N(0, 0.001^2) for convolutions, 1 and 0 for batch norm.
    """
    modules: list[nn.Module] = []
    for i in range(layers):
        deconvolution = nn.ConvTranspose2d(
            channels if i == 0 else width, width, 4, stride=2, padding=1, bias=False
        )
        nn.init.normal_(deconvolution.weight, std=0.001)
        modules += [deconvolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    final = nn.Conv2d(width, keypoints, 1)
    nn.init.normal_(final.weight, std=0.001)
    nn.init.zeros_(final.bias)  # type: ignore[arg-type]
    return nn.Sequential(*modules, final)


class SimpleBaseline(nn.Module):
    """Images (b, 3, H, W), of sizes that ``multiple`` divides, to heatmaps (b, k, H / 4, W / 4)."""

    stride = 4

    def __init__(self, backbone: nn.Module, head: nn.Module, *, multiple: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.multiple = multiple

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def resnet_baseline(
    depth: Depth, keypoints: int, state: dict[str, Tensor] | None = None
) -> SimpleBaseline:
    """The published network on torchvision's ResNet.

    Args:
        depth: ResNet depth.
        keypoints: output channels.
        state: ImageNet weights in torchvision's layout (``fc.*`` is dropped), or None.

    Raises:
        ValueError: the weights are not those of this ResNet; says which keys.
    """
    resnet = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    channels = resnet.fc.in_features
    if state is not None:
        load_backbone(resnet, state)
    backbone = nn.Sequential(
        *(getattr(resnet, name) for name in (
            "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"))
    )  # fmt: skip
    return SimpleBaseline(
        backbone, deconvolution_head(channels, 256, keypoints, layers=3), multiple=32
    )


def load_backbone(resnet: nn.Module, state: dict[str, Tensor]) -> None:
    """Load torchvision-layout weights into a ResNet, all of them but the classifier.

    Counters of batches may lack: files from before torch 0.4.1 have none.

    Raises:
        ValueError: keys are missing, unexpected, or of another shape.
    """
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    own = {key: value for key, value in resnet.state_dict().items() if not key.startswith("fc.")}
    missing = sorted(k for k in own.keys() - state.keys() if not k.endswith("num_batches_tracked"))
    unexpected = sorted(state.keys() - own.keys())
    reshaped = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or unexpected or reshaped:
        raise ValueError(
            "weights must fit the backbone: "
            f"missing {missing[:3]} ({len(missing)}), unexpected {unexpected[:3]} "
            f"({len(unexpected)}), of another shape {reshaped[:3]} ({len(reshaped)}); "
            "use weights of the same depth in torchvision's layout"
        )
    resnet.load_state_dict(state, strict=False)


def small_baseline(keypoints: int, *, width: int, blocks: int) -> SimpleBaseline:
    """A CPU-sized relative: 3x3 stem at stride 2, three residual stages to stride 16, two deconvs.

    Args:
        keypoints: output channels.
        width: channels of the first stage (at stride 4); the others have 2 and 4 times as many.
        blocks: residual blocks a stage.
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
    return SimpleBaseline(
        backbone, deconvolution_head(channels, 2 * width, keypoints, layers=2), multiple=16
    )


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
