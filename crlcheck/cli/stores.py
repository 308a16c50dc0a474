"""The commands on whole stores: copies, clean-up, downloads, export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.catalog import CATALOG_NAME, Catalog
from crlcheck.catalog.descriptions import count
from crlcheck.checker.snapshot import Trust, snapshot_of_catalog
from crlcheck.cli.operations import usage
from crlcheck.cli.options import compile_options, given_options, issuer_option, max_crls_option
from crlcheck.cli.sources import open_target
from crlcheck.cli.status import EXIT_FAILED, about, describe, report_error
from crlcheck.cli.text import published_members, say, say_json
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.encoding.names import names_match
from crlcheck.errors import CrlCheckError, CrlError, FetchError, IndexFileError, StoreError
from crlcheck.publisher.fetch import FetchLimits, check_url, fetch
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import advance_generation, clean_up
from crlcheck.settings import read_duration
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.x509.certificates import load_certificates

_PATH = click.Path(path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command("mirror")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--rebuild", is_flag=True, help="Read what TO has, and copy damaged images again.")
@_json_option
def mirror_command(source: str, target: str, rebuild: bool, as_json: bool) -> int:
    """Make the store TO the same published set as the store FROM."""
    report = mirror_store(open_target(source), open_target(target), rebuild=rebuild)
    if as_json:
        say_json(
            {
                "generation": report.generation,
                "num_copied": report.num_copied,
                "num_deleted": report.num_deleted,
            }
        )
        return 0
    say(
        f"{target}: generation {report.generation}: {count(report.num_copied, 'image')} copied, "
        f"{report.num_deleted} deleted"
    )
    return 0


@click.command("clean")
@click.argument("store")
@click.option(
    "--grace",
    type=read_duration,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="How long superseded images stay: longer than readers' refresh_after.",
)
def clean_command(store: str, grace: timedelta) -> int:
    """Delete images of STORE that nothing has named for the grace period."""
    num_deleted, num_waiting = clean_up(open_target(store), grace=grace)
    say(f"{store}: {count(num_deleted, 'image')} deleted, {num_waiting} waiting")
    return 0


@click.command("advance")
@click.argument("store")
@click.option(
    "--above", type=int, required=True, metavar="N", help="The generation that services hold."
)
def advance_command(store: str, above: int) -> int:
    """
    Bring STORE above a generation that services hold.

    For a store that was put back: services refuse its catalog, but for denials,
    until its generation is above the one that they have seen.
    """
    with usage():
        generation = advance_generation(open_target(store), above=above)
    say(f"{store}: generation {generation}")
    return 0


@click.command("fetch")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--to", "store", required=True, metavar="STORE", help="A directory or s3://bucket/prefix."
)
@issuer_option
@max_crls_option
@click.option("--allow-private", is_flag=True, help="Go to private addresses, too.")
@click.option("--allow-shrink", is_flag=True, help="Publish though most entries are gone.")
@compile_options
@_json_option
def fetch_command(
    urls: tuple[str, ...],
    store: str,
    issuers: tuple[Path, ...],
    max_crls: int,
    allow_private: bool,
    allow_shrink: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Fetch CRLs over HTTP and publish them.

    What has not changed since the last time is not fetched again.
    """
    with usage():
        for url in urls:
            check_url(url)
    target = open_target(store)
    given = given_options(options)
    max_size = given.get("max_source_size", DEFAULT_MAX_SOURCE_SIZE)
    limits = FetchLimits(max_size=max_size, allow_private=allow_private)
    publish_options: dict[str, Any] = {
        "issuer": load_certificates(issuers),
        "issuers_from": ", ".join(map(str, issuers)),
        "max_crls": max_crls,
        "allow_shrink": allow_shrink,
        **given,
    }
    done = [one for url in urls for one in _fetch_one(url, target, limits, publish_options)]
    for one in done:
        if one["outcome"] in ("failed", "refused"):
            named = one["detail"].startswith(one["url"])
            report_error(one["detail"] if named else f"{one['url']}: {one['detail']}")
        elif not as_json:
            say(f"{one['url']}: {one['outcome']}")
    if as_json:
        say_json(done)
    return EXIT_FAILED if any(one["outcome"] in ("failed", "refused") for one in done) else 0


def _fetch_one(
    url: str, store: ObjectStore, limits: FetchLimits, publish_options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield what became of each CRL that *url* answers with."""
    try:
        with fetch(url, store, limits) as fetched:
            if fetched is None:
                yield {"url": url, "outcome": "not modified"}
                return
            for name, result in fetched.publish_each(**publish_options):
                if isinstance(result, CrlError):
                    yield {"url": name, "outcome": "refused", "detail": str(result)}
                else:
                    outcome = "published" if result.published else "unchanged"
                    yield {"url": name, "outcome": outcome, **published_members(result)}
    except (FetchError, StoreError, OSError) as error:
        yield {"url": url, "outcome": "failed", "detail": describe(error)}


# ---- export ------------------------------------------------------------------


@click.command("export")
@click.argument("store")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["sample-json"]),
    required=True,
    help="Whose format it is.",
)
@click.option("-o", "--output", type=_PATH, required=True, help="Where the file goes.")
def export_command(store: str, format_name: str, output: Path) -> int:
    """
    Write what STORE has published in another program's format.

    sample-json is the cache file of AWS's sample for API Gateway: hexadecimal
    serial numbers without their issuer and without times, so that it can stand
    for one current CRL only. What operators denied by hand is in it.
    """
    target, now = open_target(store), datetime.now(UTC)
    with about(store, StoreError):
        stored = target.read(CATALOG_NAME)
        catalog = Catalog.from_bytes(stored.body)
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
        # Opened as a checker does: what the catalog does not authenticate is refused.
        snapshot = snapshot_of_catalog(catalog, stored.etag, target, Trust(), None)
        index = snapshot.images[0].index()
    serials = {hex(entry.serial_number): "" for entry in index.iter_entries()}
    serials |= {hex(denial.serial_number): "" for denial in denied}
    output.write_text(json.dumps(serials), encoding="ascii")
    say(f"{output}: {count(len(serials), 'serial number')}")
    return 0


COMMANDS: tuple[click.Command, ...] = (
    mirror_command,
    clean_command,
    advance_command,
    fetch_command,
    export_command,
)
