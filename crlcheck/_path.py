"""
One check: a certificate, the issuers above it and the signers of their CRLs, by
one snapshot at one time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from crlcheck._best_path import Way, best_path
from crlcheck._images import CachedImage
from crlcheck._results import (
    denied,
    severity,
    unavailable,
    uncovered,
    unpublished,
    worst,
)
from crlcheck._snapshot import Snapshot
from crlcheck._wording import crl_text
from crlcheck.errors import CrlCheckError, StoreUnavailableError
from crlcheck.index import RevocationIndex
from crlcheck.scope import ApplicableCrl, Coverage, IssuerCertificate, IssuerKey, public_key_hash
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    RevocationStatus,
    UndeterminedCause,
)
from crlcheck.verdict import Evidence, decide


class _Step(NamedTuple):
    """
    An issuer's key on a path. ``depth`` is how many issuers are still checked from
    here up, None for all. ``signs`` tells that it is on the path as the signer of a
    CRL, so that only its certificates for that count.
    """

    key: IssuerKey
    depth: int | None
    signs: bool = False


_Way: TypeAlias = Way[_Step, CheckResult]

_END: _Way = Way(severity(None))

_DENIALS_ONLY = -1
"""The depth of steps beyond all that are checked."""

_NO_ISSUER = (UndeterminedCause.UNKNOWN_ISSUER, UndeterminedCause.AMBIGUOUS_ISSUER)


class PathChecker:
    """
    Judges certificates by one snapshot.

    A signer of a CRL that is met again while it is being judged is not judged
    again: one whose own certificate is on the CRL that it signed cannot be judged
    otherwise. What was found meanwhile rests on that, so it is remembered for the
    same signers under way only.

    loads: whether images that are not open are loaded; else they are taken for empty,
        but for those that could not be loaded.
    """

    def __init__(
        self, snapshot: Snapshot, policy: Policy, now: datetime, *, loads: bool = True
    ) -> None:
        self._snapshot = snapshot
        self._open = _loaded if loads else _as_loaded
        self._policy = policy
        self._now = now
        self._under_way: frozenset[IssuerKey] = frozenset()
        self._signers: dict[tuple[frozenset[IssuerKey], IssuerKey], CheckResult | None] = {}
        self._ways: dict[tuple[frozenset[IssuerKey], _Step], Sequence[_Way]] = {}

    def check_path(
        self,
        certificate: CertificateFacts,
        issuer: CertificateFacts | None = None,
        *,
        any_points: bool = False,
    ) -> CheckResult:
        """
        Return the worst verdict on *certificate* and the trusted issuers above it;
        *issuer* and *any_points* are as for ``ScopeTable.coverage``.
        """
        coverage = self._snapshot.table.coverage(certificate, issuer, any_points=any_points)
        result = self._by_coverage(certificate, coverage)
        return self._join_above(result, coverage, self._policy.path_depth)

    def check_issuer(self, key: IssuerKey) -> CheckResult | None:
        """
        Return the worst verdict on the best path from an issuer's key up, for any
        certificate of that issuer; None where nothing is found on it.
        """
        return self._best_path_above(_Step(key, self._policy.path_depth))

    def check_certificate_of(self, key: IssuerKey, certificate: CertificateFacts) -> CheckResult:
        """Return the worst verdict on a certificate of that issuer's key and what is above it."""
        coverage = self._snapshot.table.coverage(certificate, keys=(key,))
        result = self._by_coverage(certificate, coverage)
        return self._join_above(result, coverage, self._policy.path_depth)

    def check_given_path(self, path: Sequence[CertificateFacts]) -> CheckResult:
        """
        Return the worst verdict on a path that is given, leaf first, below its anchor.

        Denials count for all of it, the anchor and what is above it included.
        """
        table = self._snapshot.table
        length = table.issuers.length_below_anchor(path)
        coverages = [
            table.coverage(certificate, issuer)
            for certificate, issuer in zip(path[:length], (*path[1:], None), strict=False)
        ]
        results = list(map(self._by_coverage, path, coverages))
        if self._snapshot.denied:
            if length == len(path):
                # Whichever key issued the last one, it must not be denied.
                results += self._above(coverages[-1].issuers, depth=0)
            keys = (table.issuers.key(one.subject, public_key_hash(one)) for one in path[1:])
            denials = [self._denial_of(certificate) for certificate in path[length:]]
            denials += [self._denial_of_key(key) for key in keys if key is not None]
            results += [denial for denial in denials if denial is not None]
        return worst(results)

    # ---- the path ------------------------------------------------------------

    def _join_above(
        self, result: CheckResult, coverage: Coverage, depth: int | None
    ) -> CheckResult:
        """Return the worst of *result* and what is above a certificate of that coverage."""
        if coverage.cause is UndeterminedCause.AMBIGUOUS_ISSUER:
            return result  # what becomes of a namesake says nothing of this certificate
        if depth == 0 and not self._snapshot.denied:
            return result
        # Of several keys that may have issued it, each must be in order.
        for above in self._above(coverage.issuers, depth):
            result = worst((result, above))
        return result

    def _above(self, keys: Sequence[IssuerKey], depth: int | None) -> list[CheckResult]:
        """Return what is found on the best path from each of *keys* up."""
        found = [self._best_path_above(step) for step in self._steps(keys, depth)]
        return [result for result in found if result is not None]

    def _best_path_above(self, step: _Step) -> CheckResult | None:
        """
        Return the worst verdict on the best path from an issuer's key up, None where
        nothing is found on it.
        """
        result: CheckResult | None = None
        passed: set[_Step] = set()
        while step not in passed:
            passed.add(step)
            ways = self._ways_from(step)
            if len(ways) != 1 or len(ways[0].above) > 1:
                for found in best_path(step, self._ways_from):
                    result = found if result is None else worst((result, found))
                return result
            # Nearly every issuer has one certificate, of one issuer.
            (way,) = ways
            if way.result is not None:
                result = way.result if result is None else worst((result, way.result))
            if not way.above:
                return result
            (step,) = way.above
        return result

    def _ways_from(self, step: _Step) -> Sequence[_Way]:
        """Return a way for each certificate of an issuer's key."""
        known = self._under_way, step
        ways = self._ways.get(known)
        if ways is None:
            ways = self._ways[known] = self._find_ways(step)
        return ways

    def _find_ways(self, step: _Step) -> Sequence[_Way]:
        key, depth, signs = step
        denial = self._denial_of_key(key)
        if denial is not None:
            return (Way(severity(denial), denial),)
        if key.is_anchor or (depth == 0 and not self._snapshot.denied):
            return (_END,)
        if depth == 0:
            # By itself, for what is above must not count for anything but denials.
            found = self._best_path_above(_Step(key, _DENIALS_ONLY))
            return (Way(severity(found), found),)
        certificates = [one for one in key.certificates if not signs or one.facts.may_sign_crls]
        return [self._way_by(one, depth) for one in certificates] or (_END,)

    def _way_by(self, certificate: IssuerCertificate, depth: int | None) -> _Way:
        if certificate.ends_path:
            return _END._replace(is_checked=False)
        if depth == _DENIALS_ONLY:
            above = self._steps(certificate.issuers, depth)
            return Way(_END.severity, None, above, bool(above))
        facts = certificate.facts
        coverage = self._snapshot.table.coverage(facts, keys=certificate.issuers)
        result = self._by_coverage(facts, coverage)
        # Of an unknown or ambiguous issuer nothing can be said, so nothing excuses by it.
        is_known = coverage.cause not in _NO_ISSUER
        left = None if depth is None else depth - 1
        above = self._steps(coverage.issuers if is_known else (), left)
        return Way(severity(result), result, above, is_known)

    def _steps(self, keys: Sequence[IssuerKey], depth: int | None) -> tuple[_Step, ...]:
        """Return where a path goes on; at an anchor it does so only to ask for denials."""
        if self._snapshot.denied:
            return tuple(_Step(key, depth) for key in keys)
        return tuple(_Step(key, depth) for key in keys if not key.is_anchor)

    def _verdict_on_signer(self, signer: IssuerKey) -> CheckResult | None:
        """Return the verdict on who signed a CRL, None where nothing speaks against it."""
        if signer in self._under_way:
            return None
        known = self._under_way, signer
        if known not in self._signers:
            depth = self._policy.path_depth
            step = _Step(signer, None if depth is None else depth + 1, signs=True)
            before = self._under_way
            self._under_way = before | {signer}
            try:
                self._signers[known] = self._best_path_above(step)
            finally:
                self._under_way = before
        return self._signers[known]

    # ---- denials -------------------------------------------------------------

    def _denial_of(self, certificate: CertificateFacts) -> CheckResult | None:
        """Return the verdict on a certificate that an operator denied by hand, else None."""
        denial = self._snapshot.denial_of(certificate, self._now)
        return None if denial is None else denied(certificate, note=denial.note, until=denial.until)

    def _denial_of_key(self, key: IssuerKey) -> CheckResult | None:
        """
        Return the verdict on a key of which any certificate is denied, else None.

        The denial is of the issuer: other certificates of its key do not clear it.
        """
        if not self._snapshot.denied:
            return None
        denials = (self._denial_of(one.facts) for one in key.certificates)
        return next((denial for denial in denials if denial is not None), None)

    # ---- one certificate -----------------------------------------------------

    def _by_coverage(self, certificate: CertificateFacts, coverage: Coverage) -> CheckResult:
        denial = self._denial_of(certificate)
        if denial is not None:
            return denial
        if coverage.cause is UndeterminedCause.OUT_OF_SCOPE and all(
            key.publishes_no_crl for key in coverage.issuers
        ):
            is_held = self._snapshot.table.may_have_crls(certificate, coverage)
            return unpublished(certificate, is_held=is_held)
        if coverage.cause is not None:
            return uncovered(certificate, coverage, self._policy)
        evidence: list[Evidence] = []
        failure: CheckResult | None = None
        for crl in coverage.applicable:
            said, error = self._look_up(certificate, crl)
            evidence.append(said)
            if error is not None:
                reason = f"the image of {crl_text(said.metadata)} cannot be loaded: {error}"
                failure = unavailable(certificate, reason)
        result = decide(certificate, evidence, now=self._now, policy=self._policy)
        # What could not be loaded might revoke it: the rest can only confirm a revocation.
        if failure is None or result.status is RevocationStatus.REVOKED:
            return result
        return failure

    def _look_up(
        self, certificate: CertificateFacts, crl: ApplicableCrl
    ) -> tuple[Evidence, Exception | None]:
        """Return what a CRL and its delta say, and why one of them could not be asked."""
        image = self._snapshot.images[crl.position]
        delta = self._snapshot.deltas[crl.position]
        issuer = certificate.issuer if crl.by_issuer else None
        entry = delta_entry = None
        index, failure = self._open(image)
        if delta is not None:
            delta_index, delta_failure = self._open(delta)
            failure = failure or delta_failure
            if delta_index is not None:
                delta_entry = delta_index.find(certificate.serial_number, issuer)
        if index is not None:
            entry = index.find(certificate.serial_number, issuer)
        signer = None if crl.signer is None else self._verdict_on_signer(crl.signer)
        evidence = Evidence(
            image.metadata,
            image.scope,
            entry,
            None if delta is None else delta.metadata,
            delta_entry,
            crl.reasons,
            signer,
            crl.waived,
            crl.unsure_reasons,
        )
        return evidence, failure


def _loaded(image: CachedImage) -> tuple[RevocationIndex | None, Exception | None]:
    try:
        return image.index(), None
    except (CrlCheckError, OSError) as error:
        return None, error


def _as_loaded(image: CachedImage) -> tuple[RevocationIndex | None, Exception | None]:
    opened = image.index_if_open()
    if opened is not None or image.error is None:
        return opened, None
    return None, StoreUnavailableError(image.error)
