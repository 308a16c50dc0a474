"""
Check tables of certificates in DuckDB.

``register`` gives SQL two functions. For many rows the fastest way is the other one: let
``crlcheck.columns.check_batches`` read what DuckDB streams. DuckDB is the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crlcheck.columns import ColumnChecker, ColumnSource, SerialText, struct_of
from crlcheck.columns.verdicts import PLAIN_SCHEMA

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TYPES = {"string": "VARCHAR", "timestamp[us, tz=UTC]": "TIMESTAMPTZ"}


def register(
    connection: DuckDBPyConnection,
    source: ColumnSource,
    *,
    status: str = "crl_status",
    verdict: str = "crl_verdict",
    serial_text: SerialText | str | None = None,
    at: datetime | None = None,
) -> ColumnChecker:
    """
    Give SQL the functions ``crl_status(issuer, serial)``, the status as text, and
    ``crl_verdict(issuer, serial)``, a struct with the columns of ``check_table``. With one
    argument they take certificates.

    Both answer by the set that the store has now and by the time *at*, until they are
    registered anew. Return what they answer by: it has the generation and the time.

    Args:
        connection: a connection; the functions are its own.
        source, serial_text, at: as for ``crlcheck.columns.check_table``.
        status, verdict: the names of the functions.

    Raises: as ``ColumnChecker``.
    """
    import duckdb

    checker = ColumnChecker(source, serial_text=serial_text, at=at)

    def verdicts(*columns: Any) -> Any:
        if len(columns) == 1:
            return checker.check_certificates(*columns)
        if len(columns) == 2:
            return checker.check(*columns)
        raise TypeError(
            f"expected issuer and serial, or a certificate, found {len(columns)} values"
        )

    def status_of(*columns: Any) -> Any:
        return verdicts(*columns).column("status")

    def verdict_of(*columns: Any) -> Any:
        return struct_of(verdicts(*columns))

    struct = {field.name: _TYPES[str(field.type)] for field in PLAIN_SCHEMA}
    functions: list[tuple[str, Callable[..., Any], Any]] = [
        (status, status_of, "VARCHAR"),
        (verdict, verdict_of, duckdb.struct_type(struct)),
    ]
    for name, function, kind in functions:
        # Without types for the arguments they may be of any.
        connection.create_function(
            name, function, None, kind, type="arrow", null_handling="special"
        )
    return checker
