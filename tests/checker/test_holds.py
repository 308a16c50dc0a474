"""What becomes of a certificate on hold: what ends a hold, and what it yields to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509

from crlcheck.checker.scope import ALL_REASONS
from crlcheck.checker.verdict import Evidence, decide
from crlcheck.demo.pki import CertificateAuthority, encode_entry, encode_extension, sign_crl
from crlcheck.types import (
    CheckResult,
    Policy,
    ReasonCode,
    RevocationStatus,
    RevokedEntry,
    Rule,
    StaleRule,
    UndeterminedCause,
)
from support.certificate_der import encode_attribute, encode_name
from support.checking import Clock, make_checker, verdict
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_authority, make_client
from support.publishing import publish
from support.values import make_certificate, make_entry, make_metadata

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
HELD = make_entry(ReasonCode.CERTIFICATE_HOLD)
FINAL = make_entry(ReasonCode.KEY_COMPROMISE)
UNEXPLAINED = make_entry(None)
REMOVED = make_entry(ReasonCode.REMOVE_FROM_CRL)
WAIVED = UndeterminedCause.CERTIFICATE_HOLD
ALLOW = Policy(hold=Rule.ALLOW)


def crl(
    scope: str,
    entry: RevokedEntry | None = None,
    *,
    age: int = 2,
    left: int = 5,
    reasons: int = ALL_REASONS,
    **fields: Any,
) -> Evidence:
    """What a CRL says that began *age* days ago and ends in *left* days."""
    metadata = make_metadata(this_update=NOW - age * DAY, next_update=NOW + left * DAY)
    return Evidence(metadata, scope, entry, reasons=reasons, **fields)


def delta(entry: RevokedEntry | None = None, *, age: int = 1, left: int = 5) -> dict[str, Any]:
    """A delta to lie beside a CRL."""
    metadata = make_metadata(
        this_update=NOW - age * DAY,
        next_update=NOW + left * DAY,
        crl_number=18,
        base_crl_number=17,
    )
    return {"delta": metadata, "delta_entry": entry}


def decided(*evidence: Evidence, policy: Policy | None = None, **fields: Any) -> CheckResult:
    """The verdict, which is the same in whatever order the CRLs come."""
    results = [
        decide(make_certificate(**fields), order, now=NOW, policy=policy or Policy())
        for order in itertools.permutations(evidence)
    ]
    assert len({(verdict(result), result.waived) for result in results}) == 1
    return results[0]


# ---- what a waived hold yields to ------------------------------------------------------


@pytest.mark.parametrize("final", [FINAL, UNEXPLAINED], ids=["with reason", "without"])
@pytest.mark.parametrize(
    "make",
    [
        lambda final: [crl("one", final, **delta(HELD))],
        lambda final: [crl("one", HELD, **delta(final))],
        lambda final: [crl("one", final, left=-1, **delta(HELD))],
        lambda final: [crl("one", HELD, **delta(final, left=-1))],
        lambda final: [crl("one", HELD, **delta(final, age=-1))],
        lambda final: [crl("one", HELD), crl("two", final)],
        lambda final: [crl("one", HELD), crl("two", final, age=300, left=-200)],
        lambda final: [crl("one", HELD), crl("two", final, reasons=0)],
        lambda final: [crl("one", HELD), crl("two", final, age=-1)],
        lambda final: [crl("one", HELD), crl("two", None, **delta(final))],
    ],
    ids=["in the base", "in the delta", "in a stale base", "in a stale delta",
         "in a delta not yet valid", "in another scope", "in an expired scope",
         "in one that cannot clear", "in one not yet valid", "in another's delta"],
)  # fmt: skip
def test_a_hold_yields_to_a_final_revocation(make: Any, final: RevokedEntry) -> None:
    """
    Wherever it stands: only a hold can be lifted (RFC 5280 5.3.1), so only what
    is nothing but a hold can be waived. The result names the final reason.
    """
    for policy in (ALLOW, Policy()):
        result = decided(*make(final), policy=policy)
        assert verdict(result) == (REVOKED, None)
        assert result.reason_code is final.reason_code


@pytest.mark.parametrize(
    "evidence",
    [
        [crl("one", HELD)],
        [crl("one", None, **delta(HELD))],
        [crl("one", HELD, **delta(HELD))],
        [crl("one", HELD), crl("two", HELD)],
        [crl("one", HELD, left=-1, **delta())],
        [crl("one", HELD, reasons=0), crl("two")],
    ],
    ids=["base", "delta", "both", "two scopes", "an expired base, a current delta", "cannot clear"],
)
def test_nothing_but_a_hold_is_waived(evidence: list[Evidence]) -> None:
    """
    Where all entries are holds the waiver counts, and is named.
    """
    result = decided(*evidence, policy=ALLOW)
    assert (result.status, result.waived) == (NOT_REVOKED, (WAIVED,))
    assert decided(*evidence).status is REVOKED


def test_a_removal_lifts_a_hold_and_no_final_revocation() -> None:
    """
    removeFromCRL of a current delta (RFC 5280 5.2.4), with and without the waiver.
    """
    for policy in (ALLOW, Policy()):
        assert decided(crl("one", HELD, **delta(REMOVED)), policy=policy).waived == ()
        assert decided(crl("one", HELD, **delta(REMOVED)), policy=policy).status is NOT_REVOKED
        for entry in (FINAL, UNEXPLAINED, REMOVED):
            assert decided(crl("one", entry, **delta(REMOVED)), policy=policy).status is REVOKED
    assert decided(crl("one", HELD, **delta(REMOVED, left=-1))).status is REVOKED


# ---- what ends a hold ------------------------------------------------------------------

EXPIRED_HOLD = crl("old", HELD, age=20, left=-10)
DOUBTFUL = decided(crl("signer", left=-1))


@pytest.mark.parametrize(
    "evidence",
    [
        [EXPIRED_HOLD, crl("new")],
        [crl("old", None, age=20, left=-10, **delta(HELD, age=19, left=-9)), crl("new")],
        [EXPIRED_HOLD, crl("new", age=30, left=-20, **delta(age=2, left=5))],
        [EXPIRED_HOLD._replace(reasons=0), crl("new")],
        [EXPIRED_HOLD, crl("new", HELD, **delta(REMOVED))],
    ],
    ids=["base", "delta", "current by its delta", "in one that cannot clear", "removed"],
)
def test_a_hold_of_an_expired_crl_is_over_where_a_current_one_has_none(
    evidence: list[Evidence],
) -> None:
    """
    The last CRL of a retired key keeps its holds for ever otherwise.
    """
    for policy in (ALLOW, Policy()):
        result = decided(*evidence, policy=policy)
        assert (verdict(result), result.waived) == ((NOT_REVOKED, None), ())


@pytest.mark.parametrize(
    "evidence",
    [
        [crl("old", HELD, age=20, left=1), crl("new")],
        [crl("old", HELD, age=20, left=-10, **delta(left=1)), crl("new", age=0)],
        [EXPIRED_HOLD, crl("new", age=30, left=5)],
        [EXPIRED_HOLD, crl("new", age=20, left=5)],
        [EXPIRED_HOLD, crl("new", left=-1)],
        [EXPIRED_HOLD, crl("new", age=-1)],
        [EXPIRED_HOLD, crl("new", reasons=0)],
        [EXPIRED_HOLD, crl("new", reasons=0, unsure_reasons=ALL_REASONS)],
        [EXPIRED_HOLD, crl("new", reasons=1 << ReasonCode.KEY_COMPROMISE)],
        [EXPIRED_HOLD, crl("new", signer=DOUBTFUL)],
        [EXPIRED_HOLD, crl("new", HELD)],
        [crl("old", None, age=20, left=-10, **delta(HELD, age=-1)), crl("new")],
    ],
    ids=["it is current", "current by its delta", "older", "of one time", "stale",
         "not yet valid", "cannot clear", "may apply", "not for holds", "signer in doubt",
         "on hold there too", "listed by a newer delta"],
)  # fmt: skip
def test_nothing_else_ends_a_hold(evidence: list[Evidence]) -> None:
    """
    Not being listed lifts a hold only on a newer CRL that is current, of a
    signer in order, and covers holds of this certificate.
    """
    assert verdict(decided(*evidence)) == (REVOKED, None)


def test_a_final_revocation_of_an_expired_crl_stays() -> None:
    """
    No newer CRL of another scope takes it back.
    """
    for entry in (FINAL, UNEXPLAINED, REMOVED):
        for policy in (ALLOW, Policy()):
            expired = crl("old", entry, age=20, left=-10)
            assert decided(expired, crl("new"), policy=policy).status is REVOKED


def test_a_grace_period_keeps_and_ends_no_hold() -> None:
    """
    It is for those who are not listed: a CRL within it is past its nextUpdate
    all the same.
    """
    grace = Policy(stale=StaleRule.GRACE, stale_grace=30 * DAY)
    assert decided(EXPIRED_HOLD, crl("new"), policy=grace).status is NOT_REVOKED
    assert decided(EXPIRED_HOLD, crl("new", left=-1), policy=grace).status is REVOKED


def test_a_hold_is_waived_by_name_on_whatever_crl_it_stands() -> None:
    """
    Also on one that has expired and could not clear the certificate, where an
    older one does: that did not end it.
    """
    evidence = [crl("own name", HELD, age=3, left=-1, reasons=0), crl("older", age=9)]
    assert decided(*evidence).status is REVOKED
    result = decided(*evidence, policy=ALLOW)
    assert (result.status, result.waived) == (NOT_REVOKED, (WAIVED,))


def test_a_hold_of_a_crl_that_is_not_used_is_not_waived() -> None:
    """
    A CRL whose signer is revoked lists nobody.
    """
    signer = decided(crl("signer", FINAL))
    evidence = [crl("bad", HELD, signer=signer), crl("good")]
    result = decided(*evidence, policy=ALLOW)
    assert (result.status, result.waived) == (NOT_REVOKED, ())


# ---- end to end ------------------------------------------------------------------------

SERIAL = 77
INDIRECT = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)


def signed(
    authority: CertificateAuthority,
    reasons: Sequence[tuple[int, bytes | None]],
    number: int = 1,
    this_update: datetime = NOW - DAY,
    next_update: datetime = NOW + DAY,
    *extensions: bytes,
) -> bytes:
    """A CRL that lists SERIAL for each of *reasons*, under that certificate issuer."""
    entries = [
        encode_entry(SERIAL, NOW - DAY, reason=reason, certificate_issuer=issuer)
        for reason, issuer in reasons
    ]
    return sign_crl(
        authority,
        entries,
        crl_number=number,
        this_update=this_update,
        next_update=next_update,
        extensions=extensions,
    )


def test_a_store_revokes_for_good_whatever_a_delta_says() -> None:
    """
    Key compromise in the complete CRL, and a hold in its delta.
    """
    authority, store = make_authority("CA"), MemoryStore()
    client = make_client(authority, SERIAL)
    publish(store, signed(authority, [(1, None)]), authority.der)
    beside = signed(authority, [(6, None)], 2, NOW - DAY, NOW + DAY, delta_of(1))
    publish(store, beside, authority.der)
    result = make_checker(store, policy=ALLOW).check(client)
    assert (result.status, result.reason_code) == (REVOKED, ReasonCode.KEY_COMPROMISE)


@pytest.mark.parametrize("in_delta", [False, True], ids=["complete", "delta"])
def test_a_hold_under_another_spelling_of_the_issuer_hides_nothing(in_delta: bool) -> None:
    """
    One indirect CRL lists the certificate under two spellings of its issuer
    (RFC 5280 7.1), for key compromise and on hold: REVOKED in whatever order.
    """
    authority, signer = make_authority("CA"), make_authority("CRL signer")
    issuer = x509.DirectoryName(signer.certificate.subject)
    client = authority.issue(
        "client",
        serial_number=SERIAL,
        distribution_points=[x509.DistributionPoint(None, None, None, [issuer])],
        not_before=NOW - DAY,
        not_after=NOW + DAY,
    ).der
    names = encode_name(encode_attribute("CA")), encode_name(encode_attribute(" ca ", tag=0x13))
    for reasons, spellings in itertools.product([(1, 6), (6, 1)], [names, names[::-1]]):
        store = MemoryStore()
        listing = list(zip(reasons, spellings, strict=True))
        complete = signed(signer, [] if in_delta else listing, 1, NOW - DAY, NOW + DAY, INDIRECT)
        publish(store, complete, [authority.der, signer.der])
        if in_delta:
            beside = signed(signer, listing, 2, NOW - DAY, NOW + DAY, INDIRECT, delta_of(1))
            publish(store, beside, [authority.der, signer.der])
        result = make_checker(store, policy=ALLOW).check(client)
        assert (result.status, result.reason_code) == (REVOKED, ReasonCode.KEY_COMPROMISE)


def test_a_hold_of_a_retired_keys_last_crl_ends_with_it() -> None:
    """
    The new key's CRL says what holds now, once the old key's has run out.
    """
    old = make_authority("CA")
    new = CertificateAuthority.create("CA", parent=old, now=NOW)
    issuers, store, clock = [old.der, new.der], MemoryStore(), Clock()
    publish(store, signed(old, [(6, None)], 9, NOW - 2 * DAY, NOW + DAY), issuers)
    publish(store, signed(new, [], 1, NOW - DAY, NOW + 9 * DAY), issuers)
    checker = make_checker(store, clock=clock)
    client = make_client(old, SERIAL)
    assert checker.check(client).status is REVOKED
    clock.now = NOW + 2 * DAY
    assert checker.check(client).status is NOT_REVOKED
