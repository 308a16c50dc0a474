"""
Read certificates from PEM, DER, a path or ``cryptography`` into ``CertificateFacts``.

Nothing here verifies a certificate: whoever terminated TLS must have verified
it (chain, dates, possession of the key) before it comes here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from crlcheck._binding import certificate_kind, parse_certificate
from crlcheck.encoding.pem import CERTIFICATE, looks_like_pem, only_certificate, pem_contents
from crlcheck.encoding.signed_data import is_signed_data, read_bundle
from crlcheck.errors import CertificateError
from crlcheck.types import CertificateFacts

_BEGIN = f"-----BEGIN {CERTIFICATE}-----"
# A certificate's DER in base64: a SEQUENCE of 256 bytes or more.
_BASE64 = re.compile(r"MII[A-Za-z0-9+/]{250}")
# What is surely a path: neither base64 nor a token ends so.
_PATH = re.compile(r"[\w ./-]{1,250}\.(?:pem|crt|cer|cert|der|p7b|p7c|txt)")
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
    chain that is the leaf. A PKCS #7 bundle must have one certificate only, because what is
    in it has no order. In PEM, private keys, parameters and CRLs are passed
    over; any other block that is no CERTIFICATE is an error, and so is a boundary
    that is not a line of its own (RFC 7468).

    Text from a request must be passed as bytes, so that it is never taken for
    a path.

    Raises:
        CertificateError: there is no certificate, or it is not strict DER as
            RFC 5280 4.1 defines it. So is a str that is neither PEM nor the path of a
            file; the message does not repeat it.
        OSError: the file cannot be read.
    """
    if isinstance(source, CertificateFacts):
        return _loaded_before(source)
    name, ders, largest_bundle = _read(source)
    if largest_bundle > 1:
        raise CertificateError(
            f"{name}: found PKCS #7 with {largest_bundle} certificates, expected one: they have no "
            "order, so none is the first",
            rule="several_certificates",
            found="pkcs7",
        )
    return parse_der(ders[0], name)


CertificateKind: TypeAlias = tuple[int, int, bytes]
"""
A certificate's serial number, its notAfter in seconds since 1970, and its kind: all else
on which a verdict depends that certificates have in common (``crlcheck.checker.remembered``).
"""


def read_kind(source: CertificateSource) -> tuple[bytes, CertificateKind | None]:
    """
    Return the DER and the kind of a certificate that is given in the simplest way, as DER or
    as one block of PEM; no kind for any other, which ``load_certificate`` reads or refuses.
    """
    if type(source) is bytes:
        kind = certificate_kind(source)
        if kind is not None:
            return source, kind
        der = only_certificate(source)
    elif type(source) is str:
        der = only_certificate(source.encode("utf-8", "backslashreplace"))
    else:
        der = None
    return (b"", None) if der is None else (der, certificate_kind(der))


def load_certificates(
    source: CertificateSource | Iterable[CertificateSource], *, in_order: bool = False
) -> tuple[CertificateFacts, ...]:
    """
    Read every certificate of a source, or of several sources, in their order.

    A single source is as for ``load_certificate``, but all PEM blocks count, and all
    certificates of a PKCS #7 bundle. Those have no order (RFC 5652 5.1), so a bundle is
    refused with *in_order*, which a path of certificates needs.
    As there, the certificates must already have been verified, or be trusted
    for another reason (an issuer from the operator's configuration).

    Raises:
        CertificateError: a source has no certificate, or a broken one.
        OSError: a file cannot be read; IsADirectoryError for a directory.
    """
    if isinstance(source, _SOURCE_TYPES):
        return _load_all(source, in_order=in_order)
    if hasattr(source, "read"):  # the lines of a file are no sources
        raise _wrong_type(source)
    if isinstance(source, Iterable):
        return tuple(facts for one in source for facts in _load_all(one, in_order=in_order))
    raise _wrong_type(source)


@lru_cache(maxsize=8192)
def published_certificate(der: bytes) -> CertificateFacts | None:
    """Read a certificate of a catalog; None for one that is broken, of which checkers complain."""
    try:
        return load_certificate(der)
    except CertificateError:
        return None


def _load_all(source: CertificateSource, *, in_order: bool) -> tuple[CertificateFacts, ...]:
    if isinstance(source, CertificateFacts):
        return (_loaded_before(source),)
    name, ders, largest_bundle = _read(source)
    if in_order and largest_bundle:
        raise CertificateError(
            f"{name}: found PKCS #7, expected certificates in their order, which it does not have: "
            "give them as PEM, or one by one",
            rule="several_certificates",
            found="pkcs7",
        )
    if len(ders) == 1:
        return (parse_der(ders[0], name),)
    return tuple(parse_der(der, f"{name}, number {number}") for number, der in enumerate(ders, 1))


def _loaded_before(facts: CertificateFacts) -> CertificateFacts:
    if not facts.der:  # nothing could be published or verified by these
        raise CertificateError(f"{_UNNAMED}: found facts without the DER that they were read from")
    return facts


