"""A forward proxy on this machine, which looks every name up as this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from crlcheck.demo.loopback import serving, url_of


@dataclass
class ForwardProxy:
    """
    A proxy: ``asked`` are the request lines and the Proxy-Authorization that came.

    status: what it answers instead of forwarding; 0 to forward.
    """

    url: str = ""
    status: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextlib.contextmanager
def forward_proxy() -> Iterator[ForwardProxy]:
    """Serve GET and CONNECT on a free port; every host is this machine."""
    made = ForwardProxy()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test's output to itself."""

        def do_GET(self) -> None:
            if self._is_refused():
                return
            parts = urlsplit(self.path)
            upstream = HTTPConnection("127.0.0.1", parts.port or 80)
            with contextlib.closing(upstream):
                upstream.request("GET", parts.path, headers=dict(self.headers))
                answer = upstream.getresponse()
                body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self) -> None:
            if self._is_refused():
                return
            port = int(self.path.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_copy, args=(upstream, self.connection))
                back.start()
                _copy(self.connection, upstream)
                back.join()

        def _is_refused(self) -> bool:
            made.asked.append((self.requestline, self.headers.get("Proxy-Authorization")))
            if made.status:
                self.send_error(made.status)
            return made.status != 0

    with serving(Handler) as server:
        made.url = url_of(server)
        yield made


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
