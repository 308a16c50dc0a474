"""Write values to standard output, as text or as one JSON document."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crlcheck.catalog.descriptions import count, printable
from crlcheck.cli.output import output
from crlcheck.cli.status import say_json
from crlcheck.encoding.names import name_text
from crlcheck.types import CompileReport, PublishReport

__all__ = [
    "answer",
    "changes_text",
    "compiled_text",
    "console",
    "entries_text",
    "published_members",
    "report_members",
    "say",
    "say_fields",
    "say_json",
    "say_table",
    "say_warnings",
    "uses_color",
]

_FORCING = ("FORCE_COLOR", "CLICOLOR_FORCE")
_WIDTH_OF_FILES = 120


def say(text: str, *, color: str | None = None) -> None:
    """
    Write one line to standard output; *color* is for terminals.

    Nothing is written in a quiet run, nor in one with ``--json``.
    """
    if output().shows_text:
        click.echo(click.style(printable(text), fg=color), color=uses_color(sys.stdout))


def say_table(table: Table) -> None:
    """Write a table to standard output, unless ``say`` would write nothing."""
    if output().shows_text:
        console(sys.stdout).print(table)


def answer(document: object) -> None:
    """Give the run's JSON document, which is written if ``--json`` asks for it."""
    if output().as_json:
        say_json(document)


def say_fields(fields: Mapping[str, object]) -> None:
    """Write names and values in two columns; several values of a field go below each other."""
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        lines = value if isinstance(value, list | tuple) else [value]
        for position, line in enumerate(lines):
            say(f"{'' if position else name:<{width}}{line}")


def uses_color(file: TextIO | None) -> bool:
    """
    Whether what is written to *file* has colors.

    ``NO_COLOR`` forbids them, ``FORCE_COLOR`` and ``CLICOLOR_FORCE`` demand them, in this
    order. Otherwise a terminal has them, unless ``TERM`` is ``dumb``.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in _FORCING):
        return True
    is_terminal = file is not None and file.isatty()
    return is_terminal and os.environ.get("TERM") != "dumb"


def console(file: TextIO | None = None) -> Console:
    """
    Return a console for tables and progress, on standard output unless *file* is given.

    It is as wide as the terminal, or as fits a log. On standard output it writes nothing
    where ``say`` would not.
    """
    silent = file is None and not output().shows_text
    file = sys.stdout if file is None else file
    terminal = file is not None and file.isatty()
    return _Console(
        file=file,
        quiet=silent,
        color_system="standard" if uses_color(file) else None,
        force_terminal=terminal,
        width=None if terminal else _WIDTH_OF_FILES,
        markup=False,
        highlight=False,
        emoji=False,
    )


class _Console(Console):
    """Escapes unprintable characters, as ``say`` does."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a string. Every string passes here, those in cells of a table too."""
        return super().render_str(printable(text), **options)


def published_members(report: PublishReport) -> dict[str, Any]:
    """Return the JSON members of a publication, without those of the CRL."""
    return {
        "published": report.published,
        "generation": report.generation,
        "scope": report.scope,
        "image_name": report.image_name,
        "num_newly_revoked": report.num_newly_revoked,
        "num_lifted": report.num_lifted,
        "num_lifted_recently": report.num_lifted_recently,
        "publish_warnings": [
            {"kind": one.kind.value, "detail": one.detail, "scopes": list(one.scopes)}
            for one in report.warnings
        ],
    }


def changes_text(report: PublishReport) -> str:
    """Return what a publication changed as text; "" if all is new or nothing was counted."""
    if not report.published or report.num_newly_revoked is None:
        return ""
    if not report.num_lifted and report.num_newly_revoked == report.compiled.num_entries:
        return ""
    return f" ({report.num_newly_revoked:,} newly revoked, {report.num_lifted:,} lifted)"


def report_members(report: CompileReport) -> dict[str, Any]:
    """Return the JSON members of a report, with the issuer in words; sizes are bytes."""
    return {**report.as_dict(), "issuer": name_text(report.issuer)}


def compiled_text(report: CompileReport) -> str:
    """Return an image's contents as text: its number of entries, its CRL and its size."""
    sizes = f"{report.image_size:,} bytes (the CRL as DER: {report.source_size:,})"
    return f"{entries_text(report)}, {sizes}"


def entries_text(report: CompileReport) -> str:
    """Return as text how many entries a CRL has, and which one it is."""
    kind = "CRL" if report.base_crl_number is None else "delta CRL"
    number = f"a {kind}" if report.crl_number is None else f"{kind} {report.crl_number}"
    entries = count(report.num_entries, "entry", "entries")
    return f"{entries} of {number} of {name_text(report.issuer)}"


def say_warnings(report: CompileReport) -> None:
    """Write a line for each warning of a report."""
    for name in report.warnings.names:
        say(f"warning: {name.replace('_', ' ')}", color="yellow")
    for odd in report.odd_extensions:
        say(f"warning: {odd}", color="yellow")