def _read(source: CertificateSource) -> tuple[str, list[bytes], int]:
    """
    Return the name of *source* for messages, the DER of one or more certificates, and how
    many of them come from one PKCS #7 bundle, which has no order.
    """
    name, contents = _contents(source)
    if not looks_like_pem(contents):
        if is_signed_data(contents):
            ders = _read_bundle(contents, name)
            return name, ders, len(ders)
        return name, [contents], 0
    try:
        blocks, largest_bundle = pem_contents(contents, CERTIFICATE)
    except ValueError as error:
        _refuse_mistaken(contents, name, error, rule="bad_pem")
        raise CertificateError(f"{name}: {error}", rule="bad_pem") from error
    if not blocks:
        _refuse_mistaken(contents, name, None, rule="bad_pem", has_ended=True)
        raise CertificateError(
            f"{name}: found text without a certificate, expected a line {_BEGIN}", rule="bad_pem"
        )
    return name, blocks, largest_bundle


def _read_bundle(der: bytes, name: str) -> list[bytes]:
    """Return the certificates of a PKCS #7 bundle, of which there is at least one."""
    try:
        bundle = read_bundle(der)
    except ValueError as error:
        raise CertificateError(f"{name}: found {error}", rule="bad_pkcs7", found="pkcs7") from error
    if not bundle.certificates:
        _refuse_mistaken(der, name, None, rule="bad_pkcs7")
    return list(bundle.certificates)


def _refuse_mistaken(
    contents: bytes,
    name: str,
    error: Exception | None,
    *,
    rule: str,
    offset: int = 0,
    has_ended: bool = False,
) -> None:
    """
    Say what was given instead of a certificate.

    Raises:
        CertificateError: it is something else, and has a name.
    """
    # Only here, because certificates that are accepted do without it.
    from crlcheck.encoding.kinds import found_text, mistaken

    kind = mistaken(contents, "certificate", remedies=_REMEDIES)
    if kind is None or (kind.may_continue and not has_ended):
        return
    raise CertificateError(
        f"{name}: {found_text(kind, 'a certificate')}",
        rule=rule,
        offset=offset,
        found=kind.name,
        remedy=kind.remedy,
    ) from error


_REMEDIES = {"crl": "CRLs are published, with `crlcheck publish` or publish_crl"}


def _contents(source: CertificateSource) -> tuple[str, bytes]:
    """
    Return the name of *source* for messages, and its bytes.

    Raises:
        CertificateError: it is text that is neither PEM nor a path of anything.
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _UNNAMED, bytes(source)
    if isinstance(source, str) and _is_text(source):
        # What UTF-8 cannot have is no PEM either, and the reader refuses it there.
        return _UNNAMED, source.encode("utf-8", "backslashreplace")
    if isinstance(source, str):
        return source, _read_named(source)
    if isinstance(source, os.PathLike):
        return os.fspath(source), _read_path(source)
    if isinstance(source, CryptographyCertificate):
        from cryptography.hazmat.primitives.serialization import Encoding

        return _UNNAMED, source.public_bytes(Encoding.DER)
    raise _wrong_type(source)


def _read_path(path: os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        # Only here, because files that are there do without it.
        from crlcheck.encoding.paths import directory_error

        raise directory_error(path) from None


def _read_named(path: str) -> bytes:
    """
    Read the file that a str names, if there is one.

    No error repeats a str that names nothing: it may be the text of a certificate or a
    key that was not understood.
    """
    try:
        return Path(path).read_bytes()
    except IsADirectoryError:
        from crlcheck.encoding.paths import DIRECTORY

        raise CertificateError(
            f"{_UNNAMED}: found {path!r}, expected PEM or the path of a file: {DIRECTORY}",
            rule="not_a_path",
        ) from None
    except OSError as error:
        if _PATH.fullmatch(path) is not None or os.path.exists(path):  # noqa: PTH110 - any str
            what, reason = repr(path), error.strerror
        else:
            what, reason = f"a str of {len(path)} characters", "there is no such file"
    except ValueError:
        what, reason = f"a str of {len(path)} characters", "no path has a NUL"
    raise CertificateError(
        f"{_UNNAMED}: found {what}, expected PEM or the path of a file: {reason}; "
        "give contents as bytes, and a path as pathlib.Path",
        rule="not_a_path",
    )


def _is_text(source: str) -> bool:
    """Whether *source* is contents, whatever is wrong with them, rather than a path."""
    return not source or "\n" in source or "-----BEGIN" in source or bool(_BASE64.match(source))


def parse_der(der: bytes, name: str) -> CertificateFacts:
    """
    Read one certificate from its DER, and nothing else from anything else.

    Raises:
        CertificateError: it is none. The message begins with *name*.
    """
    try:
        return parse_certificate(der)
    except CertificateError as error:
        _refuse_mistaken(der, name, error, rule=error.rule, offset=error.offset)
        if name == _UNNAMED:
            raise
        named = CertificateError(f"{name}: {error}", rule=error.rule, offset=error.offset)
        if error.extension_oid is not None:
            named.extension_oid = error.extension_oid
        raise named from error


def _wrong_type(source: object) -> TypeError:
    return TypeError(
        f"certificate: found {type(source).__name__}, "
        "expected bytes, a path or a cryptography Certificate, or facts that were loaded before"
    )
