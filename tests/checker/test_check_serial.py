"""Questions about a serial number: the same answers as its certificate gets."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from crlcheck import (
    CertificateError,
    IndexClosedError,
    Policy,
    RevocationStatus,
    Rule,
    StaleRule,
    UndeterminedCause,
    deny_certificate,
    load_certificate,
)
from crlcheck.checker.scope import ALL_REASONS, ApplicableCrl, ScopeTable
from crlcheck.checker.serial_question import possible_certificates
from crlcheck.demo.pki import encode_entry, encode_extension, sign_crl
from crlcheck.types import CertificateFacts, DistributionPoint
from support.checking import Clock, CountingStore, make_checker, make_index, verdict
from support.memory_store import MemoryStore
from support.pki import (
    DAY,
    NOW,
    ONLY_CA_CERTIFICATES,
    ONLY_USER_CERTIFICATES,
    make_authority,
    make_client,
    make_crl,
)
from support.publishing import publish
from support.values import der, make_certificate, make_issuer, make_metadata

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
OUT_OF_SCOPE = UndeterminedCause.OUT_OF_SCOPE

CA = make_authority("CA")


def partition(text: str) -> bytes:
    """An issuingDistributionPoint with a URI."""
    names = der(0xA0, der(0xA0, der(0x86, text.encode())))
    return encode_extension("2.5.29.28", der(0x30, names), critical=True)


# ---- one engine -------------------------------------------------------------------------


def test_a_revoked_issuer_revokes_the_serial_number() -> None:
    """
    The path above is walked, as from the certificate.
    """
    root = make_authority("Root")
    issuer = make_authority("Issuing CA", root)
    store, issuers = MemoryStore(), [root.der, issuer.der]
    publish(store, make_crl(root, 1, [issuer.certificate.serial_number]), issuers)
    publish(store, make_crl(issuer, 1), issuers)
    checker = make_checker(store)
    expected = checker.check(make_client(issuer, 5))
    assert expected.status is REVOKED
    assert checker.check_serial(issuer.der, 5) == expected
    assert expected.certificate == load_certificate(issuer.der)
    shallow = make_checker(store, policy=Policy(path_depth=0))
    assert shallow.check_serial(issuer.der, 5).status is NOT_REVOKED


def test_a_revoked_signer_makes_its_crl_useless() -> None:
    """
    The signer of the CRL is checked, as for the certificate.
    """
    root = make_authority("Root")
    issuer, signer = make_authority("Issuing CA", root), make_authority("Issuing CA", root)
    store, issuers = MemoryStore(), [root.der, issuer.der, signer.der]
    publish(store, make_crl(root, 1, [signer.certificate.serial_number]), issuers)
    publish(store, make_crl(signer, 1, [6]), issuers)
    checker = make_checker(store)
    for serial_number in (5, 6):
        result = checker.check_serial(issuer.der, serial_number)
        assert verdict(result) == (UNDETERMINED, UndeterminedCause.CRL_SIGNER_REVOKED)
        assert verdict(checker.check(make_client(issuer, serial_number))) == verdict(result)


def test_denials_and_waivers_are_those_of_a_certificate() -> None:
    """
    The deny list, the hold and the grace period of the checker's policy.
    """
    store, clock = MemoryStore(), Clock()
    crl = sign_crl(CA, [encode_entry(6, NOW - DAY, reason=6)], crl_number=1,
                   this_update=NOW - DAY, next_update=NOW + DAY)  # fmt: skip
    publish(store, crl, CA.der)
    policy = Policy(hold=Rule.ALLOW, stale=StaleRule.GRACE, stale_grace=DAY)
    strict, lenient = make_checker(store, clock=clock), make_checker(
        store, clock=clock, policy=policy
    )  # fmt: skip
    assert strict.check_serial(CA.der, 6).status is REVOKED
    waived = lenient.check_serial(CA.der, 6)
    assert (waived.status, waived.waived) == (NOT_REVOKED, (UndeterminedCause.CERTIFICATE_HOLD,))
    clock.now = NOW + 2 * DAY
    assert verdict(strict.check_serial(CA.der, 5)) == (UNDETERMINED, UndeterminedCause.STALE)
    assert lenient.check_serial(CA.der, 5).waived == (UndeterminedCause.STALE,)
    deny_certificate(store, CA.certificate.subject.public_bytes(), 5, note="stolen")
    denied = lenient.check_serial(CA.der, 5)
    assert (denied.status, denied.denied, denied.certificate) == (REVOKED, True, None)


# ---- facts that are not known -------------------------------------------------------------


@pytest.mark.parametrize(
    ("extensions", "facts", "expected"),
    [
        ([], {}, (NOT_REVOKED, None)),
        ([ONLY_USER_CERTIFICATES], {}, (UNDETERMINED, OUT_OF_SCOPE)),
        ([ONLY_USER_CERTIFICATES], {"is_ca": False}, (NOT_REVOKED, None)),
        ([ONLY_USER_CERTIFICATES], {"is_ca": True}, (UNDETERMINED, OUT_OF_SCOPE)),
        ([ONLY_CA_CERTIFICATES], {"is_ca": True}, (NOT_REVOKED, None)),
        ([partition("http://ca/1")], {}, (UNDETERMINED, OUT_OF_SCOPE)),
        ([partition("http://ca/1")], {"distribution_points": []}, (UNDETERMINED, OUT_OF_SCOPE)),
        ([partition("http://ca/1")], {"distribution_points": ["http://ca/2"]},
         (UNDETERMINED, OUT_OF_SCOPE)),
        ([partition("http://ca/1")], {"distribution_points": ["http://ca/2", "HTTP://CA/1"]},
         (NOT_REVOKED, None)),
        ([], {"not_after": NOW - DAY}, (UNDETERMINED, UndeterminedCause.CERTIFICATE_EXPIRED)),
        ([], {"not_after": NOW}, (NOT_REVOKED, None)),
    ],
)  # fmt: skip
def test_a_serial_number_is_cleared_where_every_certificate_would_be(
    extensions: list[bytes], facts: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    """
    What is not given may be anything, but for the end of the validity period. A
    listed one is REVOKED wherever the CRL may be its own.
    """
    checker = make_checker(make_index(CA, 1, [6], extensions=extensions))
    assert verdict(checker.check_serial(CA.der, 5, **facts)) == expected
    may_be_listed = expected[1] is not OUT_OF_SCOPE or "is_ca" not in facts
    points = facts.get("distribution_points")
    may_be_listed = may_be_listed and (points is None or "HTTP://CA/1" in points)
    listed = checker.check_serial(CA.der, 6, **facts)
    assert (listed.status is REVOKED) == may_be_listed
    assert listed.certificate is None


def test_crls_for_both_kinds_of_certificates_clear_together() -> None:
    """
    Whichever it is, one of the two covers it.
    """
    indexes = [
        make_index(CA, 1, [6], extensions=[ONLY_USER_CERTIFICATES]),
        make_index(CA, 1, [7], extensions=[ONLY_CA_CERTIFICATES]),
    ]
    checker = make_checker(indexes)
    assert checker.check_serial(CA.der, 5).status is NOT_REVOKED
    assert checker.check_serial(CA.der, 6).status is REVOKED
    assert checker.check_serial(CA.der, 7).status is REVOKED
    assert checker.check_serial(CA.der, 7, is_ca=False).status is NOT_REVOKED


def test_a_partition_may_revoke_and_make_stale_but_not_clear() -> None:
    """
    The certificate may name its distribution point: then it is the newest CRL
    that applies.
    """
    old = {"this_update": NOW - 9 * DAY, "next_update": NOW + 9 * DAY}
    new = {"this_update": NOW - 3 * DAY, "next_update": NOW - DAY}
    indexes = [
        make_index(CA, 1, [], **old),
        make_index(CA, 2, [6], extensions=[partition("http://ca/1")], **new),
    ]
    checker = make_checker(indexes)
    assert verdict(checker.check_serial(CA.der, 5)) == (UNDETERMINED, UndeterminedCause.STALE)
    assert checker.check_serial(CA.der, 6).status is REVOKED
    for points in ([], ["http://ca/2"]):
        result = checker.check_serial(CA.der, 6, distribution_points=points)
        assert result.status is NOT_REVOKED


def test_an_indirect_crl_of_another_issuer_may_revoke() -> None:
    """
    The certificate may name that issuer in cRLIssuer; entries of other
    certificate issuers are none of its own.
    """
    signer = make_authority("CRL issuer")
    name = CA.certificate.subject.public_bytes()
    entries = [
        encode_entry(6, NOW - DAY, reason=1, certificate_issuer=name),
        encode_entry(7, NOW - DAY, reason=1,
                     certificate_issuer=signer.certificate.subject.public_bytes()),
    ]  # fmt: skip
    indirect = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)
    crl = sign_crl(signer, entries, crl_number=1, this_update=NOW - DAY, next_update=NOW + DAY,
                   extensions=[indirect])  # fmt: skip
    store = MemoryStore()
    publish(store, make_crl(CA, 1), CA.der)
    publish(store, crl, signer.der)
    checker = make_checker(store)
    assert checker.check_serial(CA.der, 6).status is REVOKED
    assert checker.check_serial(CA.der, 6, distribution_points=[]).status is NOT_REVOKED
    assert checker.check_serial(CA.der, 7).status is NOT_REVOKED


def test_a_partition_that_cannot_be_loaded_may_revoke() -> None:
    """
    Nobody knows then what it lists.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1), CA.der)
    extensions = [partition("http://ca/1")]
    store.delete(publish(store, make_crl(CA, 1, extensions=extensions), CA.der).image_name)
    result = make_checker(store).check_serial(CA.der, 5)
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.STORE_UNAVAILABLE)


