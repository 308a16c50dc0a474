"""Make CRLs, and feed them in pieces."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from crlcheck.demo.pki import CertificateAuthority, encode_entry, sign_crl

THIS_UPDATE = datetime(2026, 11, 1, tzinfo=UTC)
NEXT_UPDATE = THIS_UPDATE + timedelta(days=30)
REVOKED_ON = datetime(2026, 10, 5, 7, 30, 1, tzinfo=UTC)


@functools.cache
def authority(name: str = "Test CA") -> CertificateAuthority:
    """A certificate authority, the same one for the same name."""
    return CertificateAuthority.create(name)


def make_crl(
    entries: Iterable[int | bytes] | Mapping[int, int | None] = (), **options: Any
) -> bytes:
    """
    A signed CRL of ``authority()``.

    *entries* are serial numbers, whole encoded entries, or serial numbers with
    reason codes.
    """
    reasons: Mapping[int, int | None] = entries if isinstance(entries, Mapping) else {}
    encoded = [
        entry
        if isinstance(entry, bytes)
        else encode_entry(entry, REVOKED_ON, reason=reasons.get(entry))
        for entry in entries
    ]
    settings: dict[str, Any] = {
        "this_update": THIS_UPDATE,
        "next_update": NEXT_UPDATE,
        "crl_number": 7,
    }
    return sign_crl(authority(), encoded, **(settings | options))


class ChunkedFile:
    """A binary file that hands out its bytes in pieces of given sizes, repeated."""

    def __init__(self, octets: bytes, sizes: Iterable[int]) -> None:
        self._octets = octets
        self._sizes = list(sizes)
        self._position = 0
        self._turn = 0

    def read(self, size: int, /) -> bytes:
        """Return the next piece."""
        wanted = min(size, self._sizes[self._turn % len(self._sizes)])
        self._turn += 1
        piece = self._octets[self._position : self._position + wanted]
        self._position += len(piece)
        return piece


def random_entries(count: int, *, seed: int = 1) -> list[bytes]:
    """Encoded entries with random serial numbers of 16 bytes, every tenth with a reason."""
    chance = random.Random(seed)
    return [
        encode_entry(
            chance.randrange(1 << 120, 1 << 126),
            REVOKED_ON + timedelta(hours=chance.randrange(1000)),
            reason=1 if number % 10 == 0 else None,
        )
        for number in range(count)
    ]
