"""
Open a store as it was: at an earlier generation, or at a time.

The chain of history records has the root of every generation that was published. What such
a root refers to is there until clean-up deletes it. So an earlier generation can be read by
whatever reads a store.

For example, generation 41 was published on Tuesday at 9:00 and generation 42 at 12:00. The
store as it was on Tuesday at 10:00 has the root of generation 41 in the place of its own.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from crlcheck.catalog.history import (
    HistoryRecord,
    chain,
    full_root,
    generation_of,
    listed,
    read_listed,
    record_prefix,
)
from crlcheck.catalog.published_set import NO_TIME, PublishedSet, nothing_published, read_set
from crlcheck.catalog.records import IMAGE_PREFIX
from crlcheck.catalog.root import CATALOG_NAME, Root
from crlcheck.catalog.tree import NODE_PREFIX, Reference, read_object
from crlcheck.errors import CatalogDamagedError, CrlCheckError, EarlierSetError
from crlcheck.signing.root_key import RootKey
from crlcheck.signing.statement import verify_root
from crlcheck.stores import ObjectStore, StoredObject, open_store
from crlcheck.stores.object_store import read_only_error
from crlcheck.times import given_time, time_text

_STATUS_PREFIX = "status/"


def store_at(
    store: str | os.PathLike[str] | ObjectStore,
    when: int | datetime | timedelta,
    *,
    now: datetime | None = None,
) -> EarlierStore:
    """
    Return a store as it was, to read from: for a ``RevocationChecker`` or any other reader.

    Args:
        store: as for ``publish_crl``.
        when: a generation, a time, or how long ago.
        now: the time, UTC; by default the clock's.

    A checker over it should have ``clock=lambda: then.at``, where *then* is what this
    returns. It says what was known at that time. A service may have used an earlier
    generation until its next poll.

    Raises:
        EarlierSetError: there is no such generation, or it was deleted.
        FileNotFoundError: the store has nothing published.
        ValueError: a time that lies in the future or has no time zone, or a number that no
            generation has.
        StoreError: the store does not answer, or its history is damaged.
    """
    target = open_store(store)
    held, etag = read_set(target)
    if etag is None:
        raise nothing_published(target)
    if held.format1 is not None:
        raise no_history(target, held)
    moment = given_time(now)
    if isinstance(when, timedelta):
        when = (moment - when).replace(microsecond=0)
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ValueError(f"expected an aware datetime, found {when!r}")
        if when > moment:
            raise ValueError(f"{time_text(when)} lies in the future")
        found = _found_by_time(target, held, when)
        return EarlierStore(target, found, when, held)
    number: object = when
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"expected a generation, a time or how long ago, found {number!r:.80}")
    if when <= 0:
        raise ValueError(f"generation {when}: the first generation is 1")
    found = _found_by_generation(target, held, when)
    return EarlierStore(target, found, found.root.at, held)


def pinned(store: ObjectStore, held: PublishedSet) -> EarlierStore:
    """
    Return a store as it is at generation *held*, whatever is published later. It may be
    pickled if the store may.

    Raises:
        EarlierSetError: an earlier version wrote the set.
    """
    if held.format1 is not None:
        raise no_history(store, held)
    return EarlierStore(store, _Found(held.root, None), held.root.at, held, is_current=False)


def no_history(store: ObjectStore, held: PublishedSet) -> EarlierSetError:
    """Return the error for a store that was written by an earlier version only."""
    return EarlierSetError(
        f"{store.url} has a catalog of format 1, which has no history: the next change begins one",
        generation=None,
        held=held.generation,
        found="deleted",
    )


class EarlierStore:
    """
    A store as it was. Nothing can be written to it.

    ``generation`` is the generation that it has, ``published_at`` the time when that was
    published, ``until`` when the next one was (None: it is the current one). ``at`` is the
    time that was asked for, by default ``published_at``. ``perhaps`` are other generations
    that may have been served at that time: they are lost, because somebody put an older
    root back.
    """

    is_known_to_swap = True
    is_read_only = True

    def __init__(
        self,
        store: ObjectStore,
        found: _Found,
        at: datetime,
        held: PublishedSet,
        *,
        is_current: bool | None = None,
    ) -> None:
        self._store = store
        self._is_current = (
            found.root.generation == held.generation if is_current is None else is_current
        )
        self._body = found.root.to_bytes()
        self.generation = found.root.generation
        self.published_at = found.root.at
        self.until = found.until
        self.at = at
        self.perhaps = found.perhaps
        self._held = held.generation
        self._present = held.members

    def verify_present(self, keys: Sequence[RootKey], *, now: datetime) -> None:
        """
        Refuse a store whose present root is signed by none of *keys*.

        That root names the record of each generation before it by digest, and what an
        earlier root refers to is verified as well. So its signature covers them all.

        Raises:
            RootSignatureError: it is signed by none.
        """
        verify_root(self._present or {}, keys, now=now)

    @property
    def url(self) -> str:
        """The store and the generation, as the command takes them."""
        return f"{self._store.url}@{self.generation}"

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read; the root is that of the generation."""
        if name == CATALOG_NAME:
            return StoredObject(self._body, f"generation {self.generation}")
        with self._explained(name):
            return self._store.read(name)

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed; the root never changes."""
        found = self.read(name)
        return None if found.etag == etag else found

    def load(self, name: str) -> bytes | bytearray | mmap.mmap:
        """As ObjectStore.load."""
        with self._explained(name):
            return self._store.load(name)

    def write(
        self,
        name: str,  # noqa: ARG002 - as ObjectStore has it
        body: bytes | Path,  # noqa: ARG002
        *,
        if_match: str | None = None,  # noqa: ARG002
        if_absent: bool = False,  # noqa: ARG002
    ) -> str:
        """Refuse it: raise ReadOnlyStoreError."""
        raise read_only_error(self.url, "write", "nothing can be changed in the past")

    def delete(self, name: str) -> None:  # noqa: ARG002 - as ObjectStore has it
        """Refuse it: raise ReadOnlyStoreError."""
        raise read_only_error(self.url, "delete", "nothing can be deleted in the past")

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names, but for the status objects, which are not of that time."""
        if prefix.startswith(_STATUS_PREFIX):
            return iter(())
        return self._store.names(prefix)

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Say of an object that only an earlier generation needs that it was deleted."""
        try:
            yield
        except FileNotFoundError as error:
            if self._is_current or not name.startswith((IMAGE_PREFIX, NODE_PREFIX)):
                raise
            raise EarlierSetError(
                f"{self._store.url}: generation {self.generation} cannot be shown: {name} is "
                "not there; no later generation uses it, so that clean-up may have deleted it; "
                f"the store is at generation {self._held}",
                generation=self.generation,
                held=self._held,
                found="deleted",
            ) from error


# ---- finding -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """The root of a generation, when the next one followed, and others that may be meant."""

    root: Root
    until: datetime | None
    perhaps: tuple[int, ...] = ()


def _found_by_generation(store: ObjectStore, held: PublishedSet, generation: int) -> _Found:
    if generation == held.generation:
        return _Found(held.root, None)
    later: HistoryRecord | None = None
    if generation < held.generation:
        for reference, record in chain(store, held.root, after=generation - 1):
            if record.generation == generation:
                until = None if later is None else later.at
                return _Found(full_root(record, reference), until)
            later = record
    raise _no_generation(store, held, generation, later)


def _no_generation(
    store: ObjectStore, held: PublishedSet, generation: int, later: HistoryRecord | None
) -> EarlierSetError:
    """Return the error that says why a generation is not on the chain."""
    present = f"the store is at generation {held.generation}"
    previous = held.root.history if later is None else later.previous
    is_proposed = next(iter(_names(store, generation)), None) is not None
    if held.root.is_lost(generation):
        found, why = "lost", "it was published, and lost when somebody put an older root back"
    elif is_proposed:
        found = "lost"
        why = (
            "it was proposed and is not part of what was published: another change came first, "
            "its writer failed, or somebody put an older root back"
        )
    elif generation > held.generation:
        found, why = "later", "it is yet to come"
    elif previous is not None and generation_of(previous) >= generation:
        found, why = "deleted", _ends_at(later, "its record")
    elif previous is not None:
        found, why = "skipped", "no generation had that number"
    else:
        found, why = "deleted", _ends_at(later, "it")
    return EarlierSetError(
        f"{store.url}: generation {generation} cannot be shown: {why}; {present}",
        generation=generation,
        held=held.generation,
        found=found,
    )


def _found_by_time(store: ObjectStore, held: PublishedSet, when: datetime) -> _Found:
    later: HistoryRecord | None = None
    for reference, record in chain(store, held.root):
        if record.at <= when:
            root = full_root(record, reference)
            upper = None if later is None else later.generation
            until = None if later is None else later.at
            perhaps = _lost_between(store, root.generation, upper, when)
            return _Found(root if later is not None else held.root, until, perhaps)
        later = record
    raise _no_time(store, held, when, later)


def _no_time(
    store: ObjectStore, held: PublishedSet, when: datetime, later: HistoryRecord | None
) -> EarlierSetError:
    is_first = later is not None and later.previous is None
    found = "before" if is_first else "deleted"
    why = (
        f"nothing was published yet, the first generation is of {time_text(later.at)}"
        if is_first and later is not None
        else _ends_at(later, "what was published then")
    )
    return EarlierSetError(
        f"{store.url} cannot be shown as it was at {time_text(when)}: {why}; the store is at "
        f"generation {held.generation}",
        generation=None,
        held=held.generation,
        found=found,
    )


def _ends_at(last: HistoryRecord | None, what: str) -> str:
    if last is None:
        return f"{what} is not there any more, and there is no history"
    return (
        f"{what} is not there any more: the history goes back to generation {last.generation}, "
        f"of {time_text(last.at)}"
    )


def _names(store: ObjectStore, generation: int) -> Iterator[str]:
    """Yield the records of a generation; none where the store cannot list them."""
    with contextlib.suppress(CrlCheckError, OSError):
        yield from store.names(record_prefix(generation))


def _lost_between(
    store: ObjectStore, lower: int, upper: int | None, when: datetime
) -> tuple[int, ...]:
    """
    Return the generations between two of the chain that may have been served at a time.

    Their records are there and lie on no chain.
    """
    found: list[int] = []
    with contextlib.suppress(CrlCheckError, OSError):  # not every store can list its objects
        for generation, name in listed(store):
            if generation <= lower:
                break
            if upper is None or generation < upper:
                record = read_listed(store, name)
                if record is not None and NO_TIME < record.at <= when:
                    found.append(generation)
    return tuple(sorted(found))


# ---- what is left of a store ---------------------------------------------------------------


def is_there(store: ObjectStore, root: Root) -> bool:
    """Whether the top node and the denials of a root can be read; if so, the rest should be."""
    try:
        for reference in (root.top, root.denied):
            if reference is not None:
                read_object(store, reference)
    except CatalogDamagedError:
        return False
    return True


def latest_readable(store: ObjectStore, *, above: int) -> Root | None:
    """
    Return the root of the latest record after a generation whose set seems to be there.

    Where none of them is there, it is that of the latest record; None where there is none. A
    writer that was killed may have left it, and nobody can tell that from a root that was
    deleted.
    """
    latest = None
    for number, name in listed(store):
        if number <= above:
            break
        record = read_listed(store, name)
        if record is None:
            continue
        root = full_root(record, Reference.of(name, record.to_bytes()))
        if is_there(store, root):
            return root
        latest = latest or root
    return latest
