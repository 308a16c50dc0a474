"""Parse a CRL, sort its entries and write the image, in this order."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from crlcheck._binding.image import PAGE_SIZE
from crlcheck._binding.values import raise_for_crl, to_bytes, to_optional_bytes
from crlcheck._native import ffi, lib
from crlcheck.encoding.serials import serial_from_octets
from crlcheck.times import time_at
from crlcheck.types import CrlWarning, OddExtension

_Buffer = TypeVar("_Buffer", bytearray, memoryview)


@dataclass(frozen=True, slots=True)
class CrlFields:
    """
    The fields of a CRL outside its entries.

    AlgorithmIdentifier, names and issuingDistributionPoint are whole DER
    elements. The fields behind the entries are set once the CRL is complete.
    """

    version: int
    tbs_offset: int
    tbs_size: int
    signature_algorithm: bytes
    issuer: bytes
    this_update: datetime
    next_update: datetime | None
    signature: bytes
    authority_key_id: bytes | None
    crl_number: int | None
    base_crl_number: int | None
    issuing_distribution_point: bytes | None
    expired_certs_on_crl: datetime | None
    warnings: CrlWarning
    odd_extensions: tuple[OddExtension, ...]


class CrlParser:
    """
    Parses a CRL that arrives in chunks, and keeps its entries.

    ``ParsedCrl``, ``SortedEntries`` and ``ImageWriter`` are made from it, in this order.
    Each belongs to one thread at a time; the GIL is free during each call.
    """

    def __init__(
        self, *, attributes: bool, max_source_size: int, max_entries: int = 0, allow_v1: bool
    ) -> None:
        parser = ffi.new("crlcheck_crl_parser **")
        builder = ffi.new("crlcheck_builder **")
        options = {
            "max_source_size": max_source_size,
            "max_entries": max_entries,
            "allow_v1": allow_v1,
        }
        if lib.crlcheck_crl_parser_new(parser, ffi.new("crlcheck_crl_options *", options)):
            raise MemoryError("no memory left for a CRL parser")
        self._parser = ffi.gc(parser[0], lib.crlcheck_crl_parser_free)
        if lib.crlcheck_builder_new(builder, attributes):
            raise MemoryError("no memory left for an image builder")
        self._builder = ffi.gc(builder[0], lib.crlcheck_builder_free)
        self._error = ffi.new("crlcheck_error *")
        self._info = lib.crlcheck_crl_parser_info(self._parser)

    def feed(self, chunk: bytes | memoryview) -> None:
        """
        Parse the next bytes of the source and keep their entries.

        Raises:
            MalformedCrlError, UnsupportedCrlError: the CRL is refused.
        """
        # CPython's collector crashes on a memoryview that is still exported, and a
        # traceback would keep it exported. So the export ends here.
        with ffi.from_buffer("uint8_t[]", chunk) as octets:
            refused = lib.crlcheck_compile_chunk(
                self._parser, self._builder, self._error, octets, len(octets)
            )
        if refused:
            raise_for_crl(self._error)

    def finish(self) -> ParsedCrl:
        """
        End the source and return the CRL; the parser cannot be used any more.

        Raises:
            MalformedCrlError, UnsupportedCrlError: the CRL is refused.
        """
        if lib.crlcheck_crl_parser_finish(self._parser, self._error):
            raise_for_crl(self._error)
        if lib.crlcheck_builder_seal(self._builder, self._error):
            raise_for_crl(self._error)
        return ParsedCrl(self._parser, self._builder, self.fields)

    @property
    def have_header(self) -> bool:
        """Whether everything up to nextUpdate has been read."""
        return bool(self._info.have_header)

    @property
    def tbs_span(self) -> tuple[int, int]:
        """Offset and size of the signed bytes in the DER source."""
        return self._info.tbs_offset, self._info.tbs_size

    @property
    def signature_algorithm(self) -> bytes:
        """The AlgorithmIdentifier in the tbsCertList, once the header has been read."""
        return to_bytes(self._info.tbs_signature_algorithm)

    @property
    def issuer(self) -> bytes:
        """The CRL's issuer, a Name as DER, once the header has been read."""
        return to_bytes(self._info.issuer)

    @property
    def fields(self) -> CrlFields:
        """The CRL's fields as far as they have been read."""
        info = self._info
        return CrlFields(
            version=info.version,
            tbs_offset=info.tbs_offset,
            tbs_size=info.tbs_size,
            signature_algorithm=self.signature_algorithm,
            issuer=self.issuer,
            this_update=time_at(info.this_update),
            next_update=time_at(info.next_update) if info.has_next_update else None,
            signature=to_bytes(info.signature),
            authority_key_id=to_optional_bytes(info.authority_key_id),
            crl_number=_to_optional_int(info.crl_number),
            base_crl_number=_to_optional_int(info.base_crl_number),
            issuing_distribution_point=to_optional_bytes(info.issuing_distribution_point),
            expired_certs_on_crl=(
                time_at(info.expired_certs_on_crl) if info.has_expired_certs_on_crl else None
            ),
            warnings=CrlWarning(info.warnings),
            odd_extensions=tuple(_odd_extensions(info.odd_extensions)),
        )


class ParsedCrl:
    """A whole CRL: its fields, and its entries in no order."""

    def __init__(self, parser: Any, builder: Any, fields: CrlFields) -> None:
        self._parser = parser
        self._builder = builder
        self.fields = fields

    def sort(self, share: Callable[[Callable[[], None]], None]) -> SortedEntries:
        """
        Order the entries and merge duplicates.

        *share* calls what it is given once or on several threads, which share the work, and
        waits for them.
        """
        share(self._sort)
        return SortedEntries(self._parser, self._builder)

    def _sort(self) -> None:
        error = ffi.new("crlcheck_error *")
        if lib.crlcheck_builder_sort(self._builder, error):
            raise_for_crl(error)


