"""One file over HTTP: resumed after a cut, checked at the end, there whole or not at all.

``requests`` and its ``urllib3`` do connections, redirects, proxies, certificates and the retries of
what never began. What they do not do is here: to go on within a file.
"""

import errno
import hashlib
import json
import logging
import os
import re
import time
from dataclasses import asdict, dataclass
from io import RawIOBase
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from sspcm_kedro.data.progress import show_bytes
from sspcm_kedro.errors import BadInput

logger = logging.getLogger(__name__)

CHUNK = 1 << 16
TIMEOUT = (15, 60)
"""Seconds to connect, and between two pieces of an answer."""

_CUT = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)
_BUSY = (429, 500, 502, 503, 504)
_GONE = (404, 410)
_AGAIN = "Run the same command again: it goes on from there"


class _Restart(Exception):
    """What is there is no beginning of what the server has now."""


@dataclass(frozen=True)
class Patience:
    """How long to hold out.

    Attributes:
        attempts: failures in a row, without a byte in between, that are one too many.
        wait: seconds after the first of them; twice as many after each further one.
    """

    attempts: int = 5
    wait: float = 1.0


@dataclass(frozen=True)
class Origin:
    """Whose beginning a part is.

    Attributes:
        url: where it came from.
        validator: the ETag, or the date of the last change, that tells this version from others.
        total: bytes of the whole, if the server said.
    """

    url: str
    validator: str | None
    total: int | None


