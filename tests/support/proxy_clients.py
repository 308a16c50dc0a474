"""Be the clients of a proxy: over HTTP/1.1, HTTP/2 and WebSocket, with and without certificates."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.python_servers import tls_of

NO_ANSWER = 0
"""In place of a status: the connection was closed, in the TLS handshake or later."""

Headers = Sequence[tuple[str, str]]
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the headers that the application has seen."""

    status: int
    seen: tuple[tuple[str, str], ...] = ()

    def values(self, *names: str) -> list[str]:
        """The values of headers, however the application's server may spell them."""
        return [value for name, value in self.seen if name.lower().replace("_", "-") in names]


def _read(status: int, body: bytes) -> Answer:
    seen = tuple((name, value) for name, value in json.loads(body)) if status == 200 else ()
    return Answer(status, seen)


class Connection:
    """A connection of a client, which is kept between requests."""

    def __init__(
        self, port: int, files: Path, client: str | None, seconds: float = _SECONDS
    ) -> None:
        context = tls_of(files, client)
        self._connection = http.client.HTTPSConnection(
            "localhost", port, timeout=seconds, context=context
        )

    def ask(self, headers: Headers = (), method: str = "GET", body: bytes = b"") -> Answer:
        """Ask once; *body* goes as it is, so a chunked one has its trailers."""
        try:
            self._connection.putrequest(method, "/hello")
            for name, value in headers:
                self._connection.putheader(name, value)
            self._connection.endheaders(body or None)
            answer = self._connection.getresponse()
            return _read(answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Answer(NO_ANSWER)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def ask(
    port: int,
    files: Path,
    client: str | None,
    headers: Headers = (),
    method: str = "GET",
    body: bytes = b"",
    seconds: float = _SECONDS,
) -> Answer:
    """Ask by Python, over HTTP/1.1."""
    with contextlib.closing(Connection(port, files, client, seconds)) as connection:
        return connection.ask(headers, method, body)


def curl(port: int, files: Path, client: str | None, version: str, headers: Headers = ()) -> Answer:
    """Ask by curl over a version of HTTP, such as ``1.1``."""
    command: list[str | Path] = [
        "curl", "--silent", f"--http{version}", "--write-out", "\n%{http_version} %{http_code}",
        "--noproxy", "*", "--max-time", "30", "--cacert", files / "server.pem",
    ]  # fmt: skip
    if client is not None:
        command += ["--cert", files / f"{client}.pem", "--key", files / f"{client}.key"]
    for name, value in headers:
        command += ["--header", f"{name}: {value}"]
    run = subprocess.run(
        [*command, f"https://localhost:{port}/hello"], capture_output=True, timeout=60, check=False
    )
    body, _, line = run.stdout.rpartition(b"\n")
    used, status = line.split()
    if status == b"000":
        return Answer(NO_ANSWER)
    assert used.decode() == version
    return _read(int(status), body)


def openssl(port: int, files: Path, client: str | None) -> Answer:
    """Ask by ``openssl s_client``."""
    command: list[str | Path] = [
        "openssl", "s_client", "-quiet", "-connect", f"localhost:{port}", "-verify_return_error",
        "-servername", "localhost", "-CAfile", files / "server.pem",
    ]  # fmt: skip
    if client is not None:
        command += ["-cert", files / f"{client}.pem", "-key", files / f"{client}.key"]
    request = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    run = subprocess.run(command, input=request, capture_output=True, timeout=60, check=False)
    if not run.stdout:
        return Answer(NO_ANSWER)
    head, _, body = run.stdout.partition(b"\r\n\r\n")
    return _read(int(head.split()[1]), body)


class WebSocket:
    """
    A WebSocket to the application, which echoes, or the handshake for one that was refused.

    ``status`` is 101 where it was opened. It is read over a plain socket, so whatever the
    proxy does takes no longer than *seconds* for each read.
    """

    def __init__(
        self,
        port: int,
        files: Path,
        client: str | None,
        headers: Headers = (),
        seconds: float = _SECONDS,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self.status = NO_ANSWER
        with contextlib.suppress(OSError, IndexError):
            plain = self._stack.enter_context(
                socket.create_connection(("localhost", port), seconds)
            )
            tls = tls_of(files, client)
            self._socket = self._stack.enter_context(
                tls.wrap_socket(plain, server_hostname="localhost")
            )
            lines = [
                "GET /hello HTTP/1.1",
                "Host: localhost",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                *(f"{name}: {value}" for name, value in headers),
            ]
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
            self._answer = self._stack.enter_context(self._socket.makefile("rb"))
            self.status = int(self._answer.readline().split()[1])
            while self._answer.readline().strip():
                pass

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def echoes(self) -> bool:
        """Whether the application sends back a text (RFC 6455 5.2, masked by zeros)."""
        text = b"hello"
        self._socket.sendall(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text)
        return self._answer.read(2 + len(text)) == bytes((0x81, len(text))) + text


def handshake(
    port: int, files: Path, client: str | None, headers: Headers = (), seconds: float = _SECONDS
) -> Answer:
    """Ask for a WebSocket, and for an echo where it is opened: 101 then."""
    with WebSocket(port, files, client, headers, seconds) as opened:
        assert opened.status != 101 or opened.echoes()
        return Answer(opened.status)
