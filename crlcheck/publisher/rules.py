"""
Decide whether a compiled CRL is published: steps 1 and 2 of "One publication".

``publication`` has the list of all steps. What needs the CRL alone is checked by
``check_publishable``. What compares it with its scope is checked by ``Successors``, and
again wherever another publication came first.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from crlcheck.catalog.catalog import (
    IMAGE_PREFIX,
    MAX_EARLIER_SOURCES,
    Catalog,
    Draft,
    IssuerRecord,
    PublishedImage,
    ScopeRecord,
    Tombstone,
    delta_fits,
)
from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.issuer_keys import public_key_hash
from crlcheck.compiler.compile import CompiledImage
from crlcheck.encoding.names import name_key, names_match
from crlcheck.errors import (
    CrlBaseMissingError,
    CrlExpiredError,
    CrlNotYetValidError,
    CrlOrderUnknownError,
    CrlRollbackError,
    CrlShrinkError,
    CrlSignatureError,
    UnsupportedCrlError,
)
from crlcheck.publisher.comparison import (
    is_intact,
    later_crl,
    revokes_as_much,
    revokes_no_more,
)
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.types import CertificateFacts, ImageMetadata, PublishReport
from crlcheck.x509.certificates import published_certificate

MIN_LOST_ENTRIES = 10
"""A CRL that loses no more entries than this never counts as shrunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRules:
    """
    The arguments of ``publish_crl`` and ``publish_many`` that hold for every CRL.

    ``clock`` returns the time of each step. An image is superseded from the swap on,
    however long ago the publication began.
    """

    clock: Callable[[], datetime]
    issuers: tuple[CertificateFacts, ...]
    issuers_from: str
    grace: timedelta
    compare_up_to: int
    note: str = ""
    actor: str = ""


@dataclass(slots=True, eq=False)
class Offer:
    """
    One compiled CRL that is to be published, and what becomes of it.

    ``image`` is the name under which it is published; ``is_written`` tells that its object
    was written, when generation ``written_after`` was the last one. ``before`` and
    ``after`` are the scope's records. ``result`` is the report, or why it was not
    published; None as long as that is open.
    """

    compiled: CompiledImage
    source_name: str | None = None
    allow_shrink: bool = False
    rebuild: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    image: PublishedImage | None = None
    is_written: bool = False
    written_after: int = 0
    before: ScopeRecord | None = None
    after: ScopeRecord | None = None
    result: PublishReport | Exception | None = None

    @property
    def metadata(self) -> ImageMetadata:
        """The metadata of the CRL."""
        return self.compiled.metadata

    @property
    def is_changed(self) -> bool:
        """Whether the CRL changes its scope."""
        return self.after is not self.before

    @property
    def order(self) -> tuple[bool, int, datetime, int, str]:
        """
        Where the CRL stands among those of a group, which are published in this order.

        Complete CRLs come first, so that deltas find their base; then the lower CRL number,
        the earlier thisUpdate, and the fewer entries.
        """
        crl = self.metadata
        number = -1 if crl.crl_number is None else crl.crl_number
        return crl.is_delta, number, crl.this_update, crl.num_entries, crl.tbs_digest

    def named_image(self) -> PublishedImage:
        """Return the image under a name that no image had before, the same one each time."""
        if self.image is None:
            digest = self.compiled.digest
            self.image = PublishedImage(
                name=f"{IMAGE_PREFIX}{digest}-{secrets.token_hex(16)}.crlx",
                digest=digest,
                size=self.compiled.report.image_size,
                metadata=self.compiled.metadata,
            )
        return self.image


# ---- the checks ------------------------------------------------------------------------


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


class _RemovedIssuers:
    """The issuers that an operator removed, and the other ones with the key of a CRL."""

    def __init__(self, given: Sequence[CertificateFacts], catalog: Catalog) -> None:
        self._removed = catalog.removed_issuers
        self._given = given
        self._catalog = catalog

    @cached_property
    def _by_name(self) -> Mapping[bytes, list[CertificateFacts]]:
        given = {one.der: one for one in self._given}
        trusted = {one.certificate for one in self._catalog.issuers} - given.keys()
        found = [published_certificate(der) for der in sorted(trusted)]
        by_name: dict[bytes, list[CertificateFacts]] = {}
        for certificate in (*given.values(), *found):
            if certificate is not None:
                by_name.setdefault(name_key(certificate.subject), []).append(certificate)
        return by_name

    def check(self, metadata: ImageMetadata) -> None:
        """
        Refuse a CRL whose key only removed issuers have (step 2).

        Raises:
            CrlSignatureError: with reason ``"removed_issuer"``.
        """
        if not self._removed:
            return
        removed: list[str] = []
        for certificate in self._by_name.get(name_key(metadata.issuer), ()):
            if not is_signer(certificate, metadata):
                continue
            fingerprint = IssuerRecord(certificate.der).fingerprint
            if fingerprint not in self._removed:
                return
            removed.append(f"{fingerprint[:16]}… on {time_text(self._removed[fingerprint].at)}")
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


