"""Parse certificates and distribution points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from crlcheck._binding.values import (
    raise_for_certificate,
    raise_for_crl,
    to_bytes,
)
from crlcheck._native import certificate_fields, ffi, lib
from crlcheck.times import time_at
from crlcheck.types import CertificateFacts, DistributionPoint, IssuingDistributionPoint


def parse_certificate(der: bytes) -> CertificateFacts:
    """
    Read one DER certificate.

    Raises:
        CertificateError: *der* is not exactly one certificate in strict DER.
    """
    fields = certificate_fields(der)
    if fields is None:
        _refuse(der)
    (
        serial_number,
        issuer,
        subject,
        not_before,
        not_after,
        subject_public_key_info,
        authority_key_id,
        subject_key_id,
        is_ca,
        key_usage,
        points,
        authority_cert_issuer,
        authority_cert_serial_number,
    ) = fields
    return CertificateFacts(
        der,
        serial_number,
        issuer,
        subject,
        time_at(not_before),
        time_at(not_after),
        subject_public_key_info,
        authority_key_id,
        subject_key_id,
        is_ca,
        key_usage,
        tuple([DistributionPoint(*point) for point in points]) if points else (),
        authority_cert_issuer,
        authority_cert_serial_number,
    )


def _refuse(der: bytes) -> NoReturn:
    """Raise the CertificateError that says what is wrong with a certificate."""
    certificate = ffi.new("crlcheck_certificate *")
    error = ffi.new("crlcheck_error *")
    buffer = ffi.from_buffer("uint8_t[]", der)
    status = lib.crlcheck_certificate_parse(certificate, error, buffer, len(buffer))
    assert status, "it was refused before"
    raise_for_certificate(error)


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
