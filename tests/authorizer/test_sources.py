"""
Where the certificate comes from is a setting, and nothing else is ever believed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509

from crlcheck.demo.pki import CertificateAuthority, KeyType, pem_block
from crlcheck.demo.signing import generate_key
from lambda_authorizer.certificates import ChainVerifier, UntrustedChainError
from support.authorizer import (
    PKI,
    SOURCES,
    VERDICTS,
    Source,
    is_allowed,
    load,
    load_from,
    publish,
    write_anchors,
)
from support.functions import lines_of
from support.paths import Issued, issue, self_signed

NOW = datetime.now(UTC)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A store in a directory that holds the issuer's CRL."""
    store = tmp_path / "published"
    publish(store, PKI.crl(number=1))
    return store


def context_of(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The last line logged, which every form of answer has alike."""
    return lines_of(caplog, "lambda_authorizer")[-1]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_leads_to_the_right_verdict(
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    From each place that the setting names, good passes and revoked and foreign do not.
    """
    function = load_from(source, monkeypatch, published, log_level="debug")
    for name, (verdict, cause) in VERDICTS.items():
        answer = function.handler(source.event(PKI.client(name)), None)
        assert is_allowed(answer) is (name == "good")
        unverified = source.certificate_from == "alb-passthrough" and name == "foreign"
        line = context_of(caplog)
        assert line["verdict"] == verdict
        assert line.get("cause") == ("untrusted_chain" if unverified else cause)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_without_a_certificate_it_is_denied_and_told_why(
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The log line names what is to be configured.
    """
    function = load_from(source, monkeypatch, published)
    assert not is_allowed(function.handler(source.event(None), None))
    line = context_of(caplog)
    assert (line["level"], line["cause"]) == ("INFO", "no_certificate")
    assert "mutual TLS" in line["detail"] or "CRLCHECK_CERTIFICATE_HEADER" in line["detail"]


@pytest.mark.parametrize("name", ["alb-verify", "cloudfront"])
def test_a_header_may_have_another_name(
    name: str, monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    The listener may have been given another name: then only that one counts.
    """
    source = SOURCES[name]
    assert source.header is not None
    function = load_from(source, monkeypatch, published, certificate_header="X-Client-Leaf")
    event = source.event(PKI.client("good"))
    assert not is_allowed(function.handler(event, None))
    event["headers"]["x-client-leaf"] = event["headers"].pop(source.header)
    assert is_allowed(function.handler(event, None))


def test_a_plus_in_a_header_is_a_plus(monkeypatch: pytest.MonkeyPatch, published: Path) -> None:
    """
    Load balancers leave "+" of base64 as it is, or encode it: both are read.
    """
    source = SOURCES["alb-verify"]
    pem = next(
        issued.pem.decode()
        for issued in (PKI.authority.issue(f"device {number}") for number in range(99))
        if b"+" in issued.pem
    )
    function = load_from(source, monkeypatch, published)
    for safe in ("+=/", ""):
        event = source.event("")
        event["headers"][source.header] = quote(pem, safe=safe)
        assert is_allowed(function.handler(event, None))


def test_a_load_balancer_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    With the default source its header is not read, and the log says which setting
    is missing; its client gets an HTTP response.
    """
    function = load(monkeypatch, published)
    answer = function.handler(SOURCES["alb-verify"].event(PKI.client("good")), None)
    assert answer["statusCode"] == 403
    assert "CRLCHECK_CERTIFICATE_FROM" in context_of(caplog)["detail"]


# ---- chains that are not verified ---------------------------------------------

ROOT = CertificateAuthority.create("Root")
ISSUING = CertificateAuthority.create("Issuing", parent=ROOT)
CLIENT = ISSUING.issue("client")
ANCHORED = ChainVerifier(ROOT.pem)


def chain(*members: Any) -> str:
    """A chain as PEM, leaf first."""
    return b"".join(member.pem for member in members).decode()


@pytest.mark.parametrize("members", [(CLIENT, ISSUING), (CLIENT, ISSUING, ROOT)])
def test_a_chain_to_an_anchor_is_verified(members: tuple[Any, ...]) -> None:
    """
    The leaf comes back, whether or not the load balancer sent the root too.
    """
    assert ANCHORED.verified_leaf(chain(*members), NOW) == CLIENT.der


FORGED_ROOT = CertificateAuthority.create("Root")
FORGED = CertificateAuthority.create("Issuing", parent=FORGED_ROOT)
SELF_MADE = CertificateAuthority.create("Issuing")


@pytest.mark.parametrize(
    ("members", "now"),
    [
        ((CLIENT,), NOW),
        ((FORGED.issue("client"), FORGED, FORGED_ROOT), NOW),
        ((FORGED.issue("client"), ISSUING, ROOT), NOW),
        ((SELF_MADE.issue("client"), ISSUING), NOW),
        ((ISSUING, CLIENT), NOW),
        ((CLIENT, CLIENT), NOW),
        ((CLIENT, ISSUING), NOW + timedelta(days=400)),
        ((CLIENT, ISSUING), NOW - timedelta(days=30)),
        ((CLIENT, *[ISSUING] * 12), NOW),
    ],
    ids=[
        "no issuer",
        "other root of that name",
        "leaf of another key",
        "issuer of that name",
        "wrong order",
        "only leaves",
        "expired",
        "not yet valid",
        "endless",
    ],
)
def test_a_forged_chain_is_refused(members: tuple[Any, ...], now: datetime) -> None:
    """
    What leads to no anchor, or not now, is refused, and the message has no names.
    """
    with pytest.raises(UntrustedChainError) as caught:
        ANCHORED.verified_leaf(chain(*members), now)
    assert "client" not in str(caught.value)


@pytest.mark.parametrize("key_type", ["ec-p256", "ec-brainpool-p256", "ed25519", "ml-dsa-65"])
def test_a_chain_needs_what_rfc_5280_asks_for_and_no_more(key_type: KeyType) -> None:
    """
    No authority key id, no keyUsage of the anchor, and any key that may sign a CRL.
    """
    key = generate_key(key_type)
    bare = self_signed("Root", now=NOW, key=key, extensions=[])
    root = CertificateAuthority.create("Root", private_key=key)
    issuing = CertificateAuthority.create("Issuing", key_type=key_type, parent=root)
    client = issuing.issue("client", authority_key_id=False)
    verifier = ChainVerifier(pem_block("CERTIFICATE", bare.der))
    assert verifier.verified_leaf(chain(client, issuing), NOW) == client.der
    assert verifier.verified_leaf(chain(client, ISSUING, issuing, root), NOW) == client.der


def test_the_rule_that_failed_is_logged(
    monkeypatch: pytest.MonkeyPatch, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The operator reads which certificate breaks which section, and no name.
    """
    source = SOURCES["alb-passthrough"]
    function = load_from(source, monkeypatch, published)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0")
    authority = PKI.authority
    issuer = Issued(authority.der, authority.private_key, authority.certificate.subject)
    leaf = issue(issuer, "secret", now=NOW, extensions=[(unknown, True)])
    pem = pem_block("CERTIFICATE", leaf.der).decode()
    assert not is_allowed(function.handler(source.event(pem), None))
    line = context_of(caplog)
    assert line["cause"] == "untrusted_chain"
    assert line["detail"] == (
        "the chain leads to no trust anchor: certificate 1 of the chain: its critical extension "
        "1.2.3 is not supported (RFC 5280 6.1.5 (f))"
    )


def test_text_that_is_no_unicode_is_refused() -> None:
    """
    JSON can have half a surrogate pair.
    """
    with pytest.raises(UntrustedChainError, match="no text"):
        ANCHORED.verified_leaf("\ud800", NOW)


@pytest.mark.parametrize("label", ["TRUSTED CERTIFICATE", "PKCS7", "CERTIFICATE REQUEST"])
def test_no_certificate_takes_the_place_of_a_block_before_it(label: str) -> None:
    """
    A first block that is not understood makes the next one no leaf.
    """
    other = chain(CLIENT).replace("CERTIFICATE", label)
    with pytest.raises(UntrustedChainError):
        ANCHORED.verified_leaf(other + chain(CLIENT, ISSUING), NOW)
    glued = chain(CLIENT).rstrip() + chain(CLIENT, ISSUING)
    with pytest.raises(UntrustedChainError):
        ANCHORED.verified_leaf(glued, NOW)


def test_a_server_s_certificate_is_no_client_s() -> None:
    """
    An authority that may not issue the leaf, a leaf that is an authority: refused.
    """
    with pytest.raises(UntrustedChainError):
        ANCHORED.verified_leaf(chain(ISSUING, ROOT), NOW)


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nMAA=\n"])
def test_what_is_no_chain_is_refused(text: str) -> None:
    """
    Rubbish in the header is a denial, not an error.
    """
    with pytest.raises(UntrustedChainError):
        ANCHORED.verified_leaf(text, NOW)


# ---- settings ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"certificate_from": "header"}, "CRLCHECK_CERTIFICATE_FROM"),
        ({"certificate_header": "x-leaf"}, "CRLCHECK_CERTIFICATE_HEADER"),
        ({"certificate_from": "cloudfront", "certificate_header": "a: b"}, "expected the name of"),
        ({"certificate_from": "alb-passthrough"}, "CRLCHECK_TRUST_ANCHORS"),
        ({"trust_anchors": "/etc/anchors.pem"}, "CRLCHECK_TRUST_ANCHORS"),
        ({"certificate_from": "alb-passthrough", "trust_anchors": "/none"}, "TRUST_ANCHORS is"),
        ({"mode": "watch"}, "CRLCHECK_MODE"),
        ({"decide": "json"}, "CRLCHECK_DECIDE"),
        ({"decide": "no_such_module:rule"}, "CRLCHECK_DECIDE"),
        ({"decide": "json:no_such_function"}, "CRLCHECK_DECIDE"),
        ({"decide": "json:__name__"}, "expected a function"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_import(
    settings: dict[str, str], variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    The message names the variable.
    """
    with pytest.raises(ValueError, match=variable):
        load(monkeypatch, tmp_path, **settings)


def test_broken_trust_anchors_stop_the_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    A file without a certificate would trust nobody, or worse.
    """
    path = write_anchors(tmp_path)
    Path(path).write_text("none")
    with pytest.raises(ValueError, match="CRLCHECK_TRUST_ANCHORS is "):
        load(monkeypatch, tmp_path, certificate_from="alb-passthrough", trust_anchors=path)
