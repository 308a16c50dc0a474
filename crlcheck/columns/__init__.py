"""
Check tables of certificates: a verdict for each row, at the speed of a column.

``check_table`` returns a table of verdicts, ``check_batches`` a stream of them, and a
``ColumnChecker`` the verdicts on a block of rows, by one set as often as it is asked. All need
pyarrow, as the extra ``columns`` has it.
"""

from __future__ import annotations

try:
    import pyarrow as _  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"crlcheck.columns needs pyarrow ({error}): pip install 'crlcheck[columns]'",
        name=error.name,
    ) from error

from crlcheck.columns.check import ColumnChecker, ColumnSource, check_batches, check_table
from crlcheck.columns.serials import SerialText
from crlcheck.columns.verdicts import SCHEMA, struct_of

__all__ = [
    "SCHEMA",
    "ColumnChecker",
    "ColumnSource",
    "SerialText",
    "check_batches",
    "check_table",
    "struct_of",
]
