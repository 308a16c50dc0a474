"""
``validate``: whether a trusted issuer has issued a certificate that nobody else verified.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.validation import Validated
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import (
    CertificateError,
    IndexClosedError,
    PathValidationError,
    StoreUnavailableError,
)
from crlcheck.publisher.issuers import remove_issuer
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import Policy, RevocationStatus, Rule
from crlcheck.x509 import path_validation
from crlcheck.x509.certificates import load_certificate
from crlcheck.x509.signatures import certificate_fault
from support.checking import BAD, CA, FOREIGN, GOOD, Clock, make_checker, make_index, publish
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_client, make_crl, make_imposter

HOUR = timedelta(hours=1)
YEAR = 365 * DAY
FORGED = make_client(make_imposter(CA), 7)
FORGED_NAMELESS = make_client(make_imposter(CA), 7, authority_key_id=False)


def by_validate(checker: RevocationChecker, certificate: Any) -> None:
    """In the caller's thread."""
    checker.validate(certificate)


def by_avalidate(checker: RevocationChecker, certificate: Any) -> None:
    """In an event loop."""
    asyncio.run(checker.avalidate(certificate))


either = pytest.mark.parametrize("validate", [by_validate, by_avalidate])


@pytest.fixture
def store() -> MemoryStore:
    """A store with a CRL of CA."""
    made = MemoryStore()
    publish(made)
    return made


def issued(authority: CertificateAuthority = CA, **fields: Any) -> bytes:
    """A client certificate."""
    dates = {"not_before": NOW - DAY, "not_after": NOW + YEAR}
    return authority.issue("client", **{**dates, **fields}).der


def refusal(checker: RevocationChecker, certificate: bytes) -> PathValidationError:
    """The error for a certificate that a check clears or not, and that is not valid."""
    with pytest.raises(PathValidationError) as caught:
        checker.validate(certificate)
    with pytest.raises(PathValidationError) as again:
        asyncio.run(checker.avalidate(certificate))
    assert str(again.value) == str(caught.value)
    return caught.value


@either
def test_what_a_trusted_issuer_issued_is_valid(
    store: MemoryStore, validate: Callable[[RevocationChecker, Any], None]
) -> None:
    """
    With an authority key id or without, revoked or not: that is what a check is for.
    """
    with make_checker(store, refresh_after=HOUR) as checker:
        for certificate in (GOOD, BAD, make_client(CA, 9, authority_key_id=False)):
            for _ in range(2):
                validate(checker, certificate)


@pytest.mark.parametrize("certificate", [FORGED, FORGED_NAMELESS], ids=["key id", "no key id"])
def test_what_anybody_made_in_the_name_of_an_issuer_is_not_valid(
    store: MemoryStore, certificate: bytes
) -> None:
    """
    A check clears it, because no CRL lists it: so somebody must look at the signature.
    """
    with make_checker(store) as checker:
        assert checker.check(certificate).status is RevocationStatus.NOT_REVOKED
        error = refusal(checker, certificate)
        assert error.section == "6.1.3 (a)(1)"
        assert "Example" not in str(error)


def test_a_signature_that_was_changed_is_not_valid(store: MemoryStore) -> None:
    """
    Neither is a certificate of which another byte is changed: the end is of the signature.
    """
    with make_checker(store, refresh_after=HOUR) as checker:
        checker.validate(GOOD)
        serial = GOOD.index(b"\x02\x01\x01")
        for place in (-1, serial + 2):
            changed = bytearray(GOOD)
            changed[place] ^= 4
            refusal(checker, bytes(changed))


@pytest.mark.parametrize(
    ("fields", "section"),
    [
        ({"not_before": NOW - YEAR, "not_after": NOW - HOUR}, "6.1.3 (a)(2)"),
        ({"not_before": NOW + HOUR}, "6.1.3 (a)(2)"),
    ],
)
def test_dates_count(store: MemoryStore, fields: dict[str, Any], section: str) -> None:
    """
    A certificate that has expired, or is not valid yet, is refused, whatever the policy waives.
    """
    policy = Policy(expired_certificate=Rule.ALLOW)
    with make_checker(store, policy=policy) as checker:
        assert refusal(checker, issued(**fields)).section == section


def test_the_certificate_of_a_ca_is_no_clients(store: MemoryStore) -> None:
    """
    Not even that of the trusted issuer itself.
    """
    below = make_authority("Below", parent=CA)
    with make_checker(store) as checker:
        for certificate in (CA.der, below.der):
            assert refusal(checker, certificate).section == "4.2.1.9"


def test_an_issuer_that_is_not_trusted_issues_nothing(store: MemoryStore) -> None:
    """
    Not for a policy that lets certificates of unknown issuers pass, either.
    """
    policy = Policy(unknown_issuer=Rule.ALLOW)
    with make_checker(store, policy=policy) as checker:
        assert checker.check(FOREIGN).status is RevocationStatus.NOT_REVOKED
        assert "no trusted issuer" in str(refusal(checker, FOREIGN))


