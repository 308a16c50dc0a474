"""A published CRL whose image is large enough for pages, and stores that say what was read."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from crlcheck.checker.checker import RevocationChecker
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import StoredPart
from crlcheck.types import CheckResult, RevocationStatus, UndeterminedCause
from support.checking import CA, make_checker
from support.memory_store import MemoryStore
from support.pki import NOW, make_crl

_CHANCE = random.Random(8)
LISTED = [_CHANCE.randrange(1 << 126, 1 << 127) for _ in range(180_000)]
_SET = frozenset(LISTED)
UNLISTED = [serial for serial in (one + 1 for one in LISTED) if serial not in _SET]


@functools.cache
def large_crl(number: int = 1) -> bytes:
    """A CRL that lists LISTED, or with a number above 1 all but the first."""
    return make_crl(CA, number, LISTED if number == 1 else LISTED[1:])


@functools.cache
def published_objects() -> dict[str, bytes]:
    """The objects of a store in which the large CRL is published."""
    store = MemoryStore()
    publish_crl(large_crl(), store, issuer=CA.pem, now=NOW)
    return {name: store.read(name).body for name in store.names("")}


def image_name() -> str:
    """The name of the large image."""
    (name,) = (name for name in published_objects() if name.startswith("images/"))
    return name


def fill(store: Any) -> None:
    """Publish the large CRL in a store: the images first."""
    for name, body in sorted(published_objects().items(), reverse=True):
        store.write(name, body)


class PagedStore(MemoryStore):
    """
    A store with the large CRL that notes which parts were read, and may change them.

    *change* is given where a part starts and its bytes, and returns those that are sent.
    """

    def __init__(self) -> None:
        super().__init__()
        fill(self)
        self.parts: list[tuple[int, int]] = []
        self.num_loads = 0
        self.change: Callable[[int, bytes], bytes] = lambda _, body: body

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part."""
        self.parts.append((start, size))
        part = super().read_part(name, start, size, etag=etag)
        return None if part is None else StoredPart(self.change(start, part.body), part.etag)

    def load(self, name: str) -> bytes:
        """As ObjectStore.load."""
        self.num_loads += 1
        return super().load(name)


def body_of_image() -> tuple[int, int]:
    """Where the body of the large image starts and ends."""
    image = published_objects()[image_name()]
    (end,) = struct.unpack_from("<Q", image, 24)
    (start,) = struct.unpack_from("<I", image, 40)
    return start, end


def paged_checker(store: Any, loading: str = "pages", **options: Any) -> RevocationChecker:
    """A checker by pages, which asks its store for another set rarely."""
    options.setdefault("refresh_after", timedelta(hours=1))
    return make_checker(store, image_loading=loading, **options)


def ask(
    checker: RevocationChecker, serials: Iterable[int], issuer: CertificateAuthority = CA
) -> list[CheckResult]:
    """What a checker says of client certificates with these serial numbers."""
    return list(
        checker.check_serials(
            issuer.pem,
            serials,
            distribution_points=(),
            not_after=NOW + timedelta(days=9),
            is_ca=False,
        )
    )


def is_right(serial: int, result: CheckResult) -> bool:
    """Whether a result is the right verdict."""
    revoked = RevocationStatus.REVOKED
    return result.status is (revoked if serial in _SET else RevocationStatus.NOT_REVOKED)


def is_unavailable(result: CheckResult) -> bool:
    """Whether a result says that the store did not give what is needed."""
    return result.cause is UndeterminedCause.STORE_UNAVAILABLE
