"""``crlcheck publish``: verify the CRLs of a file, compile them and publish the images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import crlcheck
from crlcheck.cli.command import command
from crlcheck.cli.inputs import STANDARD_INPUT, open_crl, open_target
from crlcheck.cli.options import (
    compile_options,
    given_options,
    issuer_option,
    max_crls_option,
)
from crlcheck.cli.status import EXIT_FAILED, about, report_failure
from crlcheck.cli.text import (
    answer,
    changes_text,
    compiled_text,
    published_members,
    report_members,
    say,
    say_warnings,
)
from crlcheck.compiler.compile import BinaryReader, CrlSource
from crlcheck.publisher.publish import publish_each
from crlcheck.types import PublishReport


@command(
    "publish",
    short_help="Verify CRL, compile it and publish the image.",
    examples=[
        "crlcheck publish ca.crl --issuer ca.pem --to published",
        "curl -s http://crl.example/ca.crl | crlcheck publish - --issuer ca.pem --to s3://crls/published",
    ],
)
@click.argument("crl", type=click.Path(path_type=Path))
@issuer_option
@click.option(
    "--to", "store", required=True, metavar="STORE", help="A directory or s3://bucket/prefix."
)
@click.option("--allow-shrink", is_flag=True, help="Publish even if most entries are missing.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Write the image anew if it is missing, damaged or outdated.",
)
@max_crls_option
@compile_options
def publish_command(
    crl: Path,
    issuers: tuple[Path, ...],
    store: str,
    allow_shrink: bool,
    rebuild: bool,
    max_crls: int,
    **options: Any,
) -> int:
    """
    Verify CRL, compile it and publish the image in its scope.

    CRL is DER or PEM; "-" is standard input. Every CRL of a PEM file is published.
    A CRL is refused if it is not newer than the published one, or if it lacks most
    of more than ten entries. It is also refused if it is past its nextUpdate and
    would replace a current one that revokes no less. Publishing the same CRL again
    changes nothing.
    """
    target = open_target(store)
    with about(crl, crlcheck.CrlError), open_crl(crl) as source, _opened(source) as reader:
        results = publish_each(
            reader,
            target,
            issuer=issuers,
            source_name=None if crl == STANDARD_INPUT else str(crl),
            issuers_from=", ".join(map(str, issuers)),
            max_crls=max_crls,
            allow_shrink=allow_shrink,
            rebuild=rebuild,
            **given_options(options),
        )
        done = [result for _, result in results]
        if len(done) == 1 and isinstance(done[0], crlcheck.CrlError):
            raise done[0]
    return _show_published(crl, target.url, done)


@contextlib.contextmanager
def _opened(source: CrlSource) -> Iterator[BinaryReader]:
    """Give the *source* that ``open_crl`` gave as an open file."""
    if isinstance(source, Path):
        with source.open("rb", buffering=0) as file:
            yield file
    else:
        assert isinstance(source, BinaryReader), "open_crl gives a path or a file"
        yield source


def _show_published(crl: Path, store: str, done: list[PublishReport | crlcheck.CrlError]) -> int:
    """Show the outcome of each CRL of a file; return the exit status."""
    members: list[dict[str, Any]] = []
    for number, result in enumerate(done, 1):
        if isinstance(result, crlcheck.CrlError):
            members.append({"store": store, **report_failure(result, f"{crl}#{number}")})
            continue
        members.append(
            {
                "store": store,
                **published_members(result),
                **report_members(result.compiled),
            }
        )
        outcome = "published" if result.published else "published already"
        say(f"{store}: {outcome}: generation {result.generation}{changes_text(result)}")
        say(f"{result.image_name}: {compiled_text(result.compiled)}")
        say_warnings(result.compiled)
    answer(members[0] if len(members) == 1 else {"crls": members})
    return EXIT_FAILED if any(isinstance(one, crlcheck.CrlError) for one in done) else 0
