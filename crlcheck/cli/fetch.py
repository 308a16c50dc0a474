"""``crlcheck fetch``: fetch CRLs over HTTP and publish them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.descriptions import count
from crlcheck.catalog.signing_store import unsigned_store
from crlcheck.cli.actor import actor
from crlcheck.cli.command import command
from crlcheck.cli.inputs import issuer_sources, open_for_change, source_names, usage
from crlcheck.cli.options import (
    allow_shrink_option,
    compile_options,
    given_options,
    issuer_option,
    max_crls_option,
    signing_options,
    to_option,
)
from crlcheck.cli.progress import paused, working
from crlcheck.cli.status import (
    EXIT_FAILED,
    EXIT_LOCKED,
    EXIT_PARTLY_FAILED,
    EXIT_USAGE,
    report_failure,
)
from crlcheck.cli.text import answer, changes_text, published_members, say, say_warnings
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.errors import CrlError, FetchLockedError
from crlcheck.publisher.fetch import FetchLimits, check_url
from crlcheck.publisher.fetch_each import DEFAULT_FETCH_JOBS, FetchResult, fetch_each
from crlcheck.publisher.locks import run_lock
from crlcheck.types import PublishReport
from crlcheck.x509.certificates import load_certificates


@command(
    "fetch",
    exit_statuses={
        0: "every URL is up to date: published, published already, or not modified",
        EXIT_USAGE: "wrong usage",
        EXIT_FAILED: "every URL failed, or the run could not begin",
        EXIT_PARTLY_FAILED: "some URLs failed or their CRLs were refused, others are up to date",
        EXIT_LOCKED: "another fetch to this store is running: nothing was done",
    },
    examples=[
        "crlcheck fetch http://crl.example/ca.crl --issuer ca.pem --to published",
        "crlcheck fetch --urls-from crls.txt --issuer cas.pem --to s3://crls/published",
    ],
)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--urls-from",
    "lists",
    type=click.Path(path_type=Path, allow_dash=True),
    multiple=True,
    metavar="FILE",
    help='Fetch the URLs of a file too, one a line; "#" begins a comment; "-" is standard input.',
)
@to_option
@signing_options
@issuer_option
@max_crls_option
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=DEFAULT_FETCH_JOBS,
    show_default=True,
    metavar="N",
    help="Fetch so many URLs at once, of one host at most two.",
)
@click.option("--allow-private", is_flag=True, help="Allow private addresses.")
@click.option("--no-proxy", is_flag=True, help="Use no proxy, whatever the environment names.")
@allow_shrink_option
@click.option(
    "--rebuild",
    is_flag=True,
    help="Fetch what has not changed too; write images anew if missing, damaged or outdated.",
)
@compile_options
def fetch_command(
    urls: tuple[str, ...],
    lists: tuple[Path, ...],
    store: str,
    issuers: tuple[Path, ...],
    max_crls: int,
    jobs: int,
    allow_private: bool,
    no_proxy: bool,
    allow_shrink: bool,
    rebuild: bool,
    **options: Any,
) -> int:
    """
    Fetch CRLs over HTTP and publish them.

    URLs may come in any order: a delta CRL waits for its complete CRL. A CRL that has
    not changed since the last time is not fetched again. Of two runs for one store on
    one machine, the second ends at once. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are
    obeyed.
    """
    wanted = _wanted(urls, lists)
    target = open_for_change(store)
    given = given_options(options)
    limits = FetchLimits(
        max_size=given.get("max_source_size", DEFAULT_MAX_SOURCE_SIZE),
        allow_private=allow_private,
        use_proxy=not no_proxy,
    )
    trusted = load_certificates(issuer_sources(issuers))
    publish_options: dict[str, Any] = {
        "issuer": trusted,
        "issuers_from": source_names(issuers),
        "max_crls": max_crls,
        "jobs": jobs,
        "allow_shrink": allow_shrink,
        "actor": actor(),
        **given,
    }
    try:
        with (
            run_lock(unsigned_store(target)),
            working(f"fetching {count(len(wanted), 'URL')}") as progress,
        ):
            results = fetch_each(wanted, target, limits, again=rebuild, **publish_options)
            done = []
            for name, result in results:
                with paused(progress):
                    done.append(_shown(name, result))
    except FetchLockedError as error:
        answer({**report_failure(error), "exit_status": EXIT_LOCKED})
        return EXIT_LOCKED
    status = _exit_status(done)
    answer({"results": done, "exit_status": status})
    return status


def _exit_status(done: list[dict[str, Any]]) -> int:
    num_failed = sum(one["outcome"] in ("failed", "refused") for one in done)
    if num_failed == 0:
        return 0
    return EXIT_FAILED if num_failed == len(done) else EXIT_PARTLY_FAILED


def _wanted(urls: tuple[str, ...], lists: tuple[Path, ...]) -> list[str]:
    """Return the URLs of the command line and of the files, each once."""
    with usage():
        found = [check_url(url) for url in urls]
    for path in lists:
        with click.open_file(str(path), encoding="utf-8-sig") as lines:
            found += _listed(lines, str(path))
    if not found:
        raise click.UsageError("no URL is given: name some, or a file of them by --urls-from")
    return list(dict.fromkeys(found))


# A "#" inside a URL begins its fragment.
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")


def _listed(lines: Iterable[str], name: str) -> list[str]:
    found = []
    try:
        for number, line in enumerate(lines, 1):
            url = _COMMENT.sub("", line.removeprefix("\ufeff")).strip()  # that of standard input
            if url:
                try:
                    found.append(check_url(url))
                except ValueError as error:
                    raise click.UsageError(f"{name}, line {number}: {error}") from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{name}: expected text in UTF-8: {error}") from error
    return found


def _shown(name: str, result: FetchResult) -> dict[str, Any]:
    """Tell what became of a CRL as text; return its JSON members."""
    if result is None:
        say(f"{name}: not modified")
        return {"url": name, "outcome": "not modified"}
    if isinstance(result, PublishReport):
        outcome = "published" if result.published else "unchanged"
        say(f"{name}: {outcome}{changes_text(result)}")
        say_warnings(result.compiled)
        return {"url": name, "outcome": outcome, **published_members(result)}
    outcome = "refused" if isinstance(result, CrlError) else "failed"
    members = report_failure(result, "" if str(result).startswith(name) else name)
    return {"url": name, "outcome": outcome, "detail": str(result), **members}
