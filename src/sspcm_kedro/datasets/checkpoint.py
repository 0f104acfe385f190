"""A training state on disk."""

import json
from collections import Counter
from typing import Any

import torch
from kedro_datasets._typing import JSONPreview

from sspcm_kedro.datasets.file import OptionalFileDataset, blank_until_made
from sspcm_kedro.datasets.seal import check_slot, fill_comment
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.errors import BadInput

REMEDY = "Delete it; training then starts that stage afresh"


class CheckpointDataset(OptionalFileDataset[dict[str, Any], dict[str, Any] | None]):
    """Tensors, numbers and text in a ``.pt`` file, written whole or not at all; read without
    executing code."""

    def load(self) -> dict[str, Any] | None:
        if self.is_left_out:
            return None
        check_slot(self._filepath, REMEDY)
        try:
            state = torch.load(self._filepath, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or "fingerprint" not in state:
                raise TypeError("no training state")
        except Exception as error:
            raise BadInput(
                self._filepath,
                f"must be a checkpoint of this project ({type(error).__name__})",
                REMEDY,
            ) from error
        return state

    def save(self, data: dict[str, Any]) -> None:
        with replace_file(self._filepath) as path:
            torch.save(data, path)
            fill_comment(path)

    @blank_until_made
    def preview(self) -> JSONPreview:
        """How far the training is, and the number of weights of each network, for kedro-viz."""
        state = self.load()
        assert state is not None
        weights: Counter[str] = Counter()
        for key, tensor in state["method"].items():  # networks.<name>.<layer>
            weights[key.split(".")[1]] += tensor.numel()
        numbers = {key: state[key] for key in ("epoch", "deployed", "fingerprint")}
        return JSONPreview(json.dumps({**numbers, "weights": weights}))
