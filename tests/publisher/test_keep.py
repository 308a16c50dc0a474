"""Keeping objects for longer than readers need them, and the history as long as is useful."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.history import HISTORY_PREFIX
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.errors import StoreError, StoreUnavailableError
from crlcheck.publisher.clean_up import HISTORY_KEPT, clean_up
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import deny_certificate
from crlcheck.publisher.restore import restore_store
from crlcheck.publisher.verify import verify_store
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_crl
from support.publishing import CA, images_of, publish

HOUR = timedelta(hours=1)
NAME = CA.certificate.subject.public_bytes()


def published(number: int, store: Any = None) -> Any:
    """A store with *number* CRLs of one scope, published at NOW."""
    store = MemoryStore() if store is None else store
    for one in range(1, number + 1):
        publish(store, make_crl(CA, one, [7], next_update=NOW + 90 * DAY))
    return store


def test_a_store_remembers_how_long_it_keeps() -> None:
    """
    Clean-ups and publications that do not say otherwise delete nothing sooner.
    """
    store = published(1)
    first = images_of(store)
    published(2, store)
    clean_up(store, keep=30 * DAY, now=NOW)
    clean_up(store, now=NOW + 29 * DAY)
    publish(store, make_crl(CA, 3, [7], next_update=NOW + 90 * DAY), now=NOW + 29 * DAY)
    assert set(first) < set(images_of(store))
    restore_store(store, when=1, now=NOW + 29 * DAY)
    publish(store, make_crl(CA, 4, [7], next_update=NOW + 90 * DAY), now=NOW + 31 * DAY)
    assert set(first).isdisjoint(images_of(store))
    assert verify_store(store).is_whole


def test_a_publication_keeps_as_long_as_it_is_told() -> None:
    """
    The longest of its own time, the grace period and the store's counts.
    """
    store = published(2)
    first = images_of(store)
    crls = [make_crl(CA, number, [7], next_update=NOW + 90 * DAY) for number in (3, 4)]
    publish(store, crls[0], now=NOW + 2 * DAY, keep=3 * DAY)
    assert set(first) < set(images_of(store))
    publish(store, crls[1], now=NOW + 2 * DAY, keep=HOUR)
    assert not set(first) <= set(images_of(store))


def test_it_ends_with_zero() -> None:
    """
    And a clean-up that says the same again makes no generation.
    """
    store = published(2)
    clean_up(store, keep=30 * DAY, now=NOW)
    generation = read_set(store)[0].generation
    clean_up(store, keep=30 * DAY, now=NOW)
    assert read_set(store)[0].generation == generation
    clean_up(store, keep=timedelta(0), now=NOW + 2 * HOUR)
    assert len(images_of(store)) == 1
    assert "settings" not in json.loads(store.read(CATALOG_NAME).body)


@pytest.mark.parametrize("keep", [-HOUR, timedelta(days=40000)])
def test_times_that_nobody_means(keep: timedelta) -> None:
    """
    They are refused before anything is done.
    """
    with pytest.raises(ValueError, match="keep: expected 0 to 36500 days"):
        clean_up(published(1), keep=keep)


@pytest.mark.parametrize("value", ["30d", -1, 10**12, None, 1.5])
def test_a_setting_that_cannot_be_read(value: object) -> None:
    """
    Nothing is deleted.
    """
    store = published(2)
    members = json.loads(store.read(CATALOG_NAME).body)
    members["settings"] = {"keep": value}
    store.write(CATALOG_NAME, json.dumps(members).encode())
    with pytest.raises(StoreError, match="settings.keep: expected a number of seconds"):
        clean_up(store, now=NOW + DAY)
    assert len(images_of(store)) == 2


def test_all_that_waits_is_told_from_what_was_abandoned() -> None:
    """
    A clean-up that keeps for long, and a mirror of the store, delete none of it.
    """
    store, mirror = published(6), MemoryStore()
    clean_up(store, keep=30 * DAY, now=NOW)
    kept = images_of(store)
    store.write("images/orphan.crlx", b"x")
    assert clean_up(store, now=NOW + DAY)[1] > 6
    mirror_store(store, mirror)
    clean_up(store, now=NOW + 29 * DAY)
    assert images_of(store) == [*kept, "images/orphan.crlx"]
    clean_up(store, now=NOW + 40 * DAY)
    assert len(images_of(store)) == 1


# ---- the history ----------------------------------------------------------------------------


def records(store: MemoryStore) -> int:
    """How many records the store has."""
    return len(list(store.names(HISTORY_PREFIX)))


def test_records_go_after_thirty_days() -> None:
    """
    Once all is deleted that they gave up; the chain can be verified, and begins later.
    """
    store = published(5)
    clean_up(store, now=NOW + HISTORY_KEPT - HOUR)
    assert records(store) == 6
    assert verify_store(store).history_from == 1
    clean_up(store, now=NOW + HISTORY_KEPT)
    assert 1 <= records(store) < 6
    report = verify_store(store)
    assert (report.is_whole, report.history_from) == (True, 6)
    publish(store, make_crl(CA, 9, [7], next_update=NOW + 90 * DAY), now=NOW + HISTORY_KEPT)
    assert verify_store(store).is_whole


def test_records_stay_as_long_as_what_they_gave_up() -> None:
    """
    Clean-up must still find it, and the root's own record stays for ever.
    """
    store = published(5)
    clean_up(store, keep=60 * DAY, now=NOW)
    clean_up(store, now=NOW + 59 * DAY)
    assert records(store) == 6
    clean_up(store, now=NOW + 61 * DAY)
    clean_up(store, now=NOW + 200 * DAY)
    assert 1 <= records(store) <= 2
    assert verify_store(store).is_whole
    deny_certificate(store, NAME, 7, now=NOW + 201 * DAY)
    assert verify_store(store).is_whole


def test_records_of_lost_swaps_go_too() -> None:
    """
    With those of their time.
    """
    store = published(3)
    name = list(store.names(HISTORY_PREFIX))[1]
    store.write(f"{name[:-37]}{'0' * 32}.json", store.read(name).body)
    store.write(f"{name[:-37]}{'1' * 32}.json", b"damaged")
    assert verify_store(store).num_leftover_records == 2
    clean_up(store, now=NOW + 31 * DAY)
    clean_up(store, now=NOW + 62 * DAY)
    assert verify_store(store).num_leftover_records == 0


def test_a_store_that_fails_leaves_a_chain() -> None:
    """
    The oldest record goes first, so whatever is left can be read back from the root.
    """
    store = published(5)
    clean_up(store, now=NOW + DAY)
    deleted: list[str] = []

    def fail(operation: str, name: str) -> None:
        if operation == "delete" and name.startswith(HISTORY_PREFIX):
            if len(deleted) == 2:
                raise StoreUnavailableError("no answer")
            deleted.append(name)

    store.before = fail
    clean_up(store, now=NOW + 31 * DAY)
    store.before = None
    assert len(deleted) == 2
    report = verify_store(store)
    assert (report.is_whole, report.history_from) == (True, 3)


def test_a_mirror_forgets_too() -> None:
    """
    It has one writer, so no clean-up of its own.
    """
    store, mirror = published(5), MemoryStore()
    mirror_store(store, mirror)
    clean_up(store, now=NOW + DAY)
    mirror_store(store, mirror)
    assert records(mirror) <= 2  # all are older than 30 days by the clock
    assert verify_store(mirror).is_whole
