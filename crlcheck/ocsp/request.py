"""
Read OCSP requests (RFC 6960 4.1).

``cryptography`` parses them, and it is strict: DER only, nothing behind the request, one
CertID. What it does not decide is decided here:

1. A serial number is not negative, because no certificate of RFC 5280 has such a one, and
   ``cryptography`` writes none. It has at most 64 bytes, as in a CRL that is read.
2. A nonce has 1 to 128 bytes in an OCTET STRING (RFC 9654 2.1). ``cryptography`` also
   takes one without it, as in RFC 2560, but would answer it with another encoding.
3. A critical extension that is not known refuses the request. ``cryptography`` shows those
   of the request, not those of its CertID, which the RFC never makes critical.
4. A signature of the request is not looked at: everybody may ask (RFC 5019 2.1.2).
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from cryptography.x509.oid import OCSPExtensionOID

MAX_REQUEST = 8 << 10
"""Bytes of the largest request that is read. A client asks with about a hundred."""

MAX_SERIAL_BITS = 64 * 8 - 1
"""Bits of the largest serial number, beside its sign; RFC 5280 has 20 bytes."""

MAX_NONCE = 128
"""Bytes of the longest nonce (RFC 9654 2.1)."""

_REFUSED = (
    ValueError,
    TypeError,
    NotImplementedError,  # more than one CertID
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class OcspRequestError(ValueError):
    """The bytes are no request, or one that is refused. The message repeats none of them."""


class CertId(NamedTuple):
    """
    Which certificate a request is about (RFC 6960 4.1.1).

    ``algorithm`` is the hash with which the issuer's name and key were hashed, None for
    one that is not known.
    """

    algorithm: hashes.HashAlgorithm | None
    name_hash: bytes
    key_hash: bytes
    serial_number: int


class OcspRequest(NamedTuple):
    """A request: its CertID and its nonce, None without one."""

    cert_id: CertId
    nonce: bytes | None


def read_request(body: bytes) -> OcspRequest:
    """
    Read a request.

    Raises:
        OcspRequestError: it is none, or one that is refused.
    """
    if len(body) > MAX_REQUEST:
        raise OcspRequestError(f"expected at most {MAX_REQUEST} bytes, found {len(body)}")
    try:
        request = ocsp.load_der_ocsp_request(body)
        serial_number = request.serial_number
        extensions = list(request.extensions)
    except _REFUSED as error:
        # A message of the library may quote the request.
        raise OcspRequestError(f"no OCSPRequest in DER: {type(error).__name__}") from error
    if serial_number < 0:
        raise OcspRequestError("the serial number is negative")
    if serial_number.bit_length() > MAX_SERIAL_BITS:
        raise OcspRequestError("the serial number has more than 64 bytes")
    return OcspRequest(
        CertId(
            _algorithm(request), request.issuer_name_hash, request.issuer_key_hash, serial_number
        ),
        _nonce(extensions, body),
    )


def _algorithm(request: ocsp.OCSPRequest) -> hashes.HashAlgorithm | None:
    try:
        return request.hash_algorithm
    except UnsupportedAlgorithm:
        return None


def _nonce(extensions: list[x509.Extension[x509.ExtensionType]], body: bytes) -> bytes | None:
    """Return the nonce among a request's extensions, None without one."""
    found = None
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.OCSPNonce):
            found = value
        elif extension.critical and extension.oid != OCSPExtensionOID.ACCEPTABLE_RESPONSES:
            raise OcspRequestError("a critical extension is not known")
    if found is None:
        return None
    if not 1 <= len(found.nonce) <= MAX_NONCE:
        raise OcspRequestError(
            f"expected a nonce of 1 to {MAX_NONCE} bytes, found {len(found.nonce)}"
        )
    inner = found.public_bytes()
    length = bytes([len(inner)]) if len(inner) < 0x80 else bytes([0x81, len(inner)])
    if b"\x04" + length + inner not in body:
        raise OcspRequestError("the nonce is no OCTET STRING")
    return found.nonce


def request_in_path(path: bytes) -> bytes:
    """
    Return the request in what follows ``/ocsp`` in the path of a GET (RFC 6960 A.1).

    It is base64, and whole or in part URL-encoded. Slashes before it are left out: clients
    join a responder's URL and the request with one of their own, and a request in base64
    begins with another character. Slashes inside are part of it, two together as well.

    Raises:
        OcspRequestError: it is something else.
    """
    text = unquote_to_bytes(path).lstrip(b"/")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise OcspRequestError("the path has no base64") from error
