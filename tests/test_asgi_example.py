"""
The ASGI example with a real server and real clients: by TLS, and behind a proxy.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from crlcheck.demo.tls import server_certificate
from support.authorizer import PKI, publish

pytestmark = pytest.mark.uninstrumented
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "asgi_app.py"
EXPECTED = {"good": 200, "revoked": 403, "foreign": 403}


@contextlib.contextmanager
def serving(store: Path, *options: str) -> Iterator[int]:
    """Run the example and give its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-P", str(EXAMPLE), str(store), "--port", str(port), *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def read(connection: http.client.HTTPConnection, path: str = "/", **headers: str) -> Any:
    """Return status and JSON of a GET."""
    with contextlib.closing(connection):
        connection.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the example issuer's CRL."""
    publish(tmp_path / "published", PKI.crl())
    return tmp_path / "published"


def test_by_tls(store: Path, tmp_path: Path) -> None:
    """
    The certificate of the connection decides, health is told, and a new CRL counts
    although no request asks the store.
    """
    certificate, key = server_certificate()
    files = {"server.pem": certificate, "server.key": key}
    files["clients.pem"] = PKI.authority.pem + PKI.stranger.pem
    for name in EXPECTED:
        files |= {f"{name}.pem": getattr(PKI, name).pem, f"{name}.key": getattr(PKI, name).key_pem}
    for name, octets in files.items():
        (tmp_path / name).write_bytes(octets)
    options = {
        "certificate": "server.pem",
        "key": "server.key",
        "client-authorities": "clients.pem",
    }
    words = [word for name, file in options.items() for word in (f"--{name}", str(tmp_path / file))]

    with serving(store, *words) as port:

        def ask(client: str, path: str = "/") -> Any:
            context = ssl.create_default_context(cafile=tmp_path / "server.pem")
            context.load_cert_chain(tmp_path / f"{client}.pem", tmp_path / f"{client}.key")
            return read(
                http.client.HTTPSConnection("localhost", port, timeout=30, context=context), path
            )

        assert {client: ask(client)[0] for client in EXPECTED} == EXPECTED
        assert ask("foreign")[1] == {"verdict": "unknown_issuer"}
        status, health = ask("good", "/healthz")
        assert status == 200
        assert health["scopes"][0]["crl_number"] == 1
        assert health["scopes"][0]["time_left"] > 0
        serials = [c.certificate.serial_number for c in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        deadline = time.monotonic() + 30
        while ask("good")[0] != 403:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_behind_a_proxy(store: Path) -> None:
    """
    The header of the proxy decides; without it, or with two of it, nobody passes.
    """
    with serving(store, "--proxy-header", "X-Client-Certificate") as port:

        def ask(**headers: str) -> Any:
            return read(http.client.HTTPConnection("127.0.0.1", port, timeout=30), **headers)

        for client, status in EXPECTED.items():
            assert ask(X_Client_Certificate=quote(PKI.client(client)))[0] == status
        assert ask() == (403, {"verdict": "no_certificate"})
        assert ask(X_Client_Certificate="rubbish") == (403, {"verdict": "no_certificate"})
        good = quote(PKI.client("good"))
        assert ask(X_Client_Certificate=good, x_client_certificate=good)[0] == 403


def test_a_stranger_s_header_is_not_believed() -> None:
    """
    The same header from an address that is no proxy's is no certificate.
    """
    import importlib.util

    spec = importlib.util.spec_from_file_location("asgi_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    header = (b"x-client-certificate", quote(PKI.client("good")).encode())
    for client, expected in (("127.0.0.1", True), ("192.0.2.1", False)):
        scope: dict[str, Any] = {"type": "http", "headers": [header], "client": (client, 5000)}
        found = example._certificate(scope, "X-Client-Certificate", ("127.0.0.1",))
        assert (found is not None) is expected
    scope["extensions"] = {"tls": {"client_cert_chain": [PKI.client("good")]}}
    assert example._certificate(scope, None, ()) == PKI.good.pem
