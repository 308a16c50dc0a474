"""Certificates of OCSP responders, requests and responses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc6960

from crlcheck.checker.checker import RevocationChecker
from crlcheck.demo.pki import CertificateAuthority, IssuedCertificate, PrivateKey, generate_key
from crlcheck.demo.signing import KeyType
from crlcheck.ocsp import OcspAnswer, OcspResponder, ResponderKey, load_responder_keys
from support.pki import DAY, NOW, make_client

OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING


def make_responder(
    authority: CertificateAuthority,
    *,
    purposes: Iterable[x509.ObjectIdentifier] = (OCSP_SIGNING,),
    digital_signature: bool = True,
    no_check: bool = True,
    key_type: KeyType = "ec-p256",
    serial_number: int = 7777,
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + 365 * DAY,
    signed_by: CertificateAuthority | None = None,
) -> IssuedCertificate:
    """The certificate of a delegated responder; *signed_by* forges its issuer's signature."""
    key = generate_key(key_type)
    usage = x509.KeyUsage(
        digital_signature=digital_signature, content_commitment=not digital_signature,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OCSP responder")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial_number)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(usage, critical=True)
        .add_extension(authority.authority_key_identifier, critical=False)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    if no_check:
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    signer = (signed_by or authority).private_key
    assert isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    certificate = builder.sign(signer, hashes.SHA256())
    return IssuedCertificate(certificate.public_bytes(serialization.Encoding.DER), _key_pem(key))


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_pair(directory: Path, name: str, pair: IssuedCertificate | CertificateAuthority) -> None:
    """Write a certificate and its key, as ``load_responder_keys`` expects them."""
    (directory / f"{name}.crt").write_bytes(pair.pem)
    key = directory / f"{name}.key"
    key.touch(0o600)
    key.write_bytes(pair.key_pem)


def load_pairs(
    directory: Path, *pairs: IssuedCertificate | CertificateAuthority
) -> tuple[ResponderKey, ...]:
    """Write pairs to a directory and load them."""
    for number, pair in enumerate(pairs):
        write_pair(directory, f"pair{number}", pair)
    return load_responder_keys(directory, now=NOW)


def make_request(
    authority: CertificateAuthority,
    serial_number: int,
    *,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    """A request about a certificate of *authority*, as ``cryptography`` writes it."""
    algorithm = algorithm or hashes.SHA1()
    hashed = hashes_of(authority, algorithm)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*hashed, serial_number, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


def hashes_of(
    authority: CertificateAuthority, algorithm: hashes.HashAlgorithm
) -> tuple[bytes, bytes]:
    """The hashes of an issuer's name and key, as ``cryptography`` makes them."""
    certificate = x509.load_der_x509_certificate(make_client(authority, 1))
    builder = ocsp.OCSPRequestBuilder()
    request = builder.add_certificate(certificate, authority.certificate, algorithm).build()
    return request.issuer_name_hash, request.issuer_key_hash


@dataclass
class Asker:
    """Asks a responder, and reads its answers by two other libraries."""

    responder: OcspResponder
    signer: IssuedCertificate | CertificateAuthority

    def __call__(
        self, authority: CertificateAuthority, serial_number: int, **options: Any
    ) -> ocsp.OCSPResponse:
        """Return the response, once its signature and its encoding were verified."""
        return self.read(self.ask(authority, serial_number, **options).body)

    def ask(
        self, authority: CertificateAuthority, serial_number: int, **options: Any
    ) -> OcspAnswer:
        """Return the answer."""
        return self.responder.respond(make_request(authority, serial_number, **options))

    def read(self, body: bytes) -> ocsp.OCSPResponse:
        """Read a response."""
        decoded, rest = decoder.decode(body, asn1Spec=rfc6960.OCSPResponse())
        assert rest == b""
        assert encoder.encode(decoded) == body
        response = ocsp.load_der_ocsp_response(body)
        if response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
            inner = decoded["responseBytes"]["response"].asOctets()
            basic, rest = decoder.decode(inner, asn1Spec=rfc6960.BasicOCSPResponse())
            assert rest == b""
            assert len(basic["tbsResponseData"]["responses"]) == 1
            _verify(response, self.signer.certificate.public_key())
        return response


def _verify(response: ocsp.OCSPResponse, key: Any) -> None:
    algorithm = response.signature_hash_algorithm
    signed = response.signature, response.tbs_response_bytes
    if algorithm is None:
        key.verify(*signed)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(*signed, ec.ECDSA(algorithm))
    else:
        key.verify(*signed, padding.PKCS1v15(), algorithm)


def make_asker(
    checker: RevocationChecker,
    directory: Path,
    signer: IssuedCertificate | CertificateAuthority,
    *others: IssuedCertificate | CertificateAuthority,
    **options: Any,
) -> Asker:
    """Return an asker of a responder with these keys; the first one is expected to sign."""
    keys = load_pairs(directory, signer, *others)
    return Asker(OcspResponder(checker, keys, **options), signer)
