"""
Give out the images of one store, each as one object however many parts of a set have it.

So each is loaded once, and a loaded image is used on by the next generation.
"""

from __future__ import annotations

import threading
import weakref

from crlcheck.catalog.catalog import PublishedImage
from crlcheck.checker.image_cache import IMAGE_OVERHEAD, CachedImage, ImageCache
from crlcheck.errors import CorruptIndexError, IndexFileError
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.stores import ObjectStore
from crlcheck.types import ImageMetadata


class Images:
    """
    The images of a store that are in use somewhere. Threads may share it.

    *cache* limits how much stays loaded.
    """

    def __init__(self, store: ObjectStore, cache: ImageCache | None = None) -> None:
        self._store = store
        self._cache = cache
        self._by_name: weakref.WeakValueDictionary[str, CachedImage] = weakref.WeakValueDictionary()
        self._by_digest: weakref.WeakValueDictionary[str, CachedImage] = (
            weakref.WeakValueDictionary()
        )
        self._lock = threading.Lock()

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

    def _made(self, published: PublishedImage, where: str) -> CachedImage:
        store = self._store

        def open_image() -> RevocationIndex:
            index = open_index(store.load(published.name), verify=True)
            if index.digest != published.digest:
                raise CorruptIndexError(
                    f"{where} has digest {index.digest}, the catalog says {published.digest}"
                )
            if index.metadata != published.metadata:
                raise CorruptIndexError(f"{where} has another header than its catalog entry")
            return index

        size = published.size + IMAGE_OVERHEAD
        return CachedImage(
            published.metadata, open_image, size, self._cache, digest=published.digest
        )

    def open_scopes(self) -> set[str]:
        """Return the scopes of which an image is loaded."""
        return {image.scope for image in self._all() if image.is_open}

    def _all(self) -> list[CachedImage]:
        with self._lock:
            return list({id(one): one for one in self._by_name.values()}.values())

    def after_fork(self) -> None:
        """Make new locks: the threads that may hold the old ones are the parent's."""
        self._lock = threading.Lock()
        for image in self._all():
            image.after_fork()


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
