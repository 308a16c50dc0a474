"""Distribution points of certificates and of CRLs, and the bugs others had there."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from crlcheck._binding import parse_certificate, parse_issuing_distribution_point
from crlcheck.demo.encoding import der, der_oid
from crlcheck.errors import CertificateError, MalformedCrlError
from crlcheck.types import DistributionPoint, IssuingDistributionPoint
from support.certificate_der import (
    ISSUER,
    encode_attribute,
    full_name_point,
    with_distribution_points,
)

URI = der(0x86, b"http://ca.example/a.crl")
DIRECTORY_NAME = der(0xA4, ISSUER)
ATTRIBUTE = encode_attribute("shard 1")

# A GeneralName of each kind (RFC 5280 4.2.1.6), the odd ones with odd contents.
GENERAL_NAMES = {
    "otherName": der(0xA0, der_oid("1.2.3"), der(0xA0, der(0x0C, b"x"))),
    "rfc822Name": der(0x81, b"crl@ca.example"),
    "dNSName": der(0x82, b"ca.example"),
    "x400Address": der(0xA3, der(0x30, der(0x61, b"\x13\x02US"))),
    "x400Address_of_string_type": der(0xA3, b"\xff" * 40),
    "directoryName": DIRECTORY_NAME,
    "directoryName_without_rdn": der(0xA4, der(0x30)),
    "ediPartyName": der(0xA5, der(0xA0, der(0x0C, b"a")), der(0xA1, der(0x0C, b"b"))),
    "ediPartyName_without_assigner": der(0xA5, der(0xA1, der(0x0C, b"b"))),
    "uniformResourceIdentifier": URI,
    "iPAddress": der(0x87, b"\x7f\x00\x00\x01"),
    "registeredID": der(0x88, b"\x2a\x03"),
    "empty_uri": der(0x86),
}


def certificate_points(*points: bytes) -> tuple[DistributionPoint, ...]:
    """What is read of these DistributionPoints in a certificate."""
    return parse_certificate(with_distribution_points(*points)).distribution_points


@pytest.mark.parametrize("name", GENERAL_NAMES.values(), ids=GENERAL_NAMES)
def test_general_names_of_every_kind_are_kept_whole(name: bytes) -> None:
    """
    x400Address and ediPartyName are opaque octets, in certificates and CRLs
    alike: reading them as something else was CVE-2023-0286 and CVE-2020-1971.
    """
    expected = DistributionPoint(full_names=(name, URI), crl_issuers=(name,))
    point = full_name_point(name, URI, rest=der(0xA2, name))
    assert certificate_points(point) == (expected,)
    idp = der(0x30, der(0xA0, der(0xA0, name, URI)))
    assert parse_issuing_distribution_point(idp).point == DistributionPoint(full_names=(name, URI))


def test_every_point_is_read() -> None:
    """
    The second point counts as the first does: passing over it let revoked
    certificates through (RUSTSEC-2026-0049).
    """
    points = certificate_points(
        full_name_point(URI),
        der(0x30, der(0xA0, der(0xA1, ATTRIBUTE)), der(0xA2, DIRECTORY_NAME)),
        full_name_point(DIRECTORY_NAME, rest=der(0x81, b"\x07\x00\x80")),
        der(0x30, der(0xA2, DIRECTORY_NAME, URI)),
    )
    assert points == (
        DistributionPoint(full_names=(URI,)),
        DistributionPoint(relative_name=ATTRIBUTE, crl_issuers=(DIRECTORY_NAME,)),
        DistributionPoint(full_names=(DIRECTORY_NAME,), reasons=1 << 8),
        DistributionPoint(crl_issuers=(DIRECTORY_NAME, URI)),
    )


def test_many_relative_names_take_memory_in_proportion() -> None:
    """
    A relative name is kept as its own octets, not joined to the issuer's name
    for every point: CVE-2026-35189 was hundreds of MiB from 100 KiB.
    """
    point = der(0x30, der(0xA0, der(0xA1, encode_attribute(""))))
    certificate = with_distribution_points(*[point] * (100 * 1024 // len(point)))
    tracemalloc.start()
    try:
        facts = parse_certificate(certificate)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(facts.distribution_points) > 5000
    assert peak < 40 * len(certificate)


# DistributionPoints, and names in them, that break a rule.
BROKEN_POINTS = {
    "empty_point": (der(0x30), "bad_extension"),
    "reasons_only": (der(0x30, der(0x81, b"\x01\x06")), "bad_extension"),
    "not_a_sequence": (der(0x31), "wrong_tag"),
    "empty_choice": (der(0x30, der(0xA0)), "truncated"),
    "unknown_choice": (der(0x30, der(0xA0, der(0xA2, URI))), "wrong_tag"),
    "two_choices": (
        der(0x30, der(0xA0, der(0xA0, URI), der(0xA1, ATTRIBUTE))),
        "trailing_data",
    ),
    "no_name": (full_name_point(), "truncated"),
    "no_relative_name": (der(0x30, der(0xA0, der(0xA1))), "truncated"),
    "no_issuer": (full_name_point(URI, rest=der(0xA2)), "truncated"),
    "relative_name_that_is_a_name": (der(0x30, der(0xA0, der(0xA1, ISSUER))), "wrong_tag"),
    "unknown_general_name": (full_name_point(der(0x89)), "wrong_tag"),
    "universal_tag": (full_name_point(der(0x0C, b"x")), "wrong_tag"),
    "constructed_uri": (full_name_point(der(0xA6, URI)), "wrong_tag"),
    "primitive_directory_name": (full_name_point(der(0x84, ISSUER)), "wrong_tag"),
    "directory_name_without_name": (full_name_point(der(0xA4)), "truncated"),
    "two_directory_names": (full_name_point(der(0xA4, ISSUER, ISSUER)), "trailing_data"),
    "name_longer_than_its_point": (full_name_point(b"\x86\x7fx"), "length_overrun"),
    "reasons_without_any_octet": (full_name_point(URI, rest=der(0x81)), "bad_bit_string"),
    "reasons_without_a_reason": (full_name_point(URI, rest=der(0x81, b"\x00")), "bad_bit_string"),
    "reasons_of_unused_bits_only": (
        full_name_point(URI, rest=der(0x81, b"\x07")),
        "bad_bit_string",
    ),
    "reasons_with_trailing_zeros": (
        full_name_point(URI, rest=der(0x81, b"\x00\x40")),
        "bad_bit_string",
    ),
    "fields_out_of_order": (
        der(0x30, der(0xA2, DIRECTORY_NAME), der(0xA0, der(0xA0, URI))),
        "trailing_data",
    ),
    "unknown_field": (full_name_point(URI, rest=der(0x83, b"\xff")), "trailing_data"),
}


@pytest.mark.parametrize(("point", "rule"), BROKEN_POINTS.values(), ids=BROKEN_POINTS)
def test_a_broken_point_refuses_the_certificate(point: bytes, rule: str) -> None:
    """
    A point is never half read: the certificate is refused, wherever the point stands.
    """
    for points in ([point], [full_name_point(URI), point]):
        with pytest.raises(CertificateError) as caught:
            certificate_points(*points)
        assert caught.value.rule == rule


def test_an_empty_list_of_points_is_refused() -> None:
    """
    CRLDistributionPoints has at least one point (RFC 5280 4.2.1.13).
    """
    with pytest.raises(CertificateError) as caught:
        certificate_points()
    assert caught.value.rule == "truncated"


# ---- issuingDistributionPoint --------------------------------------------------

NAME = der(0xA0, der(0xA0, URI))
TRUE = b"\xff"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([NAME], IssuingDistributionPoint(DistributionPoint((URI,)))),
        (
            [der(0xA0, der(0xA1, ATTRIBUTE))],
            IssuingDistributionPoint(DistributionPoint(relative_name=ATTRIBUTE)),
        ),
        (
            [der(0x81, TRUE)],
            IssuingDistributionPoint(DistributionPoint(), only_contains_user_certs=True),
        ),
        (
            [der(0x82, TRUE)],
            IssuingDistributionPoint(DistributionPoint(), only_contains_ca_certs=True),
        ),
        (
            [der(0x85, TRUE)],
            IssuingDistributionPoint(DistributionPoint(), only_contains_attribute_certs=True),
        ),
        (
            [NAME, der(0x82, TRUE), der(0x83, b"\x01\x06"), der(0x84, TRUE)],
            IssuingDistributionPoint(
                DistributionPoint((URI,), reasons=0b110_0000),
                only_contains_ca_certs=True,
                indirect_crl=True,
            ),
        ),
    ],
)
def test_an_issuing_distribution_point_is_read(
    fields: list[bytes], expected: IssuingDistributionPoint
) -> None:
    """
    Every field has its own tag and comes out as it was written (RFC 5280 5.2.5).
    """
    assert parse_issuing_distribution_point(der(0x30, *fields)) == expected


BROKEN_IDPS = {
    "nothing": (b"", "truncated"),
    "empty": (der(0x30), "bad_extension"),
    "octets_after_it": (der(0x30, NAME) + b"\x00", "trailing_data"),
    "user_and_ca": (der(0x30, der(0x81, TRUE), der(0x82, TRUE)), "bad_extension"),
    "ca_and_attribute": (der(0x30, der(0x82, TRUE), der(0x85, TRUE)), "bad_extension"),
    "false_spelled_out": (der(0x30, NAME, der(0x81, b"\x00")), "bad_boolean"),
    "boolean_of_one": (der(0x30, der(0x84, b"\x01")), "bad_boolean"),
    "boolean_of_nothing": (der(0x30, der(0x84)), "bad_boolean"),
    "reasons_without_any_octet": (der(0x30, NAME, der(0x83)), "bad_bit_string"),
    "reasons_without_a_reason": (der(0x30, NAME, der(0x83, b"\x00")), "bad_bit_string"),
    "reasons_of_unused_bits_only": (der(0x30, NAME, der(0x83, b"\x07")), "bad_bit_string"),
    "fields_out_of_order": (der(0x30, der(0x84, TRUE), der(0x81, TRUE)), "trailing_data"),
    "unknown_field": (der(0x30, NAME, der(0x86, TRUE)), "trailing_data"),
    "universal_boolean": (der(0x30, der(0x01, TRUE)), "trailing_data"),
}


@pytest.mark.parametrize(("idp", "rule"), BROKEN_IDPS.values(), ids=BROKEN_IDPS)
def test_a_broken_issuing_distribution_point_is_refused(idp: bytes, rule: str) -> None:
    """
    What cannot be read for certain would give a CRL the wrong scope; an empty
    list of reasons must be refused, not crash (RUSTSEC-2026-0104).
    """
    with pytest.raises(MalformedCrlError) as caught:
        parse_issuing_distribution_point(idp)
    assert caught.value.rule == rule


REASONS = [
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.ca_compromise,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.privilege_withdrawn,
    x509.ReasonFlags.aa_compromise,
]


@given(
    st.sampled_from([None, "full", "relative"]),
    st.sampled_from([None, "user", "ca", "attribute"]),
    st.sets(st.sampled_from(REASONS)),
    st.booleans(),
)
def test_it_is_read_as_cryptography_writes_it(
    name: str | None, kind: str | None, reasons: set[x509.ReasonFlags], indirect: bool
) -> None:
    """
    Every combination that another library writes is read back field by field.
    """
    if not (name or kind or reasons or indirect):
        return
    idp = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://ca.example/a.crl")]
        if name == "full"
        else None,
        relative_name=x509.RelativeDistinguishedName(
            [x509.NameAttribute(x509.NameOID.COMMON_NAME, "shard 1")]
        )
        if name == "relative"
        else None,
        only_contains_user_certs=kind == "user",
        only_contains_ca_certs=kind == "ca",
        only_contains_attribute_certs=kind == "attribute",
        only_some_reasons=frozenset(reasons) or None,
        indirect_crl=indirect,
    )
    mask = sum(1 << REASONS.index(reason) + 1 for reason in reasons)
    assert parse_issuing_distribution_point(idp.public_bytes()) == IssuingDistributionPoint(
        DistributionPoint(
            full_names=(URI,) if name == "full" else (),
            relative_name=ATTRIBUTE if name == "relative" else None,
            reasons=mask or None,
        ),
        only_contains_user_certs=kind == "user",
        only_contains_ca_certs=kind == "ca",
        only_contains_attribute_certs=kind == "attribute",
        indirect_crl=indirect,
    )


@given(st.data())
def test_mutated_points_are_read_or_refused(data: st.DataObject) -> None:
    """
    Any octets in place of an issuingDistributionPoint are read or refused.
    """
    mutated = bytearray(der(0x30, NAME, der(0x82, TRUE), der(0x83, b"\x01\x06"), der(0x84, TRUE)))
    for _ in itertools.repeat(None, data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_issuing_distribution_point(bytes(mutated))
    except MalformedCrlError as error:
        assert error.rule not in {"none", "unknown"}  # noqa: PT017
    else:
        assert all(name in mutated for name in found.point.full_names)
