"""
Say at a glance how a published set stands: what is stale or soon will be, and what was refused.

A scope is stale where the later of its CRLs is past its nextUpdate. It will be stale soon
where less than a part of its validity period, or less than a given time, is left. The
references of the tree say when the earliest CRL below them is past its nextUpdate. So
shards in which nothing is due are not read, unless every scope is asked for. A shard that is
missing or damaged is told, with the status of all that lies in the others.

For example, a CRL is valid for a week, and a warning is asked for at 25 %. From 42 hours
before its nextUpdate it is "soon_stale", from its nextUpdate on it is "stale". If the operator
has granted a grace, it is "in_grace" instead, until that ends.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from crlcheck.catalog.entries import staleness_of_entry
from crlcheck.catalog.neighbours import Neighbours, issuer_keys_of
from crlcheck.catalog.published_set import PublishedSet, nothing_published, read_set
from crlcheck.catalog.readable_part import ReadablePart
from crlcheck.catalog.records import Grace, ScopeRecord
from crlcheck.catalog.tree import Failed, Reference, Staleness
from crlcheck.encoding.names import name_key, name_text
from crlcheck.errors import CatalogDamagedError, StoreError
from crlcheck.publisher.comparison import later_crl
from crlcheck.publisher.operator import moment_of
from crlcheck.publisher.rejections import Rejection, known_rejections
from crlcheck.remedies import remedy_of
from crlcheck.signing.root_key import RootKey, read_root_keys
from crlcheck.signing.statement import SOON, ends_soon, stated_expiry, verify_root
from crlcheck.stores import ObjectStore, open_store
from crlcheck.types import CertificateFacts
from crlcheck.x509.certificates import published_certificate

DEFAULT_WARN = SOON
"""The part of a CRL's validity period that is left when it counts as stale soon."""


@dataclass(frozen=True, slots=True)
class PublishedScope:
    """
    A scope of a published set, by the later of its complete and its delta CRL.

    ``state`` is ``"current"``, ``"soon_stale"``, ``"stale"``, ``"in_grace"`` (stale, and an
    operator lets it be used) or ``"expired_and_replaced"`` (stale, and the newer CRL of
    scope ``replaced_by`` covers the same). ``time_left`` is negative for a stale one, None
    without nextUpdate.
    """

    scope: str
    issuer: str
    state: str
    crl_number: int | None
    is_delta: bool
    this_update: datetime
    next_update: datetime | None
    num_entries: int
    source: str | None
    time_left: timedelta | None
    replaced_by: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableObject:
    """
    An object of a store that is missing or damaged, so that its status is not known.

    ``detail`` says what was found, and ``remedy`` what can be done.
    """

    name: str
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """
    How a published set stands.

    ``at`` is when its generation was written, None for a catalog of format 1. ``scopes``
    are those that are not ``"current"``, the one with the least time left first, or all
    where that was asked for; of these the first *at_most*. ``num_by_state`` counts them all by
    their state, and ``num_entries`` is how many entries all scopes have, None where not every
    scope was asked for. ``rejections`` are the sources whose last CRL was refused,
    ``unchecked_issuers`` the issuers that end a path unchecked, or None where nobody looked.
    ``knows_rejections`` is False for a store whose objects cannot be listed, as at a URL.
    ``num_denied`` counts the denials that hold, None where they cannot be read, and ``grace`` is
    that of the store if it holds. ``unreadable`` are the objects that are missing or damaged,
    of those that were read: of scopes and issuers in them nothing is told here.
    ``signed_until`` is when the signature of the root expires, and ``signed_for`` the time
    until then, negative after it; both are None without one. ``signature_state`` is
    ``"current"``, ``"ends_soon"`` or ``"expired"``, None without one. With *root_keys* the
    signature is the one by these keys that expires last. Without them it is the last one of
    all, and nobody has verified it.
    """

    store: str
    generation: int
    at: datetime | None
    age: timedelta | None
    num_scopes: int
    num_issuers: int
    num_denied: int | None
    grace: Grace | None
    scopes: tuple[PublishedScope, ...]
    rejections: tuple[Rejection, ...]
    knows_rejections: bool
    unchecked_issuers: tuple[str, ...] | None
    num_by_state: Mapping[str, int]
    num_entries: int | None = None
    signed_until: datetime | None = None
    signed_for: timedelta | None = None
    unreadable: tuple[UnreadableObject, ...] = ()
    signature_state: str | None = None

    def count(self, state: str) -> int:
        """Return how many scopes are in a state other than "current"."""
        return self.num_by_state.get(state, 0)


