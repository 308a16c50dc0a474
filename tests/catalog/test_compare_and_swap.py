"""Changes of the published set against other writers, and stores that fail or were restored."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crlcheck.catalog import compare_and_swap
from crlcheck.catalog.catalog import Catalog, Denial
from crlcheck.catalog.compare_and_swap import Change, change_catalog, change_set, swap
from crlcheck.catalog.history import HISTORY_PREFIX, Action, chain, listed
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.catalog.root import CATALOG_NAME, Certificates
from crlcheck.catalog.tree import NODE_PREFIX
from crlcheck.errors import (
    CatalogDamagedError,
    PreconditionFailedError,
    StoreUnavailableError,
)
from support.catalogs import NOW, catalog, issuer, record, stored
from support.memory_store import MemoryStore

NAME = bytes.fromhex("300c310a300806035504030c0141")  # CN=A
ACTION = Action(action="test")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes do not wait between tries."""
    monkeypatch.setattr(compare_and_swap, "back_off", lambda _: None)


def deny(store: MemoryStore, serial: int = 1) -> Catalog:
    """Change the denials."""
    return change_catalog(
        store, "a denial", lambda found: found.with_denial(Denial(NAME, serial, NOW)), ACTION
    )


def _crl(number: int) -> Callable[[Catalog], Catalog]:
    return lambda found: found.with_scope(record(number), [])


def set_in(store: MemoryStore) -> PublishedSet:
    """What the store has published."""
    return read_set(store)[0]


def objects(store: MemoryStore) -> set[str]:
    """The nodes and records that the store has."""
    return {*store.names(NODE_PREFIX), *store.names(HISTORY_PREFIX)}


def needed(store: MemoryStore) -> set[str]:
    """The nodes and records that its root needs."""
    held = set_in(store)
    return {one.name for one in held.objects()} | {one.name for one, _ in chain(store, held.root)}


def before_swap(store: MemoryStore, act: Callable[[], object]) -> None:
    """Let *act* happen once, when the root is next."""

    def before(operation: str, name: str) -> None:
        if operation == "write" and name == CATALOG_NAME:
            store.before = None
            act()

    store.before = before


# ---- races ------------------------------------------------------------------------------


def test_a_swap_that_is_lost_leaves_nothing() -> None:
    """The other writer's root is there, and none of this one's objects."""
    store = stored(catalog())
    held, etag = read_set(store)
    before_swap(store, lambda: deny(store, 2))
    after = held.everything().with_scope(record(9), [])
    doubts: list[bool] = []
    change = Change(
        before=held.everything(),
        after=after,
        action=ACTION,
        at=NOW,
        clock=lambda: NOW,
    )
    written = swap(store, held, etag, change, on_doubt=lambda: doubts.append(True))
    assert written is None
    assert not doubts
    assert [one.serial_number for one in set_in(store).denied] == [2]
    assert objects(store) - needed(store) <= _superseded(store)


def _superseded(store: MemoryStore) -> set[str]:
    return {name for _, one in chain(store, set_in(store).root) for name in one.given_up}


def test_a_change_that_lost_is_made_again_on_the_other_one() -> None:
    """Both are there."""
    store = stored(catalog())
    before_swap(store, lambda: deny(store, 2))
    deny(store, 1)
    assert [one.serial_number for one in set_in(store).denied] == [1, 2]


class TwiceStore(MemoryStore):
    """Writes the next root, does something, and says that the condition failed."""

    then: Callable[[], object] | None = None

    def write(self, name: str, body: bytes | Path, **conditions: Any) -> str:
        etag = super().write(name, body, **conditions)
        if name == CATALOG_NAME and self.then is not None:
            then, self.then = self.then, None
            then()
            raise PreconditionFailedError("sent again", name=name)
        return etag


