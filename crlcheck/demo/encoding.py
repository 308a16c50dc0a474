"""
Write the DER of CRLs, for the demo, tests and benchmarks.

``x509.CertificateRevocationListBuilder`` takes quadratic time, and it refuses many
inputs that a parser must be tested with.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


def der_header(tag: int, size: int) -> bytes:
    """Return the identifier and length octets of an element whose contents have *size* octets."""
    if size < 0x80:
        return bytes((tag, size))
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length


def der(tag: int, *contents: bytes) -> bytes:
    """Return the element of *tag* whose contents are *contents* end to end."""
    return der_header(tag, sum(map(len, contents))) + b"".join(contents)


def der_integer(value: int) -> bytes:
    """Return *value* as a minimal INTEGER."""
    # A negative number needs as many bits as its complement, and a sign bit.
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return der(0x02, value.to_bytes(size, "big", signed=True))


def der_oid(dotted: str) -> bytes:
    """Return *dotted*, such as ``"2.5.29.20"``, as an OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    octets = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        octets += bytes(reversed(groups))
    return der(0x06, bytes(octets))


def der_time(moment: datetime) -> bytes:
    """Return *moment* as a Time: UTCTime through 2049 (RFC 5280 5.1.2.4)."""
    moment = moment.astimezone(UTC)
    if 1950 <= moment.year < 2050:
        return der(0x17, f"{moment:%y%m%d%H%M%SZ}".encode())
    return der_generalized_time(moment)


def der_generalized_time(moment: datetime) -> bytes:
    """Return *moment* as a GeneralizedTime, whatever its year."""
    moment = moment.astimezone(UTC)
    # strftime does not pad %Y on every platform.
    return der(0x18, f"{moment.year:04d}{moment:%m%d%H%M%SZ}".encode())


def encode_extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """
    Return one Extension.

    *value* is the DER inside extnValue, such as ``x509.CRLNumber(1).public_bytes()``.
    """
    flag = der(0x01, b"\xff") if critical else b""
    return der(0x30, der_oid(oid), flag, der(0x04, value))


def encode_entry(
    serial_number: int,
    revocation_date: datetime,
    *,
    reason: int | None = None,
    invalidity_date: datetime | None = None,
    certificate_issuer: bytes | None = None,
    extra_extensions: Sequence[bytes] = (),
) -> bytes:
    """
    Return one element of revokedCertificates (RFC 5280 5.3).

    *serial_number* may be any integer. *certificate_issuer* is a Name as DER;
    *extra_extensions* are whole Extensions, as :func:`encode_extension` makes.
    """
    extensions = []
    if reason is not None:
        extensions.append(encode_extension("2.5.29.21", der(0x0A, bytes((reason,)))))
    if invalidity_date is not None:
        extensions.append(encode_extension("2.5.29.24", der_generalized_time(invalidity_date)))
    if certificate_issuer is not None:
        names = der(0x30, der(0xA4, certificate_issuer))
        extensions.append(encode_extension("2.5.29.29", names, critical=True))
    extensions.extend(extra_extensions)
    wrapped = der(0x30, *extensions) if extensions else b""
    return der(0x30, der_integer(serial_number), der_time(revocation_date), wrapped)


def encode_pss_algorithm(hash_name: str, salt_length: int) -> bytes:
    """Return the AlgorithmIdentifier of RSASSA-PSS with MGF1 of the same hash (RFC 4055 3.1)."""
    algorithm = der(0x30, der_oid(HASH_OIDS[hash_name]), der(0x05))
    mask = der(0x30, der_oid("1.2.840.113549.1.1.8"), algorithm)
    # DER leaves out what has its DEFAULT value: sha1, mgf1SHA1, 20.
    hashes = b"" if hash_name == "sha1" else der(0xA0, algorithm) + der(0xA1, mask)
    salt = b"" if salt_length == 20 else der(0xA2, der_integer(salt_length))
    return der(0x30, der_oid("1.2.840.113549.1.1.10"), der(0x30, hashes, salt))
