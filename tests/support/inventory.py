"""A store and a table of certificates, which every engine is asked about."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crlcheck import LocalStore, deny_certificate, publish_crl
from crlcheck.columns import check_table
from support.checking import BAD, FOREIGN, GOOD, publish
from support.pki import NOW, make_authority, make_crl

NUM_ROWS = 20_000
AUTHORITIES = [make_authority(f"CA {number}") for number in range(5)]
"""The last one publishes nothing."""


@dataclass(frozen=True)
class Inventory:
    """A store, a table of certificates with a number for each row, and what is true of each."""

    store: LocalStore
    table: pa.Table
    verdicts: list[dict[str, Any]]

    @property
    def statuses(self) -> list[str | None]:
        """The status of each row."""
        return [verdict["status"] for verdict in self.verdicts]


def make_inventory(directory: Path) -> Inventory:
    """Publish a CRL of each CA but one, and list certificates of all of them."""
    chosen = random.Random(1)
    store = LocalStore(directory / "published")
    listed = [[chosen.getrandbits(120) for _ in range(500)] for _ in AUTHORITIES]
    for authority, revoked in zip(AUTHORITIES[:-1], listed, strict=False):
        publish_crl(make_crl(authority, 1, revoked), store, issuer=authority.der, now=NOW)
    name = AUTHORITIES[0].certificate.subject.public_bytes()
    deny_certificate(store, name, 4711, now=NOW)
    issuers: list[bytes | None] = []
    serials: list[bytes | None] = []
    for row in range(NUM_ROWS):
        position = chosen.randrange(len(AUTHORITIES))
        issuers.append(AUTHORITIES[position].certificate.subject.public_bytes())
        number = chosen.choice(listed[position]) if row % 3 else chosen.getrandbits(120)
        serials.append(number.to_bytes(16, "big"))
    issuers[:4] = [None, name, name, b"no issuer"]
    serials[:4] = [b"\1", None, (4711).to_bytes(2, "big"), b"\1"]
    table = pa.table(
        {
            "row": pa.array(range(NUM_ROWS), pa.int64()),
            "issuer": pa.array(issuers, pa.binary()),
            "serial": pa.array(serials, pa.binary()),
        }
    )
    found = check_table(store, table, issuer="issuer", serial="serial", at=NOW)
    return Inventory(store, table, found.to_pylist())


def make_certificates(directory: Path) -> Inventory:
    """A store, and a table of certificates: a good and a revoked one, none, and what is none."""
    store = LocalStore(directory / "published")
    publish(store)
    values = [GOOD, BAD, None, b"no certificate", FOREIGN, GOOD]
    table = pa.table({"row": pa.array(range(6), pa.int64()), "certificate": values})
    found = check_table(store, table, certificate="certificate", at=NOW)
    statuses = found.column("status").to_pylist()
    assert statuses[:3] == ["not_revoked", "revoked", None], statuses
    assert statuses[3:] == ["undetermined", "undetermined", "not_revoked"], statuses
    return Inventory(store, table, found.to_pylist())
