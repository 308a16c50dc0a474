"""The ``crlcheck`` command and its subcommands, each from a module of its own."""

from __future__ import annotations

import click

import crlcheck
from crlcheck.cli.advance import advance_command
from crlcheck.cli.check import check_command
from crlcheck.cli.check_table import check_table_command
from crlcheck.cli.clean import clean_command
from crlcheck.cli.command import VERDICT, command, group
from crlcheck.cli.compile import compile_command
from crlcheck.cli.completion import completion_command
from crlcheck.cli.demo import demo_command
from crlcheck.cli.deny import deny_group
from crlcheck.cli.diff import diff_command
from crlcheck.cli.doctor import doctor_command
from crlcheck.cli.export import export_command
from crlcheck.cli.fetch import fetch_command
from crlcheck.cli.grace import grace_group
from crlcheck.cli.history import history_command
from crlcheck.cli.inspect import inspect_command
from crlcheck.cli.issuer import issuer_group
from crlcheck.cli.key import key_group
from crlcheck.cli.migrate import migrate_group
from crlcheck.cli.mirror import mirror_command
from crlcheck.cli.publish import publish_command
from crlcheck.cli.refusal import refusal_group
from crlcheck.cli.restore import restore_command
from crlcheck.cli.scope import scope_group
from crlcheck.cli.serve import serve_command
from crlcheck.cli.sign import sign_command
from crlcheck.cli.store_status import status_command
from crlcheck.cli.text import answer, say
from crlcheck.cli.verify import verify_command


@group(
    "crlcheck",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    exit_statuses=VERDICT,
    examples=[
        "crlcheck publish ca.crl --issuer ca.pem --to published",
        "crlcheck check published client.pem",
        "crlcheck check --help",
    ],
)
@click.version_option(crlcheck.__version__, message="crlcheck %(version)s")
def root() -> None:
    """
    Exact revocation checks from compiled CRLs.

    Certificates must already have been verified (chain, dates, possession of
    the key): crlcheck decides revocation only.
    """


@command("help", examples=["crlcheck help", "crlcheck help deny add"])
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def help_command(context: click.Context, words: tuple[str, ...]) -> int:
    """Show the help of a command."""
    assert context.parent is not None, "it is a command of the root"
    shown: click.Context = context.parent
    for word in words:
        if not isinstance(shown.command, click.Group):
            raise click.UsageError(f"{shown.command_path} has no commands: found {word!r}")
        _name, below, _rest = shown.command.resolve_command(shown, [word])
        assert below is not None, "resolve_command raises for what it does not know"
        shown = click.Context(below, info_name=word, parent=shown)
    text = shown.get_help()
    for line in text.split("\n"):
        say(line)
    answer({"command": shown.command_path, "help": text})
    return 0


for _command in (
    compile_command,
    publish_command,
    check_command,
    check_table_command,
    inspect_command,
    demo_command,
    serve_command,
    scope_group,
    deny_group,
    grace_group,
    issuer_group,
    refusal_group,
    migrate_group,
    mirror_command,
    clean_command,
    advance_command,
    fetch_command,
    export_command,
    diff_command,
    history_command,
    completion_command,
    help_command,
    doctor_command,
    key_group,
    sign_command,
    status_command,
    verify_command,
    restore_command,
):
    root.add_command(_command)
