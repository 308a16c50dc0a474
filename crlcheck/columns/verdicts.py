"""Number the verdicts that a table has, and make its columns of these numbers."""

from __future__ import annotations

import functools
import mmap
import threading
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from crlcheck._binding.columns import NO_REASON, NUM_REASONS, Dates, RowBatch, numbers_table
from crlcheck.checker.results import entry_of
from crlcheck.times import EPOCH
from crlcheck.types import (
    CheckResult,
    ImageMetadata,
    ReasonCode,
    RevocationStatus,
    UndeterminedCause,
)

NO_VALUE = "no_value"
"""The cause of a row that lacks a value. It has no status."""
NOT_A_SERIAL = "not_a_serial"
"""The cause of a row whose serial number is none. It is undetermined."""
NOT_AN_ISSUER = "not_an_issuer"
"""The cause of a row whose issuer cannot be read. It is undetermined."""
NOT_A_CERTIFICATE = "not_a_certificate"
"""The cause of a row whose certificate cannot be read. It is undetermined."""

_TIME = pa.timestamp("us", tz="UTC")
_MICROSECOND = timedelta(microseconds=1)

STATUSES = tuple(one.value for one in RevocationStatus)
CAUSES = (
    *(one.value for one in UndeterminedCause),
    NO_VALUE,
    NOT_A_SERIAL,
    NOT_AN_ISSUER,
    NOT_A_CERTIFICATE,
)
REASONS = tuple(one.name.lower() for one in ReasonCode)


class Verdict(NamedTuple):
    """What a row says but for the dates of its entry."""

    status: str | None
    cause: str | None
    reason_code: str | None = None
    crl_number: str | None = None
    scope: str | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None


class _Column(NamedTuple):
    """A column of the result: an index into a dictionary of ``values``, or dates."""

    name: str
    values: tuple[str, ...] | None = None
    value_type: pa.DataType = pa.string()
    is_date: bool = False

    @property
    def index_size(self) -> int:
        return 4 if self.values is None else 1

    @property
    def type(self) -> pa.DataType:
        if self.is_date:
            return _TIME
        return pa.dictionary(pa.int32() if self.index_size == 4 else pa.int8(), self.value_type)


_COLUMNS = (
    _Column("status", STATUSES),
    _Column("cause", CAUSES),
    _Column("reason_code", REASONS),
    _Column("revocation_date", is_date=True),
    _Column("invalidity_date", is_date=True),
    _Column("crl_number"),
    _Column("scope"),
    _Column("this_update", value_type=_TIME),
    _Column("next_update", value_type=_TIME),
)
SCHEMA = pa.schema([(one.name, one.type) for one in _COLUMNS])
"""The columns of the result."""


