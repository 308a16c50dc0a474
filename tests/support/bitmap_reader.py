"""Roaring bitmaps as docs/reference/index-format.md describes them, read from its words alone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from support.format_fields import read_field, require


class Container(NamedTuple):
    """The part of a bitmap whose members share their upper 48 bits."""

    number: int
    """Counted over all groups."""
    upper_bits: int
    cardinality: int
    kind: str
    octets: bytes

    def values(self) -> list[int]:
        """The lowest 16 bits of the members."""
        numbers = [low for (low,) in struct.iter_unpack("<H", self.octets)]
        if self.kind == "array":
            return numbers
        if self.kind == "runs":
            runs = zip(numbers[::2], numbers[1::2], strict=True)
            return [value for start, more in runs for value in range(start, start + more + 1)]
        return [value for value in range(1 << 16) if read_field(self.octets, value, 1)]


class Group:
    """The part of a bitmap whose members share their upper 32 bits: a 32-bit bitmap."""

    def __init__(self, octets: bytes, upper_bits: int, first_container: int) -> None:
        self._octets, self._upper_bits, self._first = octets, upper_bits, first_container
        require(len(octets) >= 8, "a group has a header")
        cookie, count = struct.unpack_from("<II", octets)
        self._run_flags = b""
        start = 8
        if cookie & 0xFFFF == 12347:
            count = (cookie >> 16) + 1
            start = 4 + (count + 7) // 8
            self._run_flags = octets[4:start]
        else:
            require(cookie == 12346, "the cookie is known")
        require(1 <= count <= 1 << 16, "a group has 1 to 65536 containers")
        has_offsets = not self._run_flags or count >= 4
        self._payload = start + count * (8 if has_offsets else 4)
        require(self._payload <= len(octets), "the header lies within the section")
        self._descriptors = list(struct.iter_unpack("<HH", octets[start : start + 4 * count]))
        self._offsets: tuple[int, ...] | None = None
        if has_offsets:
            self._offsets = struct.unpack_from(f"<{count}I", octets, start + 4 * count)

    def containers(self) -> Iterator[Container]:
        """All of them, in order."""
        following = self._payload
        for index, (key, less_one) in enumerate(self._descriptors):
            offset = self._offsets[index] if self._offsets else following
            kind, size = ("array", 2 * less_one + 2) if less_one < 4096 else ("bitset", 8192)
            if self._run_flags and read_field(self._run_flags, index, 1):
                kind, size = "runs", 4 * int.from_bytes(self._octets[offset:][:2], "little")
                offset += 2
            following = offset + size
            require(following <= len(self._octets), "a container lies within the section")
            yield Container(
                number=self._first + index,
                upper_bits=self._upper_bits << 16 | key,
                cardinality=less_one + 1,
                kind=kind,
                octets=self._octets[offset:following],
            )


class Bitmap:
    """A bitmap with its group and its rank directory."""

    def __init__(self, octets: bytes, groups: bytes, ranks: bytes) -> None:
        self._octets, self._ranks = octets, ranks
        require(len(octets) >= 12, "the bitmap has a group")
        num_groups = int.from_bytes(octets[:8], "little")
        require(len(groups) == (0 if num_groups == 1 else 24 * num_groups), "groups are listed")
        self._groups = list(struct.iter_unpack("<IIQI4x", groups))
        if num_groups == 1:
            self._groups = [(int.from_bytes(octets[8:12], "little"), 0, 12, 0)]
            self._containers(0)
        require(num_groups >= 1, "the bitmap has a group")

    @property
    def num_groups(self) -> int:
        """How many groups there are."""
        return len(self._groups)

    @property
    def kinds(self) -> set[str]:
        """Which kinds of container there are."""
        return {c.kind for number in range(self.num_groups) for c in self._containers(number)}

    def find(self, key: int) -> int | None:
        """The rank of a key, None where it is no member; 0 without a rank directory."""
        for number, (upper_bits, *_) in enumerate(self._groups):
            for container in self._containers(number) if upper_bits == key >> 32 else ():
                if container.upper_bits == key >> 16 and key & 0xFFFF in container.values():
                    return self._rank(container, key & 0xFFFF) if self._ranks else 0
        return None

    def in_order(self) -> Iterator[int]:
        """All keys in order; every number in the directories is checked."""
        rank = num_containers = 0
        for number, (_, first_rank, _, first_container) in enumerate(self._groups):
            require(first_rank == rank, "ranks are counted over all groups")
            require(first_container == num_containers, "containers are counted over all groups")
            for container in self._containers(number):
                num_containers += 1
                values = container.values()
                require(len(values) == container.cardinality, "the cardinality is right")
                for value in values:
                    if self._ranks:
                        require(self._rank(container, value) == rank, "the rank is right")
                    yield container.upper_bits << 16 | value
                    rank += 1

    def _containers(self, number: int) -> Iterator[Container]:
        upper_bits, _, offset, first_container = self._groups[number]
        return Group(self._octets[offset:], upper_bits, first_container).containers()

    def _rank(self, container: Container, value: int) -> int:
        """The rank of a member, by way of the rank directory."""
        rank, first_count = struct.unpack_from("<II", self._ranks, 8 * container.number)
        if container.kind == "bitset":
            place = value // 512
            more = read_field(container.octets, 512 * place, value % 512).bit_count()
        else:
            numbers = struct.unpack(f"<{len(container.octets) // 2}H", container.octets)
            if container.kind == "array":
                return int(rank + numbers.index(value))
            place = max(i for i, start in enumerate(numbers[::2]) if start <= value)
            more = value - numbers[2 * place]
        (before,) = struct.unpack_from("<H", self._ranks, 2 * (first_count + place))
        return int(rank + before + more)
