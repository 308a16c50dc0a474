"""Errors name the field, the extension and the entry that they are in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import crlcheck
from crlcheck._binding import parse_certificate
from crlcheck.compiler.compile import compile_unverified_crl
from crlcheck.demo.encoding import der, der_integer, der_time, encode_entry, encode_extension
from crlcheck.demo.pki import pem_block, sign_crl
from crlcheck.errors import CertificateError, MalformedCrlError, UnsupportedCrlError
from crlcheck.image.index import open_index
from crlcheck.x509.certificates import load_certificates
from support.certificate_der import encode_certificate
from support.pki import NOW, make_authority, make_crl

AUTHORITY = make_authority()


def crl_of(*entries: bytes, extensions: tuple[bytes, ...] = ()) -> bytes:
    """A signed CRL with these entries, whatever they are."""
    return sign_crl(
        AUTHORITY, list(entries), this_update=NOW, next_update=datetime(2030, 1, 1, tzinfo=UTC),
        crl_number=1, extensions=extensions,
    )  # fmt: skip


GOOD = [encode_entry(serial, NOW, reason=1) for serial in range(1, 300)]
BAD_DATE = der(0x30, der_integer(0x1A2B), der(0x17, b"not a time..."))
BAD_ISSUER = der(
    0x30, der_integer(0x1A2B), der_time(NOW),
    der(0x30, encode_extension("2.5.29.29", b"\x04\0", critical=True)),
)  # fmt: skip
NO_SERIAL = der(0x30, b"\x04\x01\x05", der_time(NOW))


@pytest.mark.parametrize("num_before", [0, 1, 299])
def test_an_entry_is_named_by_number_and_serial_number(num_before: int) -> None:
    """
    Whether the entries before it were read one by one or many at once.
    """
    with pytest.raises(MalformedCrlError) as caught:
        compile_unverified_crl(crl_of(*GOOD[:num_before], BAD_DATE, *GOOD))
    error = caught.value
    number = num_before + 1
    assert (error.entry_number, error.serial_number) == (number, 0x1A2B)
    assert error.field == "revokedCertificates"
    assert error.extension_oid is None
    assert str(error).endswith(f"at offset {error.offset}, in entry {number} (serial number 1a2b)")


def test_an_entry_without_serial_number_has_its_number() -> None:
    """
    What could not be read is not named.
    """
    with pytest.raises(MalformedCrlError, match=r", in entry 3$") as caught:
        compile_unverified_crl(crl_of(*GOOD[:2], NO_SERIAL))
    assert caught.value.serial_number is None
    assert "serial_number" not in caught.value.as_dict()


def test_an_extension_of_an_entry_is_named() -> None:
    """
    By its OID and the name that RFC 5280 gives it, with the entry.
    """
    with pytest.raises(
        MalformedCrlError,
        match=r"extension certificateIssuer \(2\.5\.29\.29\) of entry 2 \(serial number 1a2b\)$",
    ) as caught:
        compile_unverified_crl(crl_of(GOOD[0], BAD_ISSUER))
    assert caught.value.extension_oid == "2.5.29.29"
    assert caught.value.entry_number == 2


@pytest.mark.parametrize(
    ("extension", "words", "oid"),
    [
        (encode_extension("2.5.29.35", b"\x04\0"), "authorityKeyIdentifier", "2.5.29.35"),
        (encode_extension("2.5.29.28", b"\x04\0"), "issuingDistributionPoint", "2.5.29.28"),
        (encode_extension("2.5.29.20", b"\x02\x01\x05"), r"cRLNumber \(2.5.29.20\)", "2.5.29.20"),
        (encode_extension("1.2.3.4", b"", critical=True), r"extension 1\.2\.3\.4$", "1.2.3.4"),
    ],
)  # fmt: skip
def test_an_extension_of_a_crl_is_named(extension: bytes, words: str, oid: str) -> None:
    """
    A broken value, one that comes twice, and one that is critical and unknown.
    """
    with pytest.raises((MalformedCrlError, UnsupportedCrlError), match=words) as caught:
        compile_unverified_crl(crl_of(extensions=(extension,)))
    error = caught.value
    assert isinstance(error, MalformedCrlError | UnsupportedCrlError)
    assert error.extension_oid == oid
    assert error.field == "crlExtensions"
    assert error.entry_number is None
    assert error.offset


@pytest.mark.parametrize(
    ("position", "field"),
    [("version", "version"), ("issuer", "issuer"), ("thisUpdate", "thisUpdate"),
     ("nextUpdate", "nextUpdate"), ("signature", "signatureValue")],
)  # fmt: skip
def test_a_field_is_named(position: str, field: str) -> None:
    """
    By the name of RFC 5280 5.1.
    """
    crl = make_crl(AUTHORITY, 1)
    name = AUTHORITY.certificate.subject.public_bytes()
    issuer = crl.index(name)
    places = {
        "version": crl.index(b"\x02\x01\x01") + 2,
        "issuer": issuer + 2,
        "thisUpdate": issuer + len(name) + 2,
        "nextUpdate": issuer + len(name) + 15 + 2,
        "signature": len(crl) - len(crl[crl.rindex(b"\x03\x48") :]) if b"\x03\x48" in crl else 0,
    }
    at = places[position]
    damaged = crl[:at] + b"\x7f" + crl[at + 1 :] if at else crl[:-1]
    with pytest.raises(MalformedCrlError) as caught:
        compile_unverified_crl(damaged)
    assert caught.value.field == field
    assert f"in {field}" in str(caught.value)


def test_a_source_that_ends_early_names_where() -> None:
    """
    In which entry or field the input breaks off.
    """
    crl = crl_of(*GOOD[:5])
    with pytest.raises(MalformedCrlError, match="in entry 5") as caught:
        compile_unverified_crl(crl[: crl.index(GOOD[4]) + 4])
    assert caught.value.rule == "truncated"
    with pytest.raises(MalformedCrlError, match="in signatureValue"):
        compile_unverified_crl(crl[:-3])


def test_an_extension_of_a_certificate_is_named() -> None:
    """
    As for CRLs.
    """
    broken = encode_certificate(extensions=[encode_extension("2.5.29.15", b"\x04\0")])
    with pytest.raises(CertificateError, match=r"keyUsage \(2\.5\.29\.15\)$") as caught:
        parse_certificate(broken)
    assert caught.value.extension_oid == "2.5.29.15"
    assert caught.value.as_dict()["extension_oid"] == "2.5.29.15"
    with pytest.raises(CertificateError, match="number 2: ") as caught:
        load_certificates(
            pem_block("CERTIFICATE", encode_certificate()) + pem_block("CERTIFICATE", broken)
        )
    assert caught.value.extension_oid == "2.5.29.15"


@pytest.mark.parametrize(("offset", "field"), [(0, "magic"), (16, "image size"), (40, "header")])
def test_a_field_of_an_image_is_named(offset: int, field: str) -> None:
    """
    By its name in docs/reference/index-format.md.
    """
    image = compile_unverified_crl(crl_of(*GOOD)).image
    assert image is not None
    damaged = image[:offset] + b"\xff\xff\xff\xff" + image[offset + 4 :]
    with pytest.raises(crlcheck.CorruptIndexError, match=f"in the field {field}"):
        open_index(damaged)
