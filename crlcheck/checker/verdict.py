"""
Decide on a certificate by the CRLs that cover it, the time and the policy.

Pure: no input, output or clock. Section numbers are those of RFC 5280.

1. Read each complete CRL and the delta beside it as one (5.2.4, 6.3.3 i to k): an entry
   in either counts, a final one before a hold. removeFromCRL in the delta lifts a
   hold, while the delta is current. The delta, once it is valid, says whether the
   two are current.
2. Decide by each CRL alone:
   a. A CRL whose signer is revoked decides nothing: CRL_SIGNER_REVOKED.
   b. An entry is REVOKED, whatever the time. A hold is too, unless the policy
      waives it.
   c. Where the signer is in doubt, the cause is the signer's.
   d. A CRL that is not valid yet clears nobody: NOT_YET_VALID.
   e. Nor does one past its nextUpdate, the policy's grace and the operator's: STALE.
   f. Nor does one clear an expired certificate, which it need not list any more:
      CERTIFICATE_EXPIRED, unless expiredCertsOnCRL says that it still does.
   g. Else it is NOT_REVOKED.
3. Of several CRLs of one scope, the newest that is valid decides.
4. A hold in an expired CRL is over where a newer, current CRL of another scope
   covers the certificate and does not list it. A final entry stays.
5. Over all scopes (6.3.3):
   a. REVOKED in any scope is REVOKED.
   b. CRLs that may only revoke the certificate do not cover it: OUT_OF_SCOPE.
   c. NOT_REVOKED needs all reasons covered by CRLs that say so, and each reason is
      as current as the newest CRL that covers it.
   d. Else the newest CRL that is undetermined gives the cause, and where there is
      none, it is REASONS_NOT_COVERED.

For example, a CA has CRL A for key compromise and CRL B for all other reasons, and
neither lists the certificate. While both are current, they cover all reasons
together: NOT_REVOKED. After A's nextUpdate A says STALE and B alone covers too
little (5 c), so the answer is UNDETERMINED(STALE), by 5 d. As soon as either CRL
lists the certificate it is REVOKED, stale or not (2 b, 5 a).
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from crlcheck.catalog.descriptions import crl_text
from crlcheck.checker.results import (
    DecidingCrl,
    also_saying,
    out_of_scope,
    undetermined,
    with_waived,
    worst,
)
from crlcheck.checker.scope import ALL_REASONS
from crlcheck.times import time_text
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    ImageMetadata,
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
    The entry that one applicable CRL has for a certificate, or None.

    ``scope`` is ``metadata.scope``, kept beside it because deriving it at every
    check would cost more than the check. ``delta`` is the delta CRL beside it, and
    ``delta_entry`` its entry. ``reasons`` are those that the CRL covers for the
    certificate: none where it may revoke the certificate but not clear it.
    ``signer`` is the verdict on the CRL's signer, where there is one. ``waived``
    tells that the CRL counts by policy only. Where the certificate is not wholly
    known, ``unsure_reasons`` are those that the CRL covers for some of the
    certificates that are possible. For these it may revoke, and make the answer
    stale, but not clear. ``grace_until`` is the time until which an operator lets the CRL
    be used past its nextUpdate.
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
    grace_until: datetime | None = None


def decide(
    certificate: CertificateFacts, evidence: Sequence[Evidence], *, now: datetime, policy: Policy
) -> CheckResult:
    """
    Return the verdict on *certificate* by the CRLs that cover it, at least one.

    The numbers of the steps are those of the module.
    """
    # One CRL for all reasons, as most issuers have: steps 3 to 5 change nothing.
    if len(evidence) == 1 and evidence[0].reasons == ALL_REASONS:
        return _decide_by_crl(certificate, read(evidence[0], now, policy), now, policy)
    # 1. Each CRL with its delta. 2. is done for each of them within step 3.
    scopes: dict[str, list[Reading]] = {}
    readings = (read(item, now, policy) for item in evidence)
    for reading in sorted(readings, key=_age, reverse=True):
        scopes.setdefault(reading.evidence.scope, []).append(reading)
    # 3. The newest CRL of each scope.
    findings = [_decide_scope(certificate, items, now, policy) for items in scopes.values()]
    # 4. Holds that are over.
    findings = [
        _finding(certificate, finding.reading._replace(entry=None), now, policy)
        if any(_ends_hold(other, finding) for other in findings)
        else finding
        for finding in findings
    ]
    findings.sort(key=lambda finding: _age(finding.reading), reverse=True)
    return _combine(certificate, findings)


def revokes_alone(evidence: Sequence[Evidence], policy: Policy) -> bool:
    """
    Whether there is one CRL only, and any entry in it means REVOKED, whatever its reason.

    By 2 a to c: no signer can be revoked or in doubt, no delta can lift the entry, and the
    policy waives no hold.
    """
    (one, *others) = evidence
    return (
        not others
        and one.reasons == ALL_REASONS
        and one.delta is None
        and one.signer is None
        and policy.hold is Rule.DENY
    )


# ---- several scopes ------------------------------------------------------------


def _ends_hold(current: _Finding, on_hold: _Finding) -> bool:
    """
    Whether *current* ends the hold that *on_hold* lists (step 4).

    *on_hold* must have expired. *current* must be newer and current, its signer must
    not be in doubt, and it must cover the reason certificateHold. If *current* lists
    the certificate too, its own entry decides. A final revocation stays.

    For example, after a rollover the old key's last CRL lists a hold of 1 March and
    ends on 8 March. The new key's CRL of 9 March does not list it: the hold is over.
    A CRL of 28 February that is current on 9 March ends nothing.
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
    """Return the verdict by the findings of all scopes, the newest first (step 5)."""
    # a. Revoked; for good before on hold.
    revoked = [finding for finding in findings if finding.result.status is RevocationStatus.REVOKED]
    if revoked:
        return next(
            (finding for finding in revoked if not finding.reading.is_hold), revoked[0]
        ).result
    # b. None of them covers the certificate.
    if not any(finding.reading.evidence.reasons for finding in findings):
        crls = [finding.reading.evidence for finding in findings]
        any_points = any(crl.unsure_reasons for crl in crls)
        return out_of_scope(certificate, len(crls), crls[0].metadata, any_points=any_points)
    on_hold = any(
        finding.reading.is_hold and finding.result.cause is not UndeterminedCause.CRL_SIGNER_REVOKED
        for finding in findings
    )
    # c. Cleared: first without any waiver, so that none is reported that was not needed.
    # A hold is always reported.
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
    # d. Not cleared.
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

    RFC 5280 would take any CRL that is current. But then an attacker who holds
    back new CRLs could use an old one of another scope whose nextUpdate is far off.
    So each reason is as current as the newest CRL that covers it, by thisUpdate. A
    newer, current CRL makes up for an older one that is not, never the reverse;
    CRLs of one thisUpdate make up for each other. CRLs that are not valid yet, or
    whose signer is revoked, are not counted. A complete CRL and its delta count by
    the delta.

    For example, today's CRL for the reasons a and b is stale, and yesterday's for b
    and c is current. Then c is cleared by yesterday's, a and b by none. With a
    third CRL for b, newer than both and current, b is cleared too.

    A CRL that may cover the certificate, or may not, makes its reasons stale,
    because it may be the newest. It makes up for no other.
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
        settled = sure[Lateness.CURRENT]
        late |= undecided & ~settled & (sure[Lateness.GRACE] | unsure[Lateness.GRACE])
        settled |= sure[Lateness.GRACE]
        stale |= undecided & ~settled & (sure[Lateness.STALE] | unsure[Lateness.STALE])
        undecided &= ~settled
    return stale, late


