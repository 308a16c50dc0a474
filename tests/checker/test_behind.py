"""
Stores that may hand out an older generation than before, as caches do: what stays in use, what
the status says, and when it ends.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import CatalogRollbackError
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import deny_certificate, lift_denial
from crlcheck.stores import StoredObject
from crlcheck.types import ProblemKind, RevocationStatus
from support.checking import BAD, CA, GOOD, Clock, CountingStore, make_checker, publish
from support.memory_store import MemoryStore
from support.pki import NOW, make_client

NOT_REVOKED, REVOKED = RevocationStatus.NOT_REVOKED, RevocationStatus.REVOKED
HOUR = timedelta(hours=1)
NAME = CA.certificate.subject.public_bytes()


class CachedStore(CountingStore):
    """
    A store with a cache before it: of the catalog it hands out the state that is set.

    Nothing else ever changes under its name.
    """

    may_be_behind = True

    def __init__(self) -> None:
        super().__init__()
        self.handed_out: StoredObject | None = None
        self.num_sent = 0

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        found = super().read_if_changed(name, None)
        assert found is not None
        if name == CATALOG_NAME and self.handed_out is not None:
            found = self.handed_out
        if found.etag == etag:
            return None
        self.num_sent += 1
        return found


@pytest.fixture
def clock() -> Clock:
    """The checker's clock."""
    return Clock()


@pytest.fixture
def late(clock: Clock) -> tuple[CachedStore, RevocationChecker]:
    """A checker that has seen generation 2, whose CRL lists BAD, and then gets generation 1."""
    store = CachedStore()
    publish(store, 1, revoked=[])
    first = store.read(CATALOG_NAME)
    publish(store, 2)
    checker = make_checker(store, clock=clock)
    assert checker.check(BAD).status is REVOKED
    store.handed_out = first
    return store, checker


def problems(checker: RevocationChecker) -> list[ProblemKind]:
    """The kinds of the problems."""
    return [one.kind for one in checker.status().problems]


def whole(checker: RevocationChecker) -> timedelta:
    """For how many seconds the store has been behind."""
    behind_for = checker.freshness().behind_for
    assert behind_for is not None
    return timedelta(seconds=int(behind_for.total_seconds()))


