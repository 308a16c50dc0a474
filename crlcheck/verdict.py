"""
From what the applicable CRLs say, the time and the policy to a verdict, in
words that a person on call understands. Pure: no input, output or clock.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from crlcheck._metadata import ImageMetadata
from crlcheck._wording import (
    REASON_TEXTS,
    WAIVED_TEXTS,
    crl_text,
    names_point,
    points_text,
    scope_text,
    subject_text,
    time_text,
)
from crlcheck.scope import ALL_REASONS, Coverage, IssuerKey
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

# How many keys of one name a message tells apart.
_MAX_KEYS = 5


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
        return _judge_alone(certificate, _read(evidence[0], now, policy), now, policy)
    scopes: dict[str, list[_Reading]] = {}
    readings = (_read(item, now, policy) for item in evidence)
    for reading in sorted(readings, key=_age, reverse=True):
        scopes.setdefault(reading.evidence.scope, []).append(reading)
    words = [_judge_scope(certificate, items, now, policy) for items in scopes.values()]
    words = [
        _judge(certificate, word.reading.without_entry(), now, policy)
        if any(_ends_hold(other, word) for other in words)
        else word
        for word in words
    ]
    words.sort(key=lambda word: _age(word.reading), reverse=True)
    return _combine(certificate, words)


# ---- several scopes ------------------------------------------------------------


def _ends_hold(current: _Word, held: _Word) -> bool:
    """
    Whether *held* lists the certificate as on hold, but has expired, and *current*
    speaks instead: newer, in its time, of a signer in order, for the reason
    certificateHold too, and silent. What is revoked for good stays so.

    After a rollover the old key's last CRL lists a hold of 1 March and ends on
    8 March; the new key's CRL of 9 March does not list it: the hold is over. A
    CRL of 28 February that is in its time on 9 March ends nothing.
    """
    lister, result = held.reading.told_by, current.result
    return (
        held.reading.is_hold
        and held.lateness is not _Lateness.CURRENT
        and current.reading.latest.this_update > max(held.reading.latest.this_update,
                                                     lister.this_update)
        and current.reading.entry is None
        and current.lateness is _Lateness.CURRENT
        and bool(current.reading.evidence.reasons & _CERTIFICATE_HOLD)
        and result.cause in (None, UndeterminedCause.CERTIFICATE_EXPIRED)
    )  # fmt: skip


def _combine(certificate: CertificateFacts, words: Sequence[_Word]) -> CheckResult:
    """Combine what different scopes say, the newest first."""
    revoked = [word for word in words if word.result.status is RevocationStatus.REVOKED]
    if revoked:
        return next((word for word in revoked if not word.reading.is_hold), revoked[0]).result
    if not any(word.reading.evidence.reasons for word in words):
        crls = [word.reading.evidence for word in words]
        any_points = any(crl.unsure_reasons for crl in crls)
        reason = _out_of_scope(certificate, len(crls), crls[0].metadata, any_points=any_points)
        return _undetermined(certificate, UndeterminedCause.OUT_OF_SCOPE, reason)
    held = any(
        word.reading.is_hold and word.result.cause is not UndeterminedCause.CRL_SIGNER_REVOKED
        for word in words
    )
    # Nothing is waived that need not be, but a hold that was found cannot be passed over.
    without_waiver = [word for word in words if not word.reading.evidence.waived]
    stale, late = _lateness(without_waiver)
    clear = [
        word
        for word in without_waiver
        if word.result.status is RevocationStatus.NOT_REVOKED
        and not word.result.waived
        and word.reading.evidence.reasons & ~(stale | late)
    ]
    if not held and _covered(clear) & ~(stale | late) == ALL_REASONS:
        return clear[0].result
    stale, late = _lateness(words)
    passing = [word for word in words if word.result.status is RevocationStatus.NOT_REVOKED]
    if _covered(passing) & ~stale == ALL_REASONS:
        also = [UndeterminedCause.STALE] * bool(late)
        also += [UndeterminedCause.CERTIFICATE_HOLD] * held
        return _with_waived(worst(word.result for word in passing), also)
    if _covered(passing) == ALL_REASONS:
        return _hidden(words, passing, stale)
    for word in words:
        covers = word.reading.evidence.reasons
        if covers and word.result.status is RevocationStatus.UNDETERMINED:
            return word.result
    reason = "the CRLs held do not cover all revocation reasons, and none of them lists it"
    return _undetermined(certificate, UndeterminedCause.REASONS_NOT_COVERED, reason)


def _covered(words: Iterable[_Word]) -> int:
    covered = 0
    for word in words:
        covered |= word.reading.evidence.reasons
    return covered


def _lateness(words: Iterable[_Word]) -> tuple[int, int]:
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
    for _, same_age in itertools.groupby(words, lambda word: word.reading.latest.this_update):
        sure = dict.fromkeys(_Lateness, 0)
        unsure = dict.fromkeys(_Lateness, 0)
        for word in same_age:
            if word.is_used:
                sure[word.lateness] |= word.reading.evidence.reasons
                unsure[word.lateness] |= word.reading.evidence.unsure_reasons
        excused = sure[_Lateness.CURRENT]
        late |= undecided & ~excused & (sure[_Lateness.GRACE] | unsure[_Lateness.GRACE])
        excused |= sure[_Lateness.GRACE]
        stale |= undecided & ~excused & (sure[_Lateness.STALE] | unsure[_Lateness.STALE])
        undecided &= ~(excused | sure[_Lateness.STALE])
    return stale, late


def _hidden(words: Sequence[_Word], passing: Sequence[_Word], stale: int) -> CheckResult:
    """Return the verdict where a CRL that is past its nextUpdate is newer than those in time."""
    newest = next(
        word
        for word in words
        if word.lateness is _Lateness.STALE
        and word.is_used
        and stale & (word.reading.evidence.reasons | word.reading.evidence.unsure_reasons)
    )
    older = next(word for word in passing if word.reading.evidence.reasons & stale)
    result, scope = newest.result, newest.reading.evidence.scope
    if result.cause is not UndeterminedCause.STALE:
        return result
    return dataclasses.replace(
        result,
        detail=f"{result.detail}, in scope {scope}; {crl_text(older.reading.latest)}, in scope "
        f"{older.reading.evidence.scope}, is older and does not stand in for it. If no CRL of "
        f"scope {scope} is to come any more, remove it: crlcheck scope remove STORE {scope}",
    )


def uncovered(
    certificate: CertificateFacts, coverage: Coverage, policy: Policy | None = None
) -> CheckResult:
    """Return the verdict on a certificate that no CRL held speaks for."""
    cause = coverage.cause
    if cause is None:
        raise ValueError("the certificate is covered: decide by what the CRLs say")
    if cause is UndeterminedCause.UNKNOWN_ISSUER:
        reason = _unknown_issuer(certificate, coverage)
        # Where the name is trusted, it is no client of somebody else's.
        if policy is not None and policy.unknown_issuer is Rule.ALLOW and not coverage.namesakes:
            return _waived(certificate, cause, reason)
    elif cause is UndeterminedCause.AMBIGUOUS_ISSUER:
        key_id = certificate.authority_key_id
        which = "it has no authority key id" if key_id is None else f"all have id {key_id.hex()}"
        keys = f": {_keys_text(coverage.issuers)}" if coverage.issuers else ""
        reason = f"several issuer keys have that name and {which}{keys}"
    else:
        reason = _out_of_scope(
            certificate,
            coverage.num_inapplicable,
            coverage.nearest,
            any_points=coverage.any_points,
        )
    return _undetermined(certificate, cause, reason)


def _out_of_scope(
    certificate: CertificateFacts,
    num_crls: int,
    nearest: ImageMetadata | None,
    *,
    any_points: bool,
) -> str:
    """Say why none of the issuer's CRLs covers a certificate, and what can be done about it."""
    points = certificate.distribution_points
    if any_points:
        named = "the certificate's distribution points are not known"
    elif points:
        named = f"the certificate names {points_text(points)}"
    else:
        named = "the certificate names no distribution point"
    if not num_crls:
        reason = "no CRL of that issuer is held"
        return f"{reason}, and {named}" if points else reason
    reason = f"none of the {num_crls} CRL(s) held for that issuer covers it: {named}"
    if nearest is None:
        return reason
    crl, scope = crl_text(nearest), scope_text(nearest)
    found = f"{crl} is for {scope}" if num_crls == 1 else f"the nearest is {crl}, for {scope}"
    reason = f"{reason}; {found}"
    if any_points or points or not names_point(nearest):
        return reason
    return (
        f"{reason}. If the CA leaves the extension out of certificates that this CRL covers, let "
        f"it cover them: crlcheck scope cover STORE {nearest.scope} (crlcheck.override_scope), or "
        "Policy.no_distribution_point for all CRLs"
    )


