"""CA certificates with the authority key ids that a test chooses, and stores that trust them."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from crlcheck.demo.pki import CertificateAuthority
from crlcheck.publisher.publish import publish_crl
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_crl

SERIAL = 4242
"""The serial number that certificates made here have unless another is given."""


def certify(
    name: str,
    key: ec.EllipticCurvePrivateKey | None = None,
    *,
    by: CertificateAuthority | None,
    key_id: bytes | None = None,
    serial_number: int = SERIAL,
) -> CertificateAuthority:
    """A CA certificate with that authority key id, or without; self-signed if by nobody."""
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial_number)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 3650 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if key_id is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier(key_id, None, None), critical=False
        )
    signer = key if by is None else by.private_key
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return CertificateAuthority(builder.sign(signer, hashes.SHA256()), key)


def key_of(authority: CertificateAuthority) -> ec.EllipticCurvePrivateKey:
    """Its private key."""
    assert isinstance(authority.private_key, ec.EllipticCurvePrivateKey)
    return authority.private_key


def key_id_of(authority: CertificateAuthority) -> bytes:
    """Its subject key id."""
    key_id = authority.authority_key_identifier.key_identifier
    assert key_id is not None
    return key_id


def world(
    *crls: tuple[CertificateAuthority, Iterable[int]], issuers: Iterable[CertificateAuthority]
) -> MemoryStore:
    """A store with a CRL of each authority, and the certificates of all issuers."""
    store = MemoryStore()
    known = [authority.der for authority in issuers]
    for authority, revoked in crls:
        publish_crl(make_crl(authority, 1, revoked), store, issuer=known, now=NOW)
    return store
