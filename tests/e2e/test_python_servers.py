"""
The recipes for Python servers behind a real nginx, with real clients and forged headers.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from crlcheck.demo.nginx import find_nginx
from support.authorizer import publish
from support.nginx import configuration_of
from support.python_servers import (
    EXAMPLES,
    EXPECTED,
    HANDSHAKES,
    HEADER,
    PKI,
    escaped,
    free_port,
    get,
    handshake,
    listens,
    running,
    tls_of,
    write_files,
)

DENIED = (403, "Forbidden\n")
GOOD = escaped("good")
FORGED = [
    [(HEADER, GOOD)],
    [(HEADER.lower(), GOOD), (HEADER, GOOD)],
    [("X_Client_Certificate", GOOD)],
    [("X-Client_Certificate", GOOD), (HEADER, GOOD)],
    [("Connection", f"close, {HEADER}")],
]


@contextlib.contextmanager
def behind_nginx(directory: Path, upstream: str, verify: str = "on") -> Iterator[int]:
    """Run nginx by the recipe before *upstream*; give its port."""
    program = find_nginx()
    assert program is not None, "nginx is not installed: make e2e installs it"
    port = free_port()
    server = (EXAMPLES / "nginx_server.conf").read_text()
    for shown, used in (
        ("listen 8443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("http://127.0.0.1:8000", upstream),
        ("ssl_verify_client on", f"ssl_verify_client {verify}"),
    ):
        assert server.count(shown) == 1
        server = server.replace(shown, used)
    configuration = directory / "nginx.conf"
    configuration.write_text(configuration_of(server))
    command = [program, "-p", str(directory), "-c", str(configuration)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            assert process.poll() is None, "nginx did not start"
            assert time.monotonic() < deadline, "nginx did not start in time"
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def application(kind: str, directory: Path) -> Iterator[str]:
    """Run a recipe on the store of *directory*; give its URL for nginx."""
    store, log = directory / "published", directory / "log"
    if kind == "fastapi":
        port = free_port()
        options = ["fastapi_app:app", "--port", str(port), "--no-proxy-headers"]
        with running("uvicorn", options, store, log, port):
            yield f"http://127.0.0.1:{port}"
    else:
        address = directory / "app.sock"
        options = ["flask_app:app", "--preload", "--workers", "2", "--bind", f"unix:{address}"]
        with running("gunicorn", options, store, log, address):
            yield f"http://unix:{address}:"


@pytest.fixture(params=["fastapi", "flask"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which recipe is asked."""
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a store and the files of nginx and clients."""
    write_files(tmp_path)
    publish(tmp_path / "published", PKI.crl())
    return tmp_path


def ask(
    place: Path, port: int, client: str | None, *headers: tuple[str, str]
) -> tuple[int, object]:
    """Ask nginx as a client."""
    context = tls_of(place, client)
    connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    return get(connection, headers=headers)


def test_clients_behind_nginx(kind: str, place: Path) -> None:
    """
    The certificate of the client's connection decides, whatever headers it sends, and a new
    CRL counts.
    """
    with application(kind, place) as upstream, behind_nginx(place, upstream) as port:
        assert {client: ask(place, port, client) for client in EXPECTED} == EXPECTED
        assert ask(place, port, None)[0] == 400  # by nginx
        for headers in FORGED:
            assert ask(place, port, "revoked", *headers) == DENIED, headers
        assert ask(place, port, "good", *FORGED[0]) == EXPECTED["good"]
        if kind == "fastapi":
            found = {one: handshake(port, tls_of(place, one)) for one in HANDSHAKES}
            assert found == HANDSHAKES
            assert handshake(port, tls_of(place, "revoked"), {HEADER: GOOD}) == (403, None)
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(place / "published", PKI.crl(2, revoked=serials, age=timedelta(0)))
        deadline = time.monotonic() + 30
        while {ask(place, port, "good")[0] for _ in range(4)} != {403}:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_clients_without_a_certificate(kind: str, place: Path) -> None:
    """
    Where nginx does not demand one, a client without is denied, and cannot bring its own.
    """
    with application(kind, place) as upstream, behind_nginx(place, upstream, "optional") as port:
        assert ask(place, port, "good") == EXPECTED["good"]
        for headers in ([], *FORGED):
            assert ask(place, port, None, *headers) == DENIED, headers


class _Told(BaseHTTPRequestHandler):
    """Answers with what it was told of the connection."""

    def do_GET(self) -> None:
        """Answer."""
        told = f"{self.headers['Connection']} {self.headers['Upgrade']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


def test_only_what_asks_for_a_websocket_is_handed_on_as_such(place: Path) -> None:
    """
    An application takes any other request for what it is.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), _Told) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            upstream = f"http://127.0.0.1:{server.server_port}"
            with behind_nginx(place, upstream) as port:
                asking = ("Connection", "Upgrade"), ("Upgrade", "websocket")
                found = [ask(place, port, "good", *headers)[1] for headers in ((), asking)]
        finally:
            server.shutdown()
            thread.join()
    assert found == ["None None", "upgrade websocket"]
