"""Keep in memory what would be written to a store, for a run that must change nothing."""

from __future__ import annotations

import errno
import heapq
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from crlcheck.errors import PreconditionFailedError
from crlcheck.stores.object_store import (
    ObjectStore,
    StoredObject,
    check_name,
    check_prefix,
    check_write,
)


class RehearsalStore:
    """
    A store that reads from another one, and keeps in memory what is written and deleted.

    So a publication finds what it would find, is refused as it would be, and leaves the other
    store as it is.
    """

    # Nobody else writes to the memory, and the other store is not written to.
    is_known_to_swap = True

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        # None is what was deleted.
        self._changed: dict[str, StoredObject | None] = {}
        self._num_writes = 0
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """Where the other store is, for messages."""
        return self._store.url

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        check_name(name)
        with self._lock:
            if name not in self._changed:
                return self._store.read(name)
            found = self._changed[name]
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.url}/{name}")
        return found

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        found = self.read(name)
        return None if found.etag == etag else found

    def load(self, name: str) -> bytes | bytearray | mmap.mmap:
        """As ObjectStore.load."""
        check_name(name)
        with self._lock:
            is_changed = name in self._changed
        return self.read(name).body if is_changed else self._store.load(name)

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """As ObjectStore.write, in memory."""
        check_write(name, body, if_match, if_absent)
        content = body if isinstance(body, bytes) else body.read_bytes()
        with self._lock:
            if if_absent or if_match is not None:
                self._require_state(name, if_match)
            self._num_writes += 1
            etag = f"rehearsed {self._num_writes}"
            self._changed[name] = StoredObject(content, etag)
            return etag

    def delete(self, name: str) -> None:
        """As ObjectStore.delete, in memory."""
        check_name(name)
        with self._lock:
            self._changed[name] = None

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names."""
        check_prefix(prefix)
        with self._lock:
            changed = dict(self._changed)
        written = sorted(
            name for name, found in changed.items() if found is not None and name.startswith(prefix)
        )
        kept = (name for name in self._store.names(prefix) if name not in changed)
        return heapq.merge(kept, written)

    def _require_state(self, name: str, etag: str | None) -> None:
        try:
            found = self.read(name).etag
        except FileNotFoundError:
            found = None
        if found != etag:
            raise PreconditionFailedError(
                f"{self.url}/{name}: found etag {found}", name=name, may_be_written=False
            )
