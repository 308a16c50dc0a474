"""Revocation checks against a published set or open indexes: what an application calls."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from crlcheck._follow import IndexSet, StoreSet
from crlcheck._health import examine
from crlcheck._images import CachedImage
from crlcheck._json import time_text
from crlcheck._name import name_text, names_match
from crlcheck._path import PathChecker
from crlcheck._results import unavailable, worst
from crlcheck._serial_question import possible_certificates, read_issuer, read_points
from crlcheck._snapshot import Trust, snapshot_of_indexes
from crlcheck.certificate import CertificateSource, load_certificate, load_certificates
from crlcheck.errors import IndexClosedError
from crlcheck.index import RevocationIndex, open_index
from crlcheck.scope import TrustedIssuer, is_self_issued
from crlcheck.stores import ObjectStore, open_store
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    DistributionPoint,
    Freshness,
    Policy,
    Rule,
    StatusProblem,
)

CheckerSource: TypeAlias = (
    str | os.PathLike[str] | ObjectStore | RevocationIndex | Iterable[RevocationIndex]
)
"""A store or where it is, the path of one image, or open indexes."""

CertificateSources: TypeAlias = CertificateSource | Iterable[CertificateSource]


DEFAULT_IMAGE_MEMORY = 512 << 20
"""Octets of a store's images that a checker keeps loaded unless told otherwise."""


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """
    One CRL that a checker holds.

    ``loaded`` tells whether its image is in use already, ``error`` why it could
    not be loaded when it was last needed. ``is_delta`` marks a delta CRL, which
    follows the complete CRL that it lies beside. ``age`` counts from thisUpdate;
    ``time_left`` to nextUpdate is negative once that has passed.
    """

    scope: str
    issuer: str
    crl_number: int | None
    this_update: datetime
    next_update: datetime | None
    num_entries: int
    loaded: bool
    error: str | None
    is_delta: bool
    age: timedelta
    time_left: timedelta | None


