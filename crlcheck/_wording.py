"""Names, times, CRLs and reasons in words that a person on call understands."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from crlcheck._metadata import ImageMetadata
from crlcheck._name import format_name
from crlcheck.types import CertificateFacts, ReasonCode, UndeterminedCause

REASON_TEXTS = {
    ReasonCode.UNSPECIFIED: "reason unspecified",
    ReasonCode.KEY_COMPROMISE: "key compromise",
    ReasonCode.CA_COMPROMISE: "CA compromise",
    ReasonCode.AFFILIATION_CHANGED: "affiliation changed",
    ReasonCode.SUPERSEDED: "superseded",
    ReasonCode.CESSATION_OF_OPERATION: "cessation of operation",
    ReasonCode.CERTIFICATE_HOLD: "on hold",
    ReasonCode.REMOVE_FROM_CRL: "removeFromCRL, which lifts nothing outside a delta CRL",
    ReasonCode.PRIVILEGE_WITHDRAWN: "privilege withdrawn",
    ReasonCode.AA_COMPROMISE: "AA compromise",
}


WAIVED_TEXTS = {
    UndeterminedCause.UNKNOWN_ISSUER: "of an unknown issuer",
    UndeterminedCause.OUT_OF_SCOPE: "without a distribution point",
    UndeterminedCause.STALE: "with a stale CRL",
    UndeterminedCause.CERTIFICATE_EXPIRED: "expired",
    UndeterminedCause.CERTIFICATE_HOLD: "on hold",
}
"""What is said of a certificate that passes although this cause applies."""


def crl_text(metadata: ImageMetadata) -> str:
    """Name a CRL in a sentence, as in ``"CRL 17 of CN=Example CA"``."""
    kind = "delta CRL" if metadata.is_delta else "CRL"
    number = f"the {kind}" if metadata.crl_number is None else f"{kind} {metadata.crl_number}"
    return f"{number} of {name_text(metadata.issuer)}"


@lru_cache(maxsize=1024)
def name_text(der: bytes) -> str:
    """Return a Name as text for people; one that cannot be read is shown in hex."""
    try:
        return format_name(der)
    except ValueError:
        return f"a malformed name ({der.hex()})"


def time_text(moment: datetime | None) -> str:
    """Return a UTC time in ISO 8601, as in ``"2026-01-02T00:00:00Z"``; nothing for None."""
    return "" if moment is None else moment.isoformat().replace("+00:00", "Z")


def subject_text(certificate: CertificateFacts) -> str:
    """Name a certificate in a sentence."""
    return f"certificate {certificate.serial_number:x} issued by {name_text(certificate.issuer)}"
