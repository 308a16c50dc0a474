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

    def crl(self, name: str, **options: Any) -> str:
        """Write a CRL of the demo's CA that lists the revoked client."""
        revoked = self.world.revoked.certificate.serial_number
        settings = {"this_update": NOW, "next_update": NOW + WEEK, "crl_number": 8, **options}
        return self.write(
            name, sign_crl(self.world.authority, encode_entry(revoked, NOW, reason=4), **settings)
        )


def make_place(path: Path) -> Place:
    """Write CA, CRL, clients, image (``ca.crlx``) and store (``store``) to *path*."""
    world = make_world(20, now=NOW)
    world.write_files(path)
    crlcheck.compile_crl(world.crl, path / "ca.crlx", issuer=world.authority.der)
    crlcheck.publish_crl(world.crl, path / "store", issuer=world.authority.der)
    return Place(path, world)
