"""
A proxy before an S3 server that answers as an emulator never does: refusals,
lost answers, bodies that break off.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from crlcheck.demo.loopback import serving, url_of


@dataclass(frozen=True)
class Fault:
    """
    What becomes of one request.

    With a *status* it is refused with that and an S3 error *code*, unforwarded.
    Otherwise it is forwarded, and of the answer only the first *part* (0 to 1)
    of its body comes back; nothing at all where *part* is None. *seconds* is how
    long the body takes, which then comes in small pieces. *change* makes other
    bytes of the body. *reset* ends the connection as a crash would.
    """

    status: int | None = None
    code: str = ""
    part: float | None = None
    seconds: float = 0.0
    change: Callable[[bytes], bytes] = bytes
    reset: bool = False


LOST_ANSWER = Fault()
BROKEN_BODY = Fault(part=0.5)
SLOW_BODY = Fault(part=1, seconds=30.0)
_PIECES = 60


def _flip_middle(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


CONNECTION_RESET = Fault(part=0.5, reset=True)
WRONG_CHECKSUM = Fault(part=1, change=_flip_middle)


@dataclass
class FaultProxy:
    """
    The faults still to come, one for each request, the one that all other requests
    for names with *always_for* in them meet, and the requests that came: their methods, and
    those with their paths.

    Faults are for requests that *concerns* takes by method and path, all by default.
    """

    endpoint: str
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault = field(default_factory=lambda: Fault(part=1))
    always_for: str = ""
    methods: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    concerns: Callable[[str, str], bool] = lambda _method, _path: True

    def next_fault(self, method: str, path: str) -> Fault:
        """What becomes of a request."""
        if self.faults and self.concerns(method, path):
            return self.faults.popleft()
        return self.always if self.always_for in path else Fault(part=1)


@contextlib.contextmanager
def fault_proxy(server: str) -> Iterator[FaultProxy]:
    """Forward to *server* (``http://host:port``) on a free port, with faults."""
    forward_to = urlsplit(server).netloc
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            self.close_connection = True
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            proxy.methods.append(self.command)
            proxy.requests.append((self.command, self.path))
            fault = proxy.next_fault(self.command, self.path)
            if fault.status is not None:
                self._refuse(fault.status, fault.code)
                return
            upstream = http.client.HTTPConnection(forward_to)
            with contextlib.closing(upstream):
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                content = answer.read()
            if fault.part is not None:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "server", "date"):
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                _send(self, fault, content[: int(len(content) * fault.part)], ended)

        do_GET = do_HEAD = do_PUT = do_DELETE = serve

        def _refuse(self, status: int, code: str) -> None:
            head = self.command == "HEAD"
            content = b"" if head else f"<Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test's output to itself."""

    with serving(Handler) as listener:
        proxy = FaultProxy(url_of(listener))
        try:
            yield proxy
        finally:
            ended.set()


def _send(
    answer: BaseHTTPRequestHandler, fault: Fault, content: bytes, ended: threading.Event
) -> None:
    """Send the body of an answer as the fault has it, at most until *ended*."""
    content = fault.change(content)
    size = -(-len(content) // _PIECES) if fault.seconds else len(content)
    # Whoever asked may have left long before the end.
    with contextlib.suppress(OSError):
        for start in range(0, len(content), max(size, 1)):
            answer.wfile.write(content[start : start + size])
            if fault.seconds and ended.wait(fault.seconds / _PIECES):
                break
    if fault.reset:
        # Closing with this option sends RST, whatever is still under way.
        linger = struct.pack("ii", 1, 0)
        answer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
