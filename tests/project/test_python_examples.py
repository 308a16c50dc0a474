"""The documents' pieces of Python run, and do what the text beside them says."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

import crlcheck
from support.authorizer import load
from support.blocks import blocks
from support.events import header_event
from support.example_pki import example_pki

PKI = example_pki()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the store ``published``."""
    crlcheck.publish_crl(PKI.crl(), tmp_path / "published", issuer=PKI.authority.pem)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_of(text: str, **names: Any) -> dict[str, Any]:
    """What a piece of Python defines."""
    exec(text, names)
    return names


@pytest.mark.usefixtures("place")
def test_the_middleware(caplog: pytest.LogCaptureFixture) -> None:
    """
    The good client reaches the application; the other one does not, and the log says why.
    """
    (example,) = blocks("python-servers.md", "# Python servers")
    (shown,) = blocks("python-servers.md", "## What comes of a request")
    application = names_of(example.text)["application"]
    statuses: list[str] = []

    def ask(client: str) -> bytes:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/hello",
            "SCRIPT_NAME": "",
            "gunicorn.socket": SimpleNamespace(
                getpeercert=lambda _binary: ssl.PEM_cert_to_DER_cert(PKI.client(client)),
                context=ssl.create_default_context(),
            ),
        }
        return b"".join(application(environ, lambda status, _: statuses.append(status)))

    caplog.set_level(logging.INFO, "crlcheck")
    assert ask("good") == b"not_revoked"
    assert ask("revoked") == b"Forbidden\n"
    assert statuses == ["200 OK", "403 Forbidden"]
    (line,) = (one.getMessage() for one in caplog.records if "denied" in one.getMessage())
    varying = r"[0-9a-f]{39,40}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.sub(varying, "…", f"{line}\n") == re.sub(varying, "…", shown.text)


@pytest.mark.usefixtures("place")
def test_the_interceptor() -> None:
    """
    A server is made with it.
    """
    (example,) = blocks("python-servers.md", "## gRPC")

    async def make() -> None:
        server = names_of(example.text)["make_server"]()
        await server.stop(None)

    asyncio.run(make())


@pytest.mark.usefixtures("place")
def test_the_guarded_context() -> None:
    """
    It checks the peer of each connection.
    """
    (example,) = blocks("python-servers.md", "## TLS connections")
    context = names_of(example.text)["make_context"]()
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert issubclass(context.sslsocket_class, ssl.SSLSocket)
    assert context.sslsocket_class is not ssl.SSLSocket


def test_the_protected_function(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It answers clients that may pass, and the others get 403.
    """
    (example,) = blocks("authorizer.md", "### In front of your own function")
    load(monkeypatch, place / "published", certificate_from="alb-verify")
    handler = names_of(example.text, __name__="function")["handler"]

    def ask(client: str) -> dict[str, Any]:
        header = "x-amzn-mtls-clientcert-leaf"
        answer: dict[str, Any] = handler(header_event("alb", header, PKI.client(client)), None)
        return answer

    assert ask("good")["body"] == f"{PKI.good.certificate.serial_number:x}"
    assert ask("revoked")["statusCode"] == 403


def test_the_store_as_it_was(tmp_path: Path) -> None:
    """
    A checker over it answers as of then.
    """
    (_, example) = blocks("operations.md", "## History")
    then = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    store = tmp_path / "published"
    for crl, at in (
        (PKI.crl(1, revoked=[], age=timedelta(hours=3)), then - timedelta(hours=1)),
        (PKI.crl(2), then + timedelta(hours=1)),
    ):
        crlcheck.publish_crl(crl, store, issuer=PKI.authority.pem, now=at)
    text = example.text.replace("s3://bucket/published", str(store))
    text = re.sub(r"datetime\(.*?\)", repr(then).replace("datetime.", "", 1), text)
    text = text.replace("datetime.timezone.utc", "UTC")
    made = names_of(text, crlcheck=crlcheck, datetime=datetime, UTC=UTC)
    client = PKI.client("revoked").encode()
    assert made["checker"].check(client).status is crlcheck.RevocationStatus.NOT_REVOKED
    now = crlcheck.RevocationChecker(store).check(client)
    assert now.status is crlcheck.RevocationStatus.REVOKED


def test_a_header_of_a_proxy(place: Path) -> None:
    """
    The client's certificate is the first.
    """
    (example,) = blocks("proxies.md", language="python")
    made = names_of(
        example.text,
        crlcheck=crlcheck,
        checker=crlcheck.RevocationChecker(place / "published"),
        value=quote(PKI.client("revoked"), safe=""),
    )
    assert made["result"].status is crlcheck.RevocationStatus.REVOKED
    assert made["others"] == []
