"""
Compare-and-swap on the catalog: read, decide, write, and again when another came first.

Every writer goes through ``swap``, which keeps the generation rising even where
the catalog itself was put back: what readers have seen must never be written
again, for they refuse it. Three things tell of later generations: the catalog's
own records, what this process has written, and the **mark**, a small object
beside the catalog with the last generation written. The mark is written after
the catalog. So it never names a generation that nobody wrote, and where a writer
dies in between it lags behind by one until the next change.
"""

from __future__ import annotations

import logging
import random
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from crlcheck.catalog.catalog import CATALOG_NAME, Catalog
from crlcheck.encoding.strict_json import canonical_json, members_of, parse_json, take
from crlcheck.errors import (
    CatalogRollbackError,
    CrlCheckError,
    PreconditionFailedError,
    StoreUnavailableError,
)
from crlcheck.stores import ObjectStore

MAX_SWAPS = 40
"""How often a change is tried again after another one came first."""

MARK_NAME = "generation.json"
"""The object with the last generation that was written."""

MAX_GENERATION = 1 << 53
"""No generation is as high: JSON readers keep integers exactly up to here."""

_log = logging.getLogger(__name__)


def back_off(num_lost: int) -> None:
    """Wait before the next try, with full jitter so that contenders spread out."""
    time.sleep(random.uniform(0, min(2.0, 0.02 * 2**num_lost)))


def read_catalog(store: ObjectStore) -> tuple[Catalog, str | None]:
    """
    Return the catalog and its etag, the empty one and None where there is none yet.

    Raises:
        StoreError: it cannot be read, or the store does not answer.
    """
    try:
        stored = store.read(CATALOG_NAME)
    except FileNotFoundError:
        return Catalog.empty(), None
    return Catalog.from_bytes(stored.body), stored.etag


def swap(
    store: ObjectStore, successor: Catalog, etag: str | None, mark: Mark | None = None
) -> Catalog | None:
    """
    Replace the catalog of *etag* with *successor*; return what was written, None
    where another catalog is there now.

    Where later generations than that catalog's were written already, somebody
    put an old one back: *successor* is written under a number above them all,
    and a warning says so. *mark* is what ``read_mark`` gave: where *successor* has the
    time of the swap in it, that is read before.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    mark = mark or read_mark(store)
    known = max(mark.generation, _WRITTEN.get(store), successor.latest_named())
    written = successor.with_generation(max(successor.generation, known + 1))
    try:
        store.write(CATALOG_NAME, written.to_bytes(), if_match=etag, if_absent=etag is None)
    except PreconditionFailedError:
        return None
    # Not before: another writer's mark may have been the later one.
    if written.generation != successor.generation:
        before = successor.generation - 1
        _log.warning(
            "%s: %s %s although generation %d had been written; what was published and set by "
            "hand since then is lost, and generation %d follows",
            store.url,
            CATALOG_NAME,
            f"was put back to generation {before}" if before else "is gone",
            known,
            written.generation,
        )
    _note_written(store, mark, written.generation)
    return written


def write_copy(store: ObjectStore, catalog: Catalog, body: bytes, etag: str | None) -> bool:
    """
    Replace the catalog of *etag* with that of another store, byte for byte; False
    where another one is there now.

    Raises:
        CatalogRollbackError: a later generation was written here already.
        StoreUnavailableError: the store does not answer.
    """
    mark = read_mark(store)
    if catalog.generation < mark.generation:
        raise CatalogRollbackError(
            f"generation {catalog.generation} cannot be written to {store.url}, where "
            f"generation {mark.generation} was",
            generation=catalog.generation,
            held=mark.generation,
        )
    try:
        store.write(CATALOG_NAME, body, if_match=etag, if_absent=etag is None)
    except PreconditionFailedError:
        return False
    _note_written(store, mark, catalog.generation)
    return True


def change_catalog(
    store: ObjectStore, what: str, change: Callable[[Catalog], Catalog | None]
) -> Catalog:
    """
    Replace the catalog with what *change* makes of it, None for no change; return the new one.

    *change* is called again on the catalog that came first, if one did. *what*
    names the change in messages.

    Raises:
        FileNotFoundError: there is no catalog.
        StoreUnavailableError: the store does not answer, or too many others came first.
        StoreError: the catalog cannot be read.
    """
    for num_lost in range(MAX_SWAPS):
        if num_lost:
            back_off(num_lost)
        stored = store.read(CATALOG_NAME)
        catalog = Catalog.from_bytes(stored.body)
        successor = change(catalog)
        if successor is None:
            return catalog
        written = swap(store, successor, stored.etag)
        if written is not None:
            return written
    raise StoreUnavailableError(
        f"{what} failed: other changes to {store.url} came first {MAX_SWAPS} times"
    )


# ---- the last generation written -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """The last generation that was written, 0 where nothing tells; with the object's etag."""

    generation: int
    etag: str | None


def read_mark(store: ObjectStore) -> Mark:
    """
    Return the last generation that was written to *store*, as far as the mark tells.

    Raises:
        StoreError: the store does not answer.
    """
    try:
        stored = store.read(MARK_NAME)
    except FileNotFoundError:
        return Mark(0, None)
    try:
        members = members_of(parse_json(stored.body), MARK_NAME)
        generation = take(members, "generation", int, MARK_NAME)
        if not 0 <= generation < MAX_GENERATION:
            raise ValueError(f"{MARK_NAME}: found a generation that no catalog has")
        return Mark(generation, stored.etag)
    except (ValueError, RecursionError) as error:
        # It only ever helps, so a broken one must not keep anything from being published.
        _log.warning("%s/%s cannot be read and is replaced: %s", store.url, MARK_NAME, error)
        return Mark(0, stored.etag)


def _note_written(store: ObjectStore, mark: Mark, generation: int) -> None:
    """Remember that *generation* was written; where that fails the next writer makes up for it."""
    _WRITTEN.note(store, generation)
    body = canonical_json({"generation": generation})
    try:
        for _ in range(MAX_SWAPS):
            if mark.generation >= generation:
                return
            try:
                store.write(MARK_NAME, body, if_match=mark.etag, if_absent=mark.etag is None)
                return
            except PreconditionFailedError:
                mark = read_mark(store)
    except (CrlCheckError, OSError) as error:
        _log.warning("%s/%s was not written: %s", store.url, MARK_NAME, error)


class _Written:
    """The last generation that this process wrote to each store that it still has open."""

    def __init__(self) -> None:
        self._generations: weakref.WeakKeyDictionary[ObjectStore, int]
        self._generations = weakref.WeakKeyDictionary()

    def get(self, store: ObjectStore) -> int:
        try:
            return self._generations.get(store, 0)
        except TypeError:  # a store of the caller's own, which may have no hash
            return 0

    def note(self, store: ObjectStore, generation: int) -> None:
        try:
            self._generations[store] = max(generation, self._generations.get(store, 0))
        except TypeError:
            return


_WRITTEN = _Written()
