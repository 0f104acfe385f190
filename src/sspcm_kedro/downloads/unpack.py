"""Members of a zip or tar to where they belong; nothing in an archive decides where it is written.

Every member is held to the rules, also those that are left out: an archive with one that points
elsewhere was not made by the people who publish images.
"""

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from sspcm_kedro.data.progress import show_bytes
from sspcm_kedro.downloads.fetch import write_all
from sspcm_kedro.errors import BadInput

_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
    RuntimeError,  # of a zip that is encrypted, or packed in a way unknown here
)  # fmt: skip
MOST_RATIO, LEAST_BOMB = 200, 2**25
"""How much larger than stored an archive may be, once it is large: JSON is 10 times, images 1."""
_FROM_OWNERS = "Fetch the archive from its owners, or unpack by hand what you trust"


def unpack(archive: Path, folder: Path, places: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Write the members that belong somewhere into a new folder; how many files each target has.

    Args:
        archive: a zip, a tar or a tar.gz.
        folder: must not exist; without success it is removed again.
        places: (pattern, target) as in ``downloads.Archive``; the first pattern counts.

    Raises:
        BadInput: a member is absolute, leads out of the folder or is no plain file; the archive is
            damaged or a bomb; a target stays empty; the disk is full.
    """
    places = tuple(places)
    counts = {target.rstrip("/"): 0 for _, target in places}
    folder.mkdir(parents=True)
    try:
        with show_bytes(f"unpacking {archive.name}", None, 0) as count:
            _refuse_bomb(archive, unpacked_bytes(archive) or 0)
            total = 0
            for name, size, stream in _members(archive):
                total += size
                _refuse_bomb(archive, total)
                path = PurePosixPath(name)
                target = next((to for pattern, to in places if path.match(pattern)), None)
                if target is None:
                    continue
                inside = f"{target}{path.name}" if target.endswith("/") else target
                _write(f"{archive}, member {name!r}", size, stream, folder, inside)
                counts[target.rstrip("/")] += 1
                count(size)
        empty = [pattern for pattern, target in places if not counts[target.rstrip("/")]]
        if empty:
            rule = f"must have members like {', '.join(empty)}, found none"
            remedy = "It is laid out in a new way: unpack it by hand, docs/data.md says where"
            raise BadInput(archive, rule, remedy)
    except BaseException as error:
        shutil.rmtree(folder)
        if not isinstance(error, _BROKEN):
            raise
        remedy = "Remove the file and run the same command again, which fetches it anew"
        raise BadInput(archive, f"must be a whole archive, but {error}", remedy) from error
    return counts


def _refuse_bomb(archive: Path, size: int) -> None:
    """Refuse an archive whose members, of so many bytes, are mostly nothing."""
    if size > LEAST_BOMB and size > MOST_RATIO * archive.stat().st_size:
        rule = f"must not unpack to more than {MOST_RATIO} times its size, and does ({size} bytes)"
        raise BadInput(archive, rule, _FROM_OWNERS)


def unpacked_bytes(archive: Path) -> int | None:
    """Bytes of all members; ``None`` if only unpacking could tell."""
    if not zipfile.is_zipfile(archive):
        return None
    try:
        with zipfile.ZipFile(archive) as pack:
            return sum(info.file_size for info in pack.infolist())
    except _BROKEN:
        return None  # unpacking says what is wrong with it


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of the files; of a zip, all are looked at before the first is read."""
    with archive.open("rb") as stream:
        magic = stream.read(2)
    if magic == b"PK":
        with zipfile.ZipFile(archive) as pack:
            infos = pack.infolist()
            for info in infos:
                kind = stat.S_IFMT(info.external_attr >> 16)
                plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                _check(archive, info.filename, plain, link=kind == stat.S_IFLNK)
            for info in infos:
                if not info.is_dir():
                    with pack.open(info) as content:
                        yield info.filename, info.file_size, content
        return
    with (gzip.open if magic == b"\x1f\x8b" else open)(archive, "rb") as raw:
        with tarfile.open(fileobj=raw, mode="r:") as pack:
            for member in pack:
                plain = member.isfile() or member.isdir()
                _check(archive, member.name, plain, link=member.issym() or member.islnk())
                content = pack.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name, member.size, content
        while raw.read(1 << 20):
            pass  # the checksum of a gzip stands at its end, behind what tar reads


def _check(archive: Path, name: str, plain: bool, *, link: bool) -> None:
    paths = (PurePosixPath(name), PureWindowsPath(name))
    if not name or "\\" in name or any(path.anchor or ".." in path.parts for path in paths):
        rule = "a member's name must stay in the folder: relative, without '..' and backslashes"
        raise BadInput(f"{archive}, member {name!r}", rule, _FROM_OWNERS)
    if not plain:
        found = "link" if link else "device"
        rule = f"a member must be a plain file or folder, found a {found}"
        raise BadInput(f"{archive}, member {name!r}", rule, _FROM_OWNERS)


def _write(where: str, size: int, stream: IO[bytes], folder: Path, inside: str) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        rule = f"needs {size} bytes, and {free} are free on the disk of {folder}"
        raise BadInput(where, rule, "Make room")
    file = folder / inside
    if file.exists():
        rule = f"must be the only one for {file.name}, found another before"
        raise BadInput(where, rule, _FROM_OWNERS)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb", buffering=0) as out:
        while chunk := stream.read(1 << 20):
            write_all(out, chunk, file)
