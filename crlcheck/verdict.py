"""
From what the applicable CRLs say, the time and the policy to a verdict, in
words that a person on call understands. Pure: no input, output or clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from crlcheck._metadata import ImageMetadata
from crlcheck._wording import (
    REASON_TEXTS,
    WAIVED_TEXTS,
    crl_text,
    subject_text,
    time_text,
)
from crlcheck.scope import ALL_REASONS, Coverage
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    ReasonCode,
    RevocationStatus,
    RevokedEntry,
    Rule,
    StaleRule,
    UndeterminedCause,
)


class Evidence(NamedTuple):
    """
    What one applicable CRL says of a certificate: its entry, or None.

    ``scope`` is ``metadata.scope``, kept beside it because deriving it at every
    check would cost more than the check. ``delta`` is the delta CRL beside it,
    with ``delta_entry``. ``reasons`` are those that the CRL covers for the
    certificate. ``signer`` is the verdict on the CRL's signer where that was
    checked for it. ``waived`` tells that the CRL counts by policy only.
    """

    metadata: ImageMetadata
    scope: str
    entry: RevokedEntry | None
    delta: ImageMetadata | None = None
    delta_entry: RevokedEntry | None = None
    reasons: int = ALL_REASONS
    signer: CheckResult | None = None
    waived: bool = False


def decide(
    certificate: CertificateFacts, evidence: Sequence[Evidence], *, now: datetime, policy: Policy
) -> CheckResult:
    """
    Return the verdict on *certificate* by the CRLs that speak for it, at least one.

    Of several CRLs of one scope the newest that is valid already counts. Over
    scopes, REVOKED in any is REVOKED; else those that say NOT_REVOKED are enough
    where they cover all reasons together (RFC 5280 6.3.3).
    """
    if len(evidence) == 1 and evidence[0].reasons == ALL_REASONS:
        return _judge(certificate, evidence[0], now, policy)
    scopes: dict[str, list[Evidence]] = {}
    for item in sorted(evidence, key=_age, reverse=True):
        scopes.setdefault(item.scope, []).append(item)
    judged = [_judge_scope(certificate, items, now, policy) for items in scopes.values()]
    return _combine(certificate, judged)


def _combine(
    certificate: CertificateFacts, judged: Sequence[tuple[CheckResult, int]]
) -> CheckResult:
    """Combine the results of different scopes, each with the reasons that it covers."""
    for result, _ in judged:
        if result.status is RevocationStatus.REVOKED:
            return result
    passing = [item for item in judged if item[0].status is RevocationStatus.NOT_REVOKED]
    # Nothing is waived that need not be, but a hold that was found cannot be passed over.
    unwaived = [item for item in passing if not item[0].waived]
    held = any(UndeterminedCause.CERTIFICATE_HOLD in result.waived for result, _ in passing)
    if not held and _covers_all(unwaived):
        return unwaived[0][0]
    if _covers_all(passing):
        return worst(result for result, _ in passing)
    for result, _ in judged:
        if result.status is RevocationStatus.UNDETERMINED:
            return result
    reason = "the CRLs held do not cover all revocation reasons, and none of them lists it"
    return _undetermined(certificate, UndeterminedCause.REASONS_NOT_COVERED, reason)


def _covers_all(judged: Sequence[tuple[CheckResult, int]]) -> bool:
    covered = 0
    for _, reasons in judged:
        covered |= reasons
    return covered == ALL_REASONS


def uncovered(
    certificate: CertificateFacts, coverage: Coverage, policy: Policy | None = None
) -> CheckResult:
    """Return the verdict on a certificate that no CRL held speaks for."""
    cause = coverage.cause
    if cause is None:
        raise ValueError("the certificate is covered: decide by what the CRLs say")
    key_id = certificate.authority_key_id
    if cause is UndeterminedCause.UNKNOWN_ISSUER:
        key = "" if key_id is None else f" and key id {key_id.hex()}"
        reason = f"no trusted issuer has that name{key}"
        if policy is not None and policy.unknown_issuer is Rule.ALLOW:
            return _waived(certificate, cause, reason)
    elif cause is UndeterminedCause.AMBIGUOUS_ISSUER:
        which = "it has no authority key id" if key_id is None else f"all have id {key_id.hex()}"
        reason = f"several issuer keys have that name and {which}"
    elif coverage.num_inapplicable:
        reason = f"none of the {coverage.num_inapplicable} CRL(s) held for that issuer covers it"
        if not certificate.distribution_points:
            reason += ", for it names no distribution point"
    else:
        reason = "no CRL of that issuer is held"
    return _undetermined(certificate, cause, reason)


def _waived(certificate: CertificateFacts, cause: UndeterminedCause, reason: str) -> CheckResult:
    return dataclasses.replace(
        _undetermined(certificate, cause, ""),
        status=RevocationStatus.NOT_REVOKED,
        cause=None,
        detail=f"{subject_text(certificate)} is accepted by policy: {reason}",
        waived=(cause,),
    )


def denied(certificate: CertificateFacts, *, note: str, until: datetime | None) -> CheckResult:
    """Return the verdict on a certificate that an operator denied by hand."""
    because = f": {note}" if note else ""
    end = "" if until is None else f", until {time_text(until)}"
    return CheckResult(
        status=RevocationStatus.REVOKED,
        cause=None,
        detail=f"{subject_text(certificate)} is denied by the operator's deny list{because}{end}",
        serial_number=certificate.serial_number,
        certificate=certificate,
        denied=True,
    )


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


def severity(result: CheckResult | None) -> int:
    """Order results from what may pass, as None does, to what is worst."""
    return 0 if result is None else 2 - _SEVERITY.index(result.status)


def _age(evidence: Evidence) -> tuple[datetime, int, bool]:
    """Order CRLs of one scope in time; of equals, one that lists the certificate comes later."""
    metadata = evidence.metadata
    number = -1 if metadata.crl_number is None else metadata.crl_number
    return metadata.this_update, number, evidence.entry is not None


def _judge_scope(
    certificate: CertificateFacts, newest_first: Sequence[Evidence], now: datetime, policy: Policy
) -> tuple[CheckResult, int]:
    """Let the newest CRL of one scope speak, and an older one while that is not yet valid."""
    results = [(_judge(certificate, item, now, policy), item.reasons) for item in newest_first]
    valid = (item for item in results if item[0].cause is not UndeterminedCause.NOT_YET_VALID)
    return next(valid, results[0])


def _judge(
    certificate: CertificateFacts, evidence: Evidence, now: datetime, policy: Policy
) -> CheckResult:
    metadata, entry = evidence.metadata, evidence.entry
    if evidence.delta is not None:
        metadata, entry = _last_word(evidence, evidence.delta, now, policy)
    told = _Told(certificate, metadata, evidence.scope, entry)
    signer = evidence.signer
    if signer is not None and signer.status is RevocationStatus.REVOKED:
        return told.undetermined(
            UndeterminedCause.CRL_SIGNER_REVOKED,
            f"the signer of {crl_text(metadata)} is not to be trusted ({signer.detail})",
        )
    waived: list[UndeterminedCause] = [] if signer is None else list(signer.waived)
    if evidence.waived:
        waived.append(UndeterminedCause.OUT_OF_SCOPE)
    if entry is not None:
        # Whatever the time: revocation does not lapse with the CRL that states it, an entry's
        # date in the future hides nothing, and outside a delta removeFromCRL lifts nothing.
        if entry.reason_code is not ReasonCode.CERTIFICATE_HOLD or policy.hold is Rule.DENY:
            return told.revoked(entry)
        waived.append(UndeterminedCause.CERTIFICATE_HOLD)
    if signer is not None and signer.cause is not None:
        return told.undetermined(
            signer.cause, f"the signer of {crl_text(metadata)} is in doubt ({signer.detail})"
        )
    return _judge_time(told, evidence, now, policy, waived)


def _judge_time(
    told: _Told, evidence: Evidence, now: datetime, policy: Policy, waived: list[UndeterminedCause]
) -> CheckResult:
    """Judge a certificate that its CRL, and the delta beside it, do not list as revoked."""
    metadata, certificate = told.metadata, told.certificate
    if metadata.this_update > now + policy.clock_skew:
        return told.undetermined(
            UndeterminedCause.NOT_YET_VALID,
            f"it is not listed, but {crl_text(metadata)} is not valid before "
            f"{time_text(metadata.this_update)}",
        )
    if _is_stale(metadata, now):
        if not _in_grace(metadata, now, policy):
            return told.undetermined(
                UndeterminedCause.STALE,
                f"it is not listed, but {crl_text(metadata)} has been stale since "
                f"{time_text(metadata.next_update)}",
            )
        waived.append(UndeterminedCause.STALE)
    if now > certificate.not_after and not _keeps_expired(evidence.metadata, certificate):
        if policy.expired_certificate is Rule.DENY:
            return told.undetermined(
                UndeterminedCause.CERTIFICATE_EXPIRED,
                f"it expired on {time_text(certificate.not_after)} and {crl_text(metadata)} "
                "need not list expired certificates",
            )
        waived.append(UndeterminedCause.CERTIFICATE_EXPIRED)
    return told.not_revoked(tuple(dict.fromkeys(waived)) if waived else ())


def _last_word(
    evidence: Evidence, delta: ImageMetadata, now: datetime, policy: Policy
) -> tuple[ImageMetadata, RevokedEntry | None]:
    """
    Return what a CRL and the delta beside it say together, and which one says it.

    A delta's revocation counts at any time. Its removeFromCRL counts while the
    delta is current, and lifts a hold only (RFC 5280 5.2.4, 5.3.1). Whether the
    two are current is the delta's to say: it is the later of them (6.3.3 a).
    """
    base = evidence.metadata
    begun = delta.this_update <= now + policy.clock_skew
    entry = evidence.delta_entry
    if entry is not None and entry.reason_code is not ReasonCode.REMOVE_FROM_CRL:
        return delta, entry
    lifted = entry is not None and begun and not _is_stale(delta, now)
    held = evidence.entry
    if held is not None and not (lifted and held.reason_code is ReasonCode.CERTIFICATE_HOLD):
        return base, held
    return (delta if begun else base), None


def _is_stale(metadata: ImageMetadata, now: datetime) -> bool:
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


def _keeps_expired(metadata: ImageMetadata, certificate: CertificateFacts) -> bool:
    """Whether the CRL lists certificates that expired when this one did (expiredCertsOnCRL)."""
    since = metadata.expired_certs_on_crl
    return since is not None and since <= certificate.not_after


@dataclass(slots=True)
class _Told:
    """The CRL that decides on a certificate, and its entry; makes results of them."""

    certificate: CertificateFacts
    metadata: ImageMetadata
    scope: str
    entry: RevokedEntry | None

    def revoked(self, entry: RevokedEntry) -> CheckResult:
        reason, date = entry.reason_code, entry.revocation_date
        words = "" if reason is None else f": {REASON_TEXTS[reason]}"
        since = "" if date is None else f"{',' if words else ''} since {time_text(date)}"
        subject = subject_text(self.certificate)
        detail = f"{subject} is revoked{words}{since} ({crl_text(self.metadata)})"
        return self._result(RevocationStatus.REVOKED, None, detail)

    def not_revoked(self, waived: tuple[UndeterminedCause, ...]) -> CheckResult:
        until = time_text(self.metadata.next_update)
        if UndeterminedCause.STALE in waived:
            validity = f", stale since {until} and accepted within the grace period"
        else:
            validity = f", valid until {until}" if until else ", without nextUpdate"
        accepted = ""
        if waived:
            also = [WAIVED_TEXTS[cause] for cause in waived if cause is not UndeterminedCause.STALE]
            accepted = f", accepted by policy although {' and '.join(also)}" if also else ""
        detail = (
            f"{subject_text(self.certificate)} is not revoked "
            f"({crl_text(self.metadata)}{validity}{accepted})"
        )
        return self._result(RevocationStatus.NOT_REVOKED, None, detail, waived)

    def undetermined(self, cause: UndeterminedCause, reason: str) -> CheckResult:
        detail = f"{subject_text(self.certificate)} cannot be judged: {reason}"
        return self._result(RevocationStatus.UNDETERMINED, cause, detail)

    def _result(
        self,
        status: RevocationStatus,
        cause: UndeterminedCause | None,
        detail: str,
        waived: tuple[UndeterminedCause, ...] = (),
    ) -> CheckResult:
        metadata, entry = self.metadata, self.entry
        return CheckResult(
            status,
            cause,
            detail,
            self.certificate.serial_number,
            None if entry is None else entry.reason_code,
            None if entry is None else entry.revocation_date,
            metadata.crl_number,
            metadata.this_update,
            metadata.next_update,
            self.scope,
            self.certificate,
            waived,
        )


def _undetermined(
    certificate: CertificateFacts, cause: UndeterminedCause, reason: str
) -> CheckResult:
    """Return a verdict that no CRL decided."""
    return CheckResult(
        status=RevocationStatus.UNDETERMINED,
        cause=cause,
        detail=f"{subject_text(certificate)} cannot be judged: {reason}",
        serial_number=certificate.serial_number,
        certificate=certificate,
    )
