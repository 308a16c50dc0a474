"""Refusals name the algorithms of signatures and keys that are not supported."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, x25519

from crlcheck.demo.encoding import der, der_oid
from crlcheck.errors import UnsupportedCrlError
from crlcheck.x509.algorithm_names import (
    curve_oid,
    has_explicit_curve,
    key_name,
    signature_name,
    signature_oid,
)
from crlcheck.x509.signatures import signature_scheme
from support.openssl import curves
from support.signed_crl import public_key_info

NULL = der(0x05)
EC_KEY = "1.2.840.10045.2.1"


def key_info(oid: str, parameters: bytes = b"") -> bytes:
    """A SubjectPublicKeyInfo of an algorithm, with a key of no meaning."""
    return der(0x30, der(0x30, der_oid(oid), parameters), der(0x03, b"\0\x04"))


@pytest.mark.parametrize(
    ("oid", "name"),
    [
        ("1.2.156.10197.1.501", "SM2-with-SM3"),
        ("1.2.643.2.2.3", "GOST R 34.10-2001 with GOST R 34.11-94"),
        ("1.2.643.7.1.1.3.2", "GOST R 34.10-2012 (256 bits) with GOST R 34.11-2012"),
        ("1.2.643.7.1.1.3.3", "GOST R 34.10-2012 (512 bits) with GOST R 34.11-2012"),
        ("1.2.840.113549.1.1.4", "md5WithRSAEncryption"),
        ("1.3.14.3.2.3", "md5WithRSA"),
        ("1.3.14.3.2.29", "sha1WithRSASignature"),
        ("1.2.840.10040.4.3", "dsa-with-SHA1"),
        ("2.16.840.1.101.3.4.3.2", "dsa-with-SHA256"),
        ("2.16.840.1.101.3.4.3.10", "ecdsa-with-SHA3-256"),
        ("2.16.840.1.101.3.4.3.14", "rsassa-pkcs1-v1.5-with-SHA3-256"),
        ("2.16.840.1.101.3.4.3.20", "SLH-DSA-SHA2-128s"),
        ("2.16.840.1.101.3.4.3.31", "SLH-DSA-SHAKE-256f"),
        ("2.16.840.1.101.3.4.3.32", "HashML-DSA-44-with-SHA512"),
        ("0.4.0.127.0.7.1.1.4.1.3", "ecdsa-plain-SHA256"),
        ("1.2.840.113549.1.1.1", "rsaEncryption (a key's algorithm)"),
    ],
)
def test_a_signature_that_is_refused_is_named(oid: str, name: str) -> None:
    """
    The name comes first and the OID in brackets, whatever the parameters are.
    """
    for parameters in (b"", NULL, der(0x30, der_oid("1.2.3"))):
        identifier = der(0x30, der_oid(oid), parameters)
        assert signature_name(identifier) == f"{name} ({oid})"
        with pytest.raises(UnsupportedCrlError) as caught:
            signature_scheme(identifier, allow_sha1=True)
        assert f"CRL signature algorithm is {name} ({oid}): expected RSA" in str(caught.value)
        assert identifier.hex() not in str(caught.value)
        assert caught.value.feature == (
            "md5_signature" if name.startswith("md5") else "signature_algorithm"
        )


def test_a_known_signature_with_other_parameters_says_so() -> None:
    """
    It is not the algorithm that is unknown.
    """
    for identifier in (
        der(0x30, der_oid("1.2.840.10045.4.3.2"), NULL),
        der(0x30, der_oid("1.3.101.112"), NULL),
        der(0x30, der_oid("1.2.840.113549.1.1.11"), der(0x30)),
    ):
        with pytest.raises(UnsupportedCrlError, match="with parameters that it does not take"):
            signature_scheme(identifier, allow_sha1=True)


def test_what_is_not_known_keeps_its_oid() -> None:
    """
    An OID that nobody told us of is shown as dotted text.
    """
    assert signature_name(der(0x30, der_oid("1.2.3.4"))) == "of an unknown kind (1.2.3.4)"
    assert key_name(key_info("1.2.3.4")) == "of an unknown kind (1.2.3.4)"
    unknown_curve = key_info(EC_KEY, der_oid("1.2.3.4"))
    assert key_name(unknown_curve) == "EC on the curve of an unknown kind (1.2.3.4)"


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\x30", b"\x30\x00", b"\x30\x01\x06", b"\x30\x02\x06\x00", b"\x30\x03\x06\x05\x2a",
     b"\x30\x04\x02\x02\x01\x01", b"\x30\x82", b"\x30\x84\xff\xff\xff\xff\x06", bytes(40)],
)  # fmt: skip
def test_fragments_have_no_name(encoded: bytes) -> None:
    """
    What is no AlgorithmIdentifier, or no key, is never a crash.
    """
    assert signature_name(encoded) == "no AlgorithmIdentifier"
    assert signature_oid(encoded) is None
    assert not has_explicit_curve(encoded)
    assert key_name(encoded) == "no AlgorithmIdentifier"
    assert curve_oid(encoded) is None


def test_keys_are_named_by_their_algorithm() -> None:
    """
    Of elliptic curves the curve is named, because the curve decides.
    """
    sm2, gost = "1.2.156.10197.1.301", "1.2.643.7.1.1.1.1"
    assert key_name(key_info(EC_KEY, der_oid(sm2))) == f"EC on the curve SM2 ({sm2})"
    assert key_name(key_info(sm2)) == f"SM2 ({sm2})"
    assert key_name(key_info(gost, der(0x30))) == f"GOST R 34.10-2012 (256 bits) ({gost})"
    assert key_name(key_info(EC_KEY)) == f"EC without a named curve ({EC_KEY})"
    assert key_name(public_key_info(x25519.X25519PrivateKey.generate())) == "X25519 (1.3.101.110)"
    key = dsa.generate_private_key(1024)
    assert key_name(public_key_info(key)) == "DSA (1.2.840.10040.4.1)"


def test_explicit_curves_are_told() -> None:
    """
    A SEQUENCE in place of the curve's name spells it out; a named one does not.
    """
    assert has_explicit_curve(key_info(EC_KEY, der(0x30)))
    assert has_explicit_curve(key_info("1.3.132.1.12", der(0x30)))
    assert not has_explicit_curve(key_info(EC_KEY, der_oid("1.2.840.10045.3.1.7")))
    assert not has_explicit_curve(key_info(EC_KEY, NULL))
    assert not has_explicit_curve(key_info("1.2.840.113549.1.1.10", der(0x30)))


PREFIXES = ("sec", "prime256", "brainpool", "SM2")


@pytest.mark.parametrize("curve", [one for one in curves() if one.startswith(PREFIXES)])
def test_curves_are_named_as_openssl_names_them(curve: str, tmp_path: Path) -> None:
    """
    The table has the OIDs of the curves that people may have keys on.
    """
    path = tmp_path / "key.der"
    subprocess.run(
        ["openssl", "ecparam", "-name", curve, "-outform", "DER", "-out", path], check=True
    )
    expected = {"prime256v1": "secp256r1"}.get(curve, curve)
    name = key_name(key_info(EC_KEY, path.read_bytes()))
    ours = name.removeprefix("EC on the curve ").partition(" (")[0]
    # Curves of SECG that nobody has in certificates are not in the table.
    assert ours in (expected, "of an unknown kind")
    if curve.startswith(("brainpool", "SM2", "prime256", "secp256k1", "secp384", "secp521")):
        assert ours == expected
