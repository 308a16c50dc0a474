"""
Hold all that checks look things up in: a generation of a store, or open indexes.

A snapshot never changes, so threads can use it while the next one is prepared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crlcheck.catalog.catalog import Catalog, Denial, PublishedImage, delta_fits
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.checker.image_cache import IMAGE_OVERHEAD, CachedImage, ImageCache
from crlcheck.checker.scope import ScopeTable, TrustedIssuer
from crlcheck.encoding.names import name_key
from crlcheck.errors import (
    CorruptIndexError,
    IndexFileError,
)
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.stores import ObjectStore
from crlcheck.types import CertificateFacts, ImageMetadata
from crlcheck.x509.certificates import load_certificate


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The images in use, and the table of the certificates that their CRLs cover.

    ``deltas`` has the delta beside each of ``images``, None where there is none.
    ``denied`` has the certificates on the operator's deny list. ``published``, ``catalog``
    and ``etag`` are those of the store, None for open indexes. ``graces`` has, for the
    position of an image, until when the operator lets it be used past its nextUpdate.
    """

    images: tuple[CachedImage, ...]
    deltas: tuple[CachedImage | None, ...]
    table: ScopeTable
    catalog: Catalog | None = None
    etag: str | None = None
    denied: Mapping[tuple[bytes, int], Denial] = field(default_factory=dict)
    published: PublishedSet | None = None
    graces: Mapping[int, datetime] = field(default_factory=dict)

    def denial_of(self, certificate: CertificateFacts, now: datetime) -> Denial | None:
        """Return the denial of *certificate* that applies now, however its issuer is spelled."""
        if not self.denied:
            return None
        denial = self.denied.get((name_key(certificate.issuer), certificate.serial_number))
        return denial if denial is not None and denial.holds(now) else None

    def all_images(self) -> Iterator[CachedImage]:
        """Yield every image, each delta after its complete CRL."""
        for image, delta in zip(self.images, self.deltas, strict=True):
            yield image
            if delta is not None:
                yield delta


@dataclass(frozen=True, slots=True)
class Trust:
    """
    The checker's own trusted issuers, anchors and rules for scopes.

    ``issuers`` are trusted in addition to the catalog's, and include the anchors.
    Paths end at ``anchors``; None stands for the self-signed issuers.
    ``waive_points`` is Policy.no_distribution_point, and ``unpublished`` is
    Policy.unpublished_issuers.
    """

    issuers: Sequence[TrustedIssuer] = ()
    anchors: Sequence[CertificateFacts] | None = None
    waive_points: bool = False
    unpublished: Sequence[CertificateFacts] = ()

    def table(
        self,
        crls: Sequence[ImageMetadata],
        issuers: Sequence[TrustedIssuer] = (),
        *,
        removed: Sequence[ImageMetadata] = (),
        trust_verifiers: bool = False,
        any_point: Collection[int] = (),
    ) -> ScopeTable:
        """Return the table for *crls* and all issuers; *removed* are CRLs that were removed."""
        return ScopeTable(
            crls,
            [*issuers, *self.issuers],
            trust_verifiers=trust_verifiers,
            anchors=self.anchors,
            unpublished=self.unpublished,
            removed=removed,
            any_point=any_point,
            waive_points=self.waive_points,
        )


def snapshot_of_indexes(indexes: Sequence[RevocationIndex], trust: Trust) -> Snapshot:
    """
    Return a snapshot of open indexes, which the caller closes.

    Beside each complete CRL is the newest delta that fits it.

    Raises:
        IndexFileError: the CRL of one of them was not verified.
    """
    for number, index in enumerate(indexes):
        _require_verified(index.metadata, f"index {number}")
    images = tuple(CachedImage.already_open(index) for index in indexes)
    table = trust.table([image.metadata for image in images], trust_verifiers=True)
    return Snapshot(images, tuple(_best_delta(image, images) for image in images), table)


def _best_delta(base: CachedImage, images: Sequence[CachedImage]) -> CachedImage | None:
    fitting = [
        image
        for image in images
        if image.scope == base.scope and delta_fits(image.metadata, base.metadata)
    ]
    return max(fitting, key=lambda image: image.metadata.crl_number or 0, default=None)


