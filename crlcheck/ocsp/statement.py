"""
Say in OCSP's words what a check has found (RFC 6960 2.2 and 2.3).

Pure: no input, output or clock. The rules:

1. REVOKED is ``revoked``, with the entry's time and reason. A denial is ``revoked`` since it
   was made, with certificateHold, because it may be lifted. removeFromCRL in a complete CRL
   is no reason that an answer can have, so it has none.
2. Where an issuer above is revoked, the certificate is, too (2.7): for cACompromise where
   the issuer's key was compromised, else for the issuer's reason.
3. NOT_REVOKED is ``good`` only where nothing was waived for it. The checker's policy waives
   nothing here, but for distribution points and issuers without CRL: that is ``unknown``.
   In the operator's grace past a nextUpdate it is tryLater.
4. UNDETERMINED is tryLater where it may pass: the store does not answer, or a CRL is not
   current. Where the issuer itself is not trusted (any more), it is unauthorized. Else it is
   ``unknown``: this responder speaks for the issuer, and does not know the status. So is a
   serial number that a CRL may or may not cover, as with distribution points or reasons.
5. Times. ``good`` has the thisUpdate of the CRL that decided, and the first nextUpdate of
   those that cover the certificate. ``revoked`` has the times of the CRL that lists it. Where
   that one is not current, or where an operator denied it, the time of the check is
   thisUpdate, for a few minutes: an entry counts whatever its CRL's times, and a client that
   threw the answer away might let the certificate pass. ``unknown`` has no nextUpdate, so
   newer information is available at any time (4.2.2.1).
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from crlcheck.checker.serial_question import SerialStatus
from crlcheck.types import ReasonCode, RevocationStatus, UndeterminedCause

BRIEF = timedelta(minutes=10)
"""For how long an answer holds that is not by a current CRL."""


class CertStatus(enum.Enum):
    """The status of a certificate in a response (RFC 6960 4.2.1)."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class Refusal(enum.Enum):
    """Why a response has no status of a certificate (RFC 6960 4.2.1)."""

    MALFORMED_REQUEST = "malformed_request"
    INTERNAL_ERROR = "internal_error"
    TRY_LATER = "try_later"
    UNAUTHORIZED = "unauthorized"


class Statement(NamedTuple):
    """What a response says of a certificate."""

    status: CertStatus
    this_update: datetime
    next_update: datetime | None = None
    revocation_time: datetime | None = None
    reason: ReasonCode | None = None


Answer: TypeAlias = Statement | Refusal

_MAY_PASS = frozenset(
    {
        UndeterminedCause.STALE,
        UndeterminedCause.NOT_YET_VALID,
        UndeterminedCause.STORE_UNAVAILABLE,
    }
)


def answer_of(found: SerialStatus) -> Answer:
    """Return what is answered where a check has *found* that. The rules are the module's."""
    result = found.result
    if result.status is RevocationStatus.REVOKED:
        return _revoked(found)
    if result.status is RevocationStatus.NOT_REVOKED:
        return _not_revoked(found)
    # 4.
    if result.cause in _MAY_PASS:
        return Refusal.TRY_LATER
    if result.cause is UndeterminedCause.UNKNOWN_ISSUER and result.certificate is None:
        return Refusal.UNAUTHORIZED
    return _unknown(found)


def _unknown(found: SerialStatus) -> Statement:
    return Statement(CertStatus.UNKNOWN, _minute_of(found.at))


def _revoked(found: SerialStatus) -> Statement:
    result = found.result
    # 1.
    if result.denied:
        since, until = found.denied_at or found.at, found.denied_until
        end = _brief(found) if until is None else min(_brief(found), until)
        return Statement(
            CertStatus.REVOKED,
            _minute_of(found.at),
            end,
            since,
            ReasonCode.CERTIFICATE_HOLD,
        )
    reason = result.reason_code
    if reason is ReasonCode.REMOVE_FROM_CRL:
        reason = None
    # 2.
    if result.certificate is not None and reason is ReasonCode.KEY_COMPROMISE:
        reason = ReasonCode.CA_COMPROMISE
    return _listed(found, reason)


def _listed(found: SerialStatus, reason: ReasonCode | None) -> Statement:
    """Return the statement on a certificate that a CRL lists, with the times of step 5."""
    result, now = found.result, found.at
    this_update, next_update = result.this_update, result.next_update
    # An image without attributes has no date. It was revoked when the CRL was issued.
    since = result.revocation_date or this_update or now
    if this_update is None or this_update > now or (next_update is not None and next_update <= now):
        this_update, next_update = _minute_of(now), _brief(found)
    return Statement(CertStatus.REVOKED, this_update, next_update, since, reason)


def _not_revoked(found: SerialStatus) -> Answer:
    result = found.result
    # 3.
    if UndeterminedCause.CERTIFICATE_HOLD in result.waived:
        return _listed(found, ReasonCode.CERTIFICATE_HOLD)  # nobody can waive that for others
    if UndeterminedCause.STALE in result.waived:
        return Refusal.TRY_LATER
    if result.waived or result.this_update is None:
        return _unknown(found)
    this_update = result.this_update
    if this_update > found.at:  # it is a little ahead of this clock, which clock_skew allows
        this_update = _minute_of(found.at)
    return Statement(CertStatus.GOOD, this_update, found.next_update)


def _minute_of(time: datetime) -> datetime:
    """Return the minute of a time, so that equal answers within it are signed once."""
    return time.replace(second=0, microsecond=0)


def _brief(found: SerialStatus) -> datetime:
    return _minute_of(found.at) + BRIEF
