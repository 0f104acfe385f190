"""The crops of a run's people in one file: made once, shared by all stages and processes."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from kedro.io import AbstractDataset

from sspcm_kedro.data.ahead import read_ahead
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.data.stored_crops import (
    ENTRY,
    CropsToStore,
    StoredCrops,
    crop_keys,
    encode,
    stored_bytes,
)
from sspcm_kedro.datasets.whole import explain_full_disk, need_room, replace_file
from sspcm_kedro.errors import BadInput

BATCH = 128
"""Crops that are written at once; a kill loses no more."""
MAKE_ROOM = "Make room, store JPEG (machine.crop_cache=jpeg) or none (none)"


class CropCacheDataset(AbstractDataset[CropsToStore, StoredCrops]):
    """A folder of ``crops.bin``, the crops one after another, and ``index.bin``, where each is.

    Saving adds the crops that are not there yet; what a killed run has written stays. Crops that
    nobody needs any more keep their room until crops are missing and they are more than half: then
    all are made anew. Loading gives what reads them.

    Args:
        filepath: the folder.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: CropsToStore) -> None:
        """Make the crops that are missing, with a bar.

        Raises:
            BadInput: they do not fit on the disk.
        """
        keys = crop_keys(data.people, data.frame, data.border, data.kind)
        with explain_full_disk(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            entries = self._entries()
            known = {key.tobytes() for key in entries["key"]}
            wanted = known.intersection(keys)
            stale = len(wanted) < len(set(keys)) and 2 * len(wanted) < len(known)
            if self._noted() != data.kind or stale:
                entries, known = entries[:0], set()
            rows = {key: row for row, key in enumerate(keys) if key not in known}
            end = int((entries["offset"] + entries["size"]).max(initial=0))
            each = stored_bytes(data.kind, data.frame, data.border)
            old = self._pixels.stat().st_size - end if self._pixels.exists() else 0
            need_room(self._folder, len(rows) * each, "storing the crops", MAKE_ROOM, freed=old)
            if not known:
                with replace_file(self._about) as file:
                    file.write_text(json.dumps({"kind": data.kind}))
            self._add(data, entries, rows, end)

    def load(self) -> StoredCrops:
        """The stored crops."""
        kind = self._noted()
        if kind is None:
            rule = "there must be stored crops, as machine.crop_cache says"
            raise BadInput(self._folder, rule, "Store them: kedro run --pipelines ingestion")
        return StoredCrops(self._pixels, self._entries(), kind)

    def _add(
        self, data: CropsToStore, entries: np.ndarray, rows: dict[bytes, int], end: int
    ) -> None:
        """Write the crops of some people, by their keys, behind those of the entries."""
        by_image = sorted(rows, key=lambda key: str(data.people.paths[rows[key]]))
        parts = [by_image[i : i + BATCH] for i in range(0, len(by_image), BATCH)]
        crops = Crops(data.people, data.frame, border=data.border, workers=data.workers, memory=0)
        reads = ([crops.read(torch.tensor([rows[key] for key in part]))] for part in parts)
        with (
            _cut_off(self._pixels, end) as pixels,
            _cut_off(self._index, entries.nbytes) as index,
            ThreadPoolExecutor(data.workers) as threads,
            closing(read_ahead(reads, data.workers)) as read,
        ):
            pairs = zip(parts, show_progress(read, len(parts), "storing crops"), strict=True)
            for part, (images,) in pairs:
                found = images.permute(0, 2, 3, 1).numpy()
                written = []
                for key, content in zip(
                    part, threads.map(partial(encode, kind=data.kind), found), strict=True
                ):
                    pixels.write(content)
                    written.append((key, end, len(content), crc32(content)))
                    end += len(content)
                pixels.flush()
                index.write(np.array(written, ENTRY).tobytes())
                index.flush()
            for file in (pixels, index):
                os.fsync(file.fileno())

    @property
    def _pixels(self) -> Path:
        return self._folder / "crops.bin"

    @property
    def _index(self) -> Path:
        return self._folder / "index.bin"

    @property
    def _about(self) -> Path:
        return self._folder / "about.json"

    def _noted(self) -> Any:
        """How the crops are stored; None where none are."""
        try:
            return json.loads(self._about.read_bytes())["kind"]
        except (OSError, ValueError, KeyError):
            return None

    def _entries(self) -> np.ndarray:
        """Those that are wholly written."""
        if not self._index.is_file():
            return np.empty(0, ENTRY)
        whole = self._index.stat().st_size // ENTRY.itemsize
        return np.fromfile(self._index, ENTRY, whole)

    def _exists(self) -> bool:
        return self._noted() is not None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}


def _cut_off(path: Path, size: int) -> Any:
    """A file to write into behind its first bytes; what follows them is gone."""
    path.touch()
    os.truncate(path, size)
    return path.open("ab")
