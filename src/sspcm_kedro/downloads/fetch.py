"""One file over HTTP: resumed after a cut or a kill, checked, there whole or not at all.

``pooch`` checks the file and gives it its name; ``requests`` and ``urllib3`` do connections,
redirects, proxies, certificates and the retries of what never began. What none of them does is
here, as a downloader that pooch calls: to go on within a file.
"""

import errno
import json
import logging
import os
import re
import time
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

import pooch
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from sspcm_kedro.data.progress import show_bytes
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)
pooch.get_logger().setLevel(logging.WARNING)  # what is fetched stands in the project's own log

CHUNK = 1 << 16
TIMEOUT = (15, 60)
"""Seconds to connect, and between two pieces of an answer."""

_CUT = (
    requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)  # fmt: skip
_BUSY = (429, 500, 502, 503, 504)
_AGAIN = "Run the same command again: it goes on from there"
_ELSEWHERE = "another place is named by download.mirror=ADDRESS"


@dataclass(frozen=True)
class Patience:
    """How long to hold out.

    Attributes:
        attempts: failures in a row, without a byte in between, that are one too many.
        wait: seconds after the first of them; twice as many after each further one.
    """

    attempts: int = 5
    wait: float = 1.0


class _Part:
    """``name.part``, the first bytes of a file, and ``name.part.json``, where they came from.

    That is: url; validator, the ETag or date of change of this version; total, bytes of the whole.
    """

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(f"{file.name}.part")
        self._note = file.with_name(f"{file.name}.part.json")

    @property
    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def origin(self) -> dict[str, Any]:
        """Empty where it is not known: those bytes are worth nothing."""
        try:
            said = json.loads(self._note.read_bytes())
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) and set(said) == {"url", "validator", "total"} else {}

    def begin(self, **origin: Any) -> None:
        """Empty it for another origin. The bytes go first: a kill must not leave them to it."""
        self.remove()
        self._note.write_text(json.dumps(origin))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def open_session(patience: Patience) -> requests.Session:
    """A session that tries again what could not be connected to or was busy.

    It knows no scheme but http and https, so a redirect elsewhere is an error.
    """
    retry = Retry(
        total=patience.attempts, backoff_factor=patience.wait, status_forcelist=_BUSY,
        raise_on_status=False,
    )  # fmt: skip
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # offsets count the bytes of the file itself
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def remote_size(session: requests.Session, url: str, size: int | None = None) -> int | None:
    """Bytes of the file at ``url``, if its server says so without being asked for the file.

    Raises:
        BadInput: there is no such file, or no server, or the file has another ``size``.
    """
    try:
        response = session.head(url, allow_redirects=True, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise _unreachable(url, error) from error
    if response.status_code in (404, 410):
        raise _refused(response)
    told = _number(response.headers.get("Content-Length")) if response.ok else None
    _check_size(url, told, size)
    return told


def fetch(
    session: requests.Session,
    url: str,
    file: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    patience: Patience | None = None,
) -> None:
    """Make ``file``, which is not there yet, what is at ``url``.

    Until it is whole and checked it is called ``name.part``, and a later call goes on with that,
    unless the server has another version by then. A part whose version cannot be told goes on only
    if there is a checksum to tell at the end.

    Args:
        session: from ``open_session``.
        url: http or https.
        file: to make.
        size: that it must have, in bytes.
        checksum: that it must have: "sha256:..." or "md5:...".
        patience: with a connection that breaks.

    Raises:
        BadInput: the server refuses, has something else, or breaks off too often; the disk is full;
            the checksum is another.
    """
    part = _Part(file)

    def resume(url: str, output: str, _: pooch.Pooch) -> None:
        """As pooch wants a downloader. The part stays: a kill during the check costs nothing."""
        _complete(session, url, part, size, checksum is not None, patience or Patience())
        os.unlink(output)
        try:
            os.link(part.path, output)
        except OSError:  # a disk without hard links: there such a kill does cost it
            os.replace(part.path, output)

    for stray in file.parent.glob("tmp????????"):
        stray.unlink()  # pooch's, of a run that was killed
    registry: dict[str, Any] = {file.name: checksum}
    getter = pooch.Pooch(file.parent, "", registry=registry, urls={file.name: url})
    hook: Any = resume  # its protocol has other names for the arguments than its documents
    try:
        getter.fetch(file.name, downloader=hook)
    except BadInput:
        raise
    except ValueError as error:
        part.remove()
        rule = f"must be as it was published, but {str(error).split('. ')[0]}"
        raise BadInput(file, rule, "Run the same command again, which fetches it anew") from error
    part.remove()


def _complete(
    session: requests.Session, url: str, part: _Part, size: int | None, checked: bool,
    patience: Patience,
) -> None:  # fmt: skip
    """Ask for what is missing until nothing is, or until it failed too often in a row."""
    failures = 0
    while not (origin := part.origin) or part.length != (size or origin["total"]):
        before = part.length
        try:
            return _transfer(session, url, part, size, checked)
        except _CUT as error:
            failures = 0 if part.length > before else failures + 1
            if failures >= patience.attempts:
                rule = (f"the connection broke {failures} times in a row, the last time so: {error}"
                        f"; {part.length} bytes are kept in {part.path}")  # fmt: skip
                raise BadInput(url, rule, _AGAIN) from error
            logger.warning("%s: %s; going on after %d bytes", url, error, part.length)
            time.sleep(patience.wait * 2**failures)
        except requests.RequestException as error:
            raise _unreachable(url, error) from error


def _transfer(
    session: requests.Session, url: str, part: _Part, size: int | None, checked: bool
) -> None:
    """Ask for the rest, or for all of it, and append what comes."""
    start, headers = part.length, {}
    if start and (origin := part.origin):
        validator = origin["validator"] if origin["url"] == url else None
        if validator or checked:
            headers = {"Range": f"bytes={start}-"}
        if validator:
            headers["If-Range"] = validator
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code not in (200, 206, 416):
            raise _refused(response)
        if response.status_code == 200:
            if headers:
                logger.info("%s: starting anew, changed or not to be had in pieces", url)
            start, total = 0, _number(response.headers.get("Content-Length"))
        else:
            piece = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", piece)
            first, total = map(_number, match.groups()) if match else (None, None)
            if response.status_code == 416 and total == start:
                return  # nobody had said how long the whole is
            known = part.origin.get("total")
            if first != start or (known is not None and total not in (None, known)):
                part.remove()
                raise requests.ConnectionError("the server has no such piece as it was asked for")
        _check_size(url, total, size)
        if start == 0:
            etag = response.headers.get("ETag", "")
            strong = etag if etag.startswith('"') else response.headers.get("Last-Modified")
            part.begin(url=url, validator=strong, total=total)
        total = total if size is None else size
        title = url.rsplit("/", 1)[1]
        with part.path.open("ab", buffering=0) as stream, show_bytes(title, total, start) as count:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                write_all(stream, chunk, part.path)
                count(len(chunk))
            os.fsync(stream.fileno())
        if total is not None and part.length != total:
            raise requests.ConnectionError(f"{part.length} bytes came of {total}")


def write_all(stream: RawIOBase, chunk: bytes, path: Path) -> None:
    """Write to an unbuffered file, which may take less than it is given.

    Raises:
        BadInput: the disk is full.
    """
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[stream.write(rest) :]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BadInput(path, "the disk is full", f"Make room. {_AGAIN}") from error


def verify(file: Path, checksum: str) -> None:
    """Refuse a file that has not the checksum, "sha256:..." or "md5:...".

    Raises:
        BadInput: it has another.
    """
    kind, expected = checksum.split(":")
    found = pooch.file_hash(str(file), alg=kind)
    if found != expected:
        rule = f"must have the {kind} {expected}, found {found}"
        raise BadInput(file, rule, "Remove it, and run the same command again")


def _check_size(url: str, told: int | None, size: int | None) -> None:
    if size is not None and told not in (None, size):
        rule = f"the published file has {size} bytes, and the server's has {told}"
        raise BadInput(url, rule, f"Fetch it from elsewhere: {_ELSEWHERE}")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _refused(response: requests.Response) -> BadInput:
    rule = f"the server answers {response.status_code} {response.reason}"
    busy = "Run the same command again later"
    remedy = busy if response.status_code in _BUSY else f"Look where it is now: {_ELSEWHERE}"
    return BadInput(response.url, rule, remedy)


def _unreachable(url: str, error: Exception) -> BadInput:
    rule = f"must be a file on a web server that answers, but {error}"
    return BadInput(url, rule, f"Check the connection; {_ELSEWHERE}")
