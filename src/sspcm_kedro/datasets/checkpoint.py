"""A training state on disk."""

import json
from collections import Counter
from typing import Any

import torch
from kedro_datasets._typing import JSONPreview

from sspcm_kedro.datasets.file import FileDataset, blank_until_made
from sspcm_kedro.datasets.seal import check_slot, fill_comment
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.errors import BadInput

REMEDY = "Delete it; training then starts that stage afresh"


class CheckpointDataset(FileDataset[dict[str, Any], dict[str, Any] | None]):
    """Tensors, numbers and text, written whole or not at all; read without executing code.

    Args:
        filepath: a ``.pt`` file.
        optional: a missing file loads as None instead of failing. A training node reads its own
            output this way, to go on where it was killed.
    """

    def __init__(
        self, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath, metadata)
        self._optional = optional

    def load(self) -> dict[str, Any] | None:
        if self._optional and not self._filepath.is_file():
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

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "optional": self._optional}