def snapshot_of_catalog(
    published: PublishedSet,
    etag: str,
    store: ObjectStore,
    trust: Trust,
    current: Snapshot | None,
    cache: ImageCache | None = None,
) -> Snapshot:
    """
    Return a snapshot of a published set to replace *current*.

    Images that *current* has loaded are kept if they are unchanged. Their successors
    are loaded before this returns, so a generation with an image that is needed and
    cannot be loaded never replaces one that works. Other images are loaded when a
    certificate needs them. *cache* limits how much stays loaded.

    Raises:
        StoreError: the catalog is older than that of *current*, or the store does not
            answer.
        IndexFileError: an image is unverified, corrupt or not the one the catalog names.
        FileNotFoundError: an image is missing.
        CertificateError: an issuer certificate of the catalog cannot be read.
    """
    denied = denials_of([published])
    if current is not None and current.published is not None:
        published.check_successor(current.published)
        if published.is_same(current.published):
            return dataclasses.replace(current, etag=etag, denied=denied)
    catalog = published.everything()
    open_images = _open_images(current)

    def image_of(image: PublishedImage) -> CachedImage:
        carried = _carried_over(image, open_images)
        return carried or _published(image, store, cache)

    records = catalog.scopes.values()
    images = tuple(image_of(record.base) for record in records)
    deltas = tuple(None if record.delta is None else image_of(record.delta) for record in records)
    needed = {image.scope for image in open_images.values()}
    for image in (*images, *deltas):
        if image is not None and image.scope in needed:
            image.index()
    issuers = [
        TrustedIssuer(
            load_certificate(one.certificate),
            self_signed=one.self_signed,
            is_anchor=one.is_anchor,
            publishes_no_crl=one.publishes_no_crl,
        )
        for one in catalog.issuers
    ]
    any_point = {
        number for number, record in enumerate(records) if record.covers_no_distribution_point
    }
    table = trust.table(
        [image.metadata for image in images],
        issuers,
        removed=[tombstone.base for tombstone in catalog.tombstones.values()],
        any_point=any_point,
    )
    return Snapshot(images, deltas, table, catalog, etag, denied, published, _graces(catalog))


def _graces(catalog: Catalog) -> Mapping[int, datetime]:
    """Return until when each scope's CRLs are used past nextUpdate, by its position."""
    found: dict[int, datetime] = {}
    for position, record in enumerate(catalog.scopes.values()):
        ends = [one.until for one in (catalog.grace, record.grace) if one is not None]
        if ends:
            found[position] = max(ends)
    return found


def denials_of(sets: Iterable[PublishedSet]) -> Mapping[tuple[bytes, int], Denial]:
    """Return the denials of all *sets*; of several for one certificate the longest."""
    denied: dict[tuple[bytes, int], Denial] = {}
    for denial in (one for published in sets for one in published.denied):
        other = denied.get(denial.key)
        if other is None or (
            other.until is not None and (denial.until is None or denial.until > other.until)
        ):
            denied[denial.key] = denial
    return denied


def _open_images(current: Snapshot | None) -> dict[str, CachedImage]:
    """Return the images of *current* that are loaded, by digest."""
    if current is None or current.catalog is None:
        return {}
    records = current.catalog.scopes.values()
    published = [image for record in records for image in record.images()]
    return {
        image.digest: open_image
        for image, open_image in zip(published, current.all_images(), strict=True)
        if open_image.is_open
    }


def _carried_over(
    published: PublishedImage, open_images: dict[str, CachedImage]
) -> CachedImage | None:
    """Return the loaded image with the same digest, and so with the same bytes."""
    image = open_images.get(published.digest)
    return image if image is not None and image.metadata == published.metadata else None


def _published(
    published: PublishedImage, store: ObjectStore, cache: ImageCache | None
) -> CachedImage:
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

    return CachedImage(published.metadata, open_image, published.size + IMAGE_OVERHEAD, cache)


def _require_verified(metadata: ImageMetadata, where: str) -> None:
    if not metadata.verified:
        raise IndexFileError(f"{where} is refused: the signature of its CRL was not verified")
