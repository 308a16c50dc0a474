"""
``crlcheck.aiohttp`` behind a proxy, with real requests and WebSockets, in one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import crlcheck.aiohttp
from crlcheck.aiohttp import DECISION
from crlcheck.checker.checker import RevocationChecker
from support.authorizer import publish
from support.guarded import FAILURES, let_checks_raise
from support.python_servers import PKI, UnixConnection, escaped, get

pytestmark = pytest.mark.uninstrumented

HEADER = "X-Client-Certificate"
PROXY: dict[str, Any] = {
    "verified_by": "proxy",
    "header": HEADER,
    "form": "nginx",
    "proxies": ("127.0.0.1",),
}
GOOD = [(HEADER, escaped("good"))]
SOON = timedelta(milliseconds=20)
DENIED = (403, "Forbidden\n")


@pytest.fixture
def checker(tmp_path: Path) -> Iterator[RevocationChecker]:
    """A checker of a store that a test may publish to."""
    publish(tmp_path / "published", PKI.crl())
    with RevocationChecker(tmp_path / "published", refresh_after=timedelta(0)) as made:
        yield made


def revoke(tmp_path: Path) -> None:
    """Publish a CRL that lists the good client too."""
    serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
    publish(tmp_path / "published", PKI.crl(2, revoked=serials, age=timedelta(0)))


class Served:
    """A server of one application, a client, and what its handlers saw."""

    def __init__(self, place: int | Path, client: aiohttp.ClientSession, seen: list[Any]) -> None:
        self.place = place
        self.url = f"http://127.0.0.1:{place}"
        self.client = client
        self.seen = seen

    async def get(self, headers: Any, path: str = "/hello") -> tuple[int, Any]:
        """Return status and body of an answer. aiohttp's own client joins some headers."""
        connection = (
            UnixConnection(self.place)
            if isinstance(self.place, Path)
            else http.client.HTTPConnection("127.0.0.1", self.place, timeout=30)
        )
        return await asyncio.to_thread(get, connection, path, headers)


@contextlib.asynccontextmanager
async def serving(
    checker: RevocationChecker, unix: Path | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """Serve over TCP, or a Unix socket."""
    seen: list[Any] = []

    async def hello(request: web.Request) -> web.Response:
        seen.append(request[DECISION])
        return web.Response(text=request[DECISION].cause)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"event\n")
                await asyncio.sleep(0.005)
        except OSError as error:
            seen.append(error)
        return response

    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            seen.append(message.data)
            await websocket.send_str(message.data)
        seen.append("end")
        return websocket

    app = web.Application()
    app.router.add_get("/hello", hello)
    app.router.add_get("/stream", stream)
    app.router.add_get("/echo", echo)
    app.router.add_get("/healthz", hello)
    app.router.add_get("/health/z", hello)
    app.router.add_get("/health%2Fz", hello)
    crlcheck.aiohttp.setup(app, checker, **(settings or PROXY))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        if unix is None:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            place: int | Path = runner.addresses[0][1]
        else:
            await web.UnixSite(runner, str(unix)).start()
            place = unix
        async with aiohttp.ClientSession() as client:
            yield Served(place, client, seen)
    finally:
        await runner.cleanup()


def run(
    checker: RevocationChecker, ask: Callable[[Served], Awaitable[None]], **settings: Any
) -> None:
    """Serve, and let a client ask."""

    async def whole() -> None:
        async with asyncio.timeout(60), serving(checker, **settings) as served:
            await ask(served)

    asyncio.run(whole())


def test_the_header_decides(checker: RevocationChecker, caplog: pytest.LogCaptureFixture) -> None:
    """
    Once, and in its own spelling; a path that is not there tells nothing either.
    """

    async def ask(served: Served) -> None:
        other = ("X_Client-Certificate", escaped("good"))
        assert await served.get(GOOD) == (200, "not_revoked")
        assert await served.get(GOOD, "/other") == (404, "404: Not Found")
        assert await served.get([], "/other") == DENIED
        for headers in (
            [],
            [(HEADER, escaped("revoked"))],
            [(HEADER, escaped("foreign"))],
            [(HEADER, "")],
            [(HEADER, "rubbish")],
            [*GOOD, *GOOD],
            [(HEADER.lower(), escaped("good")), *GOOD],
            [other],
            [*GOOD, other],
        ):
            assert await served.get(headers) == DENIED, headers
        as_json = [("Accept", "text/html"), ("Accept", "application/json")]
        assert await served.get(as_json) == (403, {"error": "Forbidden"})
        assert [one.cause for one in served.seen] == ["not_revoked"]

    run(checker, ask)
    assert "denied GET '/hello': revoked: " in caplog.text
    assert "denied GET '/hello': unclear_header: " in caplog.text
    assert "BEGIN" not in caplog.text


