"""``crlcheck publish``: verify the CRLs of a file, compile them and publish the images."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click

from crlcheck.cli.actor import actor
from crlcheck.cli.command import command
from crlcheck.cli.inputs import (
    STANDARD_INPUT,
    files_of,
    issuer_sources,
    open_crl,
    open_for_change,
)
from crlcheck.cli.options import (
    allow_shrink_option,
    change_options,
    compile_options,
    given_options,
    issuer_option,
    max_crls_option,
    to_option,
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
from crlcheck.errors import CrlBaseMissingError, CrlCheckError, CrlError
from crlcheck.publisher.publish_many import publish_each
from crlcheck.stores import ObjectStore
from crlcheck.types import PublishReport
from crlcheck.x509.certificates import load_certificates


@command(
    "publish",
    short_help="Verify CRLs, compile them and publish the images.",
    examples=[
        "crlcheck publish ca.crl --issuer ca.pem --to published",
        "crlcheck publish crls/ --issuer issuers/ --to published",
        "curl -s http://crl.example/ca.crl | crlcheck publish - --issuer ca.pem --to s3://crls/published",
    ],
)
@click.argument("crls", metavar="CRL...", type=click.Path(path_type=Path), nargs=-1, required=True)
@issuer_option
@to_option
@allow_shrink_option
@click.option(
    "--rebuild",
    is_flag=True,
    help="Write the image anew if it is missing, damaged or outdated.",
)
@max_crls_option
@change_options
@compile_options
def publish_command(
    crls: tuple[Path, ...],
    issuers: tuple[Path, ...],
    store: str,
    max_crls: int,
    allow_shrink: bool,
    rebuild: bool,
    note: str,
    **options: Any,
) -> int:
    """
    Verify each CRL, compile it and publish the image in its scope.

    CRL is DER or PEM; "-" is standard input, and of a directory each file is
    published. Every CRL of a PEM file is published. One that is refused keeps no
    other from being published, and a delta CRL waits for its base.

    A CRL is refused if it is not newer than the published one, or if it lacks most
    of more than ten entries. It is also refused if it is past its nextUpdate and
    would replace a current one that revokes no less. Publishing the same CRL again
    changes nothing.
    """
    target, sources = open_for_change(store), files_of(crls)
    publish = functools.partial(
        _publish_file,
        store=target,
        issuer=load_certificates(issuer_sources(issuers)),
        issuers_from=", ".join(map(str, issuers)),
        max_crls=max_crls,
        allow_shrink=allow_shrink,
        rebuild=rebuild,
        note=note,
        actor=actor(),
        **given_options(options),
    )
    members: list[dict[str, Any]] = []
    failed = False
    for path, done in _each_after_its_base(sources, publish):
        if len(sources) == len(done) == 1 and isinstance(done[0], Exception):
            raise done[0]
        members += _show_published(path, target.url, done)
        failed = failed or any(isinstance(one, Exception) for one in done)
    answer(members[0] if len(members) == 1 else {"crls": members})
    return EXIT_FAILED if failed else 0


_Outcomes: TypeAlias = Sequence[PublishReport | Exception]
"""What became of each CRL of a file; one error where the file could not be read."""


def _each_after_its_base(
    sources: Sequence[Path], publish: Callable[[Path], _Outcomes]
) -> Iterator[tuple[Path, _Outcomes]]:
    """Publish each file; a file whose delta CRL lacks its base is tried again at the end."""
    waiting = []
    for path in sources:
        done = publish(path)
        lacks_base = any(isinstance(one, CrlBaseMissingError) for one in done)
        if lacks_base and len(sources) > 1 and path != STANDARD_INPUT:
            waiting.append(path)
        else:
            yield path, done
    for path in waiting:
        yield path, publish(path)


def _publish_file(path: Path, *, store: ObjectStore, **options: Any) -> _Outcomes:
    """Publish each CRL of a file."""
    name = None if path == STANDARD_INPUT else str(path)
    try:
        with about(path, CrlError), open_crl(path) as source, _opened(source) as reader:
            done = [one for _, one in publish_each(reader, store, source_name=name, **options)]
            if len(done) == 1 and isinstance(done[0], CrlError):
                raise done[0]
            return done
    except (CrlCheckError, OSError) as error:
        return [error]


@contextlib.contextmanager
def _opened(source: CrlSource) -> Iterator[BinaryReader]:
    """Give the *source* that ``open_crl`` gave as an open file."""
    if isinstance(source, Path):
        with source.open("rb", buffering=0) as file:
            yield file
    else:
        assert isinstance(source, BinaryReader), "open_crl gives a path or a file"
        yield source


def _show_published(crl: Path, store: str, done: _Outcomes) -> list[dict[str, Any]]:
    """Show the outcome of each CRL of a file; return the JSON members."""
    members: list[dict[str, Any]] = []
    for number, result in enumerate(done, 1):
        named = {"store": store, "source": str(crl)}
        if isinstance(result, Exception):
            subject = f"{crl}#{number}" if len(done) > 1 else ""
            members.append({**named, **report_failure(result, subject)})
            continue
        members.append({**named, **published_members(result), **report_members(result.compiled)})
        outcome = "published" if result.published else "published already"
        say(f"{store}: {outcome}: generation {result.generation}{changes_text(result)}")
        say(f"{result.image_name}: {compiled_text(result.compiled)}")
        say_warnings(result.compiled)
    return members
