"""
Make commands that follow the conventions: common options, examples, exit statuses.

Every command has ``--json``, ``--quiet``, ``--verbose`` and ``--debug``, before or after
its name, and its help ends with the exit statuses and with examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from crlcheck.cli.output import output
from crlcheck.cli.status import EXIT_FAILED, EXIT_UNDETERMINED, EXIT_USAGE, set_log_level

DONE: Mapping[int, str] = {
    0: "done",
    EXIT_USAGE: "wrong usage",
    EXIT_FAILED: "anything else that failed",
}
"""The exit statuses of a command that does something."""

VERDICT: Mapping[int, str] = {
    0: "not revoked",
    1: "revoked, and nothing else",
    EXIT_USAGE: "wrong usage",
    EXIT_UNDETERMINED: "undetermined",
    EXIT_FAILED: "anything else that failed",
}
"""The exit statuses of a command that gives a verdict."""


class Command(click.Command):
    """A command with the common options, whose help shows its exit statuses and examples."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str],
        exit_statuses: Mapping[int, str] = DONE,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples
        self.exit_statuses = exit_statuses
        _add_common_options(self)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the common ones."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Common options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                common = not _COMMON.isdisjoint(parameter.opts)
                sections["Common options" if common else "Options"].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit statuses and the examples."""
        with formatter.section("Exit status"):
            formatter.write_dl([(str(key), text) for key, text in self.exit_statuses.items()])
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class Group(Command, click.Group):
    """A group of such commands; it has the common options too."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the group's options, then its commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def command(name: str, *, examples: Sequence[str], **attributes: Any) -> Callable[..., Command]:
    """Make the decorated function a command; *examples* are lines that a shell takes."""
    return click.command(name, cls=Command, examples=examples, **attributes)


def group(name: str, *, examples: Sequence[str], **attributes: Any) -> Callable[..., Group]:
    """Make the decorated function a group; its ``command`` takes what ``command`` here takes."""
    return click.group(name, cls=Group, examples=examples, **attributes)


# ---- the common options --------------------------------------------------------------


def _set_json(_context: click.Context, _parameter: click.Parameter, given: bool) -> bool:
    output().as_json |= given
    return given


def _set_quiet(_context: click.Context, _parameter: click.Parameter, given: bool) -> None:
    output().quiet |= given
    _set_level()


def _set_verbose(_context: click.Context, _parameter: click.Parameter, given: int) -> None:
    output().verbosity += given
    _set_level()


def _set_debug(_context: click.Context, _parameter: click.Parameter, given: bool) -> None:
    output().debug |= given


def _set_level() -> None:
    if output().quiet and output().verbosity:
        raise click.UsageError("--quiet and --verbose exclude each other: give one of them")
    set_log_level()


def _common_options() -> list[click.Option]:
    return [
        click.Option(
            ["--json"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_set_json,
            help="Print one JSON document, errors included.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_set_quiet,
            help="Print errors only; the exit status tells the rest.",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            is_eager=True,
            expose_value=False,
            callback=_set_verbose,
            help="Tell on standard error what is done and why; twice tells more.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_set_debug,
            help="Print an error's traceback.",
        ),
    ]


_COMMON = frozenset(name for option in _common_options() for name in option.opts) | {"--help"}


def _add_common_options(made: click.Command) -> None:
    own = {name for parameter in made.params for name in parameter.opts}
    made.params += [option for option in _common_options() if own.isdisjoint(option.opts)]
