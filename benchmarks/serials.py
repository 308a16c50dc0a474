"""
Make serial numbers like those of real issuers, by the million, from a seed.

A set is one matrix of big-endian bytes, so that making, packing and looking up
serials needs no Python object for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint64]
# Draws rows of bytes: what all serials of a set share from the first generator,
# what tells them apart from the second.
Maker = Callable[[np.random.Generator, np.random.Generator, int], Octets]

DENSE_MEAN_GAPS = (1, 2, 4, 8, 16, 64)
# Serials of the counting kinds start here, so that all have one length.
_FIRST_COUNT = 1 << 32
_ROWS_A_STEP = 1 << 18


@dataclass(frozen=True, slots=True)
class SerialSet:
    """
    Distinct positive serial numbers, in the order in which a CRL lists them.

    ``rows`` holds one a row, big-endian and padded with zeros in front to at
    least 8 bytes; ``lengths`` the bytes of each one's INTEGER.
    """

    kind: str
    seed: int
    rows: Octets
    lengths: Octets
    _sorted_tails: Numbers = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def integers(self) -> list[int]:
        """Return all of them as ints."""
        return integers(self.rows)

    def members(self, rng: np.random.Generator, count: int) -> list[int]:
        """Return *count* of them, drawn at random with repetition, as ints made for the call."""
        return integers(self.member_rows(rng, count))

    def non_members(self, rng: np.random.Generator, count: int) -> list[int]:
        """Return *count* serials of the same habit that are not among them, as ints."""
        return integers(self.non_member_rows(rng, count))

    def member_rows(self, rng: np.random.Generator, count: int) -> Octets:
        """Return what :meth:`members` does as rows."""
        return self.rows[rng.integers(len(self.rows), size=count)]

    def non_member_rows(self, rng: np.random.Generator, count: int) -> Octets:
        """Return what :meth:`non_members` does as rows."""
        found = np.empty((0, self.rows.shape[1]), np.uint8)
        while len(found) < count:
            drawn = self._draw_misses(rng, 2 * count + 16)
            # Another tail means another serial; the few strangers with a tail
            # that occurs in the set are given up.
            is_new = ~_is_in(_tails(drawn), self._sorted_tails)
            found = np.concatenate((found, drawn[is_new]))
        return found[:count]

    def _draw_misses(self, rng: np.random.Generator, count: int) -> Octets:
        if not _counts(self.kind):
            return _MAKERS[self.kind](_layout(self.seed), rng, count)
        # Half between the first and the last, where the gaps are, and half
        # behind the last, because there may be no gap at all.
        first, last = int(self._sorted_tails[0]), int(self._sorted_tails[-1])
        drawn = self.rows[np.zeros(count, np.intp)]
        tails = rng.integers(first, last + 1 + (last + 1 - first), size=count, dtype=np.uint64)
        drawn[:, -8:] = _number_rows(tails)
        return drawn


def make_serials(kind: str, count: int, seed: int = 1) -> SerialSet:
    """
    Return *count* distinct serials of *kind*, one of :data:`KINDS`; equal seeds, equal serials.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in _MAKERS:
        raise ValueError(f"no kind of serials {kind!r}: expected one of {', '.join(KINDS)}")
    values = np.random.default_rng([seed, 1])
    rows = _MAKERS[kind](_layout(seed), values, count)
    while True:
        # Serials with distinct tails are distinct. Random tails collide so
        # rarely that drawing those again costs nothing.
        sorted_tails = np.sort(_tails(rows))
        if not np.any(sorted_tails[1:] == sorted_tails[:-1]):
            break
        _, kept = np.unique(_tails(rows), return_index=True)
        again = np.ones(count, np.bool_)
        again[kept] = False
        rows[again] = _MAKERS[kind](_layout(seed), values, int(again.sum()))
    return SerialSet(kind, seed, rows, _lengths(rows), sorted_tails)


# ---- kinds ------------------------------------------------------------------


def _layout(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 0])


def _random(rng: np.random.Generator, count: int, width: int) -> Octets:
    # The first byte leaves the sign bit clear and is not zero, so that the
    # INTEGER has exactly *width* octets.
    rows = rng.integers(0, 256, size=(count, width), dtype=np.uint8)
    rows[:, 0] = rng.integers(1, 128, size=count, dtype=np.uint8)
    return rows


