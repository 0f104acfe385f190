"""Feature maps of any timm network, and which sizes they have."""

from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets.weights import Weights, fit_weights


class Backbone(nn.Module):
    """Images (b, 3, H, W) to features (b, channels, H / reduction, W / reduction).

    The timm network with its random weights, cut after the level that is taken, so that every
    parameter gets a gradient. The last level of a transformer passes its final norm.

    Args:
        name: timm architecture, e.g. resnet18, convnext_tiny, vit_small_patch14_dinov2.
        reduction: input pixels a feature cell; the deepest level that has it. None: the last level.
        finer: reductions below it, of which ``levels`` gives the deepest levels, too.

    Attributes:
        channels: of the features.
        reduction: input pixels a feature cell.
        finer_channels: of the finer levels, by their reduction.

    Raises:
        BadInput: the network has no level of this reduction; says which it has.
    """

    def __init__(
        self, name: str, reduction: int | None = None, finer: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.net = _timm_network(name)
        levels = list(self.net.feature_info)
        found = [level["reduction"] for level in levels]
        if reduction is not None and reduction not in found:
            rule = f"must be one of {sorted(set(found))} for a {name}"
            remedy = "Choose one of these, or null for the last level"
            raise BadInput(f"network.reduction = {reduction}", rule, remedy)
        last = len(levels) - 1
        index = last if reduction is None else last - found[::-1].index(reduction)
        fine = {size: last - found[::-1].index(size) for size in sorted(finer)}
        self.finer_channels: dict[int, int] = {s: levels[i]["num_chs"] for s, i in fine.items()}
        self.normed = index == last
        whole = self.net.state_dict().keys()
        indices = [*fine.values(), index]
        self.indices = self.net.prune_intermediate_layers(indices, prune_norm=not self.normed)
        self.cut = frozenset(whole - self.net.state_dict().keys())
        self.channels: int = levels[index].get("num_chs_norm", levels[index]["num_chs"])
        self.reduction: int = levels[index]["reduction"]

    def forward(self, images: Tensor) -> Tensor:
        return self.levels(images)[-1]

    def levels(self, images: Tensor) -> list[Tensor]:
        """The features of the finer levels, from the finest, and last those of ``forward``."""
        return self.net.forward_intermediates(
            images, indices=self.indices, norm=self.normed, intermediates_only=True
        )

    def load(self, state: Weights, where: object) -> None:
        """Take the weights of a classifier in timm's layout, for ResNets torchvision's as well.

        Raises:
            BadInput: they are not those of this network; says which keys.
        """
        fit_weights(self.net, state, where, rename=lambda k: None if k in self.cut else k)


@cache
def reductions_of(name: str) -> tuple[int, ...]:
    """Input pixels a feature cell of each level of a timm network, rising, each once."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return tuple(sorted({level["reduction"] for level in _timm_network(name).feature_info}))


@cache
def reduction_of(name: str, reduction: int | None) -> int:
    """Input pixels a feature cell of a ``Backbone`` that is not built, and that it can be.

    Raises:
        BadInput: it has no level of this reduction, or no maps of features for every input that
            the reduction divides (networks of a fixed image size).
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        try:
            backbone = Backbone(name, reduction).eval()
            height, width = 7 * backbone.reduction, 5 * backbone.reduction
            features = backbone(torch.zeros(1, 3, height, width))
            if features.shape != (1, backbone.channels, 7, 5):
                raise ValueError(f"{tuple(features.shape)} from an image {height} x {width}")
        except BadInput:
            raise
        except Exception as error:  # each of timm's families fails in its own way
            rule = "must give maps of features for every image that its reduction divides "
            rule += f"({type(error).__name__}: {error})"
            remedy = "Choose another network.reduction, of its deepest level, or another network: "
            remedy += "those of a fixed image size do not fit"
            raise BadInput(f"network.backbone = {name}", rule, remedy) from error
    return backbone.reduction


def known_backbone(name: str) -> str:
    """The name, if timm has it.

    Raises:
        BadInput: it has not; says which names are near.
    """
    import timm  # noqa: PLC0415 - slow, and few commands need it

    known = timm.list_models()
    if name not in known:
        near = get_close_matches(name.partition(".")[0], known, n=5)
        rule = f"must be an architecture of timm{f', e.g. one of {near}' if near else ''}"
        remedy = "See timm.list_models(); the tag of pretrained weights goes into network.weights"
        raise BadInput(f"network.backbone = {name}", rule, remedy)
    return name


def _timm_network(name: str) -> Any:
    """The whole classifier: a transformer for images of any size, a ResNet as torchvision's.

    Left to itself, timm starts the last batch norm of a residual block at zero; torchvision and
    the published code do not.
    """
    with torch.device("cpu"):  # constants of the library are none of the caller's device
        import timm  # noqa: PLC0415 - slow, and few commands need it

    choices: list[dict[str, Any]] = [{"dynamic_img_size": True}, {"zero_init_last": False}]
    for options in choices:
        with suppress(TypeError):  # it has no such option
            return timm.create_model(name, **options)
    return timm.create_model(name)
