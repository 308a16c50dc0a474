"""
The ``cryptography`` package: parse, verify, and its own lookup.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509

from benchmarks.baselines.interface import Contender, InContainer, Lookups


class Cryptography(Contender):
    """What most Python services would use."""

    name = "cryptography"
    title = "cryptography"
    how = (
        "`load_der_x509_crl`, `is_signature_valid`;"
        " `get_revoked_certificate_by_serial_number`, a linear search"
    )
    distribution = "cryptography"
    num_queries = 10

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Parse and verify."""
        return InContainer(_RevokedCertificates(load_verified(crl, issuer)))


class _RevokedCertificates:
    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        self._crl = crl

    def __contains__(self, serial_number: int) -> bool:
        return self._crl.get_revoked_certificate_by_serial_number(serial_number) is not None


def load_verified(crl: Path, issuer: Path) -> x509.CertificateRevocationList:
    """Return the CRL at *crl*, verified."""
    parsed = x509.load_der_x509_crl(crl.read_bytes())
    if not parsed.is_signature_valid(public_key(issuer)):
        raise ValueError(f"{crl} has no valid signature")
    return parsed


def public_key(issuer: Path) -> Any:
    """Return the public key of the certificate at *issuer*."""
    return x509.load_pem_x509_certificate(issuer.read_bytes()).public_key()
