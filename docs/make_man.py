"""
Write a man page for each command, from what its help shows: ``make man``.

click-man writes the sections that every click command has. It escapes hyphens alone, so
the text is escaped before; exit statuses and examples are sections of ours.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click
from click_man.man import ManPage

import crlcheck
from crlcheck.cli.command import Command
from crlcheck.cli.root import root


def contexts(
    command: click.Command = root, name: str = "crlcheck", parent: click.Context | None = None
) -> Iterator[click.Context]:
    """Yield a context of every command and group, each with its parent's."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from contexts(command.commands[below], below, context)


def man_page(context: click.Context) -> str:
    """Return the man page of the context's command."""
    command = context.command
    assert isinstance(command, Command), "every command has exit statuses and examples"
    page = ManPage(context.command_path)
    page.short_help = _text(command.get_short_help_str(limit=200))
    page.description = _text(cleandoc(command.help or ""))
    page.synopsis = _characters(" ".join(command.collect_usage_pieces(context)))
    records = [
        parameter.get_help_record(context)
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
    ]
    page.options = [(_characters(one[0]), _text(one[1])) for one in records if one is not None]
    # click-man's title is what is typed, with spaces; man finds a page by its file's name.
    body = str(page).partition("\n")[2]
    title = f'.TH {_name(context).upper()} 1 {page.date} "crlcheck {crlcheck.__version__}"\n'
    return title + body + "".join(f"{line}\n" for line in _own_sections(context, command))


def _own_sections(context: click.Context, command: Command) -> Iterator[str]:
    below = command.commands if isinstance(command, click.Group) else {}
    if below:
        yield ".SH COMMANDS"
        for name, one in below.items():
            yield from (".TP", f".B {_text(name)}", _text(one.get_short_help_str(limit=200)))
    yield ".SH EXIT STATUS"
    for status, meaning in command.exit_statuses.items():
        yield from (".TP", f".B {status}", _text(meaning))
    yield ".SH EXAMPLES"
    yield from (".nf", *map(_text, command.examples), ".fi")
    pages = [f"{_name(context)}-{name}" for name in below]
    if context.parent is not None:
        pages.insert(0, _name(context.parent))
    if pages:
        yield ".SH SEE ALSO"
        commas = ["," for _ in pages[1:]] + [""]
        for name, comma in zip(pages, commas, strict=True):
            yield f".BR {_text(name)} (1){comma}"


def _name(context: click.Context) -> str:
    """Return the name of the page, such as ``crlcheck-deny-add``."""
    return context.command_path.replace(" ", "-")


# What a renderer would take for an escape or print as a typographic mark.
_ESCAPES = str.maketrans(
    {"\\": r"\e", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
)


def _characters(text: str) -> str:
    r"""Escape all but hyphens, which click-man escapes in names of options and synopses."""
    lines = text.translate(_ESCAPES).split("\n")
    # A line that begins with a dot is a request; so is one with an apostrophe, now escaped.
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)


def _text(text: str) -> str:
    """Escape text that is shown as it is."""
    return _characters(text).replace("-", r"\-")


def main() -> None:
    """Write the pages into the directory that is given."""
    parser = argparse.ArgumentParser(description="Write a man page for each command.")
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("crlcheck*.1"):
        old.unlink()
    for context in contexts():
        (directory / f"{_name(context)}.1").write_text(man_page(context), encoding="utf-8")


if __name__ == "__main__":
    main()
