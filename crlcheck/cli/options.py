"""Define the options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from crlcheck.catalog.records import check_note
from crlcheck.cli.parameters import STORE
from crlcheck.compiler.compile import CompileOptions
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.compiler.source import DEFAULT_MAX_CRLS
from crlcheck.encoding.secrets import without_secrets

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _read_note(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    try:
        check_note(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return without_secrets(given)


note_option = click.option(
    "--note", default="", callback=_read_note, help="The reason, for later readers."
)
issuer_option = click.option(
    "--issuer",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="CA",
    help="A trusted issuer certificate, PEM or DER, or a directory of them; may be repeated.",
)
to_option = click.option(
    "--to",
    "store",
    type=STORE,
    required=True,
    metavar="STORE",
    help="A directory or s3://bucket/prefix.",
)
allow_shrink_option = click.option(
    "--allow-shrink", is_flag=True, help="Publish even if most entries are missing."
)
max_crls_option = click.option(
    "--max-crls",
    type=click.IntRange(min=0),
    default=DEFAULT_MAX_CRLS,
    show_default=True,
    metavar="N",
    help="Publish at most this many CRLs of a PEM file; 0 publishes all.",
)


def compile_options(command: _Command) -> _Command:
    """Add the options of ``CompileOptions``; those that were not given are None."""
    flags = (
        (
            "--no-attributes",
            "attributes",
            False,
            "Keep serial numbers only.",
        ),
        ("--allow-sha1", "allow_sha1", True, "Accept signatures over SHA-1."),
        (
            "--allow-small-rsa",
            "allow_small_rsa",
            True,
            "Accept signatures by RSA keys of 1024 to 2047 bits.",
        ),
        ("--allow-v1", "allow_v1", True, "Accept version 1 CRLs."),
        (
            "--allow-no-next-update",
            "require_next_update",
            False,
            "Accept a CRL without nextUpdate, which never goes stale.",
        ),
        ("--strict", "strict", True, "Refuse CRLs that are otherwise accepted with a warning."),
    )
    for flag, name, value, help_text in reversed(flags):
        command = click.option(flag, name, flag_value=value, default=None, help=help_text)(command)
    return click.option(
        "--max-source-size",
        "--max-size",
        "max_source_size",
        type=click.IntRange(min=0),
        metavar="BYTES",
        help=f"Refuse a larger CRL ({DEFAULT_MAX_SOURCE_SIZE:,} by default); 0 accepts any size.",
    )(command)


def given_options(options: dict[str, Any]) -> CompileOptions:
    """Leave out the options that were not given, so that the library's defaults apply."""
    given = {name: value for name, value in options.items() if value is not None}
    return cast(CompileOptions, given)
