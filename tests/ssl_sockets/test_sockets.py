"""
``crlcheck.ssl`` with real connections: sockets and event loops, servers and clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import socket
import ssl
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import crlcheck
from crlcheck.checker.checker import RevocationChecker
from crlcheck.demo.tls import server_certificate
from crlcheck.ssl import (
    PeerDeniedError,
    acheck_peer,
    check_peer,
    checked_streams,
    guard,
    open_connection,
)
from support.authorizer import publish
from support.guarded import FAILURES, let_checks_raise
from support.hanging_store import HangingStore
from support.python_servers import PKI, tls_of, write_files

PATIENCE = 30.0
EXPECTED = {"good": b"hello", "revoked": None, "foreign": None, "forged": None, None: None}
"""What clients read of a server that greets; None where the connection ends before that."""
DENIED = ("revoked", "foreign")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store and the files of servers and clients."""
    directory = tmp_path_factory.mktemp("ssl")
    write_files(directory)
    publish(directory / "published", PKI.crl())
    # A server whose issuer has a CRL.
    certificate, key = server_certificate(issuer=PKI.authority)
    (directory / "known.pem").write_bytes(certificate)
    (directory / "known.key").write_bytes(key)
    return directory


@pytest.fixture(scope="module")
def checker(place: Path) -> Iterator[RevocationChecker]:
    """A checker of the store."""
    with RevocationChecker(place / "published") as made:
        yield made


def server_context(place: Path, name: str = "server") -> ssl.SSLContext:
    """The side of a server in TLS, which demands and verifies certificates."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=place / "clients.pem")
    context.load_cert_chain(place / f"{name}.pem", place / f"{name}.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.contextmanager
def accepting(serve: Callable[[socket.socket], Any]) -> Iterator[int]:
    """Call *serve* with each connection, in a thread; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        is_over = threading.Event()

        def accept() -> None:
            while not is_over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listening.accept()
                    connection.settimeout(PATIENCE)
                    with connection:
                        serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            is_over.set()
            thread.join(PATIENCE)


def greeting(place: Path, port: int, client: str | None) -> bytes | None:
    """What a client reads, None where the connection ends without it."""
    context = tls_of(place, client)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"secret")
            return connection.makefile("rb").read(5) or None
    except OSError:
        return None


# ---- blocking sockets ------------------------------------------------------------------


def receive(connection: ssl.SSLSocket) -> bytes:
    """Read the first bytes of a client."""
    return connection.recv(100)


def receive_into(connection: ssl.SSLSocket) -> bytes:
    """Read them into a buffer."""
    found = bytearray(100)
    return bytes(found[: connection.recv_into(found)])


def read(connection: ssl.SSLSocket) -> bytes:
    """Read them by TLS's own method."""
    return connection.read(100)


def read_file(connection: ssl.SSLSocket) -> bytes:
    """Read them as a file."""
    return connection.makefile("rb").read(6)


def send_first(connection: ssl.SSLSocket) -> bytes:
    """Write before anything is read."""
    connection.send(b"hel")
    connection.write(b"lo")
    return connection.recv(100)


def send_file_first(connection: ssl.SSLSocket) -> bytes:
    """Send a file before anything is read."""
    with tempfile.TemporaryFile() as file:
        file.write(b"hello")
        file.seek(0)
        connection.sendfile(file)
    return connection.recv(100)


