"""
Define the protocol of a store, the object that it returns, and the names of objects.

The implementations are in ``crlcheck.stores.local``, ``crlcheck.stores.s3`` and
``crlcheck.stores.https``.
"""

from __future__ import annotations

import contextlib
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from crlcheck.errors import PartsUnsupportedError, ReadOnlyStoreError
from crlcheck.settings import s3_url_of

# In bytes. A huge page has 2 MiB, and the last one is not all used.
_HUGE_PAGES_FROM = 8 << 20

# Control characters, and what UTF-8 cannot encode.
_NOT_IN_SEGMENTS = r"/\x00-\x1f\x7f\ud800-\udfff"
_SEGMENT = f"[^.{_NOT_IN_SEGMENTS}][^{_NOT_IN_SEGMENTS}]*+"
_OBJECT_NAME = re.compile(f"{_SEGMENT}(?:/{_SEGMENT})*+")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """
    An object as it was at one moment.

    ``etag`` stands for that state of the object: an opaque text, compared for
    equality only, and only with etags of the same store.
    """

    body: bytes = field(repr=False)
    etag: str


@dataclass(frozen=True, slots=True)
class StoredPart:
    """
    A part of an object as it was at one moment.

    ``etag`` stands for the state of the object, for ``read_part`` only; it is empty where
    the store does not tell states apart.
    """

    body: bytes = field(repr=False)
    etag: str


@runtime_checkable
class ObjectStore(Protocol):
    """
    A flat set of named objects that change as a whole, safe to share by threads.

    A reader sees an object as some writer left it, never a part of it. A name
    is a relative path with ``/`` between its segments; no segment is empty or
    starts with a dot. A name outside these rules is a ``ValueError``.

    Every method may raise StoreUnavailableError or StoreError, and an
    implementation over files also the system's own ``OSError``.

    A store whose own code checks the conditions of ``write`` says so by a class
    attribute ``is_known_to_swap = True``. All others are tried before the first
    publication (see ``crlcheck.stores.probe``).

    A store that can only be read says so by ``is_read_only = True``. One that may return an
    older state of an object than before, as a cache does, has ``may_be_behind = True``: a
    checker then keeps the newer catalog that it has, and counts no failure.
    """

    @property
    def url(self) -> str:
        """Where the store is, in the form that ``open_store`` takes."""

    def read(self, name: str) -> StoredObject:
        """
        Return a small object and its etag.

        Raises:
            FileNotFoundError: there is no such object.
        """

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """
        Return the object unless its etag is still *etag*, then None.

        Raises:
            FileNotFoundError: there is no such object.
        """

    def load(self, name: str) -> bytes | bytearray | mmap.mmap:
        """
        Return the contents of a large object, in memory that nobody else can change.

        A reader verifies the contents once and uses them for a long time. So they must
        not be a mapping of a file that another program may write to.

        Raises:
            FileNotFoundError: there is no such object.
        """

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """
        Store the bytes, or the file's contents, under *name* and return the etag.

        With *if_match* only where the object's etag is that one, with
        *if_absent* only where there is no such object; the check and the
        change are one step. After a StoreUnavailableError the object may have
        been written or not: read it again.

        Raises:
            PreconditionFailedError: the object is in another state. It may even
                have been written and overwritten since: read it again.
        """

    def delete(self, name: str) -> None:
        """Remove the object. That it is not there is no error."""

    def names(self, prefix: str) -> Iterator[str]:
        """Return the names that start with *prefix*, in the order of their code points."""


@runtime_checkable
class PartStore(Protocol):
    """A store that can read parts of its objects. An ObjectStore need not be one."""

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """
        Return exactly *size* bytes of an object from *start* on, all of one state.

        With *etag*, which an earlier call returned, None where the object is in another
        state by now. Whoever has a digest of the part compares it in any case.

        Raises:
            FileNotFoundError: there is no such object.
            PartsUnsupportedError: only the whole object can be had.
            StoreError: the object is shorter.
        """


def is_object_name(name: str) -> bool:
    """
    Whether a store may hold an object of this name.

    Segments that start with a dot are left to the stores themselves, for lock
    and temporary files; that also keeps out ``.`` and ``..``.
    """
    return _OBJECT_NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """
    Refuse what cannot name an object.

    Raises:
        ValueError: it breaks the rules that ObjectStore states.
    """
    if not is_object_name(name):
        raise ValueError(
            f"object name {name!r}: expected segments between '/' that are not empty, "
            "do not start with '.' and have no control characters"
        )


def check_prefix(prefix: str) -> None:
    """
    Refuse what no object's name can start with; the empty prefix fits all.

    Raises:
        ValueError: no name starts like this.
    """
    if prefix and not is_object_name(prefix.removesuffix("/")):
        raise ValueError(f"prefix {prefix!r}: no object name can start with it")


def check_write(name: str, body: bytes | Path, if_match: str | None, if_absent: bool) -> None:
    """
    Refuse a write that makes no sense, before anything is touched.

    Raises:
        TypeError: the body is neither bytes nor a Path (a str could be either).
        ValueError: the name is not one, or both conditions are given.
    """
    check_name(name)
    if not isinstance(body, bytes | Path):
        raise TypeError(f"body of {name}: expected bytes or Path, found {type(body).__name__}")
    if if_match is not None and if_absent:
        raise ValueError(f"write of {name}: if_match and if_absent exclude each other")


def check_part(name: str, start: int, size: int) -> None:
    """
    Refuse a part that no object has, before anything is asked.

    Raises:
        ValueError: the name is not one, *start* is negative, or *size* not positive.
    """
    check_name(name)
    if start < 0 or size <= 0:
        raise ValueError(f"part of {name}: expected a span of bytes, found {size} from {start} on")


def strong_etag(header: str | None) -> str:
    """Return a server's ETag if it vouches for every byte (RFC 9110 8.8.1), else ""."""
    tag = (header or "").strip()
    printable = len(tag) <= 500 and tag.isascii() and tag.isprintable()
    return tag if printable and tag.startswith('"') else ""


def whole_in_place_of_part(place: str) -> PartsUnsupportedError:
    """Return the error for a server that does not send parts."""
    message = (
        f"{place}: the whole object, or a compressed form of it, was sent in place of a part "
        "of it, so its pages cannot be read one by one"
    )
    return PartsUnsupportedError(message, store=place)


def read_only_error(url: str, operation: str, what: str) -> ReadOnlyStoreError:
    """Return the error for an *operation* that the store at *url* does not have."""
    s3_url = s3_url_of(url)
    meant = "" if s3_url is None else f"; did you mean {s3_url}?"
    message = f"{url}: {what}, because this store can only be read{meant}"
    return ReadOnlyStoreError(message, store=url, operation=operation)


def make_room(size: int) -> bytearray | mmap.mmap:
    """
    Return zeroed memory for a large object, in huge pages where the system has them.

    133 MB are filled in 23 ms rather than 91, and a serial of a batch that is looked
    up in them takes 38 ns rather than 44.
    """
    if size < _HUGE_PAGES_FROM or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(size)
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a wish, which not every system grants
        room.madvise(mmap.MADV_HUGEPAGE)
    return room
