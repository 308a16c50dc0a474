"""
The ASGI example with a real server and real clients: by TLS, and behind a proxy.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.checker.checker import RevocationChecker
from support.authorizer import PKI, publish
from support.hanging_store import HangingStore
from support.python_servers import (
    EXAMPLES,
    HEADER,
    escaped,
    free_port,
    get,
    handshake,
    running,
    tls_of,
    write_files,
)

pytestmark = pytest.mark.uninstrumented
HELLO = {"hello": "world"}
DENIED = (403, {"error": "Forbidden"})
EXPECTED = {"good": (200, HELLO), "revoked": DENIED, "foreign": DENIED}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the example issuer's CRL."""
    publish(tmp_path / "published", PKI.crl())
    return tmp_path / "published"


def example() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("asgi_app", EXAMPLES / "asgi_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_by_tls(store: Path, tmp_path: Path) -> None:
    """
    The certificate of the connection decides about requests and WebSockets, and health is
    told.
    """
    write_files(tmp_path)
    port = free_port()
    files = {"certificate": "server.pem", "key": "server.key", "client-authorities": "clients.pem"}
    options = [word for name, file in files.items() for word in (f"--{name}", tmp_path / file)]

    def ask(client: str, path: str = "/") -> Any:
        context = tls_of(tmp_path, client)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        return get(connection, path)

    arguments = [str(store), "--port", str(port), *map(str, options)]
    with running("asgi_app", arguments, store, tmp_path / "log", port):
        assert {client: ask(client) for client in EXPECTED} == EXPECTED
        shaken = {client: handshake(port, tls_of(tmp_path, client)) for client in EXPECTED}
        status, health = ask("good", "/healthz")
    assert shaken == {"good": (101, HELLO), "revoked": (403, None), "foreign": (403, None)}
    assert status == 200
    assert health["scopes"][0]["crl_number"] == 1
    assert health["scopes"][0]["time_left"] > 0


def test_behind_a_proxy(store: Path, tmp_path: Path) -> None:
    """
    The header of the proxy decides; without it, or with two of it, nobody passes.
    """
    port = free_port()

    def ask(*headers: tuple[str, str]) -> Any:
        return get(http.client.HTTPConnection("127.0.0.1", port, timeout=30), "/", headers)

    arguments = [str(store), "--port", str(port), "--proxy-header", HEADER]
    with running("asgi_app", arguments, store, tmp_path / "log", port):
        assert {one: ask((HEADER, escaped(one))) for one in EXPECTED} == EXPECTED
        good = (HEADER, escaped("good"))
        for headers in ([], [(HEADER, "rubbish")], [good, good]):
            assert ask(*headers) == DENIED


def statuses(checker: RevocationChecker) -> tuple[int, int]:
    """The statuses that /healthz and a good client get."""
    module = example()
    application = module.check_revocation(module.hello, checker)
    found: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    tls = {"client_cert_chain": [PKI.client("good")]}
    for path in ("/healthz", "/hello"):
        scope = {"type": "http", "method": "GET", "path": path, "extensions": {"tls": tls}}
        asyncio.run(application(scope, None, send))
    health, client = found
    return health, client


def test_health_is_what_clients_get(store: Path, tmp_path: Path) -> None:
    """
    Ill where every client is turned away: the store was never there, or hangs for
    longer than a set may be used, or the only CRL has expired. Well where the last
    set serves all, though the store is gone.
    """
    with RevocationChecker(tmp_path / "missing") as checker:
        assert statuses(checker) == (503, 403)
        publish(tmp_path / "missing", PKI.crl())
        assert statuses(checker) == (200, 200)

    hanging = HangingStore()
    crlcheck.publish_crl(PKI.crl(), hanging, issuer=PKI.authority.pem)
    age = timedelta(milliseconds=300)
    with RevocationChecker(
        hanging, background_refresh=True, refresh_after=age / 10, max_catalog_age=age
    ) as checker:
        assert statuses(checker) == (200, 200)
        hanging.hang()
        time.sleep(2 * age.total_seconds())
        assert statuses(checker) == (503, 403)
        hanging.go_on()
        deadline = time.monotonic() + 30
        while statuses(checker) != (200, 200):
            assert time.monotonic() < deadline

    with RevocationChecker(store, clock=lambda: datetime.now(UTC) + timedelta(days=99)) as checker:
        assert statuses(checker) == (503, 403)

    with RevocationChecker(store) as checker:
        assert statuses(checker) == (200, 200)
        store.rename(tmp_path / "away")
        assert statuses(checker) == (200, 200)
        assert checker.status().problems != ()
