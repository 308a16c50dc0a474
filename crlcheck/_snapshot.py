"""
What a checker holds at one moment: one generation of the published set, or the
indexes it was given. A snapshot never changes, so threads look things up in it
while the next one is being prepared.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from crlcheck._metadata import ImageMetadata
from crlcheck.catalog import CATALOG_NAME, Catalog, PublishedImage
from crlcheck.certificate import load_certificate
from crlcheck.errors import (
    CorruptIndexError,
    CrlCheckError,
    IndexFileError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.index import RevocationIndex, open_index
from crlcheck.scope import ScopeTable
from crlcheck.stores import ObjectStore
from crlcheck.types import CertificateFacts

RETRY_REFUSED_SECONDS = 5.0
"""How long something the store holds is not read again after it was refused as unusable."""


def retry_due(refused_at: float) -> bool:
    """Whether what was refused at *refused_at*, by the monotonic clock, may be read again."""
    return time.monotonic() - refused_at >= RETRY_REFUSED_SECONDS


class HeldImage:
    """
    One image of a snapshot, opened and verified when it is first needed.

    Loading again what was refused as corrupt would cost every check a whole
    download, so it is refused from memory for a while.
    """

    __slots__ = ("_lock", "_open", "_opened", "_refused_at", "error", "metadata", "scope")

    def __init__(self, metadata: ImageMetadata, open_image: Callable[[], RevocationIndex]) -> None:
        self.metadata = metadata
        self.scope = metadata.scope
        self.error: str | None = None
        self._open = open_image
        self._opened: RevocationIndex | None = None
        self._refused_at: float | None = None
        self._lock = threading.Lock()

    @classmethod
    def already_open(cls, index: RevocationIndex) -> HeldImage:
        """Hold an index that somebody else opened, and closes."""
        held = cls(index.metadata, lambda: index)
        held._opened = index
        return held

    @property
    def is_open(self) -> bool:
        """Whether the image has been loaded."""
        return self._opened is not None

    def index(self) -> RevocationIndex:
        """
        Return the image, loading it if this is the first call.

        Raises:
            IndexFileError: it is corrupt or is not the one that the catalog names.
            StoreUnavailableError: the store does not answer.
            FileNotFoundError: the store no longer has it.
        """
        opened = self._opened
        if opened is not None:
            return opened
        with self._lock:
            if self._opened is None:
                self._opened = self._load()
            return self._opened

    def _load(self) -> RevocationIndex:
        if self._refused_at is not None and not retry_due(self._refused_at):
            raise IndexFileError(f"{self.error} (not tried again yet)")
        try:
            opened = self._open()
        except (StoreError, OSError) as error:
            self.error = str(error)
            raise
        except IndexFileError as error:
            self.error, self._refused_at = str(error), time.monotonic()
            raise
        self.error, self._refused_at = None, None
        return opened


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The images held and the table that says which of them speaks for whom.

    ``catalog`` and ``etag`` are those of the store it was read from; None for
    indexes that were handed over.
    """

    images: tuple[HeldImage, ...]
    table: ScopeTable
    catalog: Catalog | None = None
    etag: str | None = None


class FixedSet:
    """A snapshot that stays: indexes handed over. The counterpart of FollowedSet."""

    confirmed_at: datetime | None = None
    error: str | None = None

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot: Snapshot | None = snapshot

    def current(self) -> Snapshot | None:
        """Return the snapshot."""
        return self.snapshot

    def refresh(self) -> bool:
        """Return False: there is nothing newer to take."""
        return False


