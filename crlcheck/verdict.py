"""
From what the applicable CRLs say, the time and the policy to a verdict, in
words that a person on call understands. Pure: no input, output or clock.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from crlcheck._json import time_text
from crlcheck._metadata import ImageMetadata
from crlcheck._results import DecidingCrl, out_of_scope_text, undetermined, with_waived, worst
from crlcheck._wording import crl_text
from crlcheck.scope import ALL_REASONS
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

__all__ = ["Evidence", "decide", "untimely"]


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


def decide(
    certificate: CertificateFacts, evidence: Sequence[Evidence], *, now: datetime, policy: Policy
) -> CheckResult:
    """
    Return the verdict on *certificate* by the CRLs that speak for it, at least one.

    Of several CRLs of one scope the newest that is valid already counts. Over
    scopes, REVOKED in any is REVOKED; else those that say NOT_REVOKED are enough
    where they cover all reasons together (RFC 5280 6.3.3), each reason by CRLs
    of which the newest is in its time (see ``_lateness``). A hold that only an
    expired CRL lists is over where a newer one is in its time and does not list
    it (see ``_ends_hold``).
    """
    if len(evidence) == 1 and evidence[0].reasons == ALL_REASONS:
        return _decide_by_crl(certificate, read(evidence[0], now, policy), now, policy)
    scopes: dict[str, list[Reading]] = {}
    readings = (read(item, now, policy) for item in evidence)
    for reading in sorted(readings, key=_age, reverse=True):
        scopes.setdefault(reading.evidence.scope, []).append(reading)
    findings = [_decide_scope(certificate, items, now, policy) for items in scopes.values()]
    findings = [
        _finding(certificate, finding.reading._replace(entry=None), now, policy)
        if any(_ends_hold(other, finding) for other in findings)
        else finding
        for finding in findings
    ]
    findings.sort(key=lambda finding: _age(finding.reading), reverse=True)
    return _combine(certificate, findings)


# ---- several scopes ------------------------------------------------------------


def _ends_hold(current: _Finding, on_hold: _Finding) -> bool:
    """
    Whether *on_hold* lists the certificate as on hold, but has expired, and *current*
    speaks instead: newer, in its time, of a signer in order, and for the reason
    certificateHold too. Where that lists the certificate, it does so for itself.
    What is revoked for good stays so.

    After a rollover the old key's last CRL lists a hold of 1 March and ends on
    8 March; the new key's CRL of 9 March does not list it: the hold is over. A
    CRL of 28 February that is in its time on 9 March ends nothing.
    """
    since = max(on_hold.reading.latest.this_update, on_hold.reading.listed_by.this_update)
    return (
        on_hold.reading.is_hold
        and on_hold.lateness is not Lateness.CURRENT
        and current.reading.latest.this_update > since
        and current.lateness is Lateness.CURRENT
        and bool(current.reading.evidence.reasons & _CERTIFICATE_HOLD)
        and current.result.cause in (None, UndeterminedCause.CERTIFICATE_EXPIRED)
    )


def _combine(certificate: CertificateFacts, findings: Sequence[_Finding]) -> CheckResult:
    """Combine what different scopes say, the newest first."""
    revoked = [finding for finding in findings if finding.result.status is RevocationStatus.REVOKED]
    if revoked:
        return next(
            (finding for finding in revoked if not finding.reading.is_hold), revoked[0]
        ).result
    if not any(finding.reading.evidence.reasons for finding in findings):
        crls = [finding.reading.evidence for finding in findings]
        any_points = any(crl.unsure_reasons for crl in crls)
        reason = out_of_scope_text(certificate, len(crls), crls[0].metadata, any_points=any_points)
        return undetermined(certificate, UndeterminedCause.OUT_OF_SCOPE, reason)
    on_hold = any(
        finding.reading.is_hold and finding.result.cause is not UndeterminedCause.CRL_SIGNER_REVOKED
        for finding in findings
    )
    # Nothing is waived that need not be, but a hold that was found cannot be passed over.
    without_waiver = [finding for finding in findings if not finding.reading.evidence.waived]
    stale, late = _lateness(without_waiver)
    clear = [
        finding
        for finding in without_waiver
        if finding.result.status is RevocationStatus.NOT_REVOKED
        and not finding.result.waived
        and finding.reading.evidence.reasons
    ]
    if not on_hold and not stale | late and _covered(clear) == ALL_REASONS:
        return clear[0].result
    stale, late = _lateness(findings)
    passing = [
        finding for finding in findings if finding.result.status is RevocationStatus.NOT_REVOKED
    ]
    if _covered(passing) & ~stale == ALL_REASONS:
        also = [UndeterminedCause.STALE] * bool(late)
        also += [UndeterminedCause.CERTIFICATE_HOLD] * on_hold
        return with_waived(worst(finding.result for finding in passing), also)
    if _covered(passing) == ALL_REASONS:
        return _hidden_by_stale(findings, passing, stale)
    for finding in findings:
        covers = finding.reading.evidence.reasons
        if covers and finding.result.status is RevocationStatus.UNDETERMINED:
            return finding.result
    reason = "the CRLs held do not cover all revocation reasons, and none of them lists it"
    return undetermined(certificate, UndeterminedCause.REASONS_NOT_COVERED, reason)


def _covered(findings: Iterable[_Finding]) -> int:
    covered = 0
    for finding in findings:
        covered |= finding.reading.evidence.reasons
    return covered


def _lateness(findings: Iterable[_Finding]) -> tuple[int, int]:
    """
    Return the reasons whose newest CRL is past its nextUpdate: beyond what the
    policy waives, and within its grace.

    RFC 5280 would take any CRL that is in its time. But then whoever withholds
    new CRLs could go on with an old one of another scope that has long to live.
    So each reason is as current as the newest CRL that covers it, by thisUpdate:
    a newer CRL in its time excuses an older one that is not, and never the other
    way about. CRLs of one thisUpdate excuse each other. A CRL that is not yet
    valid, or whose signer is revoked, is none of them, and a pair of complete
    CRL and delta counts by the delta.

    Say that today's CRL for the reasons a and b is stale, and yesterday's for b
    and c is in its time: c is cleared by the latter, a and b by nothing. With a
    third CRL for b, newer than both and in its time, b is cleared too.

    A CRL that only may cover the certificate makes its reasons stale, since it
    may be the newest, but excuses no other.
    """
    undecided, stale, late = ALL_REASONS, 0, 0
    for _, same_age in itertools.groupby(
        findings, lambda finding: finding.reading.latest.this_update
    ):
        sure = dict.fromkeys(Lateness, 0)
        unsure = dict.fromkeys(Lateness, 0)
        for finding in same_age:
            if finding.is_used:
                sure[finding.lateness] |= finding.reading.evidence.reasons
                unsure[finding.lateness] |= finding.reading.evidence.unsure_reasons
        excused = sure[Lateness.CURRENT]
        late |= undecided & ~excused & (sure[Lateness.GRACE] | unsure[Lateness.GRACE])
        excused |= sure[Lateness.GRACE]
        stale |= undecided & ~excused & (sure[Lateness.STALE] | unsure[Lateness.STALE])
        undecided &= ~excused
    return stale, late


def _hidden_by_stale(
    findings: Sequence[_Finding], passing: Sequence[_Finding], stale: int
) -> CheckResult:
    """Return the verdict where a CRL that is past its nextUpdate is newer than those in time."""
    newest = next(
        finding
        for finding in findings
        if finding.lateness is Lateness.STALE
        and finding.is_used
        and stale & (finding.reading.evidence.reasons | finding.reading.evidence.unsure_reasons)
    )
    older = next(finding for finding in passing if finding.reading.evidence.reasons & stale)
    result, scope = newest.result, newest.reading.evidence.scope
    if result.cause is not UndeterminedCause.STALE:
        return result
    return dataclasses.replace(
        result,
        detail=f"{result.detail}, in scope {scope}; {crl_text(older.reading.latest)}, in scope "
        f"{older.reading.evidence.scope}, is older and does not stand in for it. If no CRL of "
        f"scope {scope} is to come any more, remove it and all that it revokes: "
        f"crlcheck scope remove STORE {scope}",
    )


# ---- one scope -------------------------------------------------------------------

_CERTIFICATE_HOLD = 1 << ReasonCode.CERTIFICATE_HOLD
"""The bit of ReasonFlags, which counts as CRLReason does here."""


class _Finding(NamedTuple):
    """The verdict of one scope alone. ``is_used`` tells that its CRL may make others stale."""

    result: CheckResult
    reading: Reading
    lateness: Lateness
    is_used: bool


def _age(reading: Reading) -> tuple[datetime, int, bool]:
    """Order CRLs in time; of equals, one that lists the certificate comes later."""
    metadata = reading.latest
    number = -1 if metadata.crl_number is None else metadata.crl_number
    return metadata.this_update, number, reading.entry is not None


def _decide_scope(
    certificate: CertificateFacts, newest_first: Sequence[Reading], now: datetime, policy: Policy
) -> _Finding:
    """Let the newest CRL of one scope speak, and an older one while that is not yet valid."""
    findings = [_finding(certificate, reading, now, policy) for reading in newest_first]
    valid = (
        finding
        for finding in findings
        if finding.result.cause is not UndeterminedCause.NOT_YET_VALID
    )
    return next(valid, findings[0])


def _finding(
    certificate: CertificateFacts, reading: Reading, now: datetime, policy: Policy
) -> _Finding:
    result = _decide_by_crl(certificate, reading, now, policy)
    signer = reading.evidence.signer
    return _Finding(
        result,
        reading,
        lateness_of(reading.latest, now, policy),
        is_used=has_begun(reading.latest, now, policy)
        and (signer is None or signer.status is not RevocationStatus.REVOKED),
    )


def _decide_by_crl(
    certificate: CertificateFacts, reading: Reading, now: datetime, policy: Policy
) -> CheckResult:
    evidence, entry, metadata = reading.evidence, reading.entry, reading.listed_by
    crl = DecidingCrl(certificate, metadata, evidence.scope, entry)
    signer = evidence.signer
    if signer is not None and signer.status is RevocationStatus.REVOKED:
        return crl.undetermined(
            UndeterminedCause.CRL_SIGNER_REVOKED,
            f"the signer of {crl_text(metadata)} is not to be trusted ({signer.detail})",
        )
    waived: list[UndeterminedCause] = [] if signer is None else list(signer.waived)
    if evidence.waived:
        waived.append(UndeterminedCause.OUT_OF_SCOPE)
    if entry is not None:
        # Whatever the time: revocation does not lapse with the CRL that states it, an entry's
        # date in the future hides nothing, and outside a delta removeFromCRL lifts nothing.
        if not is_hold(entry) or policy.hold is Rule.DENY:
            return crl.revoked(entry)
        waived.append(UndeterminedCause.CERTIFICATE_HOLD)
    if signer is not None and signer.cause is not None:
        return crl.undetermined(
            signer.cause, f"the signer of {crl_text(metadata)} is in doubt ({signer.detail})"
        )
    crl.metadata = reading.latest
    return _decide_unlisted(crl, evidence, now, policy, waived)


def _decide_unlisted(
    crl: DecidingCrl,
    evidence: Evidence,
    now: datetime,
    policy: Policy,
    waived: list[UndeterminedCause],
) -> CheckResult:
    """Judge a certificate that its CRL, and the delta beside it, do not list as revoked."""
    metadata, certificate = crl.metadata, crl.certificate
    listed = "it is not listed" if crl.entry is None else "it is on hold, which is waived"
    if not has_begun(metadata, now, policy):
        return crl.undetermined(
            UndeterminedCause.NOT_YET_VALID,
            f"{listed}, but {crl_text(metadata)} is not valid before "
            f"{time_text(metadata.this_update)}",
        )
    lateness = lateness_of(metadata, now, policy)
    if lateness is Lateness.STALE:
        return crl.undetermined(
            UndeterminedCause.STALE,
            f"{listed}, but {crl_text(metadata)} has been stale since "
            f"{time_text(metadata.next_update)}",
        )
    if lateness is Lateness.GRACE:
        waived.append(UndeterminedCause.STALE)
    if now > certificate.not_after and not _keeps_expired(evidence.metadata, certificate):
        if policy.expired_certificate is Rule.DENY:
            return crl.undetermined(
                UndeterminedCause.CERTIFICATE_EXPIRED,
                f"it expired on {time_text(certificate.not_after)} and {crl_text(metadata)} "
                "need not list expired certificates",
            )
        waived.append(UndeterminedCause.CERTIFICATE_EXPIRED)
    return crl.not_revoked(tuple(dict.fromkeys(waived)) if waived else ())


def _keeps_expired(metadata: ImageMetadata, certificate: CertificateFacts) -> bool:
    """Whether the CRL lists certificates that expired when this one did (expiredCertsOnCRL)."""
    since = metadata.expired_certs_on_crl
    return since is not None and since <= certificate.not_after


# ---- a CRL and the delta beside it -----------------------------------------------


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


# ---- whether CRLs are in their time ----------------------------------------------


class Lateness(enum.Enum):
    """Where a CRL stands to its nextUpdate."""

    CURRENT = enum.auto()
    GRACE = enum.auto()
    """Past it, and the policy waives that."""
    STALE = enum.auto()


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
