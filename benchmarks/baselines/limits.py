"""
Measure the machine's own limits: no reader of a CRL can be faster.
"""

from __future__ import annotations

import hashlib
from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt

_PIECE_SIZE = 1 << 20
# Well over any last-level cache, so that nearly every access misses it.
TABLE_SIZE = 1 << 28
_CACHED_SIZE = 1 << 12


def read_and_hash(path: Path) -> bytes:
    """Read a file through one buffer and return its SHA-256, as any verification must."""
    digest = hashlib.sha256()
    piece = memoryview(bytearray(_PIECE_SIZE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            digest.update(piece[:count])
    return digest.digest()


def hash_in_memory(data: bytes) -> bytes:
    """Return the SHA-256 of what is in memory already."""
    return hashlib.sha256(data).digest()


def copy(source: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8]) -> None:
    """Copy memory to memory that has been touched before."""
    np.copyto(target, source)


class IndependentAccesses:
    """Random reads of a table, none of which waits for another: the limit of a batch."""

    def __init__(self, rng: np.random.Generator, count: int, table_size: int = TABLE_SIZE) -> None:
        self._table = np.arange(table_size // 8, dtype=np.int64)
        self._places = rng.integers(table_size // 8, size=count)
        self._found = np.empty(count, np.int64)

    def __call__(self) -> None:
        """Read them all."""
        # Checked places would be copied to a buffer first.
        np.take(self._table, self._places, out=self._found, mode="wrap")


class DependentAccesses:
    """
    Random reads of a table, each at a place that the last one gave: the limit of
    one lookup alone.

    numpy cannot do that, so a Python loop does; the same loop over a table that
    stays in the cache tells what of it is Python.
    """

    def __init__(self, rng: np.random.Generator, count: int, table_size: int = TABLE_SIZE) -> None:
        self._steps = range(count)
        self._table = _cycle(rng, table_size // 8)
        self._cached = _cycle(rng, _CACHED_SIZE // 8)

    def __call__(self) -> int:
        """Follow the chain through memory."""
        return self._follow(self._table)

    def loop(self) -> int:
        """Follow as long a chain through the cache."""
        return self._follow(self._cached)

    def _follow(self, table: array[int]) -> int:
        place = 0
        for _ in self._steps:
            place = table[place]
        return place


def _cycle(rng: np.random.Generator, length: int) -> array[int]:
    """Return a table in which every place leads to another, in one cycle over all."""
    order = rng.permutation(length)
    following = np.empty(length, np.int64)
    following[order] = np.roll(order, -1)
    table = array("q")
    table.frombytes(following.tobytes())
    return table
