"""``crlcheck export``: write a published CRL in another program's format."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from crlcheck.catalog.descriptions import count
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.checker.images import Images
from crlcheck.checker.root_demands import RootDemands
from crlcheck.cli.command import command
from crlcheck.cli.inputs import demands_on, open_target, time_of
from crlcheck.cli.options import demand_options
from crlcheck.cli.parameters import STORE
from crlcheck.cli.status import about
from crlcheck.cli.text import answer, say
from crlcheck.compiler.compile import FileSink, replacing_file
from crlcheck.encoding.names import names_match
from crlcheck.errors import CrlCheckError, IndexFileError, StoreError, naming
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text


@command(
    "export",
    examples=[
        "crlcheck export published --format parquet -o listed.parquet",
        "crlcheck export published --format sample-json -o crl-cache.json",
    ],
)
@click.argument("store", type=STORE)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["parquet", "sample-json"]),
    required=True,
    help="The format to write.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write."
)
@demand_options
def export_command(store: str, format_name: str, output: Path) -> int:
    """
    Write what the published CRLs of STORE list, in another program's format.

    parquet has a row for each entry of each CRL and for each certificate that was
    denied by hand, with all attributes. It is no verdict: it does not say whether a
    CRL is current or covers a certificate. crlcheck check-table does.

    sample-json is the cache file of AWS's sample for API Gateway. It has
    hexadecimal serial numbers without issuers and times, so it can hold one
    current CRL only. It includes the certificates that were denied by hand.
    """
    target = open_target(store)
    now, demands = time_of(target), RootDemands(**demands_on(target))
    with about(store, StoreError):
        published, _ = demands.read(target.read(CATALOG_NAME).body, target, now)
        demands.check_generation(published)
    if format_name == "parquet":
        num_rows = _write_parquet(store, published, target, now, output)
        answer({"output": str(output), "format": format_name, "num_rows": num_rows})
        say(f"{output}: {count(num_rows, 'row')}")
        return 0
    serials = _sample_json(store, published, target, now, format_name)
    with naming(output), replacing_file(output, fsync=True) as file:
        FileSink(file).write(0, json.dumps(serials).encode("ascii"))
    answer({"output": str(output), "format": format_name, "num_serials": len(serials)})
    say(f"{output}: {count(len(serials), 'serial number')}")
    return 0


def _write_parquet(
    store: str, published: PublishedSet, target: ObjectStore, now: datetime, output: Path
) -> int:
    """Write every entry; return how many rows that are."""
    # Only here, because it needs the extra "columns".
    from crlcheck.columns.listing import list_entries, open_parquet, row_groups

    num_rows = 0
    with (
        naming(output),
        replacing_file(output, fsync=True) as file,
        open_parquet(file) as writer,
        about(store, StoreError, IndexFileError),
    ):
        for table in row_groups(list_entries(published, Images(target), now)):
            writer.write_table(table)
            num_rows += table.num_rows
    return num_rows


def _sample_json(
    store: str, published: PublishedSet, target: ObjectStore, now: datetime, format_name: str
) -> dict[str, str]:
    """Return the sample's cache file; refuse what it cannot say."""
    with about(store, StoreError):
        catalog = published.everything()
    records = list(catalog.scopes.values())
    if len(records) != 1 or records[0].delta is not None:
        raise CrlCheckError(
            f"{store}: {count(len(records), 'CRL')} published"
            f"{' with a delta CRL' if records and records[0].delta else ''}: {format_name} ignores "
            "issuers, so it is written only where there is one complete CRL"
        )
    crl = records[0].base.metadata
    denied = [denial for denial in catalog.denied if denial.holds(now)]
    if crl.issuing_distribution_point is not None:
        found = "the CRL is for a part of its issuer's certificates"
    elif crl.is_past(now):
        found = f"the CRL has been stale since {time_text(crl.next_update)}"
    elif not all(names_match(denial.issuer, crl.issuer) for denial in denied):
        found = "a certificate of another issuer is denied, and whatever it issued"
    else:
        found = ""
    if found:
        raise CrlCheckError(f"{store}: {found}, which {format_name} cannot say")
    with about(store, StoreError, IndexFileError):
        # As a checker opens it: an image that the catalog does not authenticate is refused.
        index = Images(target).whole(records[0].base)
    serials = {hex(entry.serial_number): "" for entry in index.iter_entries()}
    serials |= {hex(denial.serial_number): "" for denial in denied}
    return serials
