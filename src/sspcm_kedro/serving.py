"""A finished network as MLflow serves it: crops in, keypoints out. It knows no MLflow itself.

``mlflow.pyfunc.load_model`` calls ``_load_pyfunc`` of the installed package; a stored model is
weights and JSON, and loading it executes nothing that came with it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from sspcm_kedro.data.views import ViewConfig, normalize
from sspcm_kedro.engine.predict import locate
from sspcm_kedro.errors import BadInput
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.skeleton import Skeleton

WEIGHTS, DECODING = "network.safetensors", "decoding.json"
BATCH = 128
"""Crops at once."""


class Served:
    """A network with all that is needed to read keypoints out of crops.

    Args:
        folder: weights as the catalog's ``student`` has them, and how heatmaps are decoded.

    Raises:
        BadInput: the folder holds something else.
    """

    def __init__(self, folder: Path) -> None:
        try:
            with safe_open(folder / WEIGHTS, framework="pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}
                metadata = file.metadata()
            view = ViewConfig.model_validate_json(metadata["view"])
            self.skeleton = Skeleton.from_dict(json.loads(metadata["skeleton"]))
            network = NetworkConfig.model_validate_json(metadata["network"])
            self.net = network.bare().build(self.skeleton.size, stride=view.stride)
            self.net.load_state_dict(weights)
            self.input_hw = view.input_hw
            self.decoding = {
                **json.loads((folder / DECODING).read_text()),
                "codec": view.codec,
            }
        except Exception as error:
            raise BadInput(
                folder,
                f"must be a network that this project has logged ({type(error).__name__}: {error})",
                "Log it again: run the pipelines evaluation or comparison with tracking on.",
            ) from error
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net.to(self.device, memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Keypoints (n, k, 3), float32: x and y in pixels of the crop, and the score.

        Args:
            model_input: crops (n, H, W, 3) of one person each, RGB, uint8, of the size that the
                network was trained with; cut as ``data.crops`` cuts them.
            params: none are known.

        Raises:
            BadInput: they are not.
        """
        expected = (*self.input_hw, 3)
        if model_input.shape[1:] != expected or model_input.dtype != np.uint8:
            raise BadInput(
                "images",
                f"must be uint8 of shape (n, {', '.join(map(str, expected))}), got "
                f"{model_input.dtype} of {model_input.shape}",
                "Cut people out as sspcm_kedro.data.crops does, at this size.",
            )
        images = torch.tensor(model_input).permute(0, 3, 1, 2)
        found = [torch.zeros(0, self.skeleton.size, 3)]
        for part in images.split(BATCH) if len(images) else ():
            views = normalize(part.to(self.device).float() / 255)
            views = views.contiguous(memory_format=torch.channels_last)
            xy, scores = locate(self.net, views, self.skeleton, **self.decoding)
            found.append(torch.cat([xy, scores[..., None]], dim=2).cpu())
        return torch.cat(found).numpy()


def _load_pyfunc(path: str) -> Served:
    """MLflow's entrance."""
    return Served(Path(path))