def test_a_certificate_below_one_that_is_not_trusted_is_not_valid(store: MemoryStore) -> None:
    """
    Only whom the store trusts issues: an intermediate CA belongs there, and what a client
    sends beside its certificate is not looked at.
    """
    below = make_authority("Below", parent=CA)
    with make_checker(store) as checker:
        assert "no trusted issuer" in str(refusal(checker, issued(below)))


def test_an_issuer_counts_in_its_time_only(store: MemoryStore) -> None:
    """
    What is remembered of a certificate ends with its issuer's certificate.
    """
    short = CertificateAuthority.create("Short", now=NOW, not_after=NOW + DAY)
    publish(store, authority=short)
    clock = Clock()
    certificate = issued(short)
    with make_checker(store, clock=clock, refresh_after=YEAR) as checker:
        checker.validate(certificate)
        clock.now = NOW + 2 * DAY
        assert "trust anchor: it has expired" in str(refusal(checker, certificate))
        clock.now = NOW
        checker.validate(certificate)


def test_what_was_valid_ends_with_the_certificate(store: MemoryStore) -> None:
    """
    Remembering does not lengthen its life, and a clock that is set back does not either.
    """
    clock = Clock()
    certificate = issued(not_after=NOW + HOUR)
    with make_checker(store, clock=clock, refresh_after=YEAR) as checker:
        checker.validate(certificate)
        for then in (NOW + HOUR + timedelta(seconds=1), NOW - 2 * DAY):
            clock.now = then
            assert refusal(checker, certificate).section == "6.1.3 (a)(2)"


def test_an_issuer_that_was_removed_issues_nothing_more(store: MemoryStore) -> None:
    """
    What one set's issuers issued is not valid by the next one's.
    """
    policy = Policy(unknown_issuer=Rule.ALLOW)
    with make_checker(store, policy=policy) as checker:
        checker.validate(GOOD)
        remove_issuer(store, sha256(CA.der).hexdigest(), now=NOW)
        assert "no trusted issuer" in str(refusal(checker, GOOD))


def test_one_of_two_issuers_of_a_name_has_signed(store: MemoryStore) -> None:
    """
    The one that the key id names, or any where there is none.
    """
    twin = make_authority("Example CA")
    publish_crl(make_crl(twin, 1), store, issuer=twin.pem, now=NOW)
    with make_checker(store) as checker:
        for certificate in (GOOD, issued(twin), issued(twin, authority_key_id=False)):
            checker.validate(certificate)
        for forged in (FORGED, FORGED_NAMELESS, issued(make_imposter(twin))):
            refusal(checker, forged)


def test_open_indexes_have_the_issuers_that_are_given() -> None:
    """
    Without their certificates nothing tells who signed.
    """
    with make_index() as index:
        with make_checker(index, issuers=CA.pem) as checker:
            checker.validate(GOOD)
            refusal(checker, FORGED)
        with make_checker(index) as checker:
            assert "no trusted issuer" in str(refusal(checker, GOOD))


@either
def test_without_a_set_nothing_is_valid(
    validate: Callable[[RevocationChecker, Any], None],
) -> None:
    """
    That is said as what it is: the store's fault, the caller's, or the certificate's.
    """
    with make_checker(MemoryStore()) as checker:
        with pytest.raises(StoreUnavailableError):
            validate(checker, GOOD)
        with pytest.raises(CertificateError):
            validate(checker, b"x")
    with pytest.raises(IndexClosedError):
        validate(checker, GOOD)


def test_a_signature_is_verified_once(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was valid is remembered, what was not is not: a flood of it drives nothing out.
    """
    verified: list[str] = []
    fault_of = certificate_fault

    def noting(certificate: Any, issuer: Any) -> str | None:
        fault = fault_of(certificate, issuer)
        verified.append(fault or "")
        return fault

    monkeypatch.setattr(path_validation, "certificate_fault", noting)
    with make_checker(store, refresh_after=HOUR) as checker:
        for _ in range(3):
            checker.validate(GOOD)
            asyncio.run(checker.avalidate(GOOD))
            refusal(checker, FORGED)
    assert verified.count("") == 1
    assert len(verified) == 7


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The one that was not asked for longest is forgotten.
    """
    monkeypatch.setattr("crlcheck.checker.validation._CAPACITY", 2)
    owner = MemoryStore()
    validated = Validated(owner)
    facts = load_certificate(GOOD)
    for der in (b"1", b"2"):
        validated.note(der, [], facts)
    assert validated.has(b"1", NOW)
    validated.note(b"3", [], facts)
    assert [validated.has(der, NOW) for der in (b"1", b"2", b"3")] == [True, False, True]
