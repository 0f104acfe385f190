"""People in Parquet tables, whose images move with them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from kedro_datasets._typing import TablePreview

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.datasets.file import FileDataset, blank_until_made
from sspcm_kedro.datasets.seal import SLOT, check_slot, fill_slot
from sspcm_kedro.datasets.whole import replace_file

REMEDY = "Delete it, and read the people again: kedro run --pipelines ingestion (or prediction)"
SEAL = "seal"
"""In a table's attributes: the file's digest."""


class InstancesDataset(FileDataset[Instances, Instances]):
    """People as a Parquet table, in a layer of the data folder (``<data>/<layer>/<table>``).

    Images below the data folder are stored relative to it, so that the folder can be copied,
    pushed and pulled; images elsewhere are stored as they were given. Loading gives paths that can
    be opened.
    """

    def save(self, data: Instances) -> None:
        self._write(data.to_frame())

    def load(self) -> Instances:
        return Instances.from_frame(self._read())

    @blank_until_made
    def preview(self, nrows: int = 10) -> TablePreview:
        """The first people, for kedro-viz: file names without folders, keypoints counted.

        Keypoints and visibility are arrays, which the page cannot show (it would not be made).
        """
        people = self._read().head(nrows)
        shown = people.drop(columns=["keypoints", "visibility"])
        shown["path"] = [Path(path).name for path in people["path"]]
        shown["labeled_keypoints"] = [int((seen > 0).sum()) for seen in people["visibility"]]
        return TablePreview(shown.to_dict(orient="split"))

    def _write(self, table: pd.DataFrame) -> None:
        with replace_file(self._filepath) as path:
            table = table.assign(path=map_unique(pd.Series(table["path"]), self._stored))
            table.attrs[SEAL] = SLOT  # pandas' own metadata, in the footer
            table.to_parquet(path)
            fill_slot(path)

    def _read(self) -> pd.DataFrame:
        check_slot(self._filepath, REMEDY)
        table = pd.read_parquet(self._filepath)
        del table.attrs[SEAL]
        return table.assign(path=map_unique(pd.Series(table["path"]), self._opened))

    @property
    def _folder(self) -> Path:
        return self._filepath.absolute().parents[1]

    def _stored(self, path: str) -> str:
        absolute = Path(os.path.abspath(path))
        inside = absolute.is_relative_to(self._folder)
        return f"data:{absolute.relative_to(self._folder).as_posix()}" if inside else path

    def _opened(self, path: str) -> str:
        below = path.removeprefix("data:")
        return path if below == path else str(self._folder / below)


def map_unique(column: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """A column of text through a function that is called once for each text there is."""
    places, texts = pd.factorize(column)
    return pd.Series(np.array([*map(function, texts)], object)[places], column.index)


class PartsDataset(InstancesDataset):
    """The parts of a source in one table, told apart by the column ``part``."""

    def save(self, data: dict[str, Instances]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        tables = [people.to_frame().assign(part=name) for name, people in data.items()]
        self._write(pd.concat(tables, ignore_index=True))

    def load(self) -> dict[str, Instances]:  # pyright: ignore[reportIncompatibleMethodOverride]
        parts = self._read().groupby("part", sort=False)
        return {str(name): Instances.from_frame(table) for name, table in parts}
