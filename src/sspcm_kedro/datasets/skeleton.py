"""Skeletons in JSON files."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

from sspcm_kedro.datasets.whole import has_content, replacing
from sspcm_kedro.pose.skeleton import Skeleton


class SkeletonDataset(AbstractDataset[Skeleton, Skeleton]):
    """A keypoint convention: names, flip pairs, sigmas, limbs.

    Args:
        filepath: a ``.json`` file.
        metadata: for kedro-viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Skeleton) -> None:
        with replacing(self._filepath) as path:
            path.write_text(json.dumps(data.to_dict()))

    def load(self) -> Skeleton:
        return Skeleton.from_dict(json.loads(self._filepath.read_bytes()))

    def preview(self) -> JSONPreview:
        """The file, for kedro-viz."""
        return JSONPreview(self._filepath.read_text())

    def _exists(self) -> bool:
        return has_content(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
