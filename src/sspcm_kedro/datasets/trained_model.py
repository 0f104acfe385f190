"""Trained models as safetensors files."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.engine.export import TrainedModel


class TrainedModelDataset(AbstractDataset[TrainedModel, TrainedModel]):
    """A network's weights, with what it is, sees and predicts in the file's metadata.

    Args:
        filepath: a ``.safetensors`` file.
        metadata: for kedro-viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._file = TensorsDataset(filepath)
        self.metadata = metadata

    def save(self, data: TrainedModel) -> None:
        self._file.save(data.to_tensors())

    def load(self) -> TrainedModel:
        return TrainedModel.from_tensors(self._file.load(), self._filepath)

    def preview(self) -> JSONPreview:
        """Settings, and type, shape and range of every weight, for kedro-viz."""
        return self._file.preview()

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
