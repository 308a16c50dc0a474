"""What certificates of a kind have in common, as the native core reads it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from crlcheck._binding import certificate_kind
from crlcheck.demo.encoding import der
from crlcheck.x509.certificates import load_certificate, read_kind
from support.pem import block
from support.worlds import AUTHORITIES, POINTS, LeafSpec, authority, leaf_of

LEAF = LeafSpec("ca", 5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def kind_of(der: bytes) -> bytes:
    """The kind alone."""
    found = certificate_kind(der)
    assert found is not None
    return found[2]


def facts_of_kind(der: bytes) -> tuple[object, ...]:
    """The facts that make up the kind."""
    facts = load_certificate(der)
    return (
        facts.issuer,
        facts.authority_key_id,
        facts.authority_cert_issuer,
        facts.authority_cert_serial_number,
        facts.distribution_points,
        facts.is_ca,
    )


LEAVES = [
    leaf_of(dataclasses.replace(LEAF, authority=name, points=points, issuer_id=issuer_id))
    for name in ("ca", "root")
    for points in ((), *((one,) for one in POINTS), ("one", "two"), ("two", "one"))
    for issuer_id in ("sha1", "sha256", "serial", "sha1+serial", "sha1+wrong serial", None)
]
AUTHORITY_CERTIFICATES = [authority(name).der for name in AUTHORITIES]


def test_certificates_are_of_one_kind_exactly_where_these_facts_are_equal() -> None:
    """Over all forms of certificates that random worlds have."""
    by_kind: dict[bytes, set[tuple[object, ...]]] = {}
    by_facts: dict[tuple[object, ...], set[bytes]] = {}
    for octets in (*LEAVES, *AUTHORITY_CERTIFICATES):
        kind, facts = kind_of(octets), facts_of_kind(octets)
        by_kind.setdefault(kind, set()).add(facts)
        by_facts.setdefault(facts, set()).add(kind)
    assert len(by_kind) > 150
    assert all(len(facts) == 1 for facts in by_kind.values())
    assert all(len(kinds) == 1 for kinds in by_facts.values())


def issue(serial_number: int, *extensions: x509.ExtensionType, subject: str = "a") -> bytes:
    """A certificate with these and nothing else."""
    key = ec.derive_private_key(serial_number % 7 + 5, ec.SECP256R1())

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name("CA"))
        .public_key(key.public_key())
        .serial_number(serial_number)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(serial_number % 50))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_nothing_else_makes_another_kind() -> None:
    """Not the serial number, the dates, the subject, the key or any other extension."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    others = [
        issue(1),
        issue(2**158 + 3),
        issue(4, subject="another"),
        issue(5, usage),
        issue(6, x509.SubjectKeyIdentifier(b"\x01")),
        issue(7, x509.BasicConstraints(ca=False, path_length=None)),
    ]
    assert len(set(map(kind_of, others))) == 1
    ca = issue(8, x509.BasicConstraints(ca=True, path_length=None))
    assert kind_of(ca) != kind_of(others[0])


@pytest.mark.parametrize("number", [1, 127, 128, 255, 256, 2**63, 2**64, 2**158, 2**159 - 1])
def test_serial_number_and_not_after_are_those_of_the_facts(number: int) -> None:
    """The time is in seconds since 1970."""
    octets = issue(number)
    found, facts = certificate_kind(octets), load_certificate(octets)
    assert found is not None
    assert found[0] == facts.serial_number == number
    assert EPOCH + timedelta(seconds=found[1]) == facts.not_after


@pytest.mark.parametrize("serial", [b"\xff", b"\x80", b"\xff\x7f", b"\x00", b"\x80" + b"\x01" * 19])
def test_a_serial_number_that_is_not_positive(serial: bytes) -> None:
    """Real CAs have issued such certificates, too."""
    whole = x509.load_der_x509_certificate(issue(2**62))
    octets, tbs = whole.public_bytes(Encoding.DER), whole.tbs_certificate_bytes
    algorithm_and_signature = octets[octets.index(tbs) + len(tbs) :]
    fields = tbs[2 + (tbs[1] & 0x7F if tbs[1] & 0x80 else 0) :]
    fields = fields.replace(b"\x02\x08" + (2**62).to_bytes(8), der(0x02, serial), 1)
    certificate = der(0x30, der(0x30, fields) + algorithm_and_signature)
    found = certificate_kind(certificate)
    assert found is not None
    assert (
        found[0]
        == load_certificate(certificate).serial_number
        == int.from_bytes(serial, signed=True)
    )


def test_what_is_no_certificate_is_of_no_kind() -> None:
    """``load_certificate`` says what is wrong with it."""
    octets = LEAVES[0]
    for wrong in (
        b"",
        b"0",
        b"text",
        octets[:-1],
        octets + b"\0",
        octets[:5] + b"\xff" + octets[6:],
    ):
        assert certificate_kind(wrong) is None
    with pytest.raises(TypeError):
        certificate_kind("text")  # type: ignore[arg-type]


def test_a_kind_larger_than_any_real_one_is_none() -> None:
    """What is remembered is bounded, whatever certificates come."""

    def with_points(size: int) -> bytes:
        uri = x509.UniformResourceIdentifier("http://crl.test/" + "a" * size)
        return issue(
            1, x509.CRLDistributionPoints([x509.DistributionPoint([uri], None, None, None)])
        )

    assert len(kind_of(with_points(500))) > 500
    assert certificate_kind(with_points(1200)) is None
    assert certificate_kind(with_points(70_000)) is None
    assert load_certificate(with_points(70_000)).serial_number == 1


def test_the_simple_ways_to_give_a_certificate() -> None:
    """DER, and PEM in bytes or str, as most programs write it; all else is read as before."""
    octets = LEAVES[0]
    text = block(octets, label="CERTIFICATE")
    for source in (octets, text, text.rstrip(b"\n"), text.decode()):
        assert read_kind(source) == (octets, certificate_kind(octets))
    for other in (
        bytearray(octets),
        text + text,
        b"# leaf\n" + text,
        "/tmp/leaf.pem",
        b"",
        "",
        b"-",
    ):
        assert read_kind(other) == (b"", None)
    for broken in (octets[:-1], block(octets[:-1], label="CERTIFICATE")):
        assert read_kind(broken)[1] is None
