"""DuckDB: two functions of SQL, and a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from crlcheck.columns import check_batches
from crlcheck.duckdb import register
from crlcheck.errors import StoreUnavailableError
from support.inventory import Inventory
from support.pki import NOW


@pytest.fixture
def connection(inventory: Inventory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the table and both functions."""
    with duckdb.connect() as made:
        made.register("inventory", inventory.table)
        register(made, inventory.store, at=NOW)
        yield made


def column(connection: duckdb.DuckDBPyConnection, expression: str) -> list[Any]:
    """The values of an expression for each row, in order."""
    found = connection.sql(f"select {expression} as x from inventory order by row")
    values: list[Any] = found.to_arrow_table().column("x").to_pylist()
    return values


def test_the_functions_say_what_check_table_does(
    connection: duckdb.DuckDBPyConnection, inventory: Inventory
) -> None:
    """
    In every field, also where a value is missing or none.
    """
    assert column(connection, "crl_status(issuer, serial)") == inventory.statuses
    assert column(connection, "crl_verdict(issuer, serial)") == inventory.verdicts
    causes = [verdict["cause"] for verdict in inventory.verdicts]
    assert column(connection, "crl_verdict(issuer, serial).cause") == causes


def test_a_filter_by_the_status(
    connection: duckdb.DuckDBPyConnection, inventory: Inventory
) -> None:
    """
    A missing value makes a row whose status is null, which no comparison lets through.
    """
    query = "select count(*) from inventory where crl_status(issuer, serial) = 'not_revoked'"
    assert connection.sql(query).fetchall() == [(inventory.statuses.count("not_revoked"),)]


@pytest.mark.parametrize(
    "serial",
    [
        "hex(serial)",
        "lower(hex(serial))",
        "rtrim(regexp_replace(hex(serial), '(..)', '\\1:', 'g'), ':')",
    ],
)
def test_serial_numbers_as_text(
    connection: duckdb.DuckDBPyConnection, inventory: Inventory, serial: str
) -> None:
    """
    Hexadecimal, with and without colons.
    """
    assert column(connection, f"crl_status(issuer, {serial})") == inventory.statuses


def test_serial_numbers_as_integers(
    connection: duckdb.DuckDBPyConnection, inventory: Inventory
) -> None:
    """
    Of up to 128 bits.
    """
    connection.execute(
        "create table numbers as select row, issuer, ('0x' || hex(serial))::hugeint as serial "
        "from inventory where octet_length(serial) = 16 and hex(serial) < '1'"
    )
    found = connection.sql(
        "select row, crl_status(issuer, serial) from numbers union all "
        "select 0, crl_status((select issuer from inventory where row = 2), 4711)"
    ).fetchall()
    expected = {row: inventory.statuses[row] for row, _ in found[:-1]}
    assert dict(found[:-1]) == expected
    assert found[-1][1] == "revoked"


def test_certificates(certificates: Inventory) -> None:
    """
    With one argument the functions take them.
    """
    with duckdb.connect() as connection:
        connection.register("inventory", certificates.table)
        register(connection, certificates.store, at=NOW)
        assert column(connection, "crl_status(certificate)") == certificates.statuses
        assert column(connection, "crl_verdict(certificate)") == certificates.verdicts
        with pytest.raises(duckdb.Error, match="expected issuer and serial, or a certificate"):
            column(connection, "crl_status(certificate, 1, 2)")


def test_a_stream_of_duckdb_is_checked_as_it_comes(
    connection: duckdb.DuckDBPyConnection, inventory: Inventory
) -> None:
    """
    The way for many rows.
    """
    rows = connection.sql("select issuer, serial from inventory order by row")
    reader = check_batches(
        inventory.store, rows.to_arrow_reader(1000), issuer="issuer", serial="serial", at=NOW
    )
    assert pa.Table.from_batches(reader).to_pylist() == inventory.verdicts


def test_a_store_without_a_set_is_refused_at_once(tmp_path: Any) -> None:
    """
    And not at the first query.
    """
    with duckdb.connect() as connection, pytest.raises((StoreUnavailableError, FileNotFoundError)):
        register(connection, tmp_path)
