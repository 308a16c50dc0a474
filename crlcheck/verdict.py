"""
From what the applicable CRLs say, the time and the policy to a verdict, in
words that a person on call understands. Pure: no input, output or clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from crlcheck._metadata import ImageMetadata
from crlcheck._name import format_name
from crlcheck.scope import Coverage
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    ReasonCode,
    RevocationStatus,
    RevokedEntry,
    StaleRule,
    UndeterminedCause,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What one applicable CRL says of a certificate: its entry, or None.

    ``scope`` is ``metadata.scope``, kept beside it because deriving it at every
    check would cost more than the check.
    """

    metadata: ImageMetadata
    scope: str
    entry: RevokedEntry | None


def decide(
    certificate: CertificateFacts, evidence: Sequence[Evidence], *, now: datetime, policy: Policy
) -> CheckResult:
    """
    Return the verdict on *certificate* by the CRLs that speak for it, at least one.

    Of several CRLs of one scope the newest that is valid already counts. Over
    scopes, REVOKED in any is REVOKED, else one that says NOT_REVOKED is enough
    (RFC 5280 6.3.3: each covers the certificate by itself).
    """
    if len(evidence) == 1:
        return _judge(certificate, evidence[0], now, policy)
    scopes: dict[str, list[Evidence]] = {}
    for item in sorted(evidence, key=_age, reverse=True):
        scopes.setdefault(item.scope, []).append(item)
    results = [_judge_scope(certificate, items, now, policy) for items in scopes.values()]
    return min(results, key=lambda result: _DECISIVE.index(result.status))


def uncovered(certificate: CertificateFacts, coverage: Coverage) -> CheckResult:
    """Return the verdict on a certificate that no CRL held speaks for."""
    cause = coverage.cause
    if cause is None:
        raise ValueError("the certificate is covered: decide by what the CRLs say")
    key_id = certificate.authority_key_id
    if cause is UndeterminedCause.UNKNOWN_ISSUER:
        key = "" if key_id is None else f" and key id {key_id.hex()}"
        reason = f"no trusted issuer has that name{key}"
    elif cause is UndeterminedCause.AMBIGUOUS_ISSUER:
        which = "it has no authority key id" if key_id is None else f"all have id {key_id.hex()}"
        reason = f"several issuer keys have that name and {which}"
    elif coverage.num_inapplicable:
        reason = f"none of the {coverage.num_inapplicable} CRL(s) held for that issuer covers it"
    else:
        reason = "no CRL of that issuer is held"
    return _undetermined(certificate, cause, reason)


def unavailable(certificate: CertificateFacts, reason: str) -> CheckResult:
    """Return the verdict where the CRL that would decide could not be had; *reason* says why."""
    return _undetermined(certificate, UndeterminedCause.STORE_UNAVAILABLE, reason)


def worst(results: Iterable[CheckResult]) -> CheckResult:
    """
    Return the result that decides over a path: REVOKED over UNDETERMINED over
    NOT_REVOKED, the first of equals.

    A path that may pass carries what was waived for any of its certificates.
    """
    results = list(results)
    decided = min(results, key=lambda result: _SEVERITY.index(result.status))
    if decided.status is not RevocationStatus.NOT_REVOKED:
        return decided
    waived = tuple(dict.fromkeys(cause for result in results for cause in result.waived))
    return decided if waived == decided.waived else dataclasses.replace(decided, waived=waived)


_SEVERITY = (
    RevocationStatus.REVOKED,
    RevocationStatus.UNDETERMINED,
    RevocationStatus.NOT_REVOKED,
)
_DECISIVE = (
    RevocationStatus.REVOKED,
    RevocationStatus.NOT_REVOKED,
    RevocationStatus.UNDETERMINED,
)


def _age(evidence: Evidence) -> tuple[datetime, int, bool]:
    """Order CRLs of one scope in time; of equals, one that lists the certificate comes later."""
    metadata = evidence.metadata
    number = -1 if metadata.crl_number is None else metadata.crl_number
    return metadata.this_update, number, evidence.entry is not None


def _judge_scope(
    certificate: CertificateFacts, newest_first: Sequence[Evidence], now: datetime, policy: Policy
) -> CheckResult:
    """Let the newest CRL of one scope speak, and an older one while that is not yet valid."""
    results = [_judge(certificate, item, now, policy) for item in newest_first]
    valid = (r for r in results if r.cause is not UndeterminedCause.NOT_YET_VALID)
    return next(valid, results[0])


