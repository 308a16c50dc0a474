"""What a CRL and the delta beside it say of a certificate, and whether they are in their time."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import NamedTuple

from crlcheck._metadata import ImageMetadata
from crlcheck.scope import ALL_REASONS
from crlcheck.types import (
    CheckResult,
    Policy,
    ReasonCode,
    RevokedEntry,
    StaleRule,
    UndeterminedCause,
)


class Evidence(NamedTuple):
    """
    What one applicable CRL says of a certificate: its entry, or None.

    ``scope`` is ``metadata.scope``, kept beside it because deriving it at every
    check would cost more than the check. ``delta`` is the delta CRL beside it,
    with ``delta_entry``. ``reasons`` are those that the CRL covers for the
    certificate, none where it may revoke it and not clear it. ``signer`` is the
    verdict on the CRL's signer where that was checked for it. ``waived`` tells
    that the CRL counts by policy only. ``unsure_reasons`` are those that the CRL
    covers for some of the certificates that may be meant: it may revoke, and
    make the answer stale, but not clear.
    """

    metadata: ImageMetadata
    scope: str
    entry: RevokedEntry | None
    delta: ImageMetadata | None = None
    delta_entry: RevokedEntry | None = None
    reasons: int = ALL_REASONS
    signer: CheckResult | None = None
    waived: bool = False
    unsure_reasons: int = 0


class Lateness(enum.Enum):
    """Where a CRL stands to its nextUpdate."""

    CURRENT = enum.auto()
    GRACE = enum.auto()
    """Past it, and the policy waives that."""
    STALE = enum.auto()


class Reading(NamedTuple):
    """
    What a CRL and the delta beside it say together.

    ``entry`` is the one that counts, None where the certificate is not listed, and
    ``listed_by`` the one of the two that has it, else the complete CRL. ``latest``
    says whether they are in their time: the later one that is valid already (RFC
    5280 6.3.3 a).
    """

    evidence: Evidence
    entry: RevokedEntry | None
    listed_by: ImageMetadata
    latest: ImageMetadata

    @property
    def is_hold(self) -> bool:
        return self.entry is not None and is_hold(self.entry)


def read(evidence: Evidence, now: datetime, policy: Policy) -> Reading:
    """
    Read a CRL and the delta beside it as one.

    A revocation in either counts at any time, one for good before a hold. The
    delta's removeFromCRL counts while the delta is current, and lifts a hold
    only (RFC 5280 5.2.4, 5.3.1).
    """
    base, delta, entry = evidence.metadata, evidence.delta, evidence.entry
    if delta is None:
        return Reading(evidence, entry, base, base)
    latest = latest_of(base, delta, now, policy)
    changed = evidence.delta_entry
    if changed is not None and changed.reason_code is ReasonCode.REMOVE_FROM_CRL:
        if entry is not None and is_hold(entry) and latest is delta and not is_stale(delta, now):
            entry = None
        changed = None
    if changed is not None and (entry is None or is_hold(entry) or not is_hold(changed)):
        return Reading(evidence, changed, delta, latest)
    return Reading(evidence, entry, base, latest)


def is_hold(entry: RevokedEntry) -> bool:
    return entry.reason_code is ReasonCode.CERTIFICATE_HOLD


def has_begun(metadata: ImageMetadata, now: datetime, policy: Policy) -> bool:
    return metadata.this_update - now <= policy.clock_skew


def lateness_of(metadata: ImageMetadata, now: datetime, policy: Policy) -> Lateness:
    if not is_stale(metadata, now):
        return Lateness.CURRENT
    return Lateness.GRACE if _in_grace(metadata, now, policy) else Lateness.STALE


def untimely(
    base: ImageMetadata, delta: ImageMetadata | None, now: datetime, policy: Policy
) -> tuple[UndeterminedCause, ImageMetadata] | None:
    """
    Return why a complete CRL and the delta beside it clear nobody at *now*, and which
    of the two says so; None where they do.
    """
    latest = latest_of(base, delta, now, policy)
    if not has_begun(latest, now, policy):
        return UndeterminedCause.NOT_YET_VALID, latest
    if lateness_of(latest, now, policy) is Lateness.STALE:
        return UndeterminedCause.STALE, latest
    return None


def latest_of(
    base: ImageMetadata, delta: ImageMetadata | None, now: datetime, policy: Policy
) -> ImageMetadata:
    """Return which of the two says whether they are current: the delta, once it has begun."""
    return delta if delta is not None and has_begun(delta, now, policy) else base


def is_stale(metadata: ImageMetadata, now: datetime) -> bool:
    return metadata.next_update is not None and now > metadata.next_update


def _in_grace(metadata: ImageMetadata, now: datetime, policy: Policy) -> bool:
    """
    Whether the policy lets a CRL speak although its nextUpdate has passed.

    A CRL without nextUpdate never gets here: it does not go stale, which is why
    the compiler takes one only where that was asked for.
    """
    return (
        policy.stale is StaleRule.GRACE
        and metadata.next_update is not None
        and now - metadata.next_update <= policy.stale_grace
    )
