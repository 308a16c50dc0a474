"""CRLs and certificates of small authorities, at a time that the tests choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509

from crlcheck.demo.encoding import der_integer
from crlcheck.demo.pki import (
    CertificateAuthority,
    encode_entry,
    encode_extension,
    generate_key,
    sign_crl,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def delta_of(base_crl_number: int) -> bytes:
    """Return a deltaCRLIndicator with that BaseCRLNumber."""
    return encode_extension("2.5.29.27", der_integer(base_crl_number), critical=True)


ONLY_CA_CERTIFICATES = encode_extension("2.5.29.28", b"\x30\x03\x82\x01\xff", critical=True)
"""issuingDistributionPoint with onlyContainsCACerts."""

ONLY_USER_CERTIFICATES = encode_extension("2.5.29.28", b"\x30\x03\x81\x01\xff", critical=True)
"""issuingDistributionPoint with onlyContainsUserCerts."""


def make_authority(
    common_name: str = "Example CA", parent: CertificateAuthority | None = None
) -> CertificateAuthority:
    """An authority that is valid at NOW and for years."""
    return CertificateAuthority.create(common_name, parent=parent, now=NOW)


def make_client(
    authority: CertificateAuthority, serial_number: int, *, authority_key_id: bool = True
) -> bytes:
    """A client certificate (DER) that is valid at NOW and for a year."""
    issued = authority.issue(
        "client",
        serial_number=serial_number,
        authority_key_id=authority_key_id,
        not_before=NOW - DAY,
        not_after=NOW + 365 * DAY,
    )
    return issued.der


def make_crl(
    authority: CertificateAuthority,
    crl_number: int | None = 1,
    revoked: Iterable[int] = (),
    *,
    this_update: datetime | None = None,
    next_update: datetime | None = NOW + 30 * DAY,
    extensions: Sequence[bytes] = (),
) -> bytes:
    """
    A CRL (DER). Each CRL number has its own thisUpdate, a minute after the one
    before, unless one is given.
    """
    begun = NOW - DAY + timedelta(minutes=min(crl_number or 0, 10**6))
    return sign_crl(
        authority,
        [encode_entry(serial, NOW - DAY, reason=1) for serial in revoked],
        this_update=begun if this_update is None else this_update,
        next_update=next_update,
        crl_number=crl_number,
        extensions=extensions,
    )


def make_imposter(of: CertificateAuthority) -> CertificateAuthority:
    """Somebody who issues certificates in the name of an authority, with its key id."""

    class Imposter(CertificateAuthority):
        @property
        def authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
            return of.authority_key_identifier

    return Imposter(of.certificate, generate_key("ec-p256"))
