"""Named tensors, and weights, as safetensors."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sspcm_kedro.datasets.whole import replacing


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
        with safe_open(self._filepath, framework="pt") as file:
            loaded: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}
            return {**loaded, **(file.metadata() or {})}

    def save(self, data: dict[str, Any]) -> None:
        # safetensors refuses views and shared storage; clones are neither.
        tensors = {k: v.clone().contiguous() for k, v in data.items() if isinstance(v, Tensor)}
        text = {k: v for k, v in data.items() if isinstance(v, str)}
        with replacing(self._filepath) as path:
            save_file(tensors, path, metadata=text or None)
            if len(text) > 1:
                _sort_metadata(path)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


def _sort_metadata(path: Path) -> None:
    """safetensors writes texts in another order each time; equal content has to be equal bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size
        file.seek(8)
        file.write(text.ljust(size))
