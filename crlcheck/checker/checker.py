"""Check certificates against the published set of a store or open indexes."""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from crlcheck._binding import certificate_kind
from crlcheck.checker.health import examine, is_answering
from crlcheck.checker.image_cache import CachedImage
from crlcheck.checker.judge import Judge
from crlcheck.checker.results import unavailable, without_certificate
from crlcheck.checker.root_demands import RootDemands
from crlcheck.checker.scope import TrustedIssuer, is_self_issued
from crlcheck.checker.serial_question import (
    SerialStatus,
    possible_certificates,
    read_issuer,
    read_points,
)
from crlcheck.checker.snapshot import Trust, snapshot_of_indexes
from crlcheck.checker.store_set import IndexesInUse, IndexSet, SetInUse, StoreSet
from crlcheck.checker.threads import CheckThreads
from crlcheck.checker.views import OneView, UnansweredError, Views
from crlcheck.encoding.names import name_text, names_match
from crlcheck.errors import IndexClosedError, StoreUnavailableError
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.stores import ObjectStore, open_store
from crlcheck.times import time_text
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    DistributionPoint,
    Freshness,
    ImageLoading,
    Policy,
    Rule,
    StatusProblem,
    chosen,
    several,
)
from crlcheck.x509.certificates import (
    CertificateKind,
    CertificateSource,
    load_certificate,
    load_certificates,
    read_kind,
)

if TYPE_CHECKING:
    from crlcheck.checker.image_files import ImageFiles
    from crlcheck.checker.one_set import OneSet
    from crlcheck.checker.validation import Validated
    from crlcheck.signing.root_key import RootKey

CheckerSource: TypeAlias = (
    str | os.PathLike[str] | ObjectStore | RevocationIndex | Iterable[RevocationIndex]
)
"""A store or its location, the path of one image, or open indexes."""

CertificateSources: TypeAlias = CertificateSource | Iterable[CertificateSource]


DEFAULT_IMAGE_MEMORY = 512 << 20
"""How many bytes of a store's images a checker keeps loaded by default."""

_SERIALS_BY_ONE_SET = 1000

# So many certificates are in hand at once.
_BLOCK = 1000


