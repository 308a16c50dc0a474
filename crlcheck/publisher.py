"""
From a CRL to the published set, in an order in which nothing unverified, unripe
or older than what is published can get there.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Unpack

from crlcheck._metadata import ImageMetadata
from crlcheck._wording import crl_text, time_text
from crlcheck.catalog import (
    CATALOG_NAME,
    Catalog,
    PublishedImage,
    ScopeRecord,
    delta_fits,
)
from crlcheck.certificate import CertificateSource, load_certificates
from crlcheck.compiler import CompiledImage, CompileOptions, CrlSource, compile_to_temporary
from crlcheck.errors import (
    CrlBaseMissingError,
    CrlCheckError,
    CrlError,
    CrlNotYetValidError,
    CrlRollbackError,
    PreconditionFailedError,
    StoreUnavailableError,
    UnsupportedCrlError,
)
from crlcheck.stores import ObjectStore, open_store
from crlcheck.types import PublishReport

MAX_SWAPS = 40
"""How often a publication is tried again after another one came first."""

_log = logging.getLogger(__name__)


def publish_crl(
    source: CrlSource,
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    now: datetime | None = None,
    clock_skew: timedelta = timedelta(minutes=5),
    source_name: str | None = None,
    **options: Unpack[CompileOptions],
) -> PublishReport:
    """
    Verify a CRL, compile it and make its image the published one of its scope.

    Args:
        source: as for ``compile_crl``, whose *options* are taken too.
        store: a store, or its directory or ``s3://`` URL.
        issuer: trusted issuer certificates, one of which signed the CRL. All
            of them become known to the checkers of this store.
        now: the time, UTC; by default the clock's.
        clock_skew: how far in the future thisUpdate may lie.
        source_name: where the CRL came from, kept in the catalog.

    A delta CRL (RFC 5280 5.2.4) is published beside the complete CRL of its
    scope, whose number lies between its BaseCRLNumber and its own; one whose
    number is not above that of the complete CRL adds nothing and is not
    published. A newer complete CRL drops a delta whose number it has reached.

    A CRL that is published already changes nothing but the issuers known. An
    expired CRL is published where it is newer: it only adds knowledge.

    Whatever is raised, the store serves a whole set: the one before, or where
    the store failed at the very last step perhaps the one after.

    Raises:
        CrlError: the CRL is refused; as for ``compile_crl``, and
            UnsupportedCrlError for a delta CRL without a CRL number,
            CrlBaseMissingError for one whose complete CRL is not published, which
            may be tried again later,
            CrlNotYetValidError for a thisUpdate in the future,
            CrlRollbackError unless it is newer than the published one.
        CertificateError: *issuer* holds something that is not a certificate.
        StoreUnavailableError: the store does not answer, or too many other
            publications came first; the CRL may be published again.
        StoreError: the catalog cannot be read.
    """
    target = open_store(store)
    moment = datetime.now(UTC) if now is None else now
    if moment.tzinfo is None:
        raise ValueError(f"now: expected an aware datetime, found {moment!r}")
    issuers = tuple(certificate.der for certificate in load_certificates(issuer))
    with compile_to_temporary(source, issuer=issuers, **options) as compiled:
        _require_publishable(compiled.metadata, moment, clock_skew)
        return _Publication(target, compiled, issuers, source_name).run()


def override_scope(
    store: str | os.PathLike[str] | ObjectStore,
    scope: str,
    *,
    covers_no_distribution_point: bool,
) -> int:
    """
    Change an operator's setting of one published scope; return the catalog's generation.

    Args:
        store: as for ``publish_crl``.
        scope: the scope's key, as reports and ``crlcheck inspect`` show it.
        covers_no_distribution_point: let the scope's CRL speak for certificates
            without distribution points although it names one (RFC 5280 5.2.5
            does not). For CAs that leave the extension out.

    Later publications keep the setting.

    Raises:
        ValueError: the store has no such scope.
        FileNotFoundError: the store has nothing published.
        StoreUnavailableError: the store does not answer, or too many publications
            came first.
        StoreError: the catalog cannot be read.
    """
    target = open_store(store)
    for num_lost in range(MAX_SWAPS):
        if num_lost:
            _back_off(num_lost)
        stored = target.read(CATALOG_NAME)
        catalog = Catalog.from_bytes(stored.body)
        successor = catalog.with_override(
            scope, covers_no_distribution_point=covers_no_distribution_point
        )
        if successor.scopes == catalog.scopes:
            return catalog.generation
        try:
            target.write(CATALOG_NAME, successor.to_bytes(), if_match=stored.etag)
        except PreconditionFailedError:
            continue
        _log.info(
            "%s: scope %s: covers_no_distribution_point is now %s",
            target.url,
            scope,
            covers_no_distribution_point,
        )
        return successor.generation
    raise StoreUnavailableError(
        f"scope {scope} was not changed: other publications to {target.url} came first "
        f"{MAX_SWAPS} times"
    )


def check_no_rollback(offered: ImageMetadata, published: ImageMetadata) -> None:
    """
    Refuse a CRL that is not newer than the published one of its scope.

    The CRL number rises strictly and thisUpdate never falls; where the
    published CRL has no number, thisUpdate rises strictly.

    Raises:
        CrlRollbackError: the CRL is not newer.
    """
    regression = _regression(offered, published)
    if regression is not None:
        how, found, expected = regression
        raise CrlRollbackError(
            f"{crl_text(offered)} is not newer than the published {crl_text(published)}: it {how}",
            offered=found,
            published=expected,
        )


def _regression(
    offered: ImageMetadata, published: ImageMetadata
) -> tuple[str, int | datetime | None, int | datetime] | None:
    """Return in what *offered* falls behind and the two values compared, None if in nothing."""
    number, last = offered.crl_number, published.crl_number
    if last is not None:
        if number is None:
            return "has no CRL number any more", number, last
        if number == last:
            return "has the same number and other contents", number, last
        if number < last:
            return "has a lower number", number, last
    begun, last_begun = offered.this_update, published.this_update
    if begun < last_begun or (begun == last_begun and last is None):
        how = "an earlier" if begun < last_begun else "the same"
        times = f"{time_text(begun)}, published {time_text(last_begun)}"
        return f"has {how} thisUpdate ({times})", begun, last_begun
    return None


def _require_publishable(metadata: ImageMetadata, now: datetime, clock_skew: timedelta) -> None:
    """Check what can be known without the store: whether it is supported and has begun."""
    if metadata.is_delta and metadata.crl_number is None:
        raise UnsupportedCrlError(
            f"{crl_text(metadata)} (base {metadata.base_crl_number}) has no CRL number, which a "
            "delta CRL must have (RFC 5280 5.2.3)",
            feature="delta_without_crl_number",
        )
    if metadata.this_update > now + clock_skew:
        raise CrlNotYetValidError(
            f"{crl_text(metadata)} has thisUpdate {time_text(metadata.this_update)}, more than the "
            f"clock skew of {clock_skew} after {time_text(now)}",
            this_update=metadata.this_update,
            now=now,
        )


def _has_base(delta: ImageMetadata, base: ImageMetadata) -> bool:
    """Whether *base* is new enough to be what *delta* changes."""
    assert delta.base_crl_number is not None, "a delta CRL has a BaseCRLNumber"
    return base.crl_number is not None and delta.base_crl_number <= base.crl_number


def _base_missing(delta: ImageMetadata, current: ScopeRecord | None) -> CrlBaseMissingError:
    assert delta.base_crl_number is not None, "a delta CRL has a BaseCRLNumber"
    found = "none" if current is None else crl_text(current.base.metadata)
    return CrlBaseMissingError(
        f"{crl_text(delta)} needs a complete CRL of the same issuer, key and "
        f"issuingDistributionPoint, number {delta.base_crl_number} or later; published is {found}",
        base_crl_number=delta.base_crl_number,
        published=None if current is None else current.base.metadata.crl_number,
    )


class _Publication:
    """
    One compiled CRL on its way into the catalog.

    The catalog is read, checked and swapped; where another publication came
    first all of that is done again, with the image written the first time.
    """

    def __init__(
        self,
        store: ObjectStore,
        compiled: CompiledImage,
        issuers: tuple[bytes, ...],
        source_name: str | None,
    ) -> None:
        self._store = store
        self._compiled = compiled
        self._scope = compiled.metadata.scope
        self._is_delta = compiled.metadata.is_delta
        self._issuers = issuers
        self._source_name = source_name
        self._image: PublishedImage | None = None
        self._attempted_generation: int | None = None
        self._image_may_be_named = False

    def run(self) -> PublishReport:
        for num_lost in range(MAX_SWAPS):
            if num_lost:
                _back_off(num_lost)
            catalog, etag = self._read_catalog()
            current = catalog.scopes.get(self._scope)
            if self._image is not None and current and current.names(self._image):
                # The swap reported as lost was ours: a request that was sent twice.
                return self._report(current, catalog.generation, published=True)
            record = self._successor_of(current)
            if record is current and set(self._issuers) <= set(catalog.issuers):
                return self._report(record, catalog.generation, published=False)
            successor = catalog.with_scope(record, self._issuers)
            if self._swap(successor, etag):
                return self._report(record, successor.generation, published=record is not current)
        raise StoreUnavailableError(
            f"{crl_text(self._compiled.metadata)} was not published: other publications to "
            f"{self._store.url} came first {MAX_SWAPS} times"
        )

    def _read_catalog(self) -> tuple[Catalog, str | None]:
        try:
            stored = self._store.read(CATALOG_NAME)
        except FileNotFoundError:
            catalog, etag = Catalog.empty(), None
        else:
            catalog, etag = Catalog.from_bytes(stored.body), stored.etag
        # The generation that was tried is another writer's, unless there were more since:
        # then one of them may have been ours, and a reader may be loading its image.
        if self._attempted_generation not in (None, catalog.generation):
            self._image_may_be_named = True
        return catalog, etag

    def _successor_of(self, current: ScopeRecord | None) -> ScopeRecord:
        """Return the scope's next record, or *current* if it is this very CRL already."""
        try:
            is_newer = self._is_newer(current)
        except CrlError:
            self._discard_image()
            raise
        if current is not None and not is_newer:
            self._discard_image()
            return current
        if current is not None and self._is_delta:
            return replace(current, delta=self._stored_image())
        delta = None if current is None else current.delta
        if delta is not None and not delta_fits(delta.metadata, self._compiled.metadata):
            delta = None  # the new base says all that it said
        return ScopeRecord(self._scope, self._stored_image(), delta, self._source_name)

    def _is_newer(self, current: ScopeRecord | None) -> bool:
        """
        Whether the CRL takes a place in the scope; False if what is there says all of it.

        Raises:
            CrlError: it must not.
        """
        offered = self._compiled.metadata
        if self._is_delta:
            if current is None or not _has_base(offered, current.base.metadata):
                raise _base_missing(offered, current)
            if not delta_fits(offered, current.base.metadata):
                return False
            before = current.delta
        else:
            before = None if current is None else current.base
        if before is None:
            if self._is_delta and current is not None:
                check_no_rollback(offered, current.base.metadata)
            return True
        if before.metadata.tbs_digest == offered.tbs_digest:
            return False
        check_no_rollback(offered, before.metadata)
        return True

    def _stored_image(self) -> PublishedImage:
        """Return the image in the store, written under a name of its own if it is not there yet."""
        if self._image is None:
            digest = self._compiled.digest
            image = PublishedImage(
                name=f"images/{digest}-{secrets.token_hex(16)}.crlx",
                digest=digest,
                size=self._compiled.path.stat().st_size,
                metadata=self._compiled.metadata,
            )
            self._store.write(image.name, self._compiled.path)
            self._image = image
        return self._image

    def _discard_image(self) -> None:
        """Delete the image that will not be named after all; what stays is left to clean-up."""
        image, self._image = self._image, None
        if image is None or self._image_may_be_named:
            return
        try:
            self._store.delete(image.name)
        except (CrlCheckError, OSError) as error:
            _log.warning("%s was not deleted from %s: %s", image.name, self._store.url, error)

    def _swap(self, successor: Catalog, etag: str | None) -> bool:
        """Replace the catalog read with *successor*; False where another one is there now."""
        self._attempted_generation = successor.generation
        body = successor.to_bytes()
        try:
            self._store.write(CATALOG_NAME, body, if_match=etag, if_absent=etag is None)
        except PreconditionFailedError:
            return False
        return True

    def _report(self, record: ScopeRecord, generation: int, *, published: bool) -> PublishReport:
        return PublishReport(
            compiled=self._compiled.report,
            scope=self._scope,
            image_name=(record.delta if self._is_delta and record.delta else record.base).name,
            generation=generation,
            published=published,
            is_delta=self._is_delta,
        )


def _back_off(num_lost: int) -> None:
    """Wait before the next try, with full jitter so that contenders spread out."""
    time.sleep(random.uniform(0, min(2.0, 0.02 * 2**num_lost)))
