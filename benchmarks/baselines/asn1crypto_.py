"""
The ``asn1crypto`` package, its entries looped into a set.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from benchmarks.baselines.interface import Contender, InContainer, Lookups
from benchmarks.baselines.signed_bytes import verify


class Asn1Crypto(Contender):
    """A pure Python parser that decodes what is touched."""

    name = "asn1crypto"
    title = "asn1crypto"
    how = "`CertificateList.load`, verified by `cryptography`, serials into a `set`"
    distribution = "asn1crypto"
    max_entries = 1_000_000
    has_own_lookup = False

    def absent(self) -> str | None:
        """Say whether the package is missing."""
        return None if find_spec("asn1crypto") else "the package is not installed"

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Parse, verify and fill a set."""
        from asn1crypto.crl import CertificateList

        encoded = crl.read_bytes()
        parsed = CertificateList.load(encoded, strict=True)
        verify(encoded, parsed["signature"].native, issuer)
        entries = parsed["tbs_cert_list"]["revoked_certificates"]
        return InContainer({entry["user_certificate"].native for entry in entries})
