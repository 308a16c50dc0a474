"""
Measure verdicts in DuckDB and Polars beside what these take by themselves, in one run.

``make bench-engines``. The rows are those of T23 (``benchmarks.columns``), in a table of DuckDB.
Each round does all of these in turn, and the figures are medians, of the time of the processors
over all threads.

T24. ``nothing`` calls a function of Python that returns a constant for each row, and ``function``
calls ``crl_status``. ``export`` lets DuckDB stream both columns, and ``stream`` lets
``check_batches`` check what it streams. ``check`` is ``check_table`` on the same rows in memory.
``join`` joins with the listed serial numbers as a table, which gives no verdict. ``polars``
evaluates the expression in its streaming engine, and ``polars nothing`` one that does nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

import crlcheck.polars  # noqa: F401 - it gives expressions their namespace
from benchmarks.columns import AT, Inventory, Ratio, Times, measured, medians, show
from crlcheck.catalog.published_set import read_set
from crlcheck.checker.images import Images
from crlcheck.columns import ColumnChecker, check_batches, check_table
from crlcheck.columns.listing import list_entries
from crlcheck.duckdb import register
from crlcheck.stores import open_store

RATIOS = (
    Ratio("T24", ("function",), ("nothing",), 1.5),
    Ratio("T24", ("stream",), ("check", "export"), 1.5),
    Ratio("T24", ("stream",), ("join",), 1.0),
    Ratio("T24", ("polars",), ("check", "polars nothing"), 1.5),
)


class Engines:
    """The rows of an inventory in DuckDB and in Polars."""

    def __init__(self, inventory: Inventory, store: Path, threads: int) -> None:
        self._checker = ColumnChecker(inventory.checker)
        self._inventory, self._threads = inventory, threads
        self._table = inventory.read(threads)
        self._connection = duckdb.connect(config={"threads": threads})
        self._connection.execute(
            f"create table rows as select issuer, serial from '{inventory.path}'"
        )
        published = read_set(open_store(store))[0]
        listed = pa.Table.from_batches(list_entries(published, Images(open_store(store)), AT))
        self._connection.register("arrow_listed", listed)
        self._connection.execute("create table listed as select issuer, serial from arrow_listed")
        register(self._connection, self._checker)
        constant = pa.array(["not_revoked"] * 10_000)

        def nothing(*columns: Any) -> Any:
            return constant[: len(columns[0])]

        self._connection.create_function(
            "nothing", nothing, None, "VARCHAR", type="arrow", null_handling="special"
        )
        self._frame = pl.from_arrow(self._table).lazy()

    def _count(self, query: str) -> int:
        ((found,),) = self._connection.sql(query).fetchall()
        return int(found)

    def by_function(self, name: str = "crl_status") -> int:
        """Return for how many rows a function says that they are revoked."""
        return self._count(f"select count(*) from rows where {name}(issuer, serial) = 'revoked'")

    def join(self) -> int:
        """Return how many rows are listed."""
        return self._count("select count(*) from rows semi join listed using (issuer, serial)")

    def _reader(self) -> pa.RecordBatchReader:
        return self._connection.sql("select issuer, serial from rows").to_arrow_reader(1 << 20)

    def export(self) -> int:
        """Let DuckDB stream all rows, and return how many there are."""
        return sum(batch.num_rows for batch in self._reader())

    def stream(self) -> int:
        """Check what DuckDB streams, and return how many rows are revoked."""
        batches = check_batches(
            self._checker, self._reader(), issuer="issuer", serial="serial", threads=self._threads
        )
        return sum(_num_revoked(batch.column("status")) for batch in batches)

    def check(self) -> int:
        """Check the rows in memory, and return how many are revoked."""
        found = check_table(
            self._checker, self._table, issuer="issuer", serial="serial", threads=self._threads
        )
        return sum(_num_revoked(chunk) for chunk in found.column("status").chunks)

    def polars(self) -> int:
        """Return how many rows are revoked, by an expression."""
        status = pl.col("issuer").crl.status(self._checker, "serial")
        return self._collected((status == "revoked").sum())

    def polars_nothing(self) -> int:
        """Evaluate an expression that does nothing with the same columns."""
        both = pl.struct("issuer", "serial")
        length = both.map_batches(
            lambda rows: pl.repeat(0, len(rows), eager=True),
            return_dtype=pl.Int32(),
            is_elementwise=True,
        )
        return self._collected(length.sum())

    def _collected(self, expression: pl.Expr) -> int:
        return int(self._frame.select(expression).collect(engine="streaming").item())

    def round(self) -> dict[str, Times]:
        """Do each thing once."""
        return {
            "nothing": measured(lambda: self.by_function("nothing")),
            "function": measured(self.by_function),
            "export": measured(self.export),
            "stream": measured(self.stream),
            "check": measured(self.check),
            "join": measured(self.join),
            "polars nothing": measured(self.polars_nothing),
            "polars": measured(self.polars),
        }

    def require_right(self) -> None:
        """
        Compare what the contenders say.

        Raises:
            RuntimeError: they do not find the same rows.
        """
        found = [self.by_function(), self.stream(), self.check(), self.join(), self.polars()]
        if set(found) != {self._inventory.num_listed}:
            raise RuntimeError(f"found {found}, expected {self._inventory.num_listed} revoked")


def _num_revoked(statuses: pa.DictionaryArray) -> int:
    counts = {one["values"]: one["counts"] for one in statuses.value_counts().to_pylist()}
    return int(counts.get("revoked", 0))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything, and return it for JSON."""
    with tempfile.TemporaryDirectory() as place:
        inventory = Inventory(Path(place), options.rows, options.issuers, options.entries)
        engines = Engines(inventory, Path(place) / "store", options.threads)
        engines.require_right()
        times = medians([engines.round() for _ in range(options.rounds)])
        inventory.checker.close()
    return {
        "options": vars(options) | {"output": None},
        "times": {name: {**one._asdict(), "rows": options.rows} for name, one in times.items()},
        "ratios": [one.of(times) for one in RATIOS],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures where that is asked for."""
    parser = argparse.ArgumentParser(description="Measure verdicts in DuckDB and Polars.")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--issuers", type=int, default=200)
    parser.add_argument("--entries", type=int, default=5_000, help="of each CRL")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="a file for the figures")
    options = parser.parse_args(arguments)
    found = run(options)
    show(found)
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
