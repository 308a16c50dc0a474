"""``crlcheck compile``: verify a CRL and compile it into an image."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import click

import crlcheck
from crlcheck.cli.command import command
from crlcheck.cli.inputs import issuer_sources, open_crl
from crlcheck.cli.options import compile_options, given_options, issuer_option
from crlcheck.cli.status import about
from crlcheck.cli.text import answer, compiled_text, report_members, say, say_warnings


@command("compile", examples=["crlcheck compile ca.crl --issuer ca.pem -o ca.crlx"])
@click.argument("crl", type=click.Path(path_type=Path))
@issuer_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The file for the image.",
)
@click.option("--no-fsync", is_flag=True, help="Do not wait until the image is on the disk.")
@compile_options
def compile_command(
    crl: Path,
    issuers: tuple[Path, ...],
    output: Path,
    no_fsync: bool,
    **options: Any,
) -> int:
    """
    Verify CRL and compile it into an image.

    CRL is DER or PEM; "-" is standard input. The image is written only if one of
    the issuers signed the CRL.
    """
    if output.exists() and not (output.is_file() or output.is_dir()):
        # The image would replace it, and a device is hard to restore.
        raise FileExistsError(errno.EEXIST, "Not a regular file", str(output))
    trusted = issuer_sources(issuers)
    with about(crl, crlcheck.CrlError), open_crl(crl) as source:
        report = crlcheck.compile_crl(
            source, output, issuer=trusted, fsync=not no_fsync, **given_options(options)
        )
    answer({"output": str(output), **report_members(report)})
    say(f"{output}: {compiled_text(report)}")
    say_warnings(report)
    return 0
