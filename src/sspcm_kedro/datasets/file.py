"""What all catalog entries share that are one file."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kedro.io import AbstractDataset

from sspcm_kedro.datasets.whole import has_content

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")
Shown = TypeVar("Shown", bound=Callable[..., Any])

REMEDY = "Delete it, and run what makes it again (kedro run --only-missing-outputs)"
"""For a file that is damaged."""


class FileDataset(AbstractDataset[Saved, Loaded]):
    """A dataset that is one file; ``metadata`` is for kedro-viz."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return has_content(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


def blank_until_made(preview: Shown) -> Shown:
    """For kedro-viz: what is not made yet has an empty preview, and no warning is given."""

    @functools.wraps(preview)
    def shown(self: Any, *args: Any, **kwargs: Any) -> Any:
        return preview(self, *args, **kwargs) if self._exists() else ""

    return shown  # pyright: ignore[reportReturnType]