def _judge(
    certificate: CertificateFacts, evidence: Evidence, now: datetime, policy: Policy
) -> CheckResult:
    metadata = evidence.metadata
    if evidence.entry is not None:
        # Whatever the time: revocation does not lapse with the CRL that states it, an entry's
        # date in the future hides nothing, and outside a delta removeFromCRL lifts nothing.
        return _revoked(certificate, evidence, evidence.entry)
    if metadata.this_update > now + policy.clock_skew:
        return _undetermined(
            certificate,
            UndeterminedCause.NOT_YET_VALID,
            f"it is not listed, but {crl_text(metadata)} is not valid before "
            f"{time_text(metadata.this_update)}",
            evidence,
        )
    stale = metadata.next_update is not None and now > metadata.next_update
    if stale and not _in_grace(metadata, now, policy):
        return _undetermined(
            certificate,
            UndeterminedCause.STALE,
            f"it is not listed, but {crl_text(metadata)} has been stale since "
            f"{time_text(metadata.next_update)}",
            evidence,
        )
    if now > certificate.not_after and not _keeps_expired(metadata, certificate):
        return _undetermined(
            certificate,
            UndeterminedCause.CERTIFICATE_EXPIRED,
            f"it expired on {time_text(certificate.not_after)} and {crl_text(metadata)} "
            "need not list expired certificates",
            evidence,
        )
    return _not_revoked(certificate, evidence, stale=stale)


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


def _keeps_expired(metadata: ImageMetadata, certificate: CertificateFacts) -> bool:
    """Whether the CRL lists certificates that expired when this one did (expiredCertsOnCRL)."""
    since = metadata.expired_certs_on_crl
    return since is not None and since <= certificate.not_after


def _revoked(certificate: CertificateFacts, evidence: Evidence, entry: RevokedEntry) -> CheckResult:
    reason, date = entry.reason_code, entry.revocation_date
    words = "" if reason is None else f": {_REASONS[reason]}"
    since = "" if date is None else f"{',' if words else ''} since {time_text(date)}"
    return _result(
        certificate,
        RevocationStatus.REVOKED,
        None,
        f"{_subject(certificate)} is revoked{words}{since} ({crl_text(evidence.metadata)})",
        evidence,
    )


def _not_revoked(certificate: CertificateFacts, evidence: Evidence, *, stale: bool) -> CheckResult:
    metadata = evidence.metadata
    until = time_text(metadata.next_update)
    if stale:
        validity = f", stale since {until} and accepted within the grace period"
    else:
        validity = f", valid until {until}" if until else ", without nextUpdate"
    return _result(
        certificate,
        RevocationStatus.NOT_REVOKED,
        None,
        f"{_subject(certificate)} is not revoked ({crl_text(metadata)}{validity})",
        evidence,
        waived=(UndeterminedCause.STALE,) if stale else (),
    )


def _undetermined(
    certificate: CertificateFacts,
    cause: UndeterminedCause,
    reason: str,
    evidence: Evidence | None = None,
) -> CheckResult:
    detail = f"{_subject(certificate)} cannot be judged: {reason}"
    return _result(certificate, RevocationStatus.UNDETERMINED, cause, detail, evidence)


def _result(
    certificate: CertificateFacts,
    status: RevocationStatus,
    cause: UndeterminedCause | None,
    detail: str,
    evidence: Evidence | None,
    waived: tuple[UndeterminedCause, ...] = (),
) -> CheckResult:
    metadata = None if evidence is None else evidence.metadata
    entry = None if evidence is None else evidence.entry
    return CheckResult(
        status=status,
        cause=cause,
        detail=detail,
        serial_number=certificate.serial_number,
        reason_code=None if entry is None else entry.reason_code,
        revocation_date=None if entry is None else entry.revocation_date,
        crl_number=None if metadata is None else metadata.crl_number,
        this_update=None if metadata is None else metadata.this_update,
        next_update=None if metadata is None else metadata.next_update,
        scope=None if evidence is None else evidence.scope,
        certificate=certificate,
        waived=waived,
    )


# ---- words -------------------------------------------------------------------

_REASONS = {
    ReasonCode.UNSPECIFIED: "reason unspecified",
    ReasonCode.KEY_COMPROMISE: "key compromise",
    ReasonCode.CA_COMPROMISE: "CA compromise",
    ReasonCode.AFFILIATION_CHANGED: "affiliation changed",
    ReasonCode.SUPERSEDED: "superseded",
    ReasonCode.CESSATION_OF_OPERATION: "cessation of operation",
    ReasonCode.CERTIFICATE_HOLD: "on hold",
    ReasonCode.REMOVE_FROM_CRL: "removeFromCRL, which lifts nothing outside a delta CRL",
    ReasonCode.PRIVILEGE_WITHDRAWN: "privilege withdrawn",
    ReasonCode.AA_COMPROMISE: "AA compromise",
}


def crl_text(metadata: ImageMetadata) -> str:
    """Name a CRL in a sentence, as in ``"CRL 17 of CN=Example CA"``."""
    number = "the CRL" if metadata.crl_number is None else f"CRL {metadata.crl_number}"
    return f"{number} of {name_text(metadata.issuer)}"


@lru_cache(maxsize=1024)
def name_text(der: bytes) -> str:
    """Return a Name as text for people; one that cannot be read is shown in hex."""
    try:
        return format_name(der)
    except ValueError:
        return f"a malformed name ({der.hex()})"


def time_text(moment: datetime | None) -> str:
    """Return a UTC time in ISO 8601, as in ``"2026-01-02T00:00:00Z"``; nothing for None."""
    return "" if moment is None else moment.isoformat().replace("+00:00", "Z")


def _subject(certificate: CertificateFacts) -> str:
    return f"certificate {certificate.serial_number:x} issued by {name_text(certificate.issuer)}"