class SortedEntries:
    """The entries of a CRL in order, each serial number of an issuer once."""

    def __init__(self, parser: Any, builder: Any) -> None:
        self._parser = parser
        self._builder = builder
        self._error = ffi.new("crlcheck_error *")
        stats = ffi.new("crlcheck_builder_stats *")
        lib.crlcheck_builder_stats_of(builder, stats)
        self.num_entries: int = stats.num_entries
        self.num_duplicates: int = stats.num_duplicates

    def start_image(
        self, metadata: bytes, serialize_bitmap: Callable[[array[int]], bytes]
    ) -> ImageWriter:
        """
        Begin the image.

        *serialize_bitmap* is called with numbers in ascending order and returns their
        roaring bitmap, in the portable 64-bit form, optimised for runs.

        Raises:
            ValueError: it returned something else.
        """
        for table, members in self._bitmap_tables():
            self._set_bitmap(table, serialize_bitmap(members))
        issuers = self._issuers()
        size = ffi.new("uint32_t *")
        if lib.crlcheck_builder_start_image(
            self._builder, size, self._error, metadata, len(metadata), issuers, len(issuers)
        ):
            raise_for_crl(self._error)
        return ImageWriter(self._builder, size[0])

    def _bitmap_tables(self) -> Iterator[tuple[int, array[int]]]:
        """Yield the number and the members of each table that is smallest as a bitmap."""
        table = ffi.new("uint32_t *")
        num_keys = ffi.new("uint64_t *")
        first = 0
        if lib.crlcheck_builder_choose_kinds(self._builder, self._error):
            raise_for_crl(self._error)
        while not lib.crlcheck_builder_next_bitmap(self._builder, table, num_keys, first):
            keys = array("Q", bytes(8 * num_keys[0]))
            out = ffi.from_buffer("uint64_t[]", keys, require_writable=True)
            lib.crlcheck_builder_bitmap_keys(self._builder, out, table[0])
            ffi.release(out)
            yield table[0], keys
            first = table[0] + 1

    def _set_bitmap(self, table: int, bitmap: bytes) -> None:
        status = lib.crlcheck_builder_set_bitmap(
            self._builder, self._error, table, bitmap, len(bitmap)
        )
        if status == lib.CRLCHECK_MALFORMED:
            raise ValueError(f"{len(bitmap)} bytes are not the bitmap of table {table}")
        if status:
            raise_for_crl(self._error)

    def _issuers(self) -> Any:
        """The certificate issuers by number; the names belong to the parser."""
        issuers = ffi.new(
            "crlcheck_slice[]", lib.crlcheck_crl_parser_info(self._parser).num_issuers
        )
        for number in range(len(issuers)):
            issuers[number] = lib.crlcheck_crl_parser_issuer(self._parser, number)
        return issuers


class ImageWriter:
    """
    Writes an image: the body behind a header of ``header_size`` bytes, then that header.
    """

    def __init__(self, builder: Any, header_size: int) -> None:
        self._builder = builder
        self._error = ffi.new("crlcheck_error *")
        self.header_size = header_size

    def body(self, buffers: Iterable[_Buffer]) -> Iterator[tuple[_Buffer, int]]:
        """
        Write the image's body into *buffers*, one after the other, and yield each with
        the number of bytes that are filled: all of them, but for the last buffer. A buffer
        has one page or several.
        """
        length = ffi.new("size_t *")
        for buffer in buffers:
            capacity = len(buffer)
            if capacity == 0 or capacity % PAGE_SIZE:
                raise ValueError(f"a buffer has {capacity} bytes: expected whole pages")
            with ffi.from_buffer("uint8_t[]", buffer, require_writable=True) as out:
                status = lib.crlcheck_builder_read_body(
                    self._builder, length, self._error, out, capacity
                )
            if status:
                raise_for_crl(self._error)
            if length[0]:
                yield buffer, length[0]
            if length[0] < capacity:
                return

    @property
    def header(self) -> bytes:
        """The image's header, once the whole body has been made."""
        return to_bytes(lib.crlcheck_builder_header(self._builder))

    @property
    def has_trailer(self) -> bool:
        """Whether a trailer follows the page table, once the whole body has been made."""
        return bool(lib.crlcheck_builder_has_trailer(self._builder))


def _odd_extensions(counts: Any) -> Iterator[OddExtension]:
    for kind, (oid, name) in _ODD_KINDS.items():
        odd = counts[kind]
        if not odd.count:
            continue
        if not odd.first_entry:
            yield OddExtension(oid, name, odd.count)
            continue
        serial = bytes(ffi.buffer(odd.first_serial, odd.first_serial_len))
        yield OddExtension(oid, name, odd.count, odd.first_entry, serial_from_octets(serial))


_ODD_KINDS = {
    lib.CRLCHECK_ODD_EXPIRED_CERTS_ON_CRL: ("2.5.29.60", "expiredCertsOnCRL"),
    lib.CRLCHECK_ODD_REASON_CODE: ("2.5.29.21", "reasonCode"),
    lib.CRLCHECK_ODD_INVALIDITY_DATE: ("2.5.29.24", "invalidityDate"),
}


def _to_optional_int(contents: Any) -> int | None:
    octets = to_optional_bytes(contents)
    return None if octets is None else serial_from_octets(octets)
