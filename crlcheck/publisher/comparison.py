"""
Compare the revocations of a scope before and after a publication, by its images.

Images are read only where they are small enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from crlcheck.catalog.catalog import PublishedImage, ScopeRecord
from crlcheck.compiler.compile import CompiledImage
from crlcheck.errors import CrlCheckError, IndexFileError
from crlcheck.image.diff import Difference, Listing, compare, revokes_more
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.stores import ObjectStore
from crlcheck.types import ImageMetadata

RECENT = timedelta(days=90)
"""A lifted revocation that is younger than this gets a warning."""

_MAX_DELTA_ENTRIES = 100_000
"""A larger delta CRL is not compared, because its entries are kept as Python objects."""


NO_CONTENTS: Mapping[str, bytes | Path] = MappingProxyType({})


class Images:
    """
    Opens images of a store, each once, and those of *local* from their bytes or files.

    Each method raises CrlCheckError or OSError where an image cannot be read.
    """

    def __init__(
        self,
        store: ObjectStore,
        compiled: CompiledImage,
        local: Mapping[str, bytes | Path],
        stack: ExitStack,
    ) -> None:
        self._store = store
        self._compiled = compiled
        self._local = {**local, compiled.digest: compiled.content}
        self._stack = stack
        self._opened: dict[str, RevocationIndex] = {}

    def compiled(self) -> RevocationIndex:
        """Return the index of the image that is being published."""
        return self._open(self._compiled.digest, None)

    def listing(self, record: ScopeRecord) -> Listing:
        """Return the revocations of a record's complete CRL and delta CRL together."""
        delta = None if record.delta is None else self.published(record.delta)
        return Listing(self.published(record.base), delta)

    def published(self, image: PublishedImage) -> RevocationIndex:
        """Return the index of a published image."""
        return self._open(image.digest, image)

    def _open(self, digest: str, image: PublishedImage | None) -> RevocationIndex:
        if digest not in self._opened:
            own = self._compiled
            content = own.content if digest == own.digest else self._local.get(digest)
            if content is not None:
                index = open_index(content, verify=False)
            else:
                assert image is not None, "the compiled image is here"
                index = open_index(self._store.load(image.name))
            self._opened[digest] = self._stack.enter_context(index)
        return self._opened[digest]


@contextmanager
def _images(
    store: ObjectStore, compiled: CompiledImage, local: Mapping[str, bytes | Path]
) -> Iterator[Images]:
    with ExitStack() as stack:
        yield Images(store, compiled, local, stack)


def difference(
    store: ObjectStore,
    compiled: CompiledImage,
    before: ScopeRecord,
    after: ScopeRecord,
    *,
    now: datetime,
    limit: int,
    local: Mapping[str, bytes | Path] = NO_CONTENTS,
) -> Difference | None:
    """
    Return how the revocations of *after* differ from those of *before*.

    The compiled image is the new one in *after*. *local* has images by digest, which
    need not be in the store. Return None where a complete CRL has
    more than *limit* entries, or an image cannot be read.
    """
    if not _is_small(limit, before, after):
        return None
    try:
        with _images(store, compiled, local) as images:
            return compare(
                images.listing(before),
                images.listing(after),
                recently=now - RECENT,
                previous=later_crl(before).this_update,
            )
    except (CrlCheckError, OSError):
        return None  # it is published all the same


def revokes_no_more(
    store: ObjectStore,
    compiled: CompiledImage,
    current: ScopeRecord,
    delta: PublishedImage | None,
    *,
    limit: int,
    local: Mapping[str, bytes | Path] = NO_CONTENTS,
) -> bool:
    """
    Whether the compiled CRL, with *delta* beside it, revokes nothing more than *current*.

    Where the images are too large or cannot be read, only an empty CRL without a delta
    is known to revoke nothing more.
    """
    offered = compiled.metadata
    if _is_small(limit, current) and offered.num_entries <= limit:
        try:
            with _images(store, compiled, local) as images:
                own = images.compiled()
                after = (
                    Listing(images.published(current.base), own)
                    if offered.is_delta
                    else Listing(own, None if delta is None else images.published(delta))
                )
                return not revokes_more(after, images.listing(current))
        except (CrlCheckError, OSError):
            pass
    return offered.num_entries == 0 and delta is None


def revokes_as_much(
    store: ObjectStore,
    compiled: CompiledImage,
    current: ScopeRecord,
    *,
    and_more: bool,
    limit: int,
    local: Mapping[str, bytes | Path] = NO_CONTENTS,
) -> bool:
    """
    Whether a compiled complete CRL revokes all that *current* does, final reasons for good.

    With *and_more* it must also revoke something more, or for a more final reason. Return
    False where the images are too large to be compared, or cannot be read.
    """
    if not _is_small(limit, current) or compiled.metadata.num_entries > limit:
        return False
    try:
        with _images(store, compiled, local) as images:
            published, offered = images.listing(current), Listing(images.compiled())
            if revokes_more(published, offered):
                return False
            return not and_more or revokes_more(offered, published)
    except (CrlCheckError, OSError):
        return False


def later_crl(record: ScopeRecord) -> ImageMetadata:
    """Return the later CRL of a scope, whose time counts for both (RFC 5280 6.3.3 a)."""
    return (record.delta or record.base).metadata


def _is_small(limit: int, *records: ScopeRecord) -> bool:
    return all(
        record.base.metadata.num_entries <= limit
        and (record.delta is None or record.delta.metadata.num_entries <= _MAX_DELTA_ENTRIES)
        for record in records
    )


def is_intact(store: ObjectStore, image: PublishedImage) -> bool:
    """
    Whether a published image is in the store, undamaged and the one that the catalog names.

    Raises:
        StoreError: the store does not answer.
    """
    try:
        with open_index(store.load(image.name)) as index:
            return (index.digest, index.metadata) == (image.digest, image.metadata)
    except (IndexFileError, FileNotFoundError):
        return False
