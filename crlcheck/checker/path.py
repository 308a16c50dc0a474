"""
Check one certificate, the issuers above it and the signers of their CRLs.

All of a check goes by one snapshot and one time. Section numbers are those of RFC 5280.

1. A certificate on the operator's deny list is REVOKED, and so is every path through a
   key of which any trusted certificate is on it.
2. ``scope`` says which CRLs cover the certificate (6.3.3 b), or why none does.
3. The serial number is looked up in each of these CRLs and in its delta (6.3.3 i, j).
   Where an image cannot be loaded, the answer is STORE_UNAVAILABLE, unless
   another CRL says REVOKED.
4. A CRL that another key than the certificate's issuer signed counts only as far as
   that signer is in order (6.3.3 f): the signer is checked by these steps too, but
   not again while it is being checked.
5. ``verdict`` decides by the entries, the signers, the time and the policy.
6. The same is done for each issuer above, up to an anchor, to the policy's
   path_depth, or to an issuer that the operator trusted directly. The worst verdict
   on the path counts. Where an issuer has several certificates, the best of these
   paths counts (``best_path``). Beyond path_depth, only denials count.

For example, a client certificate is issued by the key of CA 2, which has two trusted
certificates: by CA 1, which has revoked it, and by the anchor R, whose CRL does not
list it. The client's own CRL, signed by CA 2, does not list the client: NOT_REVOKED
(5). Above it are two paths: through CA 1 it is REVOKED, through R it is NOT_REVOKED,
and the better one counts (6). So the client is NOT_REVOKED.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from crlcheck.catalog.descriptions import crl_text
from crlcheck.checker.best_path import Way, best_path
from crlcheck.checker.image_cache import CachedImage, NotInMemoryError
from crlcheck.checker.results import (
    denied,
    severity,
    unavailable,
    uncovered,
    unpublished,
    worst,
)
from crlcheck.checker.scope import (
    ApplicableCrl,
    Coverage,
    IssuerCertificate,
    IssuerKey,
    public_key_hash,
)
from crlcheck.checker.snapshot import Denials, Snapshot, denial_of
from crlcheck.checker.verdict import Evidence, decide, revokes_alone
from crlcheck.errors import (
    CrlCheckError,
    IndexClosedError,
    PartsUnsupportedError,
    StoreUnavailableError,
)
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    RevocationStatus,
    RevokedEntry,
    UndeterminedCause,
)

if TYPE_CHECKING:
    from crlcheck.image.paged import SerialIndex


class _Step(NamedTuple):
    """
    An issuer's key on a path.

    ``depth`` is how many issuers are still checked from here up, None for all.
    ``signs`` tells that the key is on the path because it signed a CRL: then only
    its certificates that may sign CRLs count (RFC 5280 6.3.3 f).
    """

    key: IssuerKey
    depth: int | None
    signs: bool = False


_Way: TypeAlias = Way[_Step, CheckResult]

_END: _Way = Way(severity(None))


class Unlisted(NamedTuple):
    """
    How a certificate was found to be on no CRL that covers it.

    ``looks`` are the images in which it was looked up, with the issuer's name under which,
    None for the only one. ``is_sole`` tells that there is one, in which any entry means that
    the certificate is REVOKED.
    """

    looks: tuple[tuple[CachedImage, bytes | None], ...]
    is_sole: bool


_DENIALS_ONLY = -1
"""The depth of the steps above the last one that is checked."""

_NO_ISSUER = (UndeterminedCause.UNKNOWN_ISSUER, UndeterminedCause.AMBIGUOUS_ISSUER)


class Lists(Protocol):
    """What knows all CRLs of an issuer of which a snapshot has only some."""

    def explained(
        self, snapshot: Snapshot, certificate: CertificateFacts, coverage: Coverage, /
    ) -> Coverage:
        """Return why no CRL covers a certificate, by all CRLs of its issuer."""

    def may_have_crls(
        self, snapshot: Snapshot, certificate: CertificateFacts, coverage: Coverage, /
    ) -> bool:
        """Return what ``ScopeTable.may_have_crls`` says of all CRLs."""


def verdict_by_denial(
    denied_certificates: Denials, certificate: CertificateFacts, now: datetime
) -> CheckResult | None:
    """Return the verdict on a certificate that is on the deny list, else None."""
    denial = denial_of(denied_certificates, certificate, now)
    return None if denial is None else denied(certificate, note=denial.note, until=denial.until)


class PathChecker:
    """
    Checks certificates and paths by one snapshot, at one time.

    The signer of a CRL is not checked again while it is being checked (step 4):
    otherwise no CRL that covers the certificate of its own signer could be used.
    What was found meanwhile depends on that, so it is remembered only for the same
    signers under way.

    denied: the certificates on the deny list.
    lists: explains why no CRL covers a certificate where the snapshot has not all of them.
    loads: whether images that are not open are loaded. If not, they count as empty,
        except those that could not be loaded before.

    ``images`` are those looked into so far, and ``misses_any`` tells that one of them, or a
    list of CRLs, could not be read. ``misses_object`` tells that an image is not in the store
    any more, so that there may be a newer set.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        denied: Denials,
        lists: Lists,
        policy: Policy,
        now: datetime,
        *,
        loads: bool = True,
    ) -> None:
        self.snapshot = snapshot
        self._denied = denied
        self._lists = lists
        self._loads = loads
        self._open = _loaded if loads else _as_loaded
        self._policy = policy
        self._now = now
        self.images: dict[CachedImage, None] = {}
        self._failed: set[CachedImage] = set()
        self.misses_any = False
        self.misses_object = False
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
        coverage = self.snapshot.table.coverage(certificate, issuer, any_points=any_points)
        result = self._by_coverage(certificate, coverage)
        return self._join_above(result, coverage, self._policy.path_depth)

    def ends_of(
        self,
        certificate: CertificateFacts,
        issuer: CertificateFacts | None = None,
        *,
        any_points: bool = False,
    ) -> Iterator[datetime]:
        """
        Yield the nextUpdate, where it is still to come, of each CRL that covers *certificate*,
        or may, and of the delta beside it. The arguments are as for ``check_path``.
        """
        coverage = self.snapshot.table.coverage(certificate, issuer, any_points=any_points)
        for crl in coverage.applicable:
            for image in (self.snapshot.images[crl.position], self.snapshot.deltas[crl.position]):
                end = None if image is None else image.metadata.next_update
                if end is not None and end >= self._now:
                    yield end

    def check_unlisted(self, certificate: CertificateFacts) -> tuple[CheckResult, Unlisted | None]:
        """
        Return what ``check_path`` does, and how the certificate was found to be on no CRL;
        None where it is on one, where none covers it, or where something could not be read.
        """
        coverage = self.snapshot.table.coverage(certificate)
        own, evidence = self._judged(certificate, coverage)
        result = self._join_above(own, coverage, self._policy.path_depth)
        if (
            not evidence
            or self.misses_any
            or any(one.entry is not None or one.delta_entry is not None for one in evidence)
        ):
            return result, None
        looks: list[tuple[CachedImage, bytes | None]] = []
        for crl in coverage.applicable:
            issuer = certificate.issuer if crl.by_issuer else None
            looks.append((self.snapshot.images[crl.position], issuer))
            delta = self.snapshot.deltas[crl.position]
            if delta is not None:
                looks.append((delta, issuer))
        is_sole = looks[0][1] is None and revokes_alone(evidence, self._policy)
        return result, Unlisted(tuple(looks), is_sole)

    def check_any(
        self,
        certificate: CertificateFacts,
        issuer: CertificateFacts | None = None,
        *,
        any_points: bool = False,
    ) -> tuple[CheckResult, Unlisted | None]:
        """
        Return what ``check_path`` does, and where each other certificate was to be looked for
        that differs from this one in its serial number alone and is neither denied nor
        trusted; None where a CRL lists this one. An image that could not be loaded is none
        of the places.
        """
        coverage = self.snapshot.table.coverage(certificate, issuer, any_points=any_points)
        own, evidence = self._judged(certificate, coverage)
        result = self._join_above(own, coverage, self._policy.path_depth)
        if any(one.entry is not None or one.delta_entry is not None for one in evidence):
            return result, None
        name = certificate.issuer
        looks = [
            (image, name if crl.by_issuer else None)
            for crl in (coverage.applicable if evidence else ())
            for image in (self.snapshot.images[crl.position], self.snapshot.deltas[crl.position])
            if image is not None and image not in self._failed
        ]
        is_sole = (
            len(evidence) == 1
            and len(looks) == 1
            and looks[0][1] is None
            and revokes_alone(evidence, self._policy)
        )
        return result, Unlisted(tuple(looks), is_sole)

    def check_issuer(self, key: IssuerKey) -> CheckResult | None:
        """
        Return the worst verdict on the best path from an issuer's key up, for any
        certificate of that issuer; None where nothing is found on it.
        """
        return self._best_path_above(_Step(key, self._policy.path_depth))

    def check_certificate_of(self, key: IssuerKey, certificate: CertificateFacts) -> CheckResult:
        """Return the worst verdict on a certificate of that issuer's key and what is above it."""
        coverage = self.snapshot.table.coverage(certificate, keys=(key,))
        result = self._by_coverage(certificate, coverage)
        return self._join_above(result, coverage, self._policy.path_depth)

    def check_given_path(self, path: Sequence[CertificateFacts]) -> CheckResult:
        """
        Return the worst verdict on a path that is given, leaf first, below its anchor.

        Denials count for all of it, the anchor and what is above it included.
        """
        table = self.snapshot.table
        length = table.issuers.length_below_anchor(path)
        coverages = [
            table.coverage(certificate, issuer)
            for certificate, issuer in zip(path[:length], (*path[1:], None), strict=False)
        ]
        results = list(map(self._by_coverage, path, coverages))
        if self._denied:
            if length == len(path):
                # Whichever key issued the last one, it must not be denied.
                results += self._above(coverages[-1].issuers, depth=0)
            keys = (table.issuers.key(one.subject, public_key_hash(one)) for one in path[1:])
            denials = [self._denial_of(certificate) for certificate in path[length:]]
            denials += [self._denial_of_key(key) for key in keys if key is not None]
            results += [denial for denial in denials if denial is not None]
        return worst(results)

    # ---- the path (step 6) ---------------------------------------------------

    def _join_above(
        self, result: CheckResult, coverage: Coverage, depth: int | None
    ) -> CheckResult:
        """Return the worst of *result* and what is above a certificate of that coverage."""
        if coverage.cause is UndeterminedCause.AMBIGUOUS_ISSUER:
            return result  # the state of another issuer of that name says nothing here
        if depth == 0 and not self._denied:
            return result
        # Where several keys may have issued it, each of them must be in order.
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
        if key.is_anchor or (depth == 0 and not self._denied):
            return (_END,)
        if depth == 0:
            # A search of its own, so that nothing above counts but denials.
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
        coverage = self.snapshot.table.coverage(facts, keys=certificate.issuers)
        result = self._by_coverage(facts, coverage)
        # Nothing is known of an unknown or ambiguous issuer, so this way counts as unchecked.
        is_known = coverage.cause not in _NO_ISSUER
        left = None if depth is None else depth - 1
        above = self._steps(coverage.issuers if is_known else (), left)
        return Way(severity(result), result, above, is_known)

    def _steps(self, keys: Sequence[IssuerKey], depth: int | None) -> tuple[_Step, ...]:
        """Return the steps above; an anchor is one only where it may be denied."""
        if self._denied:
            return tuple(_Step(key, depth) for key in keys)
        return tuple(_Step(key, depth) for key in keys if not key.is_anchor)

    def _verdict_on_signer(self, signer: IssuerKey) -> CheckResult | None:
        """Return the verdict on the signer of a CRL, None where nothing is found (step 4)."""
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

    # ---- denials (step 1) ----------------------------------------------------

    def _denial_of(self, certificate: CertificateFacts) -> CheckResult | None:
        """Return the verdict on a certificate that is on the deny list, else None."""
        return verdict_by_denial(self._denied, certificate, self._now)

    def _denial_of_key(self, key: IssuerKey) -> CheckResult | None:
        """
        Return the verdict on a key of which any certificate is denied, else None.

        A denial holds for the issuer, so other certificates of its key do not clear it.
        """
        if not self._denied:
            return None
        denials = (self._denial_of(one.facts) for one in key.certificates)
        return next((denial for denial in denials if denial is not None), None)

    # ---- one certificate -----------------------------------------------------

    def _by_coverage(self, certificate: CertificateFacts, coverage: Coverage) -> CheckResult:
        """Return the verdict on one certificate by the CRLs that cover it."""
        return self._judged(certificate, coverage)[0]

    def _judged(
        self, certificate: CertificateFacts, coverage: Coverage
    ) -> tuple[CheckResult, Sequence[Evidence]]:
        """Return the verdict on one certificate, and what the CRLs that cover it say."""
        # 1. The deny list.
        denial = self._denial_of(certificate)
        if denial is not None:
            return denial, ()
        # 2. No CRL covers it.
        if coverage.cause is UndeterminedCause.OUT_OF_SCOPE:
            return self._out_of_scope(certificate, coverage), ()
        if coverage.cause is not None:
            return uncovered(certificate, coverage, self._policy), ()
        # 3. and 4. The entries and the signers.
        evidence: list[Evidence] = []
        failure: CheckResult | None = None
        for crl in coverage.applicable:
            said, error = self._look_up(certificate, crl)
            evidence.append(said)
            if error is not None:
                self.misses_any = True
                self.misses_object |= isinstance(error, FileNotFoundError)
                reason = f"the image of {crl_text(said.metadata)} cannot be loaded: {error}"
                failure = unavailable(certificate, reason)
        # 5. The verdict. An image that cannot be loaded may list the certificate, so the
        # others can only revoke it, not clear it.
        result = decide(certificate, evidence, now=self._now, policy=self._policy)
        if failure is None or result.status is RevocationStatus.REVOKED:
            return result, evidence
        return failure, evidence

    def _out_of_scope(self, certificate: CertificateFacts, coverage: Coverage) -> CheckResult:
        """Return the verdict on a certificate of a known issuer that no CRL covers."""
        try:
            if all(key.publishes_no_crl for key in coverage.issuers):
                may_have_crl = self._lists.may_have_crls(self.snapshot, certificate, coverage)
                return unpublished(certificate, may_have_crl=may_have_crl)
            explained = self._lists.explained(self.snapshot, certificate, coverage)
        except (CrlCheckError, OSError) as failure:
            self.misses_any = True
            reason = f"the list of its issuer's CRLs cannot be read: {failure}"
            return unavailable(certificate, reason)
        return uncovered(certificate, explained, self._policy)

    def _look_up(
        self, certificate: CertificateFacts, crl: ApplicableCrl
    ) -> tuple[Evidence, Exception | None]:
        """Return the entries in a CRL and its delta, and why one could not be loaded."""
        image = self.snapshot.images[crl.position]
        delta = self.snapshot.deltas[crl.position]
        issuer = certificate.issuer if crl.by_issuer else None
        entry, failure = self._find(image, certificate.serial_number, issuer)
        if failure is not None:
            self._failed.add(image)
        delta_entry = None
        if delta is not None:
            delta_entry, delta_failure = self._find(delta, certificate.serial_number, issuer)
            if delta_failure is not None:
                self._failed.add(delta)
            failure = failure or delta_failure
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
            self.snapshot.graces.get(crl.position),
        )
        return evidence, failure

    def _find(
        self, image: CachedImage, serial_number: int, issuer: bytes | None
    ) -> tuple[RevokedEntry | None, Exception | None]:
        """Return an entry of an image, or why it cannot be known whether there is one."""
        self.images[image] = None
        index, failure = self._open(image)
        if index is None:
            return None, failure
        try:
            for wants_whole in (False, True):
                try:
                    return index.find(serial_number, issuer), None
                except PartsUnsupportedError:
                    # The store sends parts no longer, or not always. Where it sends the end
                    # of the image and no page, all of it is loaded, if it may be.
                    image.close_pages(wants_whole=wants_whole)
                    index, failure = self._open(image)
                    if index is None:
                        return None, failure
            return index.find(serial_number, issuer), None
        except NotInMemoryError as error:
            # Where nothing may be loaded, it is as an image that is not loaded.
            return None, error if self._loads else None
        except IndexClosedError:
            raise
        except (CrlCheckError, OSError) as error:  # a page of it could not be read
            return None, error


def _loaded(image: CachedImage) -> tuple[SerialIndex | None, Exception | None]:
    try:
        return image.index(), None
    except (CrlCheckError, OSError) as error:
        return None, error


def _as_loaded(image: CachedImage) -> tuple[SerialIndex | None, Exception | None]:
    opened = image.index_in_memory()
    if opened is not None or image.error is None:
        return opened, None
    return None, StoreUnavailableError(image.error)
