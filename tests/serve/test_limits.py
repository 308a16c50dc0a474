"""
What a client can take of the real service: size and time of headers, bodies, connections.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.authorizer import publish
from support.python_servers import PKI, escaped
from support.serving import HEADER, PATIENCE, Serving, serving

pytestmark = pytest.mark.uninstrumented

HEADER_SIZE = 16 << 10
CONNECTIONS = 32


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service of one worker with small limits."""
    directory = tmp_path_factory.mktemp("limits")
    publish(directory / "published", PKI.crl())
    with serving(
        directory / "published",
        directory,
        header_size=HEADER_SIZE,
        header_time="1s",
        connections=CONNECTIONS,
    ) as made:
        yield made


def memory(service: Serving) -> int:
    """Bytes that the worker has in memory."""
    (worker,) = service.workers()
    for line in Path(f"/proc/{worker}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("a process has a size")


def end_of(connection: socket.socket) -> bytes:
    """All that the service sends until it ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            found += part
    return found


@pytest.mark.parametrize("where", ["name", "value", "path", "many"])
def test_headers_of_any_size_cost_no_more_than_the_limit(service: Serving, where: str) -> None:
    """
    32 MiB of headers are refused after the first 16 KiB. The others are served meanwhile.
    """
    start = {
        "name": b"GET /check HTTP/1.1\r\nHost: x\r\n",
        "value": b"GET /check HTTP/1.1\r\nHost: x\r\nX: ",
        "path": b"GET /",
        "many": b"GET /check HTTP/1.1\r\nHost: x\r\n",
    }[where]
    piece = (b"X-Y: z\r\n" if where == "many" else b"aaaaaaaa") * 1024
    before = memory(service)
    sent = 0
    with service.raw() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(start)
            while sent < 32 << 20:
                connection.sendall(piece)
                sent += len(piece)
                if sent == 4 * len(piece):
                    assert service.check("good").status == 204
        assert sent < 32 << 20
        answer = end_of(connection)
    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 414 ", b"HTTP/1.1 400 ")) or not answer
    assert b" 204 " not in answer
    assert memory(service) - before < 8 << 20
    assert service.check("good").status == 204


def test_thousands_of_headers_are_refused(service: Serving) -> None:
    """
    Also where they are smaller together than the limit.
    """
    with service.raw() as connection:
        lines = b"".join(b"a%d:\r\n" % number for number in range(1500))
        assert len(lines) < HEADER_SIZE
        connection.sendall(b"GET /check HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
        assert end_of(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("start", [b"", b"GET /check HTTP/1.1\r\nHost: x\r\nX: "])
def test_headers_that_come_slowly_are_not_waited_for(service: Serving, start: bytes) -> None:
    """
    A byte a moment keeps no connection open, and neither does none at all.
    """
    deadline = time.monotonic() + PATIENCE
    with service.raw() as connection:
        connection.sendall(start)
        connection.settimeout(0.1)
        while True:
            assert time.monotonic() < deadline, "the connection is still open"
            try:
                if start:
                    connection.sendall(b"a")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break


def test_slow_clients_keep_out_nobody_for_long(service: Serving) -> None:
    """
    More connections than a worker takes, of which none sends anything, end after their time.
    """
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS + 8):
            stack.enter_context(service.raw())
        assert service.check("good").status == 204


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_clients_that_take_no_answers_keep_out_nobody_for_long(tmp_path: Path, over: str) -> None:
    """
    Nor those that ask on meanwhile.
    """
    publish(tmp_path / "published", PKI.crl())
    settings: dict[str, Any] = {"header_time": "1s", "connections": 4}
    with (
        serving(tmp_path / "published", tmp_path, over=over, **settings) as made,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(4):
            held = stack.enter_context(made.raw())
            held.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    held.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        assert made.check("good").status == 204


@pytest.mark.parametrize("size", [1 << 10, 64 << 20])
def test_a_body_that_nobody_wants_is_not_kept(service: Serving, size: int) -> None:
    """
    A proxy may hand on that of the client. It changes no answer, whatever its size.
    """
    before = memory(service)
    for client, status in (("good", b"204"), ("revoked", b"403")):
        with service.raw() as connection:
            head = f"POST /check HTTP/1.1\r\nHost: x\r\n{HEADER}: {escaped(client)}\r\n"
            connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
            piece = bytes(1 << 16)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
                connection.settimeout(5)
                for _ in range(max(size >> 16, 1)):
                    connection.sendall(piece[:size])
            connection.settimeout(PATIENCE)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 " + status)
    assert memory(service) - before < 8 << 20


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /check HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /check HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /check HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /check HTTP/1.1\r\nX-Client-Certificate: a\r\n b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /check HTTP/1.1\r\nX-Client-Certificate: a\0b\r\n\r\n",
    ],
)
def test_what_is_not_quite_http_lets_nobody_pass(service: Serving, request_text: bytes) -> None:
    """
    Two lengths, folded headers, TLS: the connection is refused, and the service goes on.
    """
    with service.raw() as connection:
        connection.sendall(request_text)
        answer = end_of(connection)
    assert b" 204 " not in answer
    assert service.check("good").status == 204
