"""
Catalogs that a checker refuses: their denials, the status, and when it ends.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.checker import polling
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import CatalogRollbackError
from crlcheck.publisher.operator import advance_generation, deny_certificate, lift_denial
from crlcheck.types import ProblemKind, RevocationStatus
from support.checking import BAD, CA, GOOD, OTHER_CA, Clock, CountingStore, make_checker, publish
from support.memory_store import MemoryStore
from support.pki import NOW, make_client

NOT_REVOKED = RevocationStatus.NOT_REVOKED
HOUR = timedelta(hours=1)
NAME = CA.certificate.subject.public_bytes()


def deny(store: Any, serial: int = 1, **options: Any) -> int:
    """Deny a certificate of CA by hand."""
    return deny_certificate(store, NAME, serial, now=NOW, **options)


def restore(store: MemoryStore, backup: MemoryStore) -> None:
    """Put everything back as it was, so that nothing in the store tells."""
    for name in list(store.names("")):
        store.delete(name)
    for name in backup.names(""):
        store.write(name, backup.read(name).body)


def copy_of(store: MemoryStore) -> MemoryStore:
    """A backup."""
    backup = MemoryStore()
    restore(backup, store)
    return backup


@pytest.fixture
def restored() -> tuple[CountingStore, MemoryStore, RevocationChecker]:
    """A store, its backup, and a checker that has seen a later generation than the backup's."""
    store = CountingStore()
    publish(store, 1, revoked=[])
    backup = copy_of(store)
    for number in range(2, 5):
        publish(store, number)
    checker = make_checker(store)
    assert checker.check(GOOD).status is NOT_REVOKED
    return store, backup, checker


def by_another_process(store: MemoryStore, change: Callable[[MemoryStore], object]) -> None:
    """Change the store as a process does that has not written to it before."""
    other = copy_of(store)
    change(other)
    restore(store, other)


# ---- denials -----------------------------------------------------------------------


def test_a_denial_in_a_restored_store_counts_at_once(
    restored: tuple[CountingStore, MemoryStore, RevocationChecker],
) -> None:
    """
    The rest of the catalog is refused, because it lacks revocations; a denial only adds
    to what is held. It ends with the denial.
    """
    store, backup, checker = restored
    restore(store, backup)
    by_another_process(store, deny)
    result = checker.check(GOOD)
    assert result.denied
    assert checker.check(BAD).status is RevocationStatus.REVOKED
    assert not checker.check(BAD).denied
    assert checker.status().generation == 4
    by_another_process(store, lambda other: lift_denial(other, NAME, 1, now=NOW))
    with pytest.raises(CatalogRollbackError):
        checker.refresh()
    assert checker.check(GOOD).status is NOT_REVOKED


def test_a_denial_in_another_catalog_of_the_same_generation_counts(
    restored: tuple[CountingStore, MemoryStore, RevocationChecker],
) -> None:
    """
    Two histories cannot both be right, but a denial is one in either.
    """
    store, backup, checker = restored
    restore(store, backup)
    for serial in (50, 51, 1):
        by_another_process(store, functools.partial(deny, serial=serial))
    assert checker.check(GOOD).denied
    assert "also of generation 4" in str(checker.status().error)


@pytest.mark.parametrize("kind", ["corrupt", "missing", "no answer", "no memory"])
def test_a_denial_counts_though_an_image_of_its_catalog_cannot_be_had(kind: str) -> None:
    """
    A later generation whose other parts are not to be had keeps no denial from
    running services.
    """
    store = CountingStore()
    publish(store, 1)
    checker = make_checker(store)
    checker.check(GOOD)
    name = publish(store, 2)
    before = store.before
    if kind == "corrupt":
        store.write(name, b"rubbish")
    elif kind == "missing":
        store.delete(name)
    else:

        def fail(operation: str, name: str) -> None:
            if operation == "load":
                raise MemoryError if kind == "no memory" else TimeoutError("no answer")
            assert before is not None
            before(operation, name)

        store.before = fail
    deny(store)
    assert checker.check(GOOD).denied
    assert checker.status().generation == 1


