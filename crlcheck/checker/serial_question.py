"""Make the certificates that may have a serial number, so that they can be checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from crlcheck.encoding.names import canonical_name, general_name_of_uri
from crlcheck.types import CertificateFacts, CheckResult, DistributionPoint, several
from crlcheck.x509.certificates import CertificateSource, load_certificate


@dataclass(frozen=True, slots=True)
class SerialStatus:
    """
    What ``check_serial`` returns, and what a statement for others needs beside it.

    ``at`` is the time of the check. ``next_update`` is the first nextUpdate to come among the
    CRLs by which the certificate is NOT_REVOKED; None where it is not, or where none has
    one. ``denied_at`` is when an operator denied the certificate that decided, and
    ``denied_until`` when that ends; None where no denial decided, or where it does not end.
    """

    result: CheckResult
    at: datetime
    next_update: datetime | None = None
    denied_at: datetime | None = None
    denied_until: datetime | None = None


def read_issuer(source: CertificateSource) -> tuple[bytes, CertificateFacts | None]:
    """
    Return an issuer's Name, and its certificate where *source* is one.

    Raises:
        CertificateError: it is neither a Name as DER nor a certificate.
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        octets = bytes(source)
        try:
            canonical_name(octets)
        except ValueError:
            pass
        else:
            return octets, None
    certificate = load_certificate(source)
    return certificate.subject, certificate


def read_points(points: Iterable[DistributionPoint | str]) -> tuple[DistributionPoint, ...]:
    """
    Return distribution points; text is the URI of one.

    Raises:
        ValueError: a URI is empty, or not ASCII.
        TypeError: *points* is a single one, or one of them is something else.
    """
    return tuple(map(_point, several("distribution_points", points)))


def _point(point: DistributionPoint | str) -> DistributionPoint:
    if isinstance(point, str):
        if not point:  # as a shell variable that is not set gives
            raise ValueError("distribution_points: found an empty text, expected a URI")
        return DistributionPoint((general_name_of_uri(point),))
    if isinstance(point, DistributionPoint):
        return point
    raise TypeError(
        f"distribution_points: found {type(point).__name__}, expected DistributionPoint or a URI"
    )


def possible_certificates(
    issuer: bytes,
    serial_number: int,
    *,
    distribution_points: tuple[DistributionPoint, ...],
    not_after: datetime | None,
    is_ca: bool | None,
) -> tuple[CertificateFacts, ...]:
    """
    Return one certificate of each kind that is possible. The verdict must hold for
    all of them.

    Without *not_after* they never expire. Otherwise no serial number could be
    cleared, because CAs drop the entries of expired certificates.

    Raises:
        TypeError: *serial_number* is no integer.
        ValueError: *not_after* has no time zone.
    """
    if not isinstance(serial_number, int):
        raise TypeError(f"serial_number: expected int, found {type(serial_number).__name__}")
    if not_after is None:
        not_after = datetime.max.replace(tzinfo=UTC)
    elif not_after.tzinfo is None:
        raise ValueError(f"not_after: expected an aware datetime, found {not_after!r}")
    return tuple(
        CertificateFacts(
            der=b"",
            serial_number=serial_number,
            issuer=issuer,
            subject=b"",
            not_before=datetime.min.replace(tzinfo=UTC),
            not_after=not_after,
            subject_public_key_info=b"",
            authority_key_id=None,
            subject_key_id=None,
            is_ca=kind,
            key_usage=None,
            distribution_points=distribution_points,
        )
        for kind in ((False, True) if is_ca is None else (is_ca,))
    )