@pytest.mark.parametrize("is_followed", [False, True])
def test_a_request_that_was_sent_twice_is_recognised_by_the_chain(is_followed: bool) -> None:
    """Also where another writer has gone on from it."""
    store = stored(catalog(), TwiceStore())
    store.then = lambda: deny(store, 2) if is_followed else None
    deny(store, 1)
    assert [one.serial_number for one in set_in(store).denied] == [1, 2][: 1 + is_followed]
    assert len(list(listed(store))) == set_in(store).generation - 1, "no try was lost"


def test_what_may_have_been_published_is_kept() -> None:
    """Its request was sent twice, and then an old root was put back."""
    store = stored(catalog(), TwiceStore())
    old = store.read(CATALOG_NAME).body
    held, etag = read_set(store)
    store.then = lambda: store.write(CATALOG_NAME, old)
    known = objects(store)
    doubts: list[bool] = []
    part = held.everything()
    after = part.with_scope(record(9), [])
    change = Change(
        before=part,
        after=after,
        action=ACTION,
        at=NOW,
        clock=lambda: NOW,
    )
    assert swap(store, held, etag, change, on_doubt=lambda: doubts.append(True)) is None
    assert doubts == [True]
    assert len(objects(store) - known) == 2, "the leaf and the record stay"


def test_a_store_that_fails_at_any_step_leaves_a_whole_set() -> None:
    """Whichever operation fails; the change succeeds afterwards."""
    at = 0
    while True:
        store = stored(catalog())
        before = store.read(CATALOG_NAME)
        count = 0

        def fail(operation: str, name: str, at: int = at) -> None:
            nonlocal count
            count += 1
            if count > at:
                raise StoreUnavailableError(f"{operation} {name}: no answer")

        store.before = fail
        try:
            deny(store)
        except StoreUnavailableError:
            at += 1
        else:
            break
        store.before = None
        assert store.read(CATALOG_NAME) == before
        deny(store)
        assert needed(store) <= objects(store)
        assert [one.serial_number for one in set_in(store).denied] == [1]
    assert at >= 5


def test_a_node_that_clean_up_deleted_meanwhile_is_no_damage() -> None:
    """A later generation does not use it; damage that stays is said by name."""
    store = stored(catalog())
    tries = 0

    def prepare(held: PublishedSet) -> Change | None:
        nonlocal tries
        tries += 1
        if tries == 1:
            deny(store)
            raise CatalogDamagedError("x is missing", name="x", found="missing")
        return None

    change_set(store, "a test", prepare)
    assert tries == 2

    def damaged(held: PublishedSet) -> Change | None:
        raise CatalogDamagedError("x is missing", name="x", found="missing")

    with pytest.raises(CatalogDamagedError):
        change_set(store, "a test", damaged)


# ---- roots that were put back, or are gone -------------------------------------------------


@pytest.mark.parametrize("root", ["put back", "deleted"])
@pytest.mark.parametrize("history", ["there", "deleted"])
@pytest.mark.parametrize("process", ["the same", "another"])
def test_no_generation_is_given_out_twice(root: str, history: str, process: str) -> None:
    """As long as the history or the process's own memory tells."""
    store = stored(catalog())
    first = store.read(CATALOG_NAME).body
    for serial in range(4):
        deny(store, serial)
    last = set_in(store).generation
    name = set_in(store).root.store
    if root == "deleted":
        store.delete(CATALOG_NAME)
    else:
        store.write(CATALOG_NAME, first)
    if history == "deleted":
        for _, one in [*listed(store)]:
            store.delete(one)
    if process == "another":
        other = MemoryStore()
        for one in store.names(""):
            other.write(one, store.read(one).body)
        store = other
    held, etag = read_set(store)
    after = held.everything().with_scope(record(9), [issuer("x")])
    change = Change(
        before=held.everything(),
        after=after,
        action=ACTION,
        at=NOW,
        clock=lambda: NOW,
    )
    written = swap(store, held, etag, change)
    assert written is not None
    if history == "there" or process == "the same":
        assert written.generation == last + 1
        assert set_in(store).generation == last + 1
    if root == "put back" or history == "there":
        assert written.root.store == name, "it is the same store"


