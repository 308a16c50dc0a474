"""Convert C values to Python values, and native errors to exceptions."""

from __future__ import annotations

from typing import Any, NoReturn

from crlcheck._native import ffi, lib
from crlcheck.encoding.der import oid_text
from crlcheck.encoding.serials import serial_from_octets
from crlcheck.errors import (
    CertificateError,
    CorruptIndexError,
    MalformedCrlError,
    UnsupportedCrlError,
    UnsupportedIndexVersionError,
)


def to_bytes(octets: Any) -> bytes:
    """Copy a ``crlcheck_slice``; one without data is empty."""
    return to_optional_bytes(octets) or b""


def to_optional_bytes(octets: Any) -> bytes | None:
    """Copy a ``crlcheck_slice``; None where its data is NULL (an absent field)."""
    data = octets.data
    copied: bytes | None = ffi.buffer(data, octets.len)[:] if data else None
    return copied


def rule_name(rule: int) -> str:
    """Return the stable word for a ``crlcheck_rule``, such as ``"wrong_tag"``."""
    name: bytes = ffi.string(lib.crlcheck_rule_name(rule))
    return name.decode("ascii")


def describe(error: Any) -> str:
    """Say which rule an input broke, what was found there, and where."""
    words = rule_name(error.rule).replace("_", " ")
    detail = bytes(error.detail[0 : error.detail_len])
    found = f" (found {detail.hex()})" if detail else ""
    return f"{words}{found} at offset {error.offset}{_place(error)}"


def _place(error: Any) -> str:
    """Return the field, the extension and the entry that an error is in, as text."""
    parts = []
    oid = _oid(error)
    if oid is not None:
        name = _EXTENSIONS.get(oid)
        parts.append(f"in the extension {oid if name is None else f'{name} ({oid})'}")
    if error.entry_number:
        serial_number = _serial_number(error)
        known = "" if serial_number is None else f" (serial number {serial_number:x})"
        parts.append(f"in entry {error.entry_number}{known}")
    elif oid is None and error.field:
        parts.append(f"in {_FIELDS[error.field]}")
    return f", {' of '.join(parts).replace(' of in ', ' of ')}" if parts else ""


def _oid(error: Any) -> str | None:
    contents = bytes(error.extension_oid[0 : error.extension_oid_len])
    return oid_text(contents) if contents else None


def _serial_number(error: Any) -> int | None:
    octets = bytes(error.serial[0 : error.serial_len])
    return serial_from_octets(octets) if octets else None


def _add_place(
    raised: MalformedCrlError | UnsupportedCrlError | CertificateError, error: Any
) -> None:
    """Set the attributes that are known of the place of an error."""
    known = {
        "field": _FIELDS[error.field] if error.field else None,
        "extension_oid": _oid(error),
        "entry_number": error.entry_number or None,
        "serial_number": _serial_number(error),
    }
    for name, value in known.items():
        if value is not None:
            setattr(raised, name, value)


# In the order of crlcheck_field, by the names of RFC 5280 5.1.
_FIELDS = (
    "",
    "CertificateList",
    "tbsCertList",
    "version",
    "signature",
    "issuer",
    "thisUpdate",
    "nextUpdate",
    "revokedCertificates",
    "revokedCertificates",
    "crlExtensions",
    "signatureAlgorithm",
    "signatureValue",
)

# By the names of RFC 5280 and X.509.
_EXTENSIONS = {
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "2.5.29.9": "subjectDirectoryAttributes",
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.18": "issuerAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.20": "cRLNumber",
    "2.5.29.21": "reasonCode",
    "2.5.29.23": "holdInstructionCode",
    "2.5.29.24": "invalidityDate",
    "2.5.29.27": "deltaCRLIndicator",
    "2.5.29.28": "issuingDistributionPoint",
    "2.5.29.29": "certificateIssuer",
    "2.5.29.30": "nameConstraints",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.37": "extKeyUsage",
    "2.5.29.40": "cRLStreamIdentifier",
    "2.5.29.44": "cRLScope",
    "2.5.29.45": "statusReferrals",
    "2.5.29.46": "freshestCRL",
    "2.5.29.47": "orderedList",
    "2.5.29.51": "baseUpdateTime",
    "2.5.29.53": "deltaInfo",
    "2.5.29.54": "inhibitAnyPolicy",
    "2.5.29.60": "expiredCertsOnCRL",
    "2.5.29.63": "toBeRevoked",
    "2.5.29.64": "revokedGroups",
    "2.5.29.66": "aAissuingDistributionPoint",
}

# The superblock of an image, docs/reference/index-format.md, by the offset of each field.
_SUPERBLOCK = {
    0: "magic",
    8: "major version",
    10: "minor version",
    12: "flags",
    16: "image size",
    24: "page table offset",
    32: "number of entries",
    40: "header size",
    44: "number of tables",
    48: "number of issuers",
    52: "metadata offset",
    56: "metadata size",
    60: "issuers offset",
}


def raise_for_certificate(error: Any) -> NoReturn:
    """
    Raise the exception for a certificate that the native core refused.

    Raises:
        CertificateError: always, unless memory ran out.
        MemoryError: memory ran out.
    """
    if error.status == lib.CRLCHECK_NO_MEMORY:
        raise MemoryError("no memory left to parse a certificate")
    raised = CertificateError(
        f"certificate refused: {describe(error)}",
        rule=rule_name(error.rule),
        offset=error.offset,
    )
    _add_place(raised, error)
    raise raised


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
    rule, described = rule_name(error.rule), describe(error)
    raised: MalformedCrlError | UnsupportedCrlError
    if error.status == lib.CRLCHECK_MALFORMED:
        raised = MalformedCrlError(f"malformed CRL: {described}", rule=rule, offset=error.offset)
    else:
        raised = UnsupportedCrlError(f"unsupported CRL: {described}", feature=rule)
        raised.offset = error.offset
    _add_place(raised, error)
    raise raised


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
    field = _SUPERBLOCK.get(error.offset)
    where = "" if field is None else f", in the field {field}"
    raise CorruptIndexError(f"image is corrupt: {describe(error)}{where}")
