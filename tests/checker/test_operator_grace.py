"""An operator's grace: CRLs that count past their nextUpdate, until a time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

import crlcheck
from crlcheck.types import RevocationStatus, UndeterminedCause
from support.checking import BAD, CA, GOOD, OTHER_CA, Clock, publish
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_client

OTHER_GOOD = make_client(OTHER_CA, 1)
LATE = NOW + 31 * DAY
"""A day after the nextUpdate of the CRLs made here."""


def stale_store() -> MemoryStore:
    """A store with the CRLs of two authorities."""
    store = MemoryStore()
    publish(store)
    publish(store, authority=OTHER_CA)
    return store


def scope_of(store: MemoryStore, certificate: bytes) -> str:
    """The scope whose CRL covers a certificate."""
    scope = crlcheck.RevocationChecker(store, clock=Clock()).check(certificate).scope
    assert scope is not None
    return scope


def checker_at(store: MemoryStore, moment: datetime = LATE) -> crlcheck.RevocationChecker:
    """A checker whose clock stands at that time."""
    clock = Clock()
    clock.now = moment
    return crlcheck.RevocationChecker(store, clock=clock)


@pytest.mark.parametrize("of_scope", [False, True], ids=["store", "scope"])
def test_a_grace_clears_what_a_stale_crl_does_not_list_until_it_ends(of_scope: bool) -> None:
    """
    The result says what was waived. A listed certificate stays revoked.
    """
    store = stale_store()
    before = checker_at(store).check(GOOD)
    assert before.cause is UndeterminedCause.STALE
    scope = scope_of(store, GOOD) if of_scope else None
    crlcheck.grant_grace(store, until=LATE + DAY, scope=scope, now=LATE)
    checker = checker_at(store)
    result = checker.check(GOOD)
    assert result.status is RevocationStatus.NOT_REVOKED
    assert result.waived == (UndeterminedCause.STALE,)
    assert checker.check(BAD).status is RevocationStatus.REVOKED
    other = checker.check(OTHER_GOOD)
    assert (other.status is RevocationStatus.NOT_REVOKED) is not of_scope
    assert checker.status().answering
    at_its_end = checker_at(store, LATE + DAY)
    assert at_its_end.check(GOOD).cause is UndeterminedCause.STALE
    assert not at_its_end.status().answering


@pytest.mark.parametrize("of_scope", [False, True], ids=["store", "scope"])
def test_a_grace_ends_when_it_is_taken_back(of_scope: bool) -> None:
    """
    To take it back twice changes nothing.
    """
    store = stale_store()
    scope = scope_of(store, GOOD) if of_scope else None
    crlcheck.grant_grace(store, until=LATE + DAY, scope=scope, now=LATE)
    generation = crlcheck.grant_grace(store, until=None, scope=scope)
    assert checker_at(store).check(GOOD).cause is UndeterminedCause.STALE
    assert crlcheck.grant_grace(store, until=None, scope=scope) == generation


@pytest.mark.parametrize("of_scope", [False, True], ids=["store", "scope"])
def test_a_grace_outlives_publications(of_scope: bool) -> None:
    """
    It belongs to the scope and to the store, not to the CRL.
    """
    store = stale_store()
    scope = scope_of(store, GOOD) if of_scope else None
    crlcheck.grant_grace(store, until=LATE + 90 * DAY, scope=scope, now=LATE)
    publish(store, 2)
    assert checker_at(store).check(GOOD).status is RevocationStatus.NOT_REVOKED


def test_a_checker_sees_a_grace_at_its_next_poll() -> None:
    """
    No service is started anew.
    """
    store = stale_store()
    checker = checker_at(store)
    assert checker.check(GOOD).cause is UndeterminedCause.STALE
    crlcheck.grant_grace(store, until=LATE + DAY, now=LATE)
    assert checker.check(GOOD).status is RevocationStatus.NOT_REVOKED


def test_a_grace_of_the_store_covers_the_path() -> None:
    """
    A grace of the store counts for the CRLs of the issuers above, too.
    """
    store = MemoryStore()
    middle = make_authority("Middle CA", parent=CA)
    publish(store, authority=CA)
    publish(store, authority=middle)
    crlcheck.grant_grace(store, until=LATE + DAY, now=LATE)
    result = checker_at(store).check(make_client(middle, 7))
    assert result.status is RevocationStatus.NOT_REVOKED
    assert result.waived == (UndeterminedCause.STALE,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"until": NOW - DAY}, "until: expected a time after"),
        ({"until": LATE.replace(tzinfo=None)}, "until: expected an aware datetime"),
        ({"until": NOW + DAY, "scope": "0" * 32}, "there is no such scope"),
        ({"until": NOW + DAY, "note": "x" * 501}, "note: expected at most 500"),
    ],
)
def test_a_grace_that_makes_no_sense_is_refused(given: dict[str, object], message: str) -> None:
    """
    Nothing is changed.
    """
    store = stale_store()
    before = store.read("catalog.json").etag
    with pytest.raises(ValueError, match=message):
        crlcheck.grant_grace(store, now=NOW + timedelta(0), **given)  # type: ignore[arg-type]
    assert store.read("catalog.json").etag == before
