"""
The ``crlcheck`` command (extra ``[cli]``).

Exit status: 0 not revoked, 1 revoked, 3 undetermined, 2 wrong usage, 4 any other
failure. Only a revoked certificate exits 1, so this module handles every way in
which a Python program can end.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType

from crlcheck.cli.output import CURRENT, Output, output
from crlcheck.cli.status import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    LogLines,
    describe,
    error_members,
    report_error,
    report_lines,
    say_json,
)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments*, by default the process's; return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    token = CURRENT.set(Output())
    try:
        return _guarded(list(given))  # click takes from the list
    finally:
        CURRENT.reset(token)


def _guarded(given: list[str]) -> int:
    """Run the command; whatever happens, return an exit status."""
    try:
        with _terminable(), _logging():
            return _flushed(_run(given))
    except KeyboardInterrupt:
        return _abandoned(EXIT_INTERRUPTED)
    except _TerminatedError as error:
        return _abandoned(128 + error.signal_number)
    except BrokenPipeError:
        # The reader of the output has closed it, as in ``| head``.
        return _abandoned(EXIT_BROKEN_PIPE)
    except BaseException as error:  # noqa: BLE001 - the interpreter would exit 1, "revoked"
        return _failed(error)


def _failed(error: BaseException) -> int:
    """Report an error, as JSON if that was asked for and can be written; return the status."""
    if output().debug:
        report_lines("".join(traceback.format_exception(error)))
    try:
        return _flushed(_report(error, EXIT_FAILED))
    except (OSError, ValueError):
        # Standard output takes nothing; standard error may.
        report_error(describe(error))
        return _abandoned(EXIT_FAILED)


def _report(error: BaseException, status: int, **members: object) -> int:
    """Report an error that ends the run; return *status*."""
    if output().as_json and not output().answered:
        say_json({**error_members(error), **members, "exit_status": status})
    else:
        report_error(describe(error))
    return status


def _run(arguments: list[str]) -> int:
    before_dashes = arguments[: [*arguments, "--"].index("--")]
    try:
        import click
        import rich  # noqa: F401 - only to find out whether it is there
    except ImportError as error:
        output().as_json = "--json" in before_dashes
        needed = f"the command line needs the package {error.name}"
        remedy = "pip install 'crlcheck[cli]'"
        return _report(ImportError(f"{needed}: {remedy}"), EXIT_FAILED, remedy=remedy)
    from crlcheck.cli.root import root

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks must not fail a check.
        sys.stdout.reconfigure(errors="backslashreplace")
    if instruction := os.environ.get("_CRLCHECK_COMPLETE"):
        from crlcheck.cli.completion import complete

        return complete(root, instruction)
    try:
        # Not ``root.main``: click's own handling of errors exits 1 in several cases.
        with root.make_context("crlcheck", arguments) as context:
            status: int = root.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        # What click cannot parse it does not look through for options.
        output().as_json |= "--json" in before_dashes
        if not output().as_json:
            shown = io.StringIO()
            error.show(file=shown)
            report_lines(shown.getvalue())
            return EXIT_USAGE
        path = "crlcheck" if error.ctx is None else error.ctx.command_path
        return _report(error, EXIT_USAGE, remedy=f"{path} --help")
    except click.ClickException as error:
        return _report(error, EXIT_FAILED)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    assert output().answered or not output().as_json, "the command gave no JSON document"
    return status


# ---- how a run ends --------------------------------------------------------------------


class _TerminatedError(BaseException):
    """A signal asked the process to end. Raised so that temporary files are removed first."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack, unless the program handles them already."""

    def terminate(number: int, _frame: FrameType | None) -> None:
        raise _TerminatedError(number)

    taken: list[signal.Signals] = []
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                with contextlib.suppress(ValueError):  # only the main thread may
                    signal.signal(number, terminate)
                    taken.append(number)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Write log records to standard error, unless the program has a log handler already."""
    logger, own = logging.getLogger(), logging.getLogger("crlcheck")
    handler, level = LogLines(), own.level
    taken = not logger.handlers
    if taken:
        logger.addHandler(handler)
    try:
        yield
    finally:
        own.setLevel(level)
        if taken:
            logger.removeHandler(handler)


def _flushed(status: int) -> int:
    """Flush the output while a failure can still change the status; return *status*."""
    if sys.stdout is not None:
        sys.stdout.flush()
    return status


def _abandoned(status: int) -> int:
    """
    Drop output that cannot be written; return *status*.

    The interpreter would try to write it again when it ends, and would exit with
    another status.
    """
    try:
        _flushed(status)
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
    return status
