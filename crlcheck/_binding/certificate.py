"""Parse certificates and distribution points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crlcheck._binding.values import (
    raise_for_certificate,
    raise_for_crl,
    to_bytes,
    to_optional_bytes,
)
from crlcheck._native import ffi, lib
from crlcheck.encoding.serials import serial_from_octets
from crlcheck.times import time_at
from crlcheck.types import CertificateFacts, DistributionPoint, IssuingDistributionPoint


def parse_certificate(der: bytes) -> CertificateFacts:
    """
    Read one DER certificate.

    Raises:
        CertificateError: *der* is not exactly one certificate in strict DER.
    """
    certificate = ffi.new("crlcheck_certificate *")
    error = ffi.new("crlcheck_error *")
    # The slices point into this buffer, so it is kept until all are copied.
    buffer = ffi.from_buffer("uint8_t[]", der)
    if lib.crlcheck_certificate_parse(certificate, error, buffer, len(buffer)):
        raise_for_certificate(error)
    authority_serial = to_optional_bytes(certificate.authority_cert_serial)
    return CertificateFacts(
        der=der,
        serial_number=serial_from_octets(to_bytes(certificate.serial)),
        issuer=to_bytes(certificate.issuer),
        subject=to_bytes(certificate.subject),
        not_before=time_at(certificate.not_before),
        not_after=time_at(certificate.not_after),
        subject_public_key_info=to_bytes(certificate.subject_public_key_info),
        authority_key_id=to_optional_bytes(certificate.authority_key_id),
        subject_key_id=to_optional_bytes(certificate.subject_key_id),
        is_ca=certificate.is_ca,
        key_usage=certificate.key_usage if certificate.has_key_usage else None,
        distribution_points=tuple(_distribution_points(certificate.crl_distribution_points)),
        authority_cert_issuer=tuple(_elements(certificate.authority_cert_issuer)),
        authority_cert_serial_number=(
            None if authority_serial is None else serial_from_octets(authority_serial)
        ),
    )


def parse_issuing_distribution_point(der: bytes) -> IssuingDistributionPoint:
    """
    Read one whole IssuingDistributionPoint element (RFC 5280 5.2.5).

    Raises:
        MalformedCrlError: *der* is not exactly one such element in strict DER.
    """
    idp = ffi.new("crlcheck_issuing_distribution_point *")
    error = ffi.new("crlcheck_error *")
    buffer = ffi.from_buffer("uint8_t[]", der)
    if lib.crlcheck_parse_issuing_distribution_point(idp, error, buffer, len(buffer)):
        raise_for_crl(error)
    return IssuingDistributionPoint(
        point=_distribution_point(idp.point),
        only_contains_user_certs=idp.only_contains_user_certs,
        only_contains_ca_certs=idp.only_contains_ca_certs,
        only_contains_attribute_certs=idp.only_contains_attribute_certs,
        indirect_crl=idp.indirect_crl,
    )


def _distribution_points(contents: Any) -> Iterator[DistributionPoint]:
    """Walk the contents of CRLDistributionPoints, which may be missing."""
    if not contents.data:
        return
    point = ffi.new("crlcheck_distribution_point *")
    rest = ffi.new("crlcheck_slice *", contents)
    error = ffi.new("crlcheck_error *")
    while (
        status := lib.crlcheck_next_distribution_point(point, rest, error)
    ) != lib.CRLCHECK_NOT_FOUND:
        if status:
            raise_for_certificate(error)
        yield _distribution_point(point)


def _distribution_point(point: Any) -> DistributionPoint:
    return DistributionPoint(
        full_names=tuple(_elements(point.full_name)) if point.has_full_name else (),
        relative_name=to_bytes(point.relative_name) if point.has_relative_name else None,
        reasons=point.reasons if point.has_reasons else None,
        crl_issuers=tuple(_elements(point.crl_issuer)) if point.has_crl_issuer else (),
    )


def _elements(contents: Any) -> Iterator[bytes]:
    """Yield each of the DER elements in *contents* whole; none where it is absent."""
    if not contents.data:
        return
    element = ffi.new("crlcheck_slice *")
    rest = ffi.new("crlcheck_slice *", contents)
    error = ffi.new("crlcheck_error *")
    while (status := lib.crlcheck_next_element(element, rest, error)) != lib.CRLCHECK_NOT_FOUND:
        if status:
            raise_for_certificate(error)
        yield to_bytes(element)
