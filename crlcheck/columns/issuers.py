"""
Read the issuers of a column, in whatever form it has them.

1. Bytes are a Name as DER, or a certificate as DER or PEM, or else 32 bytes the SHA-256 of a
   trusted issuer's certificate or of its public key (subjectPublicKeyInfo).
2. Text is a certificate as PEM, or such a SHA-256 in hex, or else a Name as RFC 4514 writes it.

A Name stands for all trusted keys of it, as in ``check_serial``.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from crlcheck.checker.one_set import OneSet
from crlcheck.checker.results import undetermined
from crlcheck.checker.serial_question import possible_certificates, read_issuer
from crlcheck.encoding.name_reader import name_from_text
from crlcheck.encoding.names import canonical_name, names_match
from crlcheck.errors import CertificateError
from crlcheck.types import CertificateFacts, CheckResult, UndeterminedCause

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}")


class Issuer(NamedTuple):
    """
    An issuer: its name, and its certificate if that is known.

    ``unanswered`` is the verdict on each of its certificates where it is not known who it is.
    """

    name: bytes
    certificate: CertificateFacts | None = None
    unanswered: CheckResult | None = None


class Issuers:
    """Reads issuers by the trusted ones of a set. One thread at a time uses it."""

    def __init__(self, by: OneSet) -> None:
        self._by = by
        self._fingerprints: dict[bytes, Issuer] | None = None

    def read(self, value: bytes | str) -> Issuer | None:
        """
        Return the issuer that a value of the column stands for, None where it is none.

        Raises:
            StoreError: the trusted issuers cannot be read.
        """
        try:
            return self._of_text(value) if isinstance(value, str) else self._of_bytes(value)
        except ValueError:
            return None

    def _of_text(self, text: str) -> Issuer:
        if text.lstrip().startswith("-----BEGIN "):
            return _of_certificate(text.encode("utf-8", "replace"))
        found = text.strip()
        if _FINGERPRINT.fullmatch(found):
            return self._of_fingerprint(bytes.fromhex(found.replace(":", "")))
        return Issuer(name_from_text(text))

    def _of_bytes(self, octets: bytes) -> Issuer:
        try:
            canonical_name(octets)
        except ValueError:
            if len(octets) == hashlib.sha256().digest_size:
                return self._of_fingerprint(octets)
            return _of_certificate(octets)
        return Issuer(octets)

    def _of_fingerprint(self, fingerprint: bytes) -> Issuer:
        if self._fingerprints is None:
            self._fingerprints = self._read_fingerprints()
        return self._fingerprints.get(fingerprint, _UNKNOWN)

    def _read_fingerprints(self) -> dict[bytes, Issuer]:
        found: dict[bytes, Issuer] = {}
        for certificate in self._by.trusted():
            issuer = Issuer(certificate.subject, certificate)
            found[hashlib.sha256(certificate.der).digest()] = issuer
            key = hashlib.sha256(certificate.subject_public_key_info).digest()
            other = found.setdefault(key, issuer)
            if not names_match(other.name, issuer.name):
                found[key] = _AMBIGUOUS
        for metadata in self._by.crls():
            # Of an index without its issuer's certificate the key's hash is known.
            if metadata.verifier_key_hash is not None:
                found.setdefault(metadata.verifier_key_hash, Issuer(metadata.issuer))
        return found


def _of_certificate(octets: bytes) -> Issuer:
    try:
        return Issuer(*read_issuer(octets))
    except CertificateError as error:
        raise ValueError("no issuer") from error


def _unanswered(cause: UndeterminedCause, reason: str) -> Issuer:
    (certificate,) = possible_certificates(
        b"\x30\x00", 0, distribution_points=(), not_after=None, is_ca=False
    )
    return Issuer(b"", None, undetermined(certificate, cause, reason))


_UNKNOWN = _unanswered(UndeterminedCause.UNKNOWN_ISSUER, "no trusted issuer has that SHA-256")
_AMBIGUOUS = _unanswered(
    UndeterminedCause.AMBIGUOUS_ISSUER, "trusted issuers of several names have that key"
)
