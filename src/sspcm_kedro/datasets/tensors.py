"""Named tensors, and weights, as safetensors."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sspcm_kedro.datasets.whole import replacing
from sspcm_kedro.errors import BadInput


class TensorsDataset(AbstractDataset[dict[str, Any], dict[str, Any]]):
    """A flat dict of tensors; values that are text become the file's metadata.

    Args:
        filepath: a ``.safetensors`` file.
        metadata: for kedro-viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        if not self._exists():
            remedy = "Run the pipeline that makes it, e.g. the default one (kedro run)"
            raise BadInput(self._filepath, "there must be such a file", remedy)
        try:
            with safe_open(self._filepath, framework="pt") as file:
                loaded: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}
                return {**loaded, **(file.metadata() or {})}
        except SafetensorError as error:
            rule = f"must be a whole safetensors file ({error})"
            raise BadInput(self._filepath, rule, "Delete it and make it again") from error

    def save(self, data: dict[str, Any]) -> None:
        # safetensors refuses views and shared storage; clones are neither.
        tensors = {k: v.clone().contiguous() for k, v in data.items() if isinstance(v, Tensor)}
        text = {k: v for k, v in data.items() if isinstance(v, str)}
        with replacing(self._filepath) as path:
            save_file(tensors, path, metadata=text or None)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
