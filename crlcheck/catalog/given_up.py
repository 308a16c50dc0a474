"""
Find the objects that the published set has given up, for those who delete them.

Each record of the history names the objects that its generation stopped using, and those
that clean-up found abandoned. They are deleted after a grace period, in the order of the
generations. The root says how far that has come.

A record counts if it led to the present root. To follow the chain back each time would take a
read for each generation of the grace period. It is enough that a later record names it,
unless both were lost when somebody put an old root back: what they gave up, the old root may
use. The writer that follows on the old root sees the records of the lost generations, and
notes them in its own root.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from crlcheck.catalog.history import (
    Action,
    HistoryRecord,
    chain,
    generation_of,
    listed,
    read_listed,
    record_prefix,
)
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.root import Cleaned, Root
from crlcheck.catalog.signing_store import unsigned_store
from crlcheck.errors import CatalogDamagedError, StoreError
from crlcheck.stores import ObjectStore

# Where more generations in a row have no record, all names of records are listed.
_MAX_MISSING = 4

KEEP = "keep"
"""The setting of a store that has the seconds for which objects are kept."""

MAX_KEEP = timedelta(days=36500)
"""Nothing is kept for longer on purpose."""


def keep_of(root: Root) -> timedelta:
    """
    Return how long an operator keeps objects that are not used any more, beside the grace.

    Raises:
        StoreError: the setting cannot be read.
    """
    seconds = root.settings.get(KEEP, 0)
    if not isinstance(seconds, int) or not 0 <= seconds <= MAX_KEEP.total_seconds():
        raise StoreError(f"settings.{KEEP}: expected a number of seconds, found {seconds!r:.80}")
    return timedelta(seconds=seconds)


def given_up_since(
    store: ObjectStore, held: PublishedSet, generation: int, limit: int = sys.maxsize
) -> set[str] | None:
    """
    Return the objects that the generations after *generation* up to *held* gave up.

    A writer that lost a swap uses an image again that it has written only if it is not
    among them, because clean-up deletes them. None stands for all objects, where there
    were more than *limit* generations since, or records are gone.

    Raises:
        StoreError: the store does not answer.
    """
    found: set[str] = set()
    reached = held.generation
    try:
        for number, (_, record) in enumerate(chain(store, held.root, after=generation)):
            if number >= limit:
                return None
            found |= {*record.given_up}
            reached = 0 if record.previous is None else generation_of(record.previous)
    except CatalogDamagedError:
        return None
    return found if reached <= generation else None


def due_objects(
    store: ObjectStore, held: PublishedSet, is_due: Callable[[datetime], bool], limit: int
) -> tuple[list[str], Cleaned]:
    """
    Return the objects that may be deleted now, oldest first, and how far that reaches.

    *is_due* tells whether what was given up at a time may be deleted. At most *limit*
    objects are returned. The caller deletes them, and then swaps a root that notes it.

    Raises:
        StoreError: the store does not answer.
    """
    cleaned = held.root.cleaned
    due: list[str] = []
    while len(due) < limit:
        if cleaned.next_at is not None and not is_due(cleaned.next_at):
            break
        record = _record_after(store, held, cleaned.generation)
        if record is None:
            break
        if record.generation > cleaned.generation + 1:
            # Generations were skipped: note it, so that the next search is short.
            cleaned = Cleaned(record.generation - 1, 0, record.at)
        if not is_due(record.at):
            cleaned = replace(cleaned, next_at=record.at)
            break
        names = record.given_up[cleaned.position :][: limit - len(due)]
        due += names
        position = cleaned.position + len(names)
        done = position >= len(record.given_up)
        cleaned = (
            Cleaned(record.generation, 0)
            if done
            else Cleaned(cleaned.generation, position, record.at)
        )
    return due, cleaned


def _read(store: ObjectStore, name: str) -> HistoryRecord | None:
    """
    Return a record that was found by listing, without its details; None for an unreadable one.

    A generation that changed thousands of CRLs has a record of megabytes, and a publication
    deletes only a few of the objects in it. So the last records stay in memory. Which of
    them led to the present root is decided anew each time, because an old root may be put back.
    """
    try:
        kept = _KEPT.setdefault(unsigned_store(store), {})
    except TypeError:  # a store of the caller's own, which may have no hash
        kept = {}
    record = kept.get(name)
    if record is None:
        record = read_listed(store, name)
        if record is not None:
            record = kept[name] = replace(record, action=Action(action=record.action.action))
            for other in list(kept)[:-_MAX_KEPT]:
                kept.pop(other, None)  # another thread may have been here
    return record


_MAX_KEPT = 4
_KEPT: weakref.WeakKeyDictionary[ObjectStore, dict[str, HistoryRecord]]
_KEPT = weakref.WeakKeyDictionary()


def _record_after(store: ObjectStore, held: PublishedSet, generation: int) -> HistoryRecord | None:
    """Return the record of the first generation after *generation* that was published."""
    current = held.root.history
    if current is None or generation_of(current) <= generation:
        return None
    # Records that follow on a generation up to that one: all but one lost their swap.
    candidates: dict[str, HistoryRecord] = {}
    for name in _names_after(store, held, generation):
        record = _read(store, name)
        if record is None:
            continue
        previous = record.previous
        if previous is not None and previous.name in candidates:
            # Whoever wrote it has read the root that names that record.
            return candidates[previous.name]
        if previous is None or generation_of(previous) <= generation:
            candidates[name] = record
        if name == current.name:
            break
    return candidates.get(current.name)


def _names_after(store: ObjectStore, held: PublishedSet, generation: int) -> Iterator[str]:
    """Yield the names of the records after *generation*, the earliest first."""
    number, num_missing = generation + 1, 0
    while number <= held.generation and num_missing < _MAX_MISSING:
        past = [last for first, last in held.root.lost if first <= number <= last]
        if past:
            number, num_missing = max(past) + 1, 0
            continue
        names = sorted(store.names(record_prefix(number)))
        yield from names
        num_missing = 0 if names else num_missing + 1
        number += 1
    if number <= held.generation:
        # Many numbers were skipped: all records are listed, rather than asked for one by one.
        rest = sorted((found, name) for found, name in listed(store) if found >= number)
        yield from (
            name
            for found, name in rest
            if found <= held.generation and not held.root.is_lost(found)
        )
