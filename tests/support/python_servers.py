"""Start the recipes of docs/guides/python-servers.md under real servers, and be their clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crlcheck.demo.pki import CertificateAuthority
from crlcheck.demo.signing import generate_key
from crlcheck.demo.tls import server_certificate, write_client
from support.example_pki import example_pki

PKI = example_pki()
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
HEADER = "X-Client-Certificate"
CLIENTS = ("good", "revoked", "foreign")
"""Foreign is a client that the server trusts, of an issuer that has no CRL in the store."""

EXPECTED = {
    "good": (200, {"verdict": "not_revoked"}),
    "revoked": (403, "Forbidden\n"),
    "foreign": (403, "Forbidden\n"),
}
HANDSHAKES = {
    "good": (101, {"verdict": "not_revoked"}),
    "revoked": (403, None),
    "foreign": (403, None),
}


def escaped(client: str) -> str:
    """A client's certificate as nginx puts it into a header."""
    return quote(PKI.client(client), safe="")


def write_files(directory: Path) -> None:
    """
    Write the server's certificate and key, those of the clients and their issuers, and those
    of a client whose certificate names a trusted issuer and its key id, but that made it itself.
    """
    forger = CertificateAuthority(PKI.authority.certificate, generate_key("ec-p256"))
    write_client(directory, "forged", forger.issue("device 7 of Mallory"))
    certificate, key = server_certificate()
    files = {"server.pem": certificate, "server.key": key}
    files["clients.pem"] = PKI.authority.pem + PKI.stranger.pem
    for name in CLIENTS:
        files |= {f"{name}.pem": getattr(PKI, name).pem, f"{name}.key": getattr(PKI, name).key_pem}
    for name, contents in files.items():
        (directory / name).write_bytes(contents)


def tls_of(directory: Path, client: str | None) -> ssl.SSLContext:
    """The side of a client in TLS."""
    context = ssl.create_default_context(cafile=directory / "server.pem")
    if client is not None:
        context.load_cert_chain(directory / f"{client}.pem", directory / f"{client}.key")
    return context


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


@contextlib.contextmanager
def running(
    module: str, arguments: Sequence[str], store: Path, log: Path, address: int | Path
) -> Iterator[None]:
    """Run ``python -m module arguments`` beside the recipes until it listens at *address*."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "CRLCHECK_STORE": str(store), "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONSAFEPATH", None)  # the recipe lies in the working directory
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=EXAMPLES,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while not listens(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def listens(address: int | Path) -> bool:
    """Whether somebody listens at a port of this machine, or at a socket's file."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        if isinstance(address, int):
            stack.enter_context(socket.create_connection(("127.0.0.1", address), 1))
        else:
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(address))
        return True
    return False


def get(
    connection: http.client.HTTPConnection,
    path: str = "/hello",
    headers: Sequence[tuple[str, str]] = (),
) -> tuple[int, Any]:
    """Return status and body of a GET, the body as JSON where it is."""
    with contextlib.closing(connection):
        connection.putrequest("GET", path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read().decode()
        is_json = answer.getheader("Content-Type", "").startswith("application/json")
        return answer.status, json.loads(text) if is_json else text


def handshake(
    port: int,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    path: str = "/hello",
) -> tuple[int, Any]:
    """Ask for a WebSocket; return the status and the first message, None where it is refused."""
    lines = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **(headers or {}),
    }
    request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("localhost", port), 30))
        if tls is not None:
            connection = stack.enter_context(
                tls.wrap_socket(connection, server_hostname="localhost")
            )
        connection.sendall(f"{request}\r\n".encode())
        answer = stack.enter_context(connection.makefile("rb"))
        status = int(answer.readline().split()[1])
        while answer.readline().strip():
            pass
        if status != 101:
            return status, None
        # RFC 6455 5.2: a whole text message, unmasked, shorter than 126 bytes.
        first, size = answer.read(2)
        assert first == 0x81
        return status, json.loads(answer.read(size))
