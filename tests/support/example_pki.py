"""One small PKI for the tests of the Lambda functions: an issuer, a stranger and three clients."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crlcheck.demo.encoding import encode_entry
from crlcheck.demo.pki import CertificateAuthority, IssuedCertificate, sign_crl


@dataclass(frozen=True, slots=True)
class ExamplePki:
    """
    ``good`` and ``revoked`` are certificates of ``authority``, ``foreign`` is
    one of ``stranger`` with the serial number of ``good``.
    """

    authority: CertificateAuthority
    stranger: CertificateAuthority
    good: IssuedCertificate
    revoked: IssuedCertificate
    foreign: IssuedCertificate

    def client(self, name: str) -> str:
        """A client's certificate as API Gateway passes it on."""
        certificate: IssuedCertificate = getattr(self, name)
        return certificate.pem.decode()

    def crl(
        self,
        number: int = 1,
        *,
        revoked: Sequence[int] | None = None,
        age: timedelta = timedelta(hours=1),
        lifetime: timedelta = timedelta(days=7),
        by: CertificateAuthority | None = None,
    ) -> bytes:
        """A CRL as DER that lists ``revoked``'s serial number, or those given."""
        this_update = datetime.now(UTC).replace(microsecond=0) - age
        serials = [self.revoked.certificate.serial_number] if revoked is None else revoked
        entries = [encode_entry(serial, this_update, reason=1) for serial in serials]
        return sign_crl(
            by or self.authority,
            entries,
            this_update=this_update,
            next_update=this_update + lifetime,
            crl_number=number,
        )


@functools.cache
def example_pki() -> ExamplePki:
    """Return the PKI, made once."""
    authority = CertificateAuthority.create("Example Issuing CA")
    stranger = CertificateAuthority.create("Somebody Else")
    good = authority.issue("device 7 of Mallory")
    return ExamplePki(
        authority=authority,
        stranger=stranger,
        good=good,
        revoked=authority.issue("device 8 of Mallory"),
        foreign=stranger.issue("device 9", serial_number=good.certificate.serial_number),
    )
