"""Trained models as safetensors files."""

from typing import Any

from kedro_datasets._typing import JSONPreview

from sspcm_kedro.datasets.file import FileDataset, blank_until_made
from sspcm_kedro.datasets.tensors import TensorsDataset
from sspcm_kedro.engine.export import TrainedModel


class TrainedModelDataset(FileDataset[TrainedModel, TrainedModel]):
    """A network's weights, with what it is, sees and predicts in the file's metadata."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)
        self._file = TensorsDataset(filepath)

    def save(self, data: TrainedModel) -> None:
        self._file.save(data.to_tensors())

    def load(self) -> TrainedModel:
        saved = self._file.load()
        assert saved is not None  # it is not optional
        return TrainedModel.from_tensors(saved, self._filepath)

    @blank_until_made
    def preview(self) -> JSONPreview:
        """Settings, and type, shape and range of every weight, for kedro-viz."""
        return self._file.preview()
