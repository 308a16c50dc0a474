"""A checker of columns: block by block what check_table says of a whole table."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from crlcheck import RevocationChecker, deny_certificate, publish_crl
from crlcheck.columns import ColumnChecker, check_batches, check_table, struct_of
from support.checking import CA, Clock
from support.inventory import AUTHORITIES, Inventory, make_certificates, make_inventory
from support.pki import DAY, NOW, make_crl


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """What no test changes."""
    return make_inventory(tmp_path_factory.mktemp("inventory"))


def test_blocks_have_the_verdicts_of_the_table(inventory: Inventory) -> None:
    """
    Of any length, also of none.
    """
    table = inventory.table
    with ColumnChecker(inventory.store, at=NOW) as checker:
        start = 0
        for length in (0, 1, 7, 2048, 10_000, len(table)):
            part = table.slice(start, length)
            found = checker.check(part.column("issuer"), part.column("serial"))
            expected = inventory.verdicts[start : start + length]
            assert found.to_pylist() == expected
            assert struct_of(found).to_pylist() == expected
            start += length


def test_threads_share_one(inventory: Inventory) -> None:
    """
    Each gets its own rows back.
    """
    table = inventory.table
    with ColumnChecker(inventory.store, at=NOW) as checker, ThreadPoolExecutor(4) as pool:
        parts = [table.slice(start, 500) for start in range(0, len(table), 500)]
        found = pool.map(
            lambda part: checker.check(part.column("issuer"), part.column("serial")), parts
        )
        rows = [row for one in found for row in one.to_pylist()]
    assert rows == inventory.verdicts


def test_another_process_gets_its_set_and_its_time(tmp_path: Path) -> None:
    """
    Whatever is published, denied or expires meanwhile.
    """
    mine = make_inventory(tmp_path)
    checker = ColumnChecker(RevocationChecker(mine.store, clock=Clock()))
    assert checker.at == NOW
    message = pickle.dumps(checker)
    publish_crl(make_crl(AUTHORITIES[0], 2, []), mine.store, issuer=AUTHORITIES[0].der,
                now=NOW, allow_shrink=True)  # fmt: skip
    name = AUTHORITIES[1].certificate.subject.public_bytes()
    deny_certificate(mine.store, name, 1, now=NOW)
    other: ColumnChecker = pickle.loads(message)
    assert (other.at, other.generation) == (NOW, checker.generation)
    assert other.checker.store_url == f"{mine.store.url}@{checker.generation}"
    columns = mine.table.column("issuer"), mine.table.column("serial")
    for one in (checker, other, pickle.loads(pickle.dumps(other))):
        assert one.check(*columns).to_pylist() == mine.verdicts
    table = check_table(other, mine.table, issuer="issuer", serial="serial")
    assert table.to_pylist() == mine.verdicts


def test_it_keeps_its_set_while_its_checker_follows_the_store(tmp_path: Path) -> None:
    """
    Here, in its generation, and in what another process gets.
    """
    mine = make_inventory(tmp_path)
    live = RevocationChecker(mine.store, clock=Clock())
    checker = ColumnChecker(live)
    generation = live.generation
    publish_crl(make_crl(AUTHORITIES[0], 2, []), mine.store, issuer=AUTHORITIES[0].der,
                now=NOW, allow_shrink=True)  # fmt: skip
    assert live.refresh()
    columns = mine.table.column("issuer"), mine.table.column("serial")
    for one in (checker, pickle.loads(pickle.dumps(checker))):
        assert one.generation == generation
        assert one.check(*columns).to_pylist() == mine.verdicts


def test_it_is_what_a_table_may_be_checked_by(inventory: Inventory) -> None:
    """
    At its time, unless another one is given.
    """
    with ColumnChecker(RevocationChecker(inventory.store, clock=Clock())) as checker:
        table = inventory.table
        found = check_table(checker, table, issuer="issuer", serial="serial")
        assert found.to_pylist() == inventory.verdicts
        reader = check_batches(checker, table, issuer="issuer", serial="serial")
        assert pa.Table.from_batches(reader).to_pylist() == inventory.verdicts
        late = check_table(checker, table, issuer="issuer", serial="serial", at=NOW + 400 * DAY)
        assert "not_revoked" not in late.column("status").to_pylist()
        assert ColumnChecker(checker).at == checker.at
        assert ColumnChecker(checker, at=NOW + timedelta(hours=1)).at != checker.at


def test_columns_of_different_lengths_are_refused(inventory: Inventory) -> None:
    """
    Rather than read beyond the shorter one.
    """
    with ColumnChecker(inventory.store, at=NOW) as checker:
        issuers, serials = inventory.table.column("issuer"), inventory.table.column("serial")
        with pytest.raises(ValueError, match="found 3 issuers and 20000 serial numbers"):
            checker.check(issuers.slice(0, 3), serials)
        with pytest.raises(ValueError, match="found 20000 issuers and 3 serial numbers"):
            checker.check(issuers, serials.slice(0, 3))


def test_one_issuer_for_all_rows(inventory: Inventory) -> None:
    """
    It is given as bytes.
    """
    name = AUTHORITIES[0].certificate.subject.public_bytes()
    serials = pa.array([b"\1", (4711).to_bytes(2, "big"), None])
    with ColumnChecker(inventory.store, at=NOW) as checker:
        found = checker.check(name, serials).column("status").to_pylist()
        assert found == ["not_revoked", "revoked", None]
        with pytest.raises(ValueError, match="issuer: expected"):
            checker.check(b"no issuer", serials)


def test_certificates(tmp_path: Path) -> None:
    """
    As check_table has them.
    """
    mine = make_certificates(tmp_path)
    with ColumnChecker(mine.store, at=NOW) as checker:
        found = checker.check_certificates(mine.table.column("certificate"))
        assert found.to_pylist() == mine.verdicts
        assert checker.check_certificates(pa.array([], pa.binary())).num_rows == 0


def test_text_is_read_as_the_checker_reads_it(tmp_path: Path) -> None:
    """
    In other functions too: 10 is another certificate in hexadecimal.
    """
    mine = make_certificates(tmp_path)  # it revokes the serial number 2
    name = CA.certificate.subject.public_bytes()
    deny_certificate(mine.store, name, 10, now=NOW)
    table = pa.table({"serial": ["10", "a"]})
    with ColumnChecker(mine.store, at=NOW, serial_text="decimal") as checker:
        for one in (checker, ColumnChecker(checker), pickle.loads(pickle.dumps(checker))):
            assert one.check(name, table.column("serial"))["status"].to_pylist() == [
                "revoked",
                "undetermined",
            ]
        found = check_table(checker, table, issuer=name, serial="serial")
        assert found["status"].to_pylist() == ["revoked", "undetermined"]
        found = check_table(checker, table, issuer=name, serial="serial", serial_text="hex")
        assert found["status"].to_pylist() == ["not_revoked", "revoked"]
    found = check_table(mine.store, table, issuer=name, serial="serial", at=NOW)
    assert found["status"].to_pylist() == ["not_revoked", "revoked"]
