"""A trained model as MLflow serves it: crops in, keypoints out. It knows no MLflow itself.

``mlflow.pyfunc.load_model`` calls ``_load_pyfunc`` of the installed package; a stored model is
weights and JSON, and loading it executes nothing that came with it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from sspcm_kedro.datasets.seal import check_slot
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.errors import BadInput

WEIGHTS, DECODING = "network.safetensors", "decoding.json"


class ServedModel:
    """What MLflow calls.

    Args:
        model: predicts.
        flip_test: average with the mirrored crops.
    """

    def __init__(self, model: TrainedModel, flip_test: bool) -> None:
        self.model, self.flip_test = model, flip_test
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Keypoints (n, k, 3), float32: x and y in pixels of the crop, and the score.

        Args:
            model_input: crops (n, H, W, 3) of one person each, RGB, uint8, of the size that the
                network was trained with; cut as ``data.crops`` cuts them, by the model's
                ``view.frame``.
            params: none are known.

        Raises:
            BadInput: they are not.
        """
        expected = (*self.model.view.input_hw, 3)
        if model_input.shape[1:] != expected or model_input.dtype != np.uint8:
            rule = f"must be uint8 of shape (n, {', '.join(map(str, expected))}), got "
            rule += f"{model_input.dtype} of {model_input.shape}"
            remedy = "Cut people out as sspcm_kedro.data.crops does, at this size."
            raise BadInput("images", rule, remedy)
        return self.model.predict_images(model_input, flip_test=self.flip_test, device=self.device)


def _load_pyfunc(path: str) -> ServedModel:
    """MLflow's entrance.

    Raises:
        BadInput: the folder holds something else.
    """
    folder = Path(path)
    try:
        check_slot(folder / WEIGHTS, "Log it again")
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
            model = TrainedModel.from_tensors({**weights, **file.metadata()}, WEIGHTS)
        return ServedModel(model, json.loads((folder / DECODING).read_text())["flip_test"])
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        rule = f"must be a network that this project has logged ({cause})"
        remedy = "Log it again: run the pipelines evaluation or comparison with tracking on."
        raise BadInput(folder, rule, remedy) from error