def _read(
    source: CertificateSource,
) -> tuple[bytes, CertificateKind | None, CertificateFacts | None]:
    """
    Return a certificate's DER and kind, as far as there is one, and its facts if they had
    to be read for that.

    Facts that a caller gives are taken as they are, so they are of no kind.

    Raises: as ``load_certificate``.
    """
    der, kind = read_kind(source)
    if kind is not None:
        return der, kind, None
    facts = load_certificate(source)
    if facts is source:
        return facts.der, None, facts
    return facts.der, certificate_kind(facts.der), facts


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """
    One CRL of a checker's set.

    ``loaded`` tells whether its image is loaded, and ``error`` why it could not be
    loaded when it was last needed. ``is_delta`` marks a delta CRL, which comes after
    its complete CRL. ``age`` counts from thisUpdate. ``time_left`` is the time to
    nextUpdate, negative after that.
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
    UNDETERMINED. For that there must be a set that is not older than
    ``max_catalog_age``. At least one complete CRL in it must be current, or in the
    policy's grace, and so must those of the issuers above; and it must clear a
    certificate that it does not list. A health endpoint should go by this: a store
    that fails while the last set is in use is no outage. ``problems`` has all that is
    wrong, errors first. The store is not asked for a newer set, so a checker that was never
    used is not answering: call ``preload``.

    ``scopes``, ``problems`` and the issuers have the first thousand each;
    ``RevocationChecker.scopes`` yields all CRLs.

    ``generation`` is that of the catalog in use, None without one. ``confirmed_at``
    is when the store last confirmed that this catalog is the current one, and
    ``error`` is why a later attempt failed. Until the next success the checker goes on
    with the last set. ``unchecked_issuers`` are the names of trusted issuers that are
    not trust anchors and whose own issuer is not trusted: paths end at them, and
    nothing tells whether they are revoked. ``unverified_issuers`` are the names of
    trusted issuers at which paths end because they are self-signed by name and key
    ids only: their signature could not be verified (as with MD5), or an older
    publisher did not verify it.
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
        """Return the status as values for JSON: times as in RFC 3339, durations in seconds."""
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


def _read_keys(root_keys: Iterable[RootKey | str] | str | None) -> tuple[RootKey, ...]:
    if root_keys is None:
        return ()
    # Only here: most checkers have none.
    from crlcheck.signing.root_key import read_root_keys

    return read_root_keys(root_keys)


def _image_files(directory: str | os.PathLike[str] | None) -> ImageFiles | None:
    if directory is None:
        return None
    # Only here: an authorizer has no process to share with.
    from crlcheck.checker.image_files import ImageFiles

    return ImageFiles(directory)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class RevocationChecker:
    """
    Checks whether certificates are revoked, by the published set of a store or by
    open indexes. Threads may share it. A pickled checker of a store answers from the
    generation that was in use when it was pickled.

    Every certificate must already have been verified (chain, dates, possession of the
    key) by whoever terminated TLS: a checker decides revocation only.

    Args:
        source: a store (or its directory or ``s3://`` URL), the path of one image, an
            open index or several. The caller closes the indexes. The file of one
            image is mapped, as by ``open_index``, so replace it by rename only. Images
            of a store are read into memory, so changes to their files do no harm.
        issuers: trusted issuer certificates, in addition to those in the store's
            catalog. With indexes and no issuers, only certificates by the keys that
            verified the CRLs can be checked.
        trust_anchors: certificates at which a path ends unchecked; they are trusted
            issuers too. By default these are the self-signed issuers, by their
            signature where it can be verified. Those that an operator marked in the
            catalog are anchors in any case. A path also ends at an issuer whose own
            issuer's name no other trusted key has, or had when CRLs of it were removed
            with it.
        policy: what may be waived; nothing by default.
        refresh_after: how long a catalog is used before the store is asked for a newer
            one. By default it is asked at every check (one conditional GET).
        clock: returns the time in UTC.
        image_memory: how many bytes of a store's images are kept loaded. Beyond that
            the least recently used ones are unloaded; the last one used stays,
            whatever its size. Processes forked after ``preload`` share the memory.
        image_loading: how the images of a store are loaded. ``"whole"`` loads all of an
            image before the first answer from it. ``"pages"`` reads and keeps only the
            pages that answers need, 8 MiB of all images together, so that the first answer
            and the memory do not grow with the image. ``"pages_then_whole"`` answers from
            pages while all of the image is loaded. Each page is compared with its digest.
            An image of which pages cannot be had is loaded whole: one of up to 2 MiB,
            one that an earlier version compiled, or one in a store that is no PartStore;
            with ``"pages"`` only if it fits *image_memory*.
        image_directory: a directory in which the images of a store that are loaded whole are
            kept, and mapped. Checkers of several processes that have the same one share the
            memory, and load each image once. It is made with mode 0700. None for memory of
            the process's own.
        max_catalog_age: how long a set is used after its catalog was last read in
            full. After that every answer is UNDETERMINED(STORE_UNAVAILABLE) until the
            store returns the catalog again. None for ever.
        background_refresh: a thread asks the store every *refresh_after* (ten seconds
            if that is zero), so that only the first check waits for it. The thread
            starts with the first check, and again in each forked process. If it is
            late (after a fork, or when the process or its machine stood still), the
            next check asks instead. If it has ended or could not be started, a check
            starts it again.
        root_keys: public keys, as ``crlcheck key show`` prints them. The root of a store is
            used only if one of them has signed it. When the signature expires and
            the store has no later one, every answer is UNDETERMINED(STORE_UNAVAILABLE).
            None for no demand.
        minimum_generation: an earlier generation of a store is refused. It stops whoever
            may write the store from giving an old set to a process that has just begun.

    Raises:
        ValueError: *image_memory* or *max_catalog_age* is not positive,
            *refresh_after* or *minimum_generation* is negative, *image_loading* is none of the
            three, others may write to *image_directory*, *root_keys* is empty or has
            what is no key, or one of the two is given for indexes.
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
        image_loading: ImageLoading | str = ImageLoading.WHOLE,
        image_directory: str | os.PathLike[str] | None = None,
        max_catalog_age: timedelta | None = None,
        background_refresh: bool = False,
        root_keys: Iterable[RootKey | str] | str | None = None,
        minimum_generation: int = 0,
    ) -> None:
        if max_catalog_age is not None and max_catalog_age <= timedelta(0):
            raise ValueError(f"max_catalog_age: expected a positive time, found {max_catalog_age}")
        if refresh_after < timedelta(0):
            raise ValueError(f"refresh_after: expected no negative time, found {refresh_after}")
        if minimum_generation < 0:
            raise ValueError(
                f"minimum_generation: expected a number from 0 on, found {minimum_generation}"
            )
        loading = chosen("image_loading", ImageLoading, image_loading)
        self._policy = policy or Policy()
        self._clock = clock
        self._threads = CheckThreads()
        self._validated: Validated | None = None
        # A page that a look-up needs may have to be read from the store.
        self._reads_pages = loading is not ImageLoading.WHOLE
        demands = RootDemands(_read_keys(root_keys), minimum_generation)
        anchors = None if trust_anchors is None else load_certificates(trust_anchors)
        trust = Trust(
            issuers=_trusted((*load_certificates(issuers), *(anchors or ()))),
            anchors=anchors,
            waive_points=self._policy.no_distribution_point is Rule.ALLOW,
            unpublished=load_certificates(self._policy.unpublished_issuers),
        )
        # What a checker of the same set in another process is made with.
        self._arguments: Mapping[str, Any] = {
            "issuers": tuple(one.certificate.der for one in trust.issuers),
            "trust_anchors": None if anchors is None else tuple(one.der for one in anchors),
            "policy": dataclasses.replace(
                self._policy,
                unpublished_issuers=tuple(one.der for one in trust.unpublished),
            ),
            "clock": clock,
            "image_memory": image_memory,
            "image_loading": loading,
            "image_directory": image_directory,
            "max_catalog_age": max_catalog_age,
            "root_keys": demands.root_keys or None,
            "minimum_generation": minimum_generation,
        }
        self._set: IndexSet | StoreSet | None
        if isinstance(source, str | os.PathLike) and names_an_image(source):
            source = open_index(source, verify=True)
        if isinstance(source, str | os.PathLike | ObjectStore):
            self._set = StoreSet(
                open_store(source),
                trust,
                refresh_after=refresh_after,
                clock=clock,
                image_memory=image_memory,
                image_loading=loading,
                image_files=_image_files(image_directory),
                max_age=max_catalog_age,
                background=background_refresh,
                demands=demands,
            )
        else:
            if demands:
                raise ValueError(
                    "root_keys, minimum_generation: expected them for a store only, because open "
                    "indexes have no root"
                )
            if isinstance(source, RevocationIndex):
                source = (source,)
            indexes = list(several("source", source))
            self._set = IndexSet(snapshot_of_indexes(indexes, trust), clock)

    # ---- checks --------------------------------------------------------------

    def check(self, certificate: CertificateSource) -> CheckResult:
        """
        Return whether *certificate* (PEM, DER, a path or a ``cryptography`` object), or
        a trusted issuer above it, is revoked; it must have been verified already.

        The result is the worst on the path from the certificate up to a trust anchor:
        REVOKED before UNDETERMINED before NOT_REVOKED. Where an issuer has several
        certificates, the best of these paths counts. ``Policy.path_depth`` says how
        much of the path is checked. With indexes and no *issuers*, only the
        certificate itself is.

        No exception is raised when the store cannot be reached: the last good set
        stays in use, and before there is one the answer is
        UNDETERMINED(STORE_UNAVAILABLE).

        Raises:
            CertificateError: it is not a certificate.
            IndexClosedError: the checker is closed.
        """
        der, kind, facts = _read(certificate)
        if kind is not None:
            recalled = self._recall(der, kind)
            if recalled is not None:
                return recalled
        judge = self._judge()
        while not isinstance(judge, str):
            result = judge.check(der, kind, facts)
            newer = self._newer(judge) if judge.misses_object else None
            if newer is None:
                return result
            judge = newer
        return unavailable(load_certificate(der) if facts is None else facts, judge)

    async def acheck(self, certificate: CertificateSource) -> CheckResult:
        """
        Return what ``check`` does, for a caller in the event loop of ``asyncio``; the
        certificate must have been verified already.

        What is remembered is answered at once, as ``check`` would. All else runs in one of
        eight threads of the checker's own, because it may ask the store or load an image:
        meanwhile the loop goes on.

        Raises: as ``check``.
        """
        self._require_open()
        der, kind = (b"", None) if self._reads_pages else read_kind(certificate)
        if kind is not None:
            recalled = self._recall(der, kind)
            if recalled is not None:
                return recalled
        return await self._threads.run(self.check, certificate)

    async def acheck_chain(self, certificates: CertificateSources) -> CheckResult:
        """
        Return what ``check_chain`` does, for a caller in the event loop of ``asyncio``: it
        runs in one of the threads of ``acheck``.

        Raises: as ``check_chain``.
        """
        self._require_open()
        return await self._threads.run(self.check_chain, certificates)

    def validate(self, certificate: CertificateSource) -> None:
        """
        Raise unless a trusted issuer has issued *certificate*, and both are in their time.

        This is for certificates that nobody has verified: a check decides revocation only,
        and clears what anybody made in the name of a trusted issuer. The path from the
        certificate to the trusted certificate of its issuer is validated by RFC 5280 6.1, so
        it must be for the authentication of a client, too. It ends there: whom the store
        trusts is not validated further. What was found valid is remembered while the set
        stays the same.

        Raises:
            PathValidationError: there is no such issuer, or the path is not valid.
            StoreUnavailableError: there is no set, or a part of it cannot be had.
            CertificateError: it is not a certificate.
            IndexClosedError: the checker is closed.
        """
        leaf = load_certificate(certificate)
        source = self._require_open()
        in_use, now = source.current(), self._clock()
        if in_use is None:
            raise StoreUnavailableError(source.why_none())
        validated = self._validated_by(in_use)
        if validated.has(leaf.der, now):
            return
        try:
            view = in_use.views.of_certificate(leaf)
        except UnansweredError as error:
            raise StoreUnavailableError(error.reason) from error
        # Only here, because an authorizer does without it.
        from crlcheck.checker.validation import validate

        validated.note(leaf.der, validate(leaf, view.loaded, now), leaf)

    async def avalidate(self, certificate: CertificateSource) -> None:
        """
        Do what ``validate`` does, for a caller in an event loop, as ``acheck`` does.

        Raises: as ``validate``.
        """
        quiet = self._require_open().quiet()
        if quiet is not None:
            in_use, now = quiet
            if self._validated_by(in_use).has(load_certificate(certificate).der, now):
                return
        await self._threads.run(self.validate, certificate)

    def _validated_by(self, in_use: SetInUse | IndexesInUse) -> Validated:
        """Return what was validated by the trusted issuers of a set."""
        found = self._validated
        if found is None or not found.is_of(in_use.views):
            from crlcheck.checker.validation import Validated

            found = self._validated = Validated(in_use.views)
        return found

    def _recall(self, der: bytes, kind: CertificateKind) -> CheckResult | None:
        """Return the verdict that is remembered, where neither store nor image is read for it."""
        source = self._set
        quiet = None if source is None else source.quiet()  # a closed one is for ``check``
        if quiet is None:
            return None
        in_use, now = quiet
        memory = in_use.views.memory
        if memory is None or memory.denied is not in_use.denied:
            return None
        return memory.recall(*kind, der, now)

    def check_many(self, certificates: Iterable[CertificateSource]) -> list[CheckResult]:
        """
        Return a result for each certificate, in order; they must have been verified already.

        *certificates* may be any iterable, and nothing is kept of a certificate but its
        result. All are checked by one published set, at the time of the call. Only where an
        object of that set is missing, the rest is checked by a newer one.

        Raises: as ``check``; one bad certificate fails the call. TypeError for a single one.
        """
        results: list[CheckResult] = []
        remaining = iter(several("certificates", certificates))
        judge = self._judge()
        while block := list(itertools.islice(remaining, _BLOCK)):
            found: list[CheckResult] | None = None
            while found is None:
                if isinstance(judge, str):
                    found = [unavailable(load_certificate(one), judge) for one in block]
                    break
                found = [judge.check(*_read(one)) for one in block]
                newer = self._newer(judge)
                if newer is not None:
                    judge, found = newer, None
            results += found
        return results

    def check_chain(self, certificates: CertificateSources) -> CheckResult:
        """
        Return the worst result over a verified path, given leaf first: REVOKED before
        UNDETERMINED before NOT_REVOKED.

        The path is checked up to the first trust anchor, or by default up to a last
        certificate that is self-signed, neither included. The leaf is checked in any
        case, and the deny list counts for the whole path. Each certificate's issuer is
        the next one, even if its authority key id leaves that open.

        Raises:
            ValueError: the path is empty, or one certificate's subject is not
                the issuer of the one before it.
            CertificateError: one of them is not a certificate.
            IndexClosedError: the checker is closed.
        """
        path = load_certificates(certificates, in_order=True)
        if not path:
            raise ValueError("a path of no certificates cannot be checked")
        for position, (issued, issuer) in enumerate(itertools.pairwise(path)):
            if not names_match(issued.issuer, issuer.subject):
                raise ValueError(
                    f"not a path: certificate {position} was issued by "
                    f"{name_text(issued.issuer)}, the next one is {name_text(issuer.subject)}"
                )
        judge = self._judge()
        while not isinstance(judge, str):
            result = judge.check_given_path(path)
            newer = self._newer(judge)
            if newer is None:
                return result
            judge = newer
        return unavailable(path[0], judge)

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

        Facts that are not given are unknown, so several certificates are possible. The
        result is REVOKED or UNDETERMINED if ``check`` could return that for one of
        them, and NOT_REVOKED only if ``check`` would for all. So a CRL that may cover
        the certificate may revoke it, but only a current CRL that covers all possible
        certificates clears it. With all facts given, the result is that of ``check``.

        Args:
            issuer: the issuer certificate (PEM, DER, a path or a
                ``cryptography`` object), or its whole Name as DER. A Name stands
                for all trusted keys of it, as for a certificate without
                authority key id.
            serial_number: the certificate's.
            distribution_points: all of the certificate's, an empty sequence if it has
                none; text is the URI of one (RFC 5280 4.2.1.13).
            not_after: the end of its validity period. If that is not known, the
                certificate counts as not expired.
            is_ca: whether it is a CA certificate.

        The result's ``certificate`` is None if the certificate itself decided, rather
        than an issuer above it.

        Raises:
            CertificateError: *issuer* is neither certificate nor Name.
            ValueError: a URI is not ASCII, or *not_after* has no time zone.
            TypeError: *serial_number* is no integer, or a point is neither text nor a point.
            IndexClosedError: the checker is closed.
        """
        (result,) = self.check_serials(
            issuer,
            (serial_number,),
            distribution_points=distribution_points,
            not_after=not_after,
            is_ca=is_ca,
        )
        return result

    def check_serials(
        self,
        issuer: CertificateSource,
        serial_numbers: Iterable[int],
        *,
        distribution_points: Iterable[DistributionPoint | str] | None = None,
        not_after: datetime | None = None,
        is_ca: bool | None = None,
    ) -> Iterator[CheckResult]:
        """
        Yield what ``check_serial`` returns for each of *serial_numbers*, as they come.

        Nothing is kept of what was yielded, so there may be any number of them. The
        store is asked for a newer set once in a thousand numbers.

        Raises: as ``check_serial``, when the first result or that of a number is taken.
        """
        serial_numbers = several("serial_numbers", serial_numbers)
        name, known = read_issuer(issuer)
        any_points = distribution_points is None
        points = read_points(distribution_points or ())
        judge: Judge | str = ""
        for position, serial_number in enumerate(serial_numbers):
            certificates = possible_certificates(
                name,
                serial_number,
                distribution_points=points,
                not_after=not_after,
                is_ca=is_ca,
            )
            if position % _SERIALS_BY_ONE_SET == 0:
                judge = self._judge()
            result: CheckResult | None = None
            while result is None:
                if isinstance(judge, str):
                    result = unavailable(certificates[0], judge)
                    break
                result = judge.check_serial(certificates, known, any_points=any_points)
                newer = self._newer(judge)
                if newer is not None:
                    judge, result = newer, None
            yield _without(result, certificates)

    def status_of_serial(self, issuer: CertificateFacts, serial_number: int) -> SerialStatus:
        """
        Return what ``check_serial`` does, and what a statement for others needs beside it.

        The policy waives nothing for others, so this goes by one that waives nothing. What
        the operator of the store, ``Policy.no_distribution_point`` and
        ``Policy.unpublished_issuers`` waive stands in the result.

        Raises: as ``check_serial``.
        """
        certificates = possible_certificates(
            issuer.subject, serial_number, distribution_points=(), not_after=None, is_ca=None
        )
        judge = self._judge()
        while not isinstance(judge, str):
            status = judge.status_of_serial(certificates, issuer)
            newer = self._newer(judge)
            if newer is None:
                return dataclasses.replace(status, result=_without(status.result, certificates))
            judge = newer
        result = unavailable(certificates[0], judge)
        return SerialStatus(_without(result, certificates), self._clock())

    def views_in_use(self) -> Views | OneView | None:
        """
        Return what answers are looked up in, None without a set that may be used. It is the
        same object until the set changes.

        The store is asked for a newer set where that is due.

        Raises:
            IndexClosedError: the checker is closed.
        """
        in_use = self._require_open().current()
        return None if in_use is None else in_use.views

    def one_set(self, at: datetime | None = None) -> OneSet:
        """
        Return what checks by the set in use now, at one time, however long that takes.

        Args:
            at: the time to judge by; by default the clock's.

        Raises:
            ValueError: *at* has no time zone.
            IndexClosedError: the checker is closed.
        """
        if at is not None and at.tzinfo is None:
            raise ValueError(f"at: expected an aware datetime, found {at!r}")
        # Only here, because an authorizer does without it.
        from crlcheck.checker.one_set import OneSet

        source = self._require_open()
        return OneSet(source, self._policy, self._clock() if at is None else at)

    def _judge(self) -> Judge | str:
        """Return what checks by the set in use, or why there is none."""
        source = self._require_open()
        in_use = source.current()
        if in_use is None:
            return source.why_none()
        return Judge(in_use, self._policy, self._clock())

    def _newer(self, judge: Judge) -> Judge | None:
        """Return what checks by a newer set, where *judge* misses an object and there is one."""
        if not judge.misses_object:
            return None
        source = self._require_open()
        if not source.is_newer_than(judge.in_use):
            return None
        assert source.in_use is not None, "it is newer"
        return Judge(source.in_use, self._policy, self._clock())

    # ---- state ---------------------------------------------------------------

    def refresh(self) -> bool:
        """
        Ask the store for a newer set now; return whether one was taken.

        If this raises, the last set stays in use.

        Raises:
            StoreError: the store does not answer, or its catalog is refused.
            IndexFileError: an image in use has a successor that is refused.
            FileNotFoundError: the catalog or such a successor is missing.
            IndexClosedError: the checker is closed.
        """
        return self._require_open().refresh()

    def preload(self) -> None:
        """
        Read the published set now and load its images, so that the first check need
        not. Only the first few images are loaded, as far as they fit *image_memory*.

        Failures are logged, and checks try again.

        Raises:
            IndexClosedError: the checker is closed.
        """
        self._require_open().preload()

    def freshness(self) -> Freshness:
        """
        Return how old the set is and what the polls of the store cost; cheap enough
        for every request.

        Raises:
            IndexClosedError: the checker is closed.
        """
        return self._require_open().freshness()

    @property
    def generation(self) -> int | None:
        """The generation of the catalog in use; None without one."""
        in_use = None if self._set is None else self._set.in_use
        published = None if in_use is None else in_use.views.published
        return None if published is None else published.generation

    @property
    def store_url(self) -> str | None:
        """The URL or the path of the store; None of open indexes."""
        return None if self._set is None else self._set.url

    @property
    def image_bytes(self) -> int:
        """How many bytes the images take that the checker has loaded; those given are not."""
        return 0 if self._set is None else self._set.image_bytes

    def status(self) -> CheckerStatus:
        """
        Return the CRLs of the set in use and all that is wrong.

        The store is not asked for a newer set, and no image is loaded. But the whole set is
        gone through, and what is not held of it is read from the store. A set of up to 256
        scopes is read once. A larger one is read each time, a part at a time: that takes
        seconds for 10,000 scopes, and no more memory than for 300. What cannot be read is
        one of the problems.

        Raises:
            IndexClosedError: the checker is closed.
        """
        source = self._require_open()
        in_use = source.in_use
        now = self._clock()
        health = examine(in_use, source.problems(), now=now, policy=self._policy)
        return CheckerStatus(
            generation=self.generation,
            confirmed_at=source.confirmed_at,
            error=source.error,
            scopes=tuple(_scope_status(image, now) for image in health.images),
            unchecked_issuers=_subjects(health.unchecked),
            unverified_issuers=_subjects(health.unverified),
            freshness=source.freshness(),
            answering=health.answering,
            problems=health.problems,
        )

    def is_answering(self) -> bool:
        """
        Return ``status().answering``, for a health endpoint that is asked often.

        The set is gone through only until a CRL is found that clears a certificate. So this
        takes no longer where the set is larger, unless nothing in it is current.

        Raises:
            IndexClosedError: the checker is closed.
        """
        source = self._require_open()
        return is_answering(
            source.in_use, source.problems(), now=self._clock(), policy=self._policy
        )

    def scopes(self) -> Iterator[ScopeStatus]:
        """
        Yield the CRLs of the set in use, however many, each delta CRL after its complete CRL.

        They are read from the store one part at a time, and not kept.

        Raises:
            StoreError: a part cannot be read.
            IndexClosedError: the checker is closed.
        """
        in_use = self._require_open().in_use
        if in_use is None:
            return
        now = self._clock()
        for image in in_use.views.every_image():
            yield _scope_status(image, now)

    def close(self) -> None:
        """
        Unload the images. Checks that are under way in other threads can go on, and so can
        those that are awaited.
        """
        in_use, self._set = self._set, None
        self._threads.close()
        if in_use is not None:
            in_use.close()

    def __enter__(self) -> RevocationChecker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """
        Let another process have a checker of the set in use, and of that for ever: it answers
        from the same generation, whatever is published later. The objects of that generation
        stay in the store until clean-up deletes them.

        Raises:
            TypeError: it has open indexes, or its store, its clock or its policy cannot be
                pickled.
            StoreUnavailableError: there is no set in use, or the store has another catalog
                that is refused.
            EarlierSetError: an earlier version wrote the set.
        """
        return self._reduced(None)

    def pinned(self, by: OneSet) -> RevocationChecker:
        """
        Return a checker of the set that *by* has, and of that for ever.

        Raises: as for pickling.
        """
        make, arguments = self._reduced(by.in_use)
        made: RevocationChecker = make(*arguments)
        return made

    def _reduced(self, in_use: SetInUse | IndexesInUse | None) -> tuple[Any, ...]:
        source = self._require_open()
        if isinstance(source, IndexSet):
            raise TypeError(
                "a checker of open indexes cannot be given to another process: make it from a "
                "store, or open the images there"
            )
        assert not isinstance(in_use, IndexesInUse), "it is of a store"
        return functools.partial(RevocationChecker, **self._arguments), (source.pinned(in_use),)

    def _require_open(self) -> IndexSet | StoreSet:
        in_use = self._set
        if in_use is None:
            raise IndexClosedError("the checker is closed")
        return in_use


def _without(result: CheckResult, certificates: Sequence[CertificateFacts]) -> CheckResult:
    """Return a result without its certificate where that is one of those that are possible."""
    decided = result.certificate
    if any(decided is certificate for certificate in certificates):
        return without_certificate(result)
    return result


def _trusted(certificates: Iterable[CertificateFacts]) -> list[TrustedIssuer]:
    """Return issuers that were given, each with whether its own key signed it."""
    return [TrustedIssuer(one, _is_self_signed(one)) for one in certificates]


def _is_self_signed(certificate: CertificateFacts) -> bool | None:
    if not is_self_issued(certificate):
        return False
    try:
        # Imported only here: a checker of a store needs no `cryptography`, because the
        # publisher decided this and the catalog says it.
        from crlcheck.x509.signatures import is_self_signed
    except ImportError:
        return None
    return is_self_signed(certificate)


def names_an_image(source: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of one image, rather than of a store."""
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
