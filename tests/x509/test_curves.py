"""
Keys and CRLs that the openssl command made, on each curve that it has.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from crlcheck import CrlSignatureError, UnsupportedCrlError, compile_crl, load_certificate
from crlcheck.demo.encoding import der, der_integer, der_oid
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.types import CertificateFacts
from crlcheck.x509.signatures import is_self_signed
from support.openssl import curves
from support.signed_crl import SignedCrl, facts_of, make_crl, public_key_info, refusal

CONFIGURATION = """
[req]
distinguished_name = name
[name]
[ca_extensions]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = own
[own]
database = {directory}/index.txt
crlnumber = {directory}/number
default_md = {hash_name}
default_crl_days = 30
private_key = {directory}/key.pem
certificate = {directory}/ca.pem
crl_extensions = crl_extensions
[crl_extensions]
authorityKeyIdentifier = keyid
"""


def of_the_command(*wanted: str) -> list[str]:
    """Those of *wanted* that the command has."""
    return [curve for curve in wanted if curve in curves()]


def openssl(*arguments: str | Path) -> None:
    """Run the command; it must succeed."""
    done = subprocess.run(
        ["openssl", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def make_authority(
    directory: Path, curve: str, hash_name: str = "sha256", encoding: str = "named_curve"
) -> tuple[CertificateFacts, bytes]:
    """A CA's certificate and its CRL, both made and signed by the openssl command."""
    configuration = directory / "openssl.cnf"
    configuration.write_text(CONFIGURATION.format(directory=directory, hash_name=hash_name))
    (directory / "index.txt").touch()
    (directory / "number").write_text("01\n")
    key, certificate, crl = directory / "key.pem", directory / "ca.pem", directory / "ca.crl"
    openssl(
        "ecparam", "-name", curve, "-genkey", "-noout", "-param_enc", encoding, "-out", key
    )  # fmt: skip
    openssl(
        "req", "-x509", "-new", "-key", key, "-config", configuration, "-subj", "/CN=Test CA",
        "-extensions", "ca_extensions", f"-{hash_name}", "-days", "30", "-out", certificate,
    )  # fmt: skip
    openssl("ca", "-config", configuration, "-gencrl", "-out", crl)
    return load_certificate(certificate.read_bytes()), crl.read_bytes()


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    "curve",
    of_the_command(
        "prime256v1", "secp384r1", "secp521r1",
        "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1",
    ),
)  # fmt: skip
def test_crls_on_supported_curves_are_verified(tmp_path: Path, curve: str, hash_name: str) -> None:
    """
    What openssl signed is compiled, and one flipped bit of the signature is refused.
    """
    issuer, crl = make_authority(tmp_path, curve, hash_name)
    report = compile_crl(crl, tmp_path / "ca.crlx", issuer=issuer)
    assert report.num_entries == 0
    assert report.metadata.signature_algorithm == f"ecdsa-with-{hash_name.upper()}"
    assert is_self_signed(issuer) is True
    parsed = SignedCrl.parse(_der_of(crl))
    damaged = parsed.signature[:-1] + bytes((parsed.signature[-1] ^ 1,))
    assert refusal(dataclasses.replace(parsed, signature=damaged), issuer).reason == "bad_signature"


