"""
One check: a certificate, the issuers above it and the signers of their CRLs, by
one snapshot at one time.
"""

from __future__ import annotations

import heapq
import itertools
from datetime import datetime

from crlcheck._images import HeldImage
from crlcheck._snapshot import Snapshot
from crlcheck._wording import crl_text
from crlcheck.errors import CrlCheckError
from crlcheck.index import RevocationIndex
from crlcheck.scope import ApplicableCrl, Coverage, IssuerKey
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    RevocationStatus,
    UndeterminedCause,
)
from crlcheck.verdict import Evidence, decide, denied, severity, unavailable, uncovered, worst


class Judge:
    """
    Judges certificates by one snapshot.

    The signers of CRLs are judged as they are met, each once: one whose own
    certificate is on the CRL that it signed cannot be judged otherwise.
    """

    def __init__(self, snapshot: Snapshot, policy: Policy, now: datetime) -> None:
        self._snapshot = snapshot
        self._policy = policy
        self._now = now
        self._signers: dict[IssuerKey, CheckResult | None] = {}

    def judge(
        self, certificate: CertificateFacts, issuer: CertificateFacts | None = None
    ) -> CheckResult:
        """Return the verdict on *certificate* alone; *issuer* issued it, where that is known."""
        coverage = self._snapshot.table.coverage(certificate, issuer)
        return self._by_coverage(certificate, coverage)

    def judge_path(
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
        if coverage.cause is UndeterminedCause.AMBIGUOUS_ISSUER:
            return result  # what becomes of a namesake says nothing of this certificate
        for key in coverage.issuers:
            # Of several keys that may have issued it, each must be in order.
            if not key.ends_path and self._policy.path_depth != 0:
                result = _join(result, self._climb(key))
        return result

    # ---- the path ------------------------------------------------------------

    def _climb(self, key: IssuerKey) -> CheckResult | None:
        """
        Return the worst verdict of the best path from *key* up, None where the
        path ends there.

        Alternative certificates of one key are alternative paths. The best ones
        are followed first, so that the first to end is the best; every key is
        followed once, so that cycles end.
        """
        order = itertools.count()
        waiting: list[tuple[int, int, int, CheckResult | None, tuple[IssuerKey, ...]]] = []
        waiting.append((0, 0, next(order), None, (key,)))
        seen: set[IssuerKey] = set()
        result: CheckResult | None = None
        while waiting:
            _, depth, _, so_far, keys = heapq.heappop(waiting)
            if depth == self._policy.path_depth or any(one.ends_path for one in keys):
                return so_far
            result = so_far if severity(so_far) >= severity(result) else result
            for one in keys:
                if one in seen:
                    continue
                seen.add(one)
                for certificate in one.certificates:
                    coverage = self._snapshot.table.coverage(certificate)
                    joined = _join(self._by_coverage(certificate, coverage), so_far)
                    item = (severity(joined), depth + 1, next(order), joined, coverage.issuers)
                    heapq.heappush(waiting, item)
        # Only cycles: no path ends, and the worst of what is on them counts.
        return result

    def _verdict_on_signer(self, signer: IssuerKey) -> CheckResult | None:
        """Return the verdict on who signed a CRL, None where nothing speaks against it."""
        if signer not in self._signers:
            self._signers[signer] = None
            if not signer.is_anchor and signer.certificates:
                self._signers[signer] = self._best_of(signer)
        return self._signers[signer]

    def _best_of(self, signer: IssuerKey) -> CheckResult | None:
        results: list[CheckResult | None] = []
        for certificate in signer.certificates:
            if certificate.may_sign_crls:
                coverage = self._snapshot.table.coverage(certificate)
                if not coverage.issuers:  # trusted directly, and its issuer is not known
                    return None
                results.append(self.judge_path(certificate))
        return min(results, key=severity, default=None)

    # ---- one certificate -----------------------------------------------------

    def _by_coverage(self, certificate: CertificateFacts, coverage: Coverage) -> CheckResult:
        denial = self._snapshot.denial_of(certificate, self._now)
        if denial is not None:
            return denied(certificate, note=denial.note, until=denial.until)
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
        index, failure = _opened(image)
        if delta is not None:
            delta_index, delta_failure = _opened(delta)
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


def _opened(image: HeldImage) -> tuple[RevocationIndex | None, Exception | None]:
    try:
        return image.index(), None
    except (CrlCheckError, OSError) as error:
        return None, error


def _join(result: CheckResult, above: CheckResult | None) -> CheckResult:
    return result if above is None else worst((result, above))
