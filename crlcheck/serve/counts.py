"""
Count decisions over all workers, in a file that each of them maps.

A worker has a row of its own in the file, which it alone writes. Whoever tells the counts adds
the rows up, so that it makes no difference which worker is asked. A lock says that a row is in
use; the system takes it away when the worker ends, however it ends. The counts stay, and the
next worker takes the row over and goes on counting. So no count ever falls, and the file does
not grow.

The file is made for one run of the service and is never read by a later one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from crlcheck.access import CAUSES

LOG = logging.getLogger("crlcheck.serve")

DECISIONS = ("allow", "observe", "deny")
"""What a request gets: OBSERVE passes although it is not allowed."""

OTHER = "other"
"""What is counted in place of a cause that is not one of ``CAUSES``."""

BOUNDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""The upper bounds of the histogram's buckets in seconds, except the last one's."""

OCSP_OUTCOMES = (
    *("good", "revoked", "unknown"),
    *("malformed_request", "internal_error", "try_later", "unauthorized"),
)
"""What OCSP requests may be answered."""

MAX_ROWS = 1024
"""As many workers count at a time: those of before a change of settings and those after it."""

_CAUSES = (*CAUSES, OTHER)
_PLACES = {
    (cause, decision): place
    for place, (cause, decision) in enumerate(
        (cause, decision) for cause in _CAUSES for decision in DECISIONS
    )
}
_BUCKETS = len(_PLACES)
_NANOSECONDS = _BUCKETS + len(BOUNDS) + 1
_UNLOGGED = _NANOSECONDS + 1
_OCSP = _UNLOGGED + 1
# What a worker says of its set from time to time, and when, by the clock that all processes
# share: 0 where it said nothing yet.
_NOTED_AT = _OCSP + len(OCSP_OUTCOMES)
_GENERATION = _NOTED_AT + 1
_SET_AGE = _GENERATION + 1
_IMAGE_BYTES = _SET_AGE + 1
_NUM_VALUES = _IMAGE_BYTES + 1

