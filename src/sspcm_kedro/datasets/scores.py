"""Numbers as JSON."""

import math
from typing import Any

from sspcm_kedro.datasets.files import JsonDataset


class ScoresDataset(JsonDataset):
    """JSON in which a score that does not exist is null: JSON has no NaN, and readers refuse it."""

    def save(self, data: Any) -> None:
        super().save(_plain(data))


def _plain(value: Any) -> Any:
    """The same with NaN and infinity as None, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
