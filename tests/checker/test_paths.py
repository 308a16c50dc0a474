"""Tied keys, the walk up to a trust anchor and the signers of CRLs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from cryptography.x509 import DirectoryName, DistributionPoint

from crlcheck.checker.scope import ScopeTable
from crlcheck.demo.encoding import encode_entry, encode_extension
from crlcheck.demo.pki import CertificateAuthority, sign_crl
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    RevocationStatus,
    UndeterminedCause,
)
from support.checking import make_checker, verdict
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_client, make_crl
from support.values import make_certificate, make_issuer, make_metadata

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED


def world(
    *crls: tuple[CertificateAuthority, Iterable[int]], issuers: Iterable[CertificateAuthority] = ()
) -> MemoryStore:
    """A store with a CRL of each authority, and the certificates of all of them."""
    store = MemoryStore()
    known = [authority.der for authority, _ in crls] + [authority.der for authority in issuers]
    for authority, revoked in crls:
        publish_crl(make_crl(authority, 1, revoked), store, issuer=known, now=NOW)
    return store


def check(store: Any, certificate: bytes, **options: Any) -> CheckResult:
    """The verdict at NOW."""
    return make_checker(store, **options).check(certificate)


# ---- tied keys ---------------------------------------------------------------------------


def ca(
    key: str, *, by: str | None = None, issuer: str = "CA", subject: str = "CA"
) -> CertificateFacts:
    """A trusted certificate of a key, certified by another; its ids are the keys' names."""
    return make_certificate(
        issuer=issuer,
        subject=subject,
        key=key,
        subject_key_id=key.encode(),
        authority_key_id=(by or key).encode(),
        is_ca=True,
    )


def crl_of(key: str) -> Any:
    """A CRL by one of the CA's keys."""
    return make_metadata(
        key=key, verifier_subject_key_id=key.encode(), authority_key_id=key.encode()
    )


ROOTS = [ca("root", issuer="Root", subject="Root"), ca("root 2", issuer="Root", subject="Root")]


@pytest.mark.parametrize(
    ("issuers", "tied"),
    [
        ([ca("old"), ca("new", by="old")], True),
        ([ca("new"), ca("old", by="new")], True),
        ([ca("old", by="root", issuer="Root"), ca("new", by="root", issuer="Root")], True),
        ([ca("old", by="root", issuer="Root"), ca("new", by="root 2", issuer="Root")], False),
        ([ca("old"), ca("new")], False),
        ([ca("old", by="root", issuer="Root"), ca("new", by="root", issuer="Other")], False),
        ([ca("old"), ca("middle", by="old"), ca("new", by="middle")], False),
    ],
    ids=["new by old", "old by new", "one issuer key", "two issuer keys", "namesakes",
         "two issuers", "not by way of a third"],
)  # fmt: skip
def test_keys_are_tied_by_who_certified_them(issuers: list[CertificateFacts], tied: bool) -> None:
    """
    A CRL by another key of the issuer's name covers a certificate only where
    one of the two certified the other, or one key certified both.
    """
    table = ScopeTable([crl_of("new")], [*issuers, *ROOTS])
    coverage = table.coverage(make_certificate(authority_key_id=b"old"))
    assert coverage.crls == ((0,) if tied else ())
    if tied:
        assert coverage.applicable[0].signer is not None


def test_an_unlabelled_certificate_of_tied_keys_is_not_ambiguous() -> None:
    """
    Without authority key id any tied key may have issued it, and a CRL of each
    covers what all of them issued; one untied key makes it ambiguous again.
    """
    issuers = [ca("old"), ca("new", by="old")]
    nameless = make_certificate(authority_key_id=None)
    crls = [crl_of("new"), crl_of("old")]
    assert ScopeTable(crls, issuers).coverage(nameless).crls == (0, 1)
    ambiguous = ScopeTable(crls, [*issuers, ca("stranger")]).coverage(nameless)
    assert ambiguous.cause is UndeterminedCause.AMBIGUOUS_ISSUER


def test_a_certificate_that_nobody_trusts_ties_nothing() -> None:
    """
    Being the subject of some certificate is not enough: it must be a trusted one.
    """
    table = ScopeTable([crl_of("new")], [ca("old")])
    assert table.coverage(make_certificate(authority_key_id=b"old")).crls == ()


# ---- the walk ----------------------------------------------------------------------------

ROOT = make_authority("Root")
MIDDLE = make_authority("Middle", ROOT)
LEAF = make_client(MIDDLE, 7)
MIDDLE_SERIAL = MIDDLE.certificate.serial_number


def test_a_revoked_intermediate_does_not_pass() -> None:
    """
    Only the leaf is given; the issuer above it is found among the trusted ones,
    and the result names it.
    """
    result = check(world((ROOT, [MIDDLE_SERIAL]), (MIDDLE, [])), LEAF)
    assert verdict(result) == (REVOKED, None)
    assert result.serial_number == MIDDLE_SERIAL
    assert verdict(check(world((ROOT, []), (MIDDLE, [])), LEAF)) == (NOT_REVOKED, None)


