"""A small web server for a folder of files, in a thread: validators, conditions and byte ranges.

It serves files as big as the demo's, each read at once, to this machine alone.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
CONTENT_TYPES: Final = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)\Z")


@contextmanager
def served(directory: Path, port: int) -> Iterator[int]:
    """Serve the files of a folder while the block runs; give the port.

    That is `port` unless it is 0 or taken: then it is any free one.
    """
    handler = partial(_Handler, directory)
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError:
        server = ThreadingHTTPServer((HOST, 0), handler)
    server.daemon_threads = True
    server.handle_error = _ignored  # type: ignore[assignment,method-assign] # clients hang up as they like
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="demo server")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _ignored(*_: object) -> None:
    pass


class _Handler(BaseHTTPRequestHandler):
    """The library's way to answer a request."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, directory: Path, *arguments: object) -> None:
        self._directory = directory
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's
        """Say nothing: requests are no news."""

    def _answer(self, *, with_body: bool) -> None:
        path = self._directory / Path(self.path.partition("?")[0]).name
        if not path.is_file():
            self._head(HTTPStatus.NOT_FOUND, 0)
            return
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._validators = {
            "ETag": etag,
            "Last-Modified": formatdate(path.stat().st_mtime, usegmt=True),
            "Content-Type": CONTENT_TYPES.get(path.suffix, "application/octet-stream"),
            "Accept-Ranges": "bytes",
        }
        if etag in self.headers.get("If-None-Match", ""):
            self._head(HTTPStatus.NOT_MODIFIED, 0, self._validators)
            return
        wanted = _RANGE.match(self.headers.get("Range", ""))
        if wanted is None or self.headers.get("If-Range", etag) != etag:
            self._send(HTTPStatus.OK, content, with_body=with_body)
            return
        first = int(wanted[1])
        last = min(int(wanted[2] or len(content)), len(content) - 1)
        if first > last:
            place = {"Content-Range": f"bytes */{len(content)}"}
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, place)
            return
        self._validators["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(HTTPStatus.PARTIAL_CONTENT, content[first : last + 1], with_body=with_body)

    def _send(self, status: HTTPStatus, body: bytes, *, with_body: bool) -> None:
        self._head(status, len(body), self._validators)
        if with_body:
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(length))
        self.end_headers()
