"""Open images and look serial numbers up in them."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crlcheck._binding.values import raise_for_image, to_bytes
from crlcheck._native import ffi, lib
from crlcheck.encoding.serials import serial_from_octets
from crlcheck.errors import CorruptIndexError
from crlcheck.times import time_at

PAGE_SIZE: int = lib.CRLCHECK_PAGE_SIZE
DIGEST_SIZE: int = lib.CRLCHECK_DIGEST_SIZE
DIGESTS_PER_BLOCK: int = lib.CRLCHECK_DIGESTS_PER_BLOCK
MAX_SERIAL: int = lib.CRLCHECK_MAX_SERIAL


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """The offsets and sizes of the parts of an image, in bytes."""

    header_size: int
    image_size: int
    page_table_offset: int
    num_pages: int
    has_trailer: bool
    num_entries: int
    num_tables: int
    metadata: bytes
    issuers: tuple[bytes, ...]


def layout_of(info: Any, issuer_of: Callable[[int], Any]) -> ImageLayout:
    """Return the layout that the core has found; *issuer_of* gives a name by its number."""
    return ImageLayout(
        header_size=info.header_size,
        image_size=info.image_size,
        page_table_offset=info.page_table_offset,
        num_pages=info.num_pages,
        has_trailer=info.has_trailer,
        num_entries=info.num_entries,
        num_tables=info.num_tables,
        metadata=to_bytes(info.metadata),
        issuers=tuple(to_bytes(issuer_of(number)) for number in range(info.num_issuers)),
    )


class NativeImage:
    """
    An opened image and the buffer it lies in, which live and die together.

    Serials are given as canonical bytes. Any number of threads may look up at
    once. A caller keeps a reference of its own for the length of a call.
    """

    def __init__(self, buffer: bytes | bytearray | mmap.mmap) -> None:
        """
        Check the structure of *buffer*, not its digests.

        It is no memoryview, because CPython's collector crashes on one that is exported.

        Raises:
            CorruptIndexError: it is no image, or contradicts itself.
            UnsupportedIndexVersionError: it is of a later major version.
        """
        self._octets = ffi.from_buffer("uint8_t[]", buffer)
        self._error = ffi.new("crlcheck_error *")
        image = ffi.new("crlcheck_image **")
        if lib.crlcheck_image_open(image, self._error, self._octets, len(self._octets)):
            raise_for_image(self._error)
        self._image = ffi.gc(image[0], lib.crlcheck_image_free)

    @property
    def address(self) -> int:
        """Where the native handle lies, for ``Lookup``."""
        return int(ffi.cast("uintptr_t", self._image))

    @property
    def layout(self) -> ImageLayout:
        """Where the parts lie, and what the header holds."""
        info = lib.crlcheck_image_info_of(self._image)
        return layout_of(info, lambda number: lib.crlcheck_image_issuer(self._image, number))

    def tables(self) -> list[dict[str, int]]:
        """The tables' issuer number, serial length, counts and sizes."""
        table = ffi.new("crlcheck_table_info *")
        found: list[dict[str, int]] = []
        while not lib.crlcheck_image_table(self._image, table, len(found)):
            found.append({name: int(getattr(table, name)) for name in _TABLE_FIELDS})
        return found

    def find(self, issuer: int, serial: bytes) -> FoundEntry | None:
        """The entry of a serial, or None."""
        found = ffi.new("crlcheck_found *")
        if lib.crlcheck_image_find(self._image, found, issuer, serial, len(serial)):
            return None
        return found_entry(found)

    def contains_packed(self, issuer: int, rows: Any, width: int) -> bytearray:
        """Whether each row of *width* bytes, read as an unsigned integer, is listed."""
        with ffi.from_buffer("uint8_t[]", rows) as octets:
            num_rows = len(octets) // width
            results = bytearray(num_rows)
            lib.crlcheck_image_contains_packed(
                self._image, ffi.from_buffer("uint8_t[]", results), issuer, octets, num_rows, width
            )
        return results

    @property
    def native(self) -> Any:
        """The image as the core has it, as long as this lives."""
        return self._image

    def flag_packed(self, flags: Any, issuer: int, rows: Any, num_rows: int, width: int) -> None:
        """Write to native *flags* what ``contains_packed`` says of native *rows*."""
        lib.crlcheck_image_contains_packed(self._image, flags, issuer, rows, num_rows, width)

    def take_entries(
        self,
        verdicts: Any,
        dates: Any,
        places: Any,
        flags: Any,
        issuer: int,
        rows: Any,
        width: int,
        order: Any,
        num_places: int,
        verdicts_by_reason: Any,
    ) -> int:
        """Give native rows the verdicts and dates of their entries, as the core has it."""
        return int(
            lib.crlcheck_rows_entries(
                self._image,
                verdicts,
                dates,
                places,
                flags,
                issuer,
                rows,
                width,
                order,
                num_places,
                verdicts_by_reason,
            )
        )

    def contains_rows(self, issuer: int, rows: Any, width: int) -> bytearray:
        """Whether each row, a canonical serial of *width* bytes, is listed."""
        with ffi.from_buffer("uint8_t[]", rows) as octets:
            num_rows = len(octets) // width
            results = bytearray(num_rows)
            lib.crlcheck_image_contains_many(
                self._image,
                ffi.from_buffer("uint8_t[]", results),
                issuer,
                octets,
                bytes((width,)) * num_rows,
                num_rows,
            )
        return results

    def serials(self, table: int, first: int, count: int, width: int) -> bytearray:
        """
        The canonical serials of entries of a table, end to end, of *width* bytes each.

        Raises:
            CorruptIndexError: the image contradicts itself, or has no such entry.
        """
        rows = bytearray(count * width)
        octets = ffi.from_buffer("uint8_t[]", rows)
        if lib.crlcheck_image_serials(self._image, octets, table, first, count):
            raise CorruptIndexError(
                f"image is corrupt: entries of table {table} from {first} on cannot be found"
            )
        return rows

    def entry(self, table: int, position: int) -> FoundEntry:
        """
        The entry at a position of a table.

        Raises:
            CorruptIndexError: the image contradicts itself, or has no such entry.
        """
        return self._read_entry(ffi.new("crlcheck_found *"), table, position)

    def _read_entry(self, found: Any, table: int, position: int) -> FoundEntry:
        if lib.crlcheck_image_entry(self._image, found, table, position):
            raise CorruptIndexError(
                f"image is corrupt: entry {position} of table {table} cannot be found"
            )
        return found_entry(found)

    def entries(self) -> Iterator[FoundEntry]:
        """
        Every entry, in stored order.

        Raises:
            CorruptIndexError: the image contradicts itself.
        """
        found = ffi.new("crlcheck_found *")
        for number, table in enumerate(self.tables()):
            for position in range(table["num_entries"]):
                yield self._read_entry(found, number, position)


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """One entry of an image; the reason is None where it has none."""

    issuer: int
    serial_number: int
    reason: int | None
    revocation_date: datetime | None
    invalidity_date: datetime | None


_TABLE_FIELDS = (
    "certificate_issuer",
    "serial_len",
    "kind",
    "key_bits",
    "bucket_bits",
    "num_entries",
    "max_bucket",
    "size",
)


def found_entry(found: Any) -> FoundEntry:
    """Return the entry that the core has described."""
    reason = found.reason_code
    try:
        return FoundEntry(
            issuer=found.certificate_issuer,
            serial_number=serial_from_octets(bytes(found.serial[0 : found.serial_len])),
            reason=None if reason == lib.CRLCHECK_NO_REASON else reason,
            revocation_date=(time_at(found.revocation_date) if found.has_revocation_date else None),
            invalidity_date=(time_at(found.invalidity_date) if found.has_invalidity_date else None),
        )
    except OverflowError as error:
        raise CorruptIndexError("image is corrupt: a date lies outside 0001 to 9999") from error
