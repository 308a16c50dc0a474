"""
What a checker holds at one moment: one generation of the published set, or the
indexes it was given. A snapshot never changes, so threads look things up in it
while the next one is being prepared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crlcheck._images import IMAGE_OVERHEAD, CachedImage, ImageCache
from crlcheck._metadata import ImageMetadata
from crlcheck._name import name_key
from crlcheck.catalog import Catalog, Denial, PublishedImage, delta_fits
from crlcheck.certificate import load_certificate
from crlcheck.errors import (
    CorruptIndexError,
    IndexFileError,
)
from crlcheck.index import RevocationIndex, open_index
from crlcheck.scope import ScopeTable, TrustedIssuer
from crlcheck.stores import ObjectStore
from crlcheck.types import CertificateFacts


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The images held and the table that says which of them speaks for whom.

    ``deltas`` has the delta beside each of ``images``, None where there is none.
    ``denied`` has the certificates that an operator denied by hand.
    ``catalog`` and ``etag`` are those of the store it was read from; None for
    indexes that were handed over.
    """

    images: tuple[CachedImage, ...]
    deltas: tuple[CachedImage | None, ...]
    table: ScopeTable
    catalog: Catalog | None = None
    etag: str | None = None
    denied: Mapping[tuple[bytes, int], Denial] = field(default_factory=dict)

    def denial_of(self, certificate: CertificateFacts, now: datetime) -> Denial | None:
        """Return the denial of *certificate* that holds now, by any spelling of its issuer."""
        if not self.denied:
            return None
        denial = self.denied.get((name_key(certificate.issuer), certificate.serial_number))
        return denial if denial is not None and denial.holds(now) else None

    def all_images(self) -> Iterator[CachedImage]:
        """Yield every image, a scope's delta behind its complete CRL."""
        for image, delta in zip(self.images, self.deltas, strict=True):
            yield image
            if delta is not None:
                yield delta


@dataclass(frozen=True, slots=True)
class Trust:
    """
    What a checker was told beside the CRLs.

    ``issuers`` are trusted in addition to a catalog's, the anchors among them;
    ``anchors`` end paths (None: the self-signed issuers), ``waive_points`` is
    Policy.no_distribution_point and ``unpublished`` Policy.unpublished_issuers.
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
        """Return the table of *crls*, after those *removed*, with all issuers."""
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
    Return a snapshot of open indexes, which stay the caller's to close.

    A delta lies beside each complete CRL that it fits, the newest where there
    are several.

    Raises:
        IndexFileError: nobody verified the CRL of one of them.
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
    catalog: Catalog,
    etag: str,
    store: ObjectStore,
    trust: Trust,
    current: Snapshot | None,
    cache: ImageCache | None = None,
) -> Snapshot:
    """
    Return a snapshot of *catalog* to take the place of *current*.

    Images that *current* has open are carried over where they are unchanged, and
    their successors are loaded before this returns: a generation of which a
    needed image cannot be had never replaces one that works. Others are loaded
    when a certificate needs them. *cache* bounds how many stay open.

    Raises:
        StoreError: the catalog goes back behind *current*, or the store does not answer.
        IndexFileError: an image is unverified, corrupt or not the one the catalog names.
        FileNotFoundError: an image is missing.
        CertificateError: an issuer certificate of the catalog cannot be read.
    """
    if current is not None and current.catalog is not None:
        catalog.check_successor(current.catalog)
        if catalog == current.catalog:
            return dataclasses.replace(current, etag=etag, denied=denials_of([catalog]))
    open_images = _open_images(current)

    def hold(published: PublishedImage) -> CachedImage:
        carried = _carried_over(published, open_images)
        return carried or _published(published, store, cache)

    records = catalog.scopes.values()
    images = tuple(hold(record.base) for record in records)
    deltas = tuple(None if record.delta is None else hold(record.delta) for record in records)
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
    return Snapshot(images, deltas, table, catalog, etag, denials_of([catalog]))


def denials_of(catalogs: Iterable[Catalog]) -> Mapping[tuple[bytes, int], Denial]:
    """Return the denials of all of *catalogs*; of one certificate's the one that lasts longest."""
    denied: dict[tuple[bytes, int], Denial] = {}
    for denial in (one for catalog in catalogs for one in catalog.denied):
        other = denied.get(denial.key)
        if other is None or (
            other.until is not None and (denial.until is None or denial.until > other.until)
        ):
            denied[denial.key] = denial
    return denied


def _open_images(current: Snapshot | None) -> dict[str, CachedImage]:
    """Return the images of *current* that are open, by digest."""
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
    """Return the open image with the same digest, which stands for the same octets."""
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
        raise IndexFileError(f"{where} is refused: nobody verified the signature of its CRL")
