"""Define the options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from crlcheck.catalog.records import check_note
from crlcheck.cli.parameters import KEY, STORE
from crlcheck.compiler.compile import CompileOptions
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.compiler.source import DEFAULT_MAX_CRLS
from crlcheck.encoding.secrets import without_secrets
from crlcheck.settings import read_duration
from crlcheck.signing.root_key import read_root_keys
from crlcheck.signing.root_signer import RootSigner
from crlcheck.signing.statement import DEFAULT_ROOT_EXPIRY

SIGN_WITH_VARIABLE = "CRLCHECK_SIGN_WITH"
ROOT_EXPIRY_VARIABLE = "CRLCHECK_ROOT_EXPIRY"

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
    "--issuers",
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


def signing_options(command: _Command) -> _Command:
    """Add the options that say what signs the root; ``open_for_change`` obeys them."""
    for option in (
        click.option(
            "--root-expiry",
            type=read_duration,
            default=f"{DEFAULT_ROOT_EXPIRY.days}d",
            show_default=True,
            envvar=ROOT_EXPIRY_VARIABLE,
            metavar="DURATION",
            expose_value=False,
            callback=_note_signing,
            help=f"How long the signature of the root holds ({ROOT_EXPIRY_VARIABLE}).",
        ),
        click.option(
            "--sign-with",
            type=KEY,
            multiple=True,
            envvar=SIGN_WITH_VARIABLE,
            metavar="KEY",
            expose_value=False,
            callback=_note_signing,
            help="Sign the root by this key: a private key's file, or the ARN, id or alias of "
            f"one in AWS KMS; may be repeated ({SIGN_WITH_VARIABLE}).",
        ),
    ):
        command = option(command)
    return command


def demand_options(command: _Command) -> _Command:
    """Add the options that say what the root of a store must satisfy (``given_demands``)."""
    for option in (
        click.option(
            "--minimum-generation",
            type=click.IntRange(min=0),
            envvar="CRLCHECK_MINIMUM_GENERATION",
            metavar="N",
            expose_value=False,
            callback=_note_demand,
            help="Refuse an earlier generation of a store (CRLCHECK_MINIMUM_GENERATION).",
        ),
        root_key_option,
    ):
        command = option(command)
    return command


def _note_demand(context: click.Context, parameter: click.Parameter, value: object) -> None:
    name = str(parameter.name)
    is_given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    context.meta.setdefault("crlcheck.demands", {})[name] = (value, is_given)


root_key_option = click.option(
    "--root-key",
    "root_keys",
    type=KEY,
    multiple=True,
    envvar="CRLCHECK_ROOT_KEYS",
    metavar="PUBLIC-KEY",
    expose_value=False,
    callback=_note_demand,
    help="Refuse a store whose root this key has not signed; may be repeated (CRLCHECK_ROOT_KEYS).",
)


def given_demands(*, of_store: bool = True) -> dict[str, Any]:
    """
    Return what the root must satisfy, as arguments of ``RevocationChecker``.

    Without a store the environment's demands do not matter.

    Raises:
        click.UsageError: a key is none, or an option is given and there is no store.
    """
    noted = click.get_current_context().meta.get("crlcheck.demands", {})
    if not of_store:
        if any(is_given for _, is_given in noted.values()):
            raise click.UsageError(
                "--root-key and --minimum-generation are for a store: an image has no root"
            )
        return {}
    given = {name: value for name, (value, _) in noted.items() if value}
    try:
        if "root_keys" in given:
            given["root_keys"] = read_root_keys(given["root_keys"])
    except ValueError as error:
        raise click.UsageError(f"--root-key: {error}") from error
    return given


def change_options(command: _Command) -> _Command:
    """Add the options of every command that changes a store."""
    return note_option(signing_options(command))


def _note_signing(context: click.Context, parameter: click.Parameter, value: object) -> None:
    context.meta[f"crlcheck.{parameter.name}"] = value


def given_signer() -> RootSigner | None:
    """
    Return what signs roots by the options of this run, None where no key is given.

    Raises:
        SigningKeyError: a key cannot be used.
        click.UsageError: a key is given twice, or the expiry is too short.
    """
    meta = click.get_current_context().meta
    given = meta.get("crlcheck.sign_with")
    if given is None:  # a command without these options
        given = [one for one in os.environ.get(SIGN_WITH_VARIABLE, "").split(",") if one]
    if not given:
        return None
    expiry = meta.get("crlcheck.root_expiry", DEFAULT_ROOT_EXPIRY)
    try:
        return RootSigner(*given, expiry=expiry)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


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
