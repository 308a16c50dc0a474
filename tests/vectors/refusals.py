"""Vectors that are refused."""

from __future__ import annotations

from crlcheck.demo.encoding import der, der_integer, der_time, encode_entry, encode_extension
from support.certificate_der import full_name_point
from support.pki import DAY, NOW
from support.vectors import CA, UNSPECIFIC, URI, Vector, client, crl, named, scope

UNKNOWN_CRITICAL = encode_extension("1.3.6.1.4.1.99999.1", b"\x05\x00", critical=True)
REASON_OF_TWO_OCTETS = encode_extension("2.5.29.21", der(0x0A, b"\x01\x01"))


def entry(*extensions: bytes, serial: int = 7) -> bytes:
    """An entry with whole Extensions."""
    return encode_entry(serial, NOW - DAY, extra_extensions=extensions)


def refused_entries() -> list[Vector]:
    """Entries for which the whole CRL is refused; each lists the certificate first."""

    def refused(name: str, about: str, source: str, word: str, *listed: bytes) -> Vector:
        return Vector(name, about, source, client(7), (CA.der,), (crl(*listed),), word)

    return [
        refused("unsupported_critical_entry_extension", "An unknown critical extension of an "
                "entry voids the whole CRL, also behind the entry looked for.",
                "RFC 5280 5.3; openssl#32366", "unknown_critical_entry_extension",
                UNSPECIFIC, entry(UNKNOWN_CRITICAL, serial=8)),
        refused("unsupported_odd_reason_before_critical_extension", "A malformed reasonCode must "
                "not hide the unknown critical extension behind it.", "openssl#32366",
                "unknown_critical_entry_extension", UNSPECIFIC,
                entry(REASON_OF_TWO_OCTETS, UNKNOWN_CRITICAL, serial=8)),
        refused("malformed_critical_reason_code", "A reasonCode of two octets that is critical.",
                "RFC 5280 5.3", "bad_reason_code", UNSPECIFIC,
                entry(encode_extension("2.5.29.21", der(0x0A, b"\x01\x01"), critical=True),
                      serial=8)),
        refused("malformed_critical_invalidity_date", "An invalidityDate that is a UTCTime and "
                "critical.", "RFC 5280 5.3", "bad_time",
                entry(encode_extension("2.5.29.24", der(0x17, b"260101000000Z"),
                                       critical=True))),
        refused("malformed_duplicate_entry_extension", "One extension twice in an entry.",
                "RFC 5280 4.2", "duplicate_extension",
                entry(*[encode_extension("2.5.29.21", b"\x0a\x01\x01")] * 2)),
        refused("malformed_serial_of_no_octets", "A serial number without contents.",
                "mbedTLS ChangeLog: overread of one octet", "empty_integer",
                der(0x30, der(0x02), der_time(NOW))),
        refused("malformed_serial_with_a_leading_zero", "A serial number that is not minimal: "
                "whoever compares octets misses it.", "webpki", "non_minimal_integer",
                der(0x30, der(0x02, b"\x00\x07"), der_time(NOW))),
        refused("unsupported_serial_of_65_octets", "A serial number longer than any limit.",
                "GnuTLS", "serial_too_long", encode_entry(1 << 512, NOW)),
    ]  # fmt: skip


