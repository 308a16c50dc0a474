"""
Make a small certificate authority, for the demo, the tests and the benchmarks.

Do not use it for real keys.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Required, TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crlcheck.demo.encoding import (
    der,
    der_header,
    der_integer,
    der_time,
    encode_entry,
    encode_extension,
)
from crlcheck.demo.signing import (
    HASHES,
    BytesLike,
    KeyType,
    PrivateKey,
    Signer,
    default_hash_name,
    generate_key,
)

__all__ = [
    "CertificateAuthority",
    "CrlOptions",
    "IssuedCertificate",
    "KeyType",
    "PrivateKey",
    "encode_entry",
    "encode_extension",
    "generate_key",
    "pem_block",
    "sign_crl",
    "write_crl",
]

_CERTIFICATE_HASHES: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its private key (PKCS #8 PEM, not encrypted)."""

    der: bytes
    key_pem: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate as ``cryptography`` reads it; it warns of odd serial numbers."""
        return x509.load_der_x509_certificate(self.der)

    @property
    def pem(self) -> bytes:
        """The certificate as one PEM block."""
        return pem_block("CERTIFICATE", self.der)


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA certificate with its private key. ``uses_pss`` selects RSASSA-PSS for an RSA key."""

    certificate: x509.Certificate
    private_key: PrivateKey
    uses_pss: bool = False

    @classmethod
    def create(
        cls,
        common_name: str | x509.Name,
        *,
        key_type: KeyType = "ec-p256",
        private_key: PrivateKey | None = None,
        parent: CertificateAuthority | None = None,
        may_sign_crls: bool = True,
        now: datetime | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        serial_number: int | None = None,
        subject_key_id: bool = True,
    ) -> CertificateAuthority:
        """
        Create an authority, self-signed or certified by *parent*.

        Two authorities of one name are two issuers, unless they get the same
        *private_key*: then they are two certificates of one issuer. The dates default
        to a day before *now* and ten years after it.
        """
        now = datetime.now(UTC) if now is None else now
        key = generate_key(key_type) if private_key is None else private_key
        uses_pss = key_type == "rsa-pss"
        subject = _name(common_name)
        key_usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True,
            crl_sign=may_sign_crls, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if parent is None else parent.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number() if serial_number is None else serial_number)
            .not_valid_before(now - timedelta(days=1) if not_before is None else not_before)
            .not_valid_after(now + timedelta(days=3650) if not_after is None else not_after)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_usage, critical=True)
        )
        if subject_key_id:
            key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(key_id, critical=False)
        if parent is None:
            return cls(_sign_certificate(builder, key, uses_pss=uses_pss), key, uses_pss)
        builder = builder.add_extension(parent.authority_key_identifier, critical=False)
        certificate = _sign_certificate(builder, parent.private_key, uses_pss=parent.uses_pss)
        return cls(certificate, key, uses_pss)

    @property
    def der(self) -> bytes:
        """The CA certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The CA certificate as one PEM block."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as PKCS #8 PEM, not encrypted."""
        return _key_pem(self.private_key)

    @property
    def authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The authority key identifier extension of certificates and CRLs by this authority."""
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private_key.public_key())

    def signer(self, hash_name: str | None = None, *, salt_length: int | None = None) -> Signer:
        """
        Return a signer with this authority's key.

        *salt_length* is as long as the digest unless given, and concerns
        RSASSA-PSS only.
        """
        name = default_hash_name(self.private_key) if hash_name is None else hash_name
        if not self.uses_pss:
            return Signer(self.private_key, name)
        return Signer(
            self.private_key,
            name,
            salt_length=HASHES[name].digest_size if salt_length is None else salt_length,
        )

    def issue(
        self,
        common_name: str | x509.Name,
        *,
        serial_number: int | None = None,
        distribution_points: Sequence[str | x509.DistributionPoint] = (),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        authority_key_id: bool = True,
        key_type: KeyType = "ec-p256",
    ) -> IssuedCertificate:
        """
        Issue a client certificate.

        *serial_number* may be any integer, negative and zero too. A string among
        *distribution_points* is the URI of a distribution point of its own. The
        dates default to an hour ago and a year from now.
        """
        now = datetime.now(UTC)
        key = generate_key(key_type)
        serial = x509.random_serial_number() if serial_number is None else serial_number
        is_usual = serial > 0 and serial.bit_length() < 160
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial if is_usual else 1)
            .not_valid_before(now - timedelta(hours=1) if not_before is None else not_before)
            .not_valid_after(now + timedelta(days=365) if not_after is None else not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        if authority_key_id:
            builder = builder.add_extension(self.authority_key_identifier, critical=False)
        if distribution_points:
            points = [_distribution_point(point) for point in distribution_points]
            builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
        certificate = _sign_certificate(builder, self.private_key, uses_pss=self.uses_pss)
        encoded = certificate.public_bytes(serialization.Encoding.DER)
        if not is_usual:
            encoded = self._with_serial(certificate, serial)
        return IssuedCertificate(encoded, _key_pem(key))

    def _with_serial(self, certificate: x509.Certificate, serial_number: int) -> bytes:
        # CertificateBuilder takes positive serial numbers of at most 159 bits
        # only, so another one replaces a placeholder of 1 and is signed anew.
        version = der(0xA0, der_integer(2))
        _, _, rest = certificate.tbs_certificate_bytes.partition(version + der_integer(1))
        tbs = der(0x30, version, der_integer(serial_number), rest)
        signer = self.signer()
        signer.update(tbs)
        return der(0x30, tbs, signer.algorithm_identifier, der(0x03, b"\0", signer.sign()))


def pem_block(label: str, encoded: bytes) -> bytes:
    """Return *encoded* as one PEM block (RFC 7468)."""
    text = base64.b64encode(encoded).decode()
    lines = "".join(f"{text[start : start + 64]}\n" for start in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode()


class CrlOptions(TypedDict, total=False):
    """The keyword arguments of :func:`sign_crl` and :func:`write_crl`, described there."""

    this_update: Required[datetime]
    next_update: Required[datetime | None]
    crl_number: int | None
    extensions: Sequence[bytes]
    hash_name: str
    salt_length: int | None
    version: int
    authority_key_id: bool
    issuer: bytes | None
    keep_empty_list: bool


def sign_crl(
    authority: CertificateAuthority,
    entries: BytesLike | Iterable[BytesLike] = (),
    **options: Unpack[CrlOptions],
) -> bytes:
    """
    Return a CRL as DER, signed by *authority*; the options are those of :func:`write_crl`.

    *entries* are elements as :func:`encode_entry` makes them, in pieces of any size.
    """
    chunks = [entries] if isinstance(entries, BytesLike) else list(entries)
    output = io.BytesIO()
    write_crl(output, authority, chunks, sum(map(len, chunks)), **options)
    return output.getvalue()


def write_crl(
    output: BinaryIO,
    authority: CertificateAuthority,
    chunks: Iterable[BytesLike],
    entries_size: int,
    *,
    this_update: datetime,
    next_update: datetime | None,
    crl_number: int | None = None,
    extensions: Sequence[bytes] = (),
    hash_name: str = "sha256",
    salt_length: int | None = None,
    version: int = 2,
    authority_key_id: bool = True,
    issuer: bytes | None = None,
    keep_empty_list: bool = False,
) -> int:
    """
    Write a CRL, signed by *authority*, to *output* and return its size in bytes.

    *chunks* are the entries, *entries_size* bytes in all, hashed and written as
    they come; *output* must be able to seek. *extensions* are whole Extensions
    that follow the authority key id and the CRL number; version 1 has none.
    *hash_name* and *salt_length* (see :meth:`CertificateAuthority.signer`) concern
    RSA and ECDSA only. *issuer* is a Name to write in place of the authority's
    own. An empty list is left out (RFC 5280 5.1.2.6) unless *keep_empty_list*.

    Raises:
        ValueError: if the chunks are not *entries_size* bytes.
    """
    signer = authority.signer(hash_name, salt_length=salt_length)
    all_extensions = list(extensions)
    if crl_number is not None:
        all_extensions.insert(0, encode_extension("2.5.29.20", der_integer(crl_number)))
    if authority_key_id:
        key_id = authority.authority_key_identifier.public_bytes()
        all_extensions.insert(0, encode_extension("2.5.29.35", key_id))
    has_extensions = bool(all_extensions) and version > 1
    tail = der(0xA0, der(0x30, *all_extensions)) if has_extensions else b""
    fields = (
        der_integer(version - 1) if version > 1 else b"",
        signer.algorithm_identifier,
        authority.certificate.subject.public_bytes() if issuer is None else issuer,
        der_time(this_update),
        b"" if next_update is None else der_time(next_update),
        der_header(0x30, entries_size) if entries_size or keep_empty_list else b"",
    )
    head_size = sum(map(len, fields))
    tbs_header = der_header(0x30, head_size + entries_size + len(tail))
    tbs_size = len(tbs_header) + head_size + entries_size + len(tail)
    tbs = itertools.chain((tbs_header, *fields), chunks, (tail,))
    return _write_signed(output, signer, tbs, tbs_size)


def _write_signed(
    output: BinaryIO, signer: Signer, chunks: Iterable[BytesLike], tbs_size: int
) -> int:
    def end_of(signature: bytes) -> bytes:
        return signer.algorithm_identifier + der(0x03, b"\0", signature)

    # The outer header can be written last only, so its place is kept for it.
    start = output.tell()
    header_size = len(der_header(0x30, tbs_size + len(end_of(bytes(signer.signature_size)))))
    output.write(bytes(header_size))
    written = 0
    for chunk in chunks:
        signer.update(chunk)
        written += output.write(chunk)
    if written != tbs_size:
        raise ValueError(f"the signed part has {written} bytes, but {tbs_size} were announced")
    header = b""
    while len(header) != header_size:
        # A shorter ECDSA signature may move the outer length to a shorter form:
        # sign again until it is of the size that was assumed.
        end = end_of(signer.sign())
        header = der_header(0x30, tbs_size + len(end))
    output.write(end)
    output.seek(start)
    output.write(header)
    output.seek(0, io.SEEK_END)
    return header_size + tbs_size + len(end)


def _name(name: str | x509.Name) -> x509.Name:
    if isinstance(name, x509.Name):
        return name
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _distribution_point(point: str | x509.DistributionPoint) -> x509.DistributionPoint:
    if isinstance(point, x509.DistributionPoint):
        return point
    uri = x509.UniformResourceIdentifier(point)
    return x509.DistributionPoint([uri], relative_name=None, reasons=None, crl_issuer=None)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _sign_certificate(
    builder: x509.CertificateBuilder, key: PrivateKey, *, uses_pss: bool
) -> x509.Certificate:
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return builder.sign(key, None)
    algorithm = _CERTIFICATE_HASHES[default_hash_name(key)]
    pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) if uses_pss else None
    return builder.sign(key, algorithm, rsa_padding=pss)