def _unknown_issuer(certificate: CertificateFacts, coverage: Coverage) -> str:
    key_id = certificate.authority_key_id
    if not coverage.namesakes:
        return "no trusted issuer has that name" + (
            "" if key_id is None else f" and key id {key_id.hex()}"
        )
    said = "it has no authority key id"
    if key_id is not None:
        said = f"its authority key id is {key_id.hex()}"
    ways_out = "publish with the issuer's certificate, too"
    if certificate.is_ca and certificate.der:
        fingerprint = hashlib.sha256(certificate.der).hexdigest()
        ways_out += (
            ", or mark this certificate as an anchor (`crlcheck issuer anchor STORE "
            f"{fingerprint}`, or trust_anchors=) where it was trusted directly"
        )
    return (
        f"issuers of that name are trusted, but none of their keys is the one that issued it: "
        f"{said}, theirs are {_keys_text(coverage.namesakes)}; {ways_out}"
    )


def _keys_text(keys: Sequence[IssuerKey]) -> str:
    """Name the first of *keys* so that they can be told apart."""
    words = [key.describe() for key in keys[:_MAX_KEYS]]
    more = len(keys) - len(words)
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def _waived(certificate: CertificateFacts, cause: UndeterminedCause, reason: str) -> CheckResult:
    return dataclasses.replace(
        _undetermined(certificate, cause, ""),
        status=RevocationStatus.NOT_REVOKED,
        cause=None,
        detail=f"{subject_text(certificate)} is accepted by policy: {reason}",
        waived=(cause,),
    )