def _random_of(width: int) -> Maker:
    return lambda _, rng, count: _random(rng, count, width)


def _counted(increments: npt.NDArray[np.int64]) -> Octets:
    return _number_rows(np.cumsum(increments, dtype=np.uint64) + np.uint64(_FIRST_COUNT))


def _dense(mean_gap: int) -> Maker:
    return lambda _, rng, count: _counted(rng.geometric(1 / mean_gap, size=count))


def _runs(_: np.random.Generator, rng: np.random.Generator, count: int) -> Octets:
    # Runs of 32 on average, 512 apart.
    jumps = rng.geometric(1 / 512, size=count)
    return _counted(np.where(rng.random(count) < 1 / 32, jumps + 1, 1))


def _prefix_counter(layout: np.random.Generator, rng: np.random.Generator, count: int) -> Octets:
    rows = np.empty((count, 16), np.uint8)
    rows[:, :8] = _random(layout, 1, 8)
    rows[:, 8:] = _counted(rng.geometric(1 / 16, size=count))
    return rows


def _two_prefixes(layout: np.random.Generator, rng: np.random.Generator, count: int) -> Octets:
    rows = rng.integers(0, 256, size=(count, 16), dtype=np.uint8)
    rows[:, :8] = _random(layout, 2, 8)[rng.integers(2, size=count)]
    return rows


def _sequential_low(_: np.random.Generator, rng: np.random.Generator, count: int) -> Octets:
    rows = _random(rng, count, 16)
    rows[:, 12:] = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
    return rows


def _mixed_lengths(_: np.random.Generator, rng: np.random.Generator, count: int) -> Octets:
    rows = rng.integers(0, 256, size=(count, 20), dtype=np.uint8)
    first = 20 - rng.integers(8, 21, size=count)
    rows[np.arange(20) < first[:, None]] = 0
    rows[np.arange(count), first] = rng.integers(1, 128, size=count, dtype=np.uint8)
    return rows


_MAKERS: dict[str, Maker] = {
    "random8": _random_of(8),
    "random16": _random_of(16),
    "random20": _random_of(20),
    **{f"dense{mean_gap}": _dense(mean_gap) for mean_gap in DENSE_MEAN_GAPS},
    "runs": _runs,
    "prefix_counter": _prefix_counter,
    "two_prefixes": _two_prefixes,
    "sequential_low": _sequential_low,
    "mixed_lengths": _mixed_lengths,
}
KINDS = tuple(_MAKERS)


def _counts(kind: str) -> bool:
    return re.fullmatch(r"dense\d+|runs|prefix_counter", kind) is not None


# ---- rows -------------------------------------------------------------------


def _number_rows(numbers: Numbers) -> Octets:
    return numbers.astype(">u8").view(np.uint8).reshape(len(numbers), 8)


def _tails(rows: Octets) -> Numbers:
    """Return the last 8 bytes of each row as a number."""
    return np.ascontiguousarray(rows[:, -8:]).view(">u8").astype(np.uint64).reshape(len(rows))


def _is_in(numbers: Numbers, ordered: Numbers) -> npt.NDArray[np.bool_]:
    if len(ordered) == 0:
        return np.zeros(len(numbers), np.bool_)
    at = np.searchsorted(ordered, numbers)
    at[at == len(ordered)] = 0
    found: npt.NDArray[np.bool_] = ordered[at] == numbers
    return found


def _lengths(rows: Octets) -> Octets:
    """Return the bytes of each row's minimal INTEGER; no row is zero."""
    lengths = np.empty(len(rows), np.uint8)
    for start in range(0, len(rows), _ROWS_A_STEP):
        step = rows[start : start + _ROWS_A_STEP]
        first = (step != 0).argmax(axis=1)
        needs_sign = step[np.arange(len(step)), first] >= 0x80
        lengths[start : start + _ROWS_A_STEP] = rows.shape[1] - first + needs_sign
    return lengths


def integers(rows: Octets) -> list[int]:
    """Return the number in each row as an int."""
    width = rows.shape[1]
    packed = rows.tobytes()
    return [
        int.from_bytes(packed[start : start + width], "big")
        for start in range(0, len(packed), width)
    ]
