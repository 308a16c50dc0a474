"""
The WSGI middleware by environ: places of the certificate, settings and failures.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from crlcheck.checker.checker import RevocationChecker
from crlcheck.wsgi import Decision, RevocationMiddleware
from support.checking import BAD, GOOD
from support.guarded import (
    CAUSES,
    CERTIFICATES,
    FAILURES,
    PEM,
    PROXY,
    checker_of_one_crl,
    let_checks_raise,
)

ESCAPED = {name: quote(pem, safe="") for name, pem in PEM.items()}
VARIABLE = "HTTP_X_CLIENT_CERTIFICATE"
SERVER = {"verified_by": "server"}


@pytest.fixture
def checker() -> Iterator[RevocationChecker]:
    """A checker of one CRL."""
    with checker_of_one_crl() as made:
        yield made


def ask(
    checker: RevocationChecker, environ: dict[str, Any], **options: Any
) -> tuple[str, bytes, Decision | None]:
    """Return status and body of a request, and what the application was told if it was reached."""
    told: list[Decision] = []
    statuses: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        told.append(environ["crlcheck.decision"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        statuses.append(status)
        return lambda _: None

    setup_testing_defaults(environ)
    environ = {"REMOTE_ADDR": "127.0.0.1", "QUERY_STRING": "", "SCRIPT_NAME": "", **environ}
    # It compares what is answered with PEP 3333.
    middleware = validator(RevocationMiddleware(application, checker, **(options or SERVER)))
    answer = middleware(environ, start_response)
    try:
        body = b"".join(answer)
    finally:
        answer.close()  # type: ignore[attr-defined]
    return statuses[0], body, told[0] if told else None


FORBIDDEN = ("403 Forbidden", b"Forbidden\n", None)


def connection_of(der: bytes | None, mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> Any:
    """Stand for the socket of a connection as gunicorn hands it on."""
    return SimpleNamespace(
        getpeercert=lambda _binary: der, context=SimpleNamespace(verify_mode=mode)
    )


# ---- where the server has it ---------------------------------------------------------


@pytest.mark.parametrize("client", [*CERTIFICATES, None])
@pytest.mark.parametrize("place", ["gunicorn", "mod_wsgi", "werkzeug"])
def test_a_request_passes_with_a_good_certificate_only(
    place: str, client: str | None, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Wherever a server has the certificate. The log has the cause of a denial.
    """
    environ: dict[str, Any] = {"SSL_CLIENT_CERT": "" if client is None else PEM[client]}
    if place == "gunicorn":
        der = None if client is None else CERTIFICATES[client]
        environ = {"gunicorn.socket": connection_of(der)}
    elif place == "mod_wsgi":
        verdict = "NONE" if client is None else "SUCCESS"
        environ |= {"SSL_CLIENT_VERIFY": verdict, "mod_wsgi.version": (5, 0, 0)}
    status, body, decision = ask(checker, environ)
    if client == "good":
        assert (status, body) == ("200 OK", b"hello")
        assert decision is not None
        assert decision.result == checker.check(GOOD)
    else:
        assert (status, body, decision) == FORBIDDEN
        # Werkzeug says nothing where there is none.
        none = "not_told" if place == "werkzeug" else "no_certificate"
        cause = none if client is None else CAUSES[client]
        assert f"denied GET '/': {cause}: " in caplog.text


