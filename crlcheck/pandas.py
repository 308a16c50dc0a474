"""Check columns of certificates in pandas, which is the caller's own."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pyarrow as pa

from crlcheck.columns import ColumnSource, SerialText, check_table
from crlcheck.columns.verdicts import PLAIN_SCHEMA


def check(
    frame: pd.DataFrame,
    source: ColumnSource,
    *,
    issuer: str | bytes | None = None,
    serial: str | None = None,
    certificate: str | None = None,
    serial_text: SerialText | str | None = None,
    at: datetime | None = None,
) -> pd.DataFrame:
    """
    Return a frame with the index of *frame* and the columns of ``check_table``, of Arrow types.

    Args and Raises: as for ``check_table``. A column of Python objects is read as Arrow reads
    it: bytes, text or integers.
    """
    names = [name for name in (issuer, serial, certificate) if isinstance(name, str)]
    table = pa.table({name: pa.array(frame[name], from_pandas=True) for name in names})
    found = check_table(
        source, table, issuer=issuer, serial=serial, certificate=certificate,
        serial_text=serial_text, at=at,
    )  # fmt: skip
    verdicts: pd.DataFrame = found.cast(PLAIN_SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)
    return verdicts.set_index(frame.index)