def test_the_later_set_stays_in_use(
    late: tuple[CachedStore, RevocationChecker], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What an older catalog does not list stays revoked. That is no failure: nothing is
    counted, nothing is warned of, and the store is polled as often as before.
    """
    _, checker = late
    before = checker.freshness()
    with caplog.at_level(logging.INFO, "crlcheck"):
        for _ in range(5):
            clock.now += timedelta(minutes=1)
            assert checker.check(BAD).status is REVOKED
            assert checker.check(GOOD).status is NOT_REVOKED
            assert checker.refresh() is False
    after = checker.freshness()
    assert after.num_polls == before.num_polls + 15
    assert (after.num_failed_polls, after.num_refused_polls) == (0, 0)
    said = [record for record in caplog.records if "earlier than generation 2" in record.message]
    assert [record.levelname for record in said] == ["INFO"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_status_says_how_long(
    late: tuple[CachedStore, RevocationChecker], clock: Clock
) -> None:
    """
    An operator sees for how long the store has been behind, that it goes on answering, and
    since when nobody has confirmed the set in use.
    """
    _, checker = late
    confirmed = checker.status().confirmed_at
    assert checker.freshness().behind_for is None
    clock.now += HOUR
    checker.check(GOOD)
    assert whole(checker) == timedelta(0)
    clock.now += HOUR
    checker.check(GOOD)
    assert whole(checker) == HOUR
    status = checker.status()
    assert status.answering
    assert status.confirmed_at == confirmed
    (problem,) = status.problems
    assert (problem.kind, problem.is_error) == (ProblemKind.STORE_BEHIND, False)
    assert "generation 1 for 1:00:00" in problem.detail
    assert "generation 2 in use" in problem.detail


@pytest.mark.parametrize("end", ["the same", "later"])
def test_it_ends_with_the_cache_s_delay(
    late: tuple[CachedStore, RevocationChecker], clock: Clock, end: str
) -> None:
    """
    As soon as the cache has the catalog in use, or a later one, nothing is left of it.
    """
    store, checker = late
    checker.check(GOOD)
    if end == "later":
        publish(store, 3, revoked=[1, 2])
    store.handed_out = None
    clock.now += HOUR
    expected = NOT_REVOKED if end == "the same" else REVOKED
    assert checker.check(GOOD).status is expected
    assert problems(checker) == []
    assert checker.freshness().behind_for is None
    assert checker.status().confirmed_at == clock.now


def test_caches_that_disagree(late: tuple[CachedStore, RevocationChecker], clock: Clock) -> None:
    """
    Requests that meet one cache and then another never bring the older set back.
    """
    store, checker = late
    first = store.handed_out
    for _ in range(3):
        store.handed_out = first
        assert checker.check(BAD).status is REVOKED
        assert problems(checker) == [ProblemKind.STORE_BEHIND]
        store.handed_out = None
        assert checker.check(BAD).status is REVOKED
        assert problems(checker) == []


def test_an_older_catalog_is_sent_once(late: tuple[CachedStore, RevocationChecker]) -> None:
    """
    A poll asks for another one than the older one, which it knows.
    """
    store, checker = late
    sent = store.num_sent
    for _ in range(5):
        checker.check(GOOD)
    assert store.num_sent == sent + 1


def test_a_store_that_stays_behind_is_too_old_in_the_end(
    late: tuple[CachedStore, RevocationChecker], clock: Clock
) -> None:
    """
    A set that nobody confirms is used for ``max_catalog_age`` only; the reason names the
    generation that the store hands out.
    """
    store, _ = late
    first, store.handed_out = store.handed_out, None
    checker = make_checker(store, clock=clock, max_catalog_age=HOUR)
    assert checker.check(BAD).status is REVOKED
    store.handed_out = first
    for minutes in (20, 20, 19):
        clock.now += timedelta(minutes=minutes)
        assert checker.check(BAD).status is REVOKED
    clock.now += timedelta(minutes=2)
    result = checker.check(GOOD)
    assert result.status is RevocationStatus.UNDETERMINED
    assert "which is too long" in str(result)
    assert "has handed out generation 1 for 0:41:00" in str(result)
    store.handed_out = None
    assert checker.check(GOOD).status is NOT_REVOKED


def test_denials_of_an_older_catalog_do_not_count(clock: Clock) -> None:
    """
    One that was lifted does not come back with a cache, and one that was added stays.
    """
    store = CachedStore()
    publish(store, 1, revoked=[])
    deny_certificate(store, NAME, 1, now=NOW)
    denied = store.read(CATALOG_NAME)
    lift_denial(store, NAME, 1)
    deny_certificate(store, NAME, 2, now=NOW)
    checker = make_checker(store, clock=clock)
    for handed_out in (None, denied):
        store.handed_out = handed_out
        assert checker.check(GOOD).status is NOT_REVOKED
        assert checker.check(BAD).status is REVOKED


def test_another_catalog_of_the_same_generation_is_refused(clock: Clock) -> None:
    """
    That is no cache: somebody wrote without comparing.
    """
    store, other = CachedStore(), MemoryStore()
    publish(store, 1)
    publish(other, 1, revoked=[])
    checker = make_checker(store, clock=clock)
    assert checker.check(BAD).status is REVOKED
    store.handed_out = StoredObject(other.read(CATALOG_NAME).body, "other")
    with pytest.raises(CatalogRollbackError, match="differs"):
        checker.refresh()
    assert checker.check(BAD).status is REVOKED
    assert checker.freshness().num_refused_polls > 0


def test_an_older_generation_of_another_store_is_refused(clock: Clock) -> None:
    """
    A URL that leads to another store now is no cache that is late.
    """
    store, other = CachedStore(), MemoryStore()
    publish(other, 1, revoked=[])
    for number in (1, 2):
        publish(store, number)
    checker = make_checker(store, clock=clock)
    assert checker.check(BAD).status is REVOKED
    store.handed_out = StoredObject(other.read(CATALOG_NAME).body, "other")
    with pytest.raises(CatalogRollbackError, match="went back to generation 1"):
        checker.refresh()
    assert checker.check(BAD).status is REVOKED
    assert ProblemKind.CATALOG_WENT_BACK in problems(checker)
    assert checker.freshness().behind_for is None


def test_a_failure_is_still_a_failure(late: tuple[CachedStore, RevocationChecker]) -> None:
    """
    A store that is behind and then does not answer is counted, and both are said.
    """
    store, checker = late
    checker.check(GOOD)
    store.is_down = True
    assert checker.check(BAD).status is REVOKED
    assert checker.freshness().num_failed_polls == 1
    assert set(problems(checker)) == {ProblemKind.STORE_BEHIND, ProblemKind.STORE_FAILING}


def test_a_damaged_catalog_is_refused(late: tuple[CachedStore, RevocationChecker]) -> None:
    """
    A store that may be behind is excused from nothing else.
    """
    store, checker = late
    store.handed_out = StoredObject(b"{}", "damaged")
    assert checker.check(BAD).status is REVOKED
    assert ProblemKind.CATALOG_REFUSED in problems(checker)


def test_other_stores_are_not_excused(clock: Clock) -> None:
    """
    A directory or a bucket whose generation goes back was restored, and that is refused.
    """
    store = CountingStore()
    publish(store, 1, revoked=[])
    first = store.read(CATALOG_NAME).body
    publish(store, 2)
    checker = make_checker(store, clock=clock)
    assert checker.check(BAD).status is REVOKED
    store.write(CATALOG_NAME, first)
    with pytest.raises(CatalogRollbackError):
        checker.refresh()
    assert problems(checker)[0] is ProblemKind.CATALOG_WENT_BACK


# ---- mirrors ---------------------------------------------------------------------


class LateSource(MemoryStore):
    """A source whose catalog is read through a cache."""

    may_be_behind = True
    handed_out: Any = None

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        if name == CATALOG_NAME and self.handed_out is not None:
            found: StoredObject = self.handed_out
            return found
        return super().read(name)


def test_a_mirror_of_a_late_source_keeps_what_it_has(caplog: pytest.LogCaptureFixture) -> None:
    """
    Nothing is copied or deleted, a warning says so, and the next run goes on.
    """
    source, target = LateSource(), MemoryStore()
    publish(source, 1, revoked=[])
    first = source.read(CATALOG_NAME)
    publish(source, 2)
    assert mirror_store(source, target).generation == 2
    before = {name: target.read(name).body for name in target.names("")}
    source.handed_out = first
    report = mirror_store(source, target)
    assert (report.generation, report.num_copied, report.num_deleted) == (2, 0, 0)
    assert {name: target.read(name).body for name in target.names("")} == before
    assert "hands out generation 1" in caplog.text
    source.handed_out = None
    publish(source, 3, revoked=[7])
    assert mirror_store(source, target).generation == 3
    assert make_checker(target).check(make_client(CA, 7)).status is REVOKED
