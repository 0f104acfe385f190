"""Graphs of the ONNX standard as files."""

import onnx
from google.protobuf.message import DecodeError
from onnx.checker import ValidationError

from sspcm_kedro.datasets.file import REMEDY, FileDataset
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.errors import BadInput


class OnnxDataset(FileDataset[onnx.ModelProto, onnx.ModelProto]):
    """A graph with its weights in one file (at most 2 GiB, the format's limit)."""

    def save(self, data: onnx.ModelProto) -> None:
        with replace_file(self._filepath) as path:
            path.write_bytes(data.SerializeToString())

    def load(self) -> onnx.ModelProto:
        try:
            model = onnx.load_from_string(self._filepath.read_bytes())
            onnx.checker.check_model(model)
        except (OSError, DecodeError, ValidationError) as error:
            cause = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise BadInput(self._filepath, f"must be an ONNX file ({cause})", REMEDY) from error
        return model
