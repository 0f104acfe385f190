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


class OptionalFileDataset(FileDataset[Saved, Loaded]):
    """A file that may be missing; a node reads its own output this way, to go on where it was
    killed, or to keep it.

    Args:
        filepath: where it is.
        optional: a missing file loads as None instead of failing.
        metadata: for kedro-viz.
    """

    def __init__(
        self, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath, metadata)
        self._optional = optional

    @property
    def is_left_out(self) -> bool:
        """Whether it is missing, and may be."""
        return self._optional and not self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "optional": self._optional}


def blank_until_made(preview: Shown) -> Shown:
    """For kedro-viz: what is not made yet has an empty preview, and no warning is given."""

    @functools.wraps(preview)
    def shown(self: Any, *args: Any, **kwargs: Any) -> Any:
        return preview(self, *args, **kwargs) if self._exists() else ""

    return shown  # pyright: ignore[reportReturnType]
