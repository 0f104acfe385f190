"""Tables of people."""

from pathlib import Path

from kedro_datasets._typing import TablePreview
from kedro_datasets.pandas import ParquetDataset


class PeopleDataset(ParquetDataset):
    """A Parquet table of people, one row each (``data/instances.py`` has the columns)."""

    def preview(self, nrows: int = 10) -> TablePreview:
        """The first people, for kedro-viz: file names without folders, joints counted.

        Keypoints and visibility are arrays, which the page cannot show (it would not be made).
        """
        people = self.load().head(nrows)
        shown = people.drop(columns=["keypoints", "visibility"])
        shown["path"] = [Path(path).name for path in people["path"]]
        shown["labelled_joints"] = [int((seen > 0).sum()) for seen in people["visibility"]]
        return TablePreview(shown.to_dict(orient="split"))
