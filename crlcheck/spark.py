"""
Check tables of certificates in Apache Spark.

``check`` adds a column of verdicts to a DataFrame. ``register`` gives SQL a function for it.
The driver takes the set that is published and a time. Every executor answers by that set and
that time, whatever is published meanwhile, so a task that runs again gives the same rows.

Spark is the caller's own; crlcheck needs its extra ``columns``, on the executors too.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crlcheck.columns import ColumnChecker, ColumnSource, SerialText, struct_of
from crlcheck.columns.check import Names
from crlcheck.columns.verdicts import PLAIN_SCHEMA

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_CHECKERS = 4
"""How many checkers a Python worker of Spark keeps, with their images."""


def check(
    frame: DataFrame,
    source: ColumnSource,
    *,
    issuer: str | bytes | None = None,
    serial: str | None = None,
    certificate: str | None = None,
    serial_text: SerialText | str | None = None,
    at: datetime | None = None,
    column: str = "verdict",
) -> DataFrame:
    """
    Return a DataFrame with one more column, a struct that has the verdict on each row: the
    columns of ``crlcheck.columns.check_table``.

    The metadata of that column have ``crlcheck.store``, ``crlcheck.generation`` and
    ``crlcheck.at``. What an executor needs of the store it reads from it once for each of its
    Python workers; workers of one machine share the memory of images with
    ``RevocationChecker(image_directory=...)``.

    Args:
        frame: any DataFrame; its own columns stay as they are.
        source, issuer, serial, certificate, serial_text, at: as for ``check_table``. The
            executors must reach the store by its URL or path.
        column: the name of the new column.

    Raises:
        ValueError: there is a column of that name, *at* has no time zone, or *issuer* is none.
        KeyError: there is no such column.
        TypeError: *source* cannot be given to other processes, as open indexes cannot, or the
            columns are neither a certificate nor issuer and serial number.
        StoreError: the store has no set that can be read.
    """
    from pyspark.sql.types import StructField, StructType

    if column in frame.columns:
        raise ValueError(f"column: there is a column {column!r} already; choose another name")
    names = Names.of(issuer, serial, certificate)
    for name in names.columns:
        if name not in frame.columns:
            raise KeyError(f"found no column {name!r}, expected it beside {frame.columns}")
    message, metadata = _pinned(source, serial_text, at)
    added = StructField(column, _verdict_type(), nullable=False, metadata=metadata)
    checked = functools.partial(_checked, message=message, names=names, column=column)
    return frame.mapInArrow(checked, StructType([*frame.schema.fields, added]))


def register(
    session: SparkSession,
    source: ColumnSource,
    *,
    name: str = "crl_verdict",
    serial_text: SerialText | str | None = None,
    at: datetime | None = None,
) -> Callable[..., Any]:
    """
    Give SQL a function ``name(issuer, serial)``, whose struct has the verdict as ``check``
    adds it; return it, for DataFrames.

    Args and Raises: as for ``check``.
    """
    from pyspark.sql.functions import arrow_udf

    message, _ = _pinned(source, serial_text, at)

    def verdict(issuer: pa.Array, serial: pa.Array) -> pa.Array:
        return struct_of(_checker_of(message).check(issuer, serial))

    function: Callable[..., Any] = session.udf.register(name, arrow_udf(verdict, _verdict_type()))
    return function


# ---- the driver --------------------------------------------------------------


def _pinned(
    source: ColumnSource, text: SerialText | str | None, at: datetime | None
) -> tuple[bytes, dict[str, Any]]:
    """Return a checker as executors get it, and what is noted of it."""
    with ColumnChecker(source, serial_text=text, at=at) as checker:
        noted = {
            "crlcheck.store": checker.checker.store_url,
            "crlcheck.generation": checker.generation,
            "crlcheck.at": checker.at.isoformat(),
        }
        return pickle.dumps(checker), noted


def _verdict_type() -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(PLAIN_SCHEMA)


# ---- the executors -----------------------------------------------------------


@functools.lru_cache(maxsize=_CHECKERS)
def _checker_of(message: bytes) -> ColumnChecker:
    """Return the checker of a message: the same for all tasks of a Python worker."""
    made: ColumnChecker = pickle.loads(message)
    return made


def _checked(
    batches: Iterable[pa.RecordBatch], *, message: bytes, names: Names, column: str
) -> Iterator[pa.RecordBatch]:
    """Yield each batch with the column of verdicts."""
    checker = _checker_of(message)
    for batch in batches:
        verdicts = struct_of(checker.check_named(batch, names))
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, verdicts], names=[*batch.schema.names, column]
        )
