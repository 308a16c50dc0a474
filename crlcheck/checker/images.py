"""
Give out the images of one store, each as one object however many parts of a set have it.

So each is loaded once, and a loaded image is used on by the next generation. ``ImageLoading``
says how it is loaded. An image of which single pages cannot be had is loaded whole: a small
one, one without a trailer, and one in a store that does not read parts.
"""

from __future__ import annotations

import functools
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from crlcheck.catalog.catalog import PublishedImage
from crlcheck.checker import polling
from crlcheck.checker.image_cache import IMAGE_OVERHEAD, CachedImage, ImageCache
from crlcheck.errors import CorruptIndexError, IndexFileError, PartsUnsupportedError
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.stores import ObjectStore, PartStore
from crlcheck.types import ImageLoading, ImageMetadata

if TYPE_CHECKING:
    from crlcheck.checker.image_files import ImageFiles, Loaded
    from crlcheck.checker.pages import PageCache, StoredIndex
    from crlcheck.image.paged import SerialIndex


class Images:
    """
    The images of a store that are in use somewhere. Threads may share it.

    *cache* limits how much stays loaded. *files* keep what is loaded whole, if they are given.
    """

    def __init__(
        self,
        store: ObjectStore,
        cache: ImageCache | None = None,
        loading: ImageLoading = ImageLoading.WHOLE,
        files: ImageFiles | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._cache = cache
        self._loading = loading
        self._pages: PageCache | None = None
        if loading is not ImageLoading.WHOLE:
            # Only here, because an authorizer that loads images whole starts without it.
            from crlcheck.checker.pages import PageCache

            self._pages = PageCache()
        self._by_name: weakref.WeakValueDictionary[str, CachedImage] = weakref.WeakValueDictionary()
        self._by_digest: weakref.WeakValueDictionary[str, CachedImage] = (
            weakref.WeakValueDictionary()
        )
        self._lock = threading.Lock()
        self._downloads = _Downloads()

    def image_of(self, published: PublishedImage) -> CachedImage:
        """
        Return an image: a loaded one if there is one with the same bytes.

        Raises:
            IndexFileError: its CRL was not verified.
        """
        where = f"image {published.name} in {self._store.url}"
        require_verified(published.metadata, where)
        with self._lock:
            known = self._by_name.get(published.name)
            if known is not None and _is_same(known, published):
                return known
            same = self._by_digest.get(published.digest)
            made = self._made(published, where)
            if same is not None and _is_same(same, published):
                # Under another name. It is loaded by that name if it is unloaded meanwhile.
                made.take_over(same)
            self._by_name[published.name] = self._by_digest[published.digest] = made
            return made

    def whole(self, published: PublishedImage) -> RevocationIndex:
        """
        Load all of an image.

        Raises: as ``CachedImage.index``.
        """
        where = f"image {published.name} in {self._store.url}"
        require_verified(published.metadata, where)
        return self._load(published, where)

    def _made(self, published: PublishedImage, where: str) -> CachedImage:
        def open_image(image: CachedImage) -> SerialIndex:
            index = self._by_pages(published, where, image)
            if index is None:
                # Also where pages were expected and cannot be had.
                image.size = published.size + IMAGE_OVERHEAD
                return self._load(published, where)
            image.size = IMAGE_OVERHEAD + index.layout.header_size
            if self._loading is not ImageLoading.PAGES:
                image.size += published.size
            return index

        size = IMAGE_OVERHEAD
        if self._loading is not ImageLoading.PAGES:
            size += published.size
        return CachedImage(
            published.metadata, open_image, size, self._cache, digest=published.digest
        )

    def _load(self, published: PublishedImage, where: str) -> RevocationIndex:
        files = self._files
        if files is None:
            _, index = self._read(published.name)
        else:
            index = files.open(published.digest, lambda: self._read(published.name))
        if index.digest != published.digest:
            raise CorruptIndexError(
                f"{where} has digest {index.digest}, the catalog says {published.digest}"
            )
        if index.metadata != published.metadata:
            raise CorruptIndexError(f"{where} has another header than its catalog entry")
        return index

    def _read(self, name: str) -> Loaded:
        contents = self._store.load(name)
        return contents, open_index(contents, verify=True)

    def _by_pages(
        self, published: PublishedImage, where: str, image: CachedImage
    ) -> StoredIndex | None:
        """
        Open an image by pages; None where it is to be loaded whole.

        Raises: as ``CachedImage.index``.
            PartsUnsupportedError: pages cannot be had, and the whole is too large to keep.
        """
        store, loading, pages = self._store, self._loading, self._pages
        if pages is None:
            return None
        from crlcheck.checker.pages import WHOLE_UP_TO, StoredPages

        if published.size <= WHOLE_UP_TO:
            return None
        # The image has this object, and not the reverse.
        known = weakref.ref(image)

        def refuse(error: IndexFileError) -> None:
            refused = known()
            if refused is not None:
                refused.refuse(error)

        index: StoredIndex | None = None
        failure: PartsUnsupportedError | None = None
        wants_whole, image.wants_whole = image.wants_whole, False
        if isinstance(store, PartStore) and not wants_whole:
            try:
                index = StoredPages(store, published, where, pages, refuse).open()
            except PartsUnsupportedError as error:
                failure = error
        if index is None:
            self._require_room(published, where, failure)
            return None
        if loading is ImageLoading.PAGES_THEN_WHOLE:
            load = functools.partial(self._load, published, where)
            image.download = _Download(load, known, self._downloads).ensure
            index.pages.after_page = image.download
        return index

    def _require_room(
        self, published: PublishedImage, where: str, failure: PartsUnsupportedError | None
    ) -> None:
        """Refuse to load an image whole that was to be read by pages, for want of memory."""
        capacity = None if self._cache is None else self._cache.capacity
        if self._loading is not ImageLoading.PAGES or capacity is None:
            return
        if published.size > capacity:
            message = (
                f"{where} cannot be read by pages, and its {published.size} bytes are more than "
                f"image_memory, which is {capacity}"
            )
            reason = "" if failure is None else f": {failure}"
            raise PartsUnsupportedError(message + reason, store=self._store.url)

    def open_scopes(self) -> set[str]:
        """Return the scopes of which an image is loaded."""
        return {image.scope for image in self._all() if image.is_open}

    def _all(self) -> list[CachedImage]:
        with self._lock:
            return list({id(one): one for one in self._by_name.values()}.values())

    def after_fork(self) -> None:
        """Make new locks: the threads that may hold the old ones are the parent's."""
        self._lock = threading.Lock()
        self._downloads.lock = threading.Lock()
        if self._pages is not None:
            self._pages.after_fork()
        for image in self._all():
            image.after_fork()


HEAD_START = 0.2
"""Seconds that the decision which needed the first page has to itself."""


class _Downloads:
    """What all downloads have in common: whoever has ``lock`` may load an image."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class _Download:
    """
    Loads all of an image in a thread of its own, while its pages answer.

    It begins when a page was read, and a moment later: the first decision may need further
    pages or images, which would take longer beside all of this one.

    One image is loaded at a time, because ``image_memory`` has no room for those that are
    under way; the others go on by pages, and are loaded when one is needed afterwards.
    After a failure the pages go on answering, and it is tried again when one is needed a
    while later. The same holds in a process that was forked meanwhile.
    """

    def __init__(
        self,
        load: Callable[[], RevocationIndex],
        image: weakref.ref[CachedImage],
        downloads: _Downloads,
    ) -> None:
        self._load = load
        self._image = image
        self._downloads = downloads
        self._not_before = 0.0

    def ensure(self) -> None:
        """Start the thread, unless one is running or this one has failed a moment ago."""
        # The lock that was taken is given back, whatever a fork has put in its place.
        lock = self._downloads.lock
        if time.monotonic() < self._not_before or not lock.acquire(blocking=False):
            return
        try:
            self._not_before = time.monotonic() + polling.OBJECT_REFUSED.pause(1)
            threading.Thread(
                target=self._run, args=(lock,), name="crlcheck image", daemon=True
            ).start()
        except RuntimeError:  # no more threads, or the interpreter ends
            lock.release()

    def _run(self, lock: threading.Lock) -> None:
        try:
            time.sleep(HEAD_START)
            if self._is_needed():
                whole = self._load()
                self._not_before = math.inf
                image = self._image()
                if image is not None:
                    image.replace(whole)
        except Exception as error:  # noqa: BLE001 - the pages go on answering
            self._not_before = time.monotonic() + polling.OBJECT_REFUSED.pause(1)
            image = self._image()
            if image is not None:
                image.note_late(error)
        finally:
            lock.release()

    def _is_needed(self) -> bool:
        """Whether the image is still in use by pages: it may have been unloaded or loaded whole."""
        image = self._image()
        return image is not None and image.is_by_pages


def _is_same(image: CachedImage, published: PublishedImage) -> bool:
    return image.digest == published.digest and image.metadata == published.metadata


def require_verified(metadata: ImageMetadata, where: str) -> None:
    """
    Refuse the image of a CRL whose signature was not verified.

    Raises:
        IndexFileError: it was not.
    """
    if not metadata.verified:
        raise IndexFileError(f"{where} is refused: the signature of its CRL was not verified")
