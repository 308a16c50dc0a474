"""Convert C values to Python values, and native errors to exceptions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from crlcheck._native import ffi, lib
from crlcheck.errors import (
    CertificateError,
    CorruptIndexError,
    MalformedCrlError,
    UnsupportedCrlError,
    UnsupportedIndexVersionError,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_bytes(octets: Any) -> bytes:
    """Copy a ``crlcheck_slice``; one without data is empty."""
    if octets.data == ffi.NULL:
        return b""
    copied: bytes = ffi.buffer(octets.data, octets.len)[:]
    return copied


def to_optional_bytes(octets: Any) -> bytes | None:
    """Copy a ``crlcheck_slice``; None where its data is NULL (an absent field)."""
    return None if octets.data == ffi.NULL else to_bytes(octets)


def to_datetime(seconds: int) -> datetime:
    """Turn seconds since 1970 into an aware UTC datetime, over all of 0001 to 9999."""
    # datetime.fromtimestamp refuses dates before 1970 on some platforms.
    return _EPOCH + timedelta(seconds=seconds)


def rule_name(rule: int) -> str:
    """Return the stable word for a ``crlcheck_rule``, such as ``"wrong_tag"``."""
    name: bytes = ffi.string(lib.crlcheck_rule_name(rule))
    return name.decode("ascii")


def describe(error: Any) -> str:
    """Say which rule an input broke, what was found there, and where."""
    words = rule_name(error.rule).replace("_", " ")
    detail = bytes(error.detail[0 : error.detail_len])
    found = f" (found {detail.hex()})" if detail else ""
    return f"{words}{found} at offset {error.offset}"


def raise_for_certificate(error: Any) -> NoReturn:
    """
    Raise the exception for a certificate that the native core refused.

    Raises:
        CertificateError: always, unless memory ran out.
        MemoryError: memory ran out.
    """
    if error.status == lib.CRLCHECK_NO_MEMORY:
        raise MemoryError("no memory left to parse a certificate")
    raise CertificateError(
        f"certificate refused: {describe(error)}",
        rule=rule_name(error.rule),
        offset=error.offset,
    )


def raise_for_crl(error: Any) -> NoReturn:
    """
    Raise the exception for a CRL, or a part of one, that the native core refused.

    Raises:
        MalformedCrlError: it breaks DER or RFC 5280.
        UnsupportedCrlError: it is well-formed, but outside the supported profile or limits.
        MemoryError: memory ran out.
    """
    if error.status == lib.CRLCHECK_NO_MEMORY:
        raise MemoryError("no memory left to parse a CRL")
    rule = rule_name(error.rule)
    if error.status == lib.CRLCHECK_MALFORMED:
        raise MalformedCrlError(f"malformed CRL: {describe(error)}", rule=rule, offset=error.offset)
    raise UnsupportedCrlError(f"unsupported CRL: {describe(error)}", feature=rule)


def raise_for_image(error: Any) -> NoReturn:
    """
    Raise the exception for an image that the native core refused.

    Raises:
        CorruptIndexError: it contradicts itself.
        UnsupportedIndexVersionError: it is of a later major version.
        MemoryError: memory ran out.
    """
    if error.status == lib.CRLCHECK_NO_MEMORY:
        raise MemoryError("no memory left to open an image")
    if error.status == lib.CRLCHECK_UNSUPPORTED_VERSION:
        found = int.from_bytes(bytes(error.detail[0:2]), "little")
        raise UnsupportedIndexVersionError(
            f"image has format version {found}, this library reads {lib.CRLCHECK_MAJOR_VERSION}",
            found=found,
            supported=lib.CRLCHECK_MAJOR_VERSION,
        )
    raise CorruptIndexError(f"image is corrupt: {describe(error)}")
