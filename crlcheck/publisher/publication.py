"""
Publish one compiled CRL: check it against its scope, and swap the catalog.

These are the steps of "One publication" in docs/design.md, by the same numbers. Section
numbers are those of RFC 5280.

1. The CRL alone. The compiler has checked its size, DER, issuer and signature. A delta
   CRL must have a CRL number (5.2.3), and thisUpdate must not lie in the future.
2. The CRL against its scope. It is published only if
   - it was signed by the key of an issuer that no operator removed,
   - it is newer than the published CRL, and than the last one where an operator removed
     the scope. A delta CRL needs its complete CRL published (5.2.4),
     Where neither number nor time tells, a CRL that revokes all that the published one
     does is taken, and any other is refused with CrlOrderUnknownError,
   - it does not lack most of the entries of the published CRL, unless that is allowed,
   - it is not past its nextUpdate while the published CRL is current and revokes no less.
3. The swap. A store without a catalog is tried first: one that does not compare and swap is
   refused (``crlcheck.stores.probe``). The image is written under a name that no image had
   before, then the catalog is swapped. Where another publication came first, step 2 is done
   again on its catalog, with the image that is already written.
4. What changed. ``publish`` compares the images before and after, and adds the warnings.
5. Clean-up. An object that is used no longer is noted in the history with the time. It is
   deleted once the grace period is over.
6. Status. ``rejections`` keeps the reason why a CRL was refused.

For example, CRL 17 is published and CRL 18 comes. It passes steps 1 and 2 and its image is
written, but the swap fails: another publisher has published CRL 19 meanwhile. Step 2 is
done again, now against CRL 19. CRL 18 is older, so it is refused with CrlRollbackError, and
its image is deleted. Had the other publisher changed another scope, CRL 18 would pass
step 2 again and the second swap would name the same image.
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
from crlcheck.catalog.compare_and_swap import MAX_SWAPS, Change, back_off, swap
from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.entries import name_hash, points_of_crl
from crlcheck.catalog.given_up import due_objects, given_up_since, keep_of
from crlcheck.catalog.history import Action
from crlcheck.catalog.issuer_keys import public_key_hash
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.catalog.root import Certificates, Cleaned
from crlcheck.catalog.signing_store import check_may_change
from crlcheck.compiler.compile import CompiledImage
from crlcheck.encoding.names import name_text, names_match
from crlcheck.errors import (
    CatalogDamagedError,
    CrlBaseMissingError,
    CrlCheckError,
    CrlError,
    CrlExpiredError,
    CrlNotYetValidError,
    CrlOrderUnknownError,
    CrlRollbackError,
    CrlShrinkError,
    CrlSignatureError,
    IndexFileError,
    RootSignatureError,
    SigningKeyError,
    StoreUnavailableError,
    UnsupportedCrlError,
)
from crlcheck.image.index import open_index
from crlcheck.publisher.comparison import later_crl, revokes_as_much, revokes_no_more
from crlcheck.stores import ObjectStore
from crlcheck.stores.probe import probe_store
from crlcheck.times import time_text
from crlcheck.types import CertificateFacts, ImageMetadata, PublishReport
from crlcheck.x509.certificates import published_certificate

MIN_LOST_ENTRIES = 10
"""A CRL that loses no more entries than this never counts as shrunk."""

# One publication deletes no more objects than this, so that it does not take long.
_MAX_DELETED = 32

# Whoever waited while so many generations were published writes its image anew.
_MAX_FOLLOWED = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRules:
    """
    The arguments of ``publish_crl`` that one publication needs.

    ``clock`` returns the time of each step. An image is superseded from the swap on,
    however long ago the publication began.
    """

    clock: Callable[[], datetime]
    issuers: tuple[CertificateFacts, ...]
    issuers_from: str
    source_name: str | None
    allow_shrink: bool
    rebuild: bool
    grace: timedelta
    compare_up_to: int
    note: str = ""
    actor: str = ""


# ---- the checks (steps 1 and 2) --------------------------------------------------


def check_publishable(metadata: ImageMetadata, now: datetime, clock_skew: timedelta) -> None:
    """
    Check that a CRL is supported and that its thisUpdate has come (step 1).

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
    Refuse a CRL that is not newer than the one that its scope has, or had (step 2).

    The CRL number must be higher, and thisUpdate must not be earlier. Where the
    published CRL has no number, thisUpdate must be later. *state* is the word in the
    message for the published CRL. With *same_number* an equal number is accepted.

    Raises:
        CrlOrderUnknownError: nobody can tell which of the two is newer.
        CrlRollbackError: the CRL is not newer.
    """
    regression = _regression(offered, published, same_number=same_number)
    if regression is None:
        return
    how, found, expected = regression
    if _has_no_order(offered, published):
        raise CrlOrderUnknownError(
            f"it cannot be told which is newer, {crl_text(offered)} or the {state} "
            f"{crl_text(published)}: both have thisUpdate {time_text(offered.this_update)}, there "
            "are no CRL numbers to compare, and the one offered is not known to list all that "
            "the other does",
            offered=found,
            published=expected,
        )
    raise CrlRollbackError(
        f"{crl_text(offered)} is not newer than the {state} {crl_text(published)}: it {how}",
        offered=found,
        published=expected,
    )


def _has_no_order(offered: ImageMetadata, published: ImageMetadata) -> bool:
    """Whether neither number nor time tells which of two different CRLs is newer."""
    return (
        published.crl_number is None
        and offered.this_update == published.this_update
        and offered.tbs_digest != published.tbs_digest
    )


def check_follows_removed(offered: ImageMetadata, removed: Tombstone) -> None:
    """
    Refuse a complete CRL that is not newer than the last one of a removed scope (step 2).

    It must be newer than that complete CRL, and no older than the delta CRL beside it.
    The delta's own number is enough, because a complete and a delta CRL of one time
    share their number (RFC 5280 5.2.3). The same CRL is accepted where the scope was
    removed with its issuer and had no delta CRL.

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
    """Return why *offered* is not newer, with the two values compared; None if it is newer."""
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
    Refuse a complete CRL with less than half of the published CRL's entries (step 2).

    CAs do publish empty CRLs by mistake, and each entry that is lost lifts a
    revocation. A loss of up to ``MIN_LOST_ENTRIES`` entries is accepted, however few
    there were.

    Raises:
        CrlShrinkError: most entries are gone.
    """
    lost = published.num_entries - offered.num_entries
    if lost > MIN_LOST_ENTRIES and 2 * lost > published.num_entries:
        raise CrlShrinkError(
            f"{crl_text(offered)} has {count(offered.num_entries, 'entry', 'entries')}, the "
            f"published {crl_text(published)} has {published.num_entries:,}: not published, "
            "because most of them are gone at once",
            offered=offered.num_entries,
            published=published.num_entries,
        )


def _has_base(delta: ImageMetadata, base: ImageMetadata) -> bool:
    """Whether *base* has the number that *delta* builds on, or a later one (RFC 5280 5.2.4)."""
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
    Refuse a CRL whose key only removed issuers have (step 2).

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
        f"({', '.join(dict.fromkeys(removed))}), so that it is not trusted any more",
        reason="removed_issuer",
    )


def is_signer(certificate: CertificateFacts, metadata: ImageMetadata) -> bool:
    """Whether a certificate has the issuer name and the key that verified a CRL."""
    return (
        certificate.may_sign_crls
        and public_key_hash(certificate) == metadata.verifier_key_hash
        and names_match(certificate.subject, metadata.issuer)
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


def _sources(current: ScopeRecord | None) -> tuple[str, ...]:
    """Return the sources of the last CRLs of a scope, the latest at the end."""
    if current is None or current.source is None:
        return ()
    return (*current.earlier_sources, current.source)[-MAX_EARLIER_SOURCES:]


# ---- the publication (steps 2, 3 and 5) ------------------------------------------


class Publication:
    """
    Publishes one compiled CRL in one store.

    After ``run``, ``before`` and ``after`` are the scope's records, ``catalog`` is the
    catalog that has ``after``, and ``added_issuers`` are the certificates that are new
    in it.
    """

    # ``run`` sets these.
    before: ScopeRecord | None
    after: ScopeRecord
    catalog: Catalog
    _num_lost: int

    def __init__(self, store: ObjectStore, compiled: CompiledImage, rules: PublishRules) -> None:
        self.added_issuers: set[bytes] = set()
        self.seconds: dict[str, float] = {}
        self.store = self._store = store
        self._compiled = compiled
        self._rules = rules
        self._scope = compiled.metadata.scope
        self._is_delta = compiled.metadata.is_delta
        self._image: PublishedImage | None = None
        self._unsure_issuers: tuple[CertificateFacts, ...] = ()
        self._written_after = 0
        self._generation = 0
        self._image_may_be_named = False
        self._deleted: set[str] = set()
        self._is_probed = False
        self._known_self_signed: dict[bytes, bool | None] = {}

    def run(self) -> PublishReport:
        """
        Publish the CRL, unless it is published already.

        Raises:
            CrlError: the CRL is refused against its scope (step 2).
            StoreError: the store fails, or others came first too often.
        """
        for self._num_lost in range(MAX_SWAPS):
            with self._timed("swap"):
                if self._num_lost:
                    back_off(self._num_lost)
                held, etag = self._read_set()
            try:
                report = self._try(held, etag)
            except CatalogDamagedError:
                # Clean-up may have deleted it, because a later generation does not use it.
                if read_set(self._store)[1] == etag:
                    raise
                continue
            except (RootSignatureError, SigningKeyError):
                self._discard_image()
                raise
            if report is not None:
                return report
        raise StoreUnavailableError(
            f"{crl_text(self._compiled.metadata)} was not published: other publications to "
            f"{self._store.url} came first {MAX_SWAPS} times"
        )

    def _try(self, held: PublishedSet, etag: str | None) -> PublishReport | None:
        """Publish the CRL in the set of *etag*; return None where another set came first."""
        with self._timed("swap"):
            catalog = self._read_part(held)
        self._generation = held.generation
        if self._image is not None and self._was_given_up(self._image, held):
            self._image = None
        current = catalog.scopes.get(self._scope)
        if self._image is not None and current and current.names(self._image):
            # The swap that was reported as lost succeeded: its request was sent twice.
            return self._report(current, catalog, published=True)
        record = self._successor_of(current, catalog)  # step 2
        issuers = self._issuer_records(catalog)
        self.before = current
        if record is current and not catalog.lacks(issuers):
            return self._report(record, catalog, published=False)
        with self._timed("swap"):
            successor = catalog.with_scope(record, issuers)
            change = Change(
                before=catalog,
                after=successor,
                action=self._action(is_new=record is not current),
                cleaned=self._delete_given_up(held),  # step 5
                at=self._rules.clock(),
                clock=self._rules.clock,
            )
            written = swap(self._store, held, etag, change, on_doubt=self._doubt)  # step 3
        if written is None:
            return None
        known = set(catalog.issuer_certificates())
        self.added_issuers = {one.certificate for one in issuers} - known
        after = replace(successor, generation=written.generation)
        return self._report(record, after, published=record is not current)

    def _read_set(self) -> tuple[PublishedSet, str | None]:
        held, etag = read_set(self._store)
        check_may_change(self._store, held.members)
        if etag is None and not self._is_probed:
            probe_store(self._store)
            self._is_probed = True
        return held, etag

    def _read_part(self, held: PublishedSet) -> Catalog:
        """Return what the catalog has of the CRL's issuer and of the given issuers."""
        metadata = self._compiled.metadata
        fingerprints = (IssuerRecord(one.der).fingerprint for one in self._rules.issuers)
        # Where they are exactly those that are known, nothing need be read to tell.
        are_known = Certificates.of(fingerprints) == held.root.trusted
        self._unsure_issuers = () if are_known else self._rules.issuers
        names = [metadata.issuer, *(one.subject for one in self._unsure_issuers)]
        points = {name_hash(metadata.issuer): points_of_crl(metadata)}
        return held.closure(names, points)

    def _action(self, *, is_new: bool) -> Action:
        """Return what the history says of this publication."""
        note, actor = self._rules.note, self._rules.actor
        if not is_new:
            return Action.of("trust", note=note, actor=actor)
        sources = {self._compiled.metadata.tbs_digest: self._rules.source_name}
        return Action.of("publish", note=note, actor=actor, sources=sources)

    def _successor_of(self, current: ScopeRecord | None, catalog: Catalog) -> ScopeRecord:
        """
        Return the scope's next record, or *current* if the CRL changes nothing (step 2).

        Raises:
            CrlError: the CRL is refused.
        """
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
        if not is_newer:
            assert current is not None, "the first CRL of a scope is always newer"
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
        """Return the delta CRL that stays beside a new complete CRL, because it is later."""
        was_reset = tombstone is not None and tombstone.accepts_any
        delta = current.delta
        if delta is None or was_reset or not delta_fits(delta.metadata, self._compiled.metadata):
            return None
        return delta

    def _check_not_expired(self, current: ScopeRecord, delta: PublishedImage | None) -> None:
        """
        Refuse a CRL that makes a current scope stale and revokes nothing more (step 2).

        Raises:
            CrlExpiredError: the CRL is past its nextUpdate, the published one is not.
        """
        now = self._rules.clock().replace(microsecond=0)
        serving, offered = later_crl(current), self._compiled.metadata
        if serving.is_past(now) or not offered.is_past(now):
            return
        if delta is not None and not self._is_delta:
            return  # the delta CRL beside it decides whether the scope is current
        limit = self._rules.compare_up_to
        if revokes_no_more(self._store, self._compiled, current, delta, limit=limit):
            assert offered.next_update is not None, "a CRL without nextUpdate does not expire"
            raise CrlExpiredError(
                f"{crl_text(offered)} has nextUpdate {time_text(offered.next_update)}, before "
                f"{time_text(now)}, and revokes nothing that the published {crl_text(serving)} "
                "does not: not published, because the certificates that it does not list would "
                "become stale",
                next_update=offered.next_update,
                published_next_update=serving.next_update,
                now=now,
            )

    def _is_newer(self, current: ScopeRecord | None, tombstone: Tombstone | None) -> bool:
        """
        Whether the CRL is to be published; False if it would add nothing (step 2).

        Raises:
            CrlError: the CRL is refused.
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
        was_reset = tombstone is not None and tombstone.accepts_any
        if (self._is_delta or not was_reset) and not self._adds_to(current):
            check_no_rollback(offered, published.metadata)
        if not self._is_delta and not self._rules.allow_shrink:
            check_no_shrink(offered, published.metadata)
        return True

    def _adds_to(self, current: ScopeRecord) -> bool:
        """
        Whether a complete CRL of the same second as an unnumbered one may replace it (step 2).

        Nobody can tell which of them is newer. But one that revokes all that the other does,
        for as final a reason, loses nothing. Of two that revoke the same the one that is
        current for longer stays, so that they do not take turns.
        """
        offered, published = self._compiled.metadata, current.base.metadata
        if self._is_delta or not _has_no_order(offered, published):
            return False
        until, published_until = offered.next_update, published.next_update
        ends_earlier = until is not None and (published_until is None or until < published_until)
        limit = self._rules.compare_up_to
        return revokes_as_much(
            self._store, self._compiled, current, and_more=ends_earlier, limit=limit
        )

    def _issuer_records(self, catalog: Catalog) -> list[IssuerRecord]:
        """
        Return the records of the given issuers that are new to the catalog.

        Added are completed records of those issuers whose records in the catalog, by an
        older writer, lack the source or whether they are self-signed.
        """
        moment = self._rules.clock().replace(microsecond=0)
        published = {one.certificate: one for one in catalog.issuers}
        given = {one.der: one for one in self._unsure_issuers}
        records = [
            IssuerRecord(der, moment, self._rules.issuers_from, self._self_signed(given[der]))
            for der in given
            if der not in published
        ]
        for der, record in published.items():
            if not record.added_by and der in given:
                records.append(replace(record, added_by=self._rules.issuers_from))
            if record.self_signed is None:
                certificate = published_certificate(der)
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
        """Whether the published image of this CRL is missing, damaged, or differs from ours."""
        if published.digest != self._compiled.digest:
            return True
        return not is_intact(self._store, published)

    def _was_given_up(self, image: PublishedImage, held: PublishedSet) -> bool:
        """
        Whether a generation since the image was written has given it up (step 5).

        Clean-up notes images that no catalog names, and deletes them later. To note this
        one later takes a swap, after which this publication's swap fails.
        """
        given_up = given_up_since(self._store, held, self._written_after, _MAX_FOLLOWED)
        return given_up is None or image.name in given_up

    def _stored_image(self) -> PublishedImage:
        """Return the image in the store; write it, under a new name, the first time (step 3)."""
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
            self._image, self._written_after = image, self._generation
        return self._image

    def _doubt(self) -> None:
        """Note that a catalog may have named the image; then clean-up deletes it."""
        self._image_may_be_named = True

    def _discard_image(self) -> None:
        """Delete the image that was written and that no catalog names."""
        image, self._image = self._image, None
        if image is not None and not self._image_may_be_named:
            self._try_to_delete(image.name)

    def _delete_given_up(self, held: PublishedSet) -> Cleaned:
        """Delete objects whose grace period is over (step 5); return how far that reaches."""
        now, kept_for = self._rules.clock(), max(self._rules.grace, keep_of(held.root))
        names, cleaned = due_objects(
            self._store, held, lambda at: now - at >= kept_for, _MAX_DELETED
        )
        for name in names:
            if name not in self._deleted and not self._try_to_delete(name):
                return held.root.cleaned
            self._deleted.add(name)
        return cleaned

    def _try_to_delete(self, name: str) -> bool:
        try:
            self._store.delete(name)
        except (CrlCheckError, OSError) as error:
            _log.warning("%s was not deleted from %s: %s", name, self._store.url, error)
            return False
        return True

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
