"""Choose the exit status of a run, and write errors as one line."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Iterator

from crlcheck.catalog.descriptions import printable
from crlcheck.errors import CrlCheckError
from crlcheck.types import CheckResult, RevocationStatus, UndeterminedCause

EXIT_NOT_REVOKED = 0
EXIT_REVOKED = 1
EXIT_USAGE = 2
EXIT_UNDETERMINED = 3
EXIT_FAILED = 4
EXIT_INTERRUPTED = 130

_WORST_FIRST = (EXIT_REVOKED, EXIT_FAILED, EXIT_UNDETERMINED, EXIT_NOT_REVOKED)


def exit_status_of(result: CheckResult) -> int:
    """Return the exit status of a result; an unavailable store is a failure."""
    if result.status is RevocationStatus.REVOKED:
        return EXIT_REVOKED
    if result.status is RevocationStatus.NOT_REVOKED:
        return EXIT_NOT_REVOKED
    if result.cause is UndeterminedCause.STORE_UNAVAILABLE:
        return EXIT_FAILED
    return EXIT_UNDETERMINED


def worst_exit_status(statuses: Iterable[int]) -> int:
    """Return the worst: revoked before failed before undetermined before not revoked."""
    return min(statuses, key=_WORST_FIRST.index)


def describe(error: BaseException) -> str:
    """Return an error as one line for the user, without its type where the message suffices."""
    if isinstance(error, CrlCheckError):
        return ": ".join([*getattr(error, "__notes__", ()), str(error)])
    if isinstance(error, ImportError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        # The system's message, without the number that str() puts before it.
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def about(subject: object, *kinds: type[CrlCheckError]) -> Iterator[None]:
    """Put *subject* before the message of errors of these *kinds*."""
    try:
        yield
    except kinds as error:
        error.add_note(str(subject))
        raise


def report_error(message: str) -> None:
    """Write *message* to standard error as one line; where that fails, say nothing."""
    report_lines(f"crlcheck: {one_line(message)}")


def report_lines(text: str) -> None:
    """Write *text* to standard error line by line; where that fails, say nothing."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            for line in text.rstrip("\n").split("\n"):
                print(printable(line), file=sys.stderr, flush=True)


class LogLines(logging.Handler):
    """Writes log records to standard error, as ``report_error`` does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message of one record."""
        report_error(record.getMessage())


def one_line(message: str) -> str:
    """Return *message* on one line, with unprintable characters escaped."""
    return printable(" ".join(message.split()))