@pytest.mark.parametrize("follows_lost", [False, True])
def test_lost_generations_are_looked_for_once(
    follows_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That lists and reads the history, which may be long, before every change of an old root."""
    store = stored(catalog())
    first = store.read(CATALOG_NAME).body
    for serial in range(4):
        deny(store, serial)
    last = set_in(store).generation
    store.write(CATALOG_NAME, first)
    look = compare_and_swap.lost_generation
    found: list[int] = []

    def noted(*given: Any) -> int:
        found.append(look(*given))
        return found[-1]

    monkeypatch.setattr(compare_and_swap, "lost_generation", noted)
    held, etag = read_set(store)
    after = held.everything().with_scope(record(9), [issuer("x")])
    change = Change(
        before=held.everything(),
        after=after,
        action=ACTION,
        at=NOW,
        clock=lambda: NOW,
        follows_lost=follows_lost,
    )
    written = swap(store, held, etag, change)
    assert found == [last]
    assert written is not None
    assert written.root.lost == ((held.generation + 1, last),)


# ---- what is written -------------------------------------------------------------------------


def test_a_set_may_become_empty_and_grow_again() -> None:
    """The tree is gone then, and comes back."""
    store = stored(catalog())

    def clear(found: Catalog) -> Catalog:
        return dataclasses.replace(
            found, generation=found.generation + 1, scopes={}, issuers=(), denied=()
        )

    change_catalog(store, "a test", clear, ACTION)
    root = set_in(store).root
    assert (root.top, root.denied, root.num_scopes) == (None, None, 0)
    assert root.trusted == Certificates()
    assert set_in(store).everything().scopes == {}
    change_catalog(
        store, "a test", lambda found: found.with_scope(record(9), [issuer("x")]), ACTION
    )
    assert set_in(store).everything().scopes.keys() == {record().key}
    assert set_in(store).root.trusted.count == 1


def test_the_root_counts_what_there_is() -> None:
    """Also where only a part was read."""
    store = stored(catalog())
    changes: list[Callable[[Catalog], Catalog]] = [
        lambda found: found.with_scope(record(9, issuer="C"), [issuer("c")]),
        lambda found: found.without_scope(record().key, now=NOW, note=""),
        lambda found: found.with_scope(record(11), [issuer("c"), issuer("certificate 1")]),
    ]
    for change in changes:
        held, etag = read_set(store)
        part = held.part([record().base.metadata.issuer, b"", b"0\x03C"])
        written = swap(
            store,
            held,
            etag,
            Change(
                before=part,
                after=change(part),
                action=ACTION,
                at=NOW,
                clock=lambda: NOW,
            ),
        )
        assert written is not None
        found = set_in(store).everything()
        assert written.root.num_scopes == len(found.scopes)
        assert written.root.trusted == Certificates.of(one.fingerprint for one in found.issuers)
    assert record(issuer="B").key in set_in(store).everything().scopes


def test_each_object_that_is_not_used_any_more_is_in_the_record() -> None:
    """Nodes, the denials and images: nothing else lies in the store unused."""
    store = stored(catalog())
    for serial in range(3):
        deny(store, serial)
        change_catalog(store, "a CRL", _crl(20 + serial), ACTION)
    assert objects(store) - needed(store) == {
        name for name in _superseded(store) if name.startswith(NODE_PREFIX)
    }
    images = {name for name in _superseded(store) if name.startswith("images/")}
    assert images == {record(number).base.name for number in (7, 20, 21)}


def test_a_child_changes_a_set_although_its_parent_was_reading() -> None:
    """A fork while a thread holds the lock of the nodes that stay parsed leaves it free."""
    store = stored(catalog())
    held = set_in(store)
    held.everything()
    kept = held.nodes.kept
    with kept._lock:
        kept._size += 1  # a thread has just begun to count
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(30)
                deny(store)
                status = int(kept._size != sum(size for _, _, size in kept._kept.values()))
            finally:
                os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