def test_an_issuer_without_crl_is_excepted_where_no_crl_may_be_meant() -> None:
    """
    ``Policy.unpublished_issuers`` counts for a serial number as for its
    certificate, unless that may name the issuer of an indirect CRL that is held,
    of whatever kind of certificates that one is.
    """
    signer, other = make_authority("CRL issuer"), make_authority("Other CA")
    policy = Policy(unpublished_issuers=(CA.der,))
    store = MemoryStore()
    publish(store, make_crl(other, 1), [other.der, CA.der])
    checker = make_checker(store, policy=policy)
    assert checker.check_serial(CA.der, 5).waived == (OUT_OF_SCOPE,)
    for kind in (b"\x81", b"\x82"):
        idp = der(0x30, kind + b"\x01\xff", b"\x84\x01\xff")
        extensions = [encode_extension("2.5.29.28", idp, critical=True)]
        publish(store, make_crl(signer, 1, extensions=extensions), signer.der)
        for is_ca in (False, True):
            result = checker.check_serial(CA.der, 5, is_ca=is_ca)
            assert verdict(result) == (UNDETERMINED, OUT_OF_SCOPE)
            known = checker.check_serial(CA.der, 5, is_ca=is_ca, distribution_points=[])
            assert known.waived == (OUT_OF_SCOPE,)


