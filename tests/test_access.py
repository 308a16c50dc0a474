"""
The rules of ``crlcheck.access`` that no server has a part in.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import ssl
from collections.abc import Callable
from urllib.parse import quote

import pytest

from crlcheck.access import (
    Access,
    Decision,
    UnclearRequestError,
    WebSettings,
    from_connection,
    prefers_json,
)
from crlcheck.demo.pki import pem_block
from crlcheck.errors import CertificateHeaderError
from crlcheck.types import Policy, Rule
from support.checking import CA
from support.guarded import CERTIFICATES, PROXY, checker_of_one_crl
from support.pki import DAY, NOW, make_client, make_imposter

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/*",
        "application/json, text/plain, */*",
        "application/json, */*",
        "*/*, application/json",
        "text/html, application/json",
        "text/plain;q=0.5, application/json;q=0.9",
        "text/plain;q=0.5, application/json ; q=0.501",
        "application/json;q=0.001",
        "text/plain;q=0, */*",
        "text/*;q=0.3, application/json;q=1.000",
        ",, application/json,",
        'application/json;profile="a b";q=0.8',
        "application/json;Q=1",
    ],
)
def test_json_is_preferred(accept: str) -> None:
    """
    By a higher weight, by the more precise name, or by coming first, whatever the default.
    """
    for otherwise in (False, True):
        assert prefers_json([accept], otherwise=otherwise)
        assert prefers_json([accept.encode()], otherwise=otherwise)


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "text/*",
        "text/plain, application/json",
        "*/*, text/plain",
        "text/html, text/plain, application/json;q=0.9",
        "application/json;q=0, */*",
        "application/json;q=0.2, text/plain;q=0.3",
        "application/*, text/plain",
    ],
)
def test_plain_text_is_preferred(accept: str) -> None:
    """
    By the same rules.
    """
    for otherwise in (False, True):
        assert not prefers_json([accept], otherwise=otherwise)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        " ",
        ",",
        "*/*",
        BROWSER,
        "image/png",
        "application/json;q=0",
        "application/json;q=0, text/plain;q=0.0",
        "application/problem+json",
        # Nothing that RFC 9110 allows.
        "json",
        "application/json;q=2",
        "application/json;q=1.001",
        "application/json;q=0.0001",
        "application/json;q=-1",
        "application/json;q=nan",
        "application/json;q=",
        "application/json;q=\u0661",
        "application/json;q=1;q=0.5",
        "application/json; q = 1",
        "application/json text/plain",
        "application/json;",
        "application/",
        "/json",
        "application/json/x",
        'application/json;a="b',
        'application/json;a="b;q=1"',
        "application/json\x0b",
        "application/json\n",
        "application/j\u017fon",
        "application/json, <script>",
        "application/json" + ", text/html" * 200,
    ],
)
def test_the_client_leaves_the_choice(accept: str) -> None:
    """
    Where both are as good, and where the header is malformed or too long.
    """
    assert not prefers_json([accept])
    assert prefers_json([accept], otherwise=True)


def test_several_headers_are_one_list() -> None:
    """
    As HTTP says of a field that comes several times (RFC 9110 5.3).
    """
    assert prefers_json([b"text/plain;q=0.5", b"application/json"])
    assert not prefers_json(["application/json;q=0.4", "text/plain;q=0.5"], otherwise=True)
    assert not prefers_json(["application/json", "not a type"])
    assert not prefers_json([])


def test_a_header_of_any_length_ends() -> None:
    """
    It is said to be malformed at once, also where what repeats may be tried in many ways.
    """
    for unit in (" ", "\t", ";", "; ", ';a="', "a/a;", "a", ",", "q=0;"):
        assert not prefers_json(["application/json;a" + unit * 400_000])
        assert not prefers_json(["a/b" + unit * (990 // len(unit))])


def test_the_settings_are_the_arguments() -> None:
    """
    What ``WebSettings`` documents is what ``Access`` takes, and ``verified_by`` alone is needed.
    """
    parameters = inspect.signature(Access).parameters
    own = {name: one for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert set(own) == set(WebSettings.__annotations__)
    needed = {name for name, one in own.items() if one.default is one.empty}
    assert needed == {"verified_by"}


def test_an_object_without_tls_is_not_told() -> None:
    """
    A plain socket has no certificate, which is not the same as a client without one.
    """
    with pytest.raises(UnclearRequestError) as caught:
        from_connection(object())
    assert caught.value.cause == "not_told"


def test_a_connection_that_is_not_done_tells_nothing() -> None:
    """
    ``ssl`` says so itself, which denies as any failure does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    with pytest.raises(ValueError, match="handshake"):
        from_connection(connection)


# ---- who verified the certificate ------------------------------------------------------

FORGED = make_client(make_imposter(CA), 7)
EXPIRED = CA.issue("client", not_before=NOW - 9 * DAY, not_after=NOW - DAY).der


def by_decide(access: Access, certificate: bytes | None) -> Decision:
    """In the caller's thread."""
    return access.decide(lambda: certificate)


