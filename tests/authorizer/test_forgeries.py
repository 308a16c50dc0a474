"""
Certificates that a client plants: in headers and members that the setting does not
name, beside the real one, and in the real one's very place.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from crlcheck.demo.pki import CertificateAuthority, pem_block
from support.authorizer import PKI, SOURCES, Source, is_allowed, load_from, publish
from support.functions import lines_of

HEADER_SOURCES = {name: source for name, source in SOURCES.items() if source.header}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A store in a directory that holds the issuer's CRL."""
    store = tmp_path / "published"
    publish(store, PKI.crl(number=1))
    return store


# ---- headers ---------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("other", SOURCES.values(), ids=SOURCES)
def test_a_forged_header_or_member_stands_in_for_nothing(
    source: Source, other: Source, monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    A good certificate anywhere else saves neither a client that presented none
    nor one that is revoked.
    """
    if source.certificate_from == other.certificate_from:
        return
    function = load_from(source, monkeypatch, published)
    good = PKI.client("good")
    for presented in (None, PKI.client("revoked")):
        event = source.event(presented)
        forged = other.event(good)
        if other.header is None:
            for member in ("identity", "authentication"):
                if member in forged["requestContext"] and source.header is not None:
                    event["requestContext"][member] = forged["requestContext"][member]
        else:
            for member in ("headers", "multiValueHeaders"):
                if member in event:
                    value = quote(good, safe="+=/")
                    event[member][other.header] = [value] if member[0] == "m" else value
        assert not is_allowed(function.handler(event, None))


@pytest.mark.parametrize("source", HEADER_SOURCES.values(), ids=HEADER_SOURCES)
@pytest.mark.parametrize("forgery", ["spelling", "joined", "listed"])
def test_a_forged_header_beside_the_real_one_is_denied(
    source: Source,
    forgery: str,
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A client that adds the header itself, however it is then merged with the real
    one, is denied: which of them is real cannot be told.
    """
    function = load_from(source, monkeypatch, published)
    good, revoked = (quote(PKI.client(name), safe="+=/") for name in ("good", "revoked"))
    event = source.event(PKI.client("revoked"))
    headers = event.get("headers") or event["multiValueHeaders"]
    assert source.header is not None
    if forgery == "spelling":
        headers[source.header.title()] = headers[source.header].__class__()
        headers[source.header.title()] += [good] if "multiValueHeaders" in event else good
    elif forgery == "joined":
        joined = f"{good},{revoked}"
        headers[source.header] = [joined] if "multiValueHeaders" in event else joined
    else:
        headers[source.header] = [good, revoked]
    assert not is_allowed(function.handler(event, None))
    assert lines_of(caplog, "lambda_authorizer")[-1]["allowed"] is False


KEY = pem_block("PRIVATE KEY", b"secret").decode()
ESCAPED = quote(PKI.client("good"), safe="+=/")
NO_VALUES = {
    "text before": quote("subject=x\n", safe="") + ESCAPED,
    "text behind": ESCAPED + "x",
    "key before": quote(KEY, safe="") + ESCAPED,
    "key behind": ESCAPED + quote(KEY, safe=""),
    "not encoded": PKI.client("good"),
    "encoded twice": quote(ESCAPED, safe=""),
    "base64 of DER": base64.b64encode(PKI.good.der).decode(),
    "of Envoy": f'Cert="{ESCAPED}"',
    "NUL": ESCAPED + "%00",
    "broken escape": ESCAPED + "%",
    "bundle": ESCAPED.replace("CERTIFICATE", "PKCS7"),
    "huge": ESCAPED * 100,
}


@pytest.mark.parametrize("source", HEADER_SOURCES.values(), ids=HEADER_SOURCES)
@pytest.mark.parametrize("name", NO_VALUES)
def test_a_header_has_certificates_and_nothing_else(
    source: Source,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    No certificate is picked out of a value. The log says what was found, and repeats nothing.
    """
    function = load_from(source, monkeypatch, published, log_certificate="true")
    event = source.event(PKI.client("good"))
    assert is_allowed(function.handler(event, None))
    headers = event.get("headers") or event["multiValueHeaders"]
    assert source.header is not None
    value = NO_VALUES[name]
    headers[source.header] = [value] if "multiValueHeaders" in event else value
    assert not is_allowed(function.handler(event, None))
    line = lines_of(caplog, "lambda_authorizer")[-1]
    unverified = source.certificate_from == "alb-passthrough"
    assert line["cause"] == ("untrusted_chain" if unverified else "error")
    assert f"certificate header ({source.certificate_from}): found" in line["detail"]
    assert "certificate" not in line
    assert ESCAPED[60:90] not in caplog.text


# ---- leaves ----------------------------------------------------------------------

GOOD, REVOKED = PKI.client("good"), PKI.client("revoked")
NAMESAKE = CertificateAuthority.create("Example Issuing CA")
OF_NAMESAKE = NAMESAKE.issue("device 7").pem.decode()
RUBBISH = REVOKED[:40]


def _altered() -> str:
    """The revoked certificate with a serial number that its issuer never signed."""
    serial = PKI.revoked.certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1)
    altered = octets[:-1] + bytes([octets[-1] ^ 1])
    assert octets in PKI.revoked.der
    return pem_block("CERTIFICATE", PKI.revoked.der.replace(octets, altered, 1)).decode()


FORGED_LEAVES: dict[str, tuple[str, str | None]] = {
    "good before revoked": (GOOD + REVOKED, "error"),
    "revoked before good": (REVOKED + GOOD, "error"),
    "rubbish before good": (RUBBISH + GOOD, "error"),
    "of a namesake": (OF_NAMESAKE, "unknown_issuer"),
    "of a stranger": (PKI.client("foreign"), "unknown_issuer"),
}
# A chain begins with the client's own certificate, and any may follow. Nobody has
# verified it, so that signatures count as well.
FORGED_CHAINS: dict[str, tuple[str, str | None]] = {
    "revoked before good": (REVOKED + GOOD, None),
    "rubbish before good": (RUBBISH + GOOD, "untrusted_chain"),
    "of a namesake": (OF_NAMESAKE, "untrusted_chain"),
    "with the namesake": (OF_NAMESAKE + NAMESAKE.pem.decode(), "untrusted_chain"),
    "of a stranger": (PKI.client("foreign"), "untrusted_chain"),
    "altered": (_altered(), "untrusted_chain"),
    "altered before good": (_altered() + GOOD, "untrusted_chain"),
}


def forgeries_of(source: Source) -> dict[str, tuple[str, str | None]]:
    """What may be planted where *source* has its certificate, and the cause of its denial."""
    return FORGED_CHAINS if source.certificate_from == "alb-passthrough" else FORGED_LEAVES


@pytest.mark.parametrize(
    ("name", "forgery"),
    [(name, forgery) for name, source in SOURCES.items() for forgery in forgeries_of(source)],
)
def test_a_forged_leaf_is_denied(
    name: str,
    forgery: str,
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    In the very place that the setting names: of several certificates none is
    picked, and one that only looks like the issuer's is not taken for its own.
    """
    source = SOURCES[name]
    pem, cause = forgeries_of(source)[forgery]
    function = load_from(source, monkeypatch, published)
    assert not is_allowed(function.handler(source.event(pem), None))
    line = lines_of(caplog, "lambda_authorizer")[-1]
    assert (line["allowed"], line.get("cause")) == (False, cause)
    assert (line["verdict"] == "revoked") is (cause is None)


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "alb-passthrough"])
def test_what_is_shown_beside_a_certificate_counts_for_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    Whosever serial number and subject the event shows, the certificate decides.
    """
    source = SOURCES[name]
    function = load_from(source, monkeypatch, published)
    for presented, shown in (("revoked", PKI.good), ("good", PKI.revoked)):
        text = json.dumps(source.event(PKI.client(presented)))
        serial = f"{shown.certificate.serial_number:x}"
        for of_fixture, forged in (
            ("a1:b2:c3", serial),
            ("A1B2C3", serial.upper()),
            ("CN=device 7", shown.certificate.subject.rfc4514_string()),
        ):
            text = text.replace(of_fixture, forged)
        assert serial in text.lower()
        assert is_allowed(function.handler(json.loads(text), None)) is (presented == "good")
