"""Compile every CRL of NIST's Public Key Interoperability Test Suite (PKITS)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from crlcheck.compiler.compile import compile_crl
from crlcheck.errors import (
    CertificateError,
    CrlError,
    CrlSignatureError,
    MalformedCrlError,
    UnsupportedCrlError,
)
from crlcheck.x509.certificates import load_certificate


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A CRL that was refused.

    ``name`` is the file's, ``reason`` the error's stable word (a rule, a
    feature or a signature's flaw), ``message`` its sentence.
    """

    name: str
    error: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class PkitsReport:
    """The outcomes of the CRLs. Each one is either compiled or refused."""

    num_issuers: int
    compiled: tuple[str, ...]
    refused: tuple[Refusal, ...]
    seconds: float

    @property
    def num_crls(self) -> int:
        """How many CRLs there were."""
        return len(self.compiled) + len(self.refused)


def pkits_directory() -> Path:
    """Return where the package ``cryptography-vectors`` keeps PKITS."""
    import cryptography_vectors

    return Path(str(cryptography_vectors.__file__)).parent / "x509" / "PKITS_data"


def compile_all(directory: Path) -> PkitsReport:
    """
    Compile every CRL below *directory* against the issuer certificates there.

    Any exception other than CrlError is a defect, and is raised.
    """
    issuers = _issuers(directory / "certs")
    started = time.perf_counter()
    compiled: list[str] = []
    refused: list[Refusal] = []
    for path in sorted((directory / "crls").iterdir()):
        try:
            compile_crl(path, issuer=issuers)
        except CrlError as error:
            refused.append(Refusal(path.name, type(error).__name__, _reason_of(error), str(error)))
        else:
            compiled.append(path.name)
    seconds = time.perf_counter() - started
    return PkitsReport(len(issuers), tuple(compiled), tuple(refused), seconds)


def _issuers(directory: Path) -> list[bytes]:
    """Return the certificates of CAs and CRL signers."""
    found = []
    for path in sorted(directory.iterdir()):
        try:
            certificate = load_certificate(path)
        except CertificateError:
            continue  # a broken one is trusted for nothing
        if certificate.is_ca or certificate.may_sign_crls:
            found.append(certificate.der)
    return found


def _reason_of(error: CrlError) -> str:
    match error:
        case MalformedCrlError():
            return error.rule
        case UnsupportedCrlError():
            return error.feature
        case CrlSignatureError():
            return error.reason
    return ""
