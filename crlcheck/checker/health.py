"""Find out whether a checker could decide on any certificate, and all that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property

from crlcheck.catalog.descriptions import crl_text
from crlcheck.catalog.neighbours import Neighbours, replaced_text
from crlcheck.checker.image_cache import CachedImage
from crlcheck.checker.path import PathChecker
from crlcheck.checker.scope import IssuerKey
from crlcheck.checker.serial_question import possible_certificates
from crlcheck.checker.snapshot import Snapshot
from crlcheck.checker.verdict import untimely
from crlcheck.encoding.names import name_text
from crlcheck.times import time_text
from crlcheck.types import (
    DistributionPoint,
    ImageMetadata,
    Policy,
    ProblemKind,
    RevocationStatus,
    StatusProblem,
    UndeterminedCause,
)
from crlcheck.x509.distribution_points import (
    ALL_REASONS,
    is_named,
    read_issuing_distribution_point,
    reasons_of,
)


def examine(
    snapshot: Snapshot | None,
    store_problems: Sequence[StatusProblem],
    *,
    now: datetime,
    policy: Policy,
) -> tuple[bool, tuple[StatusProblem, ...]]:
    """
    Return whether any certificate could be decided at *now*, and all that is wrong.

    It could if the set is not too old and at least one complete CRL in it is in its
    time, or in the policy's grace, its image was not refused, the issuers above it
    can be decided on, and a certificate that it covers and does not list would be
    NOT_REVOKED. Nothing is loaded to find that out.
    """
    if snapshot is None:
        return False, tuple(store_problems)
    of_crls, is_decided = _of_crls(snapshot, now, policy)
    problems = [*store_problems, *of_crls]
    if snapshot.catalog is not None:
        for issuer in snapshot.table.issuers.unverified():
            detail = f"it was not verified that {name_text(issuer.subject)} is self-signed"
            problems.append(StatusProblem(ProblemKind.UNVERIFIED_ISSUER, detail))
    may_answer = not any(one.is_error for one in store_problems)
    problems.sort(key=lambda one: not one.is_error)
    return may_answer and is_decided, tuple(problems)


def _of_crls(snapshot: Snapshot, now: datetime, policy: Policy) -> tuple[list[StatusProblem], bool]:
    """Return what is wrong with the CRLs, and whether one of them clears any certificate."""
    path_checker = PathChecker(snapshot, policy, now, loads=False)
    prober = _Prober(path_checker, snapshot)
    neighbours = _neighbours(snapshot, now)
    problems: list[StatusProblem] = []
    unclear: StatusProblem | None = None
    undecided: dict[IssuerKey, StatusProblem | None] = {}
    num_complete, num_probed, is_decided = 0, 0, False
    for position, (base, delta) in enumerate(zip(snapshot.images, snapshot.deltas, strict=True)):
        if base.metadata.is_delta:  # an open index that is also beside its complete CRL
            continue
        num_complete += 1
        found = list(_of_scope(base, delta, neighbours, now, policy, snapshot.graces.get(position)))
        problems += found
        key = snapshot.table.issuers.key(
            base.metadata.issuer, base.metadata.verifier_key_hash or b""
        )
        if key is None:
            continue
        if key not in undecided:
            undecided[key] = _above(path_checker, key, base)
        is_open = not (found or is_decided or undecided[key])
        if is_open and num_probed < _MAX_PROBED:
            num_probed += 1
            problem = prober.problem(key, base)
            is_decided = problem is None
            unclear = unclear or problem
    if not num_complete:
        detail = "the set has no complete CRL"
        problems.append(StatusProblem(ProblemKind.NOTHING_PUBLISHED, detail, is_error=True))
    problems += [problem for problem in undecided.values() if problem is not None]
    if unclear is not None and not is_decided:
        problems.append(unclear)
    return problems, is_decided


# One CRL that clears a certificate is enough. If so many partitions do not, the others
# hardly will, and a health endpoint should not take seconds.
_MAX_PROBED = 256

# No CA gives a certificate such a serial number: they are positive (RFC 5280 4.1.2.2).
_UNLISTED = -(1 << 160)


class _Prober:
    """Checks certificates that no CRL lists."""

    def __init__(self, path_checker: PathChecker, snapshot: Snapshot) -> None:
        self._path_checker = path_checker
        self._snapshot = snapshot

    @cached_property
    def _partial_points(self) -> dict[bytes | None, list[DistributionPoint]]:
        """The distribution points for some reasons only, by the key that verified the CRL."""
        found: dict[bytes | None, list[DistributionPoint]] = {}
        for image in self._snapshot.images:
            point = _point_of(image.metadata)
            if point is not None and reasons_of(point) != ALL_REASONS:
                found.setdefault(image.metadata.verifier_key_hash, []).append(point)
        return found

    def problem(self, key: IssuerKey, image: CachedImage) -> StatusProblem | None:
        """
        Return why a certificate that a CRL covers, and that none lists, is not cleared.
        """
        metadata = image.metadata
        point = _point_of(metadata)
        points = [] if point is None else [point]
        if point is not None and reasons_of(point) != ALL_REASONS:
            # Such a certificate names the points for the other reasons too.
            points = self._partial_points[metadata.verifier_key_hash]
        (certificate,) = possible_certificates(
            metadata.issuer,
            _UNLISTED,
            distribution_points=tuple(points),
            not_after=None,
            is_ca=_is_for_ca(metadata),
        )
        result = self._path_checker.check_certificate_of(key, certificate)
        if result.status is not RevocationStatus.UNDETERMINED:
            return None
        cause = result.cause.value if result.cause is not None else ""
        detail = f"{crl_text(metadata)} clears no certificate: {cause}"
        return StatusProblem(ProblemKind.CLEARS_NOBODY, detail, is_error=True, scope=image.scope)


def _point_of(metadata: ImageMetadata) -> DistributionPoint | None:
    """Return the distribution point of a CRL if it has a name."""
    der = metadata.issuing_distribution_point
    idp = None if der is None else read_issuing_distribution_point(der)
    return idp.point if idp is not None and is_named(idp.point) else None


def _is_for_ca(metadata: ImageMetadata) -> bool:
    der = metadata.issuing_distribution_point
    idp = None if der is None else read_issuing_distribution_point(der)
    return idp is not None and idp.only_contains_ca_certs


def _above(path_checker: PathChecker, key: IssuerKey, image: CachedImage) -> StatusProblem | None:
    """Return why the path above an issuer lets none of its certificates be cleared, if so."""
    result = path_checker.check_issuer(key)
    if result is None or result.status is not RevocationStatus.UNDETERMINED:
        return None  # that an issuer is revoked is an answer too
    detail = f"certificates of {name_text(image.metadata.issuer)} cannot be cleared: {result}"
    return StatusProblem(ProblemKind.PATH_UNDETERMINED, detail, is_error=True, scope=image.scope)


def _of_scope(
    base: CachedImage,
    delta: CachedImage | None,
    neighbours: Neighbours,
    now: datetime,
    policy: Policy,
    grace_until: datetime | None,
) -> Iterator[StatusProblem]:
    """Yield why a complete CRL and the delta beside it clear nobody."""
    after = None if delta is None else delta.metadata
    found = untimely(base.metadata, after, now, policy, grace_until)
    if found is not None:
        cause, metadata = found
        replacement = None
        if cause is UndeterminedCause.NOT_YET_VALID:
            kind = ProblemKind.NOT_YET_VALID
            said = f"is not valid before {time_text(metadata.this_update)}"
        elif (replacement := neighbours.replacement_of(metadata)) is not None:
            kind = ProblemKind.EXPIRED_REPLACED
            said = replaced_text(f"{crl_text(replacement[1])} (scope {replacement[0]})")
        else:
            kind = ProblemKind.STALE
            said = f"has been stale since {time_text(metadata.next_update)}"
        detail = f"{crl_text(metadata)} {said}"
        yield StatusProblem(kind, detail, is_error=replacement is None, scope=base.scope)
    for image in (base, delta):
        if image is not None and image.error is not None and not image.is_open:
            detail = f"the image of {crl_text(image.metadata)} could not be loaded: {image.error}"
            yield StatusProblem(
                ProblemKind.IMAGE_UNAVAILABLE, detail, is_error=True, scope=base.scope
            )


def _neighbours(snapshot: Snapshot, now: datetime) -> Neighbours:
    later = {
        base.scope: (delta or base).metadata
        for base, delta in zip(snapshot.images, snapshot.deltas, strict=True)
        if not base.metadata.is_delta
    }
    return Neighbours(later, snapshot.table.issuers, now)
