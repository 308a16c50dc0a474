"""
The recipe for servers of the standard library as a process, with real clients.
"""

from __future__ import annotations

import http.client
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from support.authorizer import publish
from support.checking import eventually
from support.python_servers import PKI, free_port, get, running, tls_of, write_files

pytestmark = pytest.mark.uninstrumented


def test_the_recipe(tmp_path: Path) -> None:
    """
    Who is revoked, or of an issuer without a CRL, is not served, and a new CRL counts. A
    client that does not shake hands holds up nobody.
    """
    write_files(tmp_path)
    store, port, log = tmp_path / "published", free_port(), tmp_path / "log"
    publish(store, PKI.crl())
    files = [str(tmp_path / name) for name in ("server.pem", "server.key", "clients.pem")]

    def ask(client: str | None) -> object:
        context = tls_of(tmp_path, client)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        try:
            return get(connection)
        except (OSError, http.client.HTTPException):
            return None

    with (
        running("ssl_server", [str(port), *files], store, log, port),
        socket.create_connection(("127.0.0.1", port)),
    ):
        found = {client: ask(client) for client in ("good", "revoked", "foreign", None)}
        hello = (200, {"hello": "world"})
        assert found == {"good": hello, "revoked": None, "foreign": None, None: None}
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        eventually(lambda: ask("good") is None)
    assert "denied TLS '127.0.0.1:" in log.read_text()
    assert "Traceback" not in log.read_text()