@pytest.mark.parametrize(
    "environ",
    [
        {"SSL_CLIENT_CERT": PEM["good"], "SSL_CLIENT_VERIFY": "GENEROUS"},
        {"SSL_CLIENT_CERT": PEM["good"], "SSL_CLIENT_VERIFY": "FAILED:certificate has expired"},
        {"SSL_CLIENT_CERT": PEM["good"], "SSL_CLIENT_VERIFY": ""},
        {"SSL_CLIENT_CERT": PEM["good"], "mod_wsgi.version": (5, 0, 0)},
        {"gunicorn.socket": connection_of(GOOD, ssl.CERT_NONE)},
    ],
)
def test_a_certificate_that_the_server_did_not_verify_denies(
    environ: dict[str, Any], checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Apache exports it all the same, and says so; of a connection its own setting tells.
    """
    assert ask(checker, environ) == FORBIDDEN
    assert ": unverified: " in caplog.text


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"gunicorn.socket": object()},
        {"gunicorn.socket": object(), "SSL_CLIENT_CERT": PEM["good"]},
        {"HTTP_SSL_CLIENT_CERT": PEM["good"].replace("\n", " ")},
        {VARIABLE: ESCAPED["good"]},
        {"gunicorn.socket": connection_of(BAD), "SSL_CLIENT_CERT": PEM["good"]},
        {"SSL_CLIENT_CERT": "rubbish"},
        {"SSL_CLIENT_CERT": PEM["good"][:200]},
        {"SSL_CLIENT_CERT": "/etc/ssl/certs/ca-certificates.crt"},
    ],
)
def test_nothing_else_is_a_certificate(environ: dict[str, Any], checker: RevocationChecker) -> None:
    """
    No header is, a plain connection has none, and text is never a path.
    """
    assert ask(checker, environ) == FORBIDDEN


@pytest.mark.parametrize(
    ("environ", "passes"),
    [
        ({}, False),
        ({"gunicorn.socket": object()}, False),
        ({"SSL_CLIENT_CERT": ""}, False),
        # Apache without +ExportCertData: there is one.
        ({"SSL_CLIENT_VERIFY": "SUCCESS"}, False),
        ({"SSL_CLIENT_VERIFY": "FAILED:certificate has expired"}, False),
        ({"SSL_CLIENT_VERIFY": "NONE"}, True),
        ({"SSL_CLIENT_VERIFY": "NONE", "SSL_CLIENT_CERT": PEM["good"]}, False),
        ({"gunicorn.socket": connection_of(None)}, True),
        ({"gunicorn.socket": connection_of(None, ssl.CERT_NONE)}, True),
    ],
)
def test_what_is_not_told_is_not_missing(
    environ: dict[str, Any], passes: bool, checker: RevocationChecker
) -> None:
    """
    Where requests without a certificate pass, a server that hides it would make a client that
    is revoked into one without.
    """
    status, _, decision = ask(checker, environ, **SERVER, without_certificate="pass")
    assert (status == "200 OK") is passes
    assert (decision is not None) is passes


# ---- a proxy's header ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (ESCAPED["good"], "not_revoked"),
        (ESCAPED["revoked"], "revoked"),
        ("", "no_certificate"),
        (None, "no_certificate"),
        ("rubbish", "malformed_certificate"),
        (PEM["good"].replace("\n", " "), "malformed_certificate"),
        # How servers join a header that came twice, or in two spellings.
        (f"{ESCAPED['good']},{ESCAPED['good']}", "malformed_certificate"),
        (f"{ESCAPED['good']}, {ESCAPED['revoked']}", "malformed_certificate"),
        (f"{ESCAPED['good']},", "malformed_certificate"),
        (f",{ESCAPED['good']}", "malformed_certificate"),
    ],
)
def test_the_header_counts_once(
    value: str | None, cause: str, checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What is joined of two values is no value.
    """
    environ = {} if value is None else {VARIABLE: value}
    # What the server knows of TLS is that of the proxy.
    environ["SSL_CLIENT_CERT"] = PEM["good"]
    status, _, decision = ask(checker, environ, **PROXY)
    if cause == "not_revoked":
        assert status == "200 OK"
        assert decision is not None
        assert decision.cause == cause
    else:
        assert status == "403 Forbidden"
        assert f": {cause}: " in caplog.text


def test_several_certificates_may_be_a_header_that_came_twice(
    checker: RevocationChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Traefik puts a comma between them, and so do servers between two values.
    """
    base64 = {name: "".join(pem.splitlines()[1:-1]) for name, pem in PEM.items()}
    options = {**PROXY, "form": "traefik"}
    status, _, _ = ask(checker, {VARIABLE: base64["good"]}, **options)
    assert status == "200 OK"
    assert ask(checker, {VARIABLE: f"{base64['good']},{base64['revoked']}"}, **options) == FORBIDDEN
    assert ": unclear_header: " in caplog.text


@pytest.mark.parametrize(
    ("address", "proxies", "passes"),
    [
        ("127.0.0.1", ["127.0.0.1"], True),
        ("10.1.2.3", ["unix", "10.0.0.0/8"], True),
        ("", ["unix"], True),
        ("", ["127.0.0.1"], False),
        ("127.0.0.1", ["unix"], False),
        ("192.0.2.1", ["127.0.0.1", "unix"], False),
    ],
)
def test_the_header_counts_from_a_proxy_only(
    address: str, proxies: list[str], passes: bool, checker: RevocationChecker
) -> None:
    """
    By the address of whoever connected; of a Unix socket there is none.
    """
    environ = {VARIABLE: ESCAPED["good"], "REMOTE_ADDR": address}
    status, _, _ = ask(checker, environ, **{**PROXY, "proxies": proxies})
    assert (status == "200 OK") is passes


def test_envoy_s_chain_is_no_header_that_came_twice(checker: RevocationChecker) -> None:
    """
    Two elements would be refused; several certificates in one are the client's path.
    """
    digest = hashlib.sha256(GOOD).hexdigest()
    element = f'Hash={digest};Chain="{ESCAPED["good"]}{ESCAPED["revoked"]}"'
    options = {**PROXY, "form": "envoy"}
    assert ask(checker, {VARIABLE: element}, **options)[0] == "200 OK"
    assert ask(checker, {VARIABLE: f"{element},{element}"}, **options) == FORBIDDEN


# ---- settings and failures -------------------------------------------------------------


def test_settings_are_those_of_asgi(checker: RevocationChecker) -> None:
    """
    A request without a certificate, a path and observing; the same text where a setting is
    unclear.
    """
    nothing = {"SSL_CLIENT_VERIFY": "NONE"}
    status, _, decision = ask(checker, nothing, **SERVER, without_certificate="pass")
    assert status == "200 OK"
    assert decision is not None
    assert decision.cause == "no_certificate"
    revoked = {"SSL_CLIENT_CERT": PEM["revoked"]}
    status, _, decision = ask(checker, revoked, **SERVER, observe=True)
    assert status == "200 OK"
    assert decision is not None
    assert (decision.allowed, decision.cause) == (False, "revoked")
    with pytest.raises(ValueError, match="expected all three"):
        ask(checker, {}, verified_by="proxy")
    with pytest.raises(TypeError, match="verified_by"):
        RevocationMiddleware(lambda *_: [], checker)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("path", "prefix", "passes"),
    [
        ("/healthz", "", True),
        ("/healthz", "/app", True),
        ("/gesundheit-f\xc3\xbcr-alle", "", True),
        ("/app/healthz", "", False),
        ("", "/healthz", False),
        ("/healthz/", "", False),
        ("/healthz\xff", "", False),
    ],
)
def test_a_path_that_is_left_out_is_the_application_s(
    path: str, prefix: str, passes: bool, checker: RevocationChecker
) -> None:
    """
    It is compared with PATH_INFO, by which the application chooses what to answer: not with
    SCRIPT_NAME, which gunicorn takes from a header if a proxy sends it.
    """
    status, _, _ = ask(
        checker,
        {"PATH_INFO": path, "SCRIPT_NAME": prefix},
        **SERVER,
        unchecked_paths=["/healthz", "/gesundheit-für-alle"],
    )
    assert (status == "200 OK") is passes


def test_a_head_request_gets_no_body(checker: RevocationChecker) -> None:
    """
    As HTTP demands (RFC 9110 9.3.2).
    """
    assert ask(checker, {"REQUEST_METHOD": "HEAD"}) == ("403 Forbidden", b"", None)


def test_a_client_that_reads_json_is_answered_in_json(checker: RevocationChecker) -> None:
    """
    Where its headers prefer that.
    """
    in_json = ("403 Forbidden", b'{"error": "Forbidden"}\n', None)
    assert ask(checker, {"HTTP_ACCEPT": "text/html, application/json"}) == in_json
    assert ask(checker, {"HTTP_ACCEPT": "text/html"}) == FORBIDDEN
    assert ask(checker, {}, **SERVER, prefer_json=True) == in_json


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
    let_checks_raise(checker, error, monkeypatch)
    assert ask(checker, {"SSL_CLIENT_CERT": PEM["good"]}) == FORBIDDEN
    assert f"denied GET '/': error: {type(error).__name__}" in caplog.text
    assert "Mallory" not in caplog.text
