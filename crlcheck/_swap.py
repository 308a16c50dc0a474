"""Compare-and-swap on the catalog: read, decide, write, and again when another came first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from crlcheck.catalog import CATALOG_NAME, Catalog
from crlcheck.errors import PreconditionFailedError, StoreUnavailableError
from crlcheck.stores import ObjectStore

MAX_SWAPS = 40
"""How often a change is tried again after another one came first."""


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


def swap(store: ObjectStore, successor: Catalog, etag: str | None) -> bool:
    """Replace the catalog of *etag* with *successor*; False where another one is there now."""
    try:
        store.write(CATALOG_NAME, successor.to_bytes(), if_match=etag, if_absent=etag is None)
    except PreconditionFailedError:
        return False
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
        if swap(store, successor, stored.etag):
            return successor
    raise StoreUnavailableError(
        f"{what} failed: other changes to {store.url} came first {MAX_SWAPS} times"
    )
