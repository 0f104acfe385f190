"""Skeletons in JSON files."""

import json

from kedro_datasets._typing import JSONPreview

from sspcm_kedro.datasets.file import FileDataset, blank_until_made
from sspcm_kedro.datasets.seal import with_blanks, without_blanks
from sspcm_kedro.datasets.whole import replace_file
from sspcm_kedro.pose.skeleton import Skeleton

REMEDY = "Delete it, and read the people again: kedro run --pipelines ingestion"


class SkeletonDataset(FileDataset[Skeleton, Skeleton]):
    """A keypoint convention: names, flip pairs, sigmas, limbs."""

    def save(self, data: Skeleton) -> None:
        with replace_file(self._filepath) as path:
            path.write_bytes(with_blanks(json.dumps(data.to_dict()).encode()))

    def load(self) -> Skeleton:
        return Skeleton.from_dict(json.loads(without_blanks(self._filepath, REMEDY)))

    @blank_until_made
    def preview(self) -> JSONPreview:
        """The file, for kedro-viz."""
        return JSONPreview(without_blanks(self._filepath, REMEDY).decode())
