"""Files and folders that are there whole or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sspcm_kedro.errors import BadInput

FULL = ("no space left", "os error 28", "disk quota", "disk is full", "inline_container.cc")
"""How libraries say it that have no OSError: safetensors, Parquet, SQLite, torch."""


class WholeFile:
    """Makes a file dataset of Kedro's write its file whole; an empty file counts as none.

    To stand before that dataset among a class's parents.
    """

    _beside: Path | None = None

    def save(self, data: Any) -> None:
        with replace_file(Path(self._get_load_path())) as self._beside:  # pyright: ignore
            super().save(data)  # pyright: ignore[reportAttributeAccessIssue]
            self._written(self._beside)

    def _written(self, path: Path) -> None:
        """What is to be done with the file before it takes its place."""

    def _get_save_path(self) -> Path:
        assert self._beside is not None
        return self._beside

    def _exists(self) -> bool:
        return has_content(Path(self._get_load_path()))  # pyright: ignore


def has_content(path: Path) -> bool:
    """Whether there is such a file with something in it: nothing that is written here is empty."""
    return path.is_file() and path.stat().st_size > 0


os.umask(_umask := os.umask(0))
_MODE = 0o666 & ~_umask
"""What the process lets others do with its files; there is no way to read it but to set it."""


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write; it takes the place of ``path`` when the block ends well.

    Raises:
        BadInput: the disk is full; ``path`` is as it was.
    """
    beside = path.with_name(f".{path.name}.part")  # one name: what a kill leaves is overwritten
    try:
        with explain_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            with beside.open("r+b") as file:
                os.fsync(file.fileno())  # a power cut, or a disk that says only now that it is full
            beside.chmod(_MODE)  # some libraries write files that only their owner may read
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """A new sibling folder that takes the folder's place at the end, or leaves no trace.

    Raises:
        BadInput: the disk is full; the folder is as it was.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    stale = folder.with_name(f".{folder.name}.old")
    _bring_back(stale, folder)  # of a run that was killed between the two renames
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with explain_full_disk(folder):
            fresh.mkdir(parents=True)
            yield fresh
            if folder.exists():
                folder.rename(stale)
            fresh.rename(folder)
    finally:
        _bring_back(stale, folder)
        shutil.rmtree(fresh, ignore_errors=True)


def _bring_back(stale: Path, folder: Path) -> None:
    if stale.exists() and not folder.exists():
        stale.rename(folder)
    shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """A full disk as one sentence, whichever library found it."""
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        remedy = "Make room and give the same command again: it goes on from what is stored"
        rule = "cannot be written, for the disk is full (or a quota is reached)"
        raise BadInput(path, rule, remedy) from error


def need_room(folder: Path, need: int, what: str, remedy: str, *, freed: int = 0) -> None:
    """Refuse what would not fit on a folder's disk, before any of it is made.

    Args:
        folder: that is there.
        need: bytes.
        what: needs them, for the message.
        remedy: what to do.
        freed: bytes of the folder that it replaces.

    Raises:
        BadInput: fewer are free.
    """
    free = shutil.disk_usage(folder).free + freed
    if need > free:
        rule = f"{what} needs {need / 1e9:.2f} GB ({need} bytes), and {free} bytes are free"
        raise BadInput(folder, rule, remedy)


def is_full_disk(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, is of a full disk."""
    while error is not None:
        code = getattr(error, "errno", None)
        if code in (errno.ENOSPC, errno.EDQUOT) or any(t in str(error).lower() for t in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
