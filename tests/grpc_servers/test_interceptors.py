"""
The interceptors of gRPC in real servers, sync and aio, with real clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from crlcheck.checker.checker import RevocationChecker
from crlcheck.grpc import AioRevocationInterceptor, RevocationInterceptor, current_decision
from crlcheck.types import RevocationStatus
from support.authorizer import publish
from support.checking import eventually
from support.grpc_servers import (
    KINDS,
    PATIENCE,
    SERVERS,
    Handlers,
    client_credentials,
    code_of,
    server_credentials,
    serving,
)
from support.guarded import FAILURES, let_checks_raise
from support.loopback import LOOPBACK
from support.python_servers import PKI, escaped, write_files

pytestmark = pytest.mark.uninstrumented

DENIED = ("PERMISSION_DENIED", "Forbidden")
HEADER = "x-client-certificate"
PROXY: dict[str, Any] = {
    "verified_by": "proxy",
    "header": HEADER,
    "form": "nginx",
    "proxies": ("127.0.0.1", "::1"),
}
SOON = timedelta(milliseconds=50)
GOOD_AND_REVOKED = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store and the files of server and clients."""
    directory = tmp_path_factory.mktemp("grpc")
    write_files(directory)
    publish(directory / "published", PKI.crl())
    return directory


@pytest.fixture(scope="module")
def checker(place: Path) -> Iterator[RevocationChecker]:
    """A checker of the store."""
    with RevocationChecker(place / "published") as made:
        yield made


