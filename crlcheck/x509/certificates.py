"""
Read certificates from PEM, DER, a path or ``cryptography`` into ``CertificateFacts``.

Nothing here verifies a certificate: whoever terminated TLS must have verified
it (chain, dates, possession of the key) before it comes here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from crlcheck._binding import parse_certificate
from crlcheck.encoding.pem import CERTIFICATE, looks_like_pem, pem_blocks
from crlcheck.errors import CertificateError
from crlcheck.types import CertificateFacts

_BEGIN = f"-----BEGIN {CERTIFICATE}-----"
# A certificate's DER in base64: a SEQUENCE of 256 bytes or more.
_BASE64 = re.compile(r"MII[A-Za-z0-9+/]{250}")
_UNNAMED = "certificate"


@runtime_checkable
class CryptographyCertificate(Protocol):
    """A ``cryptography.x509.Certificate``, or what can be written out like one."""

    def public_bytes(self, encoding: Any) -> bytes:
        """Return the certificate in the encoding asked for."""


CertificateSource: TypeAlias = (
    bytes
    | bytearray
    | memoryview
    | str
    | os.PathLike[str]
    | CryptographyCertificate
    | CertificateFacts
)
_SOURCE_TYPES = (
    bytes,
    bytearray,
    memoryview,
    str,
    os.PathLike,
    CryptographyCertificate,
    CertificateFacts,
)


def load_certificate(source: CertificateSource) -> CertificateFacts:
    """
    Read one certificate, which must already have been verified by whoever
    terminated TLS.

    Bytes are contents, PEM or DER; a ``str`` is PEM text where it holds a PEM
    boundary or several lines, else a path, as is any ``os.PathLike``; a
    ``cryptography`` certificate is taken as it is, and so is what was loaded
    before, which costs nothing. Of several PEM certificates the first counts: in a
    chain that is the leaf. In PEM, private keys, parameters and CRLs are passed
    over; any other block that is no CERTIFICATE is an error, and so is a boundary
    that is not a line of its own (RFC 7468).

    Text from a request must be passed as bytes, so that it is never taken for
    a path.

    Raises:
        CertificateError: there is no certificate, or it is not strict DER as
            RFC 5280 4.1 defines it.
        OSError: the file cannot be read.
    """
    if isinstance(source, CertificateFacts):
        return _loaded_before(source)
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


def published_certificate(der: bytes) -> CertificateFacts | None:
    """Read a certificate of a catalog; None for one that is broken, of which checkers complain."""
    try:
        return load_certificate(der)
    except CertificateError:
        return None


def _load_all(source: CertificateSource) -> tuple[CertificateFacts, ...]:
    if isinstance(source, CertificateFacts):
        return (_loaded_before(source),)
    name, ders = _read(source)
    if len(ders) == 1:
        return (_parse(ders[0], name),)
    return tuple(_parse(der, f"{name}, number {number}") for number, der in enumerate(ders, 1))


def _loaded_before(facts: CertificateFacts) -> CertificateFacts:
    if not facts.der:  # nothing could be published or verified by these
        raise CertificateError(f"{_UNNAMED}: found facts without the DER that they were read from")
    return facts


def _read(source: CertificateSource) -> tuple[str, list[bytes]]:
    """Return the name of *source* for messages, and the DER of one or more certificates."""
    name, contents = _contents(source)
    if not looks_like_pem(contents):
        return name, [contents]
    try:
        blocks = pem_blocks(contents, CERTIFICATE)
    except ValueError as error:
        raise CertificateError(f"{name}: {error}", rule="bad_pem") from error
    if not blocks:
        raise CertificateError(
            f"{name}: found text without a certificate, expected a line {_BEGIN}", rule="bad_pem"
        )
    return name, blocks


def _contents(source: CertificateSource) -> tuple[str, bytes]:
    """Return the name of *source* for messages, and its bytes."""
    if isinstance(source, bytes | bytearray | memoryview):
        return _UNNAMED, bytes(source)
    if isinstance(source, str) and _is_text(source):
        # What UTF-8 cannot have is no PEM either, and the reader refuses it there.
        return _UNNAMED, source.encode("utf-8", "backslashreplace")
    if isinstance(source, str | os.PathLike):
        return os.fspath(source), Path(source).read_bytes()
    if isinstance(source, CryptographyCertificate):
        from cryptography.hazmat.primitives.serialization import Encoding

        return _UNNAMED, source.public_bytes(Encoding.DER)
    raise _wrong_type(source)


def _is_text(source: str) -> bool:
    """Whether *source* is contents, whatever is wrong with them, rather than a path."""
    return not source or "\n" in source or "-----BEGIN" in source or bool(_BASE64.match(source))


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
        "expected bytes, a path or a cryptography Certificate, or facts that were loaded before"
    )
