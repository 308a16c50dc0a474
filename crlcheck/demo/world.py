"""Make the demo's issuer, its CRL and three clients."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from crlcheck.demo.encoding import encode_entry
from crlcheck.demo.pki import CertificateAuthority, IssuedCertificate, sign_crl

CRL_NUMBER = 7

_SERIAL_BITS = 127
_REASONS = (None, 1, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class World:
    """
    ``good`` and ``revoked`` are clients of ``authority``, ``foreign`` is a client
    of ``stranger``. ``crl`` is DER and lists ``revoked`` among its ``entries``.
    """

    authority: CertificateAuthority
    stranger: CertificateAuthority
    crl: bytes
    entries: bytes
    num_entries: int
    good: IssuedCertificate
    revoked: IssuedCertificate
    foreign: IssuedCertificate

    @property
    def clients(self) -> dict[str, IssuedCertificate]:
        """The three clients by name."""
        return {"good": self.good, "revoked": self.revoked, "foreign": self.foreign}

    def next_crl(self, *, revoked: IssuedCertificate, now: datetime) -> bytes:
        """Return the CRL that comes after ``crl``: it lists one client more."""
        this_update = now.replace(microsecond=0)
        entry = encode_entry(revoked.certificate.serial_number, this_update, reason=1)
        return _sign(self.authority, self.entries + entry, this_update, CRL_NUMBER + 1)

    def write_files(self, directory: Path) -> list[Path]:
        """Write CA, CRL and clients to *directory*, which is made if it does not exist."""
        directory.mkdir(parents=True, exist_ok=True)
        contents = {"ca.pem": self.authority.pem, "ca.crl": self.crl}
        contents |= {f"{name}.pem": client.pem for name, client in self.clients.items()}
        paths = []
        for name, octets in contents.items():
            paths.append(directory / name)
            paths[-1].write_bytes(octets)
        return paths


def make_world(num_entries: int, *, now: datetime) -> World:
    """
    Make a world whose CRL has *num_entries* entries, at least one.

    Serial numbers are the same every time; keys and signatures are not.
    """
    numbers = random.Random("crlcheck")
    authority = CertificateAuthority.create("Demo Issuing CA", now=now)
    stranger = CertificateAuthority.create("Another CA", now=now)
    good, revoked, foreign = (
        issuer.issue(name, serial_number=numbers.getrandbits(_SERIAL_BITS))
        for issuer, name in (
            (authority, "good client"),
            (authority, "revoked client"),
            (stranger, "foreign client"),
        )
    )
    this_update = now.replace(microsecond=0) - timedelta(hours=1)
    entries = [
        encode_entry(
            numbers.getrandbits(_SERIAL_BITS),
            this_update - timedelta(minutes=numbers.randrange(1, 525_600)),
            reason=numbers.choice(_REASONS),
        )
        for _ in range(num_entries - 1)
    ]
    entry = encode_entry(
        revoked.certificate.serial_number, this_update - timedelta(days=3), reason=1
    )
    entries.insert(numbers.randrange(num_entries), entry)
    joined = b"".join(entries)
    crl = _sign(authority, joined, this_update, CRL_NUMBER)
    return World(authority, stranger, crl, joined, num_entries, good, revoked, foreign)


def _sign(
    authority: CertificateAuthority, entries: bytes, this_update: datetime, crl_number: int
) -> bytes:
    return sign_crl(
        authority,
        entries,
        this_update=this_update,
        next_update=this_update + timedelta(days=7),
        crl_number=crl_number,
    )