@pytest.fixture(scope="module", params=SERVERS)
def by_tls(
    place: Path, checker: RevocationChecker, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The target of a server that ends TLS."""
    credentials = server_credentials(place)
    with serving(request.param, checker, "localhost:0", credentials, verified_by="server") as (
        target,
        _,
    ):
        yield target


@pytest.fixture(scope="module", params=SERVERS)
def by_header(checker: RevocationChecker, request: pytest.FixtureRequest) -> Iterator[str]:
    """The target of a server behind a proxy."""
    with serving(request.param, checker, "127.0.0.1:0", **PROXY) as (target, _):
        yield target.replace("localhost", "127.0.0.1")


# ---- the connection's certificate ------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_certificate_of_the_connection_decides(kind: str, by_tls: str, place: Path) -> None:
    """
    About RPCs of all kinds, and the handler knows the decision. What a client that is denied
    learns is always the same; a header does not help it.
    """
    for client, expected in (
        ("good", ("OK", "not_revoked")),
        ("revoked", DENIED),
        ("foreign", DENIED),
    ):
        with grpc.secure_channel(by_tls, client_credentials(place, client)) as channel:
            assert code_of(channel, kind) == expected, client
            assert code_of(channel, kind, metadata=[(HEADER, escaped("good"))]) == expected
            # Again on the same connection.
            assert code_of(channel, kind) == expected, client


@pytest.mark.parametrize("client", [None, "forged"])
def test_who_is_not_verified_does_not_connect(client: str | None, by_tls: str, place: Path) -> None:
    """
    A self-made certificate with a trusted name is the server's to refuse.
    """
    with grpc.secure_channel(by_tls, client_credentials(place, client)) as channel:
        assert code_of(channel, "unary_unary")[0] == "UNAVAILABLE"


def test_a_method_that_is_not_there_is_unimplemented(by_tls: str, place: Path) -> None:
    """
    For everybody: nothing of the application is reached.
    """
    with grpc.secure_channel(by_tls, client_credentials(place, "revoked")) as channel:
        other: Any = channel.unary_unary("/test.Service/other")
        with pytest.raises(grpc.RpcError) as caught:
            other(b"", timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("server", SERVERS)
def test_a_handler_is_not_called_for_who_is_denied(
    server: str, place: Path, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The log has the cause, and nothing of the certificate but what a verdict says.
    """
    credentials = server_credentials(place)
    with (
        serving(server, checker, "localhost:0", credentials, verified_by="server") as (
            target,
            handlers,
        ),
        grpc.secure_channel(target, client_credentials(place, "revoked")) as channel,
    ):
        assert [code_of(channel, kind) for kind in KINDS] == [DENIED] * 4
        assert handlers.seen == []
    messages = [one.getMessage() for one in caplog.records if one.name == "crlcheck.access"]
    assert len(messages) == 4
    for kind, message in zip(KINDS, messages, strict=True):
        assert message.startswith(f"denied gRPC '/test.Service/{kind}': revoked: ")
        assert "Mallory" not in message
        assert "BEGIN" not in message


@pytest.mark.parametrize("server", SERVERS)
def test_a_connection_without_tls_is_denied(
    server: str, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Nobody says whether its client has a certificate, so it is not one without.
    """
    settings = {"verified_by": "server", "without_certificate": "pass"}
    with (
        serving(server, checker, "127.0.0.1:0", **settings) as (target, handlers),
        grpc.insecure_channel(target) as channel,
    ):
        header = [(HEADER, escaped("good"))]
        assert code_of(channel, "unary_unary", metadata=header) == DENIED
        assert handlers.seen == []
    assert "not_told: the connection has no TLS" in caplog.text


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("passes", [False, True])
def test_a_client_without_a_certificate(
    passes: bool, server: str, place: Path, checker: RevocationChecker
) -> None:
    """
    Passes where that is said, and the handler sees it.
    """
    settings = {"without_certificate": "pass"} if passes else {}
    credentials = server_credentials(place, demands=False)
    with (
        serving(server, checker, "localhost:0", credentials, verified_by="server", **settings) as (
            target,
            _,
        ),
        grpc.secure_channel(target, client_credentials(place, None)) as channel,
    ):
        expected = ("OK", "no_certificate") if passes else DENIED
        assert [code_of(channel, kind) for kind in KINDS] == [expected] * 4


# ---- a proxy's metadata ----------------------------------------------------------------


def test_the_metadata_of_a_proxy_decide(by_header: str) -> None:
    """
    By the same rules as a header of HTTP: once, and in its own spelling.
    """
    good, revoked = (HEADER, escaped("good")), (HEADER, escaped("revoked"))
    other = ("x_client_certificate", escaped("good"))
    with grpc.insecure_channel(by_header) as channel:
        for kind in KINDS:
            assert code_of(channel, kind, metadata=[good]) == ("OK", "not_revoked")
        for metadata in (
            [],
            [revoked],
            [(HEADER, escaped("foreign"))],
            [(HEADER, "")],
            [(HEADER, "rubbish")],
            [good, good],
            [revoked, good],
            [good, (HEADER, "")],
            [other],
            [good, other],
            [other, good],
            [(HEADER, f"{good[1]},{good[1]}")],
            [(f"{HEADER}-bin", PKI.good.pem)],
        ):
            assert code_of(channel, "unary_unary", metadata=metadata) == DENIED, metadata


@pytest.mark.parametrize("server", SERVERS)
def test_metadata_count_from_a_proxy_only(
    server: str, checker: RevocationChecker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    By the address that the server tells, or over a Unix socket.
    """
    metadata = [(HEADER, escaped("good"))]
    unix = f"unix:{tmp_path / 'socket'}"
    for address, proxies, expected in (
        ("127.0.0.1:0", ["127.0.0.1"], ("OK", "not_revoked")),
        ("127.0.0.1:0", ["127.0.0.2", "unix"], DENIED),
        ("[::1]:0", ["::1"], ("OK", "not_revoked")),
        ("[::1]:0", ["127.0.0.1", "unix"], DENIED),
        (unix, ["unix"], ("OK", "not_revoked")),
        (unix, ["127.0.0.1", "::1", "0.0.0.0/0"], DENIED),
    ):
        if address.startswith("[::1]") and "::1" not in LOOPBACK:
            continue
        settings = {**PROXY, "proxies": proxies}
        with serving(server, checker, address, **settings) as (target, _):
            host = address.rpartition(":")[0]
            with grpc.insecure_channel(target.replace("localhost", host)) as channel:
                found = code_of(channel, "unary_unary", metadata=metadata)
                assert found == expected, (address, proxies)
    assert "not_from_proxy" in caplog.text


@pytest.mark.parametrize("server", SERVERS)
def test_a_self_made_certificate_in_metadata(
    server: str, place: Path, checker: RevocationChecker
) -> None:
    """
    Is for the proxy to refuse, unless crlcheck verifies what the proxy hands on.
    """
    forged = [(HEADER, quote((place / "forged.pem").read_text(), safe=""))]
    settings = {**PROXY, "verified_by": "crlcheck"}
    with (
        serving(server, checker, "127.0.0.1:0", **settings) as (target, _),
        grpc.insecure_channel(target) as channel,
    ):
        assert code_of(channel, "unary_unary", metadata=forged) == DENIED
        good = [(HEADER, escaped("good"))]
        assert code_of(channel, "unary_unary", metadata=good) == ("OK", "not_revoked")


# ---- settings --------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
def test_methods_that_are_left_out_and_observing(
    server: str, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A method is compared as a whole. Where all is only observed the handler and the log are
    told what would have been denied.
    """
    settings = {**PROXY, "unchecked_methods": ["/test.Service/unary_unary"]}
    with (
        serving(server, checker, "127.0.0.1:0", **settings) as (target, _),
        grpc.insecure_channel(target) as channel,
    ):
        found = {kind: code_of(channel, kind) for kind in KINDS}
    assert found == dict.fromkeys(KINDS, DENIED) | {"unary_unary": ("OK", "unchecked_path")}
    caplog.clear()
    with (
        serving(server, checker, "127.0.0.1:0", **PROXY, observe=True) as (target, _),
        grpc.insecure_channel(target) as channel,
    ):
        metadata = [(HEADER, escaped("revoked"))]
        for kind in KINDS:
            assert code_of(channel, kind, metadata=metadata) == ("OK", "revoked")
    assert caplog.text.count("would deny gRPC '/test.Service/") == 4


@pytest.mark.parametrize(
    ("settings", "expected", "message"),
    [
        ({}, TypeError, "verified_by"),
        ({"verified_by": "nobody"}, ValueError, "verified_by: found 'nobody'"),
        ({"verified_by": "proxy"}, ValueError, "expected all three"),
        ({"unchecked_methods": "/a.B/C"}, TypeError, "found one str"),
        ({"unchecked_methods": ["a.B/C"]}, ValueError, "found 'a.B/C', expected a whole name"),
        ({"unchecked_methods": ["/a.B/"]}, ValueError, "expected a whole name"),
        ({"unchecked_methods": ["/a.B/C/D"]}, ValueError, "expected a whole name"),
        ({"unchecked_methods": ["/a.B"]}, ValueError, "expected a whole name"),
        ({"recheck_after": timedelta(0)}, ValueError, "expected a positive time"),
        ({"unchecked_paths": ["/a.B/C"]}, TypeError, "unexpected settings: unchecked_paths"),
        ({"prefer_json": True}, TypeError, "unexpected settings: prefer_json"),
    ],
)
@pytest.mark.parametrize("interceptor", [RevocationInterceptor, AioRevocationInterceptor])
def test_a_setting_that_is_unclear_stops_the_start(
    interceptor: Any,
    settings: dict[str, Any],
    expected: type[Exception],
    message: str,
    checker: RevocationChecker,
) -> None:
    """
    The message says what was found and what was expected.
    """
    given = settings if not settings or "verified_by" in settings else {"verified_by": "server"}
    with pytest.raises(expected, match=message):
        interceptor(checker, **{**given, **settings})


def test_no_decision_outside_of_a_handler() -> None:
    """
    Nobody else is told one.
    """
    with pytest.raises(LookupError):
        current_decision()


# ---- failures --------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("error", FAILURES)
def test_a_check_that_raises_denies(
    error: Exception,
    server: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The log says that it failed, and repeats nothing that may be the client's.
    """
    with RevocationChecker(place / "published") as checker:
        let_checks_raise(checker, error, monkeypatch)
        with (
            serving(server, checker, "127.0.0.1:0", **PROXY) as (target, handlers),
            grpc.insecure_channel(target) as channel,
        ):
            metadata = [(HEADER, escaped("good"))]
            for kind in KINDS:
                assert code_of(channel, kind, metadata=metadata) == DENIED
            assert handlers.seen == []
    assert caplog.text.count(f": error: {type(error).__name__}") == 4
    assert "Mallory" not in caplog.text


@pytest.mark.parametrize("server", SERVERS)
def test_a_context_that_does_not_end_the_rpc_calls_no_handler(
    server: str, checker: RevocationChecker
) -> None:
    """
    Such as one of another interceptor, or of a test.
    """

    class Context:
        def auth_context(self) -> dict[str, Any]:
            return {}

        def abort(self, *_: Any) -> Any:
            return asyncio.sleep(0) if server == "aio" else None

    def handler(_request: Any, _context: Any) -> None:
        raise AssertionError

    async def aio_handler(_request: Any, _context: Any) -> None:
        raise AssertionError

    details: Any = type("Details", (), {"method": "/a.B/C", "invocation_metadata": ()})
    if server == "sync":
        made = RevocationInterceptor(checker, verified_by="server").intercept_service(
            lambda _: grpc.unary_unary_rpc_method_handler(handler), details
        )
    else:

        async def find(_: Any) -> Any:
            either: Any = aio_handler if server == "aio" else handler
            return grpc.unary_unary_rpc_method_handler(either)

        interceptor = AioRevocationInterceptor(checker, verified_by="server")
        made = asyncio.run(interceptor.intercept_service(find, details))
    assert made is not None
    behavior: Any = made.unary_unary

    async def call() -> None:
        answer = behavior(b"", Context())
        await answer

    with pytest.raises(RuntimeError, match="abort must raise"):
        asyncio.run(call())


# ---- RPCs that are open for long ---------------------------------------------------------


class Requests:
    """Requests of a client, for as long as a test wants."""

    def __init__(self, *first: bytes) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self.put = self._queue.put
        for one in first:
            self.put(one)

    def __iter__(self) -> Iterator[bytes]:
        while (one := self._queue.get()) is not None:
            yield one


@pytest.fixture
def idle_ones_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sync server look after RPCs that send and receive nothing."""
    monkeypatch.setattr("crlcheck.grpc.IDLE_SECONDS", 0.05)


@pytest.fixture
def idle_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it leave them alone, however slow the machine is."""
    monkeypatch.setattr("crlcheck.grpc.IDLE_SECONDS", 10 * PATIENCE)


@contextlib.contextmanager
def opened(
    server: str, store: Path, **settings: Any
) -> Iterator[tuple[Any, Handlers, Callable[[], None], RevocationChecker]]:
    """A channel to a server that checks again soon, and what revokes its client."""
    publish(store, PKI.crl())
    options = {**PROXY, "recheck_after": SOON, **settings}
    with (
        RevocationChecker(store, refresh_after=timedelta(0)) as checker,
        serving(server, checker, "127.0.0.1:0", **options) as (target, handlers),
        grpc.insecure_channel(target) as channel,
    ):

        def revoke() -> None:
            publish(store, PKI.crl(2, revoked=GOOD_AND_REVOKED, age=timedelta(0)))

        yield channel, handlers, revoke, checker


METADATA = [(HEADER, escaped("good"))]


# Without async, grpc.aio does not end a stream of answers whose client has left.
ENDING = ("sync", "aio")


@pytest.mark.usefixtures("idle_ones_stay")
@pytest.mark.parametrize("server", ENDING)
@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
def test_a_stream_ends_after_a_revocation(
    kind: str, server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It goes on for longer than until the next check. Once a CRL lists the client it ends, and
    so does its handler.
    """
    with opened(server, tmp_path / "published") as (channel, handlers, revoke, checker):
        requests = Requests(b"long")
        method = getattr(channel, kind)(f"/test.Service/{kind}")
        request = iter(requests) if kind == "stream_stream" else b"long"
        answers = method(request, metadata=METADATA, timeout=PATIENCE)
        polls = checker.freshness().num_polls
        while checker.freshness().num_polls < polls + 3:
            assert next(answers) == b"not_revoked"
            requests.put(b"1")
        revoke()

        def read() -> None:
            for _ in answers:
                requests.put(b"2")

        with pytest.raises(grpc.RpcError) as caught:
            read()
        requests.put(None)
        status: Any = caught.value
        assert (status.code().name, status.details()) == DENIED
        assert handlers.ended.wait(PATIENCE)
    assert f"denied gRPC '/test.Service/{kind}': revoked: " in caplog.text
    assert [one for one in caplog.records if not one.name.startswith("crlcheck")] == []


@pytest.mark.usefixtures("idle_ones_stay")
@pytest.mark.parametrize("server", SERVERS)
def test_a_client_that_sends_on_is_heard_no_more(server: str, tmp_path: Path) -> None:
    """
    Once a CRL lists it, no more of its messages reach the handler.
    """
    with opened(server, tmp_path / "published") as (channel, handlers, revoke, checker):
        requests = Requests(b"first")
        answer = channel.stream_unary("/test.Service/stream_unary").future(
            iter(requests), metadata=METADATA
        )
        polls = checker.freshness().num_polls

        def is_heard() -> bool:
            requests.put(b"more")
            return checker.freshness().num_polls >= polls + 3

        eventually(is_heard)
        revoke()

        def is_over() -> bool:
            requests.put(b"last")
            return bool(answer.done())

        eventually(is_over)
        status = answer.exception()
        assert (status.code().name, status.details()) == DENIED
        assert handlers.ended.wait(PATIENCE)
        num_seen = len(handlers.seen)
        for _ in range(10):
            requests.put(b"too late")
        requests.put(None)
        assert b"too late" not in handlers.seen
        assert len(handlers.seen) == num_seen


@pytest.mark.usefixtures("idle_ones_end_soon")
@pytest.mark.parametrize(
    ("kind", "server"),
    [
        *(("unary_stream", server) for server in ENDING),
        *(("stream_stream", server) for server in ENDING),
        *(("stream_unary", server) for server in SERVERS),
    ],
)
def test_an_idle_stream_ends_too(
    kind: str, server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Although its handler waits for the client, or for something else, and sends nothing.
    """
    with opened(server, tmp_path / "published") as (channel, handlers, revoke, _):
        requests = Requests(b"idle")
        method = getattr(channel, kind)(f"/test.Service/{kind}")
        if kind == "stream_unary":
            method = method.future
        request = b"idle" if kind == "unary_stream" else iter(requests)
        call = method(request, metadata=METADATA, timeout=PATIENCE)
        # The sync handler that takes all requests at once has seen none of them yet.
        if kind != "stream_unary":
            assert next(call) == b"not_revoked"
        time.sleep(2 * SOON.total_seconds())
        assert call.is_active() if kind != "stream_unary" else not call.done()
        revoke()
        # The sync server can end an RPC from outside of its handler in this way alone.
        expected = ("CANCELLED", "PERMISSION_DENIED") if server == "sync" else DENIED[:1]
        assert call.code().name in expected  # which waits for the end
        requests.put(None)
        assert handlers.ended.wait(PATIENCE)
    assert f"denied gRPC '/test.Service/{kind}': revoked: " in caplog.text


@pytest.mark.parametrize("server", SERVERS)
def test_an_answer_that_took_long_is_withheld(server: str, tmp_path: Path) -> None:
    """
    Where the client was revoked while the handler worked.
    """
    with opened(server, tmp_path / "published") as (channel, handlers, revoke, _):
        answer = channel.unary_unary("/test.Service/unary_unary").future(b"slow", metadata=METADATA)
        eventually(lambda: handlers.seen == [b"slow"])
        revoke()
        time.sleep(2 * SOON.total_seconds())
        handlers.may_answer.set()
        status = answer.exception(PATIENCE)
        assert (status.code().name, status.details()) == DENIED


@pytest.mark.usefixtures("idle_ones_end_soon")
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    "settings",
    [
        {"recheck_after": None},
        {"observe": True},
        {"unchecked_methods": ["/test.Service/stream_stream"]},
    ],
)
def test_a_stream_stays_where_that_is_said(
    settings: dict[str, Any], server: str, tmp_path: Path
) -> None:
    """
    Without a recheck, where all is only observed, and of a method that is left out.
    """
    store = tmp_path / "published"
    with opened(server, store, **settings) as (channel, _, revoke, checker):
        requests = Requests(b"0")
        answers = channel.stream_stream("/test.Service/stream_stream")(
            iter(requests), metadata=METADATA, timeout=PATIENCE
        )
        next(answers)
        revoke()
        eventually(lambda: checker.check(PKI.good.pem).status is RevocationStatus.REVOKED)
        time.sleep(4 * SOON.total_seconds())
        for _ in range(3):
            requests.put(b"1")
            assert next(answers)
        requests.put(None)
        assert list(answers) == []


@pytest.mark.parametrize("server", ENDING)
@pytest.mark.parametrize("request_", [b"long", b"idle"])
def test_a_client_that_leaves_ends_its_handler(
    request_: bytes, server: str, tmp_path: Path
) -> None:
    """
    As without an interceptor.
    """
    with opened(server, tmp_path / "published") as (channel, handlers, _, _):
        method = channel.unary_stream("/test.Service/unary_stream")
        answers = method(request_, metadata=METADATA, timeout=PATIENCE)
        assert next(answers) == b"not_revoked"
        answers.cancel()
        assert handlers.ended.wait(PATIENCE)
