"""What all catalog entries share that are one file."""

from pathlib import Path
from typing import Any, TypeVar

from kedro.io import AbstractDataset

from sspcm_kedro.datasets.whole import has_content

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")


class FileDataset(AbstractDataset[Saved, Loaded]):
    """A dataset that is one file; ``metadata`` is for kedro-viz."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return has_content(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