def refused_crls() -> list[Vector]:
    """CRLs refused for what they are as a whole."""
    good = crl(UNSPECIFIC)
    version = der_integer(1)
    tail = named(URI)

    def refused(name: str, about: str, source: str, word: str, octets: bytes) -> Vector:
        return Vector(name, about, source, client(7), (CA.der,), (octets,), word)

    def with_number(contents: bytes) -> bytes:
        number = encode_extension("2.5.29.20", der(0x02, contents))
        return crl(UNSPECIFIC, number=None, extensions=[number])

    def with_version(contents: bytes) -> bytes:
        start = good.index(version)
        return good[:start] + der(0x02, contents) + good[start + 3 :]

    return [
        refused("unsupported_critical_crl_extension", "An unknown critical extension of the CRL.",
                "CVE-2026-6450; mbedTLS ChangeLog", "unknown_critical_extension",
                crl(UNSPECIFIC, extensions=[UNKNOWN_CRITICAL])),
        refused("malformed_empty_only_some_reasons", "onlySomeReasons as a BIT STRING without "
                "any octet; it must not matter that nobody signed this.", "RUSTSEC-2026-0104",
                "bad_bit_string", crl(UNSPECIFIC, extensions=[scope(tail, der(0x83))])),
        refused("malformed_crl_number_of_21_octets", "A CRL number longer than RFC 5280 allows, "
                "which overflowed or was cut elsewhere.", "CVE-2026-3548; wolfSSL#8557",
                "bad_crl_number", with_number(b"\x01" + bytes(20))),
        refused("malformed_negative_crl_number", "A CRL number below zero.", "RFC 5280 5.2.3",
                "bad_crl_number", with_number(b"\xff")),
        refused("malformed_version_overflow", "A version that is 1 (v2) after its upper octets "
                "are lost.", "mbedTLS ChangeLog", "bad_version",
                _with_length(with_version(b"\x01\x00\x00\x00\x01"), 4)),
        refused("unsupported_version_1_with_extensions", "A version 1 CRL, and one with "
                "extensions, which it cannot have.", "BoringSSL", "version_1",
                _with_length(good.replace(version, b"", 1), -3)),
        refused("malformed_truncated_at_the_last_octet", "The last octet is missing.",
                "mbedTLS ChangeLog: overread of one octet", "truncated", good[:-1]),
        refused("malformed_trailing_data", "An octet after the end.", "Go, which accepts it",
                "trailing_data", good + b"\0"),
        refused("malformed_indefinite_length", "An indefinite length is BER, not DER.",
                "OpenSSL, which accepts it", "indefinite_length",
                b"\x30\x80" + good[3:] + bytes(2)),
        refused("unsupported_huge_length", "A CRL that says it has 2^62 octets takes no memory "
                "before it has them.", "CVE-2012-1569", "source_too_large",
                b"\x30\x88\x40" + bytes(7) + good[3:]),
        refused("malformed_huge_length_inside", "A tbsCertList that says it has more octets than "
                "the CRL.", "CVE-2024-12133, CVE-2012-1569", "length_overrun",
                good[:4] + b"\x84\x7f\xff\xff\xff" + good[5:]),
    ]  # fmt: skip


def _with_length(octets: bytes, grown: int) -> bytes:
    """Correct the lengths of a CRL and its tbsCertList, of two octets each, by *grown*."""
    assert octets[1] == octets[4] == 0x81
    return (
        octets[:2] + bytes((octets[2] + grown,)) + octets[3:5] + bytes((octets[5] + grown,))
        + octets[6:]
    )  # fmt: skip


def certificates() -> list[Vector]:
    """Certificates that are refused."""

    def refused(name: str, about: str, source: str, word: str, octets: bytes) -> Vector:
        return Vector(name, about, source, octets, word=word)

    return [
        refused("malformed_certificate_empty_reasons", "A distribution point whose reasons are a "
                "BIT STRING without any octet.", "RUSTSEC-2026-0104", "bad_bit_string",
                client(7, full_name_point(URI, rest=der(0x81)))),
        refused("malformed_certificate_general_name", "A distribution point with a name of no "
                "known kind.", "CVE-2023-0286", "wrong_tag",
                client(7, full_name_point(der(0x89, b"x")))),
        refused("malformed_certificate_second_point", "The second distribution point is broken: "
                "reading the first alone would lose it.", "RUSTSEC-2026-0049", "bad_extension",
                client(7, full_name_point(URI), der(0x30))),
    ]  # fmt: skip
