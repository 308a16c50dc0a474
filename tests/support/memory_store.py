"""
A store in memory: the model that the real ones are held to.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from crlcheck.errors import PreconditionFailedError, StoreError
from crlcheck.stores import StoredObject, StoredPart
from crlcheck.stores.object_store import check_name, check_part, check_prefix, check_write


class MemoryStore:
    """
    An ObjectStore over a dict; an etag is never used twice.

    *before* is called with the method's and the object's name ahead of every
    operation: raise in it to make the operation fail, change the store in it to
    have another writer come first.
    """

    is_known_to_swap = True

    def __init__(self, before: Callable[[str, str], None] | None = None) -> None:
        self.before = before
        self._objects: dict[str, StoredObject] = {}
        self._num_writes = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """A text for messages."""
        return "memory:"

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        return self._find("read", name)

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        found = self._find("read_if_changed", name)
        return None if found.etag == etag else found

    def load(self, name: str) -> bytes:
        """As ObjectStore.load."""
        return self._find("load", name).body

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part."""
        check_part(name, start, size)
        found = self._find("read_part", name)
        if etag not in ("", found.etag):
            return None
        body = found.body[start : start + size]
        if len(body) != size:
            raise StoreError(f"{name}: found {len(body)} bytes, expected {size}")
        return StoredPart(body, found.etag)

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """As ObjectStore.write."""
        check_write(name, body, if_match, if_absent)
        self._announce("write", name)
        content = body if isinstance(body, bytes) else body.read_bytes()
        with self._lock:
            found = self._objects.get(name)
            etag = None if found is None else found.etag
            if (if_absent and etag is not None) or (if_match is not None and etag != if_match):
                raise PreconditionFailedError(
                    f"{name}: found etag {etag}", name=name, may_be_written=False
                )
            self._num_writes += 1
            self._objects[name] = StoredObject(content, f"write {self._num_writes}")
            return self._objects[name].etag

    def delete(self, name: str) -> None:
        """As ObjectStore.delete."""
        check_name(name)
        self._announce("delete", name)
        with self._lock:
            self._objects.pop(name, None)

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names."""
        check_prefix(prefix)
        self._announce("names", prefix)
        with self._lock:
            return iter(sorted(name for name in self._objects if name.startswith(prefix)))

    def _find(self, operation: str, name: str) -> StoredObject:
        check_name(name)
        self._announce(operation, name)
        with self._lock:
            if name in self._objects:
                return self._objects[name]
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def _announce(self, operation: str, name: str) -> None:
        if self.before is not None:
            self.before(operation, name)