class Part:
    """``name.part``, the first bytes of a file, and ``name.part.json``, their origin."""

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(f"{file.name}.part")
        self._note = file.with_name(f"{file.name}.part.json")

    @property
    def length(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def origin(self) -> Origin | None:
        """``None`` where it is not known: those bytes are worth nothing."""
        try:
            return Origin(**json.loads(self._note.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, origin: Origin) -> None:
        """Empty, of another origin. The bytes go first: a kill must not leave them to it."""
        self.remove()
        self._note.write_text(json.dumps(asdict(origin)))

    def remove(self) -> None:
        """Nothing is left."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def become(self, file: Path) -> None:
        """The whole file."""
        with self.path.open("ab") as stream:
            os.fsync(stream.fileno())
        os.replace(self.path, file)
        self._note.unlink(missing_ok=True)


def open_session(patience: Patience) -> requests.Session:
    """A session that tries again what could not be connected to or was busy.

    It knows no scheme but http and https, so a redirect elsewhere is an error.
    """
    retry = Retry(
        total=patience.attempts,
        backoff_factor=patience.wait,
        status_forcelist=_BUSY,
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # offsets count the bytes of the file itself
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def remote_size(session: requests.Session, url: str, size: int | None = None) -> int | None:
    """Bytes of a file, if its server says so without being asked for the file.

    Args:
        session: from ``open_session``.
        url: http or https.
        size: that it must have, in bytes.

    Raises:
        BadInput: there is no such file, or no server, or the file has another size.
    """
    try:
        response = session.head(url, allow_redirects=True, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise _unreachable(url, error) from error
    if response.status_code in _GONE:
        raise _refused(response)
    told = _number(response.headers.get("Content-Length")) if response.ok else None
    _as_published(url, told, size)
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
    """Make ``file`` what is at ``url``; its folder must exist.

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
    patience = patience or Patience()
    part, failures = Part(file), 0
    while not _whole(part, size):
        before = part.length
        try:
            _transfer(session, url, part, size, checksum is not None)
            break
        except (*_CUT, _Restart) as error:
            failures = 0 if part.length > before else failures + 1
            if failures >= patience.attempts:
                rule = f"the connection broke {failures} times in a row, the last time so: {error}"
                kept = f"{part.length} bytes are kept in {part.path}"
                raise BadInput(url, f"{rule}; {kept}", _AGAIN) from error
            logger.warning("%s: %s; going on after %d bytes", url, error, part.length)
            time.sleep(patience.wait * 2**failures)
        except requests.RequestException as error:
            raise _unreachable(url, error) from error
    if checksum is not None:
        try:
            verify(part.path, checksum)
        except BadInput:
            part.remove()
            raise
    part.become(file)


def _whole(part: Part, size: int | None) -> bool:
    origin = part.origin
    return origin is not None and part.length == (origin.total if size is None else size)


def _transfer(
    session: requests.Session, url: str, part: Part, size: int | None, checked: bool
) -> None:
    """Ask for the rest, or for all of it, and append what comes."""
    start, origin = part.length, part.origin
    headers = _range_headers(url, start, origin, checked)
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:
            if _content_range(response)[1] == start:
                return  # nobody had said how long the whole is
            part.remove()
            raise _Restart("the server has no bytes after those that are there")
        if response.status_code not in (200, 206):
            raise _refused(response)
        if response.status_code == 200:
            if headers:
                logger.info("%s: starting anew, changed or not to be had in pieces", url)
            start, total = 0, _number(response.headers.get("Content-Length"))
        else:
            first, total = _content_range(response)
            known = origin.total if origin else None
            if first != start or (known is not None and total not in (None, known)):
                part.remove()
                raise _Restart("the server sent another piece than it was asked for")
        _as_published(url, total, size)
        if start == 0:
            part.begin(Origin(url, _validator(response), total))
        _append(response, part, url, start, total if size is None else size)


def _range_headers(url: str, start: int, origin: Origin | None, checked: bool) -> dict[str, str]:
    """How to ask for what follows ``start``; empty: for everything."""
    if not start or origin is None:
        return {}
    validator = origin.validator if origin.url == url else None
    if validator is not None:
        return {"Range": f"bytes={start}-", "If-Range": validator}
    return {"Range": f"bytes={start}-"} if checked else {}


def _append(
    response: requests.Response, part: Part, url: str, start: int, total: int | None
) -> None:
    title = url.rsplit("/", 1)[1]
    with part.path.open("ab", buffering=0) as stream, show_bytes(title, total, start) as count:
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            write_all(stream, chunk, part.path)
            count(len(chunk))
    if total is not None and part.length != total:
        raise _Restart(f"{part.length} bytes came of {total}")


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


def _as_published(url: str, told: int | None, size: int | None) -> None:
    if size is not None and told not in (None, size):
        rule = f"the published file has {size} bytes, and the server's has {told}"
        raise BadInput(url, rule, "Fetch it from another place: download.mirror=ADDRESS")


def _validator(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and whole length of a piece."""
    header = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", header)
    return (_number(match[1]), _number(match[2])) if match else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def verify(file: Path, checksum: str) -> None:
    """The file has the checksum.

    Args:
        file: any.
        checksum: "sha256:..." or "md5:...".

    Raises:
        BadInput: it has another.
    """
    kind, expected = checksum.split(":")
    digest = hashlib.new(kind, usedforsecurity=False)  # of md5: against accidents it will do
    with file.open("rb") as stream, show_bytes("checking", file.stat().st_size, 0) as count:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            count(len(chunk))
    if digest.hexdigest() != expected:
        rule = f"must have the {kind} {expected}, found {digest.hexdigest()}"
        raise BadInput(file, rule, "Remove it if it is still there, and fetch it again")


def _refused(response: requests.Response) -> BadInput:
    rule = f"the server answers {response.status_code} {response.reason}"
    remedy = "Look where the file is now, and name its folder: download.mirror=ADDRESS"
    if response.status_code in _BUSY:
        remedy = "Run the same command again later"
    return BadInput(response.url, rule, remedy)


def _unreachable(url: str, error: Exception) -> BadInput:
    remedy = "Check the connection; another place is named by download.mirror=ADDRESS"
    return BadInput(url, f"must be a file on a web server that answers, but {error}", remedy)
