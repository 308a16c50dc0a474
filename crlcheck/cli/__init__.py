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

from crlcheck.cli.status import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    LogLines,
    describe,
    report_error,
    report_lines,
)

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments*, by default the process's; return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with _terminable(), _logging():
            return _flushed(_run(list(given)))  # click takes from the list
    except KeyboardInterrupt:
        return _abandoned(EXIT_INTERRUPTED)
    except _TerminatedError as error:
        return _abandoned(128 + error.signal_number)
    except BrokenPipeError:
        # The reader of the output has closed it, as in ``| head``.
        return _abandoned(EXIT_FAILED)
    except BaseException as error:  # noqa: BLE001 - the interpreter would exit 1, "revoked"
        if "--debug" in given:
            report_lines("".join(traceback.format_exception(error)))
        report_error(describe(error))
        return _abandoned(EXIT_FAILED)


def _run(arguments: list[str]) -> int:
    try:
        import click
        import rich  # noqa: F401 - only to find out whether it is there
    except ImportError as error:
        report_error(
            f"the command line needs the package {error.name}: pip install 'crlcheck[cli]'"
        )
        return EXIT_FAILED
    from crlcheck.cli.root import root

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks must not fail a check.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Not ``root.main``: click's own handling of errors exits 1 in several cases.
        with root.make_context("crlcheck", arguments) as context:
            status: int = root.invoke(context)
            return status
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        shown = io.StringIO()
        error.show(file=shown)
        report_lines(shown.getvalue())
        return EXIT_USAGE
    except click.ClickException as error:
        report_error(error.format_message())
        return EXIT_FAILED
    except click.Abort as error:
        raise KeyboardInterrupt from error


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
    """Write logged warnings to standard error, unless the program has a log handler already."""
    logger = logging.getLogger()
    handler = LogLines(logging.WARNING)
    taken = not logger.handlers
    if taken:
        logger.addHandler(handler)
    try:
        yield
    finally:
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
