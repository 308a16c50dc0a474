"""
The ASGI example with a real server and real clients: by TLS, and behind a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from crlcheck.checker.checker import RevocationChecker
from crlcheck.demo.tls import server_certificate
from crlcheck.stores import LocalStore, StoredObject
from support.authorizer import PKI, publish

pytestmark = pytest.mark.uninstrumented
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "asgi_app.py"
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


def handshake(port: int, tls: ssl.SSLContext | None = None, **headers: str) -> Any:
    """Ask for a WebSocket; return the status and the first message, None where it is refused."""
    lines = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    request = "GET /hello HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
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


@pytest.fixture
def by_tls(tmp_path: Path) -> list[str]:
    """The options by which the example demands certificates, whose files are in tmp_path."""
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
    return [word for name, file in options.items() for word in (f"--{name}", str(tmp_path / file))]


def tls_of(client: str, directory: Path) -> ssl.SSLContext:
    """The side of a client in TLS."""
    context = ssl.create_default_context(cafile=directory / "server.pem")
    context.load_cert_chain(directory / f"{client}.pem", directory / f"{client}.key")
    return context


def test_by_tls(store: Path, by_tls: list[str], tmp_path: Path) -> None:
    """
    The certificate of the connection decides, health is told, and a new CRL counts
    although no request asks the store.
    """
    with serving(store, *by_tls) as port:

        def ask(client: str, path: str = "/") -> Any:
            context = tls_of(client, tmp_path)
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


def test_a_websocket_by_tls(store: Path, by_tls: list[str], tmp_path: Path) -> None:
    """
    A WebSocket opens for those clients whose requests pass, and for no other: the
    handshake of the others is answered 403.
    """
    with serving(store, *by_tls) as port:
        found = {client: handshake(port, tls_of(client, tmp_path)) for client in EXPECTED}
    refused = (403, None)
    assert found == {"good": (101, {"hello": "world"}), "revoked": refused, "foreign": refused}


def test_a_websocket_behind_a_proxy(store: Path) -> None:
    """
    The same by the header of a proxy, without which nobody's WebSocket opens.
    """
    with serving(store, "--proxy-header", "X-Client-Certificate") as port:
        found = {
            client: handshake(port, X_Client_Certificate=quote(PKI.client(client), safe=""))[0]
            for client in EXPECTED
        }
        assert handshake(port) == (403, None)
    assert found == {"good": 101, "revoked": 403, "foreign": 403}


def test_behind_a_proxy(store: Path) -> None:
    """
    The header of the proxy decides; without it, or with two of it, nobody passes.
    """
    with serving(store, "--proxy-header", "X-Client-Certificate") as port:

        def ask(**headers: str) -> Any:
            return read(http.client.HTTPConnection("127.0.0.1", port, timeout=30), **headers)

        for client, status in EXPECTED.items():
            assert ask(X_Client_Certificate=quote(PKI.client(client), safe=""))[0] == status
        assert ask() == (403, {"verdict": "no_certificate"})
        assert ask(X_Client_Certificate="rubbish") == (403, {"verdict": "no_certificate"})
        good = quote(PKI.client("good"), safe="")
        assert ask(X_Client_Certificate=good, x_client_certificate=good)[0] == 403


def example() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("asgi_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exchange(checker: RevocationChecker, scope: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """
    Connect by ASGI's messages; return the kinds of connection that the application
    behind the check saw, and what was sent.
    """
    seen: list[str] = []
    sent: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    async def receive() -> dict[str, Any]:
        return {"type": f"{scope['type']}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(example().check_revocation(application, checker)(scope, receive, send))
    return seen, sent


def scope_of(kind: str, client: str | None = None, **more: Any) -> dict[str, Any]:
    """The scope of a connection whose TLS has that client's certificate."""
    chain = [] if client is None else [PKI.client(client)]
    tls = {"tls": {"client_cert_chain": chain}}
    return {"type": kind, "path": "/hello", "headers": [], "extensions": tls, **more}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"extensions": None},
        {"extensions": {"tls": None}, "state": None},
        {"extensions": {"tls": {"client_cert_chain": None}}, "state": {"tls": None}},
        {"extensions": {"tls": {}}, "state": {"tls": {"client_cert_chain": iter(())}}},
    ],
)
def test_nobody_passes_where_the_server_says_nothing_of_tls(
    store: Path, members: dict[str, Any]
) -> None:
    """
    What ASGI leaves out or sets to null is an answer, 403, and no failure of the server.
    """
    scope = {"type": "http", "path": "/hello", "headers": [], **members}
    with RevocationChecker(store) as checker:
        seen, sent = exchange(checker, scope)
    assert seen == []
    assert sent[0]["status"] == 403


