"""
Signature checks for parsers that have none: over the signed bytes as they stand.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from benchmarks.baselines.cryptography_ import public_key


def verify(crl: bytes, signature: bytes, issuer: Path) -> None:
    """
    Check the ECDSA signature with SHA-256 of a generated CRL.

    Raises:
        InvalidSignature: it does not hold.
    """
    start = _contents_start(crl, 0)
    contents = _contents_start(crl, start)
    size_of_contents = _length(crl, start)
    tbs = memoryview(crl)[start : contents + size_of_contents]
    key = public_key(issuer)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, tbs, ec.ECDSA(SHA256()))


def _contents_start(encoded: bytes, at: int) -> int:
    first = encoded[at + 1]
    return at + 2 + (first & 0x7F if first & 0x80 else 0)


def _length(encoded: bytes, at: int) -> int:
    first = encoded[at + 1]
    if not first & 0x80:
        return first
    return int.from_bytes(encoded[at + 2 : _contents_start(encoded, at)], "big")