def by_adecide(access: Access, certificate: bytes | None) -> Decision:
    """In an event loop."""
    return asyncio.run(access.adecide(lambda: certificate))


@pytest.mark.parametrize("decide", [by_decide, by_adecide])
@pytest.mark.parametrize(
    ("certificate", "by_proxy", "by_crlcheck"),
    [
        (CERTIFICATES["good"], "not_revoked", "not_revoked"),
        (CERTIFICATES["revoked"], "revoked", "revoked"),
        (CERTIFICATES["foreign"], "unknown_issuer", "unknown_issuer"),
        (FORGED, "not_revoked", "unverified"),
        (EXPIRED, "certificate_expired", "certificate_expired"),
        (None, "no_certificate", "no_certificate"),
        (b"\x30\x00", "malformed_certificate", "malformed_certificate"),
    ],
    ids=["good", "revoked", "foreign", "forged", "expired", "none", "malformed"],
)
def test_crlcheck_verifies_what_the_proxy_has_not(
    decide: Callable[[Access, bytes | None], Decision],
    certificate: bytes | None,
    by_proxy: str,
    by_crlcheck: str,
) -> None:
    """
    Where it is said that the proxy has, what anybody made in an issuer's name passes.
    """
    with checker_of_one_crl() as checker:
        for verified_by, cause in (("proxy", by_proxy), ("crlcheck", by_crlcheck)):
            access = Access(checker, **{**PROXY, "verified_by": verified_by})
            for _ in range(2):
                decision = decide(access, certificate)
                assert (decision.cause, decision.allowed) == (cause, cause == "not_revoked")
                if cause == "no_certificate":  # the operator may have named another header
                    assert "client certificate: x-client-certificate is missing" in decision.detail


@pytest.mark.parametrize("decide", [by_decide, by_adecide])
def test_dates_are_not_waived_where_nobody_else_looks_at_them(
    decide: Callable[[Access, bytes | None], Decision],
) -> None:
    """
    A policy for expired certificates waives what their CRL no longer says, not their dates.
    """
    policy = Policy(expired_certificate=Rule.ALLOW)
    with checker_of_one_crl(policy=policy) as checker:
        for verified_by, cause in (("proxy", "not_revoked"), ("crlcheck", "unverified")):
            access = Access(checker, **{**PROXY, "verified_by": verified_by})
            assert decide(access, EXPIRED).cause == cause


def test_a_form_that_hands_on_what_is_unverified_is_for_crlcheck_only() -> None:
    """
    So the client's certificate in it is verified, and no other in it is looked at.
    """
    settings = {**PROXY, "form": "alb-passthrough", "verified_by": "crlcheck"}
    with checker_of_one_crl() as checker:
        access = Access(checker, **settings)
        for der, cause in ((FORGED, "unverified"), (CERTIFICATES["good"], "not_revoked")):
            pem = pem_block("CERTIFICATE", der) + CA.pem
            value = quote(pem.decode(), safe="+=/")
            certificate = access.from_header(value, is_joined=False)
            decision = by_decide(access, certificate)
            assert decision.cause == cause


# ---- what is remembered of headers -------------------------------------------------------


def test_what_is_remembered_of_a_header_is_what_would_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    In any order, for text and bytes, joined or not, and for a value that is too long to keep.
    """
    good = CERTIFICATES["good"]
    one = base64.b64encode(good).decode()
    several = f"{one},{one}"
    long = ",".join([one] * 10)
    monkeypatch.setattr("crlcheck.access._LONGEST_REMEMBERED", len(several))
    with checker_of_one_crl() as checker:
        access = Access(checker, **{**PROXY, "form": "traefik"})
        for _ in range(3):
            for value in (one, several, long):
                for given in (value, value.encode()):
                    assert access.from_header(given, is_joined=False) == good
                    if value == one:
                        assert access.from_header(given, is_joined=True) == good
                        continue
                    with pytest.raises(UnclearRequestError):
                        access.from_header(given, is_joined=True)
            for broken in (one[:-1], f"{one},", ""):
                if broken == "":
                    assert access.from_header(broken, is_joined=False) is None
                    continue
                with pytest.raises(CertificateHeaderError):
                    access.from_header(broken, is_joined=False)
        for host in ("127.0.0.1", "10.1.1.1", "::ffff:10.0.0.1") * 2:
            access.demand_proxy(host)
        for host in ("127.0.0.2", "proxy.example", "10.1.1.1:80") * 2:
            with pytest.raises(UnclearRequestError):
                access.demand_proxy(host)


@pytest.mark.parametrize("allowed", [True, False])
def test_what_a_client_chooses_makes_no_line_of_the_log_long(
    allowed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Thousands of lines may wait for a slow destination, and a method may have 60 KB, as a path
    and the names in a certificate that the client made.
    """
    caplog.set_level("DEBUG", "crlcheck.access")
    long = "M" * 60_000
    with checker_of_one_crl() as checker:
        access = Access(checker, verified_by="server")
        assert access.passes(Decision(allowed, "revoked", long), long, f"/{long}") is allowed
    (record,) = caplog.records
    assert len(record.getMessage()) < 1300
