"""Certificates with every choice that path validation looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from crlcheck.demo.encoding import der
from crlcheck.demo.signing import Signer
from crlcheck.encoding.der import read_element, read_elements

ExtensionList = Sequence[tuple[x509.ExtensionType, bool]]


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    der: bytes
    key: Any
    subject: x509.Name


def name(common_name: str) -> x509.Name:
    """A Name with one attribute."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(**bits: bool) -> x509.KeyUsage:
    """KeyUsage with these bits."""
    all_bits = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
         "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        False,
    )  # fmt: skip
    return x509.KeyUsage(**{**all_bits, **bits})


def issue(
    issuer: Issued | None,
    common_name: str | x509.Name,
    *,
    now: datetime,
    is_ca: bool | None = False,
    path_length: int | None = None,
    usage: x509.KeyUsage | None = None,
    purposes: Sequence[ObjectIdentifier] = (),
    names: Sequence[x509.GeneralName] = (),
    extensions: ExtensionList = (),
    key: Any = None,
    hash_name: str = "sha256",
    authority_key_id: bool = True,
    subject_key_id: bool = True,
    version: int = 3,
) -> Issued:
    """
    Issue a certificate, by itself where *issuer* is None; *is_ca* None leaves
    basicConstraints out, and version 1 all extensions.
    """
    subject = common_name if isinstance(common_name, x509.Name) else name(common_name)
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    signing_key = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )
    given = list(extensions)
    if is_ca is not None:
        given.append((x509.BasicConstraints(ca=is_ca, path_length=path_length), True))
    if usage is None and is_ca:
        usage = key_usage(key_cert_sign=True, crl_sign=True)
    if usage is not None:
        given.append((usage, True))
    if purposes:
        given.append((x509.ExtendedKeyUsage(purposes), False))
    if names:
        given.append((x509.SubjectAlternativeName(names), not subject.rdns))
    if authority_key_id:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
        given.append((identifier, False))
    if subject_key_id:
        given.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    for extension, critical in given if version == 3 else ():
        builder = builder.add_extension(extension, critical)
    takes_hash = isinstance(signing_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    signed = builder.sign(signing_key, hashes.SHA256() if takes_hash else None)
    encoded = signed.public_bytes(serialization.Encoding.DER)
    if version == 1 or hash_name != "sha256":
        encoded = _signed_anew(
            signed.tbs_certificate_bytes, Signer(signing_key, hash_name), version
        )
    return Issued(encoded, key, subject)


def self_signed(
    common_name: str, *, extensions: ExtensionList | None = None, **options: Any
) -> Issued:
    """A root; with *extensions*, these are all that its certificate has."""
    if extensions is None:
        return issue(None, common_name, is_ca=True, **options)
    return issue(
        None, common_name, is_ca=None, extensions=extensions,
        authority_key_id=False, subject_key_id=False, **options,
    )  # fmt: skip


def _signed_anew(tbs: bytes, signer: Signer, version: int) -> bytes:
    """The certificate as CertificateBuilder does not make it: of version 1, or over SHA-1."""
    number, serial, _algorithm, *rest = (
        one.whole for one in read_elements(read_element(tbs, 0x30))
    )
    head = (serial,) if version == 1 else (number, serial)
    changed = der(0x30, *head, signer.algorithm_identifier, *rest)
    signer.update(changed)
    return der(0x30, changed, signer.algorithm_identifier, der(0x03, b"\0", signer.sign()))
