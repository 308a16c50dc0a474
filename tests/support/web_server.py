"""A web server over TLS that serves a directory, and can do all that web servers and caches do."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from crlcheck.demo.loopback import serving
from crlcheck.demo.tls import server_certificate

Fault = Callable[[BaseHTTPRequestHandler], None]
"""Answers one request in place of the server."""


@dataclass
class WebServer:
    """
    What the server serves, and how; and the requests that came.

    The contents of *root* are served below ``/published``. Where *date* is None there is no
    Last-Modified, else that is so many seconds before Date. Each of *faults* answers one
    request. Where *refused* is in the path, the answer is 403. *encoding* is
    the Content-Encoding of all bodies, asked for or not.
    """

    root: Path
    url: str = ""
    etags: bool = True
    date: float | None = 3600.0
    ranges: bool = True
    encoding: str = ""
    sizes: bool = True
    break_after: int | None = None
    refused: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def headers_of_last(self) -> dict[str, str]:
        """The headers of the last request, by their names in lower case."""
        return self.requests[-1][1]


def refusing(status: int, **headers: str) -> Fault:
    """Answer with a status and no body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


@contextlib.contextmanager
def web_server(root: Path, certificates: Path | None) -> Iterator[WebServer]:
    """
    Serve *root* until the block ends; over TLS with a certificate of localhost's own in
    *certificates*, ``server.pem``, else without.
    """
    web = WebServer(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.requests.append((self.path, headers))
            if web.faults:
                web.faults.popleft()(self)
            elif web.refused and web.refused in self.path:
                refusing(403)(self)
            else:
                _serve(self, web, headers)

        def send_response(self, code: int, message: str | None = None) -> None:
            web.statuses.append(code)
            super().send_response(code, message)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test's output to itself."""

    with serving(Handler) as server:
        scheme = "http"
        if certificates is not None:
            scheme = "https"
            _secure(server, certificates)
        web.url = f"{scheme}://localhost:{server.server_port}/published"
        yield web


def _secure(server: ThreadingHTTPServer, directory: Path) -> None:
    certificate, key = server_certificate()
    (directory / "server.pem").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    # Each thread of the server does its own handshake.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )


def _serve(handler: BaseHTTPRequestHandler, web: WebServer, headers: dict[str, str]) -> None:
    path = unquote(urlsplit(handler.path).path)
    file = web.root / path.removeprefix("/published/")
    if not path.startswith("/published/") or not file.is_file():
        refusing(404)(handler)
        return
    body = file.read_bytes()
    if web.encoding in ("gzip", "x-gzip"):
        body = gzip.compress(body, mtime=0)
    now = file.stat().st_mtime
    validators: dict[str, str] = {}
    if web.etags:
        validators["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    if web.date is not None:
        validators["Last-Modified"] = formatdate(now - web.date, usegmt=True)
    status, start, end = _status(web, headers, validators, len(body))
    handler.send_response_only(status)
    web.statuses.append(status)
    for name, value in (("Date", formatdate(now, usegmt=True)), *validators.items()):
        handler.send_header(name, value)
    if status in (304, 412, 416):
        if status != 304:
            handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    if web.encoding:
        handler.send_header("Content-Encoding", web.encoding)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
    _send(handler, web, body[start:end])


def _status(
    web: WebServer, headers: dict[str, str], validators: dict[str, str], size: int
) -> tuple[int, int, int]:
    """The status, and where in the body of *size* bytes the answer begins and ends."""
    if headers.get("if-match", validators.get("ETag")) != validators.get("ETag"):
        return 412, 0, 0
    modified = validators.get("Last-Modified")
    if "if-none-match" in headers:
        is_same = headers["if-none-match"] == validators.get("ETag")
    else:
        is_same = modified is not None and headers.get("if-modified-since") == modified
    if is_same:
        return 304, 0, 0
    found = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", headers.get("range", ""))
    # Whoever goes on after a break names the state that it has begun with.
    is_same = headers.get("if-range", "") in ("", *validators.values())
    if found and web.ranges and is_same:
        start, end = int(found[1]), min(int(found[2] or size - 1) + 1, size)
        return (206, start, end) if start < size else (416, 0, 0)
    return 200, 0, size


def _send(handler: BaseHTTPRequestHandler, web: WebServer, body: bytes) -> None:
    if web.sizes:
        handler.send_header("Content-Length", str(len(body)))
    else:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()
    if web.break_after is not None and len(body) > web.break_after:
        body = body[: web.break_after]
        handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.wfile.write(body)
