"""Read and write files of tables, a batch at a time: Parquet, Arrow IPC, CSV and NDJSON."""

from __future__ import annotations

import enum
import json
from collections.abc import Collection, Iterator
from datetime import date, datetime
from pathlib import PurePath
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from crlcheck.columns.verdicts import plain_columns
from crlcheck.times import time_text

_BATCH_ROWS = 1 << 17


class TableFormat(enum.Enum):
    """The format of a file."""

    PARQUET = "parquet"
    ARROW = "arrow"
    """Arrow IPC: of the file format or the stream."""
    CSV = "csv"
    NDJSON = "ndjson"

    @property
    def needs_seeking(self) -> bool:
        """Whether the end of a file must be read before its beginning."""
        return self is TableFormat.PARQUET

    @classmethod
    def of(cls, name: str) -> TableFormat | None:
        """Return the format that the end of a file's name says, None where it says none."""
        return _BY_SUFFIX.get(PurePath(name).suffix.lower())


_BY_SUFFIX = {
    ".parquet": TableFormat.PARQUET,
    ".pq": TableFormat.PARQUET,
    ".arrow": TableFormat.ARROW,
    ".arrows": TableFormat.ARROW,
    ".feather": TableFormat.ARROW,
    ".ipc": TableFormat.ARROW,
    ".csv": TableFormat.CSV,
    ".ndjson": TableFormat.NDJSON,
    ".jsonl": TableFormat.NDJSON,
}


def read_batches(
    file: IO[bytes], kind: TableFormat, columns: Collection[str] = ()
) -> Iterator[pa.RecordBatch]:
    """
    Yield the batches of a file.

    In CSV the values of *columns* stay text, because a serial number in hexadecimal may look
    like another one in decimal. An empty value is a null.

    Raises:
        pyarrow.ArrowException: it is no such file.
    """
    if kind is TableFormat.PARQUET:
        yield from pq.ParquetFile(file).iter_batches(_BATCH_ROWS)
    elif kind is TableFormat.ARROW:
        yield from _ipc_batches(file)
    elif kind is TableFormat.CSV:
        options = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        )
        yield from pyarrow.csv.open_csv(file, convert_options=options)
    else:
        yield from pyarrow.json.open_json(file)


def _ipc_batches(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    if file.seekable():
        magic = file.read(6)
        file.seek(0)
        if magic == b"ARROW1":
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)
            return
    yield from pa.ipc.open_stream(file)


class TableWriter:
    """Writes a file, a batch at a time. All have the columns of the first."""

    def __init__(self, file: IO[bytes], kind: TableFormat) -> None:
        self._file = file
        self._kind = kind
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """
        Write a batch.

        Raises:
            ValueError: it has other columns than the first.
        """
        if self._kind is not TableFormat.PARQUET:
            batch = _without_dictionaries(batch)
        if self._schema is None:
            self._schema = batch.schema
            self._writer = self._open(batch.schema)
        elif not batch.schema.equals(self._schema):
            raise ValueError("its columns are not those of the rows before")
        if self._kind is TableFormat.NDJSON:
            for row in batch.to_pylist():
                self._file.write(json.dumps(row, default=_plain).encode("ascii") + b"\n")
        else:
            self._writer.write_batch(batch)

    def _open(self, schema: pa.Schema) -> Any:
        if self._kind is TableFormat.PARQUET:
            return pq.ParquetWriter(self._file, schema, compression="zstd")
        if self._kind is TableFormat.ARROW:
            return pa.ipc.new_file(self._file, schema)
        if self._kind is TableFormat.CSV:
            return pyarrow.csv.CSVWriter(self._file, schema)
        return None

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


def _without_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch of plain columns: those of a file have one dictionary each, or none."""
    return pa.RecordBatch.from_arrays(plain_columns(batch), batch.schema.names)


def _plain(value: object) -> object:
    """Return a value for JSON: bytes in hex, times as in RFC 3339, other numbers as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return time_text(value)
    return value.isoformat() if isinstance(value, date) else str(value)
