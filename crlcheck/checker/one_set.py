"""Check any number of certificates and serial numbers by one set, at one time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime

from crlcheck._binding import certificate_kind
from crlcheck.checker.judge import Judge, OfAny
from crlcheck.checker.results import unavailable
from crlcheck.checker.serial_question import possible_certificates
from crlcheck.checker.snapshot import facts_of
from crlcheck.checker.store_set import IndexesInUse, IndexSet, SetInUse, StoreSet
from crlcheck.checker.views import OneView
from crlcheck.types import CertificateFacts, CheckResult, ImageMetadata, Policy
from crlcheck.x509.certificates import load_certificate, read_kind


class OneSet:
    """
    What a checker says by the set in use and at one time. Threads may share it.

    A newer set takes the place of the one in use only where an object is missing from that.
    """

    def __init__(self, source: IndexSet | StoreSet, policy: Policy, now: datetime) -> None:
        self._source = source
        self._policy = policy
        self._lock = threading.RLock()
        self.now = now
        in_use = source.current()
        self._judge = None if in_use is None else Judge(in_use, policy, now)
        self._why_none = source.why_none() if in_use is None else ""

    @property
    def in_use(self) -> SetInUse | IndexesInUse | None:
        """The set, None where there is none."""
        return None if self._judge is None else self._judge.in_use

    @property
    def generation(self) -> int | None:
        """The generation of the set; None of open indexes, and where there is none."""
        in_use = self.in_use
        return in_use.views.published.generation if isinstance(in_use, SetInUse) else None

    @property
    def image_memory(self) -> int:
        """How many bytes of images the checker keeps loaded."""
        return self._source.image_memory

    def check_serial(
        self, name: bytes, issuer: CertificateFacts | None, serial_number: int
    ) -> CheckResult:
        """
        Return what ``RevocationChecker.check_serial`` does, of whose certificate nothing else is
        known. The issuer's name, and its certificate if that is known, are as ``read_issuer``
        returns them.
        """
        certificates = possible_certificates(
            name, serial_number, distribution_points=(), not_after=None, is_ca=None
        )
        with self._lock:
            while (judge := self._judge) is not None:
                result = judge.check_serial(certificates, issuer, any_points=True)
                if not self._takes_newer(judge):
                    return result
        return unavailable(certificates[0], self._why_none)

    def of_any_serial(self, name: bytes, issuer: CertificateFacts | None) -> OfAny | None:
        """Return what ``Judge.of_any_serial`` does."""
        with self._lock:
            while (judge := self._judge) is not None:
                found = judge.of_any_serial(name, issuer)
                if not self._takes_newer(judge):
                    return found
        return OfAny(self.check_serial(name, issuer, 0), (), is_sole=False, apart=frozenset())

    def check(self, source: bytes) -> CheckResult:
        """
        Return what ``RevocationChecker.check`` does.

        Raises:
            CertificateError: it is not a certificate.
        """
        der, kind = read_kind(source)
        if kind is None:
            der = load_certificate(source).der
            kind = certificate_kind(der)
        with self._lock:
            while (judge := self._judge) is not None:
                result = judge.check(der, kind, None)
                if not self._takes_newer(judge):
                    return result
        return unavailable(load_certificate(der), self._why_none)

    def of_kind(self, certificate: CertificateFacts) -> OfAny | None:
        """Return what ``Judge.of_kind`` does."""
        with self._lock:
            while (judge := self._judge) is not None:
                found = judge.of_kind(certificate)
                if not self._takes_newer(judge):
                    return found
        result = unavailable(certificate, self._why_none)
        return OfAny(result, (), is_sole=False, apart=frozenset())

    def trusted(self) -> Iterator[CertificateFacts]:
        """
        Yield the certificate of every issuer that is trusted.

        Raises:
            StoreError: they cannot be read.
        """
        judge = self._judge
        if judge is None:
            return
        views = judge.in_use.views
        if isinstance(views, OneView):
            yield from views.snapshot.table.issuers.trusted()
            return
        for record in views.published.issuers():
            yield facts_of(record.certificate)
        yield from (one.certificate for one in views.own_trusted)

    def crls(self) -> Iterator[ImageMetadata]:
        """Yield what is known of each open index, where the set is made of such."""
        views = None if self._judge is None else self._judge.in_use.views
        if isinstance(views, OneView):
            yield from (image.metadata for image in views.every_image())

    def _takes_newer(self, judge: Judge) -> bool:
        """Take the newer set, where *judge* misses an object and there is one."""
        if not judge.misses_object or not self._source.is_newer_than(judge.in_use):
            return False
        assert self._source.in_use is not None, "it is newer"
        self._judge = Judge(self._source.in_use, self._policy, self.now)
        return True
