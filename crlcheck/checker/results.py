"""
Make the results of checks, and put them into words that a person on call understands.

A sentence is made when somebody reads it: most results are only asked for their status.
So it is made of what never changes after the check (facts, metadata, an entry), and what
does change, such as the error of a store, is put into words at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeAlias

from crlcheck.catalog.descriptions import (
    REASON_TEXTS,
    WAIVED_TEXTS,
    crl_text,
    names_point,
    points_text,
    scope_text,
    subject_text,
)
from crlcheck.checker.scope import Coverage, IssuerKey
from crlcheck.times import time_text
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    ImageMetadata,
    Policy,
    RevocationStatus,
    RevokedEntry,
    Rule,
    UndeterminedCause,
    result_to_read,
    unread_of,
)
from crlcheck.x509.certificates import load_certificate

# How many keys of one name a message lists.
_MAX_KEYS = 5

Words: TypeAlias = str | Callable[[CertificateFacts], str]
"""Part of a sentence on a certificate, or what makes it when somebody reads the sentence."""


class Finding(NamedTuple):
    """
    What a check has found, without the certificate that it was found for.

    The fields are those of ``CheckResult``; ``metadata`` and ``entry`` are of the CRL that
    decided, None where none did. ``say`` makes the sentence. A result is made of a finding
    and a certificate, so that nothing is worded or converted that nobody reads.
    """

    status: RevocationStatus
    say: Callable[[CertificateFacts], str]
    cause: UndeterminedCause | None = None
    metadata: ImageMetadata | None = None
    scope: str | None = None
    entry: RevokedEntry | None = None
    waived: tuple[UndeterminedCause, ...] = ()
    denied: bool = False

    def on(self, certificate: CertificateFacts) -> CheckResult:
        """Return the result for a certificate."""
        return result_to_read(self.status, certificate.serial_number, self, certificate)

    def field(self, name: str, given: CertificateFacts | bytes) -> object:
        """Return a field of the result for a certificate, or its DER, when it is first read."""
        if name == "detail":
            return self.say(_facts(given))
        if name == "certificate":
            return _facts(given)
        if name in _OF_ENTRY:
            return None if self.entry is None else getattr(self.entry, name)
        if name in _OF_METADATA:
            return None if self.metadata is None else getattr(self.metadata, name)
        return getattr(self, name)


def _facts(given: CertificateFacts | bytes) -> CertificateFacts:
    return given if isinstance(given, CertificateFacts) else load_certificate(given)


_OF_ENTRY = frozenset({"reason_code", "revocation_date"})
_OF_METADATA = frozenset({"crl_number", "this_update", "next_update"})


# ---- by a CRL ------------------------------------------------------------------


@dataclass(slots=True)
class DecidingCrl:
    """The CRL that decides on a certificate, and its entry; makes the results by it."""

    certificate: CertificateFacts
    metadata: ImageMetadata
    scope: str
    entry: RevokedEntry | None

    def revoked(self, entry: RevokedEntry) -> CheckResult:
        """Return the result REVOKED by *entry*."""
        return revoked(self.metadata, self.scope, entry).on(self.certificate)

    def not_revoked(self, waived: tuple[UndeterminedCause, ...]) -> CheckResult:
        """Return the result NOT_REVOKED, with what was waived for it."""
        say = partial(_not_revoked_text, self.metadata, waived)
        return self._result(RevocationStatus.NOT_REVOKED, say, waived=waived)

    def undetermined(
        self, cause: UndeterminedCause, reason: Words, remedy: str | None = None
    ) -> CheckResult:
        """Return the result UNDETERMINED for *reason*; *remedy* is as for ``undetermined``."""
        say = partial(_undetermined_text, cause, reason, remedy)
        return self._result(RevocationStatus.UNDETERMINED, say, cause)

    def _result(
        self,
        status: RevocationStatus,
        say: Callable[[CertificateFacts], str],
        cause: UndeterminedCause | None = None,
        waived: tuple[UndeterminedCause, ...] = (),
    ) -> CheckResult:
        found = Finding(status, say, cause, self.metadata, self.scope, self.entry, waived)
        return found.on(self.certificate)


def revoked(metadata: ImageMetadata, scope: str, entry: RevokedEntry) -> Finding:
    """Return what is found where a CRL lists a certificate."""
    say = partial(_revoked_text, metadata, entry)
    return Finding(RevocationStatus.REVOKED, say, None, metadata, scope, entry)


def _revoked_text(
    metadata: ImageMetadata, entry: RevokedEntry, certificate: CertificateFacts
) -> str:
    reason, date = entry.reason_code, entry.revocation_date
    words = "" if reason is None else f": {REASON_TEXTS[reason]}"
    since = "" if date is None else f"{',' if words else ''} since {time_text(date)}"
    return f"{subject_text(certificate)} is revoked{words}{since} ({crl_text(metadata)})"


def _not_revoked_text(
    metadata: ImageMetadata, waived: Sequence[UndeterminedCause], certificate: CertificateFacts
) -> str:
    until = time_text(metadata.next_update)
    if UndeterminedCause.STALE in waived:
        validity = f", stale since {until} and accepted within the grace period"
    else:
        validity = f", valid until {until}" if until else ", without nextUpdate"
    accepted = ""
    if waived:
        also = [WAIVED_TEXTS[cause] for cause in waived if cause is not UndeterminedCause.STALE]
        accepted = f", accepted by policy although {' and '.join(also)}" if also else ""
    return f"{subject_text(certificate)} is not revoked ({crl_text(metadata)}{validity}{accepted})"


def undetermined(
    certificate: CertificateFacts,
    cause: UndeterminedCause,
    reason: Words,
    remedy: str | None = None,
) -> CheckResult:
    """
    Return a verdict that no CRL decided.

    *remedy* says what can be done, None for what ``crlcheck.remedies`` says of the cause,
    "" where *reason* says it already.
    """
    say = partial(_undetermined_text, cause, reason, remedy)
    return Finding(RevocationStatus.UNDETERMINED, say, cause).on(certificate)


def _undetermined_text(
    cause: UndeterminedCause, reason: Words, remedy: str | None, certificate: CertificateFacts
) -> str:
    # Only here, because most certificates are determined.
    from crlcheck.remedies import REMEDIES, with_remedy

    why = reason if isinstance(reason, str) else reason(certificate)
    text = f"{subject_text(certificate)} is undetermined: {why}"
    return with_remedy(text, REMEDIES.get(cause) if remedy is None else remedy)


def also_saying(result: CheckResult, more: Callable[[], str]) -> CheckResult:
    """Return a result whose sentence goes on with *more*."""
    known = _found_by(result)
    if known is None:
        return dataclasses.replace(result, detail=result.detail + more())
    found, certificate = known
    say = found.say
    return found._replace(say=lambda one: say(one) + more()).on(certificate)


def finding_of(result: CheckResult) -> tuple[Finding, CertificateFacts]:
    """Return what a result of this module is made of."""
    known = unread_of(result)
    assert known is not None, "it was not made whole"
    found, given = known
    assert isinstance(found, Finding), "it was made by Finding.on"
    return found, given


def entry_of(result: CheckResult) -> RevokedEntry | None:
    """Return the entry by which a result was found, None where there is none."""
    known = _found_by(result)
    return None if known is None else known[0].entry


def _found_by(result: CheckResult) -> tuple[Finding, CertificateFacts] | None:
    """Return what a result is made of, None for one that was made whole."""
    return None if unread_of(result) is None else finding_of(result)


# ---- by no CRL ---------------------------------------------------------------


def uncovered(
    certificate: CertificateFacts, coverage: Coverage, policy: Policy | None = None
) -> CheckResult:
    """Return the verdict on a certificate that no CRL covers."""
    cause = coverage.cause
    if cause is None:
        raise ValueError("the certificate is covered: decide by what the CRLs say")
    if cause is UndeterminedCause.UNKNOWN_ISSUER:
        # Where the name is or was trusted, the certificate is not some other operator's.
        is_known = bool(coverage.namesakes) or coverage.removed is not None
        if policy is not None and policy.unknown_issuer is Rule.ALLOW and not is_known:
            return _waived(certificate, cause, lambda one: _unknown_issuer(one, coverage)[0])
        say = partial(_unknown_issuer_text, coverage)
        return Finding(RevocationStatus.UNDETERMINED, say, cause).on(certificate)
    if cause is UndeterminedCause.AMBIGUOUS_ISSUER:
        return undetermined(certificate, cause, lambda one: _ambiguous_issuer(one, coverage))
    return out_of_scope(
        certificate,
        coverage.num_inapplicable,
        coverage.nearest,
        any_points=coverage.any_points,
    )


def _unknown_issuer_text(coverage: Coverage, certificate: CertificateFacts) -> str:
    reason, remedy = _unknown_issuer(certificate, coverage)
    return _undetermined_text(UndeterminedCause.UNKNOWN_ISSUER, reason, remedy, certificate)


def _ambiguous_issuer(certificate: CertificateFacts, coverage: Coverage) -> str:
    key_id = certificate.authority_key_id
    which = "it has no authority key id" if key_id is None else f"all have id {key_id.hex()}"
    keys = f": {_keys_text(coverage.issuers)}" if coverage.issuers else ""
    return f"several issuer keys have that name and {which}{keys}"


def out_of_scope(
    certificate: CertificateFacts,
    num_crls: int,
    nearest: ImageMetadata | None,
    *,
    any_points: bool,
) -> CheckResult:
    """
    Return the verdict on a certificate that none of its issuer's *num_crls* CRLs covers.

    *nearest* is the one whose scope is most like the certificate. *any_points* tells that
    the certificate's distribution points are not known.
    """
    say = partial(_uncovered_text, num_crls, nearest, any_points)
    cause = UndeterminedCause.OUT_OF_SCOPE
    return Finding(RevocationStatus.UNDETERMINED, say, cause).on(certificate)


def _uncovered_text(
    num_crls: int, nearest: ImageMetadata | None, any_points: bool, certificate: CertificateFacts
) -> str:
    reason = _out_of_scope_text(certificate, num_crls, nearest, any_points=any_points)
    remedy = None
    may_lack_points = not any_points and not certificate.distribution_points
    if nearest is not None and may_lack_points and names_point(nearest):
        remedy = (
            "if the CA leaves the extension out of certificates that this CRL covers, let it "
            f"cover them: crlcheck scope set STORE {nearest.scope} --covers-no-distribution-point "
            "(crlcheck.override_scope), or Policy.no_distribution_point for all CRLs"
        )
    return _undetermined_text(UndeterminedCause.OUT_OF_SCOPE, reason, remedy, certificate)


def _out_of_scope_text(
    certificate: CertificateFacts,
    num_crls: int,
    nearest: ImageMetadata | None,
    *,
    any_points: bool,
) -> str:
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
    if num_crls == 1:
        reason = f"the only CRL held for that issuer does not cover it: {named}"
    else:
        reason = f"none of the {num_crls} CRLs held for that issuer covers it: {named}"
    if nearest is None:
        return reason
    crl, scope = crl_text(nearest), scope_text(nearest)
    found = f"{crl} is for {scope}" if num_crls == 1 else f"the nearest is {crl}, for {scope}"
    return f"{reason}; {found}"


def _unknown_issuer(certificate: CertificateFacts, coverage: Coverage) -> tuple[str, str | None]:
    """Return why the issuer is unknown, and what can be done (None: as for any such)."""
    key_id, removed = certificate.authority_key_id, coverage.removed
    if not coverage.namesakes and removed is None:
        words = "" if key_id is None else f" and key id {key_id.hex()}"
        return f"no trusted issuer has that name{words}", None
    said = "it has no authority key id"
    if key_id is not None:
        said = f"its authority key id is {key_id.hex()}"
    remedy = "publish with the issuer's certificate, too (crlcheck publish --issuer)"
    if not coverage.namesakes:
        remedy = "let its issuer back (crlcheck issuer readmit)"
    if certificate.is_ca and certificate.der:
        fingerprint = hashlib.sha256(certificate.der).hexdigest()
        remedy += (
            ", or mark this certificate as an anchor (crlcheck issuer anchor STORE "
            f"{fingerprint}, or trust_anchors=) where it was trusted directly"
        )
    if not coverage.namesakes:
        assert removed is not None
        return (
            f"its issuer was removed, and {crl_text(removed)} with it, which may revoke it: {said}"
        ), remedy
    return (
        f"issuers of that name are trusted, but none of their keys is the one that issued it: "
        f"{said}, theirs are {_keys_text(coverage.namesakes)}"
    ), remedy


def _keys_text(keys: Sequence[IssuerKey]) -> str:
    """Return the first of *keys* in words that distinguish them."""
    words = [key.describe() for key in keys[:_MAX_KEYS]]
    more = len(keys) - len(words)
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def _waived(certificate: CertificateFacts, cause: UndeterminedCause, reason: Words) -> CheckResult:
    say = partial(_accepted_text, reason)
    return Finding(RevocationStatus.NOT_REVOKED, say, waived=(cause,)).on(certificate)


def _accepted_text(reason: Words, certificate: CertificateFacts) -> str:
    why = reason if isinstance(reason, str) else reason(certificate)
    return f"{subject_text(certificate)} is accepted by policy: {why}"


def unpublished(certificate: CertificateFacts, *, may_have_crl: bool) -> CheckResult:
    """
    Return the verdict where no CRL covers a certificate, and the operator says that
    its issuer publishes none. *may_have_crl* tells that there is or was a CRL that may
    be of that issuer.
    """
    said = "the operator says that its issuer publishes no CRL"
    if not may_have_crl:
        return _waived(certificate, UndeterminedCause.OUT_OF_SCOPE, said)
    reason = f"{said}, but a CRL that may be of that issuer is held, or was until it was removed"
    remedy = (
        "publish the CRL that covers it (crlcheck publish), and take back that there is none "
        "(crlcheck issuer no-crl --undo, or Policy.unpublished_issuers "
        "(CRLCHECK_UNPUBLISHED_ISSUERS))"
    )
    return undetermined(certificate, UndeterminedCause.OUT_OF_SCOPE, reason, remedy)


def denied(certificate: CertificateFacts, *, note: str, until: datetime | None) -> CheckResult:
    """Return the verdict on a certificate that is on the operator's deny list."""
    say = partial(_denied_text, note, until)
    return Finding(RevocationStatus.REVOKED, say, denied=True).on(certificate)


