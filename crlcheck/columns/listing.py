"""
Write what the CRLs of a published set list as a table, for engines that join by themselves.

A row is an entry of a CRL, or a denial. It is no verdict: whether a CRL is current, covers a
certificate, or is one that its issuer may sign is not in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.records import PublishedImage
from crlcheck.checker.images import Images
from crlcheck.encoding.names import name_text

CRL = "crl"
"""``listed_by`` of an entry of a complete CRL."""
DELTA_CRL = "delta_crl"
"""``listed_by`` of an entry of a delta CRL; ``remove_from_crl`` in it lifts a hold."""
DENIAL = "denial"
"""``listed_by`` of a certificate that an operator has denied."""

_TIME = pa.timestamp("us", tz="UTC")
_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("issuer", pa.dictionary(pa.int32(), pa.binary())),
        ("issuer_name", _TEXT),
        ("serial", pa.binary()),
        ("serial_hex", pa.string()),
        ("listed_by", _TEXT),
        ("reason_code", _TEXT),
        ("revocation_date", _TIME),
        ("invalidity_date", _TIME),
        ("crl_issuer", _TEXT),
        ("crl_number", _TEXT),
        ("scope", _TEXT),
        ("this_update", _TIME),
        ("next_update", _TIME),
    ]
)
"""
The columns.

``issuer`` is the Name of the certificate's issuer, as DER, and ``issuer_name`` as RFC 4514
writes it. ``serial`` is big-endian and without leading zeros. Of a denial,
``revocation_date`` is when it was made and ``next_update`` when it ends, null for never.
"""

_ROWS = 1 << 16
_ROWS_OF_GROUP = 1 << 20


def list_entries(
    published: PublishedSet, images: Images, now: datetime
) -> Iterator[pa.RecordBatch]:
    """
    Yield every entry of every CRL of a set, and every denial that holds at *now*, in batches
    of at most 65,536 rows with the columns of ``SCHEMA``.

    One image is in memory at a time. A negative serial number, which RFC 5280 4.1.2.2 does not
    allow, has no ``serial``.

    Raises:
        StoreError, IndexFileError: a part of the set, or an image, cannot be read.
    """
    for record in published.scopes():
        yield from _of_image(images, record.base, CRL)
        if record.delta is not None:
            yield from _of_image(images, record.delta, DELTA_CRL)
    for denials in _blocks(one for one in published.denied if one.holds(now)):
        yield _batch(
            [(one.issuer, one.serial_number) for one in denials],
            {
                "revocation_date": [one.at for one in denials],
                "next_update": [one.until for one in denials],
            },
            {"listed_by": DENIAL},
        )


def row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield tables of some million rows each, of which a file has few."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= _ROWS_OF_GROUP:
            yield pa.Table.from_batches(held, SCHEMA)
            held = []
    if held:
        yield pa.Table.from_batches(held, SCHEMA)


def open_parquet(file: IO[bytes]) -> parquet.ParquetWriter:
    """Return a writer of tables with these columns, compressed by zstd."""
    return parquet.ParquetWriter(file, SCHEMA, compression="zstd")


def _of_image(images: Images, image: PublishedImage, listed_by: str) -> Iterator[pa.RecordBatch]:
    metadata = image.metadata
    same = {
        "listed_by": listed_by,
        "crl_issuer": name_text(metadata.issuer),
        "crl_number": None if metadata.crl_number is None else str(metadata.crl_number),
        "scope": metadata.scope,
        "this_update": metadata.this_update,
        "next_update": metadata.next_update,
    }
    with images.whole(image) as index:
        for entries in _blocks(index.iter_entries()):
            reasons = [one.reason_code for one in entries]
            yield _batch(
                [(one.certificate_issuer, one.serial_number) for one in entries],
                {
                    "reason_code": [None if one is None else one.name.lower() for one in reasons],
                    "revocation_date": [one.revocation_date for one in entries],
                    "invalidity_date": [one.invalidity_date for one in entries],
                },
                same,
            )


def _batch(
    certificates: list[tuple[bytes, int]], columns: dict[str, list[Any]], same: dict[str, Any]
) -> pa.RecordBatch:
    """Return rows of *certificates* with other columns, and columns of one value each."""
    issuers = [issuer for issuer, _ in certificates]
    names = {issuer: name_text(issuer) for issuer in set(issuers)}
    values = {
        "issuer": issuers,
        "issuer_name": [names[issuer] for issuer in issuers],
        "serial": [_octets(serial) for _, serial in certificates],
        "serial_hex": [f"{serial:x}" for _, serial in certificates],
        **columns,
    }
    num_rows = len(certificates)
    arrays = []
    for field in SCHEMA:
        if field.name in values:
            arrays.append(pa.array(values[field.name], field.type))
        else:
            value = pa.array([same.get(field.name)], field.type)
            arrays.append(value.take(pa.repeat(pa.scalar(0, pa.int32()), num_rows)))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _octets(serial: int) -> bytes | None:
    return None if serial < 0 else serial.to_bytes(max(1, (serial.bit_length() + 7) // 8), "big")


def _blocks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while block := list(itertools.islice(iterator, _ROWS)):
        yield block
