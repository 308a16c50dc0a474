"""
Certificates from wherever they are to ``CertificateFacts``.

Nothing here verifies a certificate: whoever terminated TLS must have verified
it (chain, dates, possession of the key) before it comes here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from crlcheck._binding import parse_certificate
from crlcheck._pem import looks_like_pem, pem_blocks
from crlcheck.errors import CertificateError
from crlcheck.types import CertificateFacts

_LABEL = "CERTIFICATE"
_BEGIN = f"-----BEGIN {_LABEL}-----"
_UNNAMED = "certificate"


@runtime_checkable
class CryptographyCertificate(Protocol):
    """A ``cryptography.x509.Certificate``, or what can be written out like one."""

    def public_bytes(self, encoding: Any) -> bytes:
        """Return the certificate in the encoding asked for."""


CertificateSource: TypeAlias = (
    bytes | bytearray | memoryview | str | os.PathLike[str] | CryptographyCertificate
)
_SOURCE_TYPES = (bytes, bytearray, memoryview, str, os.PathLike, CryptographyCertificate)


def load_certificate(source: CertificateSource) -> CertificateFacts:
    """
    Read one certificate, which must already have been verified by whoever
    terminated TLS.

    Bytes are contents, PEM or DER; a ``str`` is PEM text where it holds a
    BEGIN CERTIFICATE line, else a path, as is any ``os.PathLike``; a
    ``cryptography`` certificate is taken as it is. Of several PEM certificates
    the first counts: in a chain that is the leaf.

    Text from a request must be passed as bytes, so that it is never taken for
    a path.

    Raises:
        CertificateError: there is no certificate, or it is not strict DER as
            RFC 5280 4.1 defines it.
        OSError: the file cannot be read.
    """
    name, ders = _read(source)
    return _parse(ders[0], name)


def load_certificates(
    source: CertificateSource | Iterable[CertificateSource],
) -> tuple[CertificateFacts, ...]:
    """
    Read every certificate of a source, or of several sources, in their order.

    A single source is as for ``load_certificate``, but all PEM blocks count.
    As there, the certificates must already have been verified, or be trusted
    for another reason (an issuer from the operator's configuration).

    Raises:
        CertificateError: a source has no certificate, or a broken one.
        OSError: a file cannot be read; IsADirectoryError for a directory.
    """
    if isinstance(source, _SOURCE_TYPES):
        return _load_all(source)
    if isinstance(source, Iterable):
        return tuple(facts for one in source for facts in _load_all(one))
    raise _wrong_type(source)


def _load_all(source: CertificateSource) -> tuple[CertificateFacts, ...]:
    name, ders = _read(source)
    if len(ders) == 1:
        return (_parse(ders[0], name),)
    return tuple(_parse(der, f"{name}, number {number}") for number, der in enumerate(ders, 1))


def _read(source: CertificateSource) -> tuple[str, list[bytes]]:
    """Return what to call *source* in messages, and the DER of one or more certificates."""
    name, contents = _contents(source)
    if not looks_like_pem(contents):
        return name, [contents]
    try:
        blocks = pem_blocks(contents, _LABEL)
    except ValueError as error:
        raise CertificateError(f"{name}: {error}", rule="bad_pem") from error
    if not blocks:
        raise CertificateError(
            f"{name}: found text without a certificate, expected a line {_BEGIN}", rule="bad_pem"
        )
    return name, blocks


def _contents(source: CertificateSource) -> tuple[str, bytes]:
    """Return what to call *source* in messages, and its octets."""
    if isinstance(source, bytes | bytearray | memoryview):
        return _UNNAMED, bytes(source)
    if isinstance(source, str) and _BEGIN in source:
        return _UNNAMED, source.encode("utf-8")
    if isinstance(source, str | os.PathLike):
        return os.fspath(source), Path(source).read_bytes()
    if isinstance(source, CryptographyCertificate):
        from cryptography.hazmat.primitives.serialization import Encoding

        return _UNNAMED, source.public_bytes(Encoding.DER)
    raise _wrong_type(source)


def _parse(der: bytes, name: str) -> CertificateFacts:
    try:
        return parse_certificate(der)
    except CertificateError as error:
        if name == _UNNAMED:
            raise
        raise CertificateError(f"{name}: {error}", rule=error.rule, offset=error.offset) from error


def _wrong_type(source: object) -> TypeError:
    return TypeError(
        f"certificate: found {type(source).__name__}, "
        "expected bytes, a path or a cryptography Certificate"
    )
