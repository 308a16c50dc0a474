"""
Make certificates and image metadata by hand, for tests of what decides on them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from crlcheck.encoding.names import name_hash
from crlcheck.types import (
    CertificateFacts,
    CrlWarning,
    DistributionPoint,
    ImageMetadata,
    ReasonCode,
    RevokedEntry,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
"""The time at which the values made here are all valid."""

UTF8_STRING, PRINTABLE_STRING = 0x0C, 0x13


def der(tag: int, *contents: bytes) -> bytes:
    """One DER element."""
    joined = b"".join(contents)
    if len(joined) < 0x80:
        return bytes((tag, len(joined))) + joined
    length = len(joined).to_bytes((len(joined).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + joined


def make_name(common_name: str, tag: int = UTF8_STRING) -> bytes:
    """A Name of one common name."""
    value = der(tag, common_name.encode())
    return der(0x30, der(0x31, der(0x30, bytes.fromhex("0603550403"), value)))


def make_key(seed: str) -> bytes:
    """The subjectPublicKeyInfo of an Ed25519 key; the same for the same seed."""
    key = hashlib.sha256(seed.encode()).digest()
    return der(0x30, der(0x30, bytes.fromhex("06032b6570")), der(0x03, b"\0", key))


def key_hash(seed: str) -> bytes:
    """How an image names the key of ``make_key``."""
    return hashlib.sha256(make_key(seed)).digest()


def make_certificate(
    *,
    issuer: str | bytes = "CA",
    subject: str | bytes = "client",
    key: str = "client key",
    serial_number: int = 0x4A3F,
    authority_key_id: bytes | None = b"CA key",
    subject_key_id: bytes | None = None,
    not_after: datetime = NOW + timedelta(days=30),
    is_ca: bool = False,
    distribution_points: tuple[DistributionPoint, ...] = (),
) -> CertificateFacts:
    """What a verdict needs of a certificate; by default a client's, issued by ``CA``."""
    return CertificateFacts(
        der=b"",
        serial_number=serial_number,
        issuer=make_name(issuer) if isinstance(issuer, str) else issuer,
        subject=make_name(subject) if isinstance(subject, str) else subject,
        not_before=NOW - timedelta(days=30),
        not_after=not_after,
        subject_public_key_info=make_key(key),
        authority_key_id=authority_key_id,
        subject_key_id=subject_key_id,
        is_ca=is_ca,
        key_usage=None,
        distribution_points=distribution_points,
    )


def make_issuer(
    subject: str | bytes = "CA", key: str = "CA key", subject_key_id: bytes | None = b"CA key"
) -> CertificateFacts:
    """What is known of an issuer certificate."""
    return make_certificate(
        issuer="root",
        subject=subject,
        key=key,
        authority_key_id=b"root key",
        subject_key_id=subject_key_id,
    )


def make_metadata(
    *,
    issuer: str | bytes = "CA",
    key: str | None = "CA key",
    verifier_subject_key_id: bytes | None = b"CA key",
    authority_key_id: bytes | None = b"CA key",
    issuing_distribution_point: bytes | None = None,
    crl_number: int | None = 17,
    base_crl_number: int | None = None,
    this_update: datetime = NOW - timedelta(days=1),
    next_update: datetime | None = NOW + timedelta(days=1),
    expired_certs_on_crl: datetime | None = None,
    tbs_digest: str = "sha256:00",
) -> ImageMetadata:
    """The metadata of an image; *key* is its issuer's, None where it was not verified."""
    name = make_name(issuer) if isinstance(issuer, str) else issuer
    return ImageMetadata(
        version=2,
        issuer=name,
        issuer_hash=name_hash(name),
        authority_key_id=authority_key_id,
        verifier_key_hash=None if key is None else key_hash(key),
        verifier_subject_key_id=None if key is None else verifier_subject_key_id,
        issuing_distribution_point=issuing_distribution_point,
        crl_number=crl_number,
        base_crl_number=base_crl_number,
        this_update=this_update,
        next_update=next_update,
        expired_certs_on_crl=expired_certs_on_crl,
        signature_algorithm="Ed25519",
        tbs_digest=tbs_digest,
        num_entries=1,
        num_duplicates=0,
        attributes=True,
        warnings=CrlWarning(0),
    )


def make_entry(
    reason_code: ReasonCode | None = ReasonCode.KEY_COMPROMISE,
    revocation_date: datetime | None = datetime(2026, 1, 2, tzinfo=UTC),
    *,
    serial_number: int = 0x4A3F,
) -> RevokedEntry:
    """An entry of the CRL of ``CA``."""
    return RevokedEntry(serial_number, reason_code, revocation_date, None, make_name("CA"))
