"""
Validate a certificate by the trusted issuers of a set: who signed it, and when it is valid.

``RevocationChecker.check`` leaves that to whoever ended TLS. Where a proxy hands on what it
has not verified, anybody can make a certificate that names a trusted issuer and its key id:
no CRL lists it.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from crlcheck.checker.snapshot import Snapshot
from crlcheck.errors import PathValidationError
from crlcheck.types import CertificateFacts

_CAPACITY = 8192


class Validated:
    """
    The certificates that were validated by one set. Threads may share it.

    Only what is valid is remembered, so a flood of others drives nothing out. It is valid
    while its issuers are, too.
    """

    def __init__(self, owner: object) -> None:
        # Nothing else may keep an earlier set in memory.
        self._owner = weakref.ref(owner)
        self._spans: OrderedDict[bytes, tuple[datetime, datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def is_of(self, owner: object) -> bool:
        """Whether this is what was validated by that set."""
        return self._owner() is owner

    def has(self, der: bytes, now: datetime) -> bool:
        """Whether a certificate was found to be valid, and still is."""
        digest = sha256(der).digest()
        with self._lock:
            span = self._spans.get(digest)
            if span is not None:
                self._spans.move_to_end(digest)
        return span is not None and span[0] <= now <= span[1]

    def note(self, der: bytes, issuers: Sequence[CertificateFacts], leaf: CertificateFacts) -> None:
        """Remember a certificate as valid, for as long as itself and all *issuers* are."""
        certificates = (leaf, *issuers)
        span = (
            max(one.not_before for one in certificates),
            min(one.not_after for one in certificates),
        )
        with self._lock:
            self._spans[sha256(der).digest()] = span
            while len(self._spans) > _CAPACITY:
                self._spans.popitem(last=False)


def validate(
    leaf: CertificateFacts, snapshot: Snapshot, now: datetime
) -> Sequence[CertificateFacts]:
    """
    Return the trusted certificates that may be those of the issuer of *leaf*, one of which
    has issued it: it is a valid path with that one, by RFC 5280 6.1.

    Raises:
        PathValidationError: there is no such issuer, or no such path at *now*.
    """
    # Only here, because it needs cryptography, which takes long to import.
    from crlcheck.x509.path_validation import validate_path

    keys = snapshot.table.issuers.of(leaf)
    issuers = [one.facts for key in keys for one in key.certificates]
    if not issuers:
        message = "certificate 1 of the chain: no trusted issuer has the name and key id in it"
        raise PathValidationError(message, section="6.1.3 (a)(4)", position=1)
    validate_path([leaf], issuers, now=now)
    return issuers