def unpublished(certificate: CertificateFacts, *, is_held: bool) -> CheckResult:
    """
    Return the verdict on a certificate that no CRL covers, and whose issuer
    publishes none, as the operator says; *is_held* tells that one is or was held.
    """
    said = "the operator says that its issuer publishes no CRL"
    if not is_held:
        return _waived(certificate, UndeterminedCause.OUT_OF_SCOPE, said)
    reason = f"{said}, but a CRL that may be of that issuer is held, or was until it was removed"
    return _undetermined(certificate, UndeterminedCause.OUT_OF_SCOPE, reason)


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
    return _with_waived(decided, [cause for result in results for cause in result.waived])


def _with_waived(result: CheckResult, also: Iterable[UndeterminedCause]) -> CheckResult:
    """Return a result that may pass with *also* among what was waived for it."""
    waived = tuple(dict.fromkeys([*result.waived, *also]))
    return result if waived == result.waived else dataclasses.replace(result, waived=waived)


_SEVERITY = (
    RevocationStatus.REVOKED,
    RevocationStatus.UNDETERMINED,
    RevocationStatus.NOT_REVOKED,
)


def severity(result: CheckResult | None) -> int:
    """Order results from what may pass, as None does, to what is worst."""
    return 0 if result is None else 2 - _SEVERITY.index(result.status)


# ---- one scope -------------------------------------------------------------------

_CERTIFICATE_HOLD = 1 << ReasonCode.CERTIFICATE_HOLD
"""The bit of ReasonFlags, which counts as CRLReason does here."""


class _Lateness(enum.Enum):
    """Where a CRL stands to its nextUpdate."""

    CURRENT = enum.auto()
    GRACE = enum.auto()
    """Past it, and the policy waives that."""
    STALE = enum.auto()


class _Reading(NamedTuple):
    """
    What a CRL and the delta beside it say together.

    ``entry`` is the one that counts, None where the certificate is not listed,
    and ``told_by`` the one of the two that has it. ``latest`` says whether they
    are in their time: the later one that is valid already (RFC 5280 6.3.3 a).
    """

    evidence: Evidence
    entry: RevokedEntry | None
    told_by: ImageMetadata
    latest: ImageMetadata

    @property
    def is_hold(self) -> bool:
        return self.entry is not None and _is_hold(self.entry)

    def without_entry(self) -> _Reading:
        return self._replace(entry=None, told_by=self.latest)


class _Word(NamedTuple):
    """The verdict of one scope alone. ``is_used`` tells that its CRL may make others stale."""

    result: CheckResult
    reading: _Reading
    lateness: _Lateness
    is_used: bool


def _age(reading: _Reading) -> tuple[datetime, int, bool]:
    """Order CRLs in time; of equals, one that lists the certificate comes later."""
    metadata = reading.latest
    number = -1 if metadata.crl_number is None else metadata.crl_number
    return metadata.this_update, number, reading.entry is not None


def _judge_scope(
    certificate: CertificateFacts, newest_first: Sequence[_Reading], now: datetime, policy: Policy
) -> _Word:
    """Let the newest CRL of one scope speak, and an older one while that is not yet valid."""
    words = [_judge(certificate, reading, now, policy) for reading in newest_first]
    valid = (word for word in words if word.result.cause is not UndeterminedCause.NOT_YET_VALID)
    return next(valid, words[0])


