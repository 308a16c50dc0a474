"""Put certificates, CRLs, scopes and reasons into words that a person on call understands."""

from __future__ import annotations

from collections.abc import Sequence

from crlcheck.encoding.names import directory_name, name_text, uniform_resource_identifier
from crlcheck.types import (
    CertificateFacts,
    DistributionPoint,
    ImageMetadata,
    IssuingDistributionPoint,
    ReasonCode,
    UndeterminedCause,
)
from crlcheck.x509.distribution_points import read_issuing_distribution_point

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
"""The words for a certificate that passes although this cause applies."""


def crl_text(metadata: ImageMetadata) -> str:
    """Return a CRL as part of a sentence, as in ``"CRL 17 of CN=Example CA"``."""
    kind = "delta CRL" if metadata.is_delta else "CRL"
    number = f"the {kind}" if metadata.crl_number is None else f"{kind} {metadata.crl_number}"
    return f"{number} of {name_text(metadata.issuer)}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, as in ``"1,000 entries"``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def some_of(names: Sequence[str], limit: int) -> str:
    """Return the first *limit* names, and how many there are besides: ``"a, b and 7 more"``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more:,} more" if more > 0 else "")


def subject_text(certificate: CertificateFacts) -> str:
    """Return a certificate as part of a sentence. A CA's has its name: it is not the client's."""
    serial_number, issuer = f"{certificate.serial_number:x}", name_text(certificate.issuer)
    if certificate.is_ca:
        serial_number += f" (the CA {name_text(certificate.subject)})"
    return f"certificate {serial_number} issued by {issuer}"


# ---- distribution points -------------------------------------------------------

_MOST_NAMES = 3
_LONGEST_NAME = 200


def points_text(points: Sequence[DistributionPoint]) -> str:
    """Return the first few distribution points of a certificate as part of a sentence."""
    names: list[str] = []
    for point in points:
        if len(names) > _MOST_NAMES:
            break
        names.extend(_point_names(point))
        issuers = point.crl_issuers[:_MOST_NAMES]
        names.extend(f"CRLs by {_clipped(general_name_text(name))}" for name in issuers)
    return _listed(names)


def scope_text(metadata: ImageMetadata) -> str:
    """Return as part of a sentence which certificates of its issuer a CRL covers."""
    if metadata.is_delta:
        return "certificates of the complete CRL that it belongs to"
    der = metadata.issuing_distribution_point
    idp = None if der is None else read_issuing_distribution_point(der)
    if der is None:
        return "all certificates"
    if idp is None:
        return f"an extension that cannot be read ({_clipped(der.hex())})"
    return _listed([*_point_names(idp.point), *restriction_texts(idp)]) or "all certificates"


def names_point(metadata: ImageMetadata) -> bool:
    """Whether a CRL names a distribution point."""
    der = metadata.issuing_distribution_point
    idp = None if der is None else read_issuing_distribution_point(der)
    return idp is not None and bool(_point_names(idp.point))


def restriction_texts(idp: IssuingDistributionPoint) -> list[str]:
    """Return the restrictions of a CRL to some of its issuer's certificates, except names."""
    restrictions = {
        "user certificates only": idp.only_contains_user_certs,
        "CA certificates only": idp.only_contains_ca_certs,
        "attribute certificates only": idp.only_contains_attribute_certs,
        "some reasons only": idp.point.reasons is not None,
        "indirect: entries of other issuers too": idp.indirect_crl,
    }
    return [words for words, holds in restrictions.items() if holds]


def general_name_text(element: bytes) -> str:
    """Return a GeneralName as text: URIs and directory names as such, others in hex."""
    uri = uniform_resource_identifier(element)
    if uri is not None:
        return printable(uri.decode("ascii", "backslashreplace"))
    name = directory_name(element)
    return element.hex() if name is None else name_text(name)


def printable(text: str) -> str:
    """Return *text* with unprintable characters escaped: it may be from an attacker."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _point_names(point: DistributionPoint) -> list[str]:
    names = [_clipped(general_name_text(name)) for name in point.full_names[: _MOST_NAMES + 1]]
    if point.relative_name is not None:
        names.append(f"a name relative to the issuer's ({_clipped(point.relative_name.hex())})")
    return names


def _listed(names: Sequence[str]) -> str:
    more = " and more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
