"""Ray Data: batches of Arrow, checked by tasks in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
import ray

from crlcheck.columns import ColumnChecker, struct_of
from support.inventory import Inventory
from support.pki import NOW


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two processes on this machine."""
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_tasks_check_batches_by_one_set(inventory: Inventory) -> None:
    """
    Each process gets the checker with its generation and its time.
    """
    with ColumnChecker(inventory.store, at=NOW) as checker:

        def checked(batch: pa.Table) -> pa.Table:
            verdicts = checker.check(batch.column("issuer"), batch.column("serial"))
            return batch.append_column("verdict", struct_of(verdicts))

        data = ray.data.from_arrow(inventory.table).repartition(8)
        found = data.map_batches(checked, batch_format="pyarrow").sort("row").take_all()
    assert [row["verdict"] for row in found] == inventory.verdicts
