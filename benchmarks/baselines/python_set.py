"""
A Python ``set`` of int, filled from ``cryptography``'s entries.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.baselines.cryptography_ import load_verified
from benchmarks.baselines.interface import Contender, InContainer, Lookups


class PythonSet(Contender):
    """The fastest lookup that Python itself has."""

    name = "python_set"
    title = "Python set"
    how = "`cryptography`'s entries into a `set` of int; `serial in set`"
    distribution = "cryptography"

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Parse, verify and fill the set."""
        return InContainer({entry.serial_number for entry in load_verified(crl, issuer)})
