"""The commands: what they take, and what they say."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import crlcheck
from crlcheck.catalog.descriptions import count
from crlcheck.cli import issuers as issuer_commands
from crlcheck.cli import operations, stores
from crlcheck.cli.diff import diff_command
from crlcheck.cli.options import compile_options, given_options, issuer_option, max_crls_option
from crlcheck.cli.sources import STANDARD_INPUT, open_crl, open_target
from crlcheck.cli.status import EXIT_FAILED, about, describe, report_error
from crlcheck.cli.text import (
    changes_text,
    published_members,
    report_members,
    say,
    say_json,
)
from crlcheck.compiler.compile import BinaryReader, CrlSource
from crlcheck.encoding.names import name_text
from crlcheck.publisher.publish import publish_each
from crlcheck.types import CompileReport, PublishReport

_PATH = click.Path(path_type=Path)

_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, expose_value=False, help="Print an error's traceback.")
@click.version_option(crlcheck.__version__, message="crlcheck %(version)s")
def root() -> None:
    """
    Exact revocation checks from compiled CRLs.

    Certificates must already have been verified (chain, dates, possession of
    the key): crlcheck decides revocation only.

    Exit status: 0 not revoked, 1 revoked, 3 undetermined, 2 wrong usage, 4
    anything else that failed.
    """


@root.command("compile")
@click.argument("crl", type=_PATH)
@issuer_option
@click.option("-o", "--output", type=_PATH, required=True, help="Where the image goes.")
@click.option("--no-fsync", is_flag=True, help="Do not wait until the image is on the disk.")
@compile_options
@_json_option
def compile_command(
    crl: Path,
    issuers: tuple[Path, ...],
    output: Path,
    no_fsync: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Verify CRL and compile it into an image.

    CRL is DER or PEM, "-" standard input. Nothing is written unless one of the
    issuers signed it.
    """
    if output.exists() and not (output.is_file() or output.is_dir()):
        # It would be replaced by the image, and a device is not easily had back.
        raise FileExistsError(errno.EEXIST, "Not a regular file", str(output))
    with about(crl, crlcheck.CrlError), open_crl(crl) as source:
        report = crlcheck.compile_crl(
            source, output, issuer=issuers, fsync=not no_fsync, **given_options(options)
        )
    if as_json:
        say_json({"output": str(output), **report_members(report)})
        return 0
    say(f"{output}: {_contents(report)}")
    _say_warnings(report)
    return 0


