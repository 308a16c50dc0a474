"""Check certificates and serial numbers by one set, at one time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from crlcheck.checker.image_cache import CachedImage
from crlcheck.checker.path import PathChecker, Unlisted, verdict_by_denial
from crlcheck.checker.remembered import Found, Memory
from crlcheck.checker.results import undetermined, worst
from crlcheck.checker.serial_question import SerialStatus, possible_certificates
from crlcheck.checker.snapshot import Snapshot, denial_of
from crlcheck.checker.store_set import IndexesInUse, SetInUse
from crlcheck.checker.views import UnansweredError
from crlcheck.encoding.names import name_key
from crlcheck.times import LAST
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    RevocationStatus,
    UndeterminedCause,
)
from crlcheck.x509.certificates import CertificateKind, load_certificate

# Numbers that no CA is likely to have given: of 63 bytes, where RFC 5280 4.1.2.2 allows 20.
_SPECIMENS = tuple((1 << 503) + number for number in range(8))

Look: TypeAlias = tuple[CachedImage, bytes | None]
"""An image to look a serial number up in, and the issuer's name under which, None for the only."""


class OfAny(NamedTuple):
    """
    What is said of each serial number of an issuer, or of a kind of certificate, that no CRL
    lists and that is not among ``apart``.

    It is ``result``, but for the serial number and the certificate in it. ``looks`` are where
    a serial number is to be looked up. ``is_sole`` tells that an entry in the only one of
    these means REVOKED, by this entry. All others are to be asked about one by one.
    """

    result: CheckResult
    looks: tuple[Look, ...]
    is_sole: bool
    apart: frozenset[int]


