"""
A 64-bit roaring bitmap, for serials that fit it.
"""

from __future__ import annotations

from pathlib import Path

from pyroaring import BitMap64

from benchmarks.baselines.cryptography_ import load_verified
from benchmarks.baselines.interface import Contender, InContainer, Lookups

FITTING_KINDS = ("random8", "dense1", "dense2", "dense4", "dense8", "dense16", "dense64", "runs")
"""The kinds whose serials are below 2^64."""


class Roaring(Contender):
    """The compressed set that is best at dense integers."""

    name = "roaring"
    title = "roaring (dense serials)"
    how = "`cryptography`'s entries into a `BitMap64`, run-optimised; `serial in bitmap`"
    distribution = "pyroaring"
    kind = "dense16"  # random ones of 16 bytes do not fit
    max_entries = 1_000_000

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Parse, verify and fill the bitmap."""
        entries = load_verified(crl, issuer)
        return InContainer(make_bitmap([entry.serial_number for entry in entries]))


def make_bitmap(serials: list[int]) -> BitMap64:
    """Return a run-optimised bitmap of *serials*."""
    bitmap = BitMap64(serials)
    bitmap.run_optimize()
    return bitmap
