"""
Compute how small any representation of a set of serials can be.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.serials import SerialSet

_SPANNING = ("dense", "runs", "prefix_counter")


def information_bound(serials: SerialSet) -> float:
    """
    Return the bits that tell this set from all others that its kind could have been.

    Random serials could have been any of their length, so n of b bits take
    log2 C(2^b, n); mixed lengths are the sum over the lengths, each a set of its
    own. Counted serials are told from all sets of their size between their first
    and last number, and two prefixes count as two ranges of 2^64. Of runs and
    sequential bytes more could be known, so what uses that may be below.
    """
    count = len(serials)
    if serials.kind.startswith(_SPANNING):
        tails = np.ascontiguousarray(serials.rows[:, -8:]).view(">u8")
        return log2_binomial(int(tails.max()) - int(tails.min()) + 1, count)
    if serials.kind == "two_prefixes":
        return log2_binomial(2 << 64, count)
    lengths, counts = np.unique(serials.lengths, return_counts=True)
    # The first byte is 1 to 127: not zero, and without the sign bit.
    return sum(
        log2_binomial(127 << 8 * (int(length) - 1), int(of_length))
        for length, of_length in zip(lengths, counts, strict=True)
    )


def log2_binomial(universe: int, count: int) -> float:
    """Return log2 of the number of subsets with *count* of *universe* members."""
    rest = universe - count
    if universe < 1 << 32:
        natural = math.lgamma(universe + 1) - math.lgamma(count + 1) - math.lgamma(rest + 1)
        return natural / math.log(2)
    # The two large factorials would cancel each other out; their quotient is
    # universe^count but for the factors' falling by up to count.
    falling = count * math.log2(universe) - count * (count - 1) / 2 / universe / math.log(2)
    return falling - math.lgamma(count + 1) / math.log(2)