@dataclass(frozen=True, slots=True)
class CheckerStatus:
    """
    The state of a checker, for health endpoints.

    ``answering`` tells whether any certificate could be decided now, rather than be
    UNDETERMINED: there is a set, it is not older than ``max_catalog_age``, and one
    complete CRL in it at least is in its time, or in the policy's grace, and so are
    those of the issuers above; and it clears what it does not list. That is what a
    health endpoint is to go by: a store that fails while the last set answers is no
    outage. ``problems`` says all that is wrong, errors first. Nothing is asked or
    loaded for it, so a checker that nobody has used yet is not answering: call
    ``preload``.

    ``generation`` is that of the catalog in use, None without one.
    ``confirmed_at`` is when the store last said that it is the current one, and
    ``error`` is why a later attempt failed: until the next success the checker
    answers from what it holds. ``unchecked_issuers`` are the names of trusted
    issuers that are no trust anchors and whose own issuer is not trusted here:
    paths end at them, and whether they are revoked is not looked at.
    ``unverified_issuers`` are the names of trusted issuers of which only name and
    key ids say that they are self-signed, and so end paths: nobody could verify
    their signature (an MD5 root), or a publisher of old has not.
    """

    generation: int | None
    confirmed_at: datetime | None
    error: str | None
    scopes: tuple[ScopeStatus, ...]
    unchecked_issuers: tuple[str, ...] = ()
    unverified_issuers: tuple[str, ...] = ()
    freshness: Freshness = field(default_factory=Freshness)
    answering: bool = False
    problems: tuple[StatusProblem, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The status as JSON-ready values; times as in RFC 3339, durations in seconds."""
        values: dict[str, Any] = _json_ready(dataclasses.asdict(self))
        return values


def _json_ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json_ready(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(member) for member in value]
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, enum.Enum):
        return value.value
    # A CRL number may exceed what JSON readers keep exactly as a number.
    is_large = isinstance(value, int) and abs(value) >= 1 << 53
    return str(value) if is_large else value


def _utc_now() -> datetime:
    return datetime.now(UTC)


class RevocationChecker:
    """
    Answers whether certificates are revoked, by a store's published set or by
    open indexes. Threads may share it.

    Every certificate given must already have been verified (chain, dates,
    possession of the key) by whoever terminated TLS: this decides revocation
    only.

    Args:
        source: a store (or its directory or ``s3://`` URL), the path of one
            image, an open index or several. Indexes stay the caller's to close.
            The file of one image is mapped, as by ``open_index``: it is replaced
            by rename only. Images of a store are read into memory, where nothing
            that happens to their files changes them.
        issuers: trusted issuer certificates, in addition to those that the
            store's catalog names. Indexes without any judge certificates of the
            CRLs' own issuers.
        trust_anchors: certificates at which a path ends unchecked; trusted
            issuers too. By default these are the self-signed ones, by their
            signature where it can be verified; in any case those that an operator
            marked in the catalog. A path also ends at an issuer whose own issuer's
            name no other trusted key has, or had when CRLs of it were removed with it.
        policy: what may be waived; nothing by default.
        refresh_after: how long a catalog is used before the store is asked for
            a newer one; by default it is asked at every check (one conditional
            GET).
        clock: returns the time in UTC.
        image_memory: how many bytes of a store's images are kept loaded. Beyond
            that the least recently used ones are let go; the one in use stays,
            whatever its size. Processes forked after ``preload`` share the memory.
        max_catalog_age: how long a set is answered from after its catalog was
            last read in full; beyond that every answer is
            UNDETERMINED(STORE_UNAVAILABLE) until the store hands it out again.
            None for ever.
        background_refresh: a thread asks the store every *refresh_after* (ten
            seconds where that is zero), so that no check waits for it but the
            first. It starts with the first check, in each process of a fork anew.
            Where it is overdue (after a fork, or when the process or its machine
            stood still) the next check asks instead, and where it has ended or
            could not be started one starts it again.

    Raises:
        ValueError: *image_memory* or *max_catalog_age* is not positive, or
            *refresh_after* is negative.
        CertificateError: an issuer or trust anchor is not a certificate.
        IndexFileError: the CRL of an index was never verified.
    """

    def __init__(
        self,
        source: CheckerSource,
        *,
        issuers: CertificateSources = (),
        trust_anchors: CertificateSources | None = None,
        policy: Policy | None = None,
        refresh_after: timedelta = timedelta(0),
        clock: Callable[[], datetime] = _utc_now,
        image_memory: int = DEFAULT_IMAGE_MEMORY,
        max_catalog_age: timedelta | None = None,
        background_refresh: bool = False,
    ) -> None:
        if max_catalog_age is not None and max_catalog_age <= timedelta(0):
            raise ValueError(f"max_catalog_age: expected a positive time, found {max_catalog_age}")
        if refresh_after < timedelta(0):
            raise ValueError(f"refresh_after: expected no negative time, found {refresh_after}")
        self._policy = policy or Policy()
        self._clock = clock
        anchors = None if trust_anchors is None else load_certificates(trust_anchors)
        trust = Trust(
            issuers=_trusted((*load_certificates(issuers), *(anchors or ()))),
            anchors=anchors,
            waive_points=self._policy.no_distribution_point is Rule.ALLOW,
            unpublished=load_certificates(self._policy.unpublished_issuers),
        )
        self._set: IndexSet | StoreSet | None
        if isinstance(source, str | os.PathLike) and _names_an_image(source):
            source = open_index(source, verify=True)
        if isinstance(source, str | os.PathLike | ObjectStore):
            self._set = StoreSet(
                open_store(source),
                trust,
                refresh_after=refresh_after,
                clock=clock,
                image_memory=image_memory,
                max_age=max_catalog_age,
                background=background_refresh,
            )
        else:
            indexes = [source] if isinstance(source, RevocationIndex) else list(source)
            self._set = IndexSet(snapshot_of_indexes(indexes, trust))

    # ---- checks --------------------------------------------------------------

    def check(self, certificate: CertificateSource) -> CheckResult:
        """
        Return whether *certificate* (PEM, DER, a path or a ``cryptography``
        object), or a trusted issuer above it, is revoked; it must have been
        verified already.

        The result is the worst of the path from the certificate up to a trust
        anchor: REVOKED over UNDETERMINED over NOT_REVOKED. Where an issuer has
        several certificates, the best of these paths counts.
        ``Policy.path_depth`` says how much of it is checked. By indexes without
        *issuers*, only the certificate itself is.

        A store that cannot be reached is no exception: the last good set keeps
        answering, and before there is one the answer is
        UNDETERMINED(STORE_UNAVAILABLE).

        Raises:
            CertificateError: it is not a certificate.
            IndexClosedError: the checker is closed.
        """
        return self._check([load_certificate(certificate)])[0]

    def check_many(self, certificates: Iterable[CertificateSource]) -> list[CheckResult]:
        """
        Return a result for each certificate, in order, all by one published set;
        they must have been verified already.

        Raises: as ``check``; one bad certificate fails the call.
        """
        return self._check([load_certificate(certificate) for certificate in certificates])

    def check_chain(self, certificates: CertificateSources) -> CheckResult:
        """
        Return the worst result over a verified path, given leaf first: REVOKED
        over UNDETERMINED over NOT_REVOKED.

        The path ends before the first trust anchor, by default also before a last
        certificate that is self-signed; the leaf is checked in any case, and
        denials by hand count for all of it. Each
        certificate's issuer is the next one, which settles what its authority
        key id leaves open.

        Raises:
            ValueError: the path is empty, or one certificate's subject is not
                the issuer of the one before it.
            CertificateError: one of them is not a certificate.
            IndexClosedError: the checker is closed.
        """
        path = load_certificates(certificates)
        if not path:
            raise ValueError("a path of no certificates cannot be checked")
        for position, (issued, issuer) in enumerate(itertools.pairwise(path)):
            if not names_match(issued.issuer, issuer.subject):
                raise ValueError(
                    f"not a path: certificate {position} was issued by "
                    f"{name_text(issued.issuer)}, the next one is {name_text(issuer.subject)}"
                )
        path_checker = self._path_checker()
        if isinstance(path_checker, str):
            return unavailable(path[0], path_checker)
        return path_checker.check_given_path(path)

    def check_serial(
        self,
        issuer: CertificateSource,
        serial_number: int,
        *,
        distribution_points: Iterable[DistributionPoint | str] | None = None,
        not_after: datetime | None = None,
        is_ca: bool | None = None,
    ) -> CheckResult:
        """
        Return whether the certificate with *serial_number* of *issuer*, or a
        trusted issuer above it, is revoked; it must have been verified already.

        What is not given is not known. REVOKED and UNDETERMINED are said where
        they may be the answer to ``check`` for a certificate that fits,
        NOT_REVOKED where it is for each: a CRL that may be the certificate's may
        revoke it, and only a current CRL that is all such certificates' clears
        it. With all facts given this says what ``check`` does.

        Args:
            issuer: the issuer certificate (PEM, DER, a path or a
                ``cryptography`` object), or its whole Name as DER. A Name stands
                for all trusted keys of it, as for a certificate without
                authority key id.
            serial_number: the certificate's.
            distribution_points: all of the certificate's, an empty sequence for
                none; text is the URI of one (RFC 5280 4.2.1.13).
            not_after: the end of its validity period; where that is not known it
                is taken not to have expired.
            is_ca: whether it is a CA certificate.

        The result's ``certificate`` is None where the certificate itself decided.

        Raises:
            CertificateError: *issuer* is neither certificate nor Name.
            ValueError: a URI is not ASCII, or *not_after* has no time zone.
            TypeError: *serial_number* is no integer, or a point is neither text nor a point.
            IndexClosedError: the checker is closed.
        """
        name, known = read_issuer(issuer)
        any_points = distribution_points is None
        certificates = possible_certificates(
            name,
            serial_number,
            distribution_points=read_points(distribution_points or ()),
            not_after=not_after,
            is_ca=is_ca,
        )
        path_checker = self._path_checker()
        if isinstance(path_checker, str):
            result = unavailable(certificates[0], path_checker)
        else:
            result = worst(
                path_checker.check_path(certificate, known, any_points=any_points)
                for certificate in certificates
            )
        decided = result.certificate
        if any(decided is certificate for certificate in certificates):
            return dataclasses.replace(result, certificate=None)
        return result

    def _check(self, certificates: Sequence[CertificateFacts]) -> list[CheckResult]:
        """Judge certificates, with those above them, by one snapshot at one time."""
        path_checker = self._path_checker()
        if isinstance(path_checker, str):
            return [unavailable(certificate, path_checker) for certificate in certificates]
        return [path_checker.check_path(certificate) for certificate in certificates]

    def _path_checker(self) -> PathChecker | str:
        """Return a checker of paths by the set in use, or why there is none."""
        in_use = self._require_open()
        snapshot = in_use.current()
        if snapshot is None:
            return in_use.why_none()
        return PathChecker(snapshot, self._policy, self._clock())

    # ---- state ---------------------------------------------------------------

    def refresh(self) -> bool:
        """
        Ask the store for a newer set now; return whether one was taken.

        What is held stays in use when this raises.

        Raises:
            StoreError: the store does not answer, or its catalog is refused.
            IndexFileError: an image in use has a successor that is refused.
            FileNotFoundError: the catalog or such a successor is missing.
            IndexClosedError: the checker is closed.
        """
        return self._require_open().refresh()

    def preload(self) -> None:
        """
        Read the published set now and load its images, as far as *image_memory*
        holds them and they are few, so that the first check does not.

        What fails is logged, and tried again when it is needed.

        Raises:
            IndexClosedError: the checker is closed.
        """
        self._require_open().preload()

    def freshness(self) -> Freshness:
        """
        Return how well the store is kept up with; cheap enough for every request.

        Raises:
            IndexClosedError: the checker is closed.
        """
        return self._require_open().freshness()

    def status(self) -> CheckerStatus:
        """
        Return what is held and what last went wrong, without asking the store.

        Raises:
            IndexClosedError: the checker is closed.
        """
        in_use = self._require_open()
        snapshot = in_use.snapshot
        catalog = None if snapshot is None else snapshot.catalog
        issuers = None if snapshot is None else snapshot.table.issuers
        now = self._clock()
        answering, problems = examine(snapshot, in_use.problems(), now=now, policy=self._policy)
        return CheckerStatus(
            generation=None if catalog is None else catalog.generation,
            confirmed_at=in_use.confirmed_at,
            error=in_use.error,
            scopes=()
            if snapshot is None
            else tuple(_scope_status(image, now) for image in snapshot.all_images()),
            unchecked_issuers=() if issuers is None else _subjects(issuers.unchecked()),
            unverified_issuers=() if issuers is None else _subjects(issuers.unverified()),
            freshness=in_use.freshness(),
            answering=answering,
            problems=problems,
        )

    def close(self) -> None:
        """Let go of the images. Checks under way in other threads still end well."""
        in_use, self._set = self._set, None
        if in_use is not None:
            in_use.close()

    def __enter__(self) -> RevocationChecker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _require_open(self) -> IndexSet | StoreSet:
        in_use = self._set
        if in_use is None:
            raise IndexClosedError("the checker is closed")
        return in_use


def _trusted(certificates: Iterable[CertificateFacts]) -> list[TrustedIssuer]:
    """Return issuers that were given, each with whether its own key signed it."""
    return [TrustedIssuer(one, _is_self_signed(one)) for one in certificates]


def _is_self_signed(certificate: CertificateFacts) -> bool | None:
    if not is_self_issued(certificate):
        return False
    try:
        # Only here: a checker over a store needs no `cryptography`, as the publisher
        # has decided that and the catalog says it.
        from crlcheck.signature import is_self_signed
    except ImportError:
        return None
    return is_self_signed(certificate)


def _names_an_image(source: str | os.PathLike[str]) -> bool:
    # A missing image is an error; only a directory that is not there yet is an empty store.
    path = Path(source)
    return path.is_file() or (path.suffix == ".crlx" and not path.is_dir())


def _subjects(certificates: Iterable[CertificateFacts]) -> tuple[str, ...]:
    return tuple(name_text(certificate.subject) for certificate in certificates)


def _scope_status(image: CachedImage, now: datetime) -> ScopeStatus:
    metadata = image.metadata
    return ScopeStatus(
        scope=image.scope,
        issuer=name_text(metadata.issuer),
        crl_number=metadata.crl_number,
        this_update=metadata.this_update,
        next_update=metadata.next_update,
        num_entries=metadata.num_entries,
        loaded=image.is_open,
        error=image.error,
        is_delta=metadata.is_delta,
        age=now - metadata.this_update,
        time_left=None if metadata.next_update is None else metadata.next_update - now,
    )
