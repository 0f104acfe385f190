"""A folder of files for other tools."""

import logging
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)


class ExportsDataset(AbstractDataset[dict[str, bytes], None]):
    """Writes the content of files by their place in the folder; others in it stay.

    Args:
        filepath: the folder.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: dict[str, bytes]) -> None:
        for name, content in data.items():
            with replace_file(self._folder / name) as path:
                path.write_bytes(content)
            logger.info("Written: %s", self._folder / name)

    def load(self) -> None:
        raise BadInput(self._folder, "is for other tools, and nothing reads it", "Open it there")

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}
