"""Certificates of a trusted CA that publishes no CRL."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from crlcheck.checker.scope import ScopeTable
from crlcheck.demo.encoding import encode_extension
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import CertificateError
from crlcheck.publisher.issuers import set_issuer
from crlcheck.publisher.operator import deny_certificate, remove_scope
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import (
    DistributionPoint,
    ImageMetadata,
    Policy,
    RevocationStatus,
    UndeterminedCause,
)
from crlcheck.x509.certificates import load_certificate
from support.checking import CA, make_checker, verdict
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority, make_client, make_crl
from support.publishing import catalog_of
from support.values import der, make_certificate, make_issuer, make_metadata, make_name

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
OUT_OF_SCOPE = UndeterminedCause.OUT_OF_SCOPE

SILENT = make_authority("Silent", make_authority("Root of Silent"))
"""A trusted CA that publishes no CRL."""


def silent_store(*, issuers: Iterable[CertificateAuthority] = ()) -> MemoryStore:
    """A store where another CA's CRL is published, and Silent is trusted."""
    store = MemoryStore()
    trusted = [CA.der, SILENT.der, *(one.der for one in issuers)]
    publish_crl(make_crl(CA), store, issuer=trusted, now=NOW)
    return store


INDIRECT = b"\x30\x03\x84\x01\xff"

NO_CRL = Policy(unpublished_issuers=SILENT.der)


def test_what_an_issuer_without_crl_issued_can_pass() -> None:
    """
    By a rule for that issuer, given to the checker or marked in the catalog, and
    the result says so; other issuers' certificates do not pass by it.
    """
    client = make_client(SILENT, 6)
    marked = silent_store()
    fingerprint = hashlib.sha256(SILENT.der).hexdigest()
    set_issuer(marked, fingerprint, publishes_no_crl=True)
    for checker in (make_checker(silent_store(), policy=NO_CRL), make_checker(marked)):
        result = checker.check(client)
        assert verdict(result) == (NOT_REVOKED, None)
        assert result.waived == (OUT_OF_SCOPE,)
        assert "the operator says that its issuer publishes no CRL" in str(result)
        assert checker.check_chain([client]).waived == (OUT_OF_SCOPE,)
    assert make_checker(silent_store()).check(client).cause is OUT_OF_SCOPE


def test_the_rule_is_for_that_key_of_a_trusted_issuer() -> None:
    """
    A namesake's certificates do not pass, and it trusts nobody.
    """
    namesake = make_authority("Silent")
    store = silent_store(issuers=[namesake])
    checker = make_checker(store, policy=NO_CRL)
    assert checker.check(make_client(namesake, 6)).cause is OUT_OF_SCOPE
    elsewhere = make_checker(silent_store(), policy=Policy(unpublished_issuers=[namesake.der]))
    assert elsewhere.check(make_client(namesake, 6)).cause is UndeterminedCause.UNKNOWN_ISSUER
    assert elsewhere.check(make_client(SILENT, 6)).cause is OUT_OF_SCOPE


def test_a_crl_belies_that_an_issuer_publishes_none() -> None:
    """
    While one is held, whatever it is for, and after it was removed: what it
    revoked must not pass again.
    """
    for_cas = encode_extension("2.5.29.28", b"\x30\x03\x82\x01\xff", critical=True)
    store = silent_store()
    report = publish_crl(make_crl(SILENT, extensions=[for_cas]), store, issuer=SILENT.der, now=NOW)
    checker = make_checker(store, policy=NO_CRL)
    for _ in range(2):
        result = checker.check(make_client(SILENT, 6))
        assert verdict(result) == (UNDETERMINED, OUT_OF_SCOPE)
        assert "a CRL that may be of that issuer is held" in str(result)
        if report.scope in catalog_of(store).scopes:
            remove_scope(store, report.scope, now=NOW)


