"""Tables, plain values and text, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from kedro_datasets import pandas, text
from kedro_datasets._typing import JSONPreview, TablePreview

from sspcm_kedro.datasets.file import REMEDY, FileDataset, blank_until_made
from sspcm_kedro.datasets.seal import SLOT, check_slot, fill_slot, with_blanks, without_blanks
from sspcm_kedro.datasets.whole import WholeFile, replace_file


class TableDataset(WholeFile, pandas.CSVDataset):
    """A pandas table as CSV; the last column is empty, and its name the file's digest."""

    def save(self, data: pd.DataFrame) -> None:
        super().save(data.assign(**{SLOT: None}))

    def load(self) -> pd.DataFrame:
        check_slot(Path(self._get_load_path()), REMEDY)
        table = super().load()
        return table.drop(columns=table.columns[-1])

    @blank_until_made
    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, for kedro-viz."""
        return super().preview(nrows)

    def _written(self, path: Path) -> None:
        fill_slot(path)


class JsonDataset(FileDataset[Any, Any]):
    """Plain values as JSON; behind them, in blanks, the file's digest."""

    REMEDY = REMEDY

    def save(self, data: Any) -> None:
        with replace_file(self._filepath) as path:
            path.write_bytes(with_blanks(json.dumps(data).encode()))

    def load(self) -> Any:
        return json.loads(without_blanks(self._filepath, self.REMEDY))

    @blank_until_made
    def preview(self) -> JSONPreview:
        """The file, for kedro-viz."""
        return JSONPreview(without_blanks(self._filepath, self.REMEDY).decode())


class TextDataset(WholeFile, text.TextDataset):
    """Text."""
