"""CRLs taken apart by other parsers, for tests of the signature alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pyasn1.codec.der import decoder as der_decoder
from pyasn1.codec.der import encoder as der_encoder
from pyasn1_modules import rfc5280

from crlcheck.demo.encoding import der, der_oid
from crlcheck.demo.pki import CertificateAuthority, KeyType, encode_entry, sign_crl
from crlcheck.errors import CrlSignatureError
from crlcheck.types import CertificateFacts
from crlcheck.x509.signatures import TbsVerifier, candidate_issuers, signature_scheme

KEY_TYPES: tuple[KeyType, ...] = get_args(KeyType)
NULL = der(0x05)
PSS_OID = der_oid("1.2.840.113549.1.1.10")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class SignedCrl:
    """The parts of a CRL that its signature concerns, as other parsers find them."""

    tbs: bytes
    algorithm_identifier: bytes
    signature: bytes
    issuer: bytes
    authority_key_id: bytes | None

    @classmethod
    def parse(cls, encoded: bytes) -> SignedCrl:
        """Take *encoded* apart with ``cryptography`` and, for what it hides, pyasn1."""
        crl = x509.load_der_x509_crl(encoded)
        parsed, _ = der_decoder.decode(encoded, asn1Spec=rfc5280.CertificateList())
        try:
            key_id = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        except x509.ExtensionNotFound:
            identifier = None
        else:
            identifier = key_id.key_identifier
        return cls(
            tbs=crl.tbs_certlist_bytes,
            algorithm_identifier=der_encoder.encode(parsed["signatureAlgorithm"]),
            signature=crl.signature,
            issuer=crl.issuer.public_bytes(),
            authority_key_id=identifier,
        )

    def verify(self, issuers: Sequence[CertificateFacts], chunk_size: int = 17) -> CertificateFacts:
        """Verify as a compiler does: the key id is known only after the last byte."""
        scheme = signature_scheme(self.algorithm_identifier, allow_sha1=False)
        named = candidate_issuers(issuers, crl_issuer=self.issuer)
        with TbsVerifier(scheme, named) as verifier:
            for start in range(0, len(self.tbs), chunk_size):
                verifier.update(memoryview(self.tbs)[start : start + chunk_size])
            return verifier.verify(self.signature, self.authority_key_id)


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """What crlcheck wants of a certificate, read by ``cryptography``."""

    def extension(kind: type[Any]) -> Any:
        try:
            return certificate.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    key_usage = extension(x509.KeyUsage)
    usage_bits = ("digital_signature", "content_commitment", "key_encipherment",
                  "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")  # fmt: skip
    authority = extension(x509.AuthorityKeyIdentifier)
    subject = extension(x509.SubjectKeyIdentifier)
    constraints = extension(x509.BasicConstraints)
    return CertificateFacts(
        der=certificate.public_bytes(serialization.Encoding.DER),
        serial_number=certificate.serial_number,
        issuer=certificate.issuer.public_bytes(),
        subject=certificate.subject.public_bytes(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        subject_public_key_info=certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        authority_key_id=None if authority is None else authority.key_identifier,
        subject_key_id=None if subject is None else subject.key_identifier,
        is_ca=constraints is not None and constraints.ca,
        key_usage=None
        if key_usage is None
        else sum(getattr(key_usage, name) << bit for bit, name in enumerate(usage_bits)),
        distribution_points=(),
    )


def make_crl(authority: CertificateAuthority, **options: Any) -> bytes:
    """A small CRL of *authority*."""
    entries = [encode_entry(serial, NOW) for serial in (1, 255, 1 << 100)]
    return sign_crl(
        authority, entries, this_update=NOW, next_update=NOW + timedelta(days=7), **options
    )


def refusal(crl: SignedCrl, *issuers: CertificateFacts) -> CrlSignatureError:
    """The error by which *crl* is refused."""
    with pytest.raises(CrlSignatureError) as caught:
        crl.verify(issuers)
    return caught.value


def public_key_info(key: Any) -> bytes:
    """The SubjectPublicKeyInfo of a private key."""
    encoded: bytes = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
