"""
Load images when a certificate first needs them, and unload the least recently used.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from crlcheck.checker import polling
from crlcheck.errors import IndexFileError, StoreError, StoreUnavailableError
from crlcheck.image.index import RevocationIndex
from crlcheck.types import ImageMetadata

if TYPE_CHECKING:
    # Only here, because an authorizer that loads images whole starts without it.
    from crlcheck.image.paged import SerialIndex

IMAGE_OVERHEAD = 16 << 10
"""About how many bytes an open image takes beside its own: objects and locks."""


class NotInMemoryError(StoreUnavailableError):
    """A question about an image needs a page that is not in memory, and must not read it."""


class CachedImage:
    """
    One image of a snapshot, loaded and verified when it is first needed.

    ``size`` is in bytes, ``digest`` the one that the catalog states. Threads may share
    it: one of them loads, the others wait. To load a corrupt image again would cost every
    check a whole download, so for a while it is refused without that.
    """

    __slots__ = (
        "__weakref__",
        "_cache",
        "_is_callers",
        "_lock",
        "_num_failures",
        "_open",
        "_opened",
        "_refused_at",
        "_unavailable_at",
        "digest",
        "download",
        "error",
        "metadata",
        "scope",
        "size",
        "wants_whole",
    )

    def __init__(
        self,
        metadata: ImageMetadata,
        open_image: Callable[[CachedImage], SerialIndex],
        size: int = 0,
        cache: ImageCache | None = None,
        *,
        digest: str = "",
    ) -> None:
        self.metadata = metadata
        self.digest = digest
        self.scope = metadata.scope
        self.size = size
        self.error: str | None = None
        # Begins to load all of it in the background, while it is answered by pages.
        self.download: Callable[[], None] | None = None
        # All of it is loaded when it is opened next, because its pages do not come.
        self.wants_whole = False
        self._open = open_image
        self._cache = cache
        self._is_callers = False
        self._opened: SerialIndex | None = None
        self._refused_at: float | None = None
        self._unavailable_at: float | None = None
        self._num_failures = 0
        self._lock = threading.Lock()

    @classmethod
    def already_open(cls, index: RevocationIndex) -> CachedImage:
        """Return an image for an index that the caller opened, and will close."""
        cached = cls(index.metadata, lambda _: index)
        cached._opened = index
        cached._is_callers = True
        return cached

    @property
    def is_open(self) -> bool:
        """Whether the image is loaded."""
        return self._opened is not None

    def index(self) -> SerialIndex:
        """
        Return the image, loading it if it is not: all of it, or its header.

        Raises:
            IndexFileError: it is corrupt or is not the one that the catalog names.
            StoreUnavailableError: the store does not answer.
            FileNotFoundError: the store no longer has it.
        """
        opened = self._opened
        if opened is None:
            num_failures = self._num_failures
            with self._lock:
                opened = self._opened
                if opened is None:
                    # A thread that had to wait takes the failure that it waited for.
                    if num_failures != self._num_failures:
                        raise StoreUnavailableError(f"{self.error}")
                    opened = self._opened = self._load()
        # Outside the lock, because this may unload other images.
        self.note_use()
        return opened

    @property
    def is_last_used(self) -> bool:
        """Whether no other image of the cache was used since this one was."""
        cache = self._cache
        return cache is None or cache.last_used is self

    def note_use(self) -> None:
        """Count the image as the last one used, if it is loaded."""
        cache = self._cache
        if cache is not None and cache.last_used is not self:
            cache.note_use(self)

    @property
    def is_callers(self) -> bool:
        """Whether a caller opened its index, and may close it at any time."""
        return self._is_callers

    def index_if_open(self) -> SerialIndex | None:
        """Return the image if it is loaded; this does not count as a use of it."""
        return self._opened

    def index_in_memory(self) -> SerialIndex | None:
        """Return the image if it is loaded, as one that reads nothing from the store."""
        opened = self._opened
        return None if opened is None else opened.in_memory()

    def take_over(self, other: CachedImage) -> None:
        """Use what *other* has loaded of the same bytes, if it has all of them."""
        opened = other._opened
        # One by pages would read on under the other's name, which may be deleted.
        if isinstance(opened, RevocationIndex):
            self._opened, self.size = opened, other.size

    def replace(self, whole: RevocationIndex) -> None:
        """Use all of the image, where it is in use by pages."""
        with self._lock:
            if self.is_by_pages:
                self._opened = whole
                self.error = self.download = None

    def note_late(self, error: Exception) -> None:
        """Note that all of the image could not be loaded, while its pages answer."""
        if self.is_by_pages:
            self.error = str(error)

    def refuse(self, error: IndexFileError) -> None:
        """Unload the image, because a page of it is another; refuse it for a while."""
        if self.close_pages():
            self._note_failure(error)
            self._refused_at = time.monotonic()

    def close_pages(self, *, wants_whole: bool = False) -> bool:
        """
        Unload the image if it is in use by pages; return whether it was.

        With *wants_whole* the next opening does not try pages.
        """
        # Under the lock, or what another thread has opened meanwhile would be unloaded.
        with self._lock:
            was_by_pages = self.is_by_pages
            if was_by_pages:
                self._opened = self.download = None
                self.wants_whole = wants_whole
                if self._cache is not None:
                    self._cache.forget(self)
        return was_by_pages

    @property
    def is_by_pages(self) -> bool:
        """Whether the image is in use by pages."""
        opened = self._opened
        return opened is not None and not isinstance(opened, RevocationIndex)

    def after_fork(self) -> None:
        """Make a new lock: the thread that may hold the old one is the parent's."""
        self._lock = threading.Lock()

    def unload(self) -> None:
        """Unload the image; lookups that are under way in it can go on."""
        self._opened = self.download = None

    def _load(self) -> SerialIndex:
        if self.error is not None:
            self._require_retry_due()
        try:
            opened = self._open(self)
        except IndexFileError as error:
            self._note_failure(error)
            self._refused_at = time.monotonic()
            raise
        except (StoreError, OSError) as error:
            self._note_failure(error)
            if isinstance(error, StoreUnavailableError):
                self._unavailable_at = time.monotonic()
            raise
        except Exception as error:
            # Too little memory, no thread to read it with, or a fault of the store: its
            # certificates are undetermined, as if the store had not answered.
            failure = StoreUnavailableError(f"not loaded: {type(error).__name__}: {error}")
            self._note_failure(failure)
            self._unavailable_at = time.monotonic()
            raise failure from error
        self.error = self._refused_at = self._unavailable_at = None
        return opened

    def _require_retry_due(self) -> None:
        """Raise the last failure again if it is too early to try again."""
        now = time.monotonic()
        refused_at, unavailable_at = self._refused_at, self._unavailable_at
        if refused_at is not None and now - refused_at < polling.OBJECT_REFUSED.pause(1):
            raise IndexFileError(f"{self.error} (found a moment ago, and not read again since)")
        if unavailable_at is not None and now - unavailable_at < polling.OBJECT_UNAVAILABLE.pause(
            1
        ):
            raise StoreUnavailableError(
                f"{self.error} (found a moment ago, and not read again since)"
            )

    def _note_failure(self, error: Exception) -> None:
        self.error = str(error)
        self._num_failures += 1