def _denied_text(note: str, until: datetime | None, certificate: CertificateFacts) -> str:
    because = f": {note}" if note else ""
    end = "" if until is None else f", until {time_text(until)}"
    return f"{subject_text(certificate)} is denied by the operator's deny list{because}{end}"


def unavailable(certificate: CertificateFacts, reason: Words) -> CheckResult:
    """Return the verdict where the CRL that would decide could not be loaded, and why."""
    return undetermined(certificate, UndeterminedCause.STORE_UNAVAILABLE, reason)


def worst(results: Iterable[CheckResult]) -> CheckResult:
    """
    Return the worst result on a path: REVOKED before UNDETERMINED before NOT_REVOKED,
    the first of equals.

    The result of a path that may pass lists all that was waived on it.
    """
    results = list(results)
    decided = min(results, key=lambda result: _SEVERITY.index(result.status))
    if decided.status is not RevocationStatus.NOT_REVOKED:
        return decided
    return with_waived(decided, [cause for result in results for cause in result.waived])


def with_waived(result: CheckResult, also: Iterable[UndeterminedCause]) -> CheckResult:
    """Return a result that may pass, with *also* added to what was waived for it."""
    before = result.waived
    waived = tuple(dict.fromkeys([*before, *also]))
    if waived == before:
        return result
    known = _found_by(result)
    if known is None:
        return dataclasses.replace(result, waived=waived)
    found, certificate = known
    return found._replace(waived=waived).on(certificate)


def without_certificate(result: CheckResult) -> CheckResult:
    """Return a result that says nothing of the certificate that decided."""
    known = _found_by(result)
    if known is None:
        return dataclasses.replace(result, certificate=None)
    found, certificate = known
    bare = found.on(certificate)
    object.__setattr__(bare, "certificate", None)  # the sentence is made of it all the same
    return bare


_SEVERITY = (
    RevocationStatus.REVOKED,
    RevocationStatus.UNDETERMINED,
    RevocationStatus.NOT_REVOKED,
)


def severity(result: CheckResult | None) -> int:
    """Return a number that grows with the severity of a result; None is as good as any."""
    return 0 if result is None else 2 - _SEVERITY.index(result.status)
