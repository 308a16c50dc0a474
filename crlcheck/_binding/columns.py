"""Look up columns of serials, many rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from crlcheck._binding.image import NativeImage
from crlcheck._binding.values import to_bytes
from crlcheck._native import ffi, lib

BINARY: int = lib.CRLCHECK_SERIAL_BINARY
HEX: int = lib.CRLCHECK_SERIAL_HEX
DECIMAL: int = lib.CRLCHECK_SERIAL_DECIMAL
SIGNED: int = lib.CRLCHECK_SERIAL_SIGNED
UNSIGNED: int = lib.CRLCHECK_SERIAL_UNSIGNED

NO_VALUE: int = lib.CRLCHECK_GROUP_NO_VALUE
UNKNOWN: int = lib.CRLCHECK_GROUP_UNKNOWN
STATES = ("serial", "no_value", "no_serial", "other", "no_group")
"""What may become of a row, by the number of its state in the core."""

NO_REASON: int = lib.CRLCHECK_NO_REASON
NUM_REASONS = 16

_allocate = ffi.new_allocator(should_clear_after_alloc=False)


class ColumnBuffers(NamedTuple):
    """
    A column as Arrow has it: the buffers, the row of theirs with which it begins, and the
    octets of an offset and of a value. ``offsets`` is None for values of one width, and
    ``validity`` where none is missing.
    """

    data: Any
    offsets: Any
    validity: Any
    first: int
    offset_size: int
    width: int


class Kind(NamedTuple):
    """What certificates of a kind have in common, and the row of the first of them."""

    octets: bytes
    row: int


# RFC 5280 4.1.2.2.
_CERTIFICATE_SERIAL = 20


class Dates:
    """Columns for the dates of entries, all missing until an entry is written to them."""

    def __init__(
        self, revocation: Any, revocation_validity: Any, invalidity: Any, invalidity_validity: Any
    ) -> None:
        """Take buffers of zeros: eight bytes for each row, or a bit."""
        self.columns = [
            (
                ffi.from_buffer("int64_t[]", column, require_writable=True),
                ffi.from_buffer("uint8_t[]", validity, require_writable=True),
            )
            for column, validity in (
                (revocation, revocation_validity),
                (invalidity, invalidity_validity),
            )
        ]
        self.native = ffi.new("crlcheck_dates *", [*self.columns[0], *self.columns[1]])

    def put(self, row: int, dates: Sequence[int | None]) -> None:
        """Write the dates of a row, in microseconds since 1970."""
        for (column, validity), date in zip(self.columns, dates, strict=True):
            if date is not None:
                column[row] = date
                validity[row // 8] |= 1 << row % 8


class SerialSet:
    """Serial numbers in a form in which rows are compared with all of them at once."""

    def __init__(self, serial_numbers: Iterable[int]) -> None:
        low = {number & 0xFFFF_FFFF_FFFF_FFFF for number in serial_numbers} - {0}
        self.num_slots = 1 << (2 * len(low) + 1).bit_length()
        self.keys = ffi.new("uint64_t[]", self.num_slots)
        for key in low:
            lib.crlcheck_rows_key(self.keys, self.num_slots, key)


class PlainGroups:
    """
    How the rows of groups are looked up, where that is always the same, by the numbers of the
    groups. It only grows, and keeps alive what it was given.
    """

    def __init__(self, capacity: int) -> None:
        self.native = ffi.new("crlcheck_plain_group[]", capacity)
        self._kept: list[Any] = []

    def add(
        self,
        number: int,
        image: NativeImage | None,
        issuer: int,
        apart: SerialSet | None,
        verdicts_by_reason: Any,
    ) -> None:
        """
        Say of a group that its rows are looked up in *image*, or in none.

        *verdicts_by_reason* is None where each listed row is asked about by itself.
        """
        group = self.native[number]
        self._kept.append((image, apart, verdicts_by_reason))
        if image is not None:
            group.image = image.native
        if apart is not None:
            group.apart, group.num_slots = apart.keys, apart.num_slots
        if verdicts_by_reason is not None:
            group.verdicts_by_reason = verdicts_by_reason
        group.certificate_issuer = issuer
        group.is_plain = 1  # last, because other threads look up meanwhile


class RowBatch:
    """
    The rows of a part of a table, and room for what is found of them. One thread uses it at
    a time, for one part after the other.

    ``read_serials``, ``number`` and ``sort`` are called in this order, then the others for
    each group.
    """

    def __init__(self) -> None:
        self._capacity = -1  # there is not even room for no row
        self._width = 0
        self._source: Any = None
        self._states: Any = None
        self._packed: Any = ffi.NULL
        self._num_packed = 0
        self._sorted: Any = ffi.NULL
        self._num_sorted = 0
        self._kinds: Any = None
        self.num_rows = 0

    def _reserve(self, num_rows: int) -> None:
        if num_rows > self._capacity:
            self._groups = _allocate("int32_t[]", num_rows)
            self._verdicts = _allocate("int32_t[]", num_rows)
            self._order = _allocate("uint32_t[]", num_rows)
            self._places = _allocate("uint32_t[]", num_rows + 8)
            self._flags = _allocate("uint8_t[]", num_rows)
            self._others = _allocate("uint8_t[]", num_rows)
            self._all_states = _allocate("uint8_t[]", num_rows)
            self._capacity = num_rows
        self.num_rows = num_rows

    # ---- input ---------------------------------------------------------------

    def read_serials(self, column: ColumnBuffers, form: int, num_rows: int) -> None:
        """Read the serials of *num_rows* rows, given in one form."""
        self._reserve(num_rows)
        is_plain = form == BINARY and column.offsets is None and column.validity is None
        is_whole = len(column.data) >= (column.first + num_rows) * column.width
        if is_plain and is_whole and 1 <= column.width <= lib.CRLCHECK_MAX_SERIAL:
            self._width = column.width
            self._source = ffi.from_buffer("uint8_t[]", column.data)
            self._rows = self._source + column.first * column.width
            self._states = ffi.NULL
            return
        native, buffers = _native_column(column)
        self._use_packed(lib.crlcheck_column_width(native, form, num_rows))
        lib.crlcheck_column_pack(native, self._rows, self._states, form, num_rows, self._width)
        del buffers

    def read_certificates(self, column: ColumnBuffers, num_rows: int, now: int) -> list[Kind]:
        """
        Read the certificates of *num_rows* rows, and return their kinds.

        The group of each row is the number of its kind. One that expired before *now*, in
        seconds since 1970, is in no group.
        """
        self._reserve(num_rows)
        if self._kinds is None:
            kinds = lib.crlcheck_kinds_new()
            if kinds == ffi.NULL:
                raise MemoryError
            self._kinds = ffi.gc(kinds, lib.crlcheck_kinds_free)
        lib.crlcheck_kinds_clear(self._kinds)
        native, buffers = _native_column(column)
        self._use_packed(_CERTIFICATE_SERIAL)
        lib.crlcheck_column_certificates(
            self._kinds,
            native,
            self._groups,
            self._rows,
            self._states,
            num_rows,
            self._width,
            now,
        )
        del buffers
        row = ffi.new("size_t *")
        found = []
        for number in range(lib.crlcheck_kinds_count(self._kinds)):
            octets = to_bytes(lib.crlcheck_kinds_at(self._kinds, row, number))
            found.append(Kind(octets, int(row[0])))
        return found

    def _use_packed(self, width: int) -> None:
        """Make room for serials of a width."""
        size = self.num_rows * width
        if size > self._num_packed:
            self._packed, self._num_packed = _allocate("uint8_t[]", size), size
        self._width, self._rows, self._states = width, self._packed, self._all_states

    def number(self, indices: Any, validity: Any, first: int, numbers: Sequence[int]) -> None:
        """
        Say of which group each row is: *numbers* has the group of each index of a dictionary.

        A negative group has no rows. That of a missing index is -1.
        """
        table = ffi.new("int32_t[]", list(numbers) or [-1])
        lib.crlcheck_rows_number(
            self._groups,
            ffi.from_buffer("int32_t[]", indices) + first,
            ffi.NULL if validity is None else ffi.from_buffer("uint8_t[]", validity),
            first,
            table,
            len(numbers),
            self.num_rows,
        )

    def number_all(self) -> None:
        """Say that each row is of the first group."""
        size = self.num_rows * ffi.sizeof("int32_t")
        ffi.buffer(self._groups, size)[:] = bytes(size)

    def sort(self, num_groups: int) -> list[int]:
        """Sort the rows by group. Return where the rows of each group start, and all end."""
        size = self.num_rows * self._width
        if size > self._num_sorted:
            self._sorted, self._num_sorted = _allocate("uint8_t[]", size), size
        starts = ffi.new("uint32_t[]", num_groups + 1)
        lib.crlcheck_rows_group(
            self._order,
            self._sorted,
            starts,
            self._groups,
            self._states,
            self._rows,
            self.num_rows,
            self._width,
            num_groups,
        )
        self._starts, self._num_groups = starts, num_groups
        return list(starts)

    def serial(self, place: int) -> int:
        """Return the serial number at a place in the sorted rows."""
        row = ffi.buffer(self._sorted + place * self._width, self._width)
        return int.from_bytes(row[:], "big")

    def row(self, place: int) -> int:
        """Return the number of the row at a place in the sorted rows."""
        return int(self._order[place])

    # ---- groups --------------------------------------------------------------

    def set_apart(self, start: int, end: int, *, is_apart: bool) -> None:
        """Say of all rows of a group whether they are asked about one by one."""
        flag = lib.CRLCHECK_ROW_APART if is_apart else 0
        ffi.buffer(self._flags, end - start)[:] = bytes((flag,)) * (end - start)

    def flag_listed(self, image: NativeImage, issuers: Sequence[int], start: int, end: int) -> None:
        """Flag the rows of a group that an image lists for any of *issuers*."""
        for issuer in issuers:
            image.flag_packed(
                self._others, issuer, self._sorted + start * self._width, end - start, self._width
            )
            lib.crlcheck_rows_join(self._flags, self._others, end - start)

    def set_members_apart(self, serials: SerialSet, start: int, end: int) -> None:
        """Have the rows of a group that may be in a set asked about one by one."""
        lib.crlcheck_rows_mark(
            self._flags,
            self._sorted + start * self._width,
            end - start,
            self._width,
            serials.keys,
            serials.num_slots,
        )

    def fill(self, verdicts_by_group: Sequence[int]) -> None:
        """Give each row of a group the verdict of its group."""
        table = ffi.new("int32_t[]", list(verdicts_by_group) or [0])
        lib.crlcheck_rows_fill(self._verdicts, self._groups, self.num_rows, table)

    def flagged(self, start: int, end: int) -> int:
        """Return how many rows of a group have a flag; their places are kept."""
        return int(lib.crlcheck_rows_flagged(self._places, self._flags, end - start))

    def date(self, start: int, end: int, dates: Dates, moments: Sequence[int | None]) -> None:
        """Give the rows of a group without a flag its dates, in microseconds since 1970."""
        for (column, validity), date in zip(dates.columns, moments, strict=True):
            if date is not None:
                lib.crlcheck_rows_date(
                    column, validity, self._flags, self._order + start, end - start, date
                )

    def take_entries(
        self,
        image: NativeImage,
        issuer: int,
        start: int,
        num_places: int,
        dates: Dates,
        verdicts_by_reason: Any,
    ) -> int:
        """
        Give the rows whose places were kept the verdict and the dates of their entries.

        Return of how many rows that is not known. Their places are kept.
        """
        return image.take_entries(
            self._verdicts,
            dates.native,
            self._places,
            self._flags,
            issuer,
            self._sorted + start * self._width,
            self._width,
            self._order + start,
            num_places,
            verdicts_by_reason,
        )

    def look_up(self, plain: PlainGroups) -> int:
        """
        Flag the rows of all groups that are plain. Return how many rows have a flag; their
        places are kept.
        """
        return int(
            lib.crlcheck_rows_look_up(
                plain.native,
                self._starts,
                self._num_groups,
                self._flags,
                self._places,
                self._sorted,
                self._width,
            )
        )

    def take(self, plain: PlainGroups, num_places: int, dates: Dates) -> int:
        """As ``take_entries``, for the places that ``look_up`` kept, from 0 on."""
        return int(
            lib.crlcheck_rows_take(
                plain.native,
                self._starts,
                self._num_groups,
                self._verdicts,
                dates.native,
                self._places,
                num_places,
                self._flags,
                self._sorted,
                self._width,
                self._order,
            )
        )

    def places(self, start: int, num_places: int) -> list[int]:
        """Return the places that were kept, in the sorted rows."""
        return [start + place for place in self._places[0:num_places]]

    # ---- single rows ---------------------------------------------------------

    def settle_others(self, verdicts_by_state: Sequence[int]) -> list[int]:
        """
        Give each row that is in no group the verdict of its state.

        Return the rows for which it is negative.
        """
        table = ffi.new("int32_t[]", list(verdicts_by_state))
        num_found = lib.crlcheck_rows_settle(
            self._verdicts, self._places, self._groups, self._states, self.num_rows, table
        )
        return list(self._places[0:num_found])

    def group(self, row: int) -> int:
        """Return the group of a row."""
        return int(self._groups[row])

    def settle(self, row: int, verdict: int) -> None:
        """Give one row its verdict."""
        self._verdicts[row] = verdict

    # ---- output --------------------------------------------------------------

    def translate(self, indices: Any, validity: Any, table: Any, index_size: int) -> int:
        """
        Write for each row what *table* has for its verdict, and whether it is not negative.

        *validity* may be None where none is. Return how many are.
        """
        return int(
            lib.crlcheck_rows_translate(
                ffi.from_buffer("uint8_t[]", indices, require_writable=True),
                ffi.NULL
                if validity is None
                else ffi.from_buffer("uint8_t[]", validity, require_writable=True),
                self._verdicts,
                self.num_rows,
                table,
                index_size,
            )
        )


def numbers_table(numbers: Iterable[int]) -> Any:
    """Return numbers as the functions of a batch take them."""
    return ffi.new("int32_t[]", list(numbers))


def _native_column(column: ColumnBuffers) -> tuple[Any, Any]:
    """Return a column for the core, and what must live as long."""
    buffers = [
        ffi.NULL if one is None else ffi.from_buffer("uint8_t[]", one)
        for one in (column.data, column.offsets, column.validity)
    ]
    native = ffi.new(
        "crlcheck_column *",
        [*buffers, len(column.data), column.first, column.offset_size, column.width],
    )
    return native, buffers
