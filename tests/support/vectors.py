"""Make small CRLs and certificates for vectors, the same bytes every time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crlcheck.demo.encoding import der, der_integer, der_time, encode_entry, encode_extension
from crlcheck.demo.pki import CertificateAuthority, pem_block, sign_crl
from support.certificate_der import encode_attribute, encode_certificate, encode_name
from support.pki import DAY, NOW


@dataclass(frozen=True, slots=True)
class Vector:
    """
    One vector. The prefix of its name is what is expected; ``word`` is the cause
    of an undetermined verdict, or the rule or feature of a refusal.

    ``certificate`` is checked by ``crls``, published in order by ``issuers``; of
    a CRL that must be refused, it is the last. ``refused`` says why others are.
    """

    name: str
    about: str
    source: str
    certificate: bytes = b""
    issuers: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    word: str = ""
    refused: tuple[str, ...] = ()

    def to_pem(self) -> bytes:
        """Return the vector as a text of its facts and PEM blocks."""
        facts = {"About": self.about, "Source": self.source, "Word": self.word}
        facts["Refused"] = ", ".join(self.refused)
        head = "".join(f"{key}: {value}\n" for key, value in facts.items() if value)
        certificates = [part for part in (self.certificate, *self.issuers) if part]
        blocks = [pem_block("CERTIFICATE", part) for part in certificates]
        blocks += [pem_block("X509 CRL", part) for part in self.crls]
        return head.encode() + b"\n" + b"".join(blocks)


# ---- building blocks ---------------------------------------------------------


@functools.cache
def authority(name: str, key: str = "", *, may_sign_crls: bool = True) -> CertificateAuthority:
    """A self-signed authority; *key* tells several keys of one name apart."""
    seed = hashlib.shake_256(f"{name}/{key}".encode()).digest(32)
    return CertificateAuthority.create(
        name,
        private_key=Ed25519PrivateKey.from_private_bytes(seed),
        may_sign_crls=may_sign_crls,
        serial_number=1,
        now=NOW,
    )


CA = authority("Vector CA")
URI = der(0x86, b"http://crl.test/1")
UNSPECIFIC = encode_entry(7, NOW - DAY)
"""An entry for the serial number that certificates have unless told otherwise."""


def name_of(common_name: str) -> bytes:
    """A Name of one commonName."""
    return encode_name(encode_attribute(common_name))


def client(
    serial_number: int = 7,
    *points: bytes,
    issuer: CertificateAuthority = CA,
    subject: str = "client",
) -> bytes:
    """A client's certificate. Its signature is empty: nobody asks for it here."""
    key_id = issuer.authority_key_identifier.public_bytes()
    extensions = [encode_extension("2.5.29.35", key_id)]
    if points:
        extensions.append(encode_extension("2.5.29.31", der(0x30, *points)))
    return encode_certificate(
        serial=der_integer(serial_number),
        issuer=issuer.certificate.subject.public_bytes(),
        subject=name_of(subject),
        not_before=der_time(NOW - 30 * DAY),
        not_after=der_time(NOW + 300 * DAY),
        extensions=extensions,
    )


def crl(
    *entries: bytes,
    number: int | None = 1,
    by: CertificateAuthority = CA,
    extensions: Sequence[bytes] = (),
    **options: object,
) -> bytes:
    """A CRL of *by*."""
    return sign_crl(
        by,
        entries,
        this_update=NOW - DAY + timedelta(minutes=number or 0),
        next_update=NOW + 30 * DAY,
        crl_number=number,
        extensions=extensions,
        **options,  # type: ignore[arg-type]
    )


def scope(*fields: bytes) -> bytes:
    """An issuingDistributionPoint extension of these fields."""
    return encode_extension("2.5.29.28", der(0x30, *fields), critical=True)


def named(*names: bytes) -> bytes:
    """The distributionPoint field of an issuingDistributionPoint."""
    return der(0xA0, der(0xA0, *names))


def delta_of(number: int) -> bytes:
    """A deltaCRLIndicator."""
    return encode_extension("2.5.29.27", der_integer(number), critical=True)


INDIRECT = scope(der(0x84, b"\xff"))
