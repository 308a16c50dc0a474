"""
A second reader of images, written from docs/reference/index-format.md alone.

It follows the document step by step and shares nothing with crlcheck, so that
where the two agree the document is right. It is as slow as it is plain.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from support.bitmap_reader import Bitmap
from support.format_fields import RefusedImageError, read_field, require, stream_size
from support.gaps_reader import Gaps

MAGIC = b"\x89CRLX\r\n\x1a"
PAGE_SIZE = 65536
DIGEST_SIZE = 32
SUPERBLOCK_SIZE = 64
TABLE_SIZE = 256
MULTIPLIER_1 = 0xFF51AFD7ED558CCD
MULTIPLIER_2 = 0xC4CEB9FE1A85EC53
INVERSE_1 = 0x4F74430C22A54005
INVERSE_2 = 0x9CB4B2F8129337DB
WORD = (1 << 64) - 1
NO_REASON = 15
MEMBERS = {
    "attributes", "authority_key_id", "base_crl_number", "crl_number", "expired_certs_on_crl",
    "issuer", "issuer_hash", "issuing_distribution_point", "next_update", "num_duplicates",
    "num_entries", "signature_algorithm", "tbs_digest", "this_update", "verifier_key_hash",
    "verifier_subject_key_id", "version", "warnings",
}  # fmt: skip


class Entry(NamedTuple):
    """One entry; dates are seconds since 1970-01-01T00:00:00Z."""

    issuer: int
    serial: int
    reason: int | None
    revocation_date: int | None
    invalidity_date: int | None


def canonical_octets(serial: int) -> bytes:
    """The contents of a DER INTEGER."""
    size = 1
    while not -(1 << (8 * size - 1)) <= serial < 1 << (8 * size - 1):
        size += 1
    return serial.to_bytes(size, "big", signed=True)


class Shape:
    """Which bits of a table's serials are constant, and from them the key."""

    def __init__(self, value: bytes, mask: bytes) -> None:
        self.value, self.mask = value, mask
        self.varying = [i for i, constant in enumerate(mask) if constant != 0xFF]
        self.key_bits = 8 * len(self.varying)
        for place, i in enumerate(self.varying):
            leading = mask[i].bit_count()
            expected = 0xFF00 >> leading & 0xFF if place == 0 else 0
            require(
                mask[i] == expected, "only leading bits of the first varying octet are constant"
            )
            self.key_bits -= leading
        require(not any(v & ~m for v, m in zip(value, mask, strict=True)), "value within mask")
        self.low_bits = min(self.key_bits, 64)

    def ordered_key(self, serial: bytes) -> int | None:
        """The key before mixing, as one number; None where a constant bit differs."""
        for octet, value, mask in zip(serial, self.value, self.mask, strict=True):
            if (octet ^ value) & mask:
                return None
        octets = bytes(serial[i] for i in self.varying)
        return int.from_bytes(octets, "big") & ((1 << self.key_bits) - 1)

    def key(self, serial: bytes) -> tuple[int, int] | None:
        """Low part, mixed, and high part of the key; None where a constant bit differs."""
        number = self.ordered_key(serial)
        if number is None:
            return None
        low, high = number & WORD, number >> 64
        return self._mix((low ^ self._fold(high)) & self._low_mask), high

    def serial(self, low: int, high: int) -> bytes:
        """The serial of a key."""
        return self.ordered_serial(
            high << 64 | self._unmix(low) ^ self._fold(high) & self._low_mask
        )

    def ordered_serial(self, number: int) -> bytes:
        """The serial of a key before mixing."""
        octets = bytearray(self.value)
        for i in reversed(self.varying):
            octets[i] |= number & 0xFF
            number >>= 8
        return bytes(octets)

    @property
    def _low_mask(self) -> int:
        return (1 << self.low_bits) - 1

    def _fold(self, high: int) -> int:
        folded = 0
        for i in range((self.key_bits - 1) // 64):
            folded = (folded ^ (high >> 64 * i & WORD)) * MULTIPLIER_1 & WORD
            folded ^= folded >> 32
        return folded

    def _mix(self, x: int) -> int:
        shift = (self.low_bits + 1) // 2
        x ^= x >> shift
        x = x * MULTIPLIER_1 & self._low_mask
        x ^= x >> shift
        x = x * MULTIPLIER_2 & self._low_mask
        return x ^ x >> shift

    def _unmix(self, x: int) -> int:
        shift = (self.low_bits + 1) // 2
        x ^= x >> shift
        x = x * INVERSE_2 & self._low_mask
        x ^= x >> shift
        x = x * INVERSE_1 & self._low_mask
        return x ^ x >> shift


class Dates:
    """A section of dates."""

    def __init__(self, section: bytes, num_entries: int) -> None:
        num_blocks = (num_entries + 127) // 128
        require(not section or len(section) >= 16 * num_blocks, "every block has a descriptor")
        self._section = section
        self._payload = section[16 * num_blocks :]

    def read(self, rank: int) -> int | None:
        """The date of an entry, None where it has none."""
        if not self._section:
            return None
        base, start, width = struct.unpack_from("<qIB", self._section, rank // 128 * 16)
        if width == 0:
            return None
        block = self._payload[16 * start : 16 * (start + width)]
        require(width <= 64 and len(block) == 16 * width, "a block lies within its section")
        value = read_field(block, rank % 128 * width, width)
        return None if value == 0 else base + value - 1


class Table:
    """One table: what those of all kinds have."""

    def __init__(self, image: Image, descriptor: bytes) -> None:
        self.issuer, self.serial_len, self.kind, key_bits, self.num_entries, self.bucket_bits = (
            struct.unpack_from("<IBBHQB", descriptor)
        )
        require(self.issuer < len(image.issuers), "the issuer exists")
        require(1 <= self.serial_len <= 64, "a serial has 1 to 64 octets")
        require(1 <= self.num_entries < 1 << 31, "a table has 1 to 2^31 - 1 entries")
        length = self.serial_len
        self.shape = Shape(descriptor[128 : 128 + length], descriptor[192 : 192 + length])
        require(key_bits == self.shape.key_bits, "the key is as wide as the mask says")
        self.sections = [image.section(descriptor, number) for number in range(6)]
        self.section_offsets = struct.unpack_from("<" + 6 * "Q8x", descriptor, 32)
        self._reasons = self.sections[3]
        require(len(self._reasons) in (0, stream_size(4 * self.num_entries)), "reasons fit")
        self._revocation_dates = Dates(self.sections[4], self.num_entries)
        self._invalidity_dates = Dates(self.sections[5], self.num_entries)

    def find(self, serial: bytes) -> Entry | None:
        """Look a serial up."""
        raise NotImplementedError

    def entries(self) -> Iterator[tuple[tuple[int, int], Entry]]:
        """Every entry by rank, with its key."""
        raise NotImplementedError

    def _describe(self, serial: bytes, rank: int) -> Entry:
        reason = read_field(self._reasons, 4 * rank, 4) if self._reasons else NO_REASON
        return Entry(
            issuer=self.issuer,
            serial=int.from_bytes(serial, "big", signed=True),
            reason=None if reason == NO_REASON else reason,
            revocation_date=self._revocation_dates.read(rank),
            invalidity_date=self._invalidity_dates.read(rank),
        )


class MixedTable(Table):
    """A table whose entries stand in the order of their mixed keys, of kind 0 or 3."""

    largest_bucket: int

    def __init__(self, image: Image, descriptor: bytes) -> None:
        super().__init__(image, descriptor)
        require(self.bucket_bits <= min(30, self.shape.low_bits), "buckets come from the key")
        self.remainder_bits = self.shape.key_bits - self.bucket_bits
        self._low_remainder_bits = self.shape.low_bits - self.bucket_bits
        self._remainders = self.sections[0]
        size = stream_size(self.num_entries * self.remainder_bits)
        require(len(self._remainders) == size, "remainders fit")

    def find(self, serial: bytes) -> Entry | None:
        """Look a serial up: steps 4 to 6 of the document."""
        key = self.shape.key(serial)
        if key is None:
            return None
        low, high = key
        first, count = self.bucket(low >> self._low_remainder_bits)
        wanted = high << self._low_remainder_bits | low & ((1 << self._low_remainder_bits) - 1)
        for rank in range(first, first + count):
            if self._remainder(rank) == wanted:
                return self._describe(serial, rank)
        return None

    def entries(self) -> Iterator[tuple[tuple[int, int], Entry]]:
        """Every entry in stored order, with its key."""
        for bucket in range(1 << self.bucket_bits):
            first, count = self.bucket(bucket)
            for rank in range(first, first + count):
                remainder = self._remainder(rank)
                low = remainder & ((1 << self._low_remainder_bits) - 1)
                low |= bucket << self._low_remainder_bits
                high = remainder >> self._low_remainder_bits
                yield (low, high), self._describe(self.shape.serial(low, high), rank)

    def bucket(self, bucket: int) -> tuple[int, int]:
        """The rank of a bucket's first entry, and how many entries it has."""
        raise NotImplementedError

    def _remainder(self, rank: int) -> int:
        return read_field(self._remainders, rank * self.remainder_bits, self.remainder_bits)


class BucketTable(MixedTable):
    """A table of kind 0."""

    def __init__(self, image: Image, descriptor: bytes) -> None:
        super().__init__(image, descriptor)
        n, num_buckets = self.num_entries, 1 << self.bucket_bits
        num_coarse, num_fine = (num_buckets + 4095) // 4096, (num_buckets + 15) // 16
        hints, self._directory = self.sections[1:3]
        hints_size = stream_size(num_coarse * 32 + num_fine * 16) + 8
        require(len(hints) == hints_size, "hints fit")
        require(len(self._directory) == stream_size(n + num_buckets), "the directory fits")
        self._coarse_hints = struct.unpack_from(f"<{num_coarse}I", hints)
        self._fine_hints = struct.unpack_from(f"<{num_fine}H", hints, 4 * num_coarse)
        self.largest_bucket = int.from_bytes(hints[-8:], "little")

    def bucket(self, bucket: int) -> tuple[int, int]:
        """The rank of a bucket's first entry, and how many entries it has."""
        bit, skip = self._coarse_hints[bucket // 4096], bucket % 4096
        if self._fine_hints[bucket // 16] != 0xFFFF:
            bit, skip = bit + self._fine_hints[bucket // 16], bucket % 16
        for _ in range(skip):
            while self._directory_bit(bit):
                bit += 1
            bit += 1
        first, count = bit - bucket, 0
        while self._directory_bit(bit + count):
            count += 1
        require(0 <= first <= first + count <= self.num_entries, "a bucket's entries exist")
        return first, count

    def _directory_bit(self, bit: int) -> int:
        require(bit < self.num_entries + (1 << self.bucket_bits), "buckets lie in the directory")
        return read_field(self._directory, bit, 1)


class LinesTable(MixedTable):
    """A table of kind 3."""

    def __init__(self, image: Image, descriptor: bytes) -> None:
        super().__init__(image, descriptor)
        (self.largest_bucket,) = struct.unpack_from("<I", descriptor, 20)
        self._lines, self._spill = self.sections[1:3]
        num_lines = ((1 << self.bucket_bits) + 119) // 120 if self.bucket_bits else 0
        require(len(self._lines) == 64 * num_lines, "lines fit")
        require(len(self._spill) % 484 == 0, "records are whole")
        require(not self._spill or num_lines > 0, "lines are spilled")
        require(self.bucket_bits > 0 or self.num_entries <= 15, "one bucket is small")

    @property
    def spilled(self) -> int:
        """How many lines are spilled."""
        return len(self._spill) // 484

    def bucket(self, bucket: int) -> tuple[int, int]:
        """The rank of a bucket's first entry, and how many entries it has."""
        if self.bucket_bits == 0:
            return 0, self.num_entries
        line = self._lines[bucket // 120 * 64 :][:64]
        place = bucket % 120
        (head,) = struct.unpack_from("<I", line)
        if head >> 31:
            (record,) = struct.unpack_from("<I", line, 4)
            require(record < self.spilled, "the record of a spilled line exists")
            first, end = struct.unpack_from("<2I", self._spill, 484 * record + 4 * place)
        else:
            counts = [read_field(line[4:], 4 * field, 4) for field in range(place + 1)]
            first = head + sum(counts[:-1])
            end = first + counts[-1]
        require(first <= end <= self.num_entries, "a bucket's entries exist")
        return first, end - first


class OrderedTable(Table):
    """A table whose entries stand in the order of their keys, of kind 1 or 2."""

    keys: Bitmap | Gaps

    def __init__(self, image: Image, descriptor: bytes) -> None:
        super().__init__(image, descriptor)
        require(self.bucket_bits == 0, "an ordered table has no buckets")
        require(self.shape.key_bits <= 64, "the keys of an ordered table have up to 64 bits")

    def find(self, serial: bytes) -> Entry | None:
        """Look a serial up: the steps for a bitmap, or those for gaps."""
        key = self.shape.ordered_key(serial)
        rank = None if key is None else self.keys.find(key)
        return None if rank is None else self._describe(serial, rank)

    def entries(self) -> Iterator[tuple[tuple[int, int], Entry]]:
        """Every entry by rank, with its key before mixing."""
        for rank, key in enumerate(self.keys.in_order()):
            require(rank < self.num_entries, "every key has an entry")
            yield (key, 0), self._describe(self.shape.ordered_serial(key), rank)


class BitmapTable(OrderedTable):
    """A table of kind 1."""

    def __init__(self, image: Image, descriptor: bytes) -> None:
        super().__init__(image, descriptor)
        self.keys = self.bitmap = Bitmap(*self.sections[:3])


class GapsTable(OrderedTable):
    """A table of kind 2."""

    def __init__(self, image: Image, descriptor: bytes) -> None:
        super().__init__(image, descriptor)
        self.keys = self.gaps = Gaps(descriptor, *self.sections[:3])


def open_table(image: Image, descriptor: bytes) -> Table:
    """The table that a descriptor describes."""
    require(descriptor[5] in (0, 1, 2, 3), "the table kind is known")
    return (BucketTable, BitmapTable, GapsTable, LinesTable)[descriptor[5]](image, descriptor)


class Image:
    """An image, checked as the document demands; its digests only on demand."""

    def __init__(self, octets: bytes, *, digests: bool = True) -> None:
        self._octets = octets
        require(len(octets) >= SUPERBLOCK_SIZE + DIGEST_SIZE, "there is a superblock")
        (magic, major, _, flags, size, self._body_end, num_entries, self.header_size,
         num_tables, num_issuers, metadata, metadata_size, issuers) = struct.unpack_from(
            "<8sHHIQQQIIIIII", octets
        )  # fmt: skip
        require(magic == MAGIC, "the magic is right")
        require(major == 1, "the major version is known")
        require(flags & ~3 == 0, "every flag is known")
        require(size == len(octets), "the image is whole")
        header = self.header_size
        require(SUPERBLOCK_SIZE <= header <= self._body_end <= size, "the parts follow each other")
        require(header % 64 == 0, "the header ends at a multiple of 64")
        require(num_tables <= (header - SUPERBLOCK_SIZE) // TABLE_SIZE, "descriptors in header")
        self._num_pages = (self._body_end - header + PAGE_SIZE - 1) // PAGE_SIZE
        self._has_trailer = bool(flags & 2)
        behind = (self._num_pages + 1) * DIGEST_SIZE
        if self._has_trailer:
            self._num_blocks = (self._num_pages + 255) // 256
            behind += self._num_blocks * DIGEST_SIZE + header + 8
        require(size - self._body_end == behind, "digests, and a trailer where a flag says so")
        require(metadata + metadata_size <= header, "the metadata lie in the header")
        if digests:
            self._check_digests()
        self.has_attributes = bool(flags & 1)
        self.metadata_octets = octets[metadata : metadata + metadata_size]
        self.issuers = self._read_issuers(issuers, num_issuers)
        self.tables = [
            open_table(self, octets[start : start + TABLE_SIZE])
            for start in range(
                SUPERBLOCK_SIZE, SUPERBLOCK_SIZE + num_tables * TABLE_SIZE, TABLE_SIZE
            )
        ]
        order = [(table.issuer, table.serial_len) for table in self.tables]
        require(order == sorted(set(order)), "tables are in order, and each is unique")
        require(sum(t.num_entries for t in self.tables) == num_entries, "the entries add up")

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata object."""
        try:
            value: Any = json.loads(self.metadata_octets)
        except ValueError as error:
            raise RefusedImageError("the metadata are JSON") from error
        if not isinstance(value, dict) or not value.keys() >= MEMBERS:
            raise RefusedImageError("the metadata are an object with all members")
        return value

    def find(self, serial: int, issuer: int = 0) -> Entry | None:
        """Look a serial number of a certificate issuer up: steps 1 to 3 of the document."""
        octets = canonical_octets(serial)
        for table in self.tables:
            if (table.issuer, table.serial_len) == (issuer, len(octets)):
                return table.find(octets)
        return None

    def section(self, descriptor: bytes, number: int) -> bytes:
        """The bytes of a section of a table."""
        offset, size = struct.unpack_from("<QQ", descriptor, 32 + 16 * number)
        if size == 0:
            return b""
        require(self.header_size <= offset <= offset + size <= self._body_end, "sections in body")
        return self._octets[offset : offset + size]

    def _read_issuers(self, offset: int, number: int) -> list[bytes]:
        require(number >= 1, "there is the CRL's own issuer")
        issuers = []
        for _ in range(number):
            start = offset + 4
            require(start <= self.header_size, "issuers lie in the header")
            offset = start + int.from_bytes(self._octets[offset:start], "little")
            require(offset <= self.header_size, "issuers lie in the header")
            issuers.append(self._octets[start:offset])
        return issuers

    def _check_digests(self) -> None:
        header, end = self._octets[: self.header_size], self._octets[self._body_end : -32]
        table = end[: self._num_pages * DIGEST_SIZE]
        digests = table
        if self._has_trailer:
            digests = b"".join(
                hashlib.sha256(table[start : start + 8192]).digest()
                for start in range(0, len(table), 8192)
            )
            size = struct.pack("<Q", self.header_size)
            require(end == table + digests + header + size, "the trailer holds")
        require(hashlib.sha256(header + digests).digest() == self._octets[-32:], "the digest holds")
        for page in range(self._num_pages):
            start = self.header_size + page * PAGE_SIZE
            octets = self._octets[start : min(start + PAGE_SIZE, self._body_end)]
            expected = table[page * DIGEST_SIZE : (page + 1) * DIGEST_SIZE]
            require(hashlib.sha256(octets).digest() == expected, f"page {page} holds")
