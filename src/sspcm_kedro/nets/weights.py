"""Weights of others from local files: read without executing code, fitted without a leftover."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sspcm_kedro.errors import BadInput

Weights = Mapping[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or torch file, by their key in a plain network.

    A training state that keeps the network under ``state_dict`` is unwrapped, and the ``module.``
    that data-parallel training puts before every key is dropped.

    Raises:
        BadInput: the file does not exist, cannot be read with ``weights_only=True``, or does not
            hold tensors by name.
    """
    if not path.is_file():
        raise BadInput(path, "the file does not exist", "Give the path of a local file")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
            state = state["state_dict"]
        if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
            raise TypeError(f"holds a {type(state).__name__}, not a dict of tensors")
    except Exception as error:
        raise BadInput(
            path, f"must be a torch file of tensors ({error})", "Save a state_dict() of tensors"
        ) from error
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def fit_weights(
    net: nn.Module,
    state: Weights,
    where: object,
    *,
    rename: Callable[[str], str | None] = lambda key: key,
) -> None:
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
    missing = sorted(k for k in own.keys() - renamed.keys() if not k.endswith(_COUNTER))
    unexpected = sorted(renamed.keys() - own.keys())
    reshaped = sorted(
        f"{k} {tuple(renamed[k].shape)} for {tuple(own[k].shape)}"
        for k in own.keys() & renamed.keys()
        if own[k].shape != renamed[k].shape
    )
    if missing or unexpected or reshaped:
        parts = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        raise BadInput(
            where,
            "weights must fit the network: "
            + ", ".join(f"{what} {keys[:3]} ({len(keys)})" for what, keys in parts.items()),
            "Use weights of the same network and number of keypoints, in the published layout",
        )
    net.load_state_dict(renamed, strict=False)


_COUNTER = "num_batches_tracked"