def test_the_catalog_in_use_put_back_ends_it(
    restored: tuple[CountingStore, MemoryStore, RevocationChecker],
) -> None:
    """
    Denials of a refused catalog count no longer than the store has it.
    """
    store, backup, checker = restored
    current = copy_of(store)
    restore(store, backup)
    by_another_process(store, deny)
    assert checker.check(GOOD).denied
    restore(store, current)
    assert checker.check(GOOD).status is NOT_REVOKED
    assert (checker.status().error, checker.status().problems) == (None, ())


def test_of_two_denials_the_longer_counts() -> None:
    """
    One that ends in the refused catalog does not end one that does not in the own.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    backup = copy_of(store)
    deny(store)
    deny(store, 2)
    deny(store, 3, until=NOW + HOUR)
    checker = make_checker(store, clock=clock)
    checker.check(GOOD)
    restore(store, backup)
    by_another_process(store, lambda other: deny(other, until=NOW + HOUR))
    by_another_process(store, lambda other: deny(other, 3, until=NOW + 3 * HOUR))
    for hours in (0, 2):
        clock.now = NOW + hours * HOUR
        assert checker.check(GOOD).denied
        assert checker.check(make_client(CA, 3)).denied
    clock.now = NOW + 4 * HOUR
    assert checker.check(GOOD).denied
    assert not checker.check(make_client(CA, 3)).denied


# ---- the status --------------------------------------------------------------------


def test_a_catalog_that_went_back_is_told(
    restored: tuple[CountingStore, MemoryStore, RevocationChecker],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    As a problem with both generations, by a count that rises at every poll, and in
    the log once, however often it is looked at.
    """
    store, backup, checker = restored
    restore(store, backup)
    caplog.clear()
    for _ in range(3):
        checker.check(GOOD)
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    for _ in range(10):
        checker.check(GOOD)
    (problem,) = checker.status().problems
    assert (problem.kind, problem.is_error) == (ProblemKind.CATALOG_WENT_BACK, False)
    assert "went back to generation 1 from generation 4" in problem.detail
    assert checker.status().answering
    assert checker.freshness().num_refused_polls == 13
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "went back to generation 1" in warnings[0].getMessage()


def test_a_catalog_that_cannot_be_used_is_told() -> None:
    """
    It may be no catalog at all.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    store.write(CATALOG_NAME, b"{")
    checker.check(GOOD)
    (problem,) = checker.status().problems
    assert problem.kind is ProblemKind.CATALOG_REFUSED
    assert "is not JSON" in problem.detail
    store.is_down = True
    checker.check(GOOD)
    assert [one.kind for one in checker.status().problems] == [
        ProblemKind.CATALOG_REFUSED,
        ProblemKind.STORE_FAILING,
    ]


def test_a_refused_catalog_is_looked_at_as_often_as_any(
    restored: tuple[CountingStore, MemoryStore, RevocationChecker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A store that answers is asked again at once, whatever it answers: the next denial, or
    a catalog that can be taken, counts as soon as ever.
    """
    store, backup, checker = restored
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    restore(store, backup)
    for _ in range(10):
        checker.check(GOOD)
    by_another_process(store, deny)
    assert checker.check(GOOD).denied


# ---- how it ends -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["advance", "publish"])
def test_a_store_that_is_above_again_is_taken(
    restored: tuple[CountingStore, MemoryStore, RevocationChecker], how: str
) -> None:
    """
    By the operator's command, or once as much was published again; with all that
    the store says.
    """
    store, backup, checker = restored
    restore(store, backup)
    by_another_process(store, deny)
    assert checker.check(GOOD).denied
    if how == "advance":
        by_another_process(store, lambda other: advance_generation(other, above=4))
    else:
        for number in range(1, 4):
            change = functools.partial(publish, number=number, authority=OTHER_CA)
            by_another_process(store, change)
    assert checker.check(GOOD).denied
    status = checker.status()
    assert (status.error, status.problems) == (None, ())
    assert status.generation is not None
    assert status.generation >= 5
    assert checker.check(BAD).status is NOT_REVOKED
