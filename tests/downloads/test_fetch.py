"""A file over HTTP is whole and right or not there; what is there is not asked for again."""

import errno
import hashlib
import io
import os
import random
import re
from pathlib import Path

import pooch
import pytest

from fileserver import Site, serving
from sspcm_kedro.downloads.fetch import Patience, fetch, open_session, remote_size, verify
from sspcm_kedro.errors import BadInput

CONTENT = random.Random(1).randbytes(300_000)
NEWER = random.Random(2).randbytes(250_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
HASTY = Patience(attempts=3, wait=0)


@pytest.fixture
def site():
    with serving(set__zip=CONTENT) as running:
        yield running


@pytest.fixture
def session():
    with open_session(HASTY) as opened:
        yield opened


@pytest.fixture
def get(site: Site, session, tmp_path: Path):
    """Fetches set.zip; gives the file."""

    def once(**options) -> Path:
        file = tmp_path / "set.zip"
        fetch(session, f"{site.url}set.zip", file, **{"patience": HASTY, **options})
        return file

    return once


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_at_once(site, get, tmp_path):
    assert get().read_bytes() == CONTENT
    assert left(tmp_path) == ["set.zip"]
    assert site.pieces() == [None]


def broken_off(site: Site, get, tmp_path: Path, *cuts: int, **options) -> Path:
    """The part that three broken answers leave behind: the third of them is empty."""
    site.cuts = [*cuts, 0, 0, 0]
    with pytest.raises(BadInput, match=r"broke 3 times in a row.*bytes are kept in.*same command"):
        get(**options)
    assert left(tmp_path) == ["set.zip.part", "set.zip.part.json"]
    site.asked.clear()
    return tmp_path / "set.zip.part"


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_it_goes_on_after_cuts_in_one_run(site, get, validator):
    site.validator = validator
    site.cuts = [100_000, 70_000]
    assert get().read_bytes() == CONTENT
    assert site.pieces() == [None, "bytes=100000-", "bytes=170000-"]
    assert site.sent() == len(CONTENT)


def test_the_next_run_asks_for_the_rest_only(site, get, tmp_path):
    part = broken_off(site, get, tmp_path, 123_456)
    assert part.read_bytes() == CONTENT[:123_456]
    assert get().read_bytes() == CONTENT
    assert site.pieces() == ["bytes=123456-"]
    assert site.sent() == len(CONTENT) - 123_456
    assert left(tmp_path) == ["set.zip"]


def test_a_whole_part_is_not_asked_for(site, get, tmp_path):
    """Killed between the last byte and its name."""
    broken_off(site, get, tmp_path, 123_456)
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert site.asked == []


def test_a_server_without_pieces_starts_anew(site, get, tmp_path):
    broken_off(site, get, tmp_path, 123_456)
    site.ranges = False
    assert get().read_bytes() == CONTENT
    assert site.sent() == len(CONTENT)


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("newer", [NEWER, NEWER + NEWER, CONTENT[::-1]])
def test_a_file_that_changed_starts_anew(site, get, tmp_path, validator, newer):
    site.validator = validator
    broken_off(site, get, tmp_path, 123_456)
    site.files["set.zip"] = newer
    assert get().read_bytes() == newer
    assert site.pieces() == ["bytes=123456-"]


def test_a_file_that_changed_between_cuts(site, get):
    site.cuts = [100_000]
    kept = dict(site.files)

    class Changing(dict):
        def __getitem__(self, name):
            return kept[name] if len(site.asked) == 1 else NEWER

    site.files = Changing(kept)
    assert get().read_bytes() == NEWER


def test_without_version_only_a_checksum_lets_it_go_on(site, get, tmp_path):
    site.validator = None
    broken_off(site, get, tmp_path, 123_456, checksum=SHA256)
    assert get(checksum=SHA256).read_bytes() == CONTENT
    assert site.pieces() == ["bytes=123456-"]
    (tmp_path / "set.zip").unlink()
    broken_off(site, get, tmp_path, 123_456, checksum=SHA256)
    assert get().read_bytes() == CONTENT
    assert site.pieces() == [None]


def test_a_part_of_another_address_is_worth_nothing(site, session, get, tmp_path):
    broken_off(site, get, tmp_path, 123_456)
    site.files["set.zip"] = NEWER
    other = site.url.replace("127.0.0.1", "localhost")
    fetch(session, f"{other}set.zip", tmp_path / "set.zip", patience=HASTY)
    assert (tmp_path / "set.zip").read_bytes() == NEWER
    assert site.pieces() == [None]


@pytest.mark.parametrize("note", [None, b"", b"[]", b'{"url": 1}'])
def test_a_part_without_a_note_is_worth_nothing(site, get, tmp_path, note):
    part = broken_off(site, get, tmp_path, 123_456)
    part.write_bytes(bytes(123_456))
    file = tmp_path / "set.zip.part.json"
    file.unlink() if note is None else file.write_bytes(note)
    assert get().read_bytes() == CONTENT
    assert site.pieces() == [None]


def test_a_part_that_is_too_long_starts_anew(site, get, tmp_path):
    part = broken_off(site, get, tmp_path, 123_456)
    part.write_bytes(CONTENT + b"more")
    assert get().read_bytes() == CONTENT
    assert site.pieces() == ["bytes=300004-", None]


def test_a_wrong_checksum_leaves_nothing(get, tmp_path):
    wrong = f"sha256:{hashlib.sha256(NEWER).hexdigest()}"
    found = SHA256.removeprefix("sha256:")
    with pytest.raises(BadInput, match=rf"set\.zip: .*SHA256.*but got {found}\. .*again"):
        get(checksum=wrong)
    assert left(tmp_path) == []


def test_a_kill_during_the_check_costs_nothing(site, get, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(pooch.core, "hash_matches", killed)
        patch.setattr(pooch.utils.os, "remove", lambda _: None)  # nothing tidies up after a kill
        with pytest.raises(Killed):
            get(checksum=SHA256)
    assert len(left(tmp_path)) == 3
    site.asked.clear()
    assert get(checksum=SHA256).read_bytes() == CONTENT
    assert left(tmp_path) == ["set.zip"] and site.asked == []


def test_a_disk_without_hard_links(get, tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    assert get(checksum=SHA256).read_bytes() == CONTENT
    assert left(tmp_path) == ["set.zip"]


def test_both_kinds_of_checksums(get, tmp_path):
    md5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    assert get(checksum=md5).read_bytes() == CONTENT
    verify(tmp_path / "set.zip", SHA256)
    with pytest.raises(BadInput, match=r"set\.zip: must have the md5 0+, found"):
        verify(tmp_path / "set.zip", f"md5:{'0' * 32}")


def test_a_server_that_always_sends_too_little(site, get, tmp_path):
    """It announces 300000 bytes and has 200000; nobody takes them for the file."""
    site.cuts = [200_000, *[0] * 20]
    with pytest.raises(BadInput, match=r"broke 3 times.*200000 bytes are kept.*Run the same"):
        get()
    assert left(tmp_path) == ["set.zip.part", "set.zip.part.json"]


def test_progress_is_forgiven_and_standing_still_is_not(site, get):
    site.cuts = [20_000] * 10 + [0] * 2
    assert get().read_bytes() == CONTENT
    assert len(site.asked) == 13


def test_another_length_than_the_published_is_refused_before_it_is_fetched(site, get, tmp_path):
    with pytest.raises(
        BadInput, match=r"published file has 299999 bytes, and the server's has 300"
    ):
        get(size=299_999)
    assert left(tmp_path) == []


def test_without_length_the_published_one_counts(site, get, tmp_path):
    site.length = False
    site.cuts = [100_000]
    assert get(size=len(CONTENT), checksum=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 403, 410, 401])
def test_a_refusal_is_told_at_once(site, get, tmp_path, status):
    site.status = [status]
    with pytest.raises(
        BadInput, match=rf"set\.zip: the server answers {status} .*download\.mirror"
    ):
        get()
    assert left(tmp_path) == []
    assert len(site.asked) == 1


def test_a_busy_server_is_asked_again(site, get):
    site.status = [503, 500]
    assert get().read_bytes() == CONTENT
    assert len(site.asked) == 3


def test_a_server_that_stays_busy(site, get, tmp_path):
    site.status = [503] * 100
    with pytest.raises(BadInput, match=r"answers 503 Service Unavailable\. Run the same command"):
        get()
    assert len(site.asked) == 1 + HASTY.attempts


def test_nobody_there(session, tmp_path):
    with serving() as site:
        url = f"{site.url}set.zip"
    with pytest.raises(BadInput, match=r"set\.zip: the connection broke 3 times.*refused"):
        fetch(session, url, tmp_path / "set.zip", patience=HASTY)
    with pytest.raises(BadInput, match=r"must be a file on a web server that answers.*connection"):
        remote_size(session, url)


def test_redirects_are_followed_on_the_web_only(site, get, session, tmp_path):
    site.files["other.zip"] = NEWER
    site.moved["set.zip"] = f"{site.url}other.zip"
    assert get().read_bytes() == NEWER
    for elsewhere in (tmp_path.as_uri(), "ftp://127.0.0.1/set.zip"):
        site.moved["set.zip"] = elsewhere
        (tmp_path / "set.zip").unlink(missing_ok=True)
        for ask in (get, lambda: remote_size(session, f"{site.url}set.zip")):
            with pytest.raises(BadInput, match=rf"No connection adapters.*{re.escape(elsewhere)}"):
                ask()


def test_sizes_are_asked_for_without_the_file(site, session):
    url = f"{site.url}set.zip"
    assert remote_size(session, url) == remote_size(session, url, len(CONTENT)) == len(CONTENT)
    with pytest.raises(BadInput, match="published file has 7 bytes, and the server's has 300000"):
        remote_size(session, url, 7)
    assert site.sent() == 0
    site.length = False
    assert remote_size(session, url) is None
    site.head = False
    assert remote_size(session, url) is None
    site.head, site.files = True, {}
    with pytest.raises(BadInput, match="404 Not Found"):
        remote_size(session, url)


class SmallDisk(io.FileIO):
    """A file on a disk for 150000 bytes."""

    def write(self, data) -> int:
        room = 150_000 - self.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:room])


def test_a_full_disk_leaves_what_fits(site, get, tmp_path, monkeypatch):
    real = Path.open

    def small(self, mode="r", **options):
        return SmallDisk(self, "a") if mode == "ab" else real(self, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", small)
        with pytest.raises(BadInput, match=r"set\.zip\.part: the disk is full\. Make room.*same"):
            get()
    assert (tmp_path / "set.zip.part").read_bytes() == CONTENT[:150_000]
    assert get().read_bytes() == CONTENT
    assert site.pieces() == [None, "bytes=150000-"]
