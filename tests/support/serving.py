"""Run ``crlcheck serve`` in a process of its own, on a Unix socket or a port, and ask it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.python_servers import PKI, UnixConnection, escaped, free_port

HEADER = "X-Client-Certificate"
PATIENCE = 60.0
"""Seconds after which something that is waited for counts as not coming."""


@dataclass(frozen=True)
class Answer:
    """An answer; the names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def cause(self) -> str:
        """Why, as the service tells the proxy."""
        return self.headers["crlcheck-cause"]


@dataclass
class Serving:
    """A service that runs, at ``address``: the path of a Unix socket, or a port."""

    process: subprocess.Popen[bytes]
    address: Path | int
    log: Path
    environment: dict[str, str] = field(repr=False)

    def connect(self, timeout: float = PATIENCE) -> http.client.HTTPConnection:
        """A connection to the service."""
        if isinstance(self.address, Path):
            connection: http.client.HTTPConnection = UnixConnection(self.address)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.address, timeout=timeout)
        try:
            connection.connect()
        except OSError:
            connection.close()
            raise
        assert connection.sock is not None
        connection.sock.settimeout(timeout)
        return connection

    def raw(self, timeout: float = PATIENCE) -> socket.socket:
        """A connection, as a socket."""
        connection = self.connect(timeout)
        opened = connection.sock
        assert isinstance(opened, socket.socket)
        return opened

    def ask(
        self,
        path: str = "/check",
        headers: Sequence[tuple[str, str]] | Mapping[str, str] = (),
        method: str = "GET",
        body: bytes | None = None,
    ) -> Answer:
        """Send one request over a connection of its own; return the answer."""
        with contextlib.closing(self.connect()) as connection:
            return ask_over(connection, path, headers, method, body)

    def check(self, client: str | None, **headers: str) -> Answer:
        """Ask whether a client of the example PKI may pass."""
        own = {} if client is None else {HEADER: escaped(client)}
        return self.ask(headers={**own, **headers})

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the service by a signal, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def workers(self) -> list[int]:
        """The processes of the workers, the oldest first."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(one) for one in path.read_text().split()]

    def said(self) -> str:
        """What the service has logged so far."""
        return self.log.read_text(errors="replace")


def ask_over(
    connection: http.client.HTTPConnection,
    path: str = "/check",
    headers: Sequence[tuple[str, str]] | Mapping[str, str] = (),
    method: str = "GET",
    body: bytes | None = None,
) -> Answer:
    """Send one request over a connection; return the answer. A header may come twice."""
    send(connection, path, headers, method, body)
    return answer_over(connection)


def send(
    connection: http.client.HTTPConnection,
    path: str = "/check",
    headers: Sequence[tuple[str, str]] | Mapping[str, str] = (),
    method: str = "GET",
    body: bytes | None = None,
) -> None:
    """Send one request over a connection."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    connection.putrequest(method, path)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    for name, value in pairs:
        connection.putheader(name, value)
    connection.endheaders(body)


def answer_over(connection: http.client.HTTPConnection) -> Answer:
    """Return the answer to the request that was sent over a connection."""
    response = connection.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, response.read())


def of_certificate(client: str | None) -> dict[str, str]:
    """The header by which nginx hands on the certificate of a client of the example PKI."""
    return {} if client is None else {HEADER: escaped(client)}


def settings_of(**settings: Any) -> dict[str, str]:
    """The variables of the settings that tests use, with *settings* in their place."""
    given = {
        "verified_by": "proxy",
        "header": HEADER,
        "form": "nginx",
        "refresh_after": "1s",
        "workers": "1",
        **settings,
    }
    return {
        f"CRLCHECK_{name.upper()}": str(value) for name, value in given.items() if value is not None
    }


@contextlib.contextmanager
def serving(
    store: Path | str | None,
    directory: Path,
    *arguments: str,
    over: str = "unix",
    environ: Mapping[str, str] | None = None,
    held_back: bool = False,
    before: Callable[[], None] | None = None,
    **settings: Any,
) -> Iterator[Serving]:
    """
    Run the service until it answers, and end it afterwards. A *store* that is None stands in a
    file of settings.

    *directory* is for its socket and its log. *over* is ``"unix"`` or ``"tcp"``; ``bind`` among
    the *settings* overrides it. *arguments* are further ones of the command. With *held_back*
    its output goes to a pipe that nobody reads. *before* is called in the new process first. A
    setting that is None is left out.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    address: Path | int = directory / "socket" / "crlcheck.sock" if over == "unix" else free_port()
    bind = f"unix:{address}" if isinstance(address, Path) else f"127.0.0.1:{address}"
    own = {name: value for name, value in os.environ.items() if not name.startswith("CRLCHECK_")}
    environment = {
        **own,
        **settings_of(**{"bind": bind, "image_directory": directory, **settings}),
        **(environ or {}),
    }
    log = directory / "serve.log"
    of_store = () if store is None else (str(store),)
    command = [sys.executable, "-P", "-m", "crlcheck", "serve", *of_store, *arguments]
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if held_back else file,
            stderr=subprocess.STDOUT,
            preexec_fn=before,  # noqa: PLW1509 - tests that use it have no threads then
        )
    made = Serving(process, address, log, environment)
    try:
        wait_until(lambda: _answers(made), made)
        yield made
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def wait_until(is_so: Any, service: Serving, seconds: float = PATIENCE) -> None:
    """Wait until something is so, while the service runs."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert service.process.poll() is None, service.said()
        assert time.monotonic() < deadline, service.said()
        time.sleep(0.02)


def _answers(service: Serving) -> bool:
    try:
        return service.ask("/livez").status == 200
    except OSError:
        return False


__all__ = [
    "HEADER",
    "PATIENCE",
    "PKI",
    "Answer",
    "Serving",
    "answer_over",
    "ask_over",
    "of_certificate",
    "send",
    "serving",
    "settings_of",
    "wait_until",
]
