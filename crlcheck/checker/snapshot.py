"""
Hold what checks look things up in: a part of a published set, or open indexes.

A snapshot never changes, so threads can use it while the next one is prepared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

from crlcheck.catalog.catalog import Catalog, Denial, delta_fits
from crlcheck.catalog.entries import name_hash
from crlcheck.checker.image_cache import CachedImage
from crlcheck.checker.images import Images, require_verified
from crlcheck.checker.scope import ScopeTable, TrustedIssuer
from crlcheck.encoding.names import name_key
from crlcheck.image.index import RevocationIndex
from crlcheck.types import CertificateFacts, ImageMetadata
from crlcheck.x509.certificates import load_certificate, published_certificate


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The images in use, and the table of the certificates that their CRLs cover.

    It is made of open indexes, or of a part of a published set: of all that lies under some
    issuer names. ``deltas`` has the delta beside each of ``images``, None where there is
    none. ``graces`` has, for the position of an image, until when the operator lets it be
    used past its nextUpdate. ``partial`` has the hashes of the issuer names of which only
    some scopes are in it.
    """

    images: tuple[CachedImage, ...]
    deltas: tuple[CachedImage | None, ...]
    table: ScopeTable
    graces: Mapping[int, datetime] = field(default_factory=dict)
    partial: frozenset[str] = frozenset()

    def all_images(self) -> Iterator[CachedImage]:
        """Yield every image, each delta after its complete CRL."""
        for image, delta in zip(self.images, self.deltas, strict=True):
            yield image
            if delta is not None:
                yield delta


Denials: TypeAlias = Mapping[tuple[bytes, int], Denial]
"""Denials by the canonical name of the issuer and the serial number."""


def denials_of(denials: Iterable[Denial]) -> Denials:
    """Return *denials* by certificate; of several for one certificate the longest."""
    denied: dict[tuple[bytes, int], Denial] = {}
    for denial in denials:
        other = denied.get(denial.key)
        if other is None or (
            other.until is not None and (denial.until is None or denial.until > other.until)
        ):
            denied[denial.key] = denial
    return denied


def denial_of(denied: Denials, certificate: CertificateFacts, now: datetime) -> Denial | None:
    """Return the denial of *certificate* that applies now, however its issuer is spelled."""
    if not denied:
        return None
    denial = denied.get((name_key(certificate.issuer), certificate.serial_number))
    return denial if denial is not None and denial.holds(now) else None


@dataclass(frozen=True)
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
        homes: Collection[str] | None = None,
    ) -> ScopeTable:
        """
        Return the table for *crls* and all issuers; *removed* are CRLs that were removed.

        *homes* are the hashes of the names that the table is for, None for all.
        """
        own = self.issuers
        if homes is not None:
            own = [one for home in homes for one in self.issuers_at.get(home, ())]
        return ScopeTable(
            crls,
            [*issuers, *own],
            trust_verifiers=trust_verifiers,
            anchors=self.anchors,
            unpublished=self.unpublished,
            removed=removed,
            any_point=any_point,
            waive_points=self.waive_points,
        )

    @cached_property
    def issuers_at(self) -> Mapping[str, Sequence[TrustedIssuer]]:
        """The checker's own trusted issuers by the hash of their name."""
        found: dict[str, list[TrustedIssuer]] = {}
        for one in self.issuers:
            found.setdefault(name_hash(one.certificate.subject), []).append(one)
        return found


def snapshot_of_indexes(indexes: Sequence[RevocationIndex], trust: Trust) -> Snapshot:
    """
    Return a snapshot of open indexes, which the caller closes.

    Beside each complete CRL is the newest delta that fits it.

    Raises:
        IndexFileError: the CRL of one of them was not verified.
    """
    for number, index in enumerate(indexes):
        require_verified(index.metadata, f"index {number}")
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
    trust: Trust,
    images: Images,
    *,
    homes: Collection[str] | None = None,
    partial: frozenset[str] = frozenset(),
) -> Snapshot:
    """
    Return a snapshot of a published set, or of the part of it under the names of *homes*.

    *homes* are their hashes, None for all names; *partial* are those of which only some
    scopes are in the part.

    Raises:
        IndexFileError: the CRL of an image was not verified.
        CertificateError: an issuer certificate of the catalog cannot be read.
    """
    records = catalog.scopes.values()
    bases = tuple(images.image_of(record.base) for record in records)
    deltas = tuple(
        None if record.delta is None else images.image_of(record.delta) for record in records
    )
    issuers = [
        TrustedIssuer(
            facts_of(one.certificate),
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
        [image.metadata for image in bases],
        issuers,
        removed=[tombstone.base for tombstone in catalog.tombstones.values()],
        any_point=any_point,
        homes=homes,
    )
    return Snapshot(bases, deltas, table, _graces(catalog), partial)


def facts_of(der: bytes) -> CertificateFacts:
    """
    Return the facts of an issuer certificate of the catalog.

    Raises:
        CertificateError: it cannot be read.
    """
    return published_certificate(der) or load_certificate(der)


def _graces(catalog: Catalog) -> Mapping[int, datetime]:
    """Return until when each scope's CRLs are used past nextUpdate, by its position."""
    of_store, found = catalog.grace, {}
    for position, record in enumerate(catalog.scopes.values()):
        until = record.grace_until(of_store)
        if until is not None:
            found[position] = until
    return found
