"""
Check columns of certificates in Polars: importing this gives expressions the namespace ``crl``.

    checker = ColumnChecker("s3://bucket/published")
    frame.with_columns(verdict=pl.col("issuer").crl.verdict(checker, pl.col("serial")))

Lazy frames and the streaming engine take it too. Polars is the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa

from crlcheck.columns import ColumnChecker, struct_of
from crlcheck.columns.verdicts import PLAIN_SCHEMA

_TYPES = {"string": pl.String(), "timestamp[us, tz=UTC]": pl.Datetime("us", "UTC")}
_VERDICT = pl.Struct({field.name: _TYPES[str(field.type)] for field in PLAIN_SCHEMA})


@pl.api.register_expr_namespace("crl")
class RevocationNamespace:
    """What may be asked of a column of issuers, or of certificates."""

    def __init__(self, expr: pl.Expr) -> None:
        self._issuer = expr

    def status(self, checker: ColumnChecker, serial: pl.Expr | str | None = None) -> pl.Expr:
        """
        Return the status of each certificate as text, null where a value is missing.

        *serial* is the column of the serial numbers, or its name. Without it the expression is
        one of certificates.
        """
        return self._mapped(checker, serial, lambda found: found.column("status"), pl.String())

    def verdict(self, checker: ColumnChecker, serial: pl.Expr | str | None = None) -> pl.Expr:
        """Return a struct of the columns of ``check_table``; *serial* is as for ``status``."""
        return self._mapped(checker, serial, struct_of, _VERDICT)

    def _mapped(
        self,
        checker: ColumnChecker,
        serial: pl.Expr | str | None,
        of: Callable[[pa.RecordBatch], pa.Array],
        kind: Any,
    ) -> pl.Expr:
        def of_certificates(certificates: pl.Series) -> pl.Series:
            found = checker.check_certificates(certificates.to_arrow())
            return pl.Series(of(found)).cast(kind)

        def of_both(both: pl.Series) -> pl.Series:
            issuer, number = (both.struct.field(name) for name in ("issuer", "serial"))
            found = checker.check(issuer.to_arrow(), number.to_arrow())
            return pl.Series(of(found)).cast(kind)

        if serial is None:
            return self._issuer.map_batches(of_certificates, return_dtype=kind, is_elementwise=True)
        serials = pl.col(serial) if isinstance(serial, str) else serial
        both = pl.struct(self._issuer.alias("issuer"), serials.alias("serial"))
        return both.map_batches(of_both, return_dtype=kind, is_elementwise=True)