@root.command("publish", short_help="Verify CRL, compile it and publish the image.")
@click.argument("crl", type=_PATH)
@issuer_option
@click.option(
    "--to", "store", required=True, metavar="STORE", help="A directory or s3://bucket/prefix."
)
@click.option("--allow-shrink", is_flag=True, help="Publish though most entries are gone.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Write the image anew if it is missing, damaged or outdated.",
)
@max_crls_option
@compile_options
@_json_option
def publish_command(
    crl: Path,
    issuers: tuple[Path, ...],
    store: str,
    allow_shrink: bool,
    rebuild: bool,
    max_crls: int,
    as_json: bool,
    **options: Any,
) -> int:
    """
    Verify CRL, compile it and make it the published one of its scope.

    CRL is DER or PEM, "-" standard input; of a PEM file every CRL is published. A
    CRL that is not newer than the published one is refused, and so is one that
    lacks most of more than ten entries, or that is past its nextUpdate and would
    replace a current one for nothing; the same one again changes nothing.
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
    return _tell_published(crl, target.url, done, as_json=as_json)


@contextlib.contextmanager
def _opened(source: CrlSource) -> Iterator[BinaryReader]:
    """Give *source*, as ``open_crl`` gave it, as an open file."""
    if isinstance(source, Path):
        with source.open("rb", buffering=0) as file:
            yield file
    else:
        assert isinstance(source, BinaryReader), "open_crl gives a path or a file"
        yield source


def _tell_published(
    crl: Path, store: str, done: list[PublishReport | crlcheck.CrlError], *, as_json: bool
) -> int:
    """Tell what became of each CRL of a file; return the exit status."""
    members: list[dict[str, Any]] = []
    for number, result in enumerate(done, 1):
        if isinstance(result, crlcheck.CrlError):
            report_error(f"{crl}#{number}: {describe(result)}")
            members.append({"store": store, "error": describe(result)})
            continue
        members.append(
            {
                "store": store,
                **published_members(result),
                **report_members(result.compiled),
            }
        )
        if not as_json:
            what = "published" if result.published else "published already"
            say(f"{store}: {what}: generation {result.generation}{changes_text(result)}")
            say(f"{result.image_name}: {_contents(result.compiled)}")
            _say_warnings(result.compiled)
    if as_json:
        say_json(members[0] if len(members) == 1 else {"crls": members})
    return EXIT_FAILED if any(isinstance(one, crlcheck.CrlError) for one in done) else 0


@root.command("check")
@click.argument("target", metavar="INDEX_OR_STORE")
@click.argument("certificates", metavar="[CERT]...", type=_PATH, nargs=-1)
@click.option(
    "--serial",
    "serials",
    multiple=True,
    metavar="HEX",
    help="A serial number instead of a certificate; may be repeated.",
)
@click.option(
    "--issuer",
    "issuers",
    type=_PATH,
    multiple=True,
    metavar="CA",
    help="An issuer certificate to trust besides those the store names; with --serial, whose "
    "serial number it is.",
)
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="URI",
    help="With --serial: a distribution point of the certificates; may be repeated.",
)
@click.option(
    "--kind",
    type=click.Choice(["user", "ca"]),
    help="With --serial: what the certificates are.",
)
@_json_option
def check_command(
    target: str,
    certificates: tuple[Path, ...],
    serials: tuple[str, ...],
    issuers: tuple[Path, ...],
    points: tuple[str, ...],
    kind: str | None,
    as_json: bool,
) -> int:
    """
    Say of each CERT whether it is revoked.

    CERT is a certificate as PEM or DER; of a chain the first one is judged. It
    must already have been verified. The exit status is the worst of all: 1
    over 4 over 3 over 0.

    A serial number is judged as its certificate would be. What is not said of
    the certificate is not known: any CRL that may be its own revokes it, and it
    is cleared where every certificate of that number would be, unless it has
    expired.
    """
    from crlcheck.cli import check

    if bool(certificates) == bool(serials):
        raise click.UsageError("name certificates or --serial, one of the two")
    if serials:
        return check.check_serials(
            target,
            serials,
            issuers,
            points=points or None,
            is_ca=None if kind is None else kind == "ca",
            as_json=as_json,
        )
    if points or kind:
        raise click.UsageError("--point and --kind go with --serial: a certificate says both")
    return check.check_certificates(target, certificates, issuers, as_json=as_json)


@root.command("inspect")
@click.argument("target", metavar="CRL_OR_INDEX_OR_STORE")
@_json_option
def inspect_command(target: str, as_json: bool) -> int:
    """
    Show what a CRL, an image or a store holds.

    The signature of a CRL is not verified here.
    """
    from crlcheck.cli.inspect import inspect_target

    inspect_target(target, as_json=as_json)
    return 0


@root.command("demo", short_help="Show the whole path on this machine.")
@click.option(
    "--entries",
    "num_entries",
    type=click.IntRange(min=1),
    default=200_000,
    show_default=True,
    metavar="NUMBER",
    help="How many entries the CRL gets.",
)
@click.option(
    "--files",
    "directory",
    type=_PATH,
    metavar="DIRECTORY",
    help="Only write the CA, its CRL and the three certificates there.",
)
@_json_option
def demo_command(num_entries: int, directory: Path | None, as_json: bool) -> int:
    """
    Show the whole path on this machine: upload, compile, publish, authorize.

    S3 is a local server for the time being. Where nginx is installed, clients also
    call by real mutual TLS. Then every CRL of NIST's PKITS is compiled or refused.

    It runs the Lambda functions, which are not installed with crlcheck: use make demo
    in a checkout. --files works anywhere.
    """
    from crlcheck.cli import demo

    if directory is not None:
        demo.write_files(directory, num_entries)
        return 0
    return 0 if demo.run(num_entries, as_json=as_json) else EXIT_FAILED


def _contents(report: CompileReport) -> str:
    """Say what an image holds: entries, whose, and how large."""
    kind = "CRL" if report.base_crl_number is None else "delta CRL"
    number = f"a {kind}" if report.crl_number is None else f"{kind} {report.crl_number}"
    return (
        f"{count(report.num_entries, 'entry', 'entries')} of {number} of "
        f"{name_text(report.issuer)}, {report.image_size:,} bytes (the CRL: "
        f"{report.source_size:,})"
    )


def _say_warnings(report: CompileReport) -> None:
    for name in report.warnings.names:
        say(f"warning: {name.replace('_', ' ')}", color="yellow")


for _command in (*operations.COMMANDS, *issuer_commands.COMMANDS, *stores.COMMANDS, diff_command):
    root.add_command(_command)
