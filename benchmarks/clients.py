"""
A site whose clients have certificates by an intermediate authority, and its published CRLs.

Half of the clients are revoked. No certificate is asked about twice by anyone in a test, as
far as rounds go: a service seldom sees one again while it lies in a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import crlcheck
from benchmarks.generate import generate_crl
from benchmarks.workloads import SEED
from crlcheck.demo.pki import CertificateAuthority, pem_block

CLIENTS_A_ROUND = 200
NUM_ROUNDS = 11

Certificates = Sequence[bytes]


@dataclass(frozen=True)
class Site:
    """
    The certificates and CRLs of a root and of an intermediate authority.

    *num_entries* are those of the intermediate's CRL. ``store`` is a directory where both CRLs
    are published, ``revoked`` the serials on the intermediate's, and ``rounds`` certificates
    by it, as DER. Of two that follow one another one is revoked.
    """

    num_entries: int
    root: CertificateAuthority
    intermediate: CertificateAuthority
    crls: tuple[Path, Path]
    store: Path
    revoked: frozenset[int]
    rounds: tuple[Certificates, ...]


def make_site(num_entries: int, directory: Path, num_rounds: int = NUM_ROUNDS) -> Site:
    """Make a site in *directory* and publish its CRLs."""
    root = CertificateAuthority.create("Benchmark root")
    intermediate = CertificateAuthority.create("Benchmark intermediate", parent=root)
    paths = directory / "root.crl", directory / "intermediate.crl"
    generate_crl(10, seed=SEED + 1, authority=root, reasons=True, output=paths[0])
    made = generate_crl(
        num_entries, seed=SEED, authority=intermediate, reasons=True, output=paths[1]
    )
    store = directory / "store"
    store.mkdir()
    for path, authority in zip(paths, (root, intermediate), strict=True):
        crlcheck.publish_crl(
            path, crlcheck.open_store(store), issuer=authority.pem, max_source_size=0
        )
    count = CLIENTS_A_ROUND * num_rounds // 2
    rng = np.random.default_rng([SEED, 3])
    listed = iter(made.serials.members(rng, count))
    others = iter(made.serials.non_members(rng, count))
    rounds = tuple(
        [
            intermediate.issue("a client", serial_number=next(source)).der
            for _ in range(CLIENTS_A_ROUND // 2)
            for source in rng.permutation(np.array([listed, others], object))
        ]
        for _ in range(num_rounds)
    )
    revoked = frozenset(made.serials.integers())
    return Site(num_entries, root, intermediate, paths, store, revoked, rounds)


def as_pem(certificates: Certificates) -> Certificates:
    """Return certificates as PEM blocks."""
    return [pem_block("CERTIFICATE", each) for each in certificates]
