"""Make checkers for tests, with a set clock and stores that count."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from crlcheck.checker.checker import RevocationChecker
from crlcheck.compiler.compile import compile_crl
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import StoreUnavailableError
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import CheckResult, RevocationStatus, UndeterminedCause
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority, make_client, make_crl

CA = make_authority()
OTHER_CA = make_authority("Other CA")
GOOD = make_client(CA, 1)
BAD = make_client(CA, 2)
"""The one that the CRLs made here list, unless told otherwise."""
FOREIGN = make_client(OTHER_CA, 2)
"""Another authority's, with the serial number of BAD."""


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


class CountingStore(MemoryStore):
    """A store that counts its operations, and may be told to be down."""

    def __init__(self) -> None:
        super().__init__(self._count)
        self.counts: Counter[str] = Counter()
        self.is_down = False

    def _count(self, operation: str, name: str) -> None:
        self.counts[operation] += 1
        if self.is_down:
            raise StoreUnavailableError(f"{operation} {name}: no answer")


def publish(
    store: Any,
    number: int = 1,
    revoked: Iterable[int] = (2,),
    authority: CertificateAuthority = CA,
) -> str:
    """Publish a CRL and return the name of its image."""
    crl = make_crl(authority, number, revoked)
    return publish_crl(crl, store, issuer=authority.pem, now=NOW).image_name


def make_checker(source: Any, **options: Any) -> RevocationChecker:
    """Return a checker whose clock stands at NOW unless another is given."""
    return RevocationChecker(source, **{"clock": Clock(), **options})


def make_index(
    authority: CertificateAuthority = CA,
    number: int = 1,
    revoked: Iterable[int] = (2,),
    **fields: Any,
) -> RevocationIndex:
    """Return an open index of a CRL."""
    report = compile_crl(make_crl(authority, number, revoked, **fields), issuer=authority.pem)
    assert report.image is not None
    return open_index(report.image)


def verdict(result: CheckResult) -> tuple[RevocationStatus, UndeterminedCause | None]:
    """Return status and cause."""
    return result.status, result.cause


def without_remedy(text: str) -> str:
    """Return what a verdict says, without what can be done about it."""
    return text.partition(". What to do: ")[0]


def remedy_in(text: str) -> str:
    """Return what a verdict says can be done, "" where it says nothing."""
    return text.partition(". What to do: ")[2]


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
