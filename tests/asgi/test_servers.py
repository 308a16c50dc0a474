"""
The recipes for ASGI under uvicorn, with real clients: by TLS, and behind a proxy.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from support.authorizer import publish
from support.python_servers import (
    EXPECTED,
    HANDSHAKES,
    HEADER,
    PKI,
    escaped,
    free_port,
    get,
    handshake,
    running,
    tls_of,
    write_files,
)

TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.uninstrumented

# They refuse a handshake, and close, by ways of their own.
LIBRARIES = ("websockets", "websockets-sansio")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store and the files of server and clients."""
    directory = tmp_path_factory.mktemp("asgi")
    write_files(directory)
    publish(directory / "published", PKI.crl())
    return directory


@pytest.fixture(scope="module", params=LIBRARIES)
def behind_a_proxy(place: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of the FastAPI recipe."""
    port = free_port()
    options = ["fastapi_app:app", "--port", str(port), "--no-proxy-headers", "--ws", request.param]
    with running("uvicorn", options, place / "published", place / "fastapi.log", port):
        yield port


def serving_tls(place: Path, store: Path, port: int, cert_reqs: ssl.VerifyMode) -> list[str]:
    """The arguments of the Starlette recipe."""
    return [
        *("starlette_app:app", "--port", str(port), "--http", "crlcheck.asgi.uvicorn:TlsProtocol"),
        *("--ssl-certfile", str(place / "server.pem"), "--ssl-keyfile", str(place / "server.key")),
        *("--ssl-ca-certs", str(place / "clients.pem"), "--ssl-cert-reqs", str(int(cert_reqs))),
    ]


def ask_by_header(port: int, *headers: tuple[str, str], path: str = "/hello") -> tuple[int, object]:
    """Ask as the proxy does."""
    return get(http.client.HTTPConnection("127.0.0.1", port, timeout=30), path, headers)


def test_behind_a_proxy(behind_a_proxy: int, place: Path) -> None:
    """
    The header decides. Without it, with an empty one, with rubbish, with two, or in a
    spelling with underscores, alone or beside it, nobody passes; what the client learns is
    always the same, and the log has the cause.
    """
    found = {one: ask_by_header(behind_a_proxy, (HEADER, escaped(one))) for one in EXPECTED}
    assert found == EXPECTED
    good, other = (HEADER, escaped("good")), ("X_Client-Certificate", escaped("good"))
    for headers in (
        [],
        [(HEADER, "")],
        [(HEADER, "rubbish")],
        [(HEADER, PKI.client("good").replace("\n", " "))],
        [good, good],
        [(HEADER.lower(), good[1]), good],
        [other],
        [good, other],
        [(HEADER, escaped("revoked")), other],
    ):
        assert ask_by_header(behind_a_proxy, *headers) == (403, "Forbidden\n"), headers
    log = (place / "fastapi.log").read_text()
    for cause in ("revoked", "unknown_issuer", "no_certificate", "malformed_certificate"):
        assert f"denied GET '/hello': {cause}: " in log
    assert "denied GET '/hello': unclear_header: x-client-certificate came 2 times" in log
    assert "BEGIN" not in log


def test_a_path_that_is_left_out(behind_a_proxy: int) -> None:
    """
    Passes without a certificate, and no path beside it does.
    """
    assert ask_by_header(behind_a_proxy, path="/healthz") == (200, {"answering": True})
    assert ask_by_header(behind_a_proxy, path="/%68ealthz") == (200, {"answering": True})
    for path in ("/healthz/", "/healthz/../hello", "//healthz", "/hello?/healthz", "/healthz;x"):
        assert ask_by_header(behind_a_proxy, path=path) == (403, "Forbidden\n"), path


def test_a_websocket_behind_a_proxy(behind_a_proxy: int) -> None:
    """
    A WebSocket opens for those clients whose requests pass; the handshake of the others,
    and of those without a certificate, is answered 403.
    """
    found = {one: handshake(behind_a_proxy, headers={HEADER: escaped(one)}) for one in HANDSHAKES}
    assert found == HANDSHAKES
    assert handshake(behind_a_proxy) == (403, None)
    underscores = {"X_Client_Certificate": escaped("good")}
    assert handshake(behind_a_proxy, headers=underscores) == (403, None)


def test_by_tls(place: Path, tmp_path: Path) -> None:
    """
    The certificate of the connection decides about requests and WebSockets, a header does
    not, and a new CRL counts although no request asks the store.
    """
    store, port = tmp_path / "published", free_port()
    publish(store, PKI.crl())
    options = serving_tls(place, store, port, ssl.CERT_REQUIRED)

    def ask(client: str | None, *headers: tuple[str, str]) -> tuple[int, object]:
        context = tls_of(place, client)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        return get(connection, headers=headers)

    with running("uvicorn", options, store, tmp_path / "log", port):
        assert {client: ask(client) for client in EXPECTED} == EXPECTED
        found = {client: handshake(port, tls_of(place, client)) for client in HANDSHAKES}
        assert found == HANDSHAKES
        assert ask("revoked", (HEADER, escaped("good"))) == (403, "Forbidden\n")
        with pytest.raises((ssl.SSLError, ConnectionError)):  # uvicorn demands one
            ask(None)
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        deadline = time.monotonic() + 30
        while ask("good")[0] != 403:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("cert_reqs", [ssl.CERT_OPTIONAL, ssl.CERT_NONE])
def test_by_tls_without_a_certificate(
    place: Path, tmp_path: Path, cert_reqs: ssl.VerifyMode
) -> None:
    """
    Where the server does not demand a certificate, a client without one is denied; where it
    does not even ask for one, everybody is.
    """
    port, log = free_port(), tmp_path / "log"
    options = serving_tls(place, place / "published", port, cert_reqs)
    denied = (403, "Forbidden\n")
    expected = EXPECTED if cert_reqs is ssl.CERT_OPTIONAL else dict.fromkeys(EXPECTED, denied)
    with running("uvicorn", options, place / "published", log, port):
        for client, answer in [*expected.items(), (None, denied)]:
            context = tls_of(place, client)
            connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
            assert get(connection) == answer
        assert handshake(port, tls_of(place, None)) == (403, None)
    assert "denied WebSocket '/hello': no_certificate: " in log.read_text()


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_open_websocket_is_closed_after_a_revocation(library: str, tmp_path: Path) -> None:
    """
    It echoes for longer than until the next check, and ends with code 1008 once a CRL lists
    the client.
    """
    store, port = tmp_path / "published", free_port()
    publish(store, PKI.crl())
    options = ["support.echo_app:app", "--app-dir", str(TESTS), "--no-proxy-headers"]
    options += ["--port", str(port), "--ws", library, "--lifespan", "off"]
    with (
        running("uvicorn", options, store, tmp_path / "log", port),
        connect(
            f"ws://127.0.0.1:{port}/", additional_headers={HEADER: escaped("good")}, proxy=None
        ) as websocket,
    ):
        for number in range(4):
            websocket.send(str(number))
            assert websocket.recv(20) == str(number)
            time.sleep(0.1)
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        with pytest.raises(ConnectionClosedError) as closed:
            websocket.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    log = (tmp_path / "log").read_text()
    assert "denied WebSocket '/': revoked: " in log
    assert "Traceback" not in log


def test_a_long_response_ends_after_a_revocation(tmp_path: Path) -> None:
    """
    It goes on for longer than until the next check, and breaks off once a CRL lists the
    client.
    """
    store, port = tmp_path / "published", free_port()
    publish(store, PKI.crl())
    options = ["support.echo_app:app", "--app-dir", str(TESTS), "--no-proxy-headers"]
    options += ["--port", str(port), "--lifespan", "off"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with running("uvicorn", options, store, tmp_path / "log", port):
        connection.request("GET", "/", headers={HEADER: escaped("good")})
        answer = connection.getresponse()
        for _ in range(20):
            assert answer.readline() == b"event\n"
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()
    assert "denied GET '/': revoked: " in (tmp_path / "log").read_text()