def _judge(
    certificate: CertificateFacts, reading: _Reading, now: datetime, policy: Policy
) -> _Word:
    result = _judge_alone(certificate, reading, now, policy)
    signer = reading.evidence.signer
    return _Word(
        result,
        reading,
        _lateness_of(reading.latest, now, policy),
        is_used=_has_begun(reading.latest, now, policy)
        and (signer is None or signer.status is not RevocationStatus.REVOKED),
    )


def _judge_alone(
    certificate: CertificateFacts, reading: _Reading, now: datetime, policy: Policy
) -> CheckResult:
    evidence, entry, metadata = reading.evidence, reading.entry, reading.told_by
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
        if not _is_hold(entry) or policy.hold is Rule.DENY:
            return told.revoked(entry)
        waived.append(UndeterminedCause.CERTIFICATE_HOLD)
    if signer is not None and signer.cause is not None:
        return told.undetermined(
            signer.cause, f"the signer of {crl_text(metadata)} is in doubt ({signer.detail})"
        )
    told.metadata = reading.latest
    return _judge_time(told, evidence, now, policy, waived)


def _judge_time(
    told: _Told, evidence: Evidence, now: datetime, policy: Policy, waived: list[UndeterminedCause]
) -> CheckResult:
    """Judge a certificate that its CRL, and the delta beside it, do not list as revoked."""
    metadata, certificate = told.metadata, told.certificate
    listed = "it is not listed" if told.entry is None else "it is on hold, which is waived"
    if not _has_begun(metadata, now, policy):
        return told.undetermined(
            UndeterminedCause.NOT_YET_VALID,
            f"{listed}, but {crl_text(metadata)} is not valid before "
            f"{time_text(metadata.this_update)}",
        )
    lateness = _lateness_of(metadata, now, policy)
    if lateness is _Lateness.STALE:
        return told.undetermined(
            UndeterminedCause.STALE,
            f"{listed}, but {crl_text(metadata)} has been stale since "
            f"{time_text(metadata.next_update)}",
        )
    if lateness is _Lateness.GRACE:
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


def _read(evidence: Evidence, now: datetime, policy: Policy) -> _Reading:
    """
    Read a CRL and the delta beside it as one.

    A revocation in either counts at any time, one for good before a hold. The
    delta's removeFromCRL counts while the delta is current, and lifts a hold
    only (RFC 5280 5.2.4, 5.3.1).
    """
    base, delta, entry = evidence.metadata, evidence.delta, evidence.entry
    if delta is None:
        return _Reading(evidence, entry, base, base)
    latest = _latest(base, delta, now, policy)
    changed = evidence.delta_entry
    if changed is not None and changed.reason_code is ReasonCode.REMOVE_FROM_CRL:
        if entry is not None and _is_hold(entry) and latest is delta and not _is_stale(delta, now):
            entry = None
        changed = None
    if changed is not None and (entry is None or _is_hold(entry) or not _is_hold(changed)):
        return _Reading(evidence, changed, delta, latest)
    return _Reading(evidence, entry, latest if entry is None else base, latest)


def _is_hold(entry: RevokedEntry) -> bool:
    return entry.reason_code is ReasonCode.CERTIFICATE_HOLD


def _has_begun(metadata: ImageMetadata, now: datetime, policy: Policy) -> bool:
    return metadata.this_update - now <= policy.clock_skew


def _lateness_of(metadata: ImageMetadata, now: datetime, policy: Policy) -> _Lateness:
    if not _is_stale(metadata, now):
        return _Lateness.CURRENT
    return _Lateness.GRACE if _in_grace(metadata, now, policy) else _Lateness.STALE


def untimely(
    base: ImageMetadata, delta: ImageMetadata | None, now: datetime, policy: Policy
) -> tuple[UndeterminedCause, ImageMetadata] | None:
    """
    Return why a complete CRL and the delta beside it clear nobody at *now*, and which
    of the two says so; None where they do.
    """
    latest = _latest(base, delta, now, policy)
    if not _has_begun(latest, now, policy):
        return UndeterminedCause.NOT_YET_VALID, latest
    if _lateness_of(latest, now, policy) is _Lateness.STALE:
        return UndeterminedCause.STALE, latest
    return None


def _latest(
    base: ImageMetadata, delta: ImageMetadata | None, now: datetime, policy: Policy
) -> ImageMetadata:
    """Return which of the two says whether they are current: the delta, once it has begun."""
    return delta if delta is not None and _has_begun(delta, now, policy) else base


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