# ---- the issuer ------------------------------------------------------------------------------


def test_an_issuer_is_a_certificate_or_a_name() -> None:
    """
    A certificate settles the key; a Name, in any spelling, stands for all keys
    of it, as for a certificate without authority key id.
    """
    other = make_authority("CA")
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [6]), CA.der)
    checker = make_checker(store)
    name = CA.certificate.subject.public_bytes()
    respelled = der(0x30, der(0x31, der(0x30, bytes.fromhex("0603550403"), der(0x13, b" ca "))))
    for issuer in (CA.der, CA.pem, CA.certificate, name, bytearray(name), memoryview(respelled)):
        assert checker.check_serial(issuer, 5).status is NOT_REVOKED
        assert checker.check_serial(issuer, 6).status is REVOKED
    for issuer in (other.der, make_authority("Nobody").certificate.subject.public_bytes()):
        result = checker.check_serial(issuer, 6)
        assert verdict(result) == (UNDETERMINED, UndeterminedCause.UNKNOWN_ISSUER)
    publish(store, make_crl(other, 1, [7]), other.der)
    for serial_number in (5, 6, 7):
        ambiguous = checker.check_serial(name, serial_number)
        assert verdict(ambiguous) == (UNDETERMINED, UndeterminedCause.AMBIGUOUS_ISSUER)
        client = make_client(CA, serial_number, authority_key_id=False)
        assert verdict(checker.check(client)) == verdict(ambiguous)
    assert checker.check_serial(other.der, 6).status is NOT_REVOKED