@pytest.mark.parametrize("shakes_hands", [True, False])
@pytest.mark.parametrize(
    "first", [receive, receive_into, read, read_file, send_first, send_file_first]
)
def test_a_server_of_sockets_reads_nothing_before_the_check(
    first: Callable[[ssl.SSLSocket], bytes],
    shakes_hands: bool,
    place: Path,
    checker: RevocationChecker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Whether the handshake is a call of its own, or is left to the first read or write.
    """
    context = guard(server_context(place), checker)
    seen: list[bytes] = []
    errors: list[Exception] = []

    def serve(plain: socket.socket) -> None:
        try:
            with context.wrap_socket(
                plain, server_side=True, do_handshake_on_connect=shakes_hands
            ) as connection:
                seen.append(first(connection))
                if first not in (send_first, send_file_first):
                    connection.sendall(b"hello")
        except OSError as error:
            errors.append(error)

    with accepting(serve) as port:
        found = {client: greeting(place, port, client) for client in EXPECTED}
    assert found == EXPECTED
    assert seen == [b"secret"]
    denials = [one for one in errors if isinstance(one, PeerDeniedError)]
    assert [one.cause for one in denials] == ["revoked", "unknown_issuer"]
    assert caplog.text.count("denied TLS '127.0.0.1:") == 2
    assert "Mallory" not in caplog.text


def test_a_connection_that_was_denied_stays_so(place: Path, checker: RevocationChecker) -> None:
    """
    Whatever is tried with it afterwards, and it is not checked again.
    """
    context = guard(server_context(place), checker)
    tried: list[str] = []

    def serve(plain: socket.socket) -> None:
        connection = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        calls: list[Callable[[], Any]] = [
            connection.do_handshake,
            lambda: connection.recv(1),
            lambda: connection.recv_into(bytearray(1)),
            lambda: connection.read(1),
            lambda: connection.write(b"x"),
            lambda: connection.send(b"x"),
            lambda: connection.sendall(b"x"),
            lambda: connection.makefile("rb").read(1),
            connection.do_handshake,
        ]
        for call in calls:
            with pytest.raises(PeerDeniedError) as caught:
                call()
            tried.append(f"{caught.value} {caught.value.decision.cause}")
        connection.close()

    with accepting(serve) as port:
        assert greeting(place, port, "revoked") is None
    assert tried == ["the peer's certificate is denied: revoked revoked"] * 9


def test_a_listening_socket_accepts_checked_connections(
    place: Path, checker: RevocationChecker
) -> None:
    """
    A server of the standard library drops the others, and serves on.
    """
    context = guard(server_context(place), checker)
    reached: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            for client in ("revoked", "foreign", "good"):
                connection = http.client.HTTPSConnection(
                    "localhost", server.server_port, timeout=30, context=tls_of(place, client)
                )
                with contextlib.closing(connection):
                    try:
                        connection.request("GET", f"/{client}")
                        answer = connection.getresponse().read()
                    except OSError:
                        answer = b""
                    assert answer == (b"hello" if client == "good" else b"")
        finally:
            server.shutdown()
            thread.join(PATIENCE)
    assert reached == ["/good"]


def exchange(client: ssl.SSLObject, server: ssl.SSLObject, pipes: list[ssl.MemoryBIO]) -> None:
    """Shake hands in memory, by reads alone on the server's side."""
    to_client, to_server, from_client, from_server = pipes
    for _ in range(10):
        for one, step in ((client, client.do_handshake), (server, lambda: server.read(1))):
            with contextlib.suppress(ssl.SSLWantReadError):
                step()
            if one is client:
                to_server.write(from_client.read())
            else:
                to_client.write(from_server.read())


@pytest.mark.parametrize("client", ["good", "revoked"])
def test_an_object_is_checked_too(client: str, place: Path, checker: RevocationChecker) -> None:
    """
    The handshake may be left to its first read.
    """
    context = guard(server_context(place), checker)
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    to_client, to_server, from_client, from_server = pipes
    theirs = tls_of(place, client).wrap_bio(to_client, from_client, server_hostname="localhost")
    ours = context.wrap_bio(to_server, from_server, server_side=True)
    if client == "good":
        exchange(theirs, ours, pipes)
        theirs.write(b"secret")
        to_server.write(from_client.read())
        assert ours.read(100) == b"secret"
        assert ours.write(b"hello") == 5
    else:
        with pytest.raises(PeerDeniedError):
            exchange(theirs, ours, pipes)
        theirs.write(b"secret")
        to_server.write(from_client.read())
        for call in (lambda: ours.read(100), lambda: ours.write(b"x"), ours.do_handshake):
            with pytest.raises(PeerDeniedError):
                call()


# ---- settings and failures ---------------------------------------------------------------


def test_a_context_that_verifies_nothing_is_refused(
    place: Path, checker: RevocationChecker
) -> None:
    """
    So is one that asks for the certificate after the handshake, or is guarded already. One
    that is changed afterwards denies.
    """
    context = server_context(place)
    for mode in (ssl.CERT_NONE, ssl.CERT_OPTIONAL):
        context.verify_mode = mode
        with pytest.raises(ValueError, match=f"found {mode.name}, expected CERT_REQUIRED"):
            guard(context, checker)
    context.verify_mode = ssl.CERT_REQUIRED
    context.post_handshake_auth = True
    with pytest.raises(ValueError, match="post_handshake_auth: found True"):
        guard(context, checker)
    context.post_handshake_auth = False
    assert guard(context, checker) is context
    with pytest.raises(ValueError, match="guarded already"):
        guard(context, checker)
    causes: list[str] = []

    def serve(plain: socket.socket) -> None:
        with pytest.raises(PeerDeniedError) as caught:
            context.wrap_socket(plain, server_side=True)
        causes.append(caught.value.cause)

    with accepting(serve) as port:
        context.verify_mode = ssl.CERT_OPTIONAL
        assert greeting(place, port, "good") is None
        context.verify_mode = ssl.CERT_NONE
        assert greeting(place, port, "good") is None
        context.verify_mode = ssl.CERT_REQUIRED
        context.post_handshake_auth = True
        assert greeting(place, port, "good") is None
    assert causes == ["unverified"] * 3


def test_a_context_of_a_name_that_verifies_nothing_denies(
    place: Path, checker: RevocationChecker
) -> None:
    """
    A server may choose another context by the name that the client asks for.
    """
    context = guard(server_context(place), checker)
    other = server_context(place)
    other.verify_mode = ssl.CERT_NONE

    def choose(connection: Any, _name: Any, _context: Any) -> None:
        connection.context = other

    context.sni_callback = choose

    def serve(plain: socket.socket) -> None:
        with pytest.raises(PeerDeniedError, match="unverified"):
            context.wrap_socket(plain, server_side=True)

    with accepting(serve) as port:
        assert greeting(place, port, "good") is None


def test_observing_lets_everything_pass(
    place: Path, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The log is told what would have been denied. Who is not verified does not connect.
    """
    context = guard(server_context(place), checker, observe=True)

    def serve(plain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection = context.wrap_socket(plain, server_side=True)
            connection.recv(100)
            connection.sendall(b"hello")
            connection.close()

    with accepting(serve) as port:
        found = {client: greeting(place, port, client) for client in EXPECTED}
    assert found == EXPECTED | dict.fromkeys(DENIED, b"hello")
    assert caplog.text.count("would deny TLS '127.0.0.1:") == 2


@pytest.mark.parametrize("error", FAILURES)
def test_a_check_that_raises_denies(
    error: Exception,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The log says that it failed, and repeats nothing that may be the client's.
    """
    with RevocationChecker(place / "published") as checker:
        let_checks_raise(checker, error, monkeypatch)
        context = guard(server_context(place), checker)

        def serve(plain: socket.socket) -> None:
            with pytest.raises(PeerDeniedError, match="denied: error"):
                context.wrap_socket(plain, server_side=True)

        with accepting(serve) as port:
            assert greeting(place, port, "good") is None
    assert f": error: {type(error).__name__}" in caplog.text
    assert "Mallory" not in caplog.text


def test_one_connection_is_checked_by_hand(place: Path, checker: RevocationChecker) -> None:
    """
    Of any context that demands certificates, as often as one likes.
    """
    context = server_context(place)
    found: list[Any] = []

    def serve(plain: socket.socket) -> None:
        connection = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        with pytest.raises(ValueError, match="handshake is done"):
            check_peer(connection, checker)
        connection.do_handshake()
        try:
            found.append(check_peer(connection, checker).cause)
            found.append(check_peer(connection, checker).cause)
        except PeerDeniedError as error:
            found.append(error)
            found.append(check_peer(connection, checker, observe=True).allowed)
            found.append(asyncio.run(acheck_peer(connection, checker, observe=True)).cause)
        connection.close()

    with accepting(serve) as port:
        greeting(place, port, "good")
        greeting(place, port, "revoked")
    first, second, denied, observed, cause = found
    assert first == second == "not_revoked"
    assert isinstance(denied, PeerDeniedError)
    assert (denied.cause, observed, cause) == ("revoked", False, "revoked")
    context.verify_mode = ssl.CERT_OPTIONAL
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ValueError, match="found CERT_OPTIONAL"):
        check_peer(context.wrap_bio(*pipes, server_side=True), checker)


# ---- clients -----------------------------------------------------------------------------


def known_serial(place: Path) -> int:
    """The serial number of the server's certificate."""
    return x509.load_pem_x509_certificate((place / "known.pem").read_bytes()).serial_number


@contextlib.contextmanager
def known_server(place: Path) -> Iterator[tuple[int, list[bytes]]]:
    """An HTTPS server of an issuer that has a CRL; yield its port and what it received."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "known.pem", place / "known.key")
    received: list[bytes] = []

    def serve(plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as connection,
        ):
            received.append(connection.recv(1000))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with accepting(serve) as port:
        yield port, received


@pytest.mark.parametrize("is_revoked", [False, True])
def test_a_client_sends_nothing_to_a_server_that_is_revoked(
    is_revoked: bool, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    ``urllib`` and ``http.client`` by a guarded context, ``asyncio`` by a function.
    """
    publish(tmp_path / "published", PKI.crl(revoked=[known_serial(place)] if is_revoked else []))

    def client_context() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=place / "clients.pem")

    async def ask(checker: RevocationChecker, port: int) -> bytes:
        reader, writer = await open_connection(
            checker, "127.0.0.1", port, context=client_context(), server_hostname="localhost"
        )
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    with (
        RevocationChecker(tmp_path / "published") as checker,
        known_server(place) as (port, received),
    ):
        context = guard(client_context(), checker)
        url = f"https://localhost:{port}/"
        connection = http.client.HTTPSConnection("localhost", port, context=context)
        if is_revoked:
            with pytest.raises(urllib.error.URLError) as caught:
                urllib.request.urlopen(url, context=context)
            assert isinstance(caught.value.reason, PeerDeniedError)
            with pytest.raises(PeerDeniedError, match="denied: revoked"):
                connection.request("GET", "/")
            with pytest.raises(PeerDeniedError, match="denied: revoked"):
                asyncio.run(ask(checker, port))
        else:
            with urllib.request.urlopen(url, context=context) as answer:
                assert answer.read() == b"hello"
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"
            assert asyncio.run(ask(checker, port)).endswith(b"hello")
        connection.close()
        lax = client_context()
        lax.check_hostname = False
        lax.verify_mode = ssl.CERT_NONE
        with pytest.raises(ValueError, match="found CERT_NONE"):
            asyncio.run(open_connection(checker, "127.0.0.1", port, context=lax))
    assert b"".join(received) == b"" if is_revoked else len(received) == 3
    assert caplog.text.count("denied TLS 'localhost': revoked: ") == (3 if is_revoked else 0)


