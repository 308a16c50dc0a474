"""The demo's files in a directory, for tests of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import crlcheck
from crlcheck.demo.encoding import encode_entry
from crlcheck.demo.pki import sign_crl
from crlcheck.demo.world import World, make_world
from crlcheck.publisher.rejections import record_rejections
from crlcheck.stores import LocalStore

NOW = datetime.now(UTC).replace(microsecond=0)
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Place:
    """A directory with the demo's files, their image and a store with it."""

    path: Path
    world: World

    def __getitem__(self, name: str) -> str:
        """The path of a file of this name."""
        return str(self.path / name)

    def serial(self, client: str) -> str:
        """A client's serial number in hexadecimal."""
        return f"{self.world.clients[client].certificate.serial_number:x}"

    def write(self, name: str, contents: bytes) -> str:
        """Add a file and return its path."""
        (self.path / name).write_bytes(contents)
        return self[name]

    def refusal(self) -> str:
        """Leave a refusal in the store, and return the name of its source."""
        error = crlcheck.MalformedCrlError("CRL refused: no CRL", rule="x", offset=0)
        record_rejections(LocalStore(self.path / "store"), {"README.txt": error}, NOW)
        return "README.txt"

    def crl(self, name: str, **options: Any) -> str:
        """Write a CRL of the demo's CA that lists the revoked client."""
        revoked = self.world.revoked.certificate.serial_number
        settings = {"this_update": NOW, "next_update": NOW + WEEK, "crl_number": 8, **options}
        return self.write(
            name, sign_crl(self.world.authority, encode_entry(revoked, NOW, reason=4), **settings)
        )

    def sample(self, **options: Any) -> str:
        """Make a directory as the AWS sample's bucket, with a CRL as ``crl`` writes it."""
        (self.path / "sample").mkdir()
        self.crl("sample/partner.crl", **options)
        self.write("sample/partner.crl.crt", self.world.authority.pem)
        self.write("sample/partner.crl.json", b'{"0x%s": ""}' % self.serial("revoked").encode())
        return self["sample"]


def make_place(path: Path) -> Place:
    """Write CA, CRL, clients, image (``ca.crlx``) and store (``store``) to *path*."""
    world = make_world(20, now=NOW)
    world.write_files(path)
    crlcheck.compile_crl(world.crl, path / "ca.crlx", issuer=world.authority.der)
    crlcheck.publish_crl(world.crl, path / "store", issuer=world.authority.der)
    return Place(path, world)
