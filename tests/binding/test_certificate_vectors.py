"""The certificate parser against ``cryptography``, and against mutated certificates."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from crlcheck._binding import parse_certificate
from crlcheck.demo.encoding import der, encode_extension
from crlcheck.encoding.names import canonical_name, format_name
from crlcheck.encoding.pem import pem_blocks
from crlcheck.errors import CertificateError
from crlcheck.types import CertificateFacts, DistributionPoint
from support.certificate_der import ISSUER, encode_attribute, encode_certificate, full_name_point

VECTORS = Path(cryptography_vectors.__file__).parent / "x509"

# What ``cryptography`` loads and we refuse, and by which rule. It looks at
# extensions and at the issuer only when asked for them.
STRICTER = {
    "custom/long-form-name-attribute.pem": "wrong_tag",
    "custom/malformed-ian.pem": "empty_name",
    "custom/malformed-san.pem": "empty_name",
    "custom/mismatch_inner_outer_sig_algorithm.der": "signature_algorithm_mismatch",
    "custom/rsa_pss_cert_invalid_mgf.der": "signature_algorithm_mismatch",
    "custom/rsa_pss_cert_no_sig_params.der": "signature_algorithm_mismatch",
    "custom/rsa_pss_cert_unsupported_mgf_hash.der": "signature_algorithm_mismatch",
    "custom/two_basic_constraints.pem": "duplicate_extension",
    "v1_cert.pem": "signature_algorithm_mismatch",
}


# Where ``cryptography`` reads the certificate but not its names, or not all of
# its extensions.
UNREADABLE_NAMES = {
    "custom/invalid_utf8_common_name.pem",
    "custom/name_attribute_unsupported_tag.pem",
}
UNREADABLE_EXTENSIONS = {
    "badssl-sct-anonymous-sig.der",
    "badssl-sct-none-hash.der",
    "custom/cp_invalid.pem",
    "custom/cp_invalid2.der",
    "custom/empty-eku.pem",
    "custom/inhibit_any_policy_negative.pem",
    "custom/invalid-sct-length.der",
    "custom/invalid-sct-version.der",
    "custom/nc_invalid_ip4_netmask.der",
    "custom/nc_invalid_ip_netmask.pem",
    "custom/nc_ip_invalid_length.pem",
    "san_edipartyname.der",
    "san_x400address.der",
    "wosign-bc-invalid.pem",
}


def load(encoded: bytes) -> x509.Certificate | None:
    """The certificate as ``cryptography`` reads it, or None where it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return x509.load_der_x509_certificate(encoded)
        except (ValueError, x509.InvalidVersion):
            return None


def vectors() -> Iterator[tuple[str, bytes]]:
    """The name and DER of every certificate in cryptography-vectors, PKITS's included."""
    for path in sorted(VECTORS.rglob("*")):
        if path.parent.name == "requests":
            continue
        name = path.relative_to(VECTORS).as_posix()
        if path.suffix in {".der", ".crt", ".cer"}:
            yield name, path.read_bytes()
        elif path.suffix == ".pem":
            for number, block in enumerate(pem_blocks(path.read_bytes(), "CERTIFICATE"), 1):
                yield (name if number == 1 else f"{name}, {number}"), block


LOADED = {
    name: (encoded, certificate)
    for name, encoded in vectors()
    if (certificate := load(encoded)) is not None
}
COMPARED = [name for name in LOADED if name not in STRICTER]


def key_usage_bits(usage: x509.KeyUsage) -> int:
    """KeyUsage as a mask with bit i for bit i of RFC 5280 4.2.1.3."""
    agreement = usage.key_agreement
    flags = (
        usage.digital_signature,
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        agreement,
        usage.key_cert_sign,
        usage.crl_sign,
        agreement and usage.encipher_only,
        agreement and usage.decipher_only,
    )
    return sum(flag << bit for bit, flag in enumerate(flags))


def encode_point(point: DistributionPoint) -> bytes:
    """The DistributionPoint that was read, as DER again."""
    name = reasons = issuers = b""
    if point.full_names:
        name = der(0xA0, der(0xA0, *point.full_names))
    if point.relative_name is not None:
        name = der(0xA0, der(0xA1, point.relative_name))
    if point.reasons is not None:
        # ``cryptography`` passes over bit 0, which means nothing but is set in PKITS.
        mask = point.reasons & ~1
        unused = -mask.bit_length() % 8
        size = (mask.bit_length() + unused) // 8
        octets = sum((mask >> bit & 1) << size * 8 - 1 - bit for bit in range(size * 8))
        reasons = der(0x81, bytes((unused,)), octets.to_bytes(size, "big"))
    if point.crl_issuers:
        issuers = der(0xA2, *point.crl_issuers)
    return der(0x30, name, reasons, issuers)