def _hidden_by_stale(
    findings: Sequence[_Finding], passing: Sequence[_Finding], stale: int
) -> CheckResult:
    """Return the verdict where a stale CRL is newer than the current one for a reason."""
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
    return also_saying(
        result,
        lambda: (
            f". Its scope is {scope}; {crl_text(older.reading.latest)}, in scope "
            f"{older.reading.evidence.scope}, is older and does not stand in for it. If no CRL of "
            f"scope {scope} is to come any more, remove it and all that it revokes: "
            f"crlcheck scope remove STORE {scope}"
        ),
    )


# ---- one scope -------------------------------------------------------------------

_CERTIFICATE_HOLD = 1 << ReasonCode.CERTIFICATE_HOLD
"""The bit for it in ReasonFlags, which has the number of the CRLReason (4.2.1.13, 5.3.1)."""


class _Finding(NamedTuple):
    """The verdict by one scope alone. ``is_used`` tells whether its CRL may make others stale."""

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
    """Return the finding of the newest CRL of one scope that is valid, else of the newest."""
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
        lateness_of(reading.latest, now, policy, reading.evidence.grace_until),
        is_used=has_begun(reading.latest, now, policy)
        and (signer is None or signer.status is not RevocationStatus.REVOKED),
    )


def _decide_by_crl(
    certificate: CertificateFacts, reading: Reading, now: datetime, policy: Policy
) -> CheckResult:
    """Return the verdict by one CRL and its delta (step 2)."""
    evidence, entry, metadata = reading.evidence, reading.entry, reading.listed_by
    crl = DecidingCrl(certificate, metadata, evidence.scope, entry)
    signer = evidence.signer
    # a. The signer is revoked.
    if signer is not None and signer.status is RevocationStatus.REVOKED:
        return crl.undetermined(
            UndeterminedCause.CRL_SIGNER_REVOKED,
            lambda _: f"the signer of {crl_text(metadata)} is not to be trusted ({signer.detail})",
        )
    waived: list[UndeterminedCause] = [] if signer is None else list(signer.waived)
    if evidence.waived:
        waived.append(UndeterminedCause.OUT_OF_SCOPE)
    # b. It is listed. The time does not matter: a revocation does not end with the CRL that
    # states it, an entry whose date is in the future counts, and removeFromCRL in a complete
    # CRL lifts nothing.
    if entry is not None:
        if not is_hold(entry) or policy.hold is Rule.DENY:
            return crl.revoked(entry)
        waived.append(UndeterminedCause.CERTIFICATE_HOLD)
    # c. The signer is in doubt.
    if signer is not None and signer.cause is not None:
        return crl.undetermined(
            signer.cause,
            lambda _: f"the signer of {crl_text(metadata)} is in doubt ({signer.detail})",
            remedy="",  # the signer's detail has it
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
    """Return the verdict where neither the CRL nor its delta lists it as revoked (2 d to g)."""
    metadata, certificate = crl.metadata, crl.certificate
    listed = "it is not listed" if crl.entry is None else "it is on hold, which is waived"
    # d. The CRL is not valid yet.
    if not has_begun(metadata, now, policy):
        return crl.undetermined(
            UndeterminedCause.NOT_YET_VALID,
            lambda _: (
                f"{listed}, but {crl_text(metadata)} is not valid before "
                f"{time_text(metadata.this_update)}"
            ),
        )
    # e. It is past its nextUpdate.
    lateness = lateness_of(metadata, now, policy, evidence.grace_until)
    if lateness is Lateness.STALE:
        return crl.undetermined(
            UndeterminedCause.STALE,
            lambda _: (
                f"{listed}, but {crl_text(metadata)} has been stale since "
                f"{time_text(metadata.next_update)}"
            ),
        )
    if lateness is Lateness.GRACE:
        waived.append(UndeterminedCause.STALE)
    # f. The certificate has expired.
    if now > certificate.not_after and not _keeps_expired(evidence.metadata, certificate):
        if policy.expired_certificate is Rule.DENY:
            return crl.undetermined(
                UndeterminedCause.CERTIFICATE_EXPIRED,
                lambda one: (
                    f"it expired on {time_text(one.not_after)} and "
                    f"{crl_text(metadata)} "
                    "need not list expired certificates"
                ),
            )
        waived.append(UndeterminedCause.CERTIFICATE_EXPIRED)
    # g. It is not revoked.
    return crl.not_revoked(tuple(dict.fromkeys(waived)) if waived else ())


def _keeps_expired(metadata: ImageMetadata, certificate: CertificateFacts) -> bool:
    """Whether the CRL lists certificates that expired when this one did (expiredCertsOnCRL)."""
    since = metadata.expired_certs_on_crl
    return since is not None and since <= certificate.not_after


# ---- a CRL and the delta beside it -----------------------------------------------


class Reading(NamedTuple):
    """
    A complete CRL and the delta beside it, read as one.

    ``entry`` is the entry that counts, None where the certificate is not listed.
    ``listed_by`` is the CRL of the two that has it, else the complete one. ``latest``
    is the delta if it is valid already, else the complete CRL: its
    times decide whether the two are current (RFC 5280 6.3.3 a).
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
    Read a complete CRL and the delta beside it as one (step 1).

    An entry in either counts at any time, a final one before a hold. The delta's
    removeFromCRL counts while the delta is current, and lifts only a hold (RFC 5280
    5.2.4, 5.3.1).
    """
    base, delta, entry = evidence.metadata, evidence.delta, evidence.entry
    if delta is None:
        return Reading(evidence, entry, base, base)
    latest = latest_of(base, delta, now, policy)
    changed = evidence.delta_entry
    if changed is not None and changed.reason_code is ReasonCode.REMOVE_FROM_CRL:
        if entry is not None and is_hold(entry) and latest is delta and not delta.is_past(now):
            entry = None
        changed = None
    if changed is not None and (entry is None or is_hold(entry) or not is_hold(changed)):
        return Reading(evidence, changed, delta, latest)
    return Reading(evidence, entry, base, latest)


def is_hold(entry: RevokedEntry) -> bool:
    return entry.reason_code is ReasonCode.CERTIFICATE_HOLD


# ---- whether CRLs are current --------------------------------------------------


class Lateness(enum.Enum):
    """Where a CRL stands to its nextUpdate."""

    CURRENT = enum.auto()
    GRACE = enum.auto()
    """Past it, and the policy or the operator waives that."""
    STALE = enum.auto()


def has_begun(metadata: ImageMetadata, now: datetime, policy: Policy) -> bool:
    return metadata.this_update - now <= policy.clock_skew


def lateness_of(
    metadata: ImageMetadata, now: datetime, policy: Policy, grace_until: datetime | None
) -> Lateness:
    if not metadata.is_past(now):
        return Lateness.CURRENT
    is_waived = grace_until is not None and now < grace_until
    return Lateness.GRACE if is_waived or _in_grace(metadata, now, policy) else Lateness.STALE


def untimely(
    base: ImageMetadata,
    delta: ImageMetadata | None,
    now: datetime,
    policy: Policy,
    grace_until: datetime | None = None,
) -> tuple[UndeterminedCause, ImageMetadata] | None:
    """
    Return why a complete CRL and the delta beside it clear nobody at *now*, and which
    of the two it is; None where both are current.
    """
    latest = latest_of(base, delta, now, policy)
    if not has_begun(latest, now, policy):
        return UndeterminedCause.NOT_YET_VALID, latest
    if lateness_of(latest, now, policy, grace_until) is Lateness.STALE:
        return UndeterminedCause.STALE, latest
    return None


def latest_of(
    base: ImageMetadata, delta: ImageMetadata | None, now: datetime, policy: Policy
) -> ImageMetadata:
    """Return the delta if it is valid already, else the complete CRL."""
    return delta if delta is not None and has_begun(delta, now, policy) else base


def _in_grace(metadata: ImageMetadata, now: datetime, policy: Policy) -> bool:
    """
    Whether the policy accepts a CRL although its nextUpdate has passed.

    A CRL without nextUpdate never goes stale. That is why the compiler accepts one
    only if it is told to.
    """
    return (
        policy.stale is StaleRule.GRACE
        and metadata.next_update is not None
        and now - metadata.next_update <= policy.stale_grace
    )
