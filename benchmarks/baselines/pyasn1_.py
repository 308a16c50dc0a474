"""
The ``pyasn1`` package, its entries looped into a set.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from benchmarks.baselines.interface import Contender, InContainer, Lookups
from benchmarks.baselines.signed_bytes import verify


class Pyasn1(Contender):
    """A pure Python parser that decodes everything: 100 thousand entries are minutes enough."""

    name = "pyasn1"
    title = "pyasn1 (up to 100 k)"
    how = "`der.decoder.decode`, verified by `cryptography`, serials into a `set`"
    distribution = "pyasn1"
    max_entries = 100_000
    has_own_lookup = False

    def absent(self) -> str | None:
        """Say whether the package is missing."""
        found = find_spec("pyasn1") and find_spec("pyasn1_modules")
        return None if found else "the package is not installed"

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Parse, verify and fill a set."""
        from pyasn1.codec.der import decoder
        from pyasn1_modules import rfc5280

        encoded = crl.read_bytes()
        parsed, _ = decoder.decode(encoded, asn1Spec=rfc5280.CertificateList())
        verify(encoded, parsed["signature"].asOctets(), issuer)
        entries = parsed["tbsCertList"]["revokedCertificates"]
        return InContainer({int(entry["userCertificate"]) for entry in entries})