# ---- event loops -------------------------------------------------------------------------


async def serve_one(
    handler: Any, context: ssl.SSLContext | None, client: Callable[[int], Any]
) -> Any:
    """Serve on a port while a client's blocking function runs in a thread."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await asyncio.to_thread(client, port)


@pytest.mark.parametrize("way", ["streams", "context"])
def test_a_server_of_streams_reads_nothing_before_the_check(
    way: str, place: Path, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    By a function that is called later, or by a context.
    """
    seen: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    context = server_context(place)
    handler: Any = greet
    if way == "streams":
        handler = checked_streams(greet, checker)
    else:
        guard(context, checker)

    def ask(port: int) -> Any:
        return {client: greeting(place, port, client) for client in EXPECTED}

    assert asyncio.run(serve_one(handler, context, ask)) == EXPECTED
    assert seen == [b"secret"]
    assert caplog.text.count("denied TLS '") == 2
    assert [one for one in caplog.records if one.name == "asyncio"] == []


def test_streams_that_are_not_verified_are_ended(
    place: Path, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Without TLS, and where the context does not demand certificates.
    """

    async def greet(_reader: Any, _writer: Any) -> None:
        raise AssertionError

    def ask_plainly(port: int) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                return connection.recv(100)
        except OSError:
            return b""

    handler = checked_streams(greet, checker)
    assert asyncio.run(serve_one(handler, None, ask_plainly)) == b""
    assert ": not_told: the connection has no TLS" in caplog.text
    context = server_context(place)
    for mode in (ssl.CERT_OPTIONAL, ssl.CERT_NONE):
        context.verify_mode = mode
        found = asyncio.run(serve_one(handler, context, lambda port: greeting(place, port, "good")))
        assert found is None
        assert f": unverified: context.verify_mode: found {mode.name}" in caplog.text


def test_a_slow_store_does_not_stop_other_connections(place: Path) -> None:
    """
    The loop goes on while a check waits, and the connection is served when the store answers.
    """
    store = HangingStore()
    crlcheck.publish_crl(PKI.crl(), store, issuer=PKI.authority.pem)
    store.hang()

    async def greet(_reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    async def serve(checker: RevocationChecker) -> bytes | None:
        handler = checked_streams(greet, checker)
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=server_context(place))
        async with server:
            port = server.sockets[0].getsockname()[1]
            asking = asyncio.ensure_future(asyncio.to_thread(greeting, place, port, "good"))
            async with asyncio.timeout(PATIENCE):
                while not store.is_asked.is_set():
                    await asyncio.sleep(0.001)  # which the loop would not come to
                assert not asking.done()
                store.go_on()
                return await asking

    with RevocationChecker(store) as checker:
        assert asyncio.run(serve(checker)) == b"hello"


@pytest.mark.parametrize("is_observed", [False, True])
def test_an_open_connection_ends_after_a_revocation(
    is_observed: bool, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It goes on for longer than until the next check. Then the server reads no more, not even
    what has come already.
    """
    store = tmp_path / "published"
    publish(store, PKI.crl())
    ended: list[Any] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while message := await reader.readline():
                writer.write(message)
        except OSError as error:
            ended.append(error)
            with contextlib.suppress(OSError):
                ended.append(await reader.read(100))

    def talk(checker: RevocationChecker, port: int) -> bool:
        context = tls_of(place, "good")
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            lines = connection.makefile("rb")
            polls = checker.freshness().num_polls
            while checker.freshness().num_polls < polls + 3:
                connection.sendall(b"a line\n")
                assert lines.readline() == b"a line\n"
            serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
            publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
            polls = checker.freshness().num_polls
            try:
                while not is_observed or "would deny TLS" not in caplog.text:
                    connection.sendall(b"a line\n")
                    if not lines.readline():
                        return True
            except OSError:
                return True
            return False

    with RevocationChecker(store, refresh_after=timedelta(0)) as checker:
        handler = checked_streams(
            echo, checker, observe=is_observed, recheck_after=timedelta(milliseconds=20)
        )
        ask = functools.partial(talk, checker)
        assert asyncio.run(serve_one(handler, server_context(place), ask)) is not is_observed
    if not is_observed:
        (error,) = ended
        assert isinstance(error, PeerDeniedError)
        assert error.cause == "revoked"
    with pytest.raises(ValueError, match="expected a positive time"):
        checked_streams(echo, checker, recheck_after=timedelta(0))
