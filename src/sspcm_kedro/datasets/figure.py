"""Figures as PNG files."""

from base64 import b64encode
from typing import Any

from kedro_datasets._typing import ImagePreview
from matplotlib.figure import Figure

from sspcm_kedro.datasets.file import REMEDY, FileDataset, blank_until_made
from sspcm_kedro.datasets.seal import append_slot, check_slot
from sspcm_kedro.datasets.whole import replace_file


class FigureDataset(FileDataset[Figure, bytes]):
    """Saves a matplotlib figure; loads the bytes of its PNG, to be embedded elsewhere.

    Args:
        filepath: a ``.png`` file.
        dpi: resolution.
    """

    def __init__(
        self, filepath: str, dpi: int = 110, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath, metadata)
        self._dpi = dpi

    def load(self) -> bytes:
        check_slot(self._filepath, REMEDY)
        return self._filepath.read_bytes()

    def save(self, data: Figure) -> None:
        with replace_file(self._filepath) as path:
            data.savefig(path, format="png", dpi=self._dpi)
            append_slot(path)

    @blank_until_made
    def preview(self) -> ImagePreview:
        """The image, for kedro-viz."""
        return ImagePreview(b64encode(self.load()).decode())
