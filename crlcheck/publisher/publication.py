"""
One compiled CRL on its way into the catalog, and the checks that it must pass there.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from crlcheck.catalog.catalog import (
    IMAGE_PREFIX,
    MAX_EARLIER_SOURCES,
    Catalog,
    IssuerRecord,
    PublishedImage,
    ScopeRecord,
    Tombstone,
    delta_fits,
)
from crlcheck.catalog.compare_and_swap import (
    MAX_SWAPS,
    Mark,
    back_off,
    read_catalog,
    read_mark,
    swap,
)
from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.issuer_keys import public_key_hash
from crlcheck.compiler.compile import CompiledImage
from crlcheck.encoding.names import name_text, names_match
from crlcheck.errors import (
    CrlBaseMissingError,
    CrlCheckError,
    CrlError,
    CrlExpiredError,
    CrlNotYetValidError,
    CrlRollbackError,
    CrlShrinkError,
    CrlSignatureError,
    IndexFileError,
    StoreUnavailableError,
    UnsupportedCrlError,
)
from crlcheck.image.index import open_index
from crlcheck.publisher.comparison import revokes_no_more, speaking
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.types import CertificateFacts, ImageMetadata, PublishReport
from crlcheck.x509.certificates import published_certificate

MIN_LOST_ENTRIES = 10
"""A CRL that loses no more entries than this never counts as shrunk."""

# How many superseded images one publication deletes, so that none takes long.
_MAX_DELETED = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRules:
    """
    What ``publish_crl`` was told about this one publication.

    ``clock`` tells the time of each step: what is superseded is so from the swap
    on, however long ago the publication began.
    """

    clock: Callable[[], datetime]
    issuers: tuple[CertificateFacts, ...]
    issuers_from: str
    source_name: str | None
    allow_shrink: bool
    rebuild: bool
    grace: timedelta
    compare_up_to: int


# ---- the checks ------------------------------------------------------------------


def check_publishable(metadata: ImageMetadata, now: datetime, clock_skew: timedelta) -> None:
    """
    Check what can be known without the store: whether it is supported and has begun.

    Raises:
        UnsupportedCrlError: a delta CRL without a CRL number.
        CrlNotYetValidError: thisUpdate lies in the future.
    """
    if metadata.is_delta and metadata.crl_number is None:
        raise UnsupportedCrlError(
            f"{crl_text(metadata)} (base {metadata.base_crl_number}) has no CRL number, which a "
            "delta CRL must have (RFC 5280 5.2.3)",
            feature="delta_without_crl_number",
        )
    if metadata.this_update - now > clock_skew:
        raise CrlNotYetValidError(
            f"{crl_text(metadata)} has thisUpdate {time_text(metadata.this_update)}, more than the "
            f"clock skew of {clock_skew} after {time_text(now)}",
            this_update=metadata.this_update,
            now=now,
        )


def check_no_rollback(
    offered: ImageMetadata,
    published: ImageMetadata,
    *,
    state: str = "published",
    same_number: bool = False,
) -> None:
    """
    Refuse a CRL that is not newer than the one that its scope has, or had.

    The CRL number rises strictly and thisUpdate never falls; where the
    published CRL has no number, thisUpdate rises strictly. *state* says in
    the message what became of that CRL; *same_number* lets its number do.

    Raises:
        CrlRollbackError: the CRL is not newer.
    """
    regression = _regression(offered, published, same_number=same_number)
    if regression is not None:
        how, found, expected = regression
        raise CrlRollbackError(
            f"{crl_text(offered)} is not newer than the {state} {crl_text(published)}: it {how}",
            offered=found,
            published=expected,
        )


def check_follows_removed(offered: ImageMetadata, removed: Tombstone) -> None:
    """
    Refuse a complete CRL that is older than what its scope had when it was removed, or the
    same, unless the scope went with its issuer.

    It is newer than that complete CRL, and no older than the delta CRL beside
    it: a complete and a delta CRL of one time share their number (RFC 5280
    5.2.3), so the delta's own number will do.

    Raises:
        CrlRollbackError: the CRL is older.
    """
    same = offered.tbs_digest == removed.base.tbs_digest
    if same and removed.accepts_same and removed.delta is None:
        return
    state = f"published (and removed on {time_text(removed.at)})"
    check_no_rollback(offered, removed.base, state=state)
    if removed.delta is not None:
        check_no_rollback(offered, removed.delta, state=state, same_number=True)


def _regression(
    offered: ImageMetadata, published: ImageMetadata, *, same_number: bool
) -> tuple[str, int | datetime | None, int | datetime] | None:
    """Return in what *offered* falls behind and the two values compared, None if in nothing."""
    number, last = offered.crl_number, published.crl_number
    if last is not None:
        if number is None:
            return "has no CRL number any more", number, last
        if number == last and not same_number:
            same = offered.tbs_digest == published.tbs_digest
            return f"has the same number{'' if same else ' and other contents'}", number, last
        if number < last:
            return "has a lower number", number, last
    begun, last_begun = offered.this_update, published.this_update
    if begun < last_begun or (begun == last_begun and last is None):
        how = "an earlier" if begun < last_begun else "the same"
        times = f"{time_text(begun)}, published {time_text(last_begun)}"
        return f"has {how} thisUpdate ({times})", begun, last_begun
    return None


def check_no_shrink(offered: ImageMetadata, published: ImageMetadata) -> None:
    """
    Hold back a complete CRL that lists less than half of what its predecessor did.

    CAs do publish empty lists by mistake, and each entry lost is a certificate
    un-revoked. A few entries more or less are nothing, however few there were.

    Raises:
        CrlShrinkError: most entries are gone.
    """
    lost = published.num_entries - offered.num_entries
    if lost > MIN_LOST_ENTRIES and 2 * lost > published.num_entries:
        raise CrlShrinkError(
            f"{crl_text(offered)} has {count(offered.num_entries, 'entry', 'entries')}, the "
            f"published {crl_text(published)} has {published.num_entries:,}: held back, for most "
            "of them are gone at once; allow it for this CRL (allow_shrink) if its CA confirms it",
            offered=offered.num_entries,
            published=published.num_entries,
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
        f"issuingDistributionPoint, number {delta.base_crl_number} or later; {found} is published",
        base_crl_number=delta.base_crl_number,
        published=None if current is None else current.base.metadata.crl_number,
    )


def check_signer(
    metadata: ImageMetadata, given: Sequence[CertificateFacts], catalog: Catalog
) -> None:
    """
    Refuse a CRL whose key no issuer carries that an operator has not removed.

    Raises:
        CrlSignatureError: with reason ``"removed_issuer"``.
    """
    if not catalog.removed_issuers:
        return
    trusted = {one.certificate for one in catalog.issuers} - {one.der for one in given}
    removed: list[str] = []
    known = (facts for der in trusted if (facts := published_certificate(der)) is not None)
    for certificate in (*given, *known):
        if not is_signer(certificate, metadata):
            continue
        fingerprint = IssuerRecord(certificate.der).fingerprint
        if fingerprint not in catalog.removed_issuers:
            return
        at = time_text(catalog.removed_issuers[fingerprint].at)
        removed.append(f"{fingerprint[:16]}… on {at}")
    raise CrlSignatureError(
        f"{crl_text(metadata)}: an operator removed the issuer whose key signed it "
        f"({', '.join(dict.fromkeys(removed))}), so that it is not trusted any more; "
        "'crlcheck issuer readmit' lets it back",
        reason="removed_issuer",
    )


def is_signer(certificate: CertificateFacts, metadata: ImageMetadata) -> bool:
    """Whether a certificate has the name and the key by which a CRL was verified."""
    return (
        certificate.may_sign_crls
        and public_key_hash(certificate) == metadata.verifier_key_hash
        and names_match(certificate.subject, metadata.issuer)
    )


def is_intact(store: ObjectStore, image: PublishedImage) -> bool:
    """
    Whether a published image is there and what the catalog says, to the last bit.

    Raises:
        StoreError: the store does not answer.
    """
    try:
        with open_index(store.load(image.name)) as index:
            return (index.digest, index.metadata) == (image.digest, image.metadata)
    except (IndexFileError, FileNotFoundError):
        return False


def _sources(current: ScopeRecord | None) -> tuple[str, ...]:
    """Return where the last CRLs of a scope came from, the latest at the end."""
    if current is None or current.source is None:
        return ()
    return (*current.earlier_sources, current.source)[-MAX_EARLIER_SOURCES:]


# ---- the publication -------------------------------------------------------------


class Publication:
    """
    One compiled CRL on its way into the catalog.

    The catalog is read, checked and swapped; where another publication came
    first all of that is done again, with the image written the first time.
    ``before`` and ``after`` are afterwards the scope's records, ``catalog`` the
    catalog with the latter, ``added_issuers`` the certificates that are new in it.
    """

    def __init__(self, store: ObjectStore, compiled: CompiledImage, rules: PublishRules) -> None:
        self.before: ScopeRecord | None = None
        self.after: ScopeRecord | None = None
        self.catalog: Catalog | None = None
        self.added_issuers: set[bytes] = set()
        self.seconds: dict[str, float] = {}
        self.store = self._store = store
        self._compiled = compiled
        self._rules = rules
        self._scope = compiled.metadata.scope
        self._is_delta = compiled.metadata.is_delta
        self._image: PublishedImage | None = None
        self._attempted_generation: int | None = None
        self._image_may_be_named = False
        self._deleted: set[str] = set()
        self._num_lost = 0
        self._known_self_signed: dict[bytes, bool | None] = {}

    def run(self) -> PublishReport:
        """
        Publish, or find that it is published already.

        Raises:
            CrlError: what the scope has does not let it in.
            StoreError: the store fails, or others came first too often.
        """
        for self._num_lost in range(MAX_SWAPS):
            with self._timed("swap"):
                if self._num_lost:
                    back_off(self._num_lost)
                catalog, etag = self._read_catalog()
            current = catalog.scopes.get(self._scope)
            if self._image is not None and current and current.names(self._image):
                # The swap reported as lost was ours: a request that was sent twice.
                return self._report(current, catalog, published=True)
            if self._image is not None and self._was_taken_for_abandoned(self._image, catalog):
                self._image = None
            record = self._successor_of(current, catalog)
            issuers = self._issuer_records(catalog)
            self.before = current
            if record is current and not catalog.lacks(issuers):
                return self._report(record, catalog, published=False)
            with self._timed("swap"):
                gone = self._delete_superseded(catalog)
                mark = read_mark(self._store)
                successor = catalog.with_scope(
                    record, issuers, now=self._rules.clock()
                ).without_superseded(gone)
                written = self._swap(successor, etag, mark)
                if written is not None:
                    held = set(catalog.issuer_certificates())
                    self.added_issuers = {one.certificate for one in issuers} - held
                    return self._report(record, written, published=record is not current)
        raise StoreUnavailableError(
            f"{crl_text(self._compiled.metadata)} was not published: other publications to "
            f"{self._store.url} came first {MAX_SWAPS} times"
        )

    def _read_catalog(self) -> tuple[Catalog, str | None]:
        catalog, etag = read_catalog(self._store)
        # The generation that was tried is another writer's, unless there were more since:
        # then one of them may have been ours, and a reader may be loading its image.
        if self._attempted_generation not in (None, catalog.generation):
            self._image_may_be_named = True
        return catalog, etag

    def _successor_of(self, current: ScopeRecord | None, catalog: Catalog) -> ScopeRecord:
        """Return the scope's next record, or *current* if it is this very CRL already."""
        tombstone = catalog.tombstones.get(self._scope)
        try:
            check_signer(self._compiled.metadata, self._rules.issuers, catalog)
            is_newer = self._is_newer(current, tombstone)
            delta = None if current is None else self._kept_delta(current, tombstone)
            if current is not None and is_newer:
                self._check_not_expired(current, delta)
        except CrlError:
            self._discard_image()
            raise
        if current is not None and not is_newer:
            self._discard_image()
            return current
        if current is not None and self._is_delta:
            return replace(current, delta=self._stored_image())
        source = self._rules.source_name
        return ScopeRecord(
            self._scope, self._stored_image(), delta, source, earlier_sources=_sources(current)
        )

    def _kept_delta(
        self, current: ScopeRecord, tombstone: Tombstone | None
    ) -> PublishedImage | None:
        """Return the delta that stays beside a new complete CRL: one that it does not reach."""
        was_reset = tombstone is not None and tombstone.accepts_any
        delta = current.delta
        if delta is None or was_reset or not delta_fits(delta.metadata, self._compiled.metadata):
            return None
        return delta

    def _check_not_expired(self, current: ScopeRecord, delta: PublishedImage | None) -> None:
        """
        Hold back a CRL that would make a current scope stale, and revoke nothing for it.

        Raises:
            CrlExpiredError: the CRL, the later one of its scope, is past its nextUpdate.
        """
        now = self._rules.clock().replace(microsecond=0)
        serving, offered = speaking(current), self._compiled.metadata
        if serving.is_past(now) or not offered.is_past(now):
            return
        if delta is not None and not self._is_delta:
            return  # the delta beside it says that the scope is current
        limit = self._rules.compare_up_to
        if revokes_no_more(self._store, self._compiled, current, delta, limit=limit):
            assert offered.next_update is not None, "a CRL without nextUpdate does not expire"
            raise CrlExpiredError(
                f"{crl_text(offered)} has nextUpdate {time_text(offered.next_update)}, before "
                f"{time_text(now)}, and revokes nothing that the published {crl_text(serving)} "
                "does not: held back, for it would make the certificates that it does not list "
                "stale; publish the CA's next CRL",
                next_update=offered.next_update,
                published_next_update=serving.next_update,
                now=now,
            )

    def _is_newer(self, current: ScopeRecord | None, tombstone: Tombstone | None) -> bool:
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
            published = current.delta
            if published is None:
                check_no_rollback(offered, current.base.metadata)
                return True
        elif current is None:
            if tombstone is not None and not tombstone.accepts_any:
                check_follows_removed(offered, tombstone)
            return True
        else:
            published = current.base
        if published.metadata.tbs_digest == offered.tbs_digest:
            return self._rules.rebuild and self._needs_rebuilding(published)
        if self._is_delta or tombstone is None or not tombstone.accepts_any:
            check_no_rollback(offered, published.metadata)
        if not self._is_delta and not self._rules.allow_shrink:
            check_no_shrink(offered, published.metadata)
        return True

    def _issuer_records(self, catalog: Catalog) -> list[IssuerRecord]:
        """
        Return the records of the issuers given, and completed ones of those that
        the catalog has from a writer that did not tell who brought them or whether
        they are self-signed.
        """
        moment = self._rules.clock().replace(microsecond=0)
        held = {one.certificate: one for one in catalog.issuers}
        given = {one.der: one for one in self._rules.issuers}
        records = [
            IssuerRecord(der, moment, self._rules.issuers_from, self._self_signed(given[der]))
            for der in given
            if der not in held
        ]
        for der, record in held.items():
            if not record.added_by and der in given:
                records.append(replace(record, added_by=self._rules.issuers_from))
            if record.self_signed is None:
                certificate = given.get(der) or published_certificate(der)
                if certificate is not None:
                    records.append(replace(record, self_signed=self._self_signed(certificate)))
        return records

    def _self_signed(self, certificate: CertificateFacts) -> bool | None:
        """Whether a certificate is self-signed, decided once for each publication."""
        # Only here, because it imports `cryptography`.
        from crlcheck.x509.signatures import is_self_signed

        der = certificate.der
        if der not in self._known_self_signed:
            self._known_self_signed[der] = is_self_signed(certificate)
        return self._known_self_signed[der]

    def _needs_rebuilding(self, published: PublishedImage) -> bool:
        """Whether the image of this very CRL is another one by now, is gone, or is damaged."""
        if published.digest != self._compiled.digest:
            return True
        return not is_intact(self._store, published)

    def _was_taken_for_abandoned(self, image: PublishedImage, catalog: Catalog) -> bool:
        """
        Whether clean-up has noted the image, and deletes it or has done so.

        It leaves the catalog's list only once it is deleted. So an image that is
        neither on the list nor gone was never noted, and noting it from here on
        takes a swap, which fails ours.
        """
        return image.name in catalog.superseded or not self._is_stored(image)

    def _is_stored(self, image: PublishedImage) -> bool:
        return image.name in self._store.names(image.name)

    def _stored_image(self) -> PublishedImage:
        """Return the image in the store, written under a name of its own if it is not there yet."""
        if self._image is None:
            digest = self._compiled.digest
            image = PublishedImage(
                name=f"{IMAGE_PREFIX}{digest}-{secrets.token_hex(16)}.crlx",
                digest=digest,
                size=self._compiled.path.stat().st_size,
                metadata=self._compiled.metadata,
            )
            with self._timed("upload"):
                self._store.write(image.name, self._compiled.path)
            self._image = image
        return self._image

    def _discard_image(self) -> None:
        """Delete the image that will not be named after all; what stays is left to clean-up."""
        image, self._image = self._image, None
        if image is None or self._image_may_be_named:
            return
        self._try_to_delete(image.name)

    def _delete_superseded(self, catalog: Catalog) -> set[str]:
        """Delete some of the images whose grace period is over; return those that are gone."""
        for name in catalog.deletable(self._rules.clock(), self._rules.grace)[:_MAX_DELETED]:
            if name not in self._deleted and self._try_to_delete(name):
                self._deleted.add(name)
        return self._deleted

    def _try_to_delete(self, name: str) -> bool:
        try:
            self._store.delete(name)
        except (CrlCheckError, OSError) as error:
            _log.warning("%s was not deleted from %s: %s", name, self._store.url, error)
            return False
        return True

    def _swap(self, successor: Catalog, etag: str | None, mark: Mark) -> Catalog | None:
        self._attempted_generation = successor.generation
        return swap(self._store, successor, etag, mark)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started

    def _report(self, record: ScopeRecord, catalog: Catalog, *, published: bool) -> PublishReport:
        self.after, self.catalog = record, catalog
        return PublishReport(
            compiled=self._compiled.report,
            image_name=(record.delta if self._is_delta and record.delta else record.base).name,
            generation=catalog.generation,
            published=published,
            num_lost_swaps=self._num_lost,
            issuer_name=name_text(self._compiled.metadata.issuer),
        )
