"""Choose the exit status of a run, and write errors as one line."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from crlcheck.catalog.descriptions import printable
from crlcheck.catalog.root import CATALOG_NAME, NOTHING_PUBLISHED
from crlcheck.cli.output import library_level, output
from crlcheck.encoding.secrets import members_without_secrets, without_secrets
from crlcheck.errors import CrlCheckError
from crlcheck.remedies import remedy_of, with_remedy
from crlcheck.types import CheckResult, RevocationStatus, UndeterminedCause

EXIT_NOT_REVOKED = 0
EXIT_REVOKED = 1
EXIT_USAGE = 2
EXIT_UNDETERMINED = 3
EXIT_FAILED = 4
EXIT_PARTLY_FAILED = 5
EXIT_LOCKED = 6
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_Subject = TypeVar("_Subject")

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
    """
    Return an error as one line for the user, without its type where the message suffices.

    It says what can be done, too.
    """
    if isinstance(error, CrlCheckError):
        said = ": ".join([*getattr(error, "__notes__", ()), str(error)])
        return with_remedy(said, remedy_of(error))
    if isinstance(error, ImportError):
        return str(error)
    if hasattr(error, "format_message"):  # click's, which may not be installed
        return str(error.format_message())
    if isinstance(error, OSError) and error.strerror:
        # The system's message, without the number that str() puts before it.
        # Of a file that could not get its name, the name.
        path = error.filename if error.filename2 is None else error.filename2
        if error.errno == errno.ENOENT and str(path).endswith(f"/{CATALOG_NAME}"):
            return f"{path}: {NOTHING_PUBLISHED}"
        return error.strerror if path is None else f"{path}: {error.strerror}"
    if isinstance(error, FileNotFoundError | FileExistsError) and str(error):
        return str(error)  # one of ours, in words of its own
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


def error_members(error: BaseException) -> dict[str, Any]:
    """
    Return the JSON members of an error.

    ``error`` is the message, ``kind`` the name of the exception's class, ``attributes``
    what the exception tells besides, ``remedy`` what to do, where it tells that.
    """
    attributes: dict[str, Any] = {}
    if isinstance(error, CrlCheckError):
        attributes = error.as_dict()
    elif isinstance(error, OSError):
        filename = None if error.filename is None else str(error.filename)
        attributes = {"errno": error.errno, "filename": filename}
    remedy = attributes.pop("remedy", None) or remedy_of(error)
    members = {"error": describe(error), "kind": type(error).__name__, "attributes": attributes}
    return members_without_secrets(members if remedy is None else {**members, "remedy": remedy})


def report_failure(error: BaseException, subject: str = "") -> dict[str, Any]:
    """
    Report the error of one of several things that a run does; return its JSON members.

    The report is a line on standard error that names the *subject*. With ``--json``
    there is no line, and the caller puts the members into the document.
    """
    members = error_members(error)
    if subject and not (isinstance(error, OSError) and error.filename is not None):
        members["error"] = f"{subject}: {members['error']}"
    if not output().as_json:
        report_error(members["error"])
    return members


def each_of(
    subjects: Sequence[_Subject], act: Callable[[_Subject], dict[str, Any]]
) -> tuple[list[dict[str, Any]], int]:
    """
    Do *act* for each of *subjects*; return the JSON members and the exit status.

    Of several, one that fails is reported and keeps no other from being done. The
    failure of a single one is raised.
    """
    if len(subjects) == 1:
        return [act(subjects[0])], 0
    done, status = [], 0
    for subject in subjects:
        try:
            done.append(act(subject))
        except (CrlCheckError, OSError, ValueError) as error:
            done.append({"source": without_secrets(str(subject)), **report_failure(error)})
            status = EXIT_FAILED
    return done, status


def warn(message: str) -> None:
    """Write what the user should know to standard error as one line, but not in a quiet run."""
    if not output().quiet:
        report_error(message)


def report_error(message: str) -> None:
    """Write *message* to standard error as one line; where that fails, say nothing."""
    report_lines(f"crlcheck: {one_line(message)}")


def report_lines(text: str) -> None:
    """Write *text* to standard error line by line; where that fails, say nothing."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            for line in without_secrets(text).rstrip("\n").split("\n"):
                print(printable(line), file=sys.stderr, flush=True)


def say_json(value: object) -> None:
    """Write *value* as one JSON document."""
    output().answered = True
    _write(_json_text(value), "\n")


class JsonArray:
    """
    Collects the members of an array of the JSON document, of which there may be millions.

    Beyond some megabytes they are kept on the disk. Without ``--json`` nothing is kept.
    """

    _MEMORY = 16 << 20

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - ``close`` does
            self._MEMORY, "w+", encoding="ascii"
        )

    def close(self) -> None:
        """Forget the members."""
        self._file.close()

    def add(self, member: object) -> None:
        """Add a member at the end."""
        if output().as_json:
            before = ",\n" if self._file.tell() else "\n"
            self._file.write(before + textwrap.indent(_json_text(member), "    "))

    def answer(self, name: str, members: Mapping[str, object]) -> None:
        """Give the run's document: *members*, and under *name* this array."""
        if not output().as_json:
            return
        output().answered = True
        end = "\n  ]\n}" if self._file.tell() else "]\n}"
        _write(_json_text(dict(members)).removesuffix("\n}"), f',\n  "{name}": [')
        self._file.seek(0)
        while chunk := self._file.read(1 << 16):
            _write(chunk)
        _write(end, "\n")


def _write(*texts: str) -> None:
    if sys.stdout is not None:
        sys.stdout.writelines(texts)


def _json_text(value: object) -> str:
    # JSON escapes every control and direction character but DEL, which is ASCII.
    return json.dumps(_strict(value), indent=2, allow_nan=False).replace("\x7f", "\\u007f")


def _strict(value: object) -> object:
    """Return *value* with escapes for lone surrogates, which not every JSON reader takes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_strict(name): _strict(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(member) for member in value]
    return value


class LogLines(logging.Handler):
    """Writes the log records that the run shows to standard error, as ``report_error`` does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message of one record."""
        if output().shows_log(record.name, record.levelno):
            report_error(record.getMessage())


@contextlib.contextmanager
def not_logged(message: str) -> Iterator[None]:
    """Leave out the log records with this message: what they tell of is an error besides."""

    def is_other(record: logging.LogRecord) -> bool:
        return record.msg != message

    logger = logging.getLogger("crlcheck")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def set_log_level() -> None:
    """Let crlcheck log as much as this run shows."""
    logging.getLogger("crlcheck").setLevel(library_level(output()))


def one_line(message: str) -> str:
    """Return *message* on one line, with unprintable characters escaped."""
    return printable(" ".join(message.split()))
