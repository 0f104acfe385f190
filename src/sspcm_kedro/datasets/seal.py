"""A digest of a file inside that file: damage is seen when it is read."""

import hashlib
import mmap
import re
from pathlib import Path

from sspcm_kedro.errors import BadInput

SLOT = "sha256:" + 64 * "0"
"""What a writer puts where its format takes text; ``fill_slot`` makes it the file's digest."""
_SLOT = SLOT.encode()
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_NEAR = 2**20
"""Bytes at either end of a file in which the slot is: headers and footers."""
_BLANKS = 256
"""Of a JSON file's end: one a bit of the digest."""
_RULE = (
    "must be as it was written, and its SHA-256 is another or missing (it is damaged, was changed, "
    "or is of an older version)"
)


def fill_slot(path: Path) -> None:
    """Fills the last slot of a file with the SHA-256 of all its bytes, the slot's as they are."""
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.rfind(_SLOT)
            if at < 0:
                raise ValueError(f"{path} has no place for its digest")
            digest = _digest(data, at)
        file.seek(at)
        file.write(digest)


def append_slot(path: Path) -> None:
    """The same for formats whose readers do not look behind the end (PNG)."""
    with path.open("ab") as file:
        file.write(_SLOT)
    fill_slot(path)


def fill_comment(path: Path) -> None:
    """The same in the comment of a zip file that has none (torch's files are zip files)."""
    with path.open("r+b") as file:
        file.seek(-2, 2)  # the comment's length is the last thing in a zip file
        if file.read() != b"\0\0":
            raise ValueError(f"{path} is no zip file without a comment")
        file.seek(-2, 2)
        file.write(len(_SLOT).to_bytes(2, "little") + _SLOT)
    fill_slot(path)


def check_slot(path: Path, remedy: str) -> None:
    """Refuse a file that is not, to the last bit, as ``fill_slot`` left it.

    Args:
        path: the file.
        remedy: how to get it again.

    Raises:
        BadInput: it is damaged, or was not written by this project or by this version of it.
        FileNotFoundError: there is none.
    """
    if not path.stat().st_size:
        raise BadInput(path, "must be as it was written, and is empty", remedy)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = {match.start() for match in _DIGEST.finditer(data, max(0, len(data) - _NEAR))}
        found |= {match.start() for match in _DIGEST.finditer(data, 0, _NEAR)}
        if not any(data[at : at + len(_SLOT)] == _digest(data, at) for at in sorted(found)):
            raise BadInput(path, _RULE, remedy)


def with_blanks(text: bytes) -> bytes:
    """A JSON text, and its SHA-256 as a line of spaces and tabs, which no reader of JSON sees.

    A key would do for objects alone, and would be a name among those of networks and rounds.
    """
    bits = format(int.from_bytes(hashlib.sha256(text).digest(), "big"), f"0{_BLANKS}b")
    return text + b"\n" + bits.translate({48: " ", 49: "\t"}).encode()


def without_blanks(path: Path, remedy: str) -> bytes:
    """The JSON text in a file that ``with_blanks`` made.

    Args:
        path: the file.
        remedy: how to get it again.

    Raises:
        BadInput: as ``check_slot``.
        FileNotFoundError: there is none.
    """
    data = path.read_bytes()
    text = data[: -_BLANKS - 1]
    if with_blanks(text) != data:
        raise BadInput(path, _RULE, remedy)
    return text


def _digest(data: mmap.mmap, at: int) -> bytes:
    with memoryview(data) as whole, whole[:at] as head, whole[at + len(_SLOT) :] as tail:
        digest = hashlib.sha256(head)
        digest.update(_SLOT)
        digest.update(tail)
    return b"sha256:" + digest.hexdigest().encode()