def read_store_status(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    warn: float | timedelta = DEFAULT_WARN,
    every_scope: bool = False,
    issuers: bool = True,
    at_most: int | None = None,
    root_keys: Iterable[RootKey | str] | str | None = None,
    now: datetime | None = None,
) -> StoreStatus:
    """
    Return how the published set of a store stands.

    Args:
        store: as for ``publish_crl``.
        warn: a scope is stale soon when this part of its validity period is left, or
            this time; so does the signature of the root end soon (``ends_soon`` of
            ``crlcheck.signing.statement``).
        every_scope: list scopes that are current too.
        issuers: look for issuers that end a path unchecked. All shards are read for it.
        at_most: list no more scopes, so that a set of any size takes little memory. All are
            counted.
        root_keys: keys of which one must have signed the root; without them its
            signature is not verified.
        now: the time, UTC; by default the clock's.

    Raises:
        FileNotFoundError: the store has nothing published.
        RootSignatureError: the root is signed by none of *root_keys*, or no more.
        StoreError: the store does not answer, or its root cannot be read.
        ValueError: *warn* is negative, or a part that is more than 1.
    """
    _check_warn(warn)
    target, moment = open_store(store), moment_of(now)
    published, signed_until = _published(target, root_keys, moment)
    part = published.settings()
    grace = part.grace if part.grace is not None and moment < part.grace.until else None
    unreadable: dict[str, UnreadableObject] = {}

    def note(name: str, error: StoreError) -> None:
        found = UnreadableObject(name, str(error), remedy_of(error) or "")
        unreadable.setdefault(name, found)

    def failed(error: CatalogDamagedError) -> None:
        note(error.name, error)

    counts: Counter[str] = Counter()
    num_entries = 0

    def counted() -> Iterator[PublishedScope]:
        nonlocal num_entries
        for one in published_scopes(
            published, moment, warn, every_scope=every_scope, grace=grace, failed=failed
        ):
            counts[one.state] += 1
            num_entries += one.num_entries
            yield one

    if at_most is None:
        scopes = sorted(counted(), key=_least_time_left)
    else:
        # Of none it would not go through the scopes, which are to be counted.
        scopes = heapq.nsmallest(max(at_most, 1), counted(), key=_least_time_left)[:at_most]
    is_format1 = published.format1 is not None
    catalog = None if published.format1 is None else published.format1.catalog
    unchecked = tuple(_unchecked(published, failed)) if issuers else None
    rejections = known_rejections(target, failed=note)
    num_denied: int | None = None
    try:
        num_denied = sum(one.holds(moment) for one in published.denied)
    except CatalogDamagedError as error:
        failed(error)
    return StoreStatus(
        store=target.url,
        generation=published.generation,
        at=None if is_format1 else published.root.at,
        age=None if is_format1 else moment - published.root.at,
        num_scopes=published.root.num_scopes if catalog is None else len(catalog.scopes),
        num_issuers=published.root.trusted.count if catalog is None else len(catalog.issuers),
        num_denied=num_denied,
        grace=grace,
        scopes=tuple(scopes),
        rejections=tuple(rejections or ()),
        knows_rejections=rejections is not None,
        unchecked_issuers=unchecked,
        num_by_state=dict(counts),
        num_entries=num_entries if every_scope else None,
        signed_until=signed_until,
        signed_for=None if signed_until is None else signed_until - moment,
        unreadable=tuple(unreadable.values()),
        signature_state=_signature_state(published.root.at, signed_until, moment, warn),
    )


def _least_time_left(one: PublishedScope) -> tuple[bool, timedelta, str]:
    return one.time_left is None, one.time_left or timedelta(0), one.scope


def _signature_state(
    at: datetime, until: datetime | None, now: datetime, warn: float | timedelta
) -> str | None:
    if until is None:
        return None
    if until <= now:
        return "expired"
    return "ends_soon" if ends_soon(at, until, now, warn) else "current"


def _published(
    store: ObjectStore, root_keys: Iterable[RootKey | str] | str | None, now: datetime
) -> tuple[PublishedSet, datetime | None]:
    """
    Return the published set of a store, and when the signature of its root expires.

    Raises: as ``read_store_status``.
    """
    published, etag = read_set(store)
    if etag is None:
        raise nothing_published(store)
    members = published.members or {}
    if root_keys is None:
        return published, stated_expiry(members)
    return published, verify_root(members, read_root_keys(root_keys), now=now)[0].statement.expires


def _check_warn(warn: float | timedelta) -> None:
    is_fit = warn >= timedelta(0) if isinstance(warn, timedelta) else 0 <= warn <= 1
    if not is_fit:
        raise ValueError(f"warn: expected a part from 0 to 1 or a time, found {warn}")


def read_published_scopes(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    warn: float | timedelta = DEFAULT_WARN,
    root_keys: Iterable[RootKey | str] | str | None = None,
    now: datetime | None = None,
) -> Iterator[PublishedScope]:
    """
    Return an iterator over every scope of a published set, in no order.

    Only a shard at a time is in memory. Arguments and errors are those of
    ``read_store_status``; the root is read at once, the shards as they are needed. The first
    shard that is missing or damaged is a CatalogDamagedError after the scopes of all others.
    """
    _check_warn(warn)
    moment = moment_of(now)
    published, _ = _published(open_store(store), root_keys, moment)
    grace = published.settings().grace
    return _then_raise(
        lambda failed: published_scopes(
            published, moment, warn, every_scope=True, grace=grace, failed=failed
        )
    )


