"""Polars: expressions, in all engines."""

from __future__ import annotations

import polars as pl
import pytest

import crlcheck.polars  # noqa: F401 - it gives expressions their namespace
from crlcheck.columns import ColumnChecker, check_table
from support.inventory import Inventory
from support.pki import NOW


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_expressions_say_what_check_table_does(inventory: Inventory, engine: str) -> None:
    """
    In every field, in a lazy frame and in the streaming engine.
    """
    frame = pl.from_arrow(inventory.table)
    assert isinstance(frame, pl.DataFrame)
    with ColumnChecker(inventory.store, at=NOW) as checker:
        lazy = frame.lazy().with_columns(
            status=pl.col("issuer").crl.status(checker, "serial"),
            verdict=pl.col("issuer").crl.verdict(checker, pl.col("serial")),
        )
        found = lazy.sort("row").collect(engine=engine)
        assert found.schema == lazy.collect_schema()
    assert found["status"].to_list() == inventory.statuses
    assert found["verdict"].to_list() == inventory.verdicts


def test_certificates(certificates: Inventory) -> None:
    """
    An expression of them needs no serial numbers.
    """
    frame = pl.from_arrow(certificates.table)
    assert isinstance(frame, pl.DataFrame)
    with ColumnChecker(certificates.store, at=NOW) as checker:
        found = frame.select(
            status=pl.col("certificate").crl.status(checker),
            verdict=pl.col("certificate").crl.verdict(checker),
        )
    assert found["status"].to_list() == certificates.statuses
    assert found["verdict"].to_list() == certificates.verdicts


def test_a_frame_is_a_table(inventory: Inventory) -> None:
    """
    By Arrow's PyCapsule interface.
    """
    frame = pl.from_arrow(inventory.table)
    found = check_table(inventory.store, frame, issuer="issuer", serial="serial", at=NOW)
    assert found.to_pylist() == inventory.verdicts
