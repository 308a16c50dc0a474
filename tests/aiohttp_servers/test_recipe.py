"""
The recipe for aiohttp as a process, with real clients.
"""

from __future__ import annotations

import http.client
from datetime import timedelta
from pathlib import Path

import pytest

from support.authorizer import publish
from support.checking import eventually
from support.python_servers import (
    EXPECTED,
    HANDSHAKES,
    PKI,
    free_port,
    get,
    handshake,
    running,
    tls_of,
    write_files,
)

pytestmark = pytest.mark.uninstrumented


def test_the_recipe(tmp_path: Path) -> None:
    """
    The certificate of the connection decides about requests and WebSockets, and a new CRL
    counts although no request asks the store.
    """
    write_files(tmp_path)
    store, port = tmp_path / "published", free_port()
    publish(store, PKI.crl())
    files = [str(tmp_path / name) for name in ("server.pem", "server.key", "clients.pem")]

    def ask(client: str | None) -> tuple[int, object]:
        context = tls_of(tmp_path, client)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        return get(connection)

    with running("aiohttp_app", [str(port), *files], store, tmp_path / "log", port):
        assert {client: ask(client) for client in EXPECTED} == EXPECTED
        found = {
            client: handshake(port, tls_of(tmp_path, client), path="/websocket")
            for client in HANDSHAKES
        }
        assert found == HANDSHAKES
        for client in (None, "forged"):
            with pytest.raises((OSError, http.client.HTTPException)):
                ask(client)
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        eventually(lambda: ask("good") == EXPECTED["revoked"])
