"""``crlcheck fetch``: fetch CRLs over HTTP and publish them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from crlcheck.cli.command import command
from crlcheck.cli.inputs import open_target, usage
from crlcheck.cli.options import (
    compile_options,
    given_options,
    issuer_option,
    max_crls_option,
)
from crlcheck.cli.status import EXIT_FAILED, describe, report_error
from crlcheck.cli.text import answer, published_members, say
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.errors import CrlError, FetchError, StoreError
from crlcheck.publisher.fetch import FetchLimits, check_url, fetch
from crlcheck.stores import ObjectStore
from crlcheck.x509.certificates import load_certificates


@command(
    "fetch",
    examples=["crlcheck fetch http://crl.example/ca.crl --issuer ca.pem --to published"],
)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--to", "store", required=True, metavar="STORE", help="A directory or s3://bucket/prefix."
)
@issuer_option
@max_crls_option
@click.option("--allow-private", is_flag=True, help="Allow private addresses.")
@click.option("--allow-shrink", is_flag=True, help="Publish even if most entries are missing.")
@compile_options
def fetch_command(
    urls: tuple[str, ...],
    store: str,
    issuers: tuple[Path, ...],
    max_crls: int,
    allow_private: bool,
    allow_shrink: bool,
    **options: Any,
) -> int:
    """
    Fetch CRLs over HTTP and publish them.

    A CRL that has not changed since the last time is not fetched again.
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
        else:
            say(f"{one['url']}: {one['outcome']}")
    answer(done)
    return EXIT_FAILED if any(one["outcome"] in ("failed", "refused") for one in done) else 0


def _fetch_one(
    url: str, store: ObjectStore, limits: FetchLimits, publish_options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the outcome of each CRL that *url* returns."""
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
