"""Networks, and the tagged union that chooses one."""

from pathlib import Path
from typing import Annotated, Literal

import torch
import torchvision
from pydantic import Field, RootModel
from safetensors.torch import load_file
from torch import Tensor, nn

from sspcm_kedro.config import Settings
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets.simple_baseline import Depth, resnet_baseline, small_baseline


class SmallBaselineConfig(Settings):
    """A SimpleBaseline of CPU size: three residual stages to stride 16, two deconvolutions."""

    kind: Literal["small_baseline"]
    width: int = Field(default=16, ge=4, description="channels of the first stage")
    blocks: int = Field(default=1, ge=1, description="residual blocks a stage")

    @property
    def multiple(self) -> int:
        """Input sizes are multiples of this."""
        return 16

    def build(self, keypoints: int) -> nn.Module:
        return small_baseline(keypoints, width=self.width, blocks=self.blocks)


class SimpleBaselineConfig(Settings):
    """SimpleBaseline on torchvision's ResNet; weights: none, a torchvision name, or a file."""

    kind: Literal["simple_baseline"]
    depth: Depth = 18
    weights: str | None = Field(
        default=None,
        description="e.g. ResNet18_Weights.IMAGENET1K_V1 (downloaded), or a local file",
    )

    @property
    def multiple(self) -> int:
        """Input sizes are multiples of this."""
        return 32

    def build(self, keypoints: int) -> nn.Module:
        state = None if self.weights is None else backbone_weights(self.weights, self.depth)
        return resnet_baseline(self.depth, keypoints, state)


class NetworkConfig(
    RootModel[Annotated[SmallBaselineConfig | SimpleBaselineConfig, Field(discriminator="kind")]]
):
    """Which network all learners of a run have."""

    def build(self, keypoints: int) -> nn.Module:
        return self.root.build(keypoints)

    def bare(self) -> "NetworkConfig":
        """The same network without looking for pretrained weights: its own are to be loaded."""
        if isinstance(self.root, SimpleBaselineConfig):
            return NetworkConfig(self.root.model_copy(update={"weights": None}))
        return self


def backbone_weights(name: str, depth: int) -> dict[str, Tensor]:
    """ImageNet weights by torchvision's name (downloaded once) or from a local file.

    Files never execute code: safetensors, or torch files read with ``weights_only=True``.

    Raises:
        BadInput: the file does not exist or cannot be read, or the name is not this ResNet's.
    """
    known = [str(w) for w in torchvision.models.get_model_weights(f"resnet{depth}")]
    if name in known:
        return dict(torchvision.models.get_weight(name).get_state_dict(progress=True))
    path = Path(name)
    if not path.is_file():
        raise BadInput(
            f"network.weights = {name}",
            f"must be a file that exists or one of {known}",
            "Give a local path to a .safetensors or .pth file, or null for random weights.",
        )
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
            raise TypeError(f"holds a {type(state).__name__}, not a dict of tensors")
    except Exception as error:
        raise BadInput(
            path, f"must be a torch file of tensors ({error})", "Save a state_dict() of tensors."
        ) from error
    return state
