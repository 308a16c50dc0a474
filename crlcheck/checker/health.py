"""Find out whether a checker could decide on any certificate, and all that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from crlcheck.catalog.descriptions import crl_text
from crlcheck.catalog.neighbours import Neighbours, replaced_text
from crlcheck.checker.image_cache import CachedImage
from crlcheck.checker.path import PathChecker
from crlcheck.checker.scope import IssuerKey
from crlcheck.checker.sections import Section, sections_of
from crlcheck.checker.serial_question import possible_certificates
from crlcheck.checker.snapshot import Snapshot
from crlcheck.checker.store_set import IndexesInUse, SetInUse
from crlcheck.checker.verdict import untimely
from crlcheck.checker.views import Views
from crlcheck.encoding.names import name_text
from crlcheck.errors import CatalogDamagedError
from crlcheck.times import time_text
from crlcheck.types import (
    CertificateFacts,
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


@dataclass(frozen=True, slots=True)
class Health:
    """
    What the examination of a set found.

    ``answering`` tells whether any certificate could be decided. ``images`` are the first
    images of the set, each delta after its complete CRL. ``unchecked`` and ``unverified`` are
    trusted certificates as ``IssuerKeys`` has them.
    """

    answering: bool
    problems: tuple[StatusProblem, ...]
    images: tuple[CachedImage, ...] = ()
    unchecked: tuple[CertificateFacts, ...] = ()
    unverified: tuple[CertificateFacts, ...] = ()


MAX_LISTED = 1_000
"""So many images, problems and issuers are listed: a set may have any number."""


def examine(
    in_use: SetInUse | IndexesInUse | None,
    store_problems: Sequence[StatusProblem],
    *,
    now: datetime,
    policy: Policy,
) -> Health:
    """
    Return whether any certificate could be decided at *now*, and all that is wrong.

    It could if the set is not too old and at least one complete CRL in it is in its
    time, or in the policy's grace, its image was not refused, the issuers above it
    can be decided on, and a certificate that it covers and does not list would be
    NOT_REVOKED. No image is loaded to find that out.
    """
    if in_use is None:
        return Health(answering=False, problems=tuple(store_problems))
    examination = _Examination(in_use, now, policy)
    examination.run()
    may_answer = not any(one.is_error for one in store_problems)
    problems = [*store_problems, *examination.all_problems()]
    problems.sort(key=lambda one: not one.is_error)
    return Health(
        may_answer and examination.is_decided,
        tuple(problems),
        tuple(examination.images)[:MAX_LISTED],
        tuple(examination.unchecked.values()),
        tuple(examination.unverified.values()),
    )


def is_answering(
    in_use: SetInUse | IndexesInUse | None,
    store_problems: Sequence[StatusProblem],
    *,
    now: datetime,
    policy: Policy,
) -> bool:
    """Return whether any certificate could be decided, as ``examine`` does, and no more."""
    if in_use is None or any(one.is_error for one in store_problems):
        return False
    examination = _Examination(in_use, now, policy)
    examination.run(until_decided=True)
    return examination.is_decided


class _Examination:
    """Examines a set section by section."""

    def __init__(self, in_use: SetInUse | IndexesInUse, now: datetime, policy: Policy) -> None:
        self._in_use = in_use
        self._now = now
        self._policy = policy
        self._failures: dict[str, Exception] = {}
        self._problems: dict[StatusProblem, None] = {}
        self._num_unlisted = 0
        self._has_unlisted_error = False
        self._unclear: StatusProblem | None = None
        self._num_complete = 0
        self._num_probed = 0
        self.is_decided = False
        self.images: dict[CachedImage, None] = {}
        self.unchecked: dict[bytes, CertificateFacts] = {}
        self.unverified: dict[bytes, CertificateFacts] = {}

    def run(self, *, until_decided: bool = False) -> None:
        """
        Examine all sections; where some cannot be read, also the views that checks use.

        With *until_decided* only those up to the first that clears a certificate.
        """
        for section in self._sections():
            self._examine(section)
            if until_decided and self.is_decided:
                return

    def _sections(self) -> Iterator[Section]:
        views = self._in_use.views
        yield from sections_of(views, self._note_failure)
        if self._failures and isinstance(views, Views):
            yield from map(Section, views.snapshots())

    def all_problems(self) -> list[StatusProblem]:
        """Return the problems of the set."""
        found = list(self._problems)
        if not self._num_complete and not self._failures:
            detail = "the set has no complete CRL"
            found.append(StatusProblem(ProblemKind.NOTHING_PUBLISHED, detail, is_error=True))
        if self._unclear is not None and not self.is_decided:
            found.append(self._unclear)
        for error in list(self._failures.values())[:MAX_LISTED]:
            detail = f"a part of the set cannot be read: {error}"
            found.append(StatusProblem(ProblemKind.PART_UNAVAILABLE, detail, is_error=True))
        if self._num_unlisted:
            detail = f"there are {self._num_unlisted} more problems than are listed"
            found.append(
                StatusProblem(ProblemKind.MORE_PROBLEMS, detail, is_error=self._has_unlisted_error)
            )
        return found

    def _note_failure(self, error: Exception) -> None:
        name = error.name if isinstance(error, CatalogDamagedError) else str(error)
        self._failures.setdefault(name, error)

    def _note(self, problem: StatusProblem) -> None:
        if problem in self._problems:
            return
        if len(self._problems) < MAX_LISTED:
            self._problems[problem] = None
        else:
            self._num_unlisted += 1
            self._has_unlisted_error = self._has_unlisted_error or problem.is_error

    def _examine(self, section: Section) -> None:
        """Note what is wrong with a section, and whether it clears any certificate."""
        snapshot = section.snapshot
        views, denied = self._in_use.views, self._in_use.denied
        path_checker = PathChecker(snapshot, denied, views, self._policy, self._now, loads=False)
        prober = _Prober(path_checker, snapshot)
        neighbours = _neighbours(snapshot, self._now)
        undecided: dict[IssuerKey, StatusProblem | None] = {}
        for position, base in enumerate(snapshot.images):
            delta = snapshot.deltas[position]
            if not section.has_scope(base.scope):
                continue
            if len(self.images) < MAX_LISTED:
                self.images.update(dict.fromkeys([base] if delta is None else [base, delta]))
            if base.metadata.is_delta:  # an open index that is also beside its complete CRL
                continue
            self._num_complete += 1
            grace = snapshot.graces.get(position)
            found = list(_of_scope(base, delta, neighbours, self._now, self._policy, grace))
            key = snapshot.table.issuers.key(
                base.metadata.issuer, base.metadata.verifier_key_hash or b""
            )
            if key is not None:
                if key not in undecided:
                    undecided[key] = _above(path_checker, key, base)
                    found += [] if (above := undecided[key]) is None else [above]
                if not (found or undecided[key]):
                    self._probe(prober, key, base)
            for problem in found:
                self._note(problem)
        if isinstance(views, Views):
            self._examine_issuers(section)

    def _probe(self, prober: _Prober, key: IssuerKey, image: CachedImage) -> None:
        """Find out whether a CRL clears a certificate, unless that is known of another one."""
        if not self.is_decided and self._num_probed < _MAX_PROBED:
            self._num_probed += 1
            unclear = prober.problem(key, image)
            self.is_decided = unclear is None
            self._unclear = self._unclear or unclear

    def _examine_issuers(self, section: Section) -> None:
        issuers = section.snapshot.table.issuers
        for found, certificates in (
            (self.unchecked, issuers.unchecked()),
            (self.unverified, issuers.unverified()),
        ):
            for certificate in certificates:
                if len(found) < MAX_LISTED and section.has_issuer(certificate.subject):
                    found[certificate.der] = certificate
        for certificate in issuers.unverified():
            if section.has_issuer(certificate.subject):
                detail = f"it was not verified that {name_text(certificate.subject)} is self-signed"
                self._note(StatusProblem(ProblemKind.UNVERIFIED_ISSUER, detail))


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
