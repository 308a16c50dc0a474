"""
Read the pages of a store's images that look-ups need, and keep those that were used last.

1. The end of an image has its header and the digests of the blocks of the page table. Both
   must come to the digest that the catalog states, and the header must say what its entry
   says, before anything is looked up.
2. A page is compared with its digest, and the block of digests that has that one with its
   own. One that differs is asked for once more; then the image is refused as a whole.
3. A page that many threads need is read by one of them. One that could not be read is not
   tried again at once.

Nothing else is ever taken for a page: a look-up has an answer by pages that were compared,
or it raises an error.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from crlcheck._binding import DIGEST_SIZE, DIGESTS_PER_BLOCK, PAGE_SIZE
from crlcheck.catalog.catalog import PublishedImage
from crlcheck.checker.attempts import Attempts
from crlcheck.checker.image_cache import NotInMemoryError
from crlcheck.errors import (
    CorruptIndexError,
    CrlCheckError,
    IndexFileError,
    PartsUnsupportedError,
    StoreUnavailableError,
    UnsupportedIndexVersionError,
)
from crlcheck.image.digests import BLOCK_SIZE, Trailer, image_digest, num_blocks
from crlcheck.image.paged import PagedIndex
from crlcheck.stores import PartStore

KEPT_PAGES = 8 << 20
"""Bytes of pages that a checker keeps."""

WHOLE_UP_TO = 2 << 20
"""A smaller image, in bytes, is read at once: that takes less time than four requests."""

# The end of an image is read with so many bytes for its header, and with the page table
# where that takes no longer.
_HEADER_ROOM = 16 << 10
_WHOLE_TABLE = 96 << 10

# An indirect CRL names each certificate issuer in the header. A larger one is read as a whole.
_LARGEST_HEADER = 4 << 20


class PageCache:
    """
    Pages of images, by any key. The last ones used are kept, within *capacity* bytes.

    Threads may share it: one of them reads a page, the others wait for it.
    """

    def __init__(self, capacity: int = KEPT_PAGES) -> None:
        self._capacity = capacity
        self._size = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._reads: dict[Hashable, _Read] = {}
        self._attempts = Attempts()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many bytes the pages take."""
        return self._size

    def kept(self, key: Hashable) -> bytes | None:
        """Return a page if it is kept; this counts as a use of it."""
        with self._lock:
            return self._used(key)

    def get(self, key: Hashable, read: Callable[[], bytes], source: Hashable = None) -> bytes:
        """
        Return a page, which *read* gets from *source* if it is not kept.

        Raises: what *read* raises, in this thread or in the one that it waits for.
            StoreUnavailableError: it could not be read a moment ago.
        """
        with self._lock:
            kept = self._used(key)
            if kept is not None:
                return kept
            under_way = self._reads.get(key)
            if under_way is None:
                own = self._reads[key] = _Read()
        if under_way is not None:
            return under_way.wait()
        try:
            octets = self._read(key, source, read)
            own.octets = octets
        except Exception as error:
            own.error = error
            raise
        finally:
            with self._lock:
                self._reads.pop(key, None)
            own.ended.set()
        return octets

    def keep(self, key: Hashable, octets: bytes) -> None:
        """Keep a page, and drop the least recently used ones until they fit."""
        with self._lock:
            self._size += len(octets) - len(self._kept.get(key, b""))
            self._kept[key] = octets
            self._kept.move_to_end(key)
            while self._size > self._capacity and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)

    def after_fork(self) -> None:
        """Make new locks, and forget what the threads of the parent were reading."""
        self._lock = threading.Lock()
        self._reads = {}
        self._size = sum(map(len, self._kept.values()))
        self._attempts.after_fork()

    def _used(self, key: Hashable) -> bytes | None:
        octets = self._kept.get(key)
        if octets is not None:
            self._kept.move_to_end(key)
        return octets

    def _read(self, key: Hashable, source: Hashable, read: Callable[[], bytes]) -> bytes:
        self._attempts.require_due((source, key))
        try:
            octets = read()
        except (IndexFileError, PartsUnsupportedError):  # who uses the image does something else
            raise
        except Exception as error:
            self._attempts.note((source, key), error)
            raise
        self._attempts.forget((source, key))
        self.keep(key, octets)
        return octets


