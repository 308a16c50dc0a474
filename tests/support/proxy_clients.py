"""Be the clients of a proxy: over HTTP/1.1, HTTP/2 and WebSocket, with and without certificates."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

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


@contextlib.contextmanager
def websocket(
    port: int, files: Path, client: str | None, headers: Headers = (), seconds: float = _SECONDS
) -> Iterator[ClientConnection]:
    """Open a WebSocket to the application, which echoes."""
    with connect(
        f"wss://localhost:{port}/hello",
        ssl=tls_of(files, client),
        additional_headers=list(headers),
        proxy=None,
        open_timeout=seconds,
    ) as opened:
        yield opened


def handshake(
    port: int, files: Path, client: str | None, headers: Headers = (), seconds: float = _SECONDS
) -> Answer:
    """Ask for a WebSocket, and for an echo where it is opened: 101 then."""
    try:
        with websocket(port, files, client, headers, seconds) as opened:
            assert echoes(opened)
            return Answer(101)
    except InvalidStatus as refused:
        return Answer(refused.response.status_code)
    except (OSError, WebSocketException):
        return Answer(NO_ANSWER)


def echoes(opened: ClientConnection) -> bool:
    """Whether an open WebSocket still works."""
    opened.send("hello")
    return opened.recv(_SECONDS) == "hello"
