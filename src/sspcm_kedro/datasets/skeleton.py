"""Skeletons in JSON files."""

import json

from kedro_datasets._typing import JSONPreview

from sspcm_kedro.datasets.file import FileDataset
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.pose.skeleton import Skeleton


class SkeletonDataset(FileDataset[Skeleton, Skeleton]):
    """A keypoint convention: names, flip pairs, sigmas, limbs."""

    def save(self, data: Skeleton) -> None:
        with replace_file(self._filepath) as path:
            path.write_text(json.dumps(data.to_dict()))

    def load(self) -> Skeleton:
        return Skeleton.from_dict(json.loads(self._filepath.read_bytes()))

    def preview(self) -> JSONPreview:
        """The file, for kedro-viz."""
        return JSONPreview(self._filepath.read_text())
