"""
The recipes for WSGI under gunicorn, with real clients: by TLS, and behind a proxy.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.authorizer import publish
from support.python_servers import (
    EXPECTED,
    HEADER,
    PKI,
    UnixConnection,
    escaped,
    free_port,
    get,
    running,
    tls_of,
    write_files,
)

pytestmark = pytest.mark.uninstrumented

DENIED = (403, "Forbidden\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store and the files of server and clients."""
    directory = tmp_path_factory.mktemp("wsgi")
    write_files(directory)
    publish(directory / "published", PKI.crl())
    return directory


@pytest.fixture(scope="module")
def flask(place: Path) -> Iterator[Path]:
    """The socket of the Flask recipe, whose two workers are forked from one that is loaded."""
    address = place / "app.sock"
    options = ["flask_app:app", "--preload", "--workers", "2", "--bind", f"unix:{address}"]
    with running("gunicorn", options, place / "published", place / "flask.log", address):
        yield address


def ask_by_header(address: Path, *headers: tuple[str, str]) -> tuple[int, object]:
    """Ask as the proxy does."""
    return get(UnixConnection(address), headers=headers)


def test_behind_a_proxy(flask: Path, place: Path) -> None:
    """
    The header decides. Without it, with an empty one, with rubbish, with two, or in a
    spelling with underscores, alone or beside it, nobody passes who has no good certificate
    in the header itself; the log has the cause.
    """
    found = {one: ask_by_header(flask, (HEADER, escaped(one))) for one in EXPECTED}
    assert found == EXPECTED
    good, other = (HEADER, escaped("good")), ("X_Client-Certificate", escaped("good"))
    for headers in (
        [],
        [(HEADER, "")],
        [(HEADER, "rubbish")],
        [good, good],
        [(HEADER.lower(), good[1]), (HEADER, escaped("revoked"))],
        [other],
        [("X_Client_Certificate", good[1])],
        [(HEADER, escaped("revoked")), other],
        [other, (HEADER, escaped("revoked"))],
    ):
        assert ask_by_header(flask, *headers) == DENIED, headers
    log = (place / "flask.log").read_text()
    for cause in ("revoked", "unknown_issuer", "no_certificate", "malformed_certificate"):
        assert f"denied GET '/hello': {cause}: " in log
    assert "BEGIN" not in log


def test_workers_see_a_new_crl(place: Path, tmp_path: Path) -> None:
    """
    Workers that were forked from a loaded process ask the store themselves.
    """
    store, address = tmp_path / "published", tmp_path / "app.sock"
    publish(store, PKI.crl())
    options = ["flask_app:app", "--preload", "--workers", "2", "--bind", f"unix:{address}"]
    with running("gunicorn", options, store, tmp_path / "log", address):
        assert ask_by_header(address, (HEADER, escaped("good"))) == EXPECTED["good"]
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        deadline = time.monotonic() + 60
        while {ask_by_header(address, (HEADER, escaped("good")))[0] for _ in range(8)} != {403}:
            assert time.monotonic() < deadline, "a worker does not see it"


@pytest.mark.parametrize(
    ("worker", "cert_reqs"),
    [
        ("sync", ssl.CERT_REQUIRED),
        ("sync", ssl.CERT_OPTIONAL),
        ("sync", ssl.CERT_NONE),
        ("gthread", ssl.CERT_REQUIRED),
    ],
)
def test_by_tls(place: Path, tmp_path: Path, worker: str, cert_reqs: ssl.VerifyMode) -> None:
    """
    The certificate of the connection decides, a header does not. Without a certificate
    nobody passes, whether the server demands one or not.
    """
    port = free_port()
    options = [
        *("django_app:application", "--bind", f"127.0.0.1:{port}", "--worker-class", worker),
        *("--certfile", str(place / "server.pem"), "--keyfile", str(place / "server.key")),
        *("--ca-certs", str(place / "clients.pem"), "--cert-reqs", str(int(cert_reqs))),
    ]

    def ask(client: str | None, *headers: tuple[str, str]) -> tuple[int, object]:
        context = tls_of(place, client)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        return get(connection, headers=headers)

    asks = cert_reqs is not ssl.CERT_NONE
    with running("gunicorn", options, place / "published", tmp_path / "log", port):
        expected = EXPECTED if asks else dict.fromkeys(EXPECTED, DENIED)
        assert {client: ask(client) for client in EXPECTED} == expected
        assert ask("revoked", (HEADER, escaped("good"))) == DENIED
        if cert_reqs is ssl.CERT_REQUIRED:
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
                ask(None)
        else:
            assert ask(None) == DENIED
