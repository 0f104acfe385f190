"""Tables of people whose images move with them."""

import os
from pathlib import Path

import pandas as pd
from kedro_datasets._typing import TablePreview
from kedro_datasets.pandas import ParquetDataset


class InstancesDataset(ParquetDataset):
    """A Parquet table of people, in a layer of the data folder (``<data>/<layer>/<table>``).

    Images below the data folder are stored relative to it, so that the folder can be copied,
    pushed and pulled; images elsewhere are stored as they were given. Loading gives paths that can
    be opened. Arguments are those of ``pandas.ParquetDataset``.
    """

    def save(self, data: pd.DataFrame) -> None:
        super().save(data.assign(path=data["path"].map(self._stored)))

    def load(self) -> pd.DataFrame:
        table = super().load()
        return table.assign(path=table["path"].map(self._opened))

    @property
    def _folder(self) -> Path:
        return Path(self._filepath).absolute().parents[1]

    def _stored(self, path: str) -> str:
        absolute = Path(os.path.abspath(path))
        inside = absolute.is_relative_to(self._folder)
        return f"data:{absolute.relative_to(self._folder).as_posix()}" if inside else path

    def _opened(self, path: str) -> str:
        below = path.removeprefix("data:")
        return path if below == path else str(self._folder / below)

    def preview(self, nrows: int = 10) -> TablePreview:
        """The first people, for kedro-viz: file names without folders, keypoints counted.

        Keypoints and visibility are arrays, which the page cannot show (it would not be made).
        """
        people = self.load().head(nrows)
        shown = people.drop(columns=["keypoints", "visibility"])
        shown["path"] = [Path(path).name for path in people["path"]]
        shown["labeled_keypoints"] = [int((seen > 0).sum()) for seen in people["visibility"]]
        return TablePreview(shown.to_dict(orient="split"))
