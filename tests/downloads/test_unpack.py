"""What an archive says of places is not believed; damage is told; nothing is left of a refusal."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from sspcm_kedro.downloads import unpack as module
from sspcm_kedro.downloads.unpack import unpack, unpacked_bytes
from sspcm_kedro.errors import BadInput

PLACES = (("images/*.jpg", "pictures/"), ("*.json", "notes/all.json"))
GOOD = {"set/images/a.jpg": b"A" * 999, "set/images/b.jpg": b"B", "list.json": b"{}", "x": b"no"}
KINDS = ("zip", "tar", "tar.gz")


def pack(file: Path, members: dict[str, bytes]) -> Path:
    """An archive of plain files, of the kind that the name says."""
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo("x")
                info.filename = name  # as it stands: ZipInfo would tidy it
                archive.writestr(info, content)
        return file
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def link(file: Path, kind: bytes, target: str) -> Path:
    """An archive with good members, and one that is a link or a device."""
    if file.suffix == ".zip":
        pack(file, GOOD)
        with zipfile.ZipFile(file, "a") as archive:
            info = zipfile.ZipInfo("set/images/c.jpg")
            mode = {tarfile.SYMTYPE: stat.S_IFLNK, tarfile.CHRTYPE: stat.S_IFCHR}[kind]
            info.create_system, info.external_attr = 3, (mode | 0o777) << 16
            archive.writestr(info, target)
        return file
    with tarfile.open(file, "w") as archive:
        for name in ("set/images/c.jpg", "unwanted"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return file


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(archive: Path, match: str) -> None:
    """With that message, and without a trace."""
    folder = archive.parent / "deep" / "new"
    before = files(archive.parent)
    with pytest.raises(BadInput, match=match) as error:
        unpack(archive, folder, PLACES)
    assert archive.name in str(error.value)
    assert not folder.exists()
    assert files(archive.parent) == before


@pytest.mark.parametrize("kind", KINDS)
def test_members_go_to_their_places(tmp_path, kind):
    archive = pack(tmp_path / f"set.{kind}", GOOD)
    counts = unpack(archive, tmp_path / "new", PLACES)
    assert counts == {"pictures": 2, "notes/all.json": 1}
    assert files(tmp_path / "new") == {
        "notes/all.json": b"{}", "pictures/a.jpg": b"A" * 999, "pictures/b.jpg": b"B",
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "../images/c.jpg", "set/../../images/c.jpg", "/images/c.jpg", "//host/images/c.jpg",
        "C:/images/c.jpg", "..\\images\\c.jpg", "images\\c.jpg", "../unwanted",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(tmp_path, kind, name):
    archive = pack(tmp_path / f"set.{kind}", {**GOOD, name: b"evil"})
    refused(archive, r"member '.*must stay in the folder.*Fetch the archive from its owners")


@pytest.mark.parametrize("target", ["../../outside", "/etc/passwd", "a.jpg"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_refused(tmp_path, kind, target):
    rule = r"member 'set/images/c\.jpg': a member must be a plain file or folder, found a link\. "
    refused(link(tmp_path / "set.tar", kind, target), rule)
    if kind == tarfile.SYMTYPE:
        refused(link(tmp_path / "set.zip", kind, target), rule)


def test_devices_are_refused(tmp_path):
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        refused(link(tmp_path / "set.tar", kind, ""), "found a device")
    refused(link(tmp_path / "set.zip", tarfile.CHRTYPE, ""), "found a device")


def test_a_refusal_of_a_zip_comes_before_anything_is_written(tmp_path, monkeypatch):
    archive = pack(tmp_path / "set.zip", {**GOOD, "../last": b"evil"})
    monkeypatch.setattr(module, "_write", lambda *_: pytest.fail("wrote"))
    refused(archive, "must stay in the folder")


def test_two_members_for_one_place(tmp_path):
    archive = pack(tmp_path / "set.zip", {**GOOD, "other/images/a.jpg": b"2"})
    refused(archive, r"member 'other/images/a\.jpg': must be the only one for a\.jpg")


def test_a_place_that_stays_empty(tmp_path):
    archive = pack(tmp_path / "set.zip", {"list.json": b"{}", "a.jpg": b"A"})
    refused(archive, r"must have members like images/\*\.jpg, found none\. .*by hand")


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        *((kind, damage) for kind in KINDS for damage in ("cut", "nothing", "other")),
        *((kind, "changed") for kind in ("zip", "tar.gz")),  # tar: no checksum of contents
    ],
)
def test_damage_is_told(tmp_path, kind, damage):
    archive = pack(tmp_path / f"set.{kind}", {**GOOD, "set/images/c.jpg": bytes(range(256)) * 40})
    content = bytearray(archive.read_bytes())
    changed = bytearray(content)
    changed[len(content) // 3] ^= 255
    damaged = {"cut": content[: len(content) // 2], "changed": changed, "nothing": b"",
               "other": b"<html>Not here</html>" * 99}[damage]  # fmt: skip
    archive.write_bytes(damaged)
    refused(archive, r"must be a whole archive, but .*Remove the file and run the same command")


def test_the_checksum_at_the_end_of_a_gzip_counts(tmp_path):
    archive = pack(tmp_path / "set.tar.gz", GOOD)
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    refused(archive, "must be a whole archive, but CRC check failed")


def test_an_encrypted_zip(tmp_path):
    archive = pack(tmp_path / "set.zip", {"list.json": b"{}"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    refused(archive, "must be a whole archive, but .*encrypted")


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_does_not_fit(tmp_path, monkeypatch, kind):
    archive = pack(tmp_path / f"set.{kind}", GOOD)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=998))
    refused(archive, r"member 'set/images/a\.jpg': needs 999 bytes, and 998 are free.*Make room")


def test_bytes_of_a_zip_are_known_before(tmp_path):
    assert unpacked_bytes(pack(tmp_path / "set.zip", GOOD)) == 999 + 1 + 2 + 2
    assert unpacked_bytes(pack(tmp_path / "set.tar", GOOD)) is None
