"""Find the issuer certificates that may have signed a CRL, among many and for many CRLs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from crlcheck.encoding.names import name_key
from crlcheck.types import CertificateFacts


class Signers:
    """Issuer certificates by their names, which are compared once for all CRLs."""

    def __init__(self, certificates: Sequence[CertificateFacts]) -> None:
        self.certificates = tuple(certificates)

    @cached_property
    def _by_name(self) -> dict[bytes, list[CertificateFacts]]:
        found: dict[bytes, list[CertificateFacts]] = {}
        for one in self.certificates:
            found.setdefault(name_key(one.subject), []).append(one)
        return found

    def named(self, name: bytes) -> Sequence[CertificateFacts]:
        """Return the certificates whose subject is *name*, in the order given."""
        return self._by_name.get(name_key(name), ())
