"""What a run was, when its results were there, and from which code."""

from datetime import UTC, datetime
from typing import Any

from sspcm_kedro.datasets.files import JsonDataset
from sspcm_kedro.errors import BadInput

FIRST_TIME = ("made", "revision")
"""Of these the first record counts, as long as all others stay what they are."""


class RunRecordDataset(JsonDataset):
    """Plain values as JSON, with the time (``made``, UTC) at which they were new.

    The same run again, which trains nothing, leaves the record as it is: the time and the revision
    stay those of the results.
    """

    def save(self, data: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(" ", "minutes").removesuffix("+00:00")
        super().save({**data, "made": now, **self._first_time(data)})

    def _first_time(self, data: dict[str, Any]) -> dict[str, Any]:
        try:
            before = self.load() if self._exists() else {}
        except BadInput:  # damaged: it is written anew
            return {}
        same = without_first_time(before) == without_first_time(data)
        return {key: before[key] for key in FIRST_TIME if key in before} if same else {}


def without_first_time(record: dict[str, Any]) -> dict[str, Any]:
    """What of a record makes it a new one."""
    return {key: value for key, value in record.items() if key not in FIRST_TIME}
