"""Certificates in DER written field by field, so that a test can break any one of them."""

from __future__ import annotations

from collections.abc import Sequence

from crlcheck.demo.encoding import der, der_integer, der_oid, encode_extension

ALGORITHM = der(0x30, der_oid("1.2.840.10045.4.3.2"))
KEY_INFO = der(
    0x30,
    der(0x30, der_oid("1.2.840.10045.2.1"), der_oid("1.2.840.10045.3.1.7")),
    der(0x03, b"\x00\x04" + bytes(64)),
)
NOT_BEFORE = der(0x17, b"260101000000Z")
NOT_AFTER = der(0x17, b"270101000000Z")


def encode_attribute(text: str | bytes, tag: int = 0x0C, oid: str = "2.5.4.3") -> bytes:
    """Return one AttributeTypeAndValue, by default a commonName."""
    value = text.encode() if isinstance(text, str) else text
    return der(0x30, der_oid(oid), der(tag, value))


def encode_name(*attributes: bytes) -> bytes:
    """Return a Name with each attribute in an RDN of its own."""
    return der(0x30, *(der(0x31, attribute) for attribute in attributes))


ISSUER = encode_name(encode_attribute("Issuer"))
SUBJECT = encode_name(encode_attribute("Subject"))


def encode_certificate(
    *,
    version: bytes = der(0xA0, der_integer(2)),
    serial: bytes = der_integer(1),
    algorithm: bytes = ALGORITHM,
    issuer: bytes = ISSUER,
    not_before: bytes = NOT_BEFORE,
    not_after: bytes = NOT_AFTER,
    subject: bytes = SUBJECT,
    key_info: bytes = KEY_INFO,
    unique_ids: bytes = b"",
    extensions: Sequence[bytes] | None = None,
    outer_algorithm: bytes = ALGORITHM,
    signature: bytes = der(0x03, b"\x00\x01"),
    tail: bytes = b"",
) -> bytes:
    """Return a Certificate of these elements; ``tail`` is put inside the outermost SEQUENCE."""
    wrapped = b"" if extensions is None else der(0xA3, der(0x30, *extensions))
    validity = der(0x30, not_before, not_after)
    fields = (version, serial, algorithm, issuer, validity, subject, key_info, unique_ids, wrapped)
    return der(0x30, der(0x30, *fields), outer_algorithm, signature, tail)


def with_distribution_points(*points: bytes) -> bytes:
    """Return a certificate whose CRLDistributionPoints are these DistributionPoints."""
    return encode_certificate(extensions=[encode_extension("2.5.29.31", der(0x30, *points))])


def full_name_point(*names: bytes, rest: bytes = b"") -> bytes:
    """Return a DistributionPoint with a fullName of these GeneralNames."""
    return der(0x30, der(0xA0, der(0xA0, *names)), rest)