def test_what_is_no_issuer_or_no_fact_is_refused() -> None:
    """
    As misuse, and not as a verdict.
    """
    checker = make_checker(make_index(CA))
    for issuer in (b"", b"\x30\x03\x31\x01", b"not a certificate"):
        with pytest.raises(CertificateError):
            checker.check_serial(issuer, 5)
    with pytest.raises(ValueError, match="ASCII"):
        checker.check_serial(CA.der, 5, distribution_points=["http://ca/\u00e9"])
    points: Any
    for points, found in (("http://ca/1", "str"), ([5], "int, expected DistributionPoint")):
        with pytest.raises(TypeError, match=f"distribution_points: found {found}"):
            checker.check_serial(CA.der, 5, distribution_points=points)
    with pytest.raises(ValueError, match="not_after"):
        checker.check_serial(CA.der, 5, not_after=datetime(2026, 1, 1))  # noqa: DTZ001
    serial: Any
    for serial in (5.0, "5", b"\x05", None):
        with pytest.raises(TypeError, match=f"serial_number: .* {type(serial).__name__}"):
            checker.check_serial(CA.der, serial)
    checker.close()
    with pytest.raises(IndexClosedError):
        checker.check_serial(CA.der, 5)


def test_a_store_that_is_down_is_an_answer() -> None:
    """
    As for a certificate: before there is a set to use, it is
    UNDETERMINED(STORE_UNAVAILABLE).
    """
    store = CountingStore()
    store.is_down = True
    result = make_checker(store).check_serial(CA.der, 5)
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.STORE_UNAVAILABLE)
    assert result.certificate is None


def test_what_is_not_known_of_the_certificate_says_nothing() -> None:
    """
    One certificate of each kind, with the facts that were given; it names no key
    and no certificate, and is valid until its end.
    """
    end = datetime(2027, 1, 1, tzinfo=UTC)
    point = DistributionPoint((b"name",))
    client, authority = possible_certificates(
        b"issuer", 5, distribution_points=(point,), not_after=end, is_ca=None
    )
    assert client == CertificateFacts(
        der=b"",
        serial_number=5,
        issuer=b"issuer",
        subject=b"",
        not_before=datetime.min.replace(tzinfo=UTC),
        not_after=end,
        subject_public_key_info=b"",
        authority_key_id=None,
        subject_key_id=None,
        is_ca=False,
        key_usage=None,
        distribution_points=(point,),
    )
    assert authority == dataclasses.replace(client, is_ca=True)
    for kind in (client, authority):
        (only,) = possible_certificates(
            b"issuer", 5, distribution_points=(), not_after=None, is_ca=kind.is_ca
        )
        forever = datetime.max.replace(tzinfo=UTC)
        assert only == dataclasses.replace(kind, distribution_points=(), not_after=forever)


def test_an_issuers_own_indirect_partition_may_cover_a_serial_number() -> None:
    """
    It may by either of two ways, as one of the issuer's and as an indirect CRL.
    """
    flags = der(0x84, b"\xff")
    point = der(0xA0, der(0xA0, der(0x86, b"http://ca/1")))
    crl = make_metadata(issuing_distribution_point=der(0x30, point, flags))
    coverage = ScopeTable([crl], [make_issuer()]).coverage(make_certificate(), any_points=True)
    assert coverage.applicable == (
        ApplicableCrl(0, reasons=0, by_issuer=True, unsure_reasons=ALL_REASONS),
    )
    everywhere = make_metadata(issuing_distribution_point=der(0x30, flags))
    table = ScopeTable([everywhere], [make_issuer()])
    (found,) = table.coverage(make_certificate(), any_points=True).applicable
    assert (found.reasons, found.waived) == (ALL_REASONS, False)