class _Read:
    """A page that one thread reads, while others may wait for it."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.octets: bytes | None = None
        self.error: Exception | None = None

    def wait(self) -> bytes:
        """Return the page once it is there; raise what came instead."""
        self.ended.wait()
        if self.octets is not None:
            return self.octets
        # An error of one's own: a traceback belongs to one thread.
        if isinstance(self.error, IndexFileError):
            raise CorruptIndexError(str(self.error)) from self.error
        if isinstance(self.error, FileNotFoundError):
            raise FileNotFoundError(str(self.error)) from self.error
        if isinstance(self.error, PartsUnsupportedError):
            raise PartsUnsupportedError(str(self.error), store=self.error.store) from self.error
        raise StoreUnavailableError(str(self.error or "reading was interrupted")) from self.error


class StoredIndex(PagedIndex):
    """An image of a store by pages, as ``open_by_pages`` returns it."""

    def __init__(self, header: bytes, pages: StoredPages) -> None:
        super().__init__(header, pages.image_size, pages.page)
        self.pages = pages

    def in_memory(self) -> PagedIndex:
        """Return the image by the pages that are kept; others are a NotInMemoryError."""
        return self.by(self.pages.page_if_kept)


class StoredPages:
    """
    The pages of one image in a store.

    *refuse* is told of the error when the image turns out to be another one than the
    catalog names; after that no page of it is given out.
    """

    def __init__(
        self,
        store: PartStore,
        published: PublishedImage,
        where: str,
        cache: PageCache,
        refuse: Callable[[IndexFileError], None],
    ) -> None:
        self.image_size = published.size
        self._store = store
        self._published = published
        self._where = where
        self._cache = cache
        self._refuse = refuse
        # Called whenever a page was needed, and read or not.
        self.after_page: Callable[[], None] | None = None
        self._etag = ""
        self._broken: IndexFileError | None = None
        self._body_start = 0
        self._body_end = 0
        self._num_pages = 0
        self._block_table = b""

    def open(self) -> StoredIndex | None:
        """
        Open the image by its trailer (1); None where it has none, or too large a header.

        Raises:
            IndexFileError: it is corrupt or is not the one that the catalog names.
            StoreError: the store does not answer, or does not send parts.
            FileNotFoundError: the store no longer has it.
        """
        # What says that there is no trailer may be damage, so it is asked for once more too.
        size = self._first_size()
        end = self._read_end(size) or self._read_end(size)
        if end is None:
            return None
        try:
            return self._opened(end)
        except UnsupportedIndexVersionError:
            raise
        except CorruptIndexError:
            # Once more, as a page is.
            again = self._read_end(len(end))
            return None if again is None else self._opened(again)

    def page(self, number: int) -> bytes:
        """
        Return a page of the body.

        Raises: as ``open``.
        """
        if self._broken is not None:
            raise CorruptIndexError(str(self._broken))
        try:
            return self._get("page", number, self._read_page)
        finally:
            if self.after_page is not None:
                self.after_page()

    def page_if_kept(self, number: int) -> bytes:
        """
        Return a page of the body that is in memory.

        Raises:
            NotInMemoryError: it is not.
        """
        kept = self._cache.kept(self._key("page", number))
        if kept is None:
            raise NotInMemoryError(f"{self._where}: page {number} is not in memory")
        return kept

    # ---- the end of the image (1) -----------------------------------------------------

    def _first_size(self) -> int:
        """Return how many bytes of the end are read first."""
        num_pages = -(-self.image_size // PAGE_SIZE)
        table = num_pages * DIGEST_SIZE
        room = _HEADER_ROOM + num_blocks(num_pages) * DIGEST_SIZE
        return min(room + (table if table <= _WHOLE_TABLE else 0), self.image_size)

    def _read_end(self, size: int) -> bytes | None:
        """Return the end of the image, *size* bytes or more, if it may have a trailer."""
        num_pages = -(-self.image_size // PAGE_SIZE)
        for _ in range(2):
            end = self._part(self.image_size - size, size)
            trailer = Trailer(end)
            needed = trailer.size(num_pages)
            if trailer.header_size > _LARGEST_HEADER or needed > self.image_size:
                return None
            if needed <= size:
                break
            size = needed
        return end if trailer.header.startswith(_MAGIC) else None

    def _opened(self, end: bytes) -> StoredIndex:
        trailer = Trailer(end)
        index = StoredIndex(trailer.header, self)
        layout = index.layout
        block_table = trailer.block_table(layout.num_pages)
        digest = image_digest(trailer.header, block_table).hex()
        published = self._published
        if not layout.has_trailer or digest != published.digest:
            raise CorruptIndexError(
                f"{self._where} has digest {digest}, the catalog says {published.digest}"
            )
        if index.metadata != published.metadata:
            raise CorruptIndexError(f"{self._where} has another header than its catalog entry")
        self._body_start, self._body_end = layout.header_size, layout.page_table_offset
        self._num_pages, self._block_table = layout.num_pages, block_table
        for number, block in trailer.blocks(layout.num_pages).items():
            # What differs is read again when it is needed.
            if hashlib.sha256(block).digest() == self._digest(block_table, number):
                self._cache.keep(self._key("block", number), block)
        return index

    # ---- pages (2) --------------------------------------------------------------------

    def _read_page(self, number: int) -> bytes:
        block = number // DIGESTS_PER_BLOCK
        digests = self._get("block", block, self._read_block)
        start = self._body_start + number * PAGE_SIZE
        size = min(PAGE_SIZE, self._body_end - start)
        digest = self._digest(digests, number % DIGESTS_PER_BLOCK)
        return self._compared(start, size, digest, f"page {number}")

    def _read_block(self, number: int) -> bytes:
        start = number * BLOCK_SIZE
        size = min(BLOCK_SIZE, self._num_pages * DIGEST_SIZE - start)
        digest = self._digest(self._block_table, number)
        return self._compared(self._body_end + start, size, digest, f"block {number} of digests")

    def _compared(self, start: int, size: int, digest: bytes, what: str) -> bytes:
        """Return bytes of the image that have that digest."""
        for _ in range(2):
            octets = self._part(start, size)
            if hashlib.sha256(octets).digest() == digest:
                return octets
        broken = self._broken = CorruptIndexError(
            f"{self._where}: {what} does not match its digest"
        )
        self._refuse(broken)
        raise broken

    def _part(self, start: int, size: int) -> bytes:
        """Return bytes of the image, of the state that was read first if it is still there."""
        name = self._published.name
        try:
            part = self._store.read_part(name, start, size, etag=self._etag)
            if part is None:
                # It was replaced. Whether by the same bytes, the digests tell.
                part = self._store.read_part(name, start, size)
        except (CrlCheckError, OSError):
            raise
        except Exception as error:
            # Too little memory, no thread to read it with, or a fault of the store.
            words = f"{self._where}: not read: {type(error).__name__}: {error}"
            raise StoreUnavailableError(words) from error
        if part is None or len(part.body) != size:
            found = "nothing" if part is None else f"{len(part.body)} bytes"
            raise StoreUnavailableError(f"{self._where}: found {found}, expected {size} bytes")
        self._etag = part.etag
        return part.body

    def _get(self, kind: str, number: int, read: Callable[[int], bytes]) -> bytes:
        # Under another name the same image may be there, where this one is not.
        source = self._published.name
        return self._cache.get(self._key(kind, number), lambda: read(number), source)

    def _key(self, kind: str, number: int) -> Hashable:
        # By contents, so that the same image under another name has the same pages.
        return self._published.digest, kind, number

    @staticmethod
    def _digest(table: bytes, number: int) -> bytes:
        return table[number * DIGEST_SIZE :][:DIGEST_SIZE]


_MAGIC = b"\x89CRLX\r\n\x1a"
