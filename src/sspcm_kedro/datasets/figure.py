"""Figures as PNG files."""

from base64 import b64encode
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview
from matplotlib.figure import Figure

from sspcm_kedro.datasets.whole import has_content, replacing


class FigureDataset(AbstractDataset[Figure, bytes]):
    """Saves a matplotlib figure; loads the bytes of its PNG, to be embedded elsewhere.

    Args:
        filepath: a ``.png`` file.
        dpi: resolution.
        metadata: for kedro-viz.
    """

    def __init__(
        self, filepath: str, dpi: int = 110, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._dpi = dpi
        self.metadata = metadata

    def load(self) -> bytes:
        return self._filepath.read_bytes()

    def save(self, data: Figure) -> None:
        with replacing(self._filepath) as path:
            data.savefig(path, format="png", dpi=self._dpi)

    def preview(self) -> ImagePreview:
        """The image, for kedro-viz."""
        return ImagePreview(b64encode(self.load()).decode())

    def _exists(self) -> bool:
        return has_content(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
