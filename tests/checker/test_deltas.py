"""Delta CRLs: what may be published beside a base, and what the two say together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.checker.verdict import Evidence, decide
from crlcheck.demo.pki import encode_entry, sign_crl
from crlcheck.errors import (
    CatalogDamagedError,
    CrlBaseMissingError,
    CrlRollbackError,
    UnsupportedCrlError,
)
from crlcheck.publisher.operator import override_scope
from crlcheck.types import Policy, ReasonCode, RevocationStatus, StaleRule, UndeterminedCause
from support import tampering
from support.checking import Clock, make_checker, make_index, verdict
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_client, make_crl
from support.publishing import CA, catalog_of, images_of, publish
from support.values import make_certificate, make_entry, make_metadata

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
HOLD, REMOVE = ReasonCode.CERTIFICATE_HOLD, ReasonCode.REMOVE_FROM_CRL
SECOND = timedelta(seconds=1)

GOOD, BAD, NEWLY_BAD, HELD = (make_client(CA, serial) for serial in (1, 2, 3, 4))


def make_listing(number: int, reasons: dict[int, int], **options: Any) -> bytes:
    """A CRL that lists serial numbers with reason codes."""
    entries = [encode_entry(serial, NOW - DAY, reason=reason) for serial, reason in reasons.items()]
    times = {
        "this_update": NOW - DAY + timedelta(minutes=number),
        "next_update": NOW + 30 * DAY,
    }
    return sign_crl(CA, entries, crl_number=number, **{**times, **options})


def make_delta(
    base: int, number: int | None, revoked: Iterable[int] = (3,), **fields: Any
) -> bytes:
    """A delta CRL."""
    return make_crl(CA, number, revoked, extensions=[delta_of(base)], **fields)


def published(*crls: bytes) -> MemoryStore:
    """A store to which these were published in order."""
    store = MemoryStore()
    for crl in crls:
        publish(store, crl)
    return store


def delta_number(store: MemoryStore) -> int | None:
    """The number of the published delta of the only scope."""
    (record,) = catalog_of(store).scopes.values()
    return None if record.delta is None else record.delta.metadata.crl_number


# ---- publishing ------------------------------------------------------------------------


def test_a_delta_lies_beside_its_base() -> None:
    """
    It gets a place of its own in the record of its base's scope, and the report
    says so.
    """
    store = published(make_crl(CA, 5, [2]))
    report = publish(store, make_delta(4, 6))
    (record,) = catalog_of(store).scopes.values()
    assert (report.published, report.is_delta, report.scope) == (True, True, record.key)
    assert record.delta is not None
    assert report.image_name == record.delta.name
    assert (record.base.metadata.crl_number, record.delta.metadata.crl_number) == (5, 6)


@pytest.mark.parametrize(
    ("crls", "base", "found"),
    [([], 1, None), ([make_crl(CA, 5)], 6, 5), ([make_crl(CA, None)], 1, None)],
    ids=["none", "too old", "without number"],
)
def test_a_delta_waits_for_its_base(crls: list[bytes], base: int, found: int | None) -> None:
    """
    Until a base that it fits is published it is refused, by an error of its own
    that says what is missing.
    """
    store = published(*crls)
    with pytest.raises(CrlBaseMissingError, match=f"number {base} or later") as caught:
        publish(store, make_delta(base, 9))
    assert (caught.value.base_crl_number, caught.value.published) == (base, found)
    assert len(images_of(store)) == len(crls)


def test_a_delta_without_number_is_refused_for_good() -> None:
    """
    Nothing could tell whether it is newer (CVE-2026-28388).
    """
    with pytest.raises(UnsupportedCrlError, match="no CRL number") as caught:
        publish(published(make_crl(CA, 5)), make_delta(1, None))
    assert caught.value.feature == "delta_without_crl_number"


@pytest.mark.parametrize("number", [4, 5])
def test_a_delta_that_adds_nothing_to_its_base_is_ignored(number: int) -> None:
    """
    RFC 5280 5.2.4: the complete CRL of that number says all that it says.
    """
    store = published(make_crl(CA, 5))
    before = store.read("catalog.json")
    report = publish(store, make_delta(1, number))
    assert (report.published, report.is_delta) == (False, True)
    assert (store.read("catalog.json"), len(images_of(store))) == (before, 1)


def test_deltas_do_not_go_back() -> None:
    """
    A delta's number rises strictly over the one published, and its thisUpdate
    does not fall below that one's or the base's; the same again changes nothing.
    """
    store = published(make_crl(CA, 5), make_delta(5, 8))
    assert not publish(store, make_delta(5, 8)).published
    refused = (
        make_delta(5, 7),
        make_delta(5, 8, [9]),
        make_delta(5, 9, this_update=NOW - 2 * DAY),
    )
    for crl in refused:
        with pytest.raises(CrlRollbackError):
            publish(store, crl)
    assert publish(store, make_delta(5, 9)).published
    with pytest.raises(CrlRollbackError, match="earlier thisUpdate"):
        publish(published(make_crl(CA, 5)), make_delta(5, 6, this_update=NOW - 2 * DAY))


def test_a_new_base_drops_the_delta_that_it_includes() -> None:
    """
    It keeps one that is newer than itself: that revokes more.
    """
    store = published(make_crl(CA, 5), make_delta(5, 8))
    publish(store, make_crl(CA, 7))
    assert delta_number(store) == 8
    publish(store, make_crl(CA, 8))
    assert delta_number(store) is None
    assert not publish(store, make_delta(5, 8)).published


def test_a_base_and_its_delta_do_not_compare_numbers() -> None:
    """
    A base below the published delta is newer than the base all the same.
    """
    store = published(make_crl(CA, 5), make_delta(5, 20))
    assert publish(store, make_crl(CA, 6)).published


def test_a_catalog_with_a_delta_that_does_not_fit_is_refused() -> None:
    """
    Whoever wrote it, a reader does not put them together.
    """
    store = published(make_crl(CA, 5), make_delta(5, 8))
    checker = make_checker(store)
    checker.check(GOOD)
    (name,) = tampering.node_names(store)
    body = store.read(name).body
    changed = body.replace(b'"base_crl_number":5', b'"base_crl_number":6')
    tampering.repoint(store, name, changed)
    with pytest.raises(CatalogDamagedError, match="does not fit base CRL number 5"):
        checker.refresh()
    unavailable = (UNDETERMINED, UndeterminedCause.STORE_UNAVAILABLE)
    assert verdict(make_checker(store).check(GOOD)) == unavailable


# ---- verdicts ------------------------------------------------------------------------------


def decided(
    base_reason: ReasonCode | None = None,
    delta_reason: ReasonCode | None = None,
    *,
    late: timedelta = timedelta(0),
    policy: Policy | None = None,
    **delta_fields: Any,
) -> tuple[RevocationStatus, UndeterminedCause | None, int | None]:
    """The verdict by base 17 and delta 18, which list the certificate for these reasons."""
    delta = make_metadata(crl_number=18, base_crl_number=17, **delta_fields)
    evidence = Evidence(
        make_metadata(),
        "scope",
        None if base_reason is None else make_entry(base_reason),
        delta,
        None if delta_reason is None else make_entry(delta_reason),
    )
    result = decide(
        make_certificate(not_after=NOW + 90 * DAY),
        [evidence],
        now=NOW + late,
        policy=policy or Policy(),
    )
    return result.status, result.cause, result.crl_number


@pytest.mark.parametrize(
    ("base", "delta", "status", "number"),
    [
        (None, None, NOT_REVOKED, 18),
        (None, ReasonCode.KEY_COMPROMISE, REVOKED, 18),
        (ReasonCode.SUPERSEDED, None, REVOKED, 17),
        (ReasonCode.SUPERSEDED, ReasonCode.KEY_COMPROMISE, REVOKED, 18),
        (HOLD, ReasonCode.KEY_COMPROMISE, REVOKED, 18),
        (HOLD, None, REVOKED, 17),
        (HOLD, REMOVE, NOT_REVOKED, 18),
        (None, REMOVE, NOT_REVOKED, 18),
        (ReasonCode.KEY_COMPROMISE, REMOVE, REVOKED, 17),
        (REMOVE, None, REVOKED, 17),
        (REMOVE, REMOVE, REVOKED, 17),
    ],
)
def test_base_and_delta_speak_together(
    base: ReasonCode | None, delta: ReasonCode | None, status: RevocationStatus, number: int
) -> None:
    """
    The delta's entry wins, and its removeFromCRL lifts a hold and nothing else;
    in the base removeFromCRL revokes. The CRL named is the one that decided.
    """
    assert decided(base, delta) == (status, None, number)


def test_an_expired_delta_keeps_its_revocations_only() -> None:
    """
    It lifts no hold any more, and who is not listed is STALE although the base
    is current.
    """
    past: dict[str, Any] = {"next_update": NOW - SECOND}
    assert decided(None, ReasonCode.KEY_COMPROMISE, **past) == (REVOKED, None, 18)
    assert decided(HOLD, REMOVE, **past) == (REVOKED, None, 17)
    assert decided(**past) == (UNDETERMINED, UndeterminedCause.STALE, 18)
    grace = Policy(stale=StaleRule.GRACE, stale_grace=DAY)
    assert decided(policy=grace, **past) == (NOT_REVOKED, None, 18)
    assert decided(HOLD, REMOVE, policy=grace, **past) == (REVOKED, None, 17)


def test_a_current_delta_makes_an_expired_base_current() -> None:
    """
    RFC 5280 6.3.3 a: the complete CRL's nextUpdate does not count then.
    """
    assert decided(late=2 * DAY, next_update=NOW + 3 * DAY) == (NOT_REVOKED, None, 18)


def test_a_delta_of_the_future_revokes_only() -> None:
    """
    Before its time it neither lifts a hold nor stands for the base's time.
    """
    early: dict[str, Any] = {"this_update": NOW + DAY, "next_update": NOW + 2 * DAY}
    assert decided(None, ReasonCode.KEY_COMPROMISE, **early) == (REVOKED, None, 18)
    assert decided(HOLD, REMOVE, **early) == (REVOKED, None, 17)
    assert decided(**early) == (NOT_REVOKED, None, 17)


# ---- end to end ----------------------------------------------------------------------------

BASE = make_listing(5, {2: 1, 4: 6})
DELTA = make_listing(6, {3: 1, 4: 8}, extensions=[delta_of(5)])
EXPECTED = [NOT_REVOKED, REVOKED, REVOKED, NOT_REVOKED]


def test_a_store_answers_by_base_and_delta() -> None:
    """
    One certificate is on neither, one on the base, one on the delta, and one
    was on hold.
    """
    store = published(BASE)
    checker = make_checker(store)
    certificates = [GOOD, BAD, NEWLY_BAD, HELD]
    before = [result.status for result in checker.check_many(certificates)]
    assert before == [NOT_REVOKED, REVOKED, NOT_REVOKED, REVOKED]
    publish(store, DELTA)
    results = checker.check_many(certificates)
    assert [result.status for result in results] == EXPECTED
    assert [result.crl_number for result in results] == [6, 5, 6, 6]
    assert "delta CRL 6 of CN=Example CA" in str(results[0])
    assert [scope.is_delta for scope in checker.status().scopes] == [False, True]


def test_indexes_are_paired_by_scope_and_number() -> None:
    """
    Of the deltas handed over each base takes the newest that fits it; one that
    fits none says nothing.
    """
    base = make_index(CA, 5, [2])
    deltas = [
        make_index(CA, 6, [3], extensions=[delta_of(5)]),
        make_index(CA, 7, [3, 4], extensions=[delta_of(5)]),
        make_index(CA, 9, [1], extensions=[delta_of(8)]),
    ]
    checker = make_checker([*deltas, base])
    statuses = [result.status for result in checker.check_many([GOOD, BAD, NEWLY_BAD, HELD])]
    assert statuses == [NOT_REVOKED, REVOKED, REVOKED, REVOKED]
    alone = make_checker(deltas[0]).check(NEWLY_BAD)
    assert verdict(alone) == (UNDETERMINED, UndeterminedCause.OUT_OF_SCOPE)


def test_a_lost_delta_image_leaves_only_revocations() -> None:
    """
    Where the delta cannot be loaded the base can only revoke: who is not listed
    is undetermined.
    """
    store = published(BASE, DELTA)
    (record,) = catalog_of(store).scopes.values()
    assert record.delta is not None
    store.delete(record.delta.name)
    checker = make_checker(store, clock=Clock())
    unavailable = (UNDETERMINED, UndeterminedCause.STORE_UNAVAILABLE)
    assert verdict(checker.check(GOOD)) == unavailable
    assert verdict(checker.check(BAD)) == (REVOKED, None)


def test_the_operators_setting_of_a_scope_outlives_its_crls() -> None:
    """
    A base or a delta that comes later does not change it.
    """
    store = published(BASE)
    catalog = catalog_of(store)
    (key,) = catalog.scopes
    override_scope(store, key, covers_no_distribution_point=True)
    publish(store, DELTA)
    publish(store, make_crl(CA, 7))
    record = catalog_of(store).scopes[key]
    assert record.covers_no_distribution_point
    with pytest.raises(ValueError, match="no such scope"):
        catalog.with_override("another", covers_no_distribution_point=True)
    assert dataclasses.replace(record, covers_no_distribution_point=False) != record
