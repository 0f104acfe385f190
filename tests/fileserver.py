"""A web server on this machine that keeps a diary and fails as it is told."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What is served, and how badly.

    Attributes:
        files: content by name.
        url: of the folder, with a final "/".
        asked: [method, name, Range, If-Range, bytes sent] of each request.
        ranges: whether pieces can be asked for.
        validator: "ETag", "Last-Modified" or none.
        head: whether HEAD is answered.
        length: whether the length is announced.
        cuts: after how many bytes of the body the next answers break off, one by one.
        status: what the next requests are answered with instead, one by one.
        moved: where names are redirected to.
        stall: after this many bytes nothing more comes until ``go_on`` is set.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    asked: list[list[Any]] = field(default_factory=list)
    ranges: bool = True
    validator: str | None = "ETag"
    head: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    stall: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)

    def pieces(self) -> list[str | None]:
        """The Range of each GET."""
        return [asked for method, _, asked, _, _ in self.asked if method == "GET"]

    def sent(self) -> int:
        """Bytes of all bodies."""
        return sum(number for _, _, _, _, number in self.asked)


@contextmanager
def serving(**files: bytes) -> Iterator[Site]:
    """A site with files; in names, "__" stands for a dot."""
    site = Site({name.replace("__", "."): content for name, content in files.items()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield site
    finally:
        site.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self, body: bool) -> None:
            name = self.path.rsplit("/", 1)[1]
            asked, unless = self.headers.get("Range"), self.headers.get("If-Range")
            self._entry: list[Any] = [self.command, name, asked, unless, 0]
            site.asked.append(self._entry)  # first: the client may be done before the server is
            if not body and not site.head:
                self._end(405)
            elif site.status:
                self._end(site.status.pop(0))
            elif name in site.moved:
                self._end(302, Location=site.moved[name])
            elif name not in site.files:
                self._end(404)
            else:
                self._file(site.files[name], asked, unless, body)

        def _end(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": "0", **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()

        def _file(self, content: bytes, asked: str | None, unless: str | None, body: bool) -> None:
            version = hashlib.sha256(content).hexdigest()[:8]
            value = f'"{version}"' if site.validator == "ETag" else f"Tue, {version}"
            known = {site.validator: value} if site.validator else {}
            start = 0
            if asked and site.ranges and unless in (None, value):
                (digits,) = re.fullmatch(r"bytes=(\d+)-", asked).groups()
                start = int(digits)
                if start >= len(content):
                    self._end(416, Content_Range=f"bytes */{len(content)}")
                    return
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                known["Content-Range"] = span
            self.send_response(206 if "Content-Range" in known else 200)
            if site.length:
                known["Content-Length"] = str(len(content) - start)
            for key, text in known.items():
                self.send_header(key, text)
            self.end_headers()
            self.close_connection = True
            if body:
                self._body(content[start:])

        def _body(self, content: bytes) -> None:
            if site.cuts:
                content = content[: site.cuts.pop(0)]
            content = content[: site.stall]
            self._entry[-1] = len(content)
            stalled = site.stall is not None
            self.wfile.write(content)
            if stalled:
                site.go_on.wait(60)

    return Handler