@pytest.mark.parametrize(
    ("proxies", "is_unix", "passes"),
    [
        (["127.0.0.1"], False, True),
        (["127.0.0.2", "unix"], False, False),
        (["unix"], True, True),
        (["127.0.0.1", "0.0.0.0/0"], True, False),
    ],
)
def test_the_header_counts_from_a_proxy_only(
    proxies: list[str],
    is_unix: bool,
    passes: bool,
    checker: RevocationChecker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    By the address of the connection, or over a Unix socket.
    """

    async def ask(served: Served) -> None:
        assert await served.get(GOOD) == ((200, "not_revoked") if passes else DENIED)

    unix = tmp_path / "socket" if is_unix else None
    run(checker, ask, unix=unix, **{**PROXY, "proxies": proxies})
    assert ("not_from_proxy" in caplog.text) is not passes


def test_a_connection_without_tls_is_denied(
    checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Nobody says whether its client has a certificate, so it is not one without.
    """

    async def ask(served: Served) -> None:
        assert await served.get(GOOD) == DENIED

    run(checker, ask, verified_by="server", without_certificate="pass")
    assert ": not_told: the connection has no TLS" in caplog.text


def test_settings_are_those_of_asgi(
    checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A path is compared as a whole, and as the router sees it; the rest is as ever.
    """

    async def ask_paths(served: Served) -> None:
        for path, status in (
            ("/healthz", 200),
            ("/%68ealthz", 403),
            ("/healthz?x", 200),
            ("/healthz/", 403),
            ("/hello", 403),
            ("/hello?/healthz", 403),
            ("/health/z", 200),
            ("/health%2Fz", 403),
        ):
            assert (await served.get([], path))[0] == status, path

    async def ask_without(served: Served) -> None:
        assert await served.get([]) == (200, "no_certificate")
        assert await served.get([(HEADER, escaped("revoked"))]) == DENIED

    async def ask_observed(served: Served) -> None:
        assert await served.get([(HEADER, escaped("revoked"))]) == (200, "revoked")

    async def ask_json(served: Served) -> None:
        assert await served.get([]) == (403, {"error": "Forbidden"})

    run(checker, ask_paths, **PROXY, unchecked_paths=["/healthz", "/health/z"])
    run(checker, ask_without, **PROXY, without_certificate="pass")
    run(checker, ask_observed, **PROXY, observe=True)
    assert "would deny GET '/hello': revoked: " in caplog.text
    run(checker, ask_json, **PROXY, prefer_json=True)
    app = web.Application()
    with pytest.raises(ValueError, match="expected all three"):
        crlcheck.aiohttp.setup(app, checker, verified_by="proxy")
    with pytest.raises(ValueError, match="expected a positive time"):
        crlcheck.aiohttp.setup(app, checker, verified_by="server", recheck_after=timedelta(0))
    assert list(app.middlewares) == []


@pytest.mark.parametrize("error", FAILURES)
def test_a_check_that_raises_denies(
    error: Exception,
    checker: RevocationChecker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The log says that it failed, and repeats nothing that may be the client's.
    """

    async def ask(served: Served) -> None:
        assert await served.get(GOOD) == DENIED
        assert served.seen == []

    let_checks_raise(checker, error, monkeypatch)
    run(checker, ask)
    assert f"denied GET '/hello': error: {type(error).__name__}" in caplog.text
    assert "Mallory" not in caplog.text


def test_an_open_websocket_is_closed_after_a_revocation(
    checker: RevocationChecker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It echoes for longer than until the next check, and ends with code 1008 once a CRL lists
    the client, as its handler is told.
    """

    async def ask(served: Served) -> None:
        async with served.client.ws_connect(f"{served.url}/echo", headers=GOOD) as websocket:
            polls = checker.freshness().num_polls
            while checker.freshness().num_polls < polls + 3:
                await websocket.send_str("text")
                assert (await websocket.receive()).data == "text"
            await asyncio.to_thread(revoke, tmp_path)
            message = await websocket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        while served.seen[-1] != "end":
            await asyncio.sleep(0.001)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await served.client.ws_connect(f"{served.url}/echo", headers=GOOD)

    run(checker, ask, **PROXY, recheck_after=SOON)
    assert "denied GET '/echo': revoked: " in caplog.text


def test_a_client_that_does_not_answer_is_ended_too(
    checker: RevocationChecker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where the end of a WebSocket is not answered, the connection ends.
    """
    monkeypatch.setattr("crlcheck.aiohttp._CLOSE_SECONDS", 0.1)

    async def ask(served: Served) -> None:
        assert isinstance(served.place, int)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.place)
        writer.write(
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + f"{HEADER}: {escaped('good')}\r\n\r\n".encode()
        )
        assert b" 101 " in await reader.readline()
        await asyncio.to_thread(revoke, tmp_path)
        with contextlib.suppress(ConnectionError):
            while await reader.read(100):
                pass
        writer.close()
        while served.seen != ["end"]:
            await asyncio.sleep(0.001)

    run(checker, ask, **PROXY, recheck_after=SOON)


@pytest.mark.parametrize(
    ("settings", "ends"),
    [({"recheck_after": SOON}, True), ({"recheck_after": None}, False), ({"observe": True}, False)],
)
def test_a_long_response_ends_after_a_revocation(
    settings: dict[str, Any], ends: bool, checker: RevocationChecker, tmp_path: Path
) -> None:
    """
    It goes on for longer than until the next check, unless it is never checked again, or all
    is only observed.
    """

    async def ask(served: Served) -> None:
        async with served.client.get(f"{served.url}/stream", headers=GOOD) as answer:
            for _ in range(20):
                assert await answer.content.readline() == b"event\n"
            await asyncio.to_thread(revoke, tmp_path)
            if ends:
                with pytest.raises(aiohttp.ClientError):
                    await answer.read()
                while not served.seen:
                    await asyncio.sleep(0.001)
                assert isinstance(served.seen[0], ConnectionError)
            else:
                for _ in range(60):
                    assert await answer.content.readline() == b"event\n"

    run(checker, ask, **{**PROXY, "recheck_after": SOON, **settings})