class ImageCache:
    """
    Keeps loaded images within *capacity* bytes; the last one used stays in any case.

    The images of several snapshots may share a cache, and so may threads.
    """

    def __init__(self, capacity: int) -> None:
        if capacity <= 0:
            raise ValueError(f"capacity: expected a positive number of bytes, found {capacity}")
        self.capacity = capacity
        self._lock = threading.Lock()
        # With the size that was counted: an image may have another when it is opened again.
        self._used: OrderedDict[CachedImage, int] = OrderedDict()
        self.last_used: CachedImage | None = None
        self._size = 0

    @property
    def size(self) -> int:
        """How many bytes the loaded images take."""
        return self._size

    def note_use(self, image: CachedImage) -> None:
        """Count *image* as the last one used, and unload others until the rest fits."""
        with self._lock:
            if not image.is_open:  # another thread has unloaded it
                return
            size = image.size
            self._size += size - self._used.get(image, 0)
            self._used[image] = size
            self._used.move_to_end(image)
            self.last_used = image
            while self._size > self.capacity and len(self._used) > 1:
                self._forget(next(iter(self._used)))

    def keep_only(self, images: Iterable[CachedImage]) -> None:
        """Stop counting images that are not in use any more."""
        with self._lock:
            kept = set(images)
            for image in [cached for cached in self._used if cached not in kept]:
                self._size -= self._used.pop(image)
            if self.last_used not in kept:
                self.last_used = None

    def forget(self, image: CachedImage) -> None:
        """Stop counting an image that was unloaded."""
        with self._lock:
            self._size -= self._used.pop(image, 0)
            # Else it would not be counted when it is opened again.
            if self.last_used is image:
                self.last_used = None

    def after_fork(self) -> None:
        """Make a new lock, and count again: the parent's thread may have been interrupted."""
        self._lock = threading.Lock()
        self._size = sum(self._used.values())

    def _forget(self, image: CachedImage) -> None:
        self._size -= self._used.pop(image)
        image.unload()
