"""The records of generations: their JSON, their names, and the chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crlcheck.catalog.catalog import Catalog, Denial
from crlcheck.catalog.compare_and_swap import change_catalog
from crlcheck.catalog.history import (
    HISTORY_PREFIX,
    Action,
    HistoryRecord,
    chain,
    full_root,
    generation_in,
    latest_listed,
    listed,
    new_record_name,
    read_listed,
    read_record,
)
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.catalog.root import MAX_GENERATION, Root
from crlcheck.catalog.tree import NodeReader, Reference
from crlcheck.errors import CatalogDamagedError
from support.catalogs import NOW, catalog, held, places, put, stored
from support.memory_store import MemoryStore

NAME = bytes.fromhex("300c310a300806035504030c0141")  # CN=A
FULL = HistoryRecord(
    root=Root(generation=7, store="ab" * 16, at=NOW),
    action=Action(action="publish", actor="somebody", note="why", details={"x": [1]}),
    previous=Reference(new_record_name(6), "0f" * 32, 5),
    superseded=("images/a", "nodes/b"),
    abandoned=("images/c",),
    unknown={"later": 1, "zero": 0, "none": None},
)
BARE = HistoryRecord(root=FULL.root, action=Action(action="deny"))
VALUE = json.loads(FULL.to_bytes())


def published(number: int) -> MemoryStore:
    """A store with so many generations."""
    store = stored(catalog())
    for serial in range(number - 1):
        change_catalog(store, "a denial", _denial(serial), Action(action="deny"))
    return store


def _denial(serial: int) -> Callable[[Catalog], Catalog]:
    return lambda found: found.with_denial(Denial(NAME, serial, NOW))


@pytest.mark.parametrize("one", [FULL, BARE])
def test_a_record_is_read_back(one: HistoryRecord) -> None:
    """Every member, those of a later version whatever their value is."""
    assert HistoryRecord.from_bytes(one.to_bytes(), "x") == one
    assert one.given_up == (*one.superseded, *one.abandoned)


PLACES = {
    place: way
    for place, way in places(VALUE, lambda place: place in ("details", "root"))
    if place not in ("later", "zero", "none") and held(VALUE, way) is not None
}
KINDS: dict[type, object] = {int: True, str: 1, list: {}, dict: []}


@pytest.mark.parametrize("place", PLACES)
def test_a_member_of_another_kind_is_refused(place: str) -> None:
    """With the name of the object."""
    way = PLACES[place]
    broken = put(VALUE, way, KINDS[type(held(VALUE, way))])
    with pytest.raises(CatalogDamagedError, match=r"^x cannot be read: "):
        HistoryRecord.from_bytes(json.dumps(broken).encode(), "x")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"generation": 8},
        {"at": "2026-11-03T00:00:00Z"},
        {"superseded": ["../x"]},
        {"root": {}},
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    """Its generation is that of its root."""
    with pytest.raises(CatalogDamagedError):
        HistoryRecord.from_bytes(json.dumps({**VALUE, **change}).encode(), "x")


# ---- names -----------------------------------------------------------------------------


def test_names_sort_newest_first() -> None:
    """Up to the last generation of all."""
    generations = [1, 2, 999, 1000, 1001, 10**6, 10**12, MAX_GENERATION - 1]
    names = [new_record_name(generation) for generation in generations]
    assert sorted(names) == names[::-1]
    assert [generation_in(name) for name in names] == generations
    assert new_record_name(1) != new_record_name(1)


@pytest.mark.parametrize(
    "name", ["history/x", "catalog.json", "history/0/0-a.json", new_record_name(5) + "x"]
)
def test_other_names_are_of_no_generation(name: str) -> None:
    """They are passed by."""
    assert generation_in(name) is None
    store = published(2)
    store.write(name, b"x")
    assert [generation for generation, _ in listed(store)] == [3, 2]


def test_the_latest_is_the_first_that_is_listed() -> None:
    """Published or not; 0 in an empty store."""
    assert latest_listed(MemoryStore()) == 0
    store = published(3)
    assert latest_listed(store) == 4
    store.write(new_record_name(9), b"")
    assert latest_listed(store) == 9
    assert read_listed(store, next(listed(store))[1]) is None
    assert read_listed(store, "history/none") is None


# ---- the chain ---------------------------------------------------------------------------


def test_the_chain_has_each_generation_from_the_last_back() -> None:
    """And no record that no root names."""
    store = published(5)
    root = read_set(store)[0].root
    store.write(new_record_name(4), FULL.to_bytes())
    found = list(chain(store, root))
    assert [one.generation for _, one in found] == [6, 5, 4, 3, 2]
    assert [one.generation for _, one in chain(store, root, after=4)] == [6, 5]
    assert [len(one.root.members()) > 0 for _, one in found] == [True] * 5
    for reference, one in found:
        assert read_record(store, reference) == one
        assert full_root(one, reference).history == reference
        earlier = PublishedSet(full_root(one, reference), NodeReader(store))
        assert len(earlier.denied) == one.generation - 2
        assert earlier.everything().scopes == catalog().scopes


def test_a_history_that_clean_up_has_cut_off_ends_early() -> None:
    """At the oldest record that is there; the root's own must be."""
    store = published(5)
    root = read_set(store)[0].root
    names = list(store.names(HISTORY_PREFIX))
    store.delete(names[3])
    assert [one.generation for _, one in chain(store, root)] == [6, 5, 4]
    store.delete(names[0])
    with pytest.raises(CatalogDamagedError, match="is missing"):
        list(chain(store, root))


@pytest.mark.parametrize("position", [0, 2, 4])
def test_a_record_that_was_changed_is_refused(position: int) -> None:
    """The one after it has its digest, and the root that of the last."""
    store = published(5)
    root = read_set(store)[0].root
    name = list(store.names(HISTORY_PREFIX))[position]
    body = store.read(name).body
    for bad in (body.replace(b"deny", b"dony").replace(b"test", b"tost"), body[:-1], b""):
        store.write(name, bad)
        with pytest.raises(CatalogDamagedError, match="is damaged") as caught:
            list(chain(store, root))
        assert caught.value.name == name


def test_a_chain_never_goes_up_or_in_a_circle() -> None:
    """A record that names one of its own generation, or of a later one."""
    store = MemoryStore()
    for stated in (7, 8):
        previous = Reference(new_record_name(stated), "0f" * 32, 5)
        body = replace(FULL, previous=previous).to_bytes()
        reference = Reference.of(new_record_name(7), body)
        store.write(reference.name, body)
        with pytest.raises(CatalogDamagedError, match="before 7") as caught:
            list(chain(store, replace(FULL.root, history=reference)))
        assert caught.value.found == "order"
    wrong = replace(FULL.root, history=Reference("nodes/x", "0f" * 32, 5))
    with pytest.raises(CatalogDamagedError, match="expected the record of a generation"):
        list(chain(store, wrong))
