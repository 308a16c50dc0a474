"""
Derive the key ids that certificates and CRLs may use for a public key.

A key id is whatever a CA writes into its certificate (RFC 5280 4.2.1.2); most
take a hash of the key. A CA that is renewed with the same key may change the
method, so that what it issued before names the key by another hash of it.
"""

from __future__ import annotations

import hashlib

from crlcheck.encoding.der import contents_at


def derived_key_ids(subject_public_key_info: bytes) -> tuple[bytes, ...]:
    """
    Return every id that a known method derives from a subjectPublicKeyInfo.

    Each is a hash of the key, so it stands for no other one. The list is closed;
    the first is the usual one:

    - RFC 5280 4.2.1.2 (1): SHA-1 of the key bits;
    - RFC 5280 4.2.1.2 (2): 0100 and the last 60 bits of that hash;
    - RFC 7093 2 (1) to (3): the first 160 bits of SHA-256, SHA-384 and SHA-512 of
      the key bits;
    - RFC 7093 2 (4): a hash of the whole subjectPublicKeyInfo. It names no
      algorithm; SHA-256, SHA-384 and SHA-512 are in use, and SHA-1 by Microsoft's
      CryptoAPI.
    """
    bits = _key_bits(subject_public_key_info)
    sha1 = hashlib.sha1(bits, usedforsecurity=False).digest()
    return (
        sha1,
        bytes((0x40 | sha1[-8] & 0x0F,)) + sha1[-7:],
        *(hashlib.new(name, bits).digest()[:20] for name in ("sha256", "sha384", "sha512")),
        hashlib.sha1(subject_public_key_info, usedforsecurity=False).digest(),
        *(
            hashlib.new(name, subject_public_key_info).digest()
            for name in ("sha256", "sha384", "sha512")
        ),
    )


def _key_bits(subject_public_key_info: bytes) -> bytes:
    """Return the octets of subjectPublicKey, a BIT STRING."""
    start, _ = contents_at(subject_public_key_info, 0)
    _, algorithm_end = contents_at(subject_public_key_info, start)
    key_start, key_end = contents_at(subject_public_key_info, algorithm_end)
    # The first octet of a BIT STRING counts unused bits and is no part of the key.
    return subject_public_key_info[key_start + 1 : key_end]