PLAIN_SCHEMA = pa.schema(
    [
        (field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in SCHEMA
    ]
)
"""The columns of ``check_table`` without dictionaries, for engines that have none."""


def struct_of(verdicts: pa.RecordBatch) -> pa.StructArray:
    """Return verdicts as one column of structs, without dictionaries (``PLAIN_SCHEMA``)."""
    return pa.StructArray.from_arrays(plain_columns(verdicts), fields=list(PLAIN_SCHEMA))


def plain_columns(batch: pa.RecordBatch) -> list[pa.Array]:
    """Return the columns of a batch, those with a dictionary without it."""
    return [
        one.dictionary_decode() if pa.types.is_dictionary(one.type) else one
        for one in batch.columns
    ]


def verdict_of(result: CheckResult) -> Verdict:
    """Return what a row says of a result."""
    number, reason = result.crl_number, result.reason_code
    return Verdict(
        result.status.value,
        None if result.cause is None else result.cause.value,
        None if reason is None else reason.name.lower(),
        None if number is None else str(number),
        result.scope,
        result.this_update,
        result.next_update,
    )


NO_DATES = (None, None)


def dates_of(result: CheckResult) -> tuple[int | None, int | None]:
    """Return the revocation date and the invalidity date, in microseconds since 1970."""
    entry = entry_of(result)
    invalid = None if entry is None else entry.invalidity_date
    return _microseconds(result.revocation_date), _microseconds(invalid)


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // _MICROSECOND


class Verdicts:
    """
    The verdicts of a table by number, and the dictionaries of its columns. Threads may share
    it: both only grow.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[Verdict, int] = {}
        self._places: dict[str, dict[Any, int]] = {
            one.name: dict(zip(one.values or (), range(1 << 7), strict=False))
            for one in _COLUMNS
            if not one.is_date
        }
        self._indices: dict[str, list[int]] = {name: [] for name in self._places}
        self._tables: tuple[_Table, ...] = ()
        self._dictionaries: dict[str, Any] = {}
        self._num_in_tables = 0

    def number(self, verdict: Verdict) -> int:
        """Return the number of a verdict."""
        found = self._numbers.get(verdict)
        if found is not None:
            return found
        with self._lock:
            found = self._numbers.get(verdict)
            if found is None:
                for name, places in self._places.items():
                    value = getattr(verdict, name)
                    index = -1 if value is None else places.setdefault(value, len(places))
                    self._indices[name].append(index)
                found = self._numbers[verdict] = len(self._numbers)
        return found

    def by_reason(self, metadata: ImageMetadata, scope: str) -> Any:
        """Return the number of REVOKED by an entry of a CRL for each reason code."""
        number = metadata.crl_number
        plain = Verdict(
            RevocationStatus.REVOKED.value,
            None,
            None,
            None if number is None else str(number),
            scope,
            metadata.this_update,
            metadata.next_update,
        )
        numbers = [-1] * NUM_REASONS
        numbers[NO_REASON] = self.number(plain)
        for code in ReasonCode:
            numbers[code.value] = self.number(plain._replace(reason_code=code.name.lower()))
        return numbers_table(numbers)

    def tables(self) -> tuple[_Table, ...]:
        """Return an index for each verdict so far, for each column; equal ones once."""
        with self._lock:
            if self._num_in_tables != len(self._numbers):
                tables: dict[tuple[int, tuple[int, ...]], list[str]] = {}
                for column in _COLUMNS:
                    if not column.is_date:
                        indices = tuple(self._indices[column.name])
                        tables.setdefault((column.index_size, indices), []).append(column.name)
                self._tables = tuple(
                    _Table(
                        tuple(names),
                        size,
                        numbers_table(indices),
                        max(indices) >= 0,
                        min(indices) >= 0,
                    )
                    for (size, indices), names in tables.items()
                )
                self._num_in_tables = len(self._numbers)
            return self._tables

    def dictionaries(self) -> dict[str, Any]:
        """Return the dictionary of each column that has one."""
        with self._lock:
            for name, places in self._places.items():
                made = self._dictionaries.get(name)
                if made is None or len(made) != len(places):
                    kind = SCHEMA.field(name).type.value_type
                    self._dictionaries[name] = pa.array(list(places), kind)
            return dict(self._dictionaries)


class _Table(NamedTuple):
    """An index for each verdict, for some columns."""

    names: tuple[str, ...]
    index_size: int
    indices: Any
    has_any: bool
    has_all: bool


class RowDates:
    """The dates of the rows of a part of a table. They take no memory until one is written."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._buffers: list[mmap.mmap] = []
        self._native: Dates | None = None

    @property
    def native(self) -> Dates:
        """Where the dates are written to."""
        if self._native is None:
            num_rows = self._num_rows
            # Pages of zeros, each of which exists from the first time that it is written.
            self._buffers = [mmap.mmap(-1, size) for size in (num_rows * 8, num_rows // 8 + 1) * 2]
            self._native = Dates(*self._buffers)
        return self._native

    def put(self, row: int, dates: tuple[int | None, int | None]) -> None:
        """Write the dates of a row."""
        if dates != NO_DATES:
            self.native.put(row, dates)

    def columns(self) -> dict[str, Any]:
        """Return both columns."""
        names = [one.name for one in _COLUMNS if one.is_date]
        if self._native is None:
            return dict.fromkeys(names, pa.nulls(self._num_rows, _TIME))
        dates = iter(map(pa.py_buffer, self._buffers))
        found = {}
        for name in names:
            values, validity = next(dates), next(dates)
            found[name] = pa.Array.from_buffers(_TIME, self._num_rows, [validity, values])
        return found


class RowColumns(NamedTuple):
    """The columns of a part of a table, before they have their dictionaries."""

    num_rows: int
    indices: dict[str, tuple[Any, Any, int]]
    dates: dict[str, Any]

    def batch(self, dictionaries: dict[str, Any]) -> pa.RecordBatch:
        """Return them as a batch."""
        arrays = []
        for field in SCHEMA:
            if field.name in self.dates:
                arrays.append(self.dates[field.name])
                continue
            indices, validity, num_missing = self.indices[field.name]
            arrays.append(
                pa.DictionaryArray.from_buffers(
                    field.type,
                    self.num_rows,
                    [validity, indices],
                    dictionaries[field.name],
                    num_missing,
                )
            )
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


@functools.lru_cache(maxsize=4)
def _zeros(size: int) -> pa.Buffer:
    """Return a buffer of zeros, which columns without any value share."""
    return pa.py_buffer(mmap.mmap(-1, size))


def columns_of(rows: RowBatch, verdicts: Verdicts, dates: RowDates) -> RowColumns:
    """Return the columns of a part of a table, of whose rows each has a verdict."""
    found: dict[str, tuple[Any, Any, int]] = {}
    for table in verdicts.tables():
        if not table.has_any:
            zeros = _zeros(rows.num_rows * table.index_size)
            found |= dict.fromkeys(table.names, (zeros, zeros, rows.num_rows))
            continue
        indices = pa.allocate_buffer(rows.num_rows * table.index_size)
        validity = None if table.has_all else pa.allocate_buffer(rows.num_rows // 8 + 1)
        num_missing = rows.translate(indices, validity, table.indices, table.index_size)
        for name in table.names:
            found[name] = indices, validity if num_missing else None, num_missing
    return RowColumns(rows.num_rows, found, dates.columns())
