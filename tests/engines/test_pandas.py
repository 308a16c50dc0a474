"""pandas: a frame beside a frame."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from crlcheck.pandas import check
from support.inventory import Inventory
from support.pki import NOW


@pytest.mark.parametrize("is_arrow", [False, True], ids=["objects", "arrow"])
def test_a_frame_has_the_verdict_of_each_row(inventory: Inventory, is_arrow: bool) -> None:
    """
    With the index that it has, whatever its columns are made of.
    """
    frame = inventory.table.to_pandas(types_mapper=pd.ArrowDtype if is_arrow else None)
    frame.index = pd.RangeIndex(7, 7 + len(frame))
    found = check(frame, inventory.store, issuer="issuer", serial="serial", at=NOW)
    assert found.index.equals(frame.index)
    assert pa.Table.from_pandas(found, preserve_index=False).to_pylist() == inventory.verdicts


def test_certificates(certificates: Inventory) -> None:
    """
    In the place of issuers and serial numbers.
    """
    found = check(
        certificates.table.to_pandas(), certificates.store, certificate="certificate", at=NOW
    )
    assert pa.Table.from_pandas(found, preserve_index=False).to_pylist() == certificates.verdicts
