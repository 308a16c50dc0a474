"""What generations gave up, in the order in which it may be deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlcheck.catalog import compare_and_swap
from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.compare_and_swap import Change, swap
from crlcheck.catalog.given_up import due_objects, given_up_since
from crlcheck.catalog.history import (
    HISTORY_PREFIX,
    Action,
    HistoryRecord,
    chain,
    new_record_name,
)
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.catalog.root import CATALOG_NAME, Cleaned
from support.catalogs import NOW
from support.memory_store import MemoryStore

HOUR = timedelta(hours=1)
ACTION = Action(action="test")


class Store(MemoryStore):
    """A store, the names that each generation gave up, and what its operations were."""

    def __init__(self) -> None:
        super().__init__()
        self.given_up: list[tuple[int, str]] = []
        self.operations: list[str] = []
        self.before = lambda operation, _: self.operations.append(operation)

    def publish(self, *names: str, at: datetime = NOW, above: int = 0) -> PublishedSet:
        """Write a generation that gives up these names."""
        held, etag = read_set(self)
        part = replace(Catalog.empty(), generation=above)
        change = Change(
            before=part, after=part, action=ACTION, at=at, clock=lambda: at, abandoned=names
        )
        written = swap(self, held, etag, change)
        assert written is not None
        self.given_up += [(written.generation, name) for name in names]
        return written

    def lose(self, *names: str) -> None:
        """Leave the record of a writer that died before its swap."""
        held, _ = read_set(self)
        generation = max((record.generation for _, record in chain(self, held.root)), default=0)
        root = replace(held.root, generation=generation + 1, history=None)
        lost = HistoryRecord(root=root, action=ACTION, previous=held.root.history, abandoned=names)
        self.write(new_record_name(root.generation), lost.to_bytes())


def due(store: Store, now: datetime = NOW + HOUR, limit: int = 10**6) -> list[str]:
    """What may be deleted, an hour after it was given up."""
    held, _ = read_set(store)
    return due_objects(store, held, lambda at: now - at >= HOUR, limit)[0]


def test_what_a_lost_generation_gave_up_is_not_deleted() -> None:
    """Its writer died, and its record says nothing of the published set."""
    store = Store()
    for number in range(5):
        store.publish(f"images/{number}")
        store.lose(f"images/lost-{number}")
    assert due(store) == [f"images/{number}" for number in range(5)]
    held, _ = read_set(store)
    assert given_up_since(store, held, 0) == {f"images/{number}" for number in range(5)}


def test_the_record_to_go_on_from_is_found_without_reading_all() -> None:
    """Also where writers have died, and where numbers were skipped."""
    store = Store()
    store.publish("images/a")
    for _ in range(3):
        store.lose("images/lost")
    for number in range(200):
        store.publish(f"images/{number}")
    store.operations.clear()
    assert due(store, limit=1) == ["images/a"]
    assert store.operations.count("read") <= 8
    assert store.operations.count("names") <= 8


@pytest.mark.parametrize("skipped", [2, 3, 4, 5, 6, 50, 10**9])
def test_numbers_are_skipped(skipped: int) -> None:
    """By an operator who advances the generation, and by a restore."""
    store = Store()
    store.publish("images/a")
    store.publish("images/b", above=1 + skipped)
    store.publish("images/c")
    assert due(store) == ["images/a", "images/b", "images/c"]


def test_a_limit_is_kept_and_gone_on_from() -> None:
    """Within a generation too."""
    store = Store()
    names = [f"images/{number}" for number in range(7)]
    store.publish(*names[:5])
    store.publish(*names[5:])
    deleted: list[str] = []
    for _ in range(4):
        held, etag = read_set(store)
        found, cleaned = due_objects(store, held, lambda _: True, 2)
        assert len(found) <= 2
        deleted += found
        part = held.settings()
        change = Change(
            before=part, after=part, action=ACTION, at=NOW, clock=lambda: NOW, cleaned=cleaned
        )
        assert swap(store, held, etag, change) is not None
    assert deleted == names


def test_what_is_not_due_is_asked_for_once() -> None:
    """The root notes when the next one is."""
    store = Store()
    store.publish("images/a")
    held, _ = read_set(store)
    found, cleaned = due_objects(store, held, lambda at: NOW - at >= HOUR, 10)
    assert (found, cleaned) == ([], Cleaned(0, 0, NOW))
    noted = replace(held, root=replace(held.root, cleaned=cleaned))
    store.operations.clear()
    assert due_objects(store, noted, lambda at: NOW - at >= HOUR, 10) == ([], cleaned)
    assert store.operations == []


def test_a_history_that_is_not_whole_tells_nothing() -> None:
    """None stands for all objects: whoever asks writes its image anew."""
    store = Store()
    for number in range(4):
        store.publish(f"images/{number}")
    held, _ = read_set(store)
    assert given_up_since(store, held, 2) == {"images/2", "images/3"}
    assert given_up_since(store, held, 4) == set()
    assert given_up_since(store, held, 0, limit=3) is None
    second = sorted(store.names(HISTORY_PREFIX))[-2]
    body = store.read(second).body
    store.delete(second)
    assert given_up_since(store, held, 0) is None
    assert given_up_since(store, held, 2) == {"images/2", "images/3"}
    store.write(second, body + b" ")
    assert given_up_since(store, held, 0) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["publish", "lose", "skip", "give up"]), max_size=14))
def test_every_object_is_due_once_in_order(steps: list[str]) -> None:
    """Whatever else was proposed between."""
    store = Store()
    store.publish("images/first")
    for number, step in enumerate(steps):
        if step == "lose":
            store.lose(f"images/lost-{number}")
        else:
            names = (f"images/{number}", f"images/{number}-2") if step == "give up" else ()
            above = read_set(store)[0].generation + 7 if step == "skip" else 0
            store.publish(*names, above=above)
    assert due(store) == [name for _, name in store.given_up]


def test_a_large_record_is_read_once_by_a_process_that_deletes_a_few_at_a_time() -> None:
    """
    A generation that changed thousands of CRLs has a record of megabytes. What was found is
    forgotten where an old root is put back.
    """
    store = Store()
    store.publish("images/a", "images/b", "images/c")
    held = store.publish()
    old = store.read(CATALOG_NAME).body
    names, cleaned = due_objects(store, held, lambda _: True, 1)
    assert names == ["images/a"]
    store.operations.clear()
    after = replace(held, root=replace(held.root, cleaned=cleaned))
    names, cleaned = due_objects(store, after, lambda _: True, 1)
    assert (names, cleaned.position) == (["images/b"], 2)
    assert set(store.operations) == {"names"}
    store.publish("images/d")
    store.publish("images/e")
    store.write(CATALOG_NAME, old)
    follows = store.publish("images/f")
    assert due_objects(store, follows, lambda _: True, 9)[0][-1] == "images/f"
    assert not {"images/d", "images/e"} & set(due_objects(store, follows, lambda _: True, 9)[0])


def test_a_record_that_is_in_memory_does_not_count_where_it_no_longer_led_to_the_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    An old root is put back by one generation, which no record proves, and another process
    follows on it. What the lost generation gave up is in use again.
    """
    store = Store()
    store.publish()
    old = store.read(CATALOG_NAME).body
    lost = store.publish("images/used", "images/again")
    assert due_objects(store, first_cleaned(lost), lambda _: True, 1)[0] == ["images/used"]
    store.write(CATALOG_NAME, old)
    monkeypatch.setattr(compare_and_swap, "_WRITTEN", compare_and_swap._Written())
    follows = store.publish("images/other")
    assert due_objects(store, first_cleaned(follows), lambda _: True, 9)[0] == ["images/other"]


def first_cleaned(held: PublishedSet) -> PublishedSet:
    """The set with a root that notes that the first generation is cleaned up."""
    return replace(held, root=replace(held.root, cleaned=Cleaned(1)))