def test_a_chain_is_any_iterable(store: Path) -> None:
    """
    The leaf comes first; the server's own extension before the state.
    """
    chain = iter([PKI.client("good"), PKI.client("revoked")])
    scope = scope_of("http", "revoked", extensions={"tls": {"client_cert_chain": chain}})
    with RevocationChecker(store) as checker:
        assert exchange(checker, scope)[0] == ["http"]


@pytest.mark.parametrize("client", [*EXPECTED, None])
@pytest.mark.parametrize("kind", ["http", "websocket", "webtransport", "lifespan"])
def test_what_passes_by_the_kind_of_connection(store: Path, kind: str, client: str | None) -> None:
    """
    Of each kind of connection only that of a good client reaches the application; a
    WebSocket is closed before it is accepted, whatever its path. A kind that is
    not known reaches it for nobody. ``lifespan`` comes from no client.
    """
    with RevocationChecker(store) as checker:
        if kind == "webtransport":
            with pytest.raises(ValueError, match="webtransport"):
                exchange(checker, scope_of(kind, client))
            return
        for path in ("/hello", "/healthz"):
            if path == "/healthz" and kind == "http":
                continue
            seen, sent = exchange(checker, scope_of(kind, client, path=path))
            passes = client == "good" or kind == "lifespan"
            assert seen == ([kind] if passes else [])
            if passes:
                assert sent == []
            elif kind == "http":
                assert sent[0]["status"] == 403
            else:
                assert [message["type"] for message in sent] == ["websocket.close"]


class HangingStore(LocalStore):
    """A directory that does not answer while ``hangs`` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hangs = threading.Event()

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed, but it may take its time."""
        while self.hangs.is_set():
            time.sleep(0.01)
        return super().read_if_changed(name, etag)


def health_and_client(checker: RevocationChecker) -> tuple[int, int]:
    """The statuses that /healthz and a good client get."""
    (health, *_) = exchange(checker, scope_of("http", path="/healthz"))[1]
    seen, sent = exchange(checker, scope_of("http", "good"))
    return health["status"], 200 if seen else sent[0]["status"]


def test_health_is_what_clients_get(store: Path, tmp_path: Path) -> None:
    """
    Ill where every client is turned away: the store was never there, or hangs for
    longer than a set may be used, or the only CRL has expired. Well where the last
    set serves all, though the store is gone.
    """
    with RevocationChecker(tmp_path / "missing") as checker:
        assert health_and_client(checker) == (503, 403)
        publish(tmp_path / "missing", PKI.crl())
        assert health_and_client(checker) == (200, 200)

    hanging = HangingStore(store)
    age = timedelta(milliseconds=300)
    with RevocationChecker(
        hanging, background_refresh=True, refresh_after=age / 10, max_catalog_age=age
    ) as checker:
        assert health_and_client(checker) == (200, 200)
        hanging.hangs.set()
        time.sleep(2 * age.total_seconds())
        assert health_and_client(checker) == (503, 403)
        hanging.hangs.clear()
        deadline = time.monotonic() + 30
        while health_and_client(checker) != (200, 200):
            assert time.monotonic() < deadline

    with RevocationChecker(store, clock=lambda: datetime.now(UTC) + timedelta(days=99)) as checker:
        assert health_and_client(checker) == (503, 403)

    with RevocationChecker(store) as checker:
        assert health_and_client(checker) == (200, 200)
        store.rename(tmp_path / "away")
        assert health_and_client(checker) == (200, 200)
        assert checker.status().problems != ()


def test_a_stranger_s_header_is_not_believed() -> None:
    """
    The same header from an address that is no proxy's is no certificate.
    """
    certificates_of = example()._certificates
    header = (b"x-client-certificate", quote(PKI.client("good"), safe="").encode())
    for client, expected in (("127.0.0.1", True), ("192.0.2.1", False)):
        scope: dict[str, Any] = {"type": "http", "headers": [header], "client": (client, 5000)}
        found = certificates_of(scope, "X-Client-Certificate", ("127.0.0.1",))
        assert bool(found) is expected
    scope["extensions"] = {"tls": {"client_cert_chain": [PKI.client("good")]}}
    assert [facts.der for facts in certificates_of(scope, None, ())] == [PKI.good.der]
