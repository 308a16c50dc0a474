"""A plain reader of gaps, and their writer's choices, by docs/reference/index-format.md alone."""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from support.format_fields import read_field, require, stream_size

BLOCKS_PER_ROW = 28


class Gaps:
    """The keys of a table of kind 2; *ranks* is empty in an image without attributes."""

    def __init__(self, descriptor: bytes, blocks: bytes, gaps: bytes, ranks: bytes) -> None:
        self.block_bits, self.gap_bits, self.least_gap, self.first_key = struct.unpack_from(
            "<BBxIQ", descriptor, 17
        )
        require(self.block_bits <= 32, "a place in a block has up to 32 bits")
        require(self.gap_bits <= 32, "the lower part of a gap has up to 32 bits")
        self.num_rows, odd = divmod(len(blocks), 64)
        require(self.num_rows > 0 and odd == 0, "the block directory has whole rows")
        require(len(gaps) > 0, "there are gaps")
        require(len(ranks) in (0, 56 * self.num_rows), "every block has a rank")
        self.num_blocks = self.num_rows * BLOCKS_PER_ROW
        self._rows = [struct.unpack_from("<II28H", blocks, 64 * i) for i in range(self.num_rows)]
        self._gaps, self._ranks = gaps, ranks

    def find(self, key: int) -> int | None:
        """The rank of a key; None where it is absent."""
        place = key - self.first_key
        block, wanted = place >> self.block_bits, place & ((1 << self.block_bits) - 1)
        if place < 0 or block >= self.num_blocks:
            return None
        values = self.values(block)
        return self._first_rank(block) + values.index(wanted) if wanted in values else None

    def in_order(self) -> Iterator[int]:
        """Every key by rank."""
        rank = 0
        for block in range(self.num_blocks):
            require(self._first_rank(block) == rank, "a block's first entry has the rank told")
            for value in self.values(block):
                yield self.first_key + (block << self.block_bits) + value
                rank += 1

    def bounds(self, block: int) -> tuple[int, int]:
        """Where the bits of a block start and end."""
        first_bit, _, *ends = self._rows[block // BLOCKS_PER_ROW]
        place = block % BLOCKS_PER_ROW
        start, end = first_bit + (ends[place - 1] if place else 0), first_bit + ends[place]
        require(start <= end <= 8 * len(self._gaps), "a block lies within the section")
        return start, end

    def values(self, block: int) -> list[int]:
        """The places of a block's entries in it."""
        upper_at, lower_at = self.bounds(block)
        found: list[int] = []
        while True:
            upper = 0
            while upper_at + upper < lower_at and not read_field(self._gaps, upper_at + upper, 1):
                upper += 1
            if upper_at + upper + 1 + self.gap_bits > lower_at:
                return found
            upper_at += upper + 1
            lower_at -= self.gap_bits
            code = upper << self.gap_bits | read_field(self._gaps, lower_at, self.gap_bits)
            found.append(found[-1] + self.least_gap + code if found else code)

    def _first_rank(self, block: int) -> int:
        """The rank of a block's first entry, by the directories as far as they tell."""
        first_rank: int = self._rows[block // BLOCKS_PER_ROW][1]
        if self._ranks:
            return first_rank + int(struct.unpack_from("<H", self._ranks, 2 * block)[0])
        row = block - block % BLOCKS_PER_ROW
        return first_rank + sum(len(self.values(before)) for before in range(row, block))


class GapsPlan(NamedTuple):
    """What the writer chooses for keys, and what it comes to."""

    block_bits: int
    gap_bits: int
    num_rows: int
    num_bits: int

    def size(self, *, attributes: bool = False) -> int:
        """Bytes of the sections 0 to 2."""
        return stream_size(self.num_bits) + self.num_rows * (64 + 56 * attributes)


def plan_gaps(keys: Sequence[int]) -> GapsPlan | None:
    """The rules of the writer for keys in order; None where they cannot be gaps."""
    places = [key - keys[0] for key in keys]
    if len(keys) < 2 or places[-1] > 512 * len(keys):
        return None
    block_bits = 32
    while block_bits and len(keys) << block_bits > 80 * (places[-1] + 1):
        block_bits -= 1
    while max(Counter(place >> block_bits for place in places).values()) > 256:
        block_bits -= 1
    least_gap = min(after - before for before, after in pairwise(places))
    codes: dict[int, list[int]] = defaultdict(list)
    for i, place in enumerate(places):
        block = codes[place >> block_bits]
        start = place >> block_bits << block_bits
        block.append(place - places[i - 1] - least_gap if block else place - start)

    def bits_of(blocks: Iterable[list[int]], gap_bits: int) -> int:
        return sum((code >> gap_bits) + 1 + gap_bits for block in blocks for code in block)

    gap_bits = min(range(33), key=lambda bits: bits_of(codes.values(), bits))
    rows: dict[int, list[list[int]]] = defaultdict(list)
    for number, found in codes.items():
        rows[number // BLOCKS_PER_ROW].append(found)
    if max(bits_of(row, gap_bits) for row in rows.values()) > 0xFFFF:
        return None
    num_bits = bits_of(codes.values(), gap_bits)
    return GapsPlan(block_bits, gap_bits, max(rows) + 1, num_bits)
