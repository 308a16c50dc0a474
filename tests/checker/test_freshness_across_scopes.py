"""Which of several CRLs that apply decides whether an answer is stale."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.checker.scope import ALL_REASONS
from crlcheck.checker.verdict import Evidence, decide
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.types import (
    CheckResult,
    Policy,
    RevocationStatus,
    RevokedEntry,
    StaleRule,
    UndeterminedCause,
)
from support.checking import Clock, make_checker, verdict
from support.memory_store import MemoryStore
from support.pki import (
    DAY,
    NOW,
    ONLY_USER_CERTIFICATES,
    make_authority,
    make_client,
    make_crl,
)
from support.publishing import publish
from support.values import make_certificate, make_entry, make_metadata

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
STALE = UndeterminedCause.STALE
A, B, C = (1 << bit for bit in (1, 2, 6))
REST = ALL_REASONS & ~(A | B | C)
GRACE = Policy(stale=StaleRule.GRACE, stale_grace=DAY)


def crl(
    age: int,
    left: int,
    *,
    reasons: int = ALL_REASONS,
    unsure: int = 0,
    entry: RevokedEntry | None = None,
    delta: tuple[int, int] | None = None,
    **fields: Any,
) -> Evidence:
    """What a CRL that began *age* days ago and ends in *left* days says, each of its own scope."""
    metadata = make_metadata(
        this_update=NOW - age * DAY, next_update=NOW + left * DAY, crl_number=17
    )
    beside = None
    if delta is not None:
        beside = make_metadata(
            this_update=NOW - delta[0] * DAY,
            next_update=NOW + delta[1] * DAY,
            crl_number=18,
            base_crl_number=17,
        )
    scope = f"{age} {left} {reasons} {unsure}"
    return Evidence(
        metadata, scope, entry, beside, reasons=reasons, unsure_reasons=unsure, **fields
    )


def decided(*evidence: Evidence, policy: Policy | None = None) -> CheckResult:
    """The verdict, which is the same in whatever order the CRLs come."""
    results = [
        decide(make_certificate(), order, now=NOW, policy=policy or Policy())
        for order in itertools.permutations(evidence)
    ]
    assert len({(verdict(result), result.waived) for result in results}) == 1
    return results[0]


STALE_NEW, STALE_OLD = crl(3, -2), crl(20, -10)
CURRENT_NEW, CURRENT_OLD = crl(2, 5), crl(30, 60)
DOUBTFUL = decide(make_certificate(), [STALE_OLD], now=NOW, policy=Policy())
REVOKED_SIGNER = decide(make_certificate(), [crl(1, 1, entry=make_entry())], now=NOW,
                        policy=Policy())  # fmt: skip


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ((STALE_NEW, CURRENT_OLD), STALE),
        ((STALE_NEW, CURRENT_OLD, CURRENT_NEW), None),
        ((STALE_OLD, CURRENT_NEW), None),
        ((STALE_NEW, STALE_OLD), STALE),
        ((crl(5, -1), crl(5, 5)), None),
        ((crl(-1, 5), CURRENT_OLD), None),
        ((crl(-1, 5), STALE_NEW, CURRENT_OLD), STALE),
        ((STALE_NEW._replace(signer=REVOKED_SIGNER), CURRENT_OLD), None),
        ((STALE_NEW._replace(signer=DOUBTFUL), CURRENT_OLD), STALE),
        ((STALE_NEW._replace(reasons=0), CURRENT_OLD), None),
        ((crl(3, -2, reasons=0, unsure=ALL_REASONS), CURRENT_OLD), STALE),
        ((crl(3, -2, reasons=0, unsure=ALL_REASONS), crl(2, 5, reasons=0, unsure=ALL_REASONS),
          CURRENT_OLD), STALE),
        ((crl(3, -2, reasons=0, unsure=ALL_REASONS), CURRENT_NEW), None),
        ((STALE_NEW._replace(waived=True), CURRENT_OLD), None),
    ],
    ids=["older", "newest is current", "newer", "both", "of one time", "not yet valid",
         "behind one not yet valid", "signer revoked", "signer in doubt", "cannot clear",
         "may apply", "any of those that may apply", "may apply, but older",
         "applies by policy only"],
)  # fmt: skip
def test_the_newest_crl_decides_whether_the_answer_is_stale(
    evidence: tuple[Evidence, ...], expected: UndeterminedCause | None
) -> None:
    """
    A current CRL does not stand in for a newer one that has expired, whose
    successors somebody withholds. One that is not used, or not valid yet, or
    could not clear anybody, is not that newer one; one that perhaps applies may be.
    """
    assert verdict(decided(*evidence)) == (UNDETERMINED if expected else NOT_REVOKED, expected)


@pytest.mark.parametrize(
    ("evidence", "waived"),
    [
        ((crl(3, -1), CURRENT_OLD), True),
        ((crl(3, -2), CURRENT_OLD), None),
        ((crl(3, -1), CURRENT_NEW), False),
        ((crl(3, -1)._replace(signer=DOUBTFUL), CURRENT_OLD), True),
        ((crl(3, -1, reasons=0, unsure=ALL_REASONS), CURRENT_OLD), True),
        ((crl(3, -1), crl(3, 1)), False),
        ((crl(3, -1), STALE_OLD), True),
        ((crl(3, -1), crl(3, -2)), True),
    ],
    ids=[
        "newer",
        "beyond it",
        "older",
        "signer in doubt",
        "may apply",
        "of one time",
        "an older one beyond it",
        "one of that time beyond it",
    ],
)
def test_a_grace_period_waives_that_the_newest_is_stale(
    evidence: tuple[Evidence, ...], waived: bool | None
) -> None:
    """
    As with one CRL: STALE is among what was waived, and only where the newest is
    stale; beyond the grace period the answer is STALE.
    """
    result = decided(*evidence, policy=GRACE)
    assert result.status is (UNDETERMINED if waived is None else NOT_REVOKED)
    assert result.waived == ((STALE,) if waived else ())


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ((crl(3, -2, reasons=A | B), crl(5, 5, reasons=ALL_REASONS & ~A)), STALE),
        ((crl(3, -2, reasons=A | B), crl(5, 5, reasons=ALL_REASONS & ~A), crl(2, 5, reasons=A | B)),
         None),
        ((crl(3, -2, reasons=A | B), crl(5, 5, reasons=ALL_REASONS & ~A), crl(2, 5, reasons=B)),
         STALE),
        ((crl(3, 5, reasons=A | B), crl(5, -2, reasons=B | C), crl(4, 5, reasons=C | REST)), None),
        ((crl(3, 5, reasons=A), crl(5, 5, reasons=ALL_REASONS & ~A)), None),
        ((crl(3, 5, reasons=A), crl(3, 5, reasons=ALL_REASONS & ~A), crl(5, -2)), None),
        ((crl(3, -2, reasons=0, unsure=A), crl(3, -2, reasons=0, unsure=B), crl(2, 5, reasons=B),
          CURRENT_OLD), STALE),
    ],
    ids=["the older clears C only", "a third excuses both", "A stays stale", "older is excused",
         "nothing in common", "two of one time excuse together", "both of one time may apply"],
)  # fmt: skip
def test_each_reason_is_as_current_as_its_newest_crl(
    evidence: tuple[Evidence, ...], expected: UndeterminedCause | None
) -> None:
    """
    CRLs compete only for the reasons that they have in common.
    """
    assert verdict(decided(*evidence)) == (UNDETERMINED if expected else NOT_REVOKED, expected)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (crl(10, -5, delta=(2, 5)), None),
        (crl(10, 5, delta=(2, -1)), STALE),
        (crl(10, -5, delta=(-1, 5)), None),
        (crl(4, -3, delta=(-1, 5)), STALE),
    ],
    ids=["a current delta", "a stale delta", "old, delta not yet valid", "delta not yet valid"],
)
def test_a_complete_crl_counts_by_its_delta(
    pair: Evidence, expected: UndeterminedCause | None
) -> None:
    """
    What the delta makes current is current, and what it makes newer is newer.
    """
    result = decided(pair, crl(6, 30))
    assert verdict(result) == (UNDETERMINED if expected else NOT_REVOKED, expected)


def test_a_scope_counts_by_the_crl_that_speaks_for_it() -> None:
    """
    Where its newest CRL is not valid yet, that is the one before, however new the
    other is.
    """
    (future, before) = (item._replace(scope="one") for item in (crl(-1, 9), crl(10, 9)))
    assert verdict(decided(future, before, crl(5, -1))) == (UNDETERMINED, STALE)
    assert verdict(decided(future, before, crl(11, -1))) == (NOT_REVOKED, None)


def test_a_newest_crl_whose_signer_is_in_doubt_says_so() -> None:
    """
    That is in the way before it is stale; removing its scope is no advice then.
    """
    signer = decide(make_certificate(), [crl(-1, 5)], now=NOW, policy=Policy())
    result = decided(STALE_NEW._replace(signer=signer), CURRENT_OLD)
    assert verdict(result) == (UNDETERMINED, UndeterminedCause.NOT_YET_VALID)
    assert "the signer of CRL 17 of CN=CA is in doubt" in result.detail
    assert "scope remove" not in result.detail


def test_the_result_names_a_crl_that_clears() -> None:
    """
    Not one that may apply, or does so for no reason, though it is newer.
    """
    for silent in (crl(1, 5, reasons=0), crl(1, 5, reasons=0, unsure=ALL_REASONS)):
        assert decided(silent, CURRENT_OLD).this_update == NOW - 30 * DAY


def test_a_revocation_counts_however_old_its_crl_is() -> None:
    """
    Being newest is for clearing: an entry in any CRL that applies revokes.
    """
    for listing in (crl(300, 60, entry=make_entry()), crl(300, -60, entry=make_entry())):
        assert decided(listing, CURRENT_NEW).status is REVOKED


# ---- end to end ------------------------------------------------------------------------

OLD_TIMES = {"this_update": NOW - 300 * DAY, "next_update": NOW + 60 * DAY}
NEW_TIMES = {"this_update": NOW - DAY, "next_update": NOW + DAY}


def rollover() -> tuple[CertificateAuthority, list[bytes], bytes, bytes]:
    """The issuer in use, the trusted ones, and an old and a new CRL: of two keys."""
    old = make_authority("CA")
    new = CertificateAuthority.create("CA", parent=old, now=NOW)
    return (
        new,
        [old.der, new.der],
        make_crl(old, 5, **OLD_TIMES),  # type: ignore[arg-type]
        make_crl(new, 100, [1], **NEW_TIMES),  # type: ignore[arg-type]
    )


def other_scope() -> tuple[CertificateAuthority, list[bytes], bytes, bytes]:
    """The same with one key and two issuingDistributionPoints."""
    authority = make_authority("CA")
    return (
        authority,
        [authority.der],
        make_crl(authority, 5, extensions=[ONLY_USER_CERTIFICATES], **OLD_TIMES),  # type: ignore[arg-type]
        make_crl(authority, 100, [1], **NEW_TIMES),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("make", [rollover, other_scope])
def test_an_old_crl_that_is_uploaded_ends_no_staleness(make: Any) -> None:
    """
    Neither a CRL of the key before a rollover nor one of another scope clears
    anybody after the newest has run out. The message names both scopes, and the
    operation for a scope that has no successors.
    """
    authority, issuers, old, new = make()
    store, clock = MemoryStore(), Clock()
    client = make_client(authority, 77)
    newer = publish(store, new, issuers)
    older = publish(store, old, issuers)
    checker = make_checker(store, clock=clock)
    assert checker.check(client).status is NOT_REVOKED
    for days in (3, 50):
        clock.now = NOW + days * DAY
        result = checker.check(client)
        assert verdict(result) == (UNDETERMINED, STALE)
        assert f"CRL 5 of CN=CA, in scope {older.scope}, is older" in result.detail
        assert f"crlcheck scope remove STORE {newer.scope}" in result.detail


def test_the_message_names_the_two_crls_that_matter() -> None:
    """
    The newest that is past its nextUpdate for a reason that nothing excuses, and
    the current one that covers that reason.
    """
    excused, excuse = crl(3, -2, reasons=A), crl(3, 5, reasons=A)
    stale = crl(4, -1, reasons=B)
    result = decided(excused, excuse, stale, CURRENT_OLD)
    assert verdict(result) == (UNDETERMINED, STALE)
    assert f". Its scope is {stale.scope}; " in result.detail
    assert f", in scope {CURRENT_OLD.scope}, is older" in result.detail
    assert result.detail.endswith(f"crlcheck scope remove STORE {stale.scope}")


def test_a_retired_keys_last_crl_makes_its_successors_clients_stale() -> None:
    """
    As long as its scope is published, nobody can tell that no other CRL of that
    key is withheld; removing the scope says so.
    """
    old = make_authority("CA")
    new = CertificateAuthority.create("CA", parent=old, now=NOW)
    issuers = [old.der, new.der]
    store, clock = MemoryStore(), Clock()
    last = make_crl(old, 9, this_update=NOW - timedelta(hours=1), next_update=NOW + DAY)
    retired = publish(store, last, issuers).scope
    publish(store, make_crl(new, 1, this_update=NOW - DAY, next_update=NOW + 90 * DAY), issuers)
    checker = make_checker(store, clock=clock)
    clock.now = NOW + 2 * DAY
    result = checker.check(make_client(new, 77))
    assert verdict(result) == (UNDETERMINED, STALE)
    assert f"crlcheck scope remove STORE {retired}" in result.detail
    publish(store, make_crl(new, 2, this_update=NOW, next_update=NOW + 90 * DAY), issuers)
    assert checker.check(make_client(new, 77)).status is NOT_REVOKED