def _sources(current: ScopeRecord | None) -> tuple[str, ...]:
    """Return the sources of the last CRLs of a scope, the latest at the end."""
    if current is None or current.source is None:
        return ()
    return (*current.earlier_sources, current.source)[-MAX_EARLIER_SOURCES:]


def _kept_delta(
    offered: ImageMetadata, current: ScopeRecord, tombstone: Tombstone | None
) -> PublishedImage | None:
    """Return the delta CRL that stays beside a new complete CRL, because it is later."""
    was_reset = tombstone is not None and tombstone.accepts_any
    delta = current.delta
    if delta is None or was_reset or not delta_fits(delta.metadata, offered):
        return None
    return delta


# ---- a CRL against its scope (step 2) -----------------------------------------------------


class Successors:
    """
    Finds the next record of a scope for each CRL of a group, against one catalog.

    ``local`` has the files of the group's images by digest, which are not in the store yet.
    Threads may use it at once for different scopes.
    """

    def __init__(
        self,
        store: ObjectStore,
        catalog: Catalog,
        draft: Draft,
        rules: PublishRules,
        local: Mapping[str, bytes | Path],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._draft = draft
        self._rules = rules
        self._local = local
        self._removed = _RemovedIssuers(rules.issuers, catalog)

    def of(self, offer: Offer) -> tuple[ScopeRecord | None, ScopeRecord]:
        """
        Return the record of the CRL's scope and the next one, which is the same if the CRL
        changes nothing.

        Raises:
            CrlError: the CRL is refused.
        """
        key = offer.metadata.scope
        current, tombstone = self._draft.scope(key), self._draft.tombstone(key)
        self._removed.check(offer.metadata)
        is_newer = self._is_newer(offer, current, tombstone)
        delta = None if current is None else _kept_delta(offer.metadata, current, tombstone)
        if current is not None and is_newer:
            self._check_not_expired(offer, current, delta)
        if not is_newer:
            assert current is not None, "the first CRL of a scope is always newer"
            return current, current
        if current is not None and offer.metadata.is_delta:
            return current, replace(current, delta=offer.named_image())
        record = ScopeRecord(
            key,
            offer.named_image(),
            delta,
            offer.source_name,
            earlier_sources=_sources(current),
        )
        return current, record

    def _check_not_expired(
        self, offer: Offer, current: ScopeRecord, delta: PublishedImage | None
    ) -> None:
        """
        Refuse a CRL that makes a current scope stale and revokes nothing more (step 2).

        Raises:
            CrlExpiredError: the CRL is past its nextUpdate, the published one is not.
        """
        now = self._rules.clock().replace(microsecond=0)
        serving, offered = later_crl(current), offer.metadata
        if serving.is_past(now) or not offered.is_past(now):
            return
        if delta is not None and not offer.metadata.is_delta:
            return  # the delta CRL beside it decides whether the scope is current
        limit = self._rules.compare_up_to
        if revokes_no_more(
            self._store, offer.compiled, current, delta, limit=limit, local=self._local
        ):
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

    def _is_newer(
        self, offer: Offer, current: ScopeRecord | None, tombstone: Tombstone | None
    ) -> bool:
        """
        Whether the CRL is to be published; False if it would add nothing (step 2).

        Raises:
            CrlError: the CRL is refused.
        """
        offered = offer.metadata
        if offer.metadata.is_delta:
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
            return offer.rebuild and self._needs_rebuilding(offer, published)
        was_reset = tombstone is not None and tombstone.accepts_any
        if (offer.metadata.is_delta or not was_reset) and not self._adds_to(offer, current):
            check_no_rollback(offered, published.metadata)
        if not offer.metadata.is_delta and not offer.allow_shrink:
            check_no_shrink(offered, published.metadata)
        return True

    def _adds_to(self, offer: Offer, current: ScopeRecord) -> bool:
        """
        Whether a complete CRL of the same second as an unnumbered one may replace it (step 2).

        Nobody can tell which of them is newer. But one that revokes all that the other does,
        for as final a reason, loses nothing. Of two that revoke the same the one that is
        current for longer stays, so that they do not take turns.
        """
        offered, published = offer.metadata, current.base.metadata
        if offer.metadata.is_delta or not _has_no_order(offered, published):
            return False
        until, published_until = offered.next_update, published.next_update
        ends_earlier = until is not None and (published_until is None or until < published_until)
        limit = self._rules.compare_up_to
        return revokes_as_much(
            self._store,
            offer.compiled,
            current,
            and_more=ends_earlier,
            limit=limit,
            local=self._local,
        )

    def _needs_rebuilding(self, offer: Offer, published: PublishedImage) -> bool:
        """Whether the published image of this CRL is missing, damaged, or differs from ours."""
        if published.digest != offer.compiled.digest:
            return True
        stored = self._catalog.scopes.get(offer.metadata.scope)
        if stored is None or not stored.names(published):
            return False  # it is another CRL's of this group, and is written with it
        return not is_intact(self._store, published)
