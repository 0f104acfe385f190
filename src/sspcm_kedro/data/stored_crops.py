"""Crops that ingestion stores once, so that no training decodes a photograph again."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
from PIL import Image

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame, crop_matrix

StoredKind = Literal["uint8", "jpeg"]

QUALITY = 95
"""Of stored JPEG crops, with full color resolution (4:4:4)."""

JPEG_BYTES = 0.41
"""What a pixel of theirs takes, about, of photographs."""

REMEDY = "Store them again: kedro run --pipelines ingestion"


@dataclass(frozen=True)
class CropsToStore:
    """What is to be stored; nothing is read before.

    Attributes:
        people: whose crops.
        frame: of the network's input.
        border: input pixels of context on each side.
        kind: how.
        workers: threads that read.
    """

    people: Instances
    frame: CropFrame
    border: int
    kind: StoredKind
    workers: int


def crop_keys(people: Instances, frame: CropFrame, border: int, kind: StoredKind) -> list[bytes]:
    """16 bytes for each person that say which pixels its crop has: equal keys, equal pixels.

    The folder of the images is not in them, so that it may move; their content is.
    """
    with_border = [*frame.hw, border]
    view = f"{with_border} {kind} {QUALITY} {PIL.__version__}".encode()
    matrices = crop_matrix(people.boxes, frame)
    names = (f"{Path(path).name} {crc}" for path, crc in zip(people.paths, people.checksums,
                                                             strict=True))  # fmt: skip
    return [
        hashlib.blake2b(name.encode() + matrix.tobytes(), key=view[:64], digest_size=16).digest()
        for name, matrix in zip(names, matrices, strict=True)
    ]


def stored_bytes(kind: StoredKind, frame: CropFrame, border: int) -> int:
    """Bytes that a person takes; of JPEG about."""
    height, width = (size + 2 * border for size in frame.hw)
    return round(height * width * (3 if kind == "uint8" else JPEG_BYTES))


ENTRY = np.dtype([("key", "V16"), ("offset", "<u8"), ("size", "<u4"), ("checksum", "<u4")])
"""Of each stored crop: its key, where its bytes begin, how many these are, and their CRC32."""


class StoredCrops:
    """Crops in one file; any thread reads any of them.

    Args:
        file: the bytes of all crops.
        entries: of ``ENTRY``, where each is.
        kind: how they are stored.
    """

    def __init__(self, file: Path, entries: np.ndarray, kind: StoredKind) -> None:
        self.kind: StoredKind = kind
        self._file, self._entries = file, entries
        self._checked = np.zeros(len(entries), bool)
        self._places = {key.tobytes(): place for place, key in enumerate(entries["key"])}

    def find(self, keys: Sequence[bytes]) -> np.ndarray:
        """The places (n) of crops by their keys; -1 of those that are not stored."""
        return np.array([self._places.get(key, -1) for key in keys], np.int64)

    def read(self, place: int, out: np.ndarray) -> None:
        """Fills ``out`` (H, W, 3), uint8, with the crop at a place.

        The first time its CRC32 is taken, too, which costs as much as the rest.

        Raises:
            BadInput: the file is not what was stored.
        """
        entry = self._entries[place]
        raw = self.kind == "uint8"
        content: Any = out.reshape(-1) if raw else bytearray(int(entry["size"]))
        try:
            with self._file.open("rb", buffering=0) as file:
                file.seek(int(entry["offset"]))
                size = file.readinto(content)
        except OSError as error:
            raise BadInput(self._file, f"cannot be read ({error.strerror})", REMEDY) from error
        whole = size == entry["size"]
        if not whole or not (self._checked[place] or zlib.crc32(content) == entry["checksum"]):
            remedy = f"Delete {self._file.parent}, then: kedro run --pipelines ingestion"
            raise BadInput(self._file, "the crops must be as they were stored, and differ", remedy)
        self._checked[place] = True
        if not raw:
            with Image.open(BytesIO(content), formats=["JPEG"]) as image:
                out[:] = np.asarray(image)


def crops_record(stored: StoredCrops | None) -> str | None:
    """What stored crops change in what is learned: nothing but where they are JPEG."""
    return f"jpeg{QUALITY}" if stored is not None and stored.kind == "jpeg" else None


def encode(crop: np.ndarray, kind: StoredKind) -> bytes:
    """A crop (H, W, 3), uint8, as it is stored."""
    if kind == "uint8":
        return crop.tobytes()
    file = BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()
