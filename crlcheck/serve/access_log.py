"""
Log each decision as a line of JSON, without ever waiting for the log.

Lines are put into a queue, which a thread empties. Where the destination is slow, full or
broken the queue fills, and further lines are left out and counted: a decision neither waits for
its line nor depends on it.

A line has no certificate and no name of one. What a client may choose, the path and the
method, is shortened, and written as JSON in ASCII, so that it neither ends the line nor
changes what a terminal shows.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from crlcheck.access import Decision

LOG = logging.getLogger("crlcheck.serve")

STDOUT = "-"
"""The name of the standard output as a destination."""

MAX_WAITING = 10_000
"""So many lines wait for the destination at most, some 4 MB of the access log."""

# A path is cut off here, and so is a method.
_LONGEST_PATH = 256
_LONGEST_METHOD = 16
# A pipe takes so many bytes as a whole (PIPE_BUF), so lines of several workers do not mix.
_AT_ONCE = 4096
# In seconds: how often a path is looked up again, because the file may have been rotated, and
# how long a destination that failed is left alone.
_PAUSE = 1.0


_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


def access_line(
    decision: Decision,
    word: str,
    *,
    method: str,
    path: str,
    worker: int,
    at: datetime,
) -> bytes:
    """
    Return the line of one decision.

    *word* is what the request gets: "allow", "observe" or "deny". ``verdict`` is that of the
    certificate, None where none was checked; the serial number is in hex. The CRL number is
    text, because it may exceed what JSON readers keep exactly.
    """
    result = decision.result
    serial = None if result is None else result.serial_number
    crl_number = None if result is None else result.crl_number
    members = {
        "time": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "method": _text(method, _LONGEST_METHOD),
        "path": _text(path, _LONGEST_PATH),
        "decision": word,
        "verdict": None if result is None else result.status.value,
        "cause": decision.cause,
        "serial_number": None if serial is None else f"{serial:x}",
        "crl_number": None if crl_number is None else str(crl_number),
        "seconds": round(decision.seconds, 6),
        "worker": worker,
    }
    return _ENCODE(members).encode("ascii") + b"\n"


def _text(value: str, longest: int) -> str:
    """Return the beginning of a text, without halves of characters, which are no JSON."""
    return value[:longest].encode("utf-8", "replace").decode("utf-8")


class LineWriter:
    """
    Writes lines to a file, or to an open one, in a thread of its own.

    *destination* is ``"-"`` for the standard output, a path, or the number of an open file. A
    file that is not there, or not any more, is made, so that it may be rotated by renaming it.
    *note_unwritten* is told how many lines were left out.
    """

    def __init__(self, destination: str | int, note_unwritten: Callable[[int], None]) -> None:
        self._path = Path(destination) if isinstance(destination, str) else None
        self._open_file = destination if isinstance(destination, int) else 1
        if destination == STDOUT:
            self._path = None
        self._note_unwritten = note_unwritten
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Of these only the thread knows. A line is held that did not fit the last time.
        self._held = b""
        self._file: int | None = None
        self._looked_at = 0.0
        self._failed_at: float | None = None
        self._is_within_line = False
        # A daemon: a destination that hangs does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="crlcheck-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Hand over a line, with its end. This never waits."""
        if self._waiting.qsize() >= MAX_WAITING:
            self._note_unwritten(1)
        else:
            self._waiting.put(line)

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits, if that takes no longer than this, and end."""
        self._waiting.put(None)
        self._thread.join(seconds)

    # ---- in the thread -----------------------------------------------------------

    def _run(self) -> None:
        is_open = True
        while is_open:
            lines, is_open = self._take()
            if lines:
                self._write(lines)
        self._close()

    def _take(self) -> tuple[bytes, bool]:
        """Wait for lines; return as many as are written at once, and whether more may come."""
        lines = self._held or self._waiting.get()
        self._held = b""
        if lines is None:
            return b"", False
        while True:
            try:
                one = self._waiting.get_nowait()
            except queue.Empty:
                return lines, True
            if one is None:
                return lines, False
            if len(lines) + len(one) > _AT_ONCE:
                self._held = one
                return lines, True
            lines += one

    def _write(self, lines: bytes) -> None:
        """Write some lines, or count those that cannot be written."""
        failed_at = self._failed_at
        if failed_at is not None and time.monotonic() - failed_at < _PAUSE:
            self._note_unwritten(lines.count(b"\n"))
            return
        try:
            file = self._opened()
            if self._is_within_line:
                lines = b"\n" + lines
            while lines:
                lines = self._write_some(file, lines)
        except OSError as error:
            self._note_unwritten(lines.count(b"\n"))
            if failed_at is None:
                where = self._path or f"the open file {self._open_file}"
                LOG.warning("log lines cannot be written to %s: %s", where, error.strerror)
            self._failed_at = time.monotonic()
            self._close()
        else:
            self._failed_at = None

    def _write_some(self, file: int, lines: bytes) -> bytes:
        """Write what the file takes at once; return the rest."""
        try:
            written = os.write(file, lines)
        except BlockingIOError:  # whoever opened it does not want to wait, but this thread does
            select.select([], [file], [], 1.0)
            return lines
        self._is_within_line = lines[written - 1 : written] != b"\n"
        return lines[written:]

    def _opened(self) -> int:
        """Return the file to write to: another one where the path leads to another now."""
        if self._path is None:
            return self._open_file
        now = time.monotonic()
        if self._file is not None and now - self._looked_at >= _PAUSE:
            self._looked_at = now
            if not self._is_at(self._path, self._file):
                self._close()
                self._is_within_line = False
        if self._file is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o640)
        return self._file

    @staticmethod
    def _is_at(path: Path, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), path.stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = None
