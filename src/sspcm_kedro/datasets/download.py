"""The folder of a published set: fetched, unpacked, and not twice."""

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock, Timeout

from sspcm_kedro.datasets.file import REMEDY, FileDataset
from sspcm_kedro.datasets.seal import with_blanks, without_blanks
from sspcm_kedro.datasets.whole import need_room, replace_file
from sspcm_kedro.downloads.fetch import Patience, fetch, open_session, remote_size, verify
from sspcm_kedro.downloads.published import Archive, Download
from sspcm_kedro.downloads.unpack import unpack, unpacked_bytes
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)

WORK = ".download"
"""In the set's folder: parts, archives, and a note of each archive that is unpacked."""
MAKE_ROOM = "Make room, choose fewer download.parts or another disk"


class DownloadDataset(FileDataset[Download, dict[str, Any]]):
    """A published set in its folder, and a JSON report of it.

    Saving fetches what is missing, whatever became of earlier attempts; an archive that somebody
    put into ``.download`` is taken instead. Loading gives the report: set, root, archives, by_hand
    (what, where, into, note, there) and the parameter ``source`` that reads what is there.

    Args:
        filepath: of the report.
        attempts: to get on with a connection that breaks; ``fetch.Patience``.
        wait: seconds between them, growing.
    """

    def __init__(
        self, filepath: str, attempts: int = 5, wait: float = 1.0,
        metadata: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(filepath, metadata)
        self._patience = Patience(attempts, wait)

    def save(self, data: Download) -> None:
        """Fetch, unpack and report."""
        (data.root / WORK).mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(data.root / WORK / "lock", blocking=False):
                _complete(data, self._patience)
        except Timeout:
            rule = "one command fetches into a folder at a time, and another does"
            raise BadInput(data.root, rule, "Wait for it, or stop it") from None
        report = _report(data)
        with replace_file(self._filepath) as beside:
            beside.write_bytes(with_blanks(json.dumps(report, indent=1).encode()))
        missing = [item for item in report["by_hand"] if not item["there"]]
        for item in missing:
            note = f" ({item['note']})" if item["note"] else ""
            logger.warning("To get by hand: %s\n  from %s\n  into %s%s", item["what"],
                           item["where"], item["into"], note)  # fmt: skip
        if missing:
            logger.warning("%d things are missing; nobody can fetch them for you", len(missing))
        logger.info("source: %s", json.dumps(report["source"]))

    def load(self) -> dict[str, Any]:
        """The report."""
        return json.loads(without_blanks(self._filepath, REMEDY))


def _complete(data: Download, patience: Patience) -> None:
    """Bring the folder to what was chosen."""
    pending = []
    for archive in data.archives:
        if _placed(data.root, archive):
            logger.info("%s: is there already", archive.name)
        else:
            pending.append(archive)
    _refuse_foreign(data.root, pending)
    with open_session(patience) as session:
        _refuse_full_disk(data, [(archive, _size(session, data, archive)) for archive in pending])
        for archive in pending:
            file = data.root / WORK / archive.name
            if not file.exists():
                held = "its published checksum" if archive.checksum else (
                    "the length its server announces and the checksums inside it: none was "
                    "published"
                )  # fmt: skip
                url = data.url(archive)
                logger.info("%s: fetching from %s; it is held to %s", archive.name, url, held)
                fetch(session, url, file, size=archive.size, checksum=archive.checksum,
                      patience=patience)  # fmt: skip
            elif archive.checksum:
                verify(file, archive.checksum)
            _unpack(data.root, archive, file)
            for part in file.parent.glob(f"{file.name}.part*"):
                part.unlink()  # left by a kill just after the archive had its name
            if not data.keep_archives:
                file.unlink()


def _unpack(root: Path, archive: Archive, file: Path) -> None:
    """First beside, then into place; the note tells how far that came."""
    need = unpacked_bytes(file)
    if need is not None:
        need_room(root, need, f"unpacking {archive.name}", MAKE_ROOM)
    fresh = root / WORK / f"{archive.name}.unpacked"
    shutil.rmtree(fresh, ignore_errors=True)  # of a run that was killed
    counts = unpack(file, fresh, archive.places)
    _note(root, archive, {"state": "placing"})
    for target in archive.targets:
        place = root / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.rmtree(place)
        os.replace(fresh / target, place)
    shutil.rmtree(fresh)
    _note(root, archive, {"state": "complete", "files": counts})
    logger.info("%s: unpacked, %d files", archive.name, sum(counts.values()))


def _note(root: Path, archive: Archive, state: dict[str, Any]) -> None:
    with replace_file(root / WORK / f"{archive.name}.json") as beside:
        beside.write_text(json.dumps(state))


def _noted(root: Path, archive: Archive) -> dict[str, Any]:
    try:
        return json.loads((root / WORK / f"{archive.name}.json").read_bytes())
    except (OSError, ValueError):
        return {}


def _placed(root: Path, archive: Archive) -> bool:
    """Whether every target has as many files as it had when it was unpacked."""
    files = _noted(root, archive).get("files")
    return files is not None and all(
        _count(root / target) >= files.get(target, 1) for target in archive.targets
    )


def _count(path: Path) -> int:
    return len(os.listdir(path)) if path.is_dir() else int(path.is_file())


def _refuse_foreign(root: Path, pending: Sequence[Archive]) -> None:
    """Never replace what this dataset did not write."""
    for archive in pending:
        for target in archive.targets if not _noted(root, archive) else ():
            if _count(root / target):
                rule = f"is there already, and did not come with {archive.name}"
                remedy = "Leave its part out (download.parts), or name another download.root"
                raise BadInput(root / target, rule, remedy)


def _size(session: requests.Session, data: Download, archive: Archive) -> int:
    """Bytes to fetch; 0 if the archive is there, or nobody knows."""
    if (data.root / WORK / archive.name).exists():
        return 0
    told = remote_size(session, data.url(archive), archive.size)
    size = archive.size if archive.size is not None else told
    if size is None:
        logger.warning("%s: how large it is will be seen; make sure of room", archive.name)
    return size or 0


def _refuse_full_disk(data: Download, pending: Sequence[tuple[Archive, int]]) -> None:
    """The most that stands on the disk at once must fit, before anything is fetched."""
    need = kept = 0
    for archive, size in pending:
        part = data.root / WORK / f"{archive.name}.part"
        rest = size - (part.stat().st_size if part.exists() else 0)
        unpacked = int(size * archive.growth)
        need = max(need, kept + rest + unpacked)
        kept += unpacked + (rest if data.keep_archives else 0)
    if pending:
        need_room(data.root, need, f"fetching and unpacking {data.name}", MAKE_ROOM)


def _report(data: Download) -> dict[str, Any]:
    return {
        "set": data.name,
        "root": str(data.root),
        "archives": [
            {"name": archive.name, "url": data.url(archive), "checksum": archive.checksum}
            for archive in data.archives
        ],
        "by_hand": [
            {**asdict(item), "into": str(data.root / item.into),
             "there": (data.root / item.into).exists()}
            for item in data.by_hand
        ],
        "source": data.source(),
    }  # fmt: skip