def test_the_worst_of_the_path_is_the_answer() -> None:
    """
    An intermediate on no CRL held is undetermined, and a revoked leaf is revoked
    whatever is above it.
    """
    no_root_crl = world((MIDDLE, [7]), issuers=[ROOT])
    assert verdict(check(no_root_crl, LEAF)) == (REVOKED, None)
    result = check(no_root_crl, make_client(MIDDLE, 8))
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.OUT_OF_SCOPE)
    assert result.serial_number == MIDDLE_SERIAL


def test_an_issuer_whose_own_issuer_is_not_trusted_ends_the_path() -> None:
    """
    The operator trusted it directly, so there is nothing to check it by.
    """
    assert verdict(check(world((MIDDLE, [])), LEAF)) == (NOT_REVOKED, None)


def test_the_status_names_issuers_that_nothing_checks() -> None:
    """
    Those that are no anchors and whose own issuer is not among the trusted ones.
    """
    checker = make_checker(world((MIDDLE, [])))
    checker.check(LEAF)
    assert checker.status().unchecked_issuers == ("CN=Middle",)
    for known in (make_checker(world((MIDDLE, [])), trust_anchors=MIDDLE.der),
                  make_checker(world((MIDDLE, []), issuers=[ROOT]))):  # fmt: skip
        known.check(LEAF)
        assert known.status().unchecked_issuers == ()


def test_trust_anchors_end_the_path() -> None:
    """
    What is above an anchor is not looked at, and the anchor itself is not
    checked.
    """
    store = world((ROOT, [MIDDLE_SERIAL]), (MIDDLE, []))
    assert check(store, LEAF, trust_anchors=MIDDLE.der).status is NOT_REVOKED
    assert check(store, LEAF, trust_anchors=ROOT.der).status is REVOKED


def test_the_policy_limits_the_depth() -> None:
    """
    Depth 0 is the certificate alone, 1 its issuer too; a long path beyond it is
    not looked at.
    """
    low = make_authority("Low", MIDDLE)
    leaf = make_client(low, 1)
    store = world((ROOT, [MIDDLE_SERIAL]), (MIDDLE, []), (low, []))
    for depth, status in ((0, NOT_REVOKED), (1, NOT_REVOKED), (2, REVOKED), (None, REVOKED)):
        assert check(store, leaf, policy=Policy(path_depth=depth)).status is status


def test_the_best_of_alternative_paths_counts() -> None:
    """
    One key with certificates of two issuers, one of them revoked: the other
    path holds. With both revoked nothing does.
    """
    other = make_authority("Other root")
    crossed = CertificateAuthority.create(
        "Middle", private_key=MIDDLE.private_key, parent=other, now=NOW
    )
    crossed_serial = crossed.certificate.serial_number
    roots: list[tuple[list[int], list[int], RevocationStatus]] = [
        ([MIDDLE_SERIAL], [], NOT_REVOKED),
        ([], [crossed_serial], NOT_REVOKED),
        ([MIDDLE_SERIAL], [crossed_serial], REVOKED),
    ]
    for by_root, by_other, status in roots:
        store = world((ROOT, by_root), (other, by_other), (MIDDLE, []), issuers=[crossed])
        assert check(store, LEAF).status is status


def test_a_cycle_ends_and_hides_nothing() -> None:
    """
    Two keys that certify each other after a rollover: the way round leads
    nowhere, so a revoked certificate on the only way up still counts.
    """
    old = MIDDLE
    new = make_authority("Middle", ROOT)
    old_by_new = CertificateAuthority.create(
        "Middle", private_key=old.private_key, parent=new, now=NOW
    )
    new_by_old = CertificateAuthority.create(
        "Middle", private_key=new.private_key, parent=old, now=NOW
    )
    serials = [MIDDLE_SERIAL, new.certificate.serial_number]
    issuers = [new, old_by_new, new_by_old]
    for revoked, status in (([], NOT_REVOKED), (serials[:1], NOT_REVOKED), (serials, REVOKED)):
        store = world((ROOT, revoked), (old, []), issuers=issuers)
        assert check(store, LEAF).status is status
    ring = world((old, []), issuers=[old_by_new, new_by_old])
    assert check(ring, LEAF).status is NOT_REVOKED


def test_indexes_without_issuers_judge_the_certificate_alone(tmp_path: Any) -> None:
    """
    There is no issuer above; a given path is checked as it stands.
    """
    from support.checking import make_index

    indexes = [make_index(ROOT, 1, [MIDDLE_SERIAL]), make_index(MIDDLE, 1, [])]
    assert make_checker(indexes).check(LEAF).status is NOT_REVOKED
    assert make_checker(indexes).check_chain([LEAF, MIDDLE.der]).status is REVOKED
    walking = make_checker(indexes, issuers=[MIDDLE.der, ROOT.der])
    assert walking.check(LEAF).status is REVOKED


# ---- signers of CRLs -----------------------------------------------------------------------


@pytest.fixture(name="crl_key")
def _crl_key() -> CertificateAuthority:
    """The Middle CA's key for CRLs, certified by the root."""
    return make_authority("Middle", ROOT)