def _der_of(pem: bytes) -> bytes:
    return subprocess.run(
        ["openssl", "crl", "-outform", "DER"], input=pem, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize(
    "curve",
    of_the_command(
        "secp224r1", "secp256k1", "sect283r1", "brainpoolP160r1", "brainpoolP224r1",
        "brainpoolP320r1", "brainpoolP256t1", "brainpoolP384t1", "brainpoolP512t1",
    ),
)  # fmt: skip
def test_other_curves_are_refused_by_name(tmp_path: Path, curve: str) -> None:
    """
    The refusal names the curve, whether or not cryptography knows it.
    """
    issuer, crl = make_authority(tmp_path, curve)
    with pytest.raises(
        CrlSignatureError, match=rf"its key is EC on the curve {curve} \("
    ) as caught:
        compile_crl(crl, tmp_path / "ca.crlx", issuer=issuer)
    assert caught.value.reason == "bad_signature"
    assert not (tmp_path / "ca.crlx").exists()
    assert is_self_signed(issuer) is None


@pytest.mark.parametrize("curve", of_the_command("SM2"))
def test_sm2_is_refused_by_name(tmp_path: Path, curve: str) -> None:
    """
    An SM2 CA's CRL names its scheme, and its key is named where another scheme is claimed.
    """
    issuer, crl = make_authority(tmp_path, curve, "sm3")
    with pytest.raises(UnsupportedCrlError, match=r"SM2-with-SM3 \(1\.2\.156\.10197\.1\.501\)"):
        compile_crl(crl, tmp_path / "ca.crlx", issuer=issuer)
    parsed = SignedCrl.parse(_der_of(crl))
    claimed = der(0x30, der_oid("1.2.840.10045.4.3.2"))
    error = refusal(dataclasses.replace(parsed, algorithm_identifier=claimed), issuer)
    assert "its key is EC on the curve SM2 (1.2.156.10197.1.301)" in str(error)
    assert is_self_signed(issuer) is None


# ---- explicit parameters -----------------------------------------------------


@pytest.mark.parametrize(
    "curve",
    of_the_command("prime256v1", "secp384r1", "secp521r1", "secp256k1", "brainpoolP256r1"),
)
def test_explicit_parameters_are_refused(tmp_path: Path, curve: str) -> None:
    """
    Even where they say what a named curve says, which cryptography would take.
    """
    issuer, crl = make_authority(tmp_path, curve, encoding="explicit")
    with pytest.raises(CrlSignatureError, match=r"explicit curve parameters.*RFC 5480 2\.1\.1"):
        compile_crl(crl, tmp_path / "ca.crlx", issuer=issuer)
    assert is_self_signed(issuer) is None


def explicit_parameters(generator: bytes, *, seed: bool = False, cofactor: int | None = 1) -> bytes:
    """P-256 in full (RFC 3279 2.3.5), with a base point of its own."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    a = (p - 3).to_bytes(32, "big")
    b = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return der(
        0x30,
        der_integer(1),
        der(0x30, der_oid("1.2.840.10045.1.1"), der_integer(p)),
        der(0x30, der(0x04, a), der(0x04, b), der(0x03, b"\0" + bytes(20)) if seed else b""),
        der(0x04, generator),
        der_integer(order),
        b"" if cofactor is None else der_integer(cofactor),
    )


Hostile = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "parameters",
    [
        # The attack on Windows' CryptoAPI: the trusted public key with a generator that
        # makes it the attacker's own.
        explicit_parameters,
        lambda point: explicit_parameters(point, cofactor=None),
        lambda point: explicit_parameters(point, seed=True),
        lambda _: der(0x30),
        lambda _: der(0x05),
        lambda _: b"",
        lambda _: der_oid("1.2.840.10045.3.1.7") + der(0x05),
    ],
    ids=["generator", "no cofactor", "seed", "empty", "implicit", "absent", "more"],
)
def test_hostile_parameters_verify_nothing(parameters: Hostile) -> None:
    """
    A namesake of a trusted CA with its public key, on a curve of the attacker's, is
    trusted for nothing, and does not stand in the trusted one's way.
    """
    authority = CertificateAuthority.create("Test CA")
    issuer = facts_of(authority.certificate)
    key = authority.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    point = public_key_info(key)[-65:]
    algorithm = der(0x30, der_oid("1.2.840.10045.2.1"), parameters(point))
    info = der(0x30, algorithm, der(0x03, b"\0" + point))
    hostile = dataclasses.replace(issuer, subject_public_key_info=info)
    crl = SignedCrl.parse(make_crl(authority))
    error = refusal(crl, hostile)
    assert error.reason == "bad_signature"
    assert re.search("explicit curve parameters|cannot be read|without a named curve", str(error))
    assert crl.verify([hostile, issuer]) is issuer
