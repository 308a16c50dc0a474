"""PKCS #7 bundles are published, trusted and checked like PEM files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from crlcheck.checker.checker import RevocationChecker
from crlcheck.compiler.compile import compile_crl, compile_unverified_crl
from crlcheck.demo.encoding import der
from crlcheck.demo.pki import pem_block
from crlcheck.errors import CertificateError, CrlError, MalformedCrlError, UnsupportedCrlError
from crlcheck.publisher.publish import publish_crl
from crlcheck.publisher.publish_many import publish_each
from crlcheck.types import PublishReport, RevocationStatus
from crlcheck.x509.certificates import load_certificate, load_certificates
from support.kinds import make_bundle
from support.pki import NOW, make_authority, make_client, make_crl

FIRST, SECOND = make_authority("First"), make_authority("Second")
CRLS = [make_crl(FIRST, 1, [5]), make_crl(SECOND, 1, [6, 7])]
BUNDLE = make_bundle([FIRST.der, SECOND.der], CRLS)

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "DER": bytes,
    "PEM": lambda bundle: pem_block("PKCS7", bundle),
    "CMS": lambda bundle: pem_block("CMS", bundle),
    "PEM without its last newline": lambda bundle: pem_block("PKCS7", bundle).rstrip(),
}


def publish(
    data: bytes, store: Path, *, max_crls: int = 100, max_source_size: int = 0
) -> list[PublishReport | CrlError]:
    """Publish a file, trusting the issuers that the bundle has."""
    results = publish_each(
        io.BytesIO(data),
        store,
        issuer=BUNDLE,
        source_name="ca.p7b",
        now=NOW,
        max_crls=max_crls,
        max_source_size=max_source_size,
    )
    return [result for _, result in results]


@pytest.mark.parametrize("form", FORMS)
def test_every_crl_of_a_bundle_is_published(form: str, tmp_path: Path) -> None:
    """
    Like the blocks of a PEM file, and verified by the certificates of a bundle.
    """
    reports = publish(FORMS[form](BUNDLE), tmp_path)
    assert [isinstance(report, PublishReport) and report.published for report in reports] == [
        True,
        True,
    ]
    with RevocationChecker(tmp_path, clock=lambda: NOW) as checker:
        assert checker.check(make_client(FIRST, 5)).status is RevocationStatus.REVOKED
        assert checker.check(make_client(SECOND, 7)).status is RevocationStatus.REVOKED
        assert checker.check(make_client(SECOND, 5)).status is RevocationStatus.NOT_REVOKED
        assert (
            checker.check(FORMS[form](make_bundle([make_client(FIRST, 5)]))).status
            is RevocationStatus.REVOKED
        )


@pytest.mark.parametrize("form", FORMS)
def test_one_crl_of_a_bundle_is_compiled(form: str) -> None:
    """
    A bundle with one CRL stands for it, and one with several for none of them.
    """
    one, two = FORMS[form](make_bundle([FIRST.der], CRLS[:1])), FORMS[form](BUNDLE)
    report = compile_crl(one, issuer=one)
    assert report.metadata.num_entries == 1
    with pytest.raises(MalformedCrlError, match="2 CRLs, expected one"):
        compile_unverified_crl(two)


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_without_a_crl_is_refused(form: str, tmp_path: Path) -> None:
    """
    With the count of what is in it, where that is known.
    """
    (refused,) = publish(FORMS[form](make_bundle([FIRST.der, SECOND.der])), tmp_path)
    assert isinstance(refused, MalformedCrlError)
    assert refused.found == "pkcs7"
    assert "found PKCS #7" in str(refused)
    with pytest.raises(CertificateError, match="found PKCS #7"):
        load_certificates(FORMS[form](make_bundle([], CRLS)))


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_the_limits_of_pem_hold(form: str, tmp_path: Path) -> None:
    """
    As many CRLs and bytes of one file as are allowed, and no more.
    """
    data = FORMS[form](make_bundle([], CRLS * 3))
    *_, last = publish(data, tmp_path, max_crls=2)
    assert isinstance(last, UnsupportedCrlError)
    assert last.feature == "too_many_crls"
    (refused,) = publish(data, tmp_path, max_source_size=100)
    assert isinstance(refused, UnsupportedCrlError)
    assert refused.feature == "source_too_large"


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_that_somebody_signed_is_refused(form: str, tmp_path: Path) -> None:
    """
    Nobody here verifies the signature of a message, so none of it counts.
    """
    data = FORMS[form](make_bundle([FIRST.der], CRLS, signers=der(0x30)))
    (refused,) = publish(data, tmp_path)
    assert isinstance(refused, MalformedCrlError)
    assert "with a signature" in str(refused)
    with pytest.raises(CertificateError, match="with a signature"):
        load_certificates(data)


@pytest.mark.parametrize("form", FORMS)
def test_no_certificate_of_a_bundle_is_its_first(form: str, tmp_path: Path) -> None:
    """
    RFC 5652 5.1: they are a SET, so none is the leaf, and they are no path either.
    """
    publish_crl(CRLS[0], tmp_path, issuer=FIRST.der, now=NOW)
    good, bad = make_client(FIRST, 4), make_client(FIRST, 5)
    data = FORMS[form](make_bundle([good, bad]))
    with RevocationChecker(tmp_path, clock=lambda: NOW) as checker:
        with pytest.raises(CertificateError, match="2 certificates, expected one"):
            checker.check(data)
        with pytest.raises(CertificateError, match="in their order"):
            checker.check_chain(FORMS[form](make_bundle([bad, FIRST.der])))
    assert load_certificate(FORMS[form](make_bundle([bad]))).der == bad


def test_a_source_that_ends_early_publishes_nothing(tmp_path: Path) -> None:
    """
    The bundle is read as a whole before any of it counts.
    """
    for end in (len(BUNDLE) - 1, len(BUNDLE) // 2, 70):
        (refused,) = publish(BUNDLE[:end], tmp_path)
        assert isinstance(refused, MalformedCrlError)
        assert refused.rule == "bad_pkcs7"