def _then_raise(
    scopes: Callable[[Failed], Iterator[PublishedScope]],
) -> Iterator[PublishedScope]:
    errors: list[CatalogDamagedError] = []
    yield from scopes(errors.append)
    if errors:
        raise errors[0]


def published_scopes(
    published: PublishedSet,
    now: datetime,
    warn: float | timedelta = DEFAULT_WARN,
    *,
    every_scope: bool = False,
    grace: Grace | None = None,
    failed: Failed,
) -> Iterator[PublishedScope]:
    """
    Yield the scopes that are not current, or every one, a shard at a time.

    Arguments and errors are those of ``read_store_status``; *grace* is that of the store.
    *failed* is told of what is missing or damaged, and the rest is read without it.
    """
    seconds = now.timestamp()

    def is_due(found: Staleness) -> bool:
        if found.stale_at is None:
            return False
        before = (
            warn.total_seconds() if isinstance(warn, timedelta) else warn * found.longest_validity
        )
        return found.stale_at - before <= seconds

    def is_boring(reference: Reference) -> bool:
        return not (every_scope or is_due(reference.staleness))

    def is_wanted(key: str, value: Any) -> bool:
        staleness = staleness_of_entry(key, value)
        return staleness is not None and (every_scope or is_due(staleness))

    for record in published.scopes(skip=is_boring, is_wanted=is_wanted, failed=failed):
        # In a catalog of format 1 all are read.
        if every_scope or is_due(_staleness_of(record)):
            yield _described(published, record, now, grace, is_due, failed)


def _staleness_of(record: ScopeRecord) -> Staleness:
    later = later_crl(record)
    return Staleness.of(later.this_update, later.next_update)


def _described(
    published: PublishedSet,
    record: ScopeRecord,
    now: datetime,
    grace: Grace | None,
    is_due: Callable[[Staleness], bool],
    failed: Failed,
) -> PublishedScope:
    later = later_crl(record)
    left = None if later.next_update is None else later.next_update - now
    described = PublishedScope(
        scope=record.key,
        issuer=name_text(later.issuer),
        state="soon_stale" if is_due(_staleness_of(record)) else "current",
        crl_number=later.crl_number,
        is_delta=later.is_delta,
        this_update=later.this_update,
        next_update=later.next_update,
        num_entries=record.base.metadata.num_entries,
        source=record.source,
        time_left=left,
    )
    if not later.is_past(now):
        return described
    until = record.grace_until(grace)
    if until is not None and now < until:
        return replace(described, state="in_grace")
    try:
        found = _replacement(published, record, now)
    except CatalogDamagedError as error:
        failed(error)
        found = None  # what cannot be read replaces nothing
    if found is None:
        return replace(described, state="stale")
    return replace(described, state="expired_and_replaced", replaced_by=found)


def _replacement(published: PublishedSet, record: ScopeRecord, now: datetime) -> str | None:
    """Return the scope whose newer CRL covers all that an expired one does, if there is one."""
    later = later_crl(record)
    part = published.closure([later.issuer], {})
    crls = {key: later_crl(one) for key, one in part.scopes.items()}
    found = Neighbours(crls, issuer_keys_of(part), now).replacement_of(later)
    return None if found is None else found[0]


def _unchecked(published: PublishedSet, failed: Failed) -> Iterator[str]:
    """
    Yield the subject of each trusted issuer whose own issuer is not trusted.

    No CRL can say whether such an issuer is revoked, because the operator trusted it
    directly. Anchors are left out, and so are issuers of removed CRLs, and issuers of which
    nobody can tell because their own issuer's entries are missing or damaged.
    """
    above: dict[bytes, list[str]] = {}
    names: dict[bytes, bytes] = {}
    known: set[bytes] = set()
    for certificate, is_end in _issuers(published, failed):
        known.add(name_key(certificate.subject))
        if not is_end:
            names[name_key(certificate.issuer)] = certificate.issuer
            above.setdefault(name_key(certificate.issuer), []).append(
                name_text(certificate.subject)
            )
    known |= {name_key(one.base.issuer) for one in published.tombstones(failed=failed)}
    part = ReadablePart(published)
    for issuer in above.keys() - known:
        if part.damage_under(names[issuer], ()) is None:
            yield from sorted(above[issuer])


def _issuers(published: PublishedSet, failed: Failed) -> Iterator[tuple[CertificateFacts, bool]]:
    """Yield each trusted certificate, and whether paths end at it."""
    for issuer in published.issuers(failed=failed):
        certificate = published_certificate(issuer.certificate)
        if certificate is not None:
            yield certificate, issuer.is_anchor or bool(issuer.self_signed)
