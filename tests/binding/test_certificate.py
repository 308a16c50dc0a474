"""The certificate parser, rule by rule."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import pytest

from crlcheck._binding import parse_certificate
from crlcheck.demo.encoding import der, der_integer, der_oid, encode_extension
from crlcheck.errors import CertificateError
from support.certificate_der import (
    ALGORITHM,
    ISSUER,
    KEY_INFO,
    SUBJECT,
    encode_attribute,
    encode_certificate,
    encode_name,
    full_name_point,
    with_distribution_points,
)

BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
AUTHORITY_KEY_ID = "2.5.29.35"
SUBJECT_KEY_ID = "2.5.29.14"
URI = der(0x86, b"http://ca.example/a.crl")


def with_extension(oid: str, value: bytes) -> bytes:
    """A certificate with this one extension."""
    return encode_certificate(extensions=[encode_extension(oid, value)])


def test_the_plain_certificate_is_read() -> None:
    """
    Every field comes out as it was written; without extensions the optional ones are None.
    """
    encoded = encode_certificate()
    facts = parse_certificate(encoded)
    assert facts.der == encoded
    assert (facts.serial_number, facts.issuer, facts.subject) == (1, ISSUER, SUBJECT)
    assert facts.not_before == datetime(2026, 1, 1, tzinfo=UTC)
    assert facts.not_after == datetime(2027, 1, 1, tzinfo=UTC)
    assert facts.subject_public_key_info == KEY_INFO
    assert facts.authority_key_id is None
    assert facts.subject_key_id is None
    assert facts.key_usage is None
    assert not facts.is_ca
    assert facts.distribution_points == ()


# What each refusal is called, and a certificate that earns it.
REFUSED = {
    "nothing": (b"", "empty"),
    "text": (b"hello", "wrong_tag"),
    "truncated": (encode_certificate()[:-1], "length_overrun"),
    "octets_after_the_certificate": (encode_certificate() + b"\x00", "trailing_data"),
    "octets_after_the_signature": (encode_certificate(tail=b"\x05\x00"), "trailing_data"),
    "indefinite_length": (b"\x30\x80\x00\x00", "indefinite_length"),
    "length_in_too_many_octets": (b"\x30\x81\x01\x00", "non_minimal_length"),
    "length_of_nine_octets": (b"\x30\x89" + b"\xff" * 9, "length_too_large"),
    "length_of_all_ones": (b"\x30\x88" + b"\xff" * 8, "length_too_large"),
    "version_4": (encode_certificate(version=der(0xA0, der_integer(3))), "bad_version"),
    "version_1_spelled_out": (encode_certificate(version=der(0xA0, der_integer(0))), "bad_version"),
    "version_of_32_bits": (
        encode_certificate(version=der(0xA0, der_integer(1 << 32 | 2))),
        "bad_version",
    ),
    "negative_version": (encode_certificate(version=der(0xA0, der_integer(-1))), "bad_version"),
    "empty_serial": (encode_certificate(serial=der(0x02)), "empty_integer"),
    "serial_with_leading_zeros": (
        encode_certificate(serial=der(0x02, b"\x00\x01")),
        "non_minimal_integer",
    ),
    "serial_with_leading_ones": (
        encode_certificate(serial=der(0x02, b"\xff\x80")),
        "non_minimal_integer",
    ),
    "serial_of_65_octets": (encode_certificate(serial=der_integer(1 << 519)), "serial_too_long"),
    "empty_issuer": (encode_certificate(issuer=der(0x30)), "empty_name"),
    "empty_rdn": (encode_certificate(issuer=der(0x30, der(0x31))), "truncated"),
    "attribute_without_type": (
        encode_certificate(issuer=der(0x30, der(0x31, der(0x30, der(0x06), der(0x0C))))),
        "bad_object_identifier",
    ),
    "attribute_with_two_values": (
        encode_certificate(subject=encode_name(encode_attribute("a") + b"\x05\x00")),
        "wrong_tag",
    ),
    "key_without_bits": (
        encode_certificate(key_info=der(0x30, ALGORITHM, der(0x03))),
        "bad_bit_string",
    ),
    "signature_with_eight_unused_bits": (
        encode_certificate(signature=der(0x03, b"\x08\x00")),
        "bad_bit_string",
    ),
    "signature_algorithms_that_differ": (
        encode_certificate(outer_algorithm=der(0x30, der_oid("1.2.840.10045.4.3.3"))),
        "signature_algorithm_mismatch",
    ),
    "signature_parameters_that_differ": (
        encode_certificate(outer_algorithm=der(0x30, der_oid("1.2.840.10045.4.3.2"), der(0x05))),
        "signature_algorithm_mismatch",
    ),
    "extensions_in_version_1": (
        encode_certificate(version=b"", extensions=[encode_extension("1.2.3", b"")]),
        "extensions_in_v1",
    ),
    "unique_id_in_version_1": (
        encode_certificate(version=b"", unique_ids=der(0x81, b"\x00\x01")),
        "bad_version",
    ),
    "no_extension_in_the_list": (encode_certificate(extensions=[]), "empty_extensions"),
    "extension_twice": (
        encode_certificate(extensions=[encode_extension("1.2.3", b"")] * 2),
        "duplicate_extension",
    ),
    "thousands_of_extensions": (
        encode_certificate(extensions=[encode_extension(f"1.2.{arc}", b"") for arc in range(5000)]),
        "too_many_extensions",
    ),
    "octets_after_an_extension": (with_extension(SUBJECT_KEY_ID, b"\x04\x00\x00"), "trailing_data"),
    "path_length_that_is_no_integer": (
        with_extension(BASIC_CONSTRAINTS, der(0x30, der(0x01, b"\xff"), der(0x04))),
        "wrong_tag",
    ),
    "boolean_of_one": (
        with_extension(BASIC_CONSTRAINTS, der(0x30, der(0x01, b"\x01"))),
        "bad_boolean",
    ),
    "key_usage_without_any_octet": (with_extension(KEY_USAGE, der(0x03)), "bad_bit_string"),
    "key_usage_of_unused_bits_only": (
        with_extension(KEY_USAGE, der(0x03, b"\x01")),
        "bad_bit_string",
    ),
    "key_usage_with_unused_bits_set": (
        with_extension(KEY_USAGE, der(0x03, b"\x01\x03")),
        "bad_bit_string",
    ),
    "algorithm_without_identifier": (encode_certificate(algorithm=der(0x30)), "truncated"),
    "algorithm_with_two_parameters": (
        encode_certificate(algorithm=der(0x30, der_oid("1.2.3"), der(0x05), der(0x05))),
        "trailing_data",
    ),
    "version_that_is_no_integer": (encode_certificate(version=der(0xA0, der(0x04))), "wrong_tag"),
    "two_versions": (
        encode_certificate(version=der(0xA0, der_integer(2), der_integer(2))),
        "trailing_data",
    ),
    "extensions_that_are_no_sequence": (
        encode_certificate(unique_ids=der(0xA3, der(0x31))),
        "wrong_tag",
    ),
    "authority_key_id_with_more": (
        with_extension(AUTHORITY_KEY_ID, der(0x30, der(0x80, b"key"), der(0x83))),
        "trailing_data",
    ),
}


@pytest.mark.parametrize(("encoded", "rule"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_a_rule_is_refused_by_its_name(encoded: bytes, rule: str) -> None:
    """
    A certificate that is not strict DER, or not RFC 5280's, is refused and says why.
    """
    with pytest.raises(CertificateError) as caught:
        parse_certificate(encoded)
    assert caught.value.rule == rule
    assert 0 <= caught.value.offset <= len(encoded)
    assert f"offset {caught.value.offset}" in str(caught.value)


@pytest.mark.parametrize(
    "oid",
    [AUTHORITY_KEY_ID, SUBJECT_KEY_ID, BASIC_CONSTRAINTS, KEY_USAGE, "2.5.29.31"],
)
@pytest.mark.parametrize(
    ("value", "rule"),
    [(b"", "truncated"), (der(0x05), "wrong_tag"), (b"\x30\x7f\x00", None), (b"\x00", None)],
)
def test_a_known_extension_of_another_type_is_refused(
    oid: str, value: bytes, rule: str | None
) -> None:
    """
    An extension that matters here is never ignored because it cannot be read.
    """
    with pytest.raises(CertificateError) as caught:
        parse_certificate(with_extension(oid, value))
    assert rule is None or caught.value.rule == rule


def test_the_offset_says_where() -> None:
    """
    The offset counts from the first octet of the certificate, however deep the fault lies.
    """
    encoded = with_distribution_points(full_name_point(URI, der(0x89, b"?")))
    with pytest.raises(CertificateError, match="wrong tag .found 89. at offset") as caught:
        parse_certificate(encoded)
    assert caught.value.offset == encoded.index(b"\x89\x01?")


ACCEPTED = {
    "version_1": encode_certificate(version=b""),
    "version_2": encode_certificate(version=der(0xA0, der_integer(1))),
    "unique_ids": encode_certificate(unique_ids=der(0x81, b"\x00\x01") + der(0x82, b"\x00")),
    "empty_subject": encode_certificate(subject=der(0x30)),
    "attributes_out_of_order": encode_certificate(
        subject=der(0x30, der(0x31, encode_attribute("b"), encode_attribute("a")))
    ),
    "unknown_critical_extension": encode_certificate(
        extensions=[encode_extension("1.2.3", b"\xde\xad", critical=True)]
    ),
    "critical_false_spelled_out": encode_certificate(
        extensions=[der(0x30, der_oid("1.2.3"), der(0x01, b"\x00"), der(0x04))]
    ),
}


@pytest.mark.parametrize("encoded", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_not_our_business_does_not_refuse(encoded: bytes) -> None:
    """
    Judging the certificate is for whoever terminated TLS: versions, unknown
    extensions and harmless slips of real CAs pass.
    """
    assert parse_certificate(encoded).serial_number == 1


@pytest.mark.parametrize(
    "serial", [0, 1, -1, 127, 128, -128, 255, 1 << 158, (1 << 511) - 1, -(1 << 511)]
)
def test_any_serial_of_64_octets_is_read(serial: int) -> None:
    """
    Negative, zero and long serial numbers are kept with their exact value.
    """
    assert parse_certificate(encode_certificate(serial=der_integer(serial))).serial_number == serial


@pytest.mark.parametrize(
    ("tag", "text", "expected"),
    [
        (0x17, "500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
        (0x17, "491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (0x18, "20500101000000Z", datetime(2050, 1, 1, tzinfo=UTC)),
        (0x18, "00010101000000Z", datetime(1, 1, 1, tzinfo=UTC)),
        (0x18, "99991231235959Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (0x18, "19000228235959Z", datetime(1900, 2, 28, 23, 59, 59, tzinfo=UTC)),
        (0x18, "20000229120000Z", datetime(2000, 2, 29, 12, tzinfo=UTC)),
        (0x18, "19691231235959Z", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_dates_from_0001_to_9999_are_read(tag: int, text: str, expected: datetime) -> None:
    """
    Both forms of time are read over all the years that Python has.
    """
    time = der(tag, text.encode())
    facts = parse_certificate(encode_certificate(not_before=time, not_after=time))
    assert facts.not_before == facts.not_after == expected


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (0x18, "00000101000000Z"),
        (0x18, "19000229000000Z"),
        (0x17, "260100000000Z"),
        (0x17, "261301000000Z"),
        (0x17, "260431000000Z"),
        (0x17, "260101240000Z"),
        (0x17, "260101006000Z"),
        (0x17, "260101000060Z"),
        (0x17, "2601010000Z"),
        (0x17, "260101000000"),
        (0x17, "260101000000+0000"),
        (0x17, "26010100000 Z"),
        (0x17, "2601010000-1Z"),
        (0x18, "20260101000000.5Z"),
        (0x18, "260101000000Z"),
        (0x18, ""),
    ],
)
def test_other_dates_are_refused(tag: int, text: str) -> None:
    """
    A time needs seconds and Z, and must exist (RFC 5280 4.1.2.5).
    """
    with pytest.raises(CertificateError) as caught:
        parse_certificate(encode_certificate(not_after=der(tag, text.encode())))
    assert caught.value.rule == "bad_time"


@pytest.mark.parametrize(
    ("value", "is_ca"),
    [
        (der(0x30), False),
        (der(0x30, der(0x01, b"\x00")), False),
        (der(0x30, der(0x01, b"\xff")), True),
        (der(0x30, der(0x01, b"\xff"), der_integer(0)), True),
        (der(0x30, der_integer(3)), False),
    ],
)
def test_basic_constraints_say_who_is_a_ca(value: bytes, is_ca: bool) -> None:
    """
    Only cA TRUE makes a CA; cA FALSE may be spelled out, as several CAs do.
    """
    assert parse_certificate(with_extension(BASIC_CONSTRAINTS, value)).is_ca is is_ca


@pytest.mark.parametrize(
    ("contents", "key_usage", "may_sign_crls"),
    [
        ("0106", 0b110_0000, True),
        ("0186", 0b110_0001, True),
        ("0780", 0b1, False),
        ("07b080", 0b1_0000_1101, False),
        ("00b0000000", 0b1101, False),
        ("0002000000ff", 0b100_0000, True),
        ("00", 0, False),
    ],
)
def test_key_usage_bits_are_read(contents: str, key_usage: int, may_sign_crls: bool) -> None:
    """
    Bit i stands for KeyUsage bit i; trailing zero bits may be spelled out, as
    some CAs do.
    """
    facts = parse_certificate(with_extension(KEY_USAGE, der(0x03, bytes.fromhex(contents))))
    assert facts.key_usage == key_usage
    assert facts.may_sign_crls is may_sign_crls


@pytest.mark.parametrize(
    ("fields", "key_id"),
    [
        ([], None),
        ([der(0x80, b"key")], b"key"),
        ([der(0x80)], b""),
        ([der(0xA1, URI), der(0x82, b"\x01")], None),
        ([der(0x80, b"key"), der(0xA1, URI), der(0x82, b"\x01")], b"key"),
    ],
)
def test_the_authority_key_id_is_its_octets(fields: list[bytes], key_id: bytes | None) -> None:
    """
    An absent key id is None and an empty one is empty, whatever stands beside it.
    """
    facts = parse_certificate(with_extension(AUTHORITY_KEY_ID, der(0x30, *fields)))
    assert facts.authority_key_id == key_id


DIRECTORY_NAME = der(0xA4, ISSUER)
ISSUED_BY = der(0xA1, DIRECTORY_NAME, URI)


@pytest.mark.parametrize(
    ("fields", "names", "serial_number"),
    [
        ([ISSUED_BY, der(0x82, b"\x01")], (DIRECTORY_NAME, URI), 1),
        ([der(0x80, b"key"), ISSUED_BY, der(0x82, b"\xff")], (DIRECTORY_NAME, URI), -1),
        ([ISSUED_BY, der(0x82, b"\x01" * 64)], (DIRECTORY_NAME, URI), int("01" * 64, 16)),
        ([], (), None),
        ([ISSUED_BY], (), None),
        ([der(0x82, b"\x01")], (), None),
        ([der(0xA1), der(0x82, b"\x01")], (), None),
        ([der(0xA1, der(0xA4, b"\x30\x05")), der(0x82, b"\x01")], (), None),
        ([der(0xA1, der(0xA9)), der(0x82, b"\x01")], (), None),
        ([ISSUED_BY, der(0x82)], (), None),
        ([ISSUED_BY, der(0x82, b"\x00\x01")], (), None),
        ([ISSUED_BY, der(0x82, b"\x01" * 65)], (), None),
    ],
    ids=["both", "with a key id", "the longest", "neither", "no serial number", "no issuer",
         "no name", "a name that overruns", "no kind of name", "an empty serial number",
         "one that is not minimal", "one that is too long"],
)  # fmt: skip
def test_the_authoritys_certificate_is_known_by_issuer_and_serial_number(
    fields: list[bytes], names: tuple[bytes, ...], serial_number: int | None
) -> None:
    """
    authorityCertIssuer and authorityCertSerialNumber are there together or not at
    all (RFC 5280 4.2.1.1). They are a hint only, so one that cannot be read is left
    out and the certificate is not refused for it.
    """
    facts = parse_certificate(with_extension(AUTHORITY_KEY_ID, der(0x30, *fields)))
    assert facts.authority_cert_issuer == names
    assert facts.authority_cert_serial_number == serial_number


def test_the_subject_key_id_is_its_octets() -> None:
    """
    The key id is what is inside the OCTET STRING.
    """
    facts = parse_certificate(with_extension(SUBJECT_KEY_ID, der(0x04, b"key")))
    assert facts.subject_key_id == b"key"


def test_a_huge_length_takes_no_memory() -> None:
    """
    A length that the input does not have is refused before anything is made of it.
    """
    tracemalloc.start()
    try:
        with pytest.raises(CertificateError) as caught:
            parse_certificate(b"\x30\x87" + b"\x7f" * 7 + b"\x30")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.rule == "length_overrun"
