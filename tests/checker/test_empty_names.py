"""A Name without any attribute is nobody's: it issues nothing and is matched by nothing."""

from __future__ import annotations

import pytest
from cryptography import x509

from crlcheck import (
    CertificateError,
    MalformedCrlError,
    RevocationStatus,
    UndeterminedCause,
    compile_unverified_crl,
    load_certificate,
)
from crlcheck.demo.encoding import der, der_integer, encode_entry, encode_extension
from crlcheck.demo.pki import sign_crl
from support.certificate_der import ALGORITHM, NOT_AFTER, NOT_BEFORE, encode_certificate
from support.checking import CA, make_checker, make_index, verdict
from support.pki import DAY, NOW

EMPTY = der(0x30)
EMPTY_RDN = der(0x30, der(0x31))
INDIRECT = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)


def encode_crl(issuer: bytes) -> bytes:
    """Return a CRL of *issuer* that nobody signed."""
    tbs = der(0x30, der_integer(1), ALGORITHM, issuer, NOT_BEFORE, NOT_AFTER)
    return der(0x30, tbs, ALGORITHM, der(0x03, b"\x00\x01"))


@pytest.mark.parametrize(("name", "rule"), [(EMPTY, "empty_name"), (EMPTY_RDN, "truncated")])
def test_a_crl_without_an_issuer_is_malformed(name: bytes, rule: str) -> None:
    """RFC 5280 5.1.2.3: the issuer of a CRL must be a non-empty DN."""
    with pytest.raises(MalformedCrlError) as caught:
        compile_unverified_crl(encode_crl(name))
    assert caught.value.rule == rule


@pytest.mark.parametrize(("name", "rule"), [(EMPTY, "bad_extension"), (EMPTY_RDN, "truncated")])
def test_an_entry_of_no_issuer_refuses_the_whole_crl(name: bytes, rule: str) -> None:
    """
    It revokes a certificate that cannot be told (RFC 5280 5.3.3), so a CRL with one
    is not read as if it were not there.
    """
    crl = sign_crl(
        CA,
        [encode_entry(1, NOW - DAY), encode_entry(2, NOW - DAY, certificate_issuer=name)],
        this_update=NOW - DAY,
        next_update=NOW + DAY,
        crl_number=1,
        extensions=[INDIRECT],
    )
    with pytest.raises(MalformedCrlError) as caught:
        compile_unverified_crl(crl)
    assert caught.value.rule == rule


def test_a_certificate_without_an_issuer_is_malformed() -> None:
    """RFC 5280 4.1.2.4. An empty subject is another matter: clients may have one."""
    with pytest.raises(CertificateError, match="empty name"):
        load_certificate(encode_certificate(issuer=EMPTY))
    assert load_certificate(encode_certificate(subject=EMPTY)).subject == EMPTY


def test_a_trusted_certificate_without_a_subject_answers_for_nothing() -> None:
    """It can have signed no CRL, and no certificate that parses names it as its issuer."""
    nobody = encode_certificate(subject=EMPTY)
    result = make_checker(make_index(), issuers=[nobody, CA.pem]).check_serial(nobody, 3)
    assert result.status is RevocationStatus.UNDETERMINED


def test_an_empty_crl_issuer_leads_to_no_crl() -> None:
    """
    A distribution point whose cRLIssuer is nobody adds no CRL: not the certificate
    issuer's own, where that is for a distribution point or indirect.
    """
    crl_issuer = [x509.DirectoryName(x509.Name([]))]
    point = x509.DistributionPoint(
        full_name=None, relative_name=None, reasons=None, crl_issuer=crl_issuer
    )
    client = CA.issue(
        "client",
        serial_number=3,
        distribution_points=[point],
        not_before=NOW - DAY,
        not_after=NOW + DAY,
    )
    nobodys_point = encode_extension(
        "2.5.29.28", der(0x30, der(0xA0, der(0xA0, der(0xA4, EMPTY)))), critical=True
    )
    nobodys_indirect = encode_extension(
        "2.5.29.28",
        der(0x30, der(0xA0, der(0xA0, der(0xA4, EMPTY))), der(0x84, b"\xff")),
        critical=True,
    )
    for extension in (nobodys_point, nobodys_indirect):
        checker = make_checker(make_index(extensions=[extension]), issuers=CA.pem)
        assert verdict(checker.check(client.der)) == (
            RevocationStatus.UNDETERMINED,
            UndeterminedCause.OUT_OF_SCOPE,
        )
