"""
Change the catalog by compare-and-swap, and try again where another writer came first.

Every writer goes through ``swap``, which makes the generation rise even where an old
catalog was restored. A generation that readers have seen must never be written again,
because they refuse it. Later generations are known from three places: the records in
the catalog, the last generation that this process has written, and the **mark**, a small
object beside the catalog with the last generation written. The mark is written
after the catalog. So it never names a generation that nobody wrote. Where a writer dies
in between, it is one too low until the next change.
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
"""A change is tried this many times where others come first."""

MARK_NAME = "generation.json"
"""The object with the last generation that was written."""

MAX_GENERATION = 1 << 53
"""Every generation is below this, because JSON readers keep integers exactly up to here."""

_log = logging.getLogger(__name__)


def back_off(num_lost: int) -> None:
    """Wait before the next try, with full jitter so that contenders spread out."""
    time.sleep(random.uniform(0, min(2.0, 0.02 * 2**num_lost)))


def read_catalog(store: ObjectStore) -> tuple[Catalog, str | None]:
    """
    Return the catalog and its etag; an empty catalog and None where there is none yet.

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
    Replace the catalog of *etag* with *successor*; return the catalog that was written.

    Return None where another catalog is there now. Where later generations were written
    already, somebody put an old catalog back. Then *successor* is written with a
    generation above them all, and a warning is logged. *mark* is the result of
    ``read_mark``. A caller that has the time of the swap in *successor* reads it before.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    mark = mark or read_mark(store)
    known = max(mark.generation, _WRITTEN.get(store), successor.latest_named())
    written = successor.with_generation(max(successor.generation, known + 1))
    try:
        store.write(CATALOG_NAME, written.to_bytes(), if_match=etag, if_absent=etag is None)
    except PreconditionFailedError:
        _log.info("%s: another writer was first: the catalog is read again", store.url)
        return None
    _log.info("%s: the catalog of generation %d is written", store.url, written.generation)
    # Warn only after the write. Where it fails, another writer wrote the later generation.
    if written.generation != successor.generation:
        before = successor.generation - 1
        _log.warning(
            "%s: %s %s although generation %d had been written; what was published and set by "
            "hand since then is lost, and generation %d follows",
            store.url,
            CATALOG_NAME,
            f"was restored to generation {before}" if before else "is gone",
            known,
            written.generation,
        )
    _note_written(store, mark, written.generation)
    return written


def write_copy(store: ObjectStore, catalog: Catalog, body: bytes, etag: str | None) -> bool:
    """
    Replace the catalog of *etag* with that of another store, byte for byte.

    Return False where another catalog is there now.

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
    Replace the catalog with the result of *change*; return the new catalog.

    *change* returns None for no change. Where another writer came first, it is called
    again on that writer's catalog. *what* names the change in messages.

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
    """The last generation that was written, 0 if unknown, and the etag of the mark object."""

    generation: int
    etag: str | None


def read_mark(store: ObjectStore) -> Mark:
    """
    Return the last generation that was written to *store*, going by the mark.

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
        # The mark only helps, so a broken one must not stop a publication.
        _log.warning("%s/%s cannot be read and is replaced: %s", store.url, MARK_NAME, error)
        return Mark(0, stored.etag)


def _note_written(store: ObjectStore, mark: Mark, generation: int) -> None:
    """Write the mark for *generation*; where that fails, the next writer mends it."""
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
