"""
A sorted list of int with ``bisect``, filled from ``cryptography``'s entries.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from benchmarks.baselines.cryptography_ import load_verified
from benchmarks.baselines.interface import Contender, InContainer, Lookups


class SortedArray(Contender):
    """Binary search: no hash table, and as many cache misses as the logarithm of the size."""

    name = "sorted_array"
    title = "sorted array + bisect"
    how = "`cryptography`'s entries into a sorted list of int; `bisect_left`"
    distribution = "cryptography"

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Parse, verify and sort."""
        serials = sorted({entry.serial_number for entry in load_verified(crl, issuer)})
        return InContainer(_Sorted(serials))


class _Sorted:
    def __init__(self, serials: list[int]) -> None:
        self._serials = serials

    def __contains__(self, serial_number: int) -> bool:
        at = bisect_left(self._serials, serial_number)
        return at < len(self._serials) and self._serials[at] == serial_number
