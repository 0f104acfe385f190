"""Files that evaluation servers accept."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from scipy.io import loadmat, savemat

from sspcm_kedro.datasets.whole import has_content, replacing
from sspcm_kedro.errors import BadInput

Record = dict[str, Any]

_COCO_NAME = re.compile(r"person_keypoints_[a-z]+-?[a-z]*\d{4}_\w+_results\.zip")


class CocoSubmissionDataset(AbstractDataset[list[Record], list[Record]]):
    """COCO's keypoint results (``pose.submission.coco_results``) as the server takes them.

    A zip that holds one JSON file of its own name.

    Args:
        filepath: ``person_keypoints_<set>_<method>_results.zip``, e.g.
            ``person_keypoints_test-dev2017_sspcm_results.zip``.
        metadata: for kedro-viz.

    Raises:
        BadInput: the file's name is one that the server refuses.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata
        if not _COCO_NAME.fullmatch(self._filepath.name):
            raise BadInput(
                self._filepath,
                "the server takes files named person_keypoints_<set>_<method>_results.zip",
                "Name it so in the catalog, e.g. person_keypoints_test-dev2017_sspcm_results.zip",
            )

    @property
    def _inside(self) -> str:
        return f"{self._filepath.stem}.json"

    def load(self) -> list[Record]:
        with zipfile.ZipFile(self._filepath) as archive:
            return json.loads(archive.read(self._inside))

    def save(self, data: list[Record]) -> None:
        content = json.dumps(data, allow_nan=False)
        # A date of its own keeps the archive the same for the same results.
        entry = zipfile.ZipInfo(self._inside)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with replacing(self._filepath) as path, zipfile.ZipFile(path, "w") as archive:
            archive.writestr(entry, content)

    def _exists(self) -> bool:
        return has_content(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class MpiiSubmissionDataset(AbstractDataset[list[Record], Any]):
    """MPII's predictions (``pose.submission.mpii_predictions``) as the struct array ``pred``.

    Loading gives scipy's reading of ``pred``: an array of structs, one an image.

    Args:
        filepath: ``pred_keypoints_mpii.mat``, the name that MPII asks for.
        metadata: for kedro-viz.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        return loadmat(self._filepath, squeeze_me=True, struct_as_record=False)["pred"]

    def save(self, data: list[Record]) -> None:
        pred = _matlab(data)
        # An open file, because savemat adds .mat to names that end otherwise.
        with replacing(self._filepath) as path, path.open("wb") as file:
            savemat(file, {"pred": pred}, oned_as="row", do_compression=True)

    def _exists(self) -> bool:
        return has_content(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


def _matlab(value: Any) -> Any:
    """Dicts as structs, lists of dicts as 1 x n struct arrays, None as the empty matrix."""
    if value is None or value == []:
        return np.empty((0, 0))
    if isinstance(value, dict):
        return {key: _matlab(item) for key, item in value.items()}
    if isinstance(value, list):
        structs = np.empty((1, len(value)), dtype=[(key, object) for key in value[0]])
        for place, item in enumerate(value):
            for key, content in item.items():
                structs[key][0, place] = _matlab(content)
        return structs
    return float(value) if isinstance(value, int) else value
