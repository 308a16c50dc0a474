"""A web server on this machine whose pages a test chooses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from crlcheck.demo.loopback import serving, url_of


@dataclass
class Site:
    """A web server: each path's status, headers and body; ``asked`` are
    the headers that came, ``paths`` the paths."""

    url: str = ""
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    send: Callable[[Any, bytes], None] = lambda wfile, body: wfile.write(body)


@contextlib.contextmanager
def web_site() -> Iterator[Site]:
    """Serve on a free port."""
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(dict(self.headers))
            made.paths.append(self.path)
            status, headers, body = made.pages.get(self.path, (404, {}, b""))
            etag = headers.get("ETag")
            if etag is not None and self.headers.get("If-None-Match") == etag:
                status, body = 304, b""
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                made.send(self.wfile, body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test's output to itself."""

    with serving(Handler) as server:
        made.url = url_of(server)
        yield made
