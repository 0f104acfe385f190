"""DeepLabCut's CSV: a file a video, or one for all images."""

from sspcm_kedro.exports.predictions import Predictions
from sspcm_kedro.exports.table import rows_of, write_table

SCORER = "DLC_sspcm"


def export_deeplabcut(predictions: Predictions) -> dict[str, bytes]:
    """A table for each video, ``<video>DLC_sspcm.csv``, or ``imagesDLC_sspcm.csv``.

    Names of videos that would be the same keep the folder, or the suffix (``short_names``).

    Three rows of head (scorer, bodyparts, coords), with several animals on an image a fourth
    (individuals); then a row a frame with x, y and likelihood; cells of what is not there are NaN.
    """
    tables = {}
    for file, name in predictions.tables().items():
        text = write_table(predictions, *rows_of(predictions, file), SCORER)
        tables[f"{name or 'images'}{SCORER}.csv"] = text.encode()
    return tables


def draft_deeplabcut(predictions: Predictions) -> dict[str, bytes]:
    """``CollectedData_<scorer>.csv``, as labels of a folder of labeled-data: x and y alone."""
    names, rows = rows_of(predictions, None)
    text = write_table(predictions, names, rows, predictions.scorer, likelihood=False)
    return {f"CollectedData_{predictions.scorer}.csv": text.encode()}