class Judge:
    """
    Checks by one set, at one time.

    ``misses_object`` tells that a part of the set could not be had because an object is
    missing or damaged.
    """

    __slots__ = (
        "_memory",
        "_others",
        "_path_checker",
        "_policy",
        "in_use",
        "misses_object",
        "now",
    )

    def __init__(self, in_use: SetInUse | IndexesInUse, policy: Policy, now: datetime) -> None:
        self.in_use = in_use
        self.misses_object = False
        self._policy = policy
        self.now = now
        memory = in_use.views.memory
        if memory is None or memory.denied is not in_use.denied:
            memory = in_use.views.memory = Memory(in_use.denied, policy)
        self._memory = memory
        self._path_checker: PathChecker | None = None
        self._others: dict[int, PathChecker] | None = None

    def check(
        self, der: bytes, kind: CertificateKind | None, facts: CertificateFacts | None
    ) -> CheckResult:
        """Return the verdict on a certificate and what is above it, remembered or found."""
        if kind is not None:
            recalled = self._memory.recall(*kind, der, self.now)
            if recalled is not None:
                return recalled
        return self.found(load_certificate(der) if facts is None else facts, kind)

    def found(
        self, certificate: CertificateFacts, kind: CertificateKind | None = None
    ) -> CheckResult:
        """
        Find the verdict on a certificate and what is above it.

        It is remembered for others of the *kind*, where that is known.
        """
        views = self.in_use.views
        try:
            view = views.of_certificate(certificate)
        except UnansweredError as error:
            return self._unanswered(error, certificate)
        path_checker = self._by(view.loaded)
        is_first = not path_checker.images
        result, unlisted = path_checker.check_unlisted(certificate)
        self._note_missing(path_checker)
        # An answer from memory needs the images to be open. Where they do not fit image_memory
        # together, they are not, and to find it once more would load them once more.
        if (
            kind is not None
            and unlisted is not None
            and all(image.is_open for image in path_checker.images)
        ):
            _, _, common = kind

            def find() -> Found:
                if is_first:
                    return Found(result, unlisted, tuple(path_checker.images))
                # What was looked into for others is not looked into again, and not told apart.
                alone = self._path_checker_by(view.loaded)
                return Found(*alone.check_unlisted(certificate), tuple(alone.images))

            self._memory.remember(common, certificate, view, find, self.now)
        return result

    def check_given_path(self, path: Sequence[CertificateFacts]) -> CheckResult:
        """Return the verdict on a path that is given."""
        try:
            snapshot = self.in_use.views.of_path(path)
        except UnansweredError as error:
            return self._unanswered(error, *path)
        path_checker = self._by(snapshot)
        result = path_checker.check_given_path(path)
        self._note_missing(path_checker)
        return result

    def check_serial(
        self,
        certificates: Sequence[CertificateFacts],
        issuer: CertificateFacts | None,
        *,
        any_points: bool,
    ) -> CheckResult:
        """Return the worst verdict on the certificates that may have a serial number."""
        try:
            snapshot = self.in_use.views.of_serials(certificates, any_points=any_points)
        except UnansweredError as error:
            return self._unanswered(error, certificates[0])
        path_checker = self._by(snapshot)
        result = worst(
            path_checker.check_path(certificate, issuer, any_points=any_points)
            for certificate in certificates
        )
        self._note_missing(path_checker)
        return result

    def of_any_serial(self, name: bytes, issuer: CertificateFacts | None) -> OfAny | None:
        """
        Return what ``check_serial`` says of each serial number of an issuer that no CRL lists,
        of whose certificate nothing else is known; None where that cannot be told.
        """
        key = name_key(name)
        denied = frozenset(
            number for denied_name, number in self.in_use.denied if denied_name == key
        )
        for serial_number in _SPECIMENS:
            certificates = possible_certificates(
                name, serial_number, distribution_points=(), not_after=None, is_ca=None
            )
            try:
                snapshot = self.in_use.views.of_serials(certificates, any_points=True)
            except UnansweredError as error:
                return OfAny(
                    self._unanswered(error, certificates[0]), (), is_sole=False, apart=denied
                )
            path_checker = self._path_checker_by(snapshot)
            results, found = [], []
            for certificate in certificates:
                result, unlisted = path_checker.check_any(certificate, issuer, any_points=True)
                results.append(result)
                found.append(unlisted)
            self._note_missing(path_checker)
            of_any = _of_any(results, found, denied)
            if of_any is not None and serial_number not in denied:
                return of_any
        return None

    def of_kind(self, certificate: CertificateFacts) -> OfAny | None:
        """
        Return what ``found`` says of each certificate of the kind of *certificate* that no CRL
        lists and that has not expired; None where that cannot be told.
        """
        key = name_key(certificate.issuer)
        denied = frozenset(number for name, number in self.in_use.denied if name == key)
        for serial_number in _SPECIMENS:
            # What a verdict reads beside the kind is given here, or keeps one apart.
            specimen = replace(certificate, der=b"", serial_number=serial_number, not_after=LAST)
            try:
                snapshot = self.in_use.views.of_certificate(specimen).loaded
            except UnansweredError as error:
                return OfAny(self._unanswered(error, specimen), (), is_sole=False, apart=denied)
            path_checker = self._path_checker_by(snapshot)
            result, unlisted = path_checker.check_any(specimen)
            self._note_missing(path_checker)
            trusted = frozenset(one.serial_number for one in snapshot.table.issuers.trusted())
            of_any = _of_any([result], [unlisted], denied | trusted)
            if of_any is not None and serial_number not in of_any.apart:
                return of_any
        return None

    def status_of_serial(
        self, certificates: Sequence[CertificateFacts], issuer: CertificateFacts | None
    ) -> SerialStatus:
        """
        Return the verdict on a serial number, of whose certificates nothing else is known, by
        a policy that waives nothing.
        """
        views, denied, now = self.in_use.views, self.in_use.denied, self.now
        own = self._policy
        strict = Policy(path_depth=own.path_depth, clock_skew=own.clock_skew)
        next_update = None
        try:
            snapshot = views.of_serials(certificates, any_points=True)
        except UnansweredError as error:
            result = self._unanswered(error, certificates[0])
        else:
            path_checker = PathChecker(snapshot, denied, views, strict, now)
            result = worst(
                path_checker.check_path(one, issuer, any_points=True) for one in certificates
            )
            self._note_missing(path_checker)
            if result.status is RevocationStatus.NOT_REVOKED:
                ends = (path_checker.ends_of(one, issuer, any_points=True) for one in certificates)
                next_update = min(itertools.chain.from_iterable(ends), default=None)
        denial = None
        if result.denied and result.certificate is not None:
            denial = denial_of(denied, result.certificate, now)
        if denial is not None:
            return SerialStatus(result, now, denied_at=denial.at, denied_until=denial.until)
        return SerialStatus(result, now, next_update)

    def _note_missing(self, path_checker: PathChecker) -> None:
        self.misses_object = self.misses_object or path_checker.misses_object

    def _by(self, snapshot: Snapshot) -> PathChecker:
        """Return the checker of paths by a snapshot, one for all certificates."""
        found = self._path_checker
        if found is not None and found.snapshot is snapshot:
            return found
        if found is not None:
            # Several certificates: the path checkers remember what is above them.
            self._others = self._others or {}
            self._others[id(found.snapshot)] = found
            found = self._others.get(id(snapshot))
        if found is None:
            found = self._path_checker_by(snapshot)
        self._path_checker = found
        return found

    def _path_checker_by(self, snapshot: Snapshot) -> PathChecker:
        views, denied = self.in_use.views, self.in_use.denied
        return PathChecker(snapshot, denied, views, self._policy, self.now)

    def _unanswered(self, error: UnansweredError, *path: CertificateFacts) -> CheckResult:
        """Return the verdict where the part of the set that it needs cannot be had."""
        self.misses_object = self.misses_object or error.may_be_superseded
        for certificate in path:
            denial = verdict_by_denial(self.in_use.denied, certificate, self.now)
            if denial is not None:
                return denial
        remedy = "" if error.cause is UndeterminedCause.OUT_OF_SCOPE else None
        return undetermined(path[0], error.cause, error.reason, remedy)


def _of_any(
    results: Sequence[CheckResult], found: Sequence[Unlisted | None], apart: frozenset[int]
) -> OfAny | None:
    """Join what is said of all certificates that may have a serial number."""
    looks: dict[Look, None] = {}
    for unlisted in found:
        if unlisted is None:
            return None
        looks.update(dict.fromkeys(unlisted.looks))
    # Of equal results the first counts, so an entry decides alone only for the first.
    first = found[0]
    is_sole = first is not None and first.is_sole and tuple(looks) == first.looks
    return OfAny(worst(results), tuple(looks), is_sole, apart)