def test_a_crl_by_a_tied_key_speaks(crl_key: CertificateAuthority) -> None:
    """
    A CRL-signing key of the same name, certified by the same root.
    """
    store = world((ROOT, []), (crl_key, [7]), issuers=[MIDDLE])
    assert check(store, LEAF).status is REVOKED
    assert check(store, make_client(MIDDLE, 8)).status is NOT_REVOKED


def test_a_revoked_signer_of_a_crl_says_nothing(crl_key: CertificateAuthority) -> None:
    """
    Neither that a certificate is listed nor that it is not; another CRL of the
    issuer decides all the same.
    """
    signer = crl_key.certificate.serial_number
    store = world((ROOT, [signer]), (crl_key, [7]), issuers=[MIDDLE])
    for client in (LEAF, make_client(MIDDLE, 8)):
        result = check(store, client)
        assert verdict(result) == (UNDETERMINED, UndeterminedCause.CRL_SIGNER_REVOKED)
        words = f"certificate {signer:x} (the CA CN=Middle) issued by CN=Root is revoked"
        assert words in str(result)
    both = world((ROOT, [signer]), (crl_key, [7]), (MIDDLE, []))
    assert check(both, LEAF).status is NOT_REVOKED


def test_a_signer_in_doubt_may_only_revoke(crl_key: CertificateAuthority) -> None:
    """
    Nothing says whether the signer is revoked: who is listed stays revoked, who
    is not gets the signer's cause.
    """
    store = world((crl_key, [7]), issuers=[MIDDLE, ROOT])
    policy = Policy(path_depth=0)
    assert check(store, LEAF, policy=policy).status is REVOKED
    result = check(store, make_client(MIDDLE, 8), policy=policy)
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.OUT_OF_SCOPE)
    assert "the signer of CRL 1 of CN=Middle is in doubt" in str(result)


def test_a_signer_on_its_own_crl_is_not_checked_again() -> None:
    """
    A CRL-signing key certified by the CA's key is on the CRL that it signs
    itself: otherwise it could not be checked (PKITS 4.5.6).
    """
    issuing = make_authority("Self")
    crl_key = CertificateAuthority.create("Self", parent=issuing, now=NOW)
    store = world((crl_key, [7]), issuers=[issuing])
    assert check(store, make_client(issuing, 8)).status is NOT_REVOKED
    assert check(store, make_client(issuing, 7)).status is REVOKED
    gone = world((crl_key, [crl_key.certificate.serial_number]), issuers=[issuing])
    result = check(gone, make_client(issuing, 8))
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.CRL_SIGNER_REVOKED)


INDIRECT = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)


def test_an_indirect_crl_is_looked_up_under_the_certificates_issuer() -> None:
    """
    The serial number under another issuer is another certificate, and the
    signer of the CRL is checked by its own issuer's CRL.
    """
    signer = make_authority("CRL issuer", ROOT)
    point = DistributionPoint(
        full_name=None,
        relative_name=None,
        reasons=None,
        crl_issuer=[DirectoryName(signer.certificate.subject)],
    )

    def client(serial: int) -> bytes:
        issued = MIDDLE.issue(
            "client",
            serial_number=serial,
            distribution_points=[point],
            not_before=NOW - DAY,
            not_after=NOW + DAY,
        )
        return issued.der

    name = MIDDLE.certificate.subject.public_bytes()
    entries = [
        encode_entry(1, NOW - DAY),
        encode_entry(2, NOW - DAY, certificate_issuer=name),
        encode_entry(3, NOW - DAY),
    ]
    crl = sign_crl(
        signer,
        entries,
        this_update=NOW - DAY,
        next_update=NOW + DAY,
        crl_number=1,
        extensions=[INDIRECT],
    )
    for revoked, cause in (([], None), ([signer.certificate.serial_number], "signer")):
        store = world((ROOT, revoked), issuers=[MIDDLE])
        publish_crl(crl, store, issuer=signer.der, now=NOW)
        found = [check(store, client(serial)).status for serial in (1, 2, 3)]
        if cause is None:
            assert found == [NOT_REVOKED, REVOKED, REVOKED]
        else:
            assert found == [UNDETERMINED] * 3


def test_without_issuer_certificates_a_given_path_is_no_trust() -> None:
    """
    A path through an issuer that nobody trusts is of an unknown issuer.
    """
    stranger = make_authority("Middle", ROOT)
    result = make_checker(world((ROOT, []), (MIDDLE, []))).check_chain(
        [make_client(stranger, 7), stranger.der]
    )
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.UNKNOWN_ISSUER)


def test_made_up_values_have_no_path() -> None:
    """
    An issuer key known from a CRL alone has no certificate to walk through.
    """
    table = ScopeTable([make_metadata()], [], trust_verifiers=True)
    (key,) = table.coverage(make_certificate()).issuers
    assert key.certificates == []
    trusted = ScopeTable([], [make_issuer()]).coverage(make_certificate())
    assert [one.ends_path for one in trusted.issuers[0].certificates] == [True]
