"""Named tensors, and weights, as safetensors."""

import json
import logging
from pathlib import Path
from typing import Any

from kedro_datasets._typing import JSONPreview
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sspcm_kedro.datasets.file import REMEDY, OptionalFileDataset, blank_until_made
from sspcm_kedro.datasets.seal import SLOT, check_slot, fill_slot
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)

SEAL = "seal"
"""In the metadata: the file's digest."""


class TensorsDataset(OptionalFileDataset[dict[str, Any], dict[str, Any] | None]):
    """A flat dict of tensors; values that are text become the file's metadata.

    Of an optional one that is damaged, None is loaded and said: its node makes it again.
    """

    def load(self) -> dict[str, Any] | None:
        if self.is_left_out:
            return None
        try:
            return self._read()
        except BadInput as error:
            if not self._optional:
                raise
            logger.warning("%s: it is made again", error)
            return None

    def _read(self) -> dict[str, Any]:
        if not self._filepath.is_file():
            remedy = "Run what makes it, e.g. the default pipeline (kedro run), with the same --env"
            raise BadInput(self._filepath, "there must be such a file", remedy)
        check_slot(self._filepath, REMEDY)
        try:
            with safe_open(self._filepath, framework="pt") as file:
                loaded: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}
                text = file.metadata() or {}
                return {**loaded, **{key: text[key] for key in text if key != SEAL}}
        except SafetensorError as error:
            rule = f"must be a whole safetensors file ({error})"
            raise BadInput(self._filepath, rule, REMEDY) from error

    def save(self, data: dict[str, Any]) -> None:
        # safetensors refuses views and shared storage; clones are neither.
        tensors = {k: v.clone().contiguous() for k, v in data.items() if isinstance(v, Tensor)}
        text = {k: v for k, v in data.items() if isinstance(v, str)}
        with replace_file(self._filepath) as path:
            save_file(tensors, path, metadata={**text, SEAL: SLOT})
            _sort_metadata(path)
            fill_slot(path)

    @blank_until_made
    def preview(self) -> JSONPreview:
        """Text, and type, shape and range of every tensor, for kedro-viz."""
        stored = self.load() or {}
        return JSONPreview(json.dumps({k: _summary(v) for k, v in stored.items()}))


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


def _summary(value: Tensor | str) -> str:
    if isinstance(value, str):
        return value
    size = " x ".join(str(length) for length in value.shape) or "one number"
    line = f"{str(value.dtype).removeprefix('torch.')}, {size}"
    finite = value[value.isfinite()]
    return f"{line}, {finite.min():.4g} to {finite.max():.4g}" if len(finite) else line