def compare_extensions(facts: CertificateFacts, extensions: x509.Extensions) -> None:
    """Require that each extension that matters here was read as ``cryptography`` reads it."""
    values = {type(extension.value): extension.value for extension in extensions}
    authority = values.get(x509.AuthorityKeyIdentifier)
    assert facts.authority_key_id == (
        authority.key_identifier if isinstance(authority, x509.AuthorityKeyIdentifier) else None
    )
    assert facts.authority_cert_serial_number == (
        authority.authority_cert_serial_number
        if isinstance(authority, x509.AuthorityKeyIdentifier)
        else None
    )
    assert bool(facts.authority_cert_issuer) == bool(
        isinstance(authority, x509.AuthorityKeyIdentifier) and authority.authority_cert_issuer
    )
    subject = values.get(x509.SubjectKeyIdentifier)
    assert facts.subject_key_id == (
        subject.digest if isinstance(subject, x509.SubjectKeyIdentifier) else None
    )
    constraints = values.get(x509.BasicConstraints)
    assert facts.is_ca == (isinstance(constraints, x509.BasicConstraints) and constraints.ca)
    usage = values.get(x509.KeyUsage)
    assert facts.key_usage == (key_usage_bits(usage) if isinstance(usage, x509.KeyUsage) else None)
    points = values.get(x509.CRLDistributionPoints)
    if isinstance(points, x509.CRLDistributionPoints):
        read = der(0x30, *map(encode_point, facts.distribution_points))
        assert read == points.public_bytes()
    else:
        assert facts.distribution_points == ()


@pytest.mark.filterwarnings("ignore")  # of serial numbers, countries and curves
@pytest.mark.parametrize("name", COMPARED)
def test_facts_are_those_of_cryptography(name: str) -> None:
    """
    Every certificate that ``cryptography`` can load reads the same here, field
    by field; where it gives up on a name or an extension, so does the comparison.
    """
    encoded, certificate = LOADED[name]
    facts = parse_certificate(encoded)
    assert facts.serial_number == certificate.serial_number
    assert facts.not_before == certificate.not_valid_before_utc
    assert facts.not_after == certificate.not_valid_after_utc
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        with pytest.raises(UnsupportedAlgorithm):
            load_der_public_key(facts.subject_public_key_info)
    else:
        assert load_der_public_key(facts.subject_public_key_info) == key
    if name not in UNREADABLE_NAMES:
        assert facts.issuer == certificate.issuer.public_bytes()
        assert facts.subject == certificate.subject.public_bytes()
    try:
        extensions = certificate.extensions
    except (ValueError, x509.UnsupportedGeneralNameType):
        assert name in UNREADABLE_EXTENSIONS
    else:
        compare_extensions(facts, extensions)


@pytest.mark.parametrize(("name", "rule"), STRICTER.items(), ids=STRICTER)
def test_what_we_refuse_beyond_cryptography_is_refused_for_its_reason(name: str, rule: str) -> None:
    """
    Each certificate left out of the comparison breaks a rule that we name.
    """
    with pytest.raises(CertificateError) as caught:
        parse_certificate(LOADED[name][0])
    assert caught.value.rule == rule


def test_the_vectors_are_there() -> None:
    """
    The comparison runs over PKITS's certificates and several hundred others.
    """
    assert len(COMPARED) > 500
    assert sum(name.startswith("PKITS_data") for name in COMPARED) > 350


# ---- mutations -----------------------------------------------------------------

URI = der(0x86, b"http://ca.example/a.crl")
POINTS = (
    full_name_point(URI, der(0xA4, ISSUER), rest=der(0x81, b"\x01\x06")),
    der(0x30, der(0xA0, der(0xA1, encode_attribute("x")))),
    der(0x30, der(0xA2, der(0xA4, ISSUER))),
)
SEED = encode_certificate(
    extensions=[
        encode_extension("2.5.29.19", der(0x30, der(0x01, b"\xff")), critical=True),
        encode_extension("2.5.29.15", der(0x03, b"\x01\x06")),
        encode_extension("2.5.29.35", der(0x30, der(0x80, b"key"), der(0xA1, URI))),
        encode_extension("2.5.29.14", der(0x04, b"key")),
        encode_extension("2.5.29.31", der(0x30, *POINTS)),
    ]
)
SEEDS = [SEED, *(LOADED[name][0] for name in COMPARED[::50])]
CUT, INSERT, SET = range(3)
MUTATIONS = st.lists(
    st.tuples(st.sampled_from([CUT, INSERT, SET, SET, SET]), st.integers(0), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)


@given(st.sampled_from(SEEDS), MUTATIONS)
def test_mutated_certificates_are_read_or_refused(
    seed: bytes, mutations: list[tuple[int, int, int]]
) -> None:
    """
    Whatever is done to the octets, either CertificateError names a rule, or
    every fact can be used: the parser accepts no name that Python cannot read.
    """
    mutated = bytearray(seed)
    for kind, position, octet in mutations:
        at = position % len(mutated)
        mutated[at : at + (kind != INSERT)] = b"" if kind == CUT else bytes((octet,))
    try:
        facts = parse_certificate(bytes(mutated))
    except CertificateError as error:
        assert error.rule not in {"none", "unknown"}  # noqa: PT017
        assert error.offset <= len(mutated)  # noqa: PT017
        return
    for name in (facts.issuer, facts.subject):
        assert name in mutated
        assert format_name(name).isprintable()
        assert canonical_name(canonical_name(name)) == canonical_name(name)
    assert facts.subject_public_key_info in mutated


def test_no_prefix_of_a_certificate_is_one() -> None:
    """
    A truncated certificate is refused wherever it was cut.
    """
    assert parse_certificate(SEED).is_ca
    for size in range(len(SEED)):
        with pytest.raises(CertificateError):
            parse_certificate(SEED[:size])