_NONE = (1 << 64) - 1
_WIDTH = 8  # bytes of a value
# Rows begin at lines of the processor's cache, or workers would slow each other down.
_ROW_SIZE = -(-_NUM_VALUES * _WIDTH // 64) * 64
# A worker of another version, started after an upgrade, has a file of its own.
_NAME = f"counts-{hashlib.sha256(repr((_PLACES, BOUNDS, _NUM_VALUES)).encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """
    What a worker that runs said last of its set.

    ``silent_for`` is how long ago that was: a worker speaks every few seconds. ``set_age`` is
    the time since the store was last read in full, up to now; None before that.
    """

    silent_for: timedelta
    generation: int | None
    set_age: timedelta | None
    image_bytes: int


@dataclass(frozen=True, slots=True)
class Totals:
    """
    The counts of all workers since the service began.

    ``decisions`` has those of each cause and decision, ``buckets`` the checks up to each of
    ``BOUNDS`` and above the last, and ``seconds`` the time that all took. ``num_unlogged``
    counts the lines that the access log could not take. ``workers`` are those that run, and
    ``ocsp`` has the answers to OCSP requests by their outcome.
    """

    decisions: Mapping[tuple[str, str], int]
    buckets: tuple[int, ...]
    seconds: float
    num_unlogged: int
    workers: tuple[WorkerState, ...] = field(default=())
    ocsp: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_checks(self) -> int:
        """How many checks were measured."""
        return sum(self.buckets)

    def quantile(self, part: float) -> float | None:
        """
        Return a time in which this part of all checks ended, in seconds.

        It is the bound of a bucket. None where there was no check, infinity where the bound
        is above the last.
        """
        left = part * self.num_checks
        if not left:
            return None
        for bound, number in zip(BOUNDS, self.buckets, strict=False):
            left -= number
            if left <= 0:
                return bound
        return float("inf")


class Counts:
    """
    The counts of one worker, and what all of them add up to.

    *directory* is the same for all workers and nobody else's. A process makes only one of
    these, because the locks on rows are those of a process.

    Where the file cannot be made, they are in memory, and those of this worker alone.

    Raises:
        OSError: there is no memory for it.
        RuntimeError: as many workers as there are rows are running.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        size = MAX_ROWS * _ROW_SIZE
        # It stays open: the lock is on this file, and ends when the process closes it.
        try:
            self._file = _opened(directory / _NAME, size)
        except OSError as error:  # a full disk must not keep a worker from its requests
            LOG.error("%s: this worker counts for itself: %s", directory, error)
            self._file = os.memfd_create(_NAME)
            os.truncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._values = memoryview(self._map).cast("Q")
        self._row = self._claim()
        self._start = self._row * _ROW_SIZE // _WIDTH
        self._values[self._start + _NOTED_AT] = 0

    def close(self) -> None:
        """Leave the row to the next worker."""
        self._values.release()
        self._map.close()
        os.close(self._file)

    # ---- counting ----------------------------------------------------------------

    def note_decision(self, cause: str, decision: str, seconds: float) -> None:
        """Count a decision, and how long it took. A cause that is not known counts as OTHER."""
        place = _PLACES.get((cause, decision), _PLACES[OTHER, decision])
        with self._lock:
            self._add(place, 1)
            self._add(_BUCKETS + bisect_left(BOUNDS, seconds), 1)
            self._add(_NANOSECONDS, max(0, int(seconds * 1e9)))

    def note_ocsp(self, outcome: str) -> None:
        """Count an answer to an OCSP request."""
        with self._lock:
            self._add(_OCSP + OCSP_OUTCOMES.index(outcome), 1)

    def note_unlogged(self, number: int) -> None:
        """Count lines that the access log could not take."""
        with self._lock:
            self._add(_UNLOGGED, number)

    def note_set(self, generation: int | None, set_age: timedelta | None, image_bytes: int) -> None:
        """Say of the worker's set what holds now."""
        age = None if set_age is None else int(set_age.total_seconds() * 1e9)
        values = (time.monotonic_ns(), *map(_stored, (generation, age, image_bytes)))
        with self._lock:
            for place, value in enumerate(values, self._start + _NOTED_AT):
                self._values[place] = value

    def _add(self, place: int, number: int) -> None:
        self._values[self._start + place] += number

    # ---- adding up ---------------------------------------------------------------

    def totals(self) -> Totals:
        """Return the counts of all workers, those that have ended too."""
        sums = [0] * _NOTED_AT
        workers = []
        for row in range(MAX_ROWS):
            start = row * _ROW_SIZE // _WIDTH
            values = self._values[start : start + _NUM_VALUES].tolist()
            if any(values):
                sums = [one + value for one, value in zip(sums, values, strict=False)]
                if values[_NOTED_AT] and self._is_used(row):
                    workers.append(_state_of(values))
        return Totals(
            {key: sums[place] for key, place in _PLACES.items() if sums[place]},
            tuple(sums[_BUCKETS:_NANOSECONDS]),
            sums[_NANOSECONDS] / 1e9,
            sums[_UNLOGGED],
            tuple(workers),
            {
                one: sums[_OCSP + place]
                for place, one in enumerate(OCSP_OUTCOMES)
                if sums[_OCSP + place]
            },
        )

    # ---- rows --------------------------------------------------------------------

    def _claim(self) -> int:
        for row in range(MAX_ROWS):
            if self._take(row):
                return row
        raise RuntimeError(f"{MAX_ROWS} workers count already, and there are no more rows")

    def _is_used(self, row: int) -> bool:
        if row == self._row:
            return True
        is_free = self._take(row)
        if is_free:
            # A worker that begins just now takes another row.
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, row)
        return not is_free

    def _take(self, row: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except (BlockingIOError, PermissionError):
            return False
        return True


def _opened(path: Path, size: int) -> int:
    """
    Return the file, which the first worker makes.

    It has all its bytes before it has its name: a disk that is full is an error here, rather
    than the end of a process that writes to the mapped file.
    """
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent) as made:
            made.write(bytes(size))
            made.flush()
            with contextlib.suppress(FileExistsError):  # another worker came first
                os.link(made.name, path)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _state_of(values: list[int]) -> WorkerState:
    silent = max(0, time.monotonic_ns() - values[_NOTED_AT])
    generation, age = values[_GENERATION], values[_SET_AGE]
    return WorkerState(
        timedelta(microseconds=silent // 1000),
        None if generation == _NONE else generation,
        # It ages on, while nothing is heard of the worker.
        None if age == _NONE else timedelta(microseconds=(age + silent) // 1000),
        values[_IMAGE_BYTES],
    )


def _stored(value: int | None) -> int:
    return _NONE if value is None else min(max(value, 0), _NONE - 1)
