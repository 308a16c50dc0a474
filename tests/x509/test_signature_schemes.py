"""Which AlgorithmIdentifier means which signature scheme, and which means none."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pyasn1.codec.der import decoder as der_decoder
from pyasn1_modules import rfc4055, rfc5280

from crlcheck.demo.encoding import HASH_OIDS, der, der_integer, der_oid, encode_pss_algorithm
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.demo.signing import Signer, default_hash_name
from crlcheck.errors import UnsupportedCrlError
from crlcheck.x509.signatures import SignatureScheme, TbsVerifier, signature_scheme
from support.signed_crl import KEY_TYPES, NULL, PSS_OID, SignedCrl, facts_of, make_crl, refusal

MGF1_OID = der_oid("1.2.840.113549.1.1.8")


def pss_identifier(
    hash_part: bytes = b"", mask_part: bytes = b"", salt: bytes = b"", trailer: bytes = b""
) -> bytes:
    """An AlgorithmIdentifier of RSASSA-PSS from its parts as they stand."""
    return der(0x30, PSS_OID, der(0x30, hash_part, mask_part, salt, trailer))


def hash_part(hash_name: str, parameters: bytes = NULL) -> bytes:
    """The [0] hashAlgorithm of RSASSA-PSS-params."""
    return der(0xA0, der(0x30, der_oid(HASH_OIDS[hash_name]), parameters))


def mask_part(hash_name: str, parameters: bytes = NULL) -> bytes:
    """The [1] maskGenAlgorithm of RSASSA-PSS-params."""
    inner = der(0x30, der_oid(HASH_OIDS[hash_name]), parameters)
    return der(0xA1, der(0x30, MGF1_OID, inner))


def salt_part(length: int) -> bytes:
    """The [2] saltLength of RSASSA-PSS-params."""
    return der(0xA2, der_integer(length))


TRAILER = der(0xA3, der_integer(1))
SHA256 = (hash_part("sha256"), mask_part("sha256"))


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (pss_identifier(*SHA256, salt_part(32)), ("rsassaPss-SHA256", "sha256", 32)),
        (pss_identifier(*SHA256), ("rsassaPss-SHA256", "sha256", 20)),
        (pss_identifier(*SHA256, salt_part(0)), ("rsassaPss-SHA256", "sha256", 0)),
        (pss_identifier(*SHA256, salt_part(222)), ("rsassaPss-SHA256", "sha256", 222)),
        (pss_identifier(*SHA256, salt_part(478)), ("rsassaPss-SHA256", "sha256", 478)),
        (pss_identifier(*SHA256, salt_part(32), TRAILER), ("rsassaPss-SHA256", "sha256", 32)),
        (
            pss_identifier(hash_part("sha384", b""), mask_part("sha384", b""), salt_part(48)),
            ("rsassaPss-SHA384", "sha384", 48),
        ),
        (
            pss_identifier(hash_part("sha512", NULL), mask_part("sha512", b""), salt_part(64)),
            ("rsassaPss-SHA512", "sha512", 64),
        ),
    ],
)
def test_pss_parameters_are_accepted(identifier: bytes, expected: tuple[str, str, int]) -> None:
    """
    The parameters that RFC 4055 3.1 lets a signer write: any salt length, NULL
    or nothing as the parameters of a hash, the trailer field or its default.
    """
    scheme = signature_scheme(identifier, allow_sha1=False)
    assert (scheme.name, scheme.hash_name, scheme.salt_length) == expected


@pytest.mark.parametrize(
    "identifier",
    [
        pytest.param(der(0x30, PSS_OID), id="no parameters"),
        pytest.param(der(0x30, PSS_OID, NULL), id="NULL parameters"),
        pytest.param(
            pss_identifier(hash_part("sha256"), mask_part("sha384"), salt_part(32)),
            id="other hash in MGF1",
        ),
        pytest.param(pss_identifier(hash_part("sha256"), b"", salt_part(32)), id="MGF1 with SHA-1"),
        pytest.param(
            pss_identifier(b"", mask_part("sha256"), salt_part(32)), id="SHA-1, MGF1 with SHA-256"
        ),
        pytest.param(
            pss_identifier(hash_part("sha1"), mask_part("sha1"), salt_part(32)),
            id="default hash written out",
        ),
        pytest.param(
            pss_identifier(hash_part("sha224"), mask_part("sha224"), salt_part(28)), id="SHA-224"
        ),
        pytest.param(pss_identifier(*SHA256, salt_part(20)), id="default salt written out"),
        pytest.param(pss_identifier(*SHA256, salt_part(-1)), id="negative salt"),
        pytest.param(
            pss_identifier(*SHA256, bytes.fromhex("a2040202 0020")), id="salt not minimal"
        ),
        pytest.param(pss_identifier(*SHA256, bytes.fromhex("a2020200")), id="empty salt"),
        pytest.param(pss_identifier(*SHA256, salt_part(1 << 16)), id="huge salt"),
        pytest.param(pss_identifier(*SHA256, salt_part(1 << 1000)), id="salt beyond any length"),
        pytest.param(
            pss_identifier(*SHA256, salt_part(32), der(0xA3, der_integer(2))), id="trailer field 2"
        ),
        pytest.param(pss_identifier(*SHA256, TRAILER, salt_part(32)), id="wrong order"),
        pytest.param(pss_identifier(*SHA256, salt_part(32), NULL), id="trailing element"),
        pytest.param(pss_identifier(*SHA256, salt_part(32)) + b"\0", id="trailing octet"),
        pytest.param(
            bytes((0x30, 0x81))
            + pss_identifier(*SHA256, salt_part(32))[1:2]
            + pss_identifier(*SHA256, salt_part(32))[2:],
            id="length not minimal",
        ),
    ],
)
def test_other_pss_parameters_are_refused(identifier: bytes) -> None:
    """
    Anything else, ambiguous or merely not DER, is refused by name.
    """
    with pytest.raises(UnsupportedCrlError) as caught:
        signature_scheme(identifier, allow_sha1=True)
    assert caught.value.feature in {"rsassa_pss_parameters", "signature_algorithm"}


def test_pss_salt_length_is_part_of_the_signature(
    authorities: dict[str, CertificateAuthority],
) -> None:
    """
    A PSS signature holds under the salt length and hash that its parameters
    name and under no other.
    """
    signer = authorities["rsa-pss"]
    issuer = facts_of(signer.certificate)
    for salt_length in (0, 20, 32, 190):
        crl = SignedCrl.parse(make_crl(signer, salt_length=salt_length))
        assert crl.verify([issuer]) is issuer
        other = encode_pss_algorithm("sha256", salt_length + 1)
        assert (
            refusal(dataclasses.replace(crl, algorithm_identifier=other), issuer).reason
            == "bad_signature"
        )
    # More salt than the key has room for.
    other = encode_pss_algorithm("sha256", 32767)
    broken = dataclasses.replace(crl, algorithm_identifier=other)
    assert refusal(broken, issuer).reason == "bad_signature"


@pytest.mark.parametrize(
    ("oid", "parameters", "feature"),
    [
        ("1.2.840.113549.1.1.2", NULL, "md2_signature"),
        ("1.2.840.113549.1.1.4", NULL, "md5_signature"),
        ("1.2.840.113549.1.1.4", b"", "md5_signature"),
        ("1.2.840.113549.1.1.14", NULL, "signature_algorithm"),
        ("1.2.840.113549.1.1.1", NULL, "signature_algorithm"),
        ("1.2.840.113549.1.1.11", der(0x30), "signature_algorithm"),
        ("1.2.840.10045.4.3.1", b"", "signature_algorithm"),
        ("1.2.840.10045.4.3.2", NULL, "signature_algorithm"),
        ("1.2.840.10040.4.3", b"", "signature_algorithm"),
        ("1.3.101.112", NULL, "signature_algorithm"),
        ("2.16.840.1.101.3.4.3.18", NULL, "signature_algorithm"),
        ("1.2.3.4", b"", "signature_algorithm"),
    ],
)
def test_other_algorithms_are_refused(oid: str, parameters: bytes, feature: str) -> None:
    """
    MD2 and MD5 are refused even where SHA-1 is allowed; so are unknown
    algorithms, and known ones with parameters that they do not take.
    """
    with pytest.raises(UnsupportedCrlError) as caught:
        signature_scheme(der(0x30, der_oid(oid), parameters), allow_sha1=True)
    assert caught.value.feature == feature


@pytest.mark.parametrize("encoded", [b"", b"\x30", b"\x30\x00", b"\x30\x01\x06", bytes(300)])
def test_fragments_are_refused(encoded: bytes) -> None:
    """
    What is not even an AlgorithmIdentifier is refused, never a crash.
    """
    with pytest.raises(UnsupportedCrlError):
        signature_scheme(encoded, allow_sha1=True)


@pytest.mark.parametrize("key_type", ["rsa", "rsa-pss", "ec-p256"])
def test_sha1_must_be_allowed(authorities: dict[str, CertificateAuthority], key_type: str) -> None:
    """
    A SHA-1 signature is refused unless asked for, and verified then.
    """
    signer = authorities[key_type]
    issuer = facts_of(signer.certificate)
    crl = SignedCrl.parse(make_crl(signer, hash_name="sha1"))
    with pytest.raises(UnsupportedCrlError, match="allow_sha1") as caught:
        crl.verify([issuer])
    assert caught.value.feature == "sha1_signature"
    scheme = signature_scheme(crl.algorithm_identifier, allow_sha1=True)
    assert scheme.has_weak_hash
    with TbsVerifier(scheme, [issuer]) as verifier:
        verifier.update(crl.tbs)
        assert verifier.verify(crl.signature) is issuer
        assert verifier.tbs_digest.startswith("sha1:")


def test_rsa_parameters_may_be_absent(authorities: dict[str, CertificateAuthority]) -> None:
    """
    PKCS #1 v1.5 with the parameters left out is accepted (RFC 4055 5).
    """
    with_null = der(0x30, der_oid("1.2.840.113549.1.1.11"), NULL)
    without = der(0x30, der_oid("1.2.840.113549.1.1.11"))
    assert signature_scheme(with_null, allow_sha1=False) == signature_scheme(
        memoryview(without), allow_sha1=False
    )


def known_identifiers() -> dict[bytes, SignatureScheme]:
    """An AlgorithmIdentifier of every scheme, as an independent encoder writes it."""
    identifiers = []
    for kind in KEY_TYPES:
        if kind in ("rsa", "rsa-pss"):
            continue
        key = CertificateAuthority.create("Test CA", key_type=kind).private_key
        identifiers.append(Signer(key, default_hash_name(key)).algorithm_identifier)
    rsa_key = rsa.generate_private_key(65537, 2048)
    for hash_name in ("sha1", "sha256", "sha384", "sha512"):
        identifiers.append(Signer(rsa_key, hash_name).algorithm_identifier)
        if hash_name != "sha1":  # pyasn1 cannot hand out the defaults
            identifiers.append(encode_pss_algorithm(hash_name, 48))
    return {each: signature_scheme(each, allow_sha1=True) for each in identifiers}


def pss_parameters_by_pyasn1(parameters: Any) -> tuple[str, str, int, int]:
    """Hash, MGF1 hash, salt length and trailer field of RSASSA-PSS-params."""
    decoded, rest = der_decoder.decode(parameters, asn1Spec=rfc4055.RSASSA_PSS_params())
    assert rest == b""
    mask_hash = algorithm_oid(decoded["maskGenAlgorithm"]["parameters"])
    return (
        str(decoded["hashAlgorithm"]["algorithm"]),
        mask_hash,
        int(decoded["saltLength"]),
        int(decoded["trailerField"]),
    )


def test_no_flipped_bit_means_another_scheme_unnoticed() -> None:
    """
    Whatever one flipped bit makes of a known AlgorithmIdentifier is refused, or
    means what pyasn1 reads there.
    """
    known = known_identifiers()
    name_of = {algorithm_oid(identifier): scheme.name for identifier, scheme in known.items()}
    accepted = 0
    for identifier in known:
        for bit in range(len(identifier) * 8):
            flipped = bytearray(identifier)
            flipped[bit // 8] ^= 1 << (bit % 8)
            try:
                scheme = signature_scheme(bytes(flipped), allow_sha1=True)
            except UnsupportedCrlError:
                continue
            accepted += 1
            if scheme.salt_length is None:
                assert name_of[algorithm_oid(bytes(flipped))] == scheme.name
            else:
                assert scheme.hash_name is not None
                oid = HASH_OIDS[scheme.hash_name]
                expected = (oid, oid, scheme.salt_length, 1)
                assert pss_parameters_by_pyasn1(bytes(flipped)[13:]) == expected
    # Some flips lead from one OID or salt length to another, so that the
    # comparison has been made.
    assert accepted > 20


def algorithm_oid(identifier: Any) -> str:
    """The OID of an AlgorithmIdentifier, as pyasn1 reads it."""
    parsed, rest = der_decoder.decode(identifier, asn1Spec=rfc5280.AlgorithmIdentifier())
    assert rest == b""
    return str(parsed["algorithm"])
