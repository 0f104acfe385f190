"""What is known from the time before, and can be had again at the price of some minutes."""

import logging
from pathlib import Path

import pandas as pd

from sspcm_kedro.datasets.file import REMEDY
from sspcm_kedro.datasets.files import TableDataset
from sspcm_kedro.datasets.seal import check_slot
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)


class LedgerDataset(TableDataset):
    """A table that its own node reads; None where there is none, or where it is damaged."""

    def load(self) -> pd.DataFrame | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self._exists():
            return None
        try:
            check_slot(Path(self._get_load_path()), REMEDY)
        except BadInput as error:
            logger.warning("%s: it is made again", error)
            return None
        return super().load()
