"""
Read the certificates and private keys with which OCSP responses are signed.

They lie in one directory: ``NAME.crt`` is a certificate (PEM or DER), and ``NAME.key`` its
private key. Which issuer a certificate answers for is not said anywhere: it follows from the
certificate. Section numbers are those of RFC 6960.

1. A certificate that is no CA's is a delegated responder's: it must have id-kp-OCSPSigning
   (4.2.2.2), and keyUsage, where it has it, must have digitalSignature. It answers for the
   issuer whose key signed it, and for no other.
2. A CA's certificate answers for its own key alone.
3. Without id-pkix-ocsp-nocheck (4.2.2.2.1) clients have to ask whether the responder's own
   certificate is revoked, and whom would they ask: that is a warning.
4. The file of a private key belongs to the process's own user or to root, and nobody else
   may read it.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from crlcheck.encoding.names import name_text
from crlcheck.errors import CertificateError, ResponderKeyError, naming
from crlcheck.times import time_text
from crlcheck.types import CertificateFacts
from crlcheck.x509.certificates import load_certificates
from crlcheck.x509.signatures import certificate_fault, key_fault

LOG = logging.getLogger("crlcheck.ocsp")

# A file with an RSA key of 8192 bits has 6 KB.
_MAX_KEY_FILE = 64 << 10

_CERTIFICATE, _KEY = ".crt", ".key"

# A client's clock may be so much behind.
_SOON = timedelta(days=14)

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

_CURVE_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True, eq=False)
class ResponderKey:
    """
    A certificate and its private key, which sign OCSP responses.

    ``path`` is that of the certificate. ``algorithm`` is the hash of the signature, None
    where the key has its own.
    """

    path: str
    facts: CertificateFacts
    certificate: x509.Certificate
    private_key: PrivateKey
    algorithm: hashes.HashAlgorithm | None

    @property
    def is_delegated(self) -> bool:
        """Whether the certificate is a responder's, and not the issuer's own."""
        return not self.facts.is_ca

    @property
    def issuer_name(self) -> bytes:
        """The name of the issuer for which it answers, as DER."""
        return self.facts.issuer if self.is_delegated else self.facts.subject

    def fault_of(self, issuer: CertificateFacts) -> str | None:
        """Return why it does not answer for a trusted issuer that has ``issuer_name``, or None."""
        if self.is_delegated:
            return certificate_fault(self.facts, issuer)
        if self.facts.subject_public_key_info != issuer.subject_public_key_info:
            return "its key is not that of the issuer"
        return None

    def is_valid(self, now: datetime) -> bool:
        """Whether its certificate has begun and has not expired."""
        return self.facts.not_before <= now <= self.facts.not_after


def load_responder_keys(
    directory: str | os.PathLike[str], *, now: datetime
) -> tuple[ResponderKey, ...]:
    """
    Return the pairs of a directory, and log what clients may not like about them.

    Files whose names begin with a dot are left out, as a mounted secret has them.

    Raises:
        ResponderKeyError: one cannot sign responses.
        OSError: a file cannot be read.
    """
    folder = Path(directory)
    files = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    for name, path in files.items():
        suffix = path.suffix
        other = {_CERTIFICATE: _KEY, _KEY: _CERTIFICATE}.get(suffix)
        if other is None or path.with_suffix(other).name not in files:
            raise ResponderKeyError(
                f"{path}: expected each certificate as NAME{_CERTIFICATE} and its private key as "
                f"NAME{_KEY}, found {name} " + ("alone" if other else "beside them"),
                path=str(path),
                reason="no_pair",
            )
    certificates = [path for path in files.values() if path.suffix == _CERTIFICATE]
    if not certificates:
        raise ResponderKeyError(
            f"{folder}: expected a certificate NAME{_CERTIFICATE} and its private key "
            f"NAME{_KEY}, found neither",
            path=str(folder),
            reason="no_pair",
        )
    return tuple(_load_pair(path, path.with_suffix(_KEY), now) for path in certificates)


def _load_pair(certificate_path: Path, key_path: Path, now: datetime) -> ResponderKey:
    where = str(certificate_path)
    facts = _read_certificate(certificate_path)
    private_key, algorithm = _read_key(key_path)
    public_key = private_key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    if public_key != facts.subject_public_key_info:
        raise ResponderKeyError(
            f"{key_path}: the private key is not that of the certificate in {where}",
            path=str(key_path),
            reason="other_certificate",
        )
    fault = key_fault(facts)
    if fault is not None:
        raise ResponderKeyError(f"{where}: {fault}", path=where, reason="unsupported_key")
    try:
        certificate = x509.load_der_x509_certificate(facts.der)
    except ValueError as error:
        raise _unreadable(where, error) from error
    if not facts.is_ca:
        _check_delegated(certificate, facts, where)
    if not facts.not_before <= now <= facts.not_after:
        raise ResponderKeyError(
            f"{where}: expected a certificate that is valid now, found one valid from "
            f"{time_text(facts.not_before)} to {time_text(facts.not_after)}",
            path=where,
            reason="certificate_dates",
        )
    if facts.not_after - now < _SOON:
        LOG.warning("%s: the certificate expires at %s", where, time_text(facts.not_after))
    return ResponderKey(where, facts, certificate, private_key, algorithm)


def _read_certificate(path: Path) -> CertificateFacts:
    try:
        found = load_certificates(path)
    except CertificateError as error:
        raise ResponderKeyError(str(error), path=str(path), reason="not_a_certificate") from error
    if len(found) != 1:
        raise ResponderKeyError(
            f"{path}: expected the responder's certificate alone, found {len(found)} certificates",
            path=str(path),
            reason="not_a_certificate",
        )
    return found[0]


def _check_delegated(certificate: x509.Certificate, facts: CertificateFacts, where: str) -> None:
    """
    Refuse the certificate of a delegated responder that no client would accept.

    Raises:
        ResponderKeyError: it is one.
    """
    try:
        usages = {one.oid: one.value for one in certificate.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _unreadable(where, error) from error
    purposes = usages.get(x509.ExtendedKeyUsage.oid)
    if (
        not isinstance(purposes, x509.ExtendedKeyUsage)
        or ExtendedKeyUsageOID.OCSP_SIGNING not in purposes
    ):
        raise ResponderKeyError(
            f"{where}: expected the certificate of a CA, or one whose extendedKeyUsage has "
            "id-kp-OCSPSigning (RFC 6960 4.2.2.2)",
            path=where,
            reason="not_a_responder",
        )
    if facts.key_usage is not None and not facts.key_usage & 1:
        raise ResponderKeyError(
            f"{where}: its keyUsage does not have digitalSignature, so its key may not sign "
            "responses",
            path=where,
            reason="not_a_responder",
        )
    if x509.OCSPNoCheck.oid not in usages:
        LOG.warning(
            "%s: the certificate does not have id-pkix-ocsp-nocheck (RFC 6960 4.2.2.2.1), so "
            "clients may ask whether it is revoked itself, and refuse it where nobody says",
            where,
        )


def _unreadable(where: str, error: Exception) -> ResponderKeyError:
    return ResponderKeyError(
        f"{where}: the certificate cannot be read ({type(error).__name__})",
        path=where,
        reason="not_a_certificate",
    )


def _read_key(path: Path) -> tuple[PrivateKey, hashes.HashAlgorithm | None]:
    body = _read_private(path)
    if b"ENCRYPTED" in body:
        raise ResponderKeyError(
            f"{path}: the private key has a passphrase: expected one without, in a file of mode "
            "0600",
            path=str(path),
            reason="encrypted_private_key",
        )
    try:
        key = load_pem_private_key(body, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # What the library says may quote the key.
        raise ResponderKeyError(
            f"{path}: expected a private key in PEM, found something else",
            path=str(path),
            reason="not_a_private_key",
        ) from error
    if isinstance(key, rsa.RSAPrivateKey):
        return key, hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVE_HASHES:
        return key, _CURVE_HASHES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return key, None
    raise ResponderKeyError(
        f"{path}: expected an RSA key, one on P-256, P-384 or P-521, Ed25519 or Ed448",
        path=str(path),
        reason="unsupported_key",
    )


def _read_private(path: Path) -> bytes:
    """Return the content of a private key's file, if nobody else may read it."""
    with naming(path), path.open("rb") as file:
        status = os.fstat(file.fileno())
        body = file.read(_MAX_KEY_FILE)
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        raise ResponderKeyError(
            f"{path}: others than its owner may use this private key: expected a file of mode "
            f"0600 or less, found {stat.S_IMODE(status.st_mode):04o}",
            path=str(path),
            reason="key_rights",
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise ResponderKeyError(
            f"{path}: this private key belongs to user {status.st_uid}: expected user "
            f"{os.geteuid()}, who runs this process, or root",
            path=str(path),
            reason="key_rights",
        )
    return body


def describe(key: ResponderKey) -> str:
    """Return in words which certificate it is and for which name it answers."""
    return f"{key.path} (for {name_text(key.issuer_name)})"
