"""Take note of each decision: count it over all workers, and log it as a line of JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from crlcheck.access import Decision
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import IndexClosedError
from crlcheck.serve.access_log import LineWriter, access_line
from crlcheck.serve.counts import Counts

LOG = logging.getLogger("crlcheck.serve")

# In seconds. So often a worker says what set it has.
_INTERVAL = 2.0

_STDERR = 2


class Recorder:
    """
    What one worker takes note of.

    *directory* is that of all workers. *destination* is where the access log goes, None for
    none. *worker* is the number of this one.

    Raises:
        OSError, RuntimeError: as ``Counts``.
    """

    def __init__(self, directory: Path, destination: str | None, worker: int) -> None:
        self.counts = Counts(directory)
        self._worker = worker
        self._log: LineWriter | None = None
        if destination is not None:
            self._log = LineWriter(destination, self.counts.note_unlogged)

    def close(self) -> None:
        """Write what waits for the log."""
        if self._log is not None:
            self._log.close()

    def record(self, decision: Decision, word: str, method: str, path: str) -> None:
        """Take note of a decision. This neither waits nor fails."""
        try:
            self._record(decision, word, method, path)
        except Exception as error:  # noqa: BLE001 - the decision stands, noted or not
            LOG.error("a decision was not noted: %s", type(error).__name__)

    def _record(self, decision: Decision, word: str, method: str, path: str) -> None:
        self.counts.note_decision(decision.cause, word, decision.seconds)
        if self._log is not None:
            line = access_line(
                decision,
                word,
                method=method,
                path=path,
                worker=self._worker,
                at=datetime.now(UTC),
            )
            self._log.put(line)

    def note_set(self, checker: RevocationChecker) -> None:
        """Say what set the worker has now."""
        age = checker.freshness().catalog_age
        self.counts.note_set(checker.generation, age, checker.image_bytes)

    async def keep_noting(self, checker: RevocationChecker) -> None:
        """Say every few seconds what set the worker has, until the checker is closed."""
        while True:
            try:
                self.note_set(checker)
            except IndexClosedError:
                return
            await asyncio.sleep(_INTERVAL)

    @contextmanager
    def messages(self) -> Iterator[None]:
        """
        Have messages for the standard error written by a thread.

        Every denial is such a message, and where nobody reads the standard error, a decision
        would wait for it.
        """
        root = logging.getLogger()
        old = list(root.handlers)
        writer = LineWriter(_STDERR, self.counts.note_unlogged)
        root.handlers[:] = [
            _Messages(one, writer) if isinstance(one, logging.StreamHandler) else one for one in old
        ]
        try:
            yield
        finally:
            root.handlers[:] = old
            writer.close()


class _Messages(logging.Handler):
    """Hands messages over as lines, which it makes as the handler did whose place it takes."""

    def __init__(self, instead_of: logging.Handler, writer: LineWriter) -> None:
        super().__init__(instead_of.level)
        self.setFormatter(instead_of.formatter)
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a message over."""
        try:
            self._writer.put(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)
