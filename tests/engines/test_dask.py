"""Dask, which has a frame of pandas for each partition."""

from __future__ import annotations

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa

from crlcheck.columns import ColumnChecker
from crlcheck.pandas import check
from support.inventory import Inventory
from support.pki import NOW


def test_dask_checks_each_partition_by_one_set(inventory: Inventory) -> None:
    """
    Each process gets the checker with its generation and its time.
    """
    frame = dd.from_pandas(
        inventory.table.to_pandas(types_mapper=pd.ArrowDtype), npartitions=4, sort=False
    )
    with ColumnChecker(inventory.store, at=NOW) as checker:
        verdicts = frame.map_partitions(
            check, checker, issuer="issuer", serial="serial", meta=check(
                frame.partitions[0].compute().head(0), checker, issuer="issuer", serial="serial"
            ),
        )  # fmt: skip
        found = verdicts.compute(scheduler="processes", num_workers=2)
    assert pa.Table.from_pandas(found, preserve_index=False).to_pylist() == inventory.verdicts
