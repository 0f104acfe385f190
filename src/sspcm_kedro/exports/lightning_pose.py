"""lightning-pose's CSV: DeepLabCut's table, of one animal."""

import numpy as np

from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports.predictions import Predictions
from sspcm_kedro.exports.table import rows_of, write_table

SCORER = "heatmap_tracker"


def export_lightning_pose(predictions: Predictions) -> dict[str, bytes]:
    """A table for each video, ``<video>.csv``, or ``predictions.csv`` for images.

    Names of videos that would be the same keep the folder, or the suffix (``short_names``).

    Raises:
        BadInput: several are on one image.
    """
    tables = {}
    for file, name in predictions.tables().items():
        names, rows = rows_of(predictions, file)
        _need_one(names, rows)
        text = write_table(predictions, names, rows, SCORER)
        tables[f"{name or 'predictions'}.csv"] = text.encode()
    return tables


def draft_lightning_pose(predictions: Predictions) -> dict[str, bytes]:
    """``CollectedData.csv``, as labels: x and y alone.

    Raises:
        BadInput: several are on one image.
    """
    names, rows = rows_of(predictions, None)
    _need_one(names, rows)
    text = write_table(predictions, names, rows, predictions.scorer, likelihood=False)
    return {"CollectedData.csv": text.encode()}


def _need_one(names: list[str], rows: np.ndarray) -> None:
    numbers, counts = np.unique(rows[rows >= 0], return_counts=True)
    if (counts > 1).any():
        row = int(numbers[counts > 1][0])
        rule = f"lightning-pose's tables have one animal an image, found {counts.max()}"
        raise BadInput(f"predictions of {names[row]}", rule, "Write another format: deeplabcut")