class FollowedSet:
    """
    The published set of a store, kept up to date by conditional GETs.

    ``snapshot`` is the last good one, None before there was one;
    ``confirmed_at`` is when the store last said that it is current, ``error``
    why a later attempt failed.
    """

    def __init__(
        self,
        store: ObjectStore,
        issuers: Sequence[CertificateFacts],
        refresh_after: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self.snapshot: Snapshot | None = None
        self.confirmed_at: datetime | None = None
        self.error: str | None = None
        self._store = store
        self._issuers = issuers
        self._refresh_after = refresh_after
        self._clock = clock
        self._lock = threading.Lock()
        self._num_polls = 0
        self._polled_at: datetime | None = None
        # The etag of a catalog that could not be used, and when that was found.
        self._refused: tuple[str, float] | None = None

    def current(self) -> Snapshot | None:
        """Return the set to answer from, after asking the store where that is due."""
        if self.snapshot is not None and not self._is_due():
            return self.snapshot
        num_polls = self._num_polls
        # One thread asks; the others answer from what is held, unless nothing is.
        if self._lock.acquire(blocking=self.snapshot is None):
            try:
                # Who had to wait takes what came of the poll that was under way.
                if num_polls == self._num_polls:
                    self._poll()
            except (CrlCheckError, OSError):
                pass  # It is in ``error``, and what is held keeps answering.
            finally:
                self._lock.release()
        return self.snapshot

    def refresh(self) -> bool:
        """
        Ask the store now; return whether a newer set was taken.

        Raises:
            StoreError: the store does not answer, or its catalog is refused.
            IndexFileError: an image in use has a successor that is refused.
            FileNotFoundError: the catalog or such a successor is missing.
        """
        with self._lock:
            self._refused = None
            return self._poll()

    def _is_due(self) -> bool:
        if self._polled_at is None or not self._refresh_after:
            return True
        elapsed = self._clock() - self._polled_at
        # A clock that was set back must not keep the store from being asked.
        return not timedelta(0) <= elapsed < self._refresh_after

    def _poll(self) -> bool:
        """Ask the store and take a newer set over; the caller holds the lock."""
        self._polled_at = now = self._clock()
        held = self.snapshot
        try:
            newer = self._read_newer(held)
        except (CrlCheckError, OSError) as error:
            self.error = str(error)
            raise
        finally:
            self._num_polls += 1
        if self._refused is None:
            self.confirmed_at, self.error = now, None
        if newer is None:
            return False
        self.snapshot = newer
        return held is None or newer.catalog is not held.catalog

    def _read_newer(self, held: Snapshot | None) -> Snapshot | None:
        etag = None if held is None else held.etag
        if self._refused is not None:
            # It is not read again at every check: as long as it stays, the refusal does.
            if retry_due(self._refused[1]):
                self._refused = None
            else:
                etag = self._refused[0]
        stored = self._store.read_if_changed(CATALOG_NAME, etag)
        if stored is None:
            return None
        self._refused = None
        try:
            catalog = Catalog.from_bytes(stored.body)
            return snapshot_of_catalog(catalog, stored.etag, self._store, self._issuers, held)
        except StoreUnavailableError:
            raise
        except (CrlCheckError, OSError):
            self._refused = stored.etag, time.monotonic()
            raise


def snapshot_of_indexes(
    indexes: Sequence[RevocationIndex], issuers: Sequence[CertificateFacts]
) -> Snapshot:
    """
    Return a snapshot of open indexes, which stay the caller's to close.

    Raises:
        IndexFileError: nobody verified the CRL of one of them.
    """
    for number, index in enumerate(indexes):
        _require_verified(index.metadata, f"index {number}")
    images = tuple(HeldImage.already_open(index) for index in indexes)
    table = ScopeTable([image.metadata for image in images], issuers, trust_verifiers=True)
    return Snapshot(images, table)


def snapshot_of_catalog(
    catalog: Catalog,
    etag: str,
    store: ObjectStore,
    issuers: Sequence[CertificateFacts],
    held: Snapshot | None,
) -> Snapshot:
    """
    Return a snapshot of *catalog* to take the place of *held*.

    Images that *held* has open are carried over where they are unchanged, and
    their successors are loaded before this returns: a generation of which a
    needed image cannot be had never replaces one that works. Others are loaded
    when a certificate needs them.

    Raises:
        StoreError: the catalog goes back behind *held*, or the store does not answer.
        IndexFileError: an image is unverified, corrupt or not the one the catalog names.
        FileNotFoundError: an image is missing.
        CertificateError: an issuer certificate of the catalog cannot be read.
    """
    if held is not None and held.catalog is not None:
        catalog.check_successor(held.catalog)
        if catalog == held.catalog:
            return dataclasses.replace(held, etag=etag)
    open_images = _open_images(held)
    images = tuple(
        _carried_over(record.base, open_images) or _published(record.base, store)
        for record in catalog.scopes.values()
    )
    needed = {image.scope for image in open_images.values()}
    for image in images:
        if image.scope in needed:
            image.index()
    trusted = [load_certificate(der) for der in catalog.issuers]
    table = ScopeTable([image.metadata for image in images], [*trusted, *issuers])
    return Snapshot(images, table, catalog, etag)


def _open_images(held: Snapshot | None) -> dict[str, HeldImage]:
    """Return the images of *held* that are open, by digest."""
    if held is None or held.catalog is None:
        return {}
    records = held.catalog.scopes.values()
    return {
        record.base.digest: image
        for record, image in zip(records, held.images, strict=True)
        if image.is_open
    }


def _carried_over(published: PublishedImage, open_images: dict[str, HeldImage]) -> HeldImage | None:
    """Return the open image with the same digest, which stands for the same octets."""
    image = open_images.get(published.digest)
    return image if image is not None and image.metadata == published.metadata else None


def _published(published: PublishedImage, store: ObjectStore) -> HeldImage:
    where = f"image {published.name} in {store.url}"
    _require_verified(published.metadata, where)

    def open_image() -> RevocationIndex:
        index = open_index(store.load(published.name), verify=True)
        if index.digest != published.digest:
            raise CorruptIndexError(
                f"{where} has digest {index.digest}, the catalog says {published.digest}"
            )
        if index.metadata != published.metadata:
            raise CorruptIndexError(f"{where} has another header than its catalog entry")
        return index

    return HeldImage(published.metadata, open_image)


def _require_verified(metadata: ImageMetadata, where: str) -> None:
    if not metadata.verified:
        raise IndexFileError(f"{where} is refused: nobody verified the signature of its CRL")