@pytest.mark.parametrize(
    ("crl", "expected"),
    [
        (make_metadata(base_crl_number=3), True),
        (make_metadata(key="an old key"), True),
        (make_metadata(key=None), True),
        (make_metadata(key="rollover"), True),
        (make_metadata(key="namesake"), False),
        (make_metadata(issuer="another"), False),
        (make_metadata(issuer="another", issuing_distribution_point=INDIRECT), False),
    ],
)
@pytest.mark.parametrize("when", ["crls", "removed"])
def test_which_crls_may_be_of_an_issuer(crl: ImageMetadata, expected: bool, when: str) -> None:
    """
    One by its key, by a key tied to it, by a key that is not known any more, and one
    that was not verified; none by a namesake's key or of another name. The same holds
    for those that were removed.
    """
    own = make_issuer()
    rollover = make_issuer(key="rollover", subject_key_id=b"rollover")
    namesake = dataclasses.replace(
        make_issuer(key="namesake", subject_key_id=b"namesake"), authority_key_id=b"elsewhere"
    )
    root = make_certificate(
        issuer="root",
        subject="root",
        key="root key",
        authority_key_id=b"root key",
        subject_key_id=b"root key",
        is_ca=True,
    )
    held = {"crls": [], "removed": [], when: [crl]}
    issuers = [own, rollover, namesake, root]
    table = ScopeTable(held["crls"], issuers, removed=held["removed"])
    certificate = make_certificate()
    coverage = table.coverage(certificate)
    assert table.may_have_crls(certificate, coverage) is expected


def test_an_indirect_crl_may_be_for_certificates_that_name_its_issuer() -> None:
    """
    A certificate that names the CRL's issuer, or of which the points are not known.
    """
    indirect = make_metadata(issuer="another", key="another", issuing_distribution_point=INDIRECT)
    table = ScopeTable([indirect], [make_issuer(), make_issuer("another", "another", b"another")])
    bare, naming, other = (
        make_certificate(distribution_points=points)
        for points in (
            (),
            (DistributionPoint(crl_issuers=(der(0xA4, make_name("another")),)),),
            (DistributionPoint(crl_issuers=(der(0xA4, make_name("a third")),)),),
        )
    )
    for certificate, any_points, expected in (
        (bare, False, False),
        (bare, True, True),
        (naming, False, True),
        (other, False, False),
    ):
        coverage = table.coverage(certificate, any_points=any_points)
        assert table.may_have_crls(certificate, coverage) is expected


def test_what_is_above_an_issuer_without_crl_is_checked() -> None:
    """
    Its own certificate may be revoked, and it may be denied.
    """
    root = make_authority("Root of Silent")
    silent = make_authority("Silent", root)
    policy = Policy(unpublished_issuers=silent.der)
    for revoked, status in (([], NOT_REVOKED), ([silent.certificate.serial_number], REVOKED)):
        store = MemoryStore()
        trusted = [root.der, silent.der]
        publish_crl(make_crl(root, 1, revoked), store, issuer=trusted, now=NOW)
        checker = make_checker(store, policy=policy)
        assert checker.check(make_client(silent, 6)).status is status
        facts = load_certificate(silent.der)
        deny_certificate(store, facts.issuer, facts.serial_number, now=NOW)
        assert checker.check(make_client(silent, 6)).status is REVOKED


@pytest.mark.parametrize(
    "given", [SILENT.der, bytearray(SILENT.pem), [SILENT.der], {SILENT.der}, SILENT.certificate],
    ids=["bytes", "bytearray", "list", "set", "object"],
)  # fmt: skip
def test_a_policy_with_issuers_stays_a_value(given: Any) -> None:
    """
    It can be hashed and compared, whatever form its certificates have.
    """
    policy = Policy(unpublished_issuers=given)
    assert hash(policy) == hash(Policy(unpublished_issuers=given))
    assert policy == Policy(unpublished_issuers=policy.unpublished_issuers)
    checker = make_checker(silent_store(), policy=policy)
    assert checker.check(make_client(SILENT, 6)).status is NOT_REVOKED


def test_a_policy_whose_issuers_are_no_certificates_is_refused() -> None:
    """
    When the checker is made, not at the first check.
    """
    with pytest.raises(CertificateError):
        make_checker(silent_store(), policy=Policy(unpublished_issuers=b"no certificate"))
