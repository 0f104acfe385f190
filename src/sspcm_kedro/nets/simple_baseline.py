"""SimpleBaseline (Xiao, Wu and Wei, ECCV 2018): deconvolutions on a backbone, any of timm's."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets.backbone import Backbone, known_backbone, reduction_of, reductions_of
from sspcm_kedro.nets.heatmap_network import HeatmapNetwork
from sspcm_kedro.nets.weights import PublishedConfig, Weights, find_weights, fit_weights


class DeconvolutionNetwork(HeatmapNetwork):
    """A backbone, and a head as ``deconvolution_head`` makes them."""

    backbone: Any
    head: nn.Sequential

    def features(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        for layer in list(self.head)[:-1]:
            features = layer(features)
        return features

    @property
    def last_layer(self) -> nn.Module:
        return self.head[-1]


class SimpleBaseline(DeconvolutionNetwork):
    """Images (b, 3, H, W) to heatmaps (b, k, H / stride, W / stride).

    H and W are multiples of the backbone's reduction.

    Args:
        keypoints: output channels, k.
        backbone: with random weights.
        width: channels of the deconvolutions (published: 256).
        stride: input pixels a heatmap cell: the backbone's reduction, halved as often as there are
            deconvolutions (published: 32 halved thrice, 4).
    """

    backbone: Backbone

    def __init__(self, keypoints: int, backbone: Backbone, *, width: int, stride: int) -> None:
        super().__init__()
        self.backbone = backbone
        layers = (backbone.reduction // stride).bit_length() - 1
        self.head = deconvolution_head(backbone.channels, width, keypoints, layers=layers)

    def load_backbone(self, state: Weights, where: object) -> None:
        """Take a classifier's weights for the backbone, see ``Backbone.load``."""
        self.backbone.load(state, where)

    def load_published(self, state: Weights, where: object) -> None:
        """Take the weights of a whole published network (human-pose-estimation.pytorch).

        The layout does not tell where a bottleneck strides. Here it is the 3x3 convolution, as in
        torchvision; the authors' "caffe" files, which stride in the first 1x1, fit and are wrong.

        Raises:
            BadInput: they are not those of this network; says which keys.
        """
        parts = {"deconv_layers": "head", "final_layer": f"head.{len(self.head) - 1}"}

        def ours(key: str) -> str:
            part, _, rest = key.partition(".")
            return f"{parts[part]}.{rest}" if part in parts else f"backbone.net.{key}"

        fit_weights(self, state, where, rename=ours)


class LateralBaseline(HeatmapNetwork):
    """SimpleBaseline that sees the backbone's finer levels, too.

    Each deconvolution's normalized output is joined by that of a 1x1 convolution of the backbone's
    level of the same size before the ReLU: the lateral connections of feature pyramid networks
    (Lin et al., CVPR 2017, section 3), added after normalization, so that neither outweighs the
    other at the start. What is lost at a coarse reduction, where things are, comes back.

    Args:
        keypoints: output channels, k.
        backbone: with its finer levels down to ``stride``.
        width: channels of the deconvolutions and of the lateral connections.
    """

    def __init__(self, keypoints: int, backbone: Backbone, *, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        channels, self.ups, self.laterals = backbone.channels, nn.ModuleList(), nn.ModuleList()
        for reduction in sorted(backbone.finer_channels, reverse=True):
            up = nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False)
            lateral = nn.Conv2d(backbone.finer_channels[reduction], width, 1, bias=False)
            for layers, convolution in ((self.ups, up), (self.laterals, lateral)):
                nn.init.normal_(convolution.weight, std=0.001)
                layers.append(nn.Sequential(convolution, nn.BatchNorm2d(width)))
            channels = width
        self.final = _final(channels, keypoints)

    def features(self, images: Tensor) -> Tensor:
        *finer, features = self.backbone.levels(images)
        for up, lateral, fine in zip(self.ups, self.laterals, reversed(finer), strict=True):
            features = functional.relu(up(features) + lateral(fine))
        return features

    @property
    def last_layer(self) -> nn.Module:
        return self.final


def deconvolution_head(channels: int, width: int, keypoints: int, *, layers: int) -> nn.Sequential:
    """``layers`` x (4x4 transposed convolution, stride 2, BN, ReLU), then 1x1 to ``keypoints``.

    Initialized as published: N(0, 0.001^2) for convolutions, 1 and 0 for batch norm.
    """
    modules: list[nn.Module] = []
    for _ in range(layers):
        deconvolution = nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False)
        nn.init.normal_(deconvolution.weight, std=0.001)
        modules += [deconvolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*modules, _final(channels, keypoints))


def _final(channels: int, keypoints: int) -> nn.Conv2d:
    final = nn.Conv2d(channels, keypoints, 1)
    nn.init.normal_(final.weight, std=0.001)
    nn.init.zeros_(final.bias)  # type: ignore[arg-type]
    return final


class SimpleBaselineConfig(PublishedConfig):
    """SimpleBaseline on a backbone of timm's.

    ``weights`` are named by timm (resnet50.a1_in1k, or its tag a1_in1k) or, for a ResNet, by
    torchvision (ResNet50_Weights.IMAGENET1K_V1).
    """

    kind: Literal["simple_baseline"]
    backbone: Annotated[str, AfterValidator(known_backbone)] = Field(
        default="resnet18", description="architecture of timm"
    )
    reduction: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="input pixels a cell of its features; null: the last level",
    )
    head_width: int = Field(
        default=256, ge=1, le=4096, description="channels of the deconvolutions"
    )
    lateral: bool = Field(
        default=False,
        description="deconvolutions are joined by the backbone's finer levels (published: false)",
    )

    @model_validator(mode="after")
    def _published_without_lateral(self) -> Self:
        if self.lateral and self.checkpoint is not None:
            raise ValueError("a published checkpoint has no lateral connections: set lateral false")
        return self

    @property
    def architecture(self) -> str:
        return self.backbone

    @property
    def multiple(self) -> int:
        """Input sizes are multiples of this."""
        return reduction_of(self.backbone, self.reduction)

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels a heatmap cell may have: the backbone's, halved while they are even.

        With lateral connections, and while the backbone has a level of that many.
        """
        strides = [self.multiple]
        levels = reductions_of(self.backbone) if self.lateral else None
        while strides[0] % 2 == 0 and (levels is None or strides[0] // 2 in levels):
            strides.insert(0, strides[0] // 2)
        return tuple(strides)

    def build(self, keypoints: int, *, stride: int = 4) -> SimpleBaseline | LateralBaseline:
        """The network.

        Raises:
            BadInput: it has no such stride, or its weights are not found or do not fit.
        """
        if stride not in self.strides:
            rule = f"must be one of {list(self.strides)} for a {self.backbone}"
            remedy = "Change view.stride, network.reduction or network.lateral"
            raise BadInput(f"view.stride {stride}", rule, remedy)
        if self.lateral:
            finer = tuple(s for s in self.strides if stride <= s < self.multiple)
            backbone = Backbone(self.backbone, self.reduction, finer)
            if self.weights is not None:
                backbone.load(find_weights(self.weights, self.backbone), self.weights)
            return LateralBaseline(keypoints, backbone, width=self.head_width)
        backbone = Backbone(self.backbone, self.reduction)
        net = SimpleBaseline(keypoints, backbone, width=self.head_width, stride=stride)
        self.start(net)
        return net
