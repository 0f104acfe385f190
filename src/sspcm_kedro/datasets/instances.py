"""People in Parquet tables, whose images move with them."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.datasets.whole import has_content, replacing


class InstancesDataset(AbstractDataset[Instances, Instances]):
    """People as a Parquet table, in a layer of the data folder (``<data>/<layer>/<table>``).

    Images below the data folder are stored relative to it, so that the folder can be copied,
    pushed and pulled; images elsewhere are stored as they were given. Loading gives paths that can
    be opened.

    Args:
        filepath: a ``.parquet`` file.
        metadata: for kedro-viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Instances) -> None:
        self._write(data.to_frame())

    def load(self) -> Instances:
        return Instances.from_frame(self._read())

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
        with replacing(self._filepath) as path:
            table.assign(path=table["path"].map(self._stored)).to_parquet(path)

    def _read(self) -> pd.DataFrame:
        table = pd.read_parquet(self._filepath)
        return table.assign(path=table["path"].map(self._opened))

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

    def _exists(self) -> bool:
        return has_content(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class PartsDataset(InstancesDataset):
    """The parts of a source in one table, told apart by the column ``part``."""

    def save(self, data: dict[str, Instances]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        tables = [people.to_frame().assign(part=name) for name, people in data.items()]
        self._write(pd.concat(tables, ignore_index=True))

    def load(self) -> dict[str, Instances]:  # pyright: ignore[reportIncompatibleMethodOverride]
        parts = self._read().groupby("part", sort=False)
        return {str(name): Instances.from_frame(table) for name, table in parts}
