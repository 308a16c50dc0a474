"""
Run a thread that asks a store at regular times, in place of the checks.

No exception of a poll ends the thread. If it ends all the same, or could not be
started, the next check starts it again.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Protocol

LOG = logging.getLogger("crlcheck")

_RESTART_SECONDS = 1.0
"""The shortest time between two attempts to start the thread."""


class Asker(Protocol):
    """The object whose method the thread calls."""

    def ask_regularly(self) -> float:
        """Ask once; return after how many seconds to ask again."""

    def note_failed_thread(self, error: BaseException) -> None:
        """Count and log a failure in the thread outside of any poll, or its end."""


class Refresher:
    """
    Keeps a thread running for an Asker, as long as anything refers to that.

    ``trouble`` is why the thread could not be started, else None.
    """

    def __init__(self, seconds: float) -> None:
        self.trouble: str | None = None
        self._seconds = seconds
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._started_at: float | None = None

    def is_running(self) -> bool:
        """Whether the thread of this process lives."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def has_ended(self) -> bool:
        """Whether a thread of this process has ended."""
        return self._thread is not None and not self._thread.is_alive()

    def ensure_running(self, asker: Asker) -> None:
        """Start the thread unless it runs, or the last attempt was a moment ago."""
        if self.is_running() or not self._starting.acquire(blocking=False):
            return
        try:
            if self.is_running() or self._stop.is_set() or not self._may_start():
                return
            if self.has_ended():
                self._thread = None
                asker.note_failed_thread(RuntimeError("the background refresh ended"))
            self._start(asker)
        finally:
            self._starting.release()

    def _may_start(self) -> bool:
        started_at = self._started_at
        return started_at is None or time.monotonic() - started_at >= _RESTART_SECONDS

    def _start(self, asker: Asker) -> None:
        self._started_at = time.monotonic()
        thread = threading.Thread(
            target=_run,
            args=(weakref.ref(asker), self._stop, self._seconds),
            name="crlcheck refresh",
            daemon=True,
        )
        try:
            thread.start()
        except (RuntimeError, MemoryError, OSError) as error:
            # "can't start new thread", or the interpreter is about to end: the checks ask.
            is_new = self.trouble is None
            self.trouble = f"the background refresh was not started: {error}"
            if is_new:
                LOG.warning("%s; the checks ask themselves meanwhile", self.trouble)
            return
        self._thread = thread
        self.trouble = None

    def stop(self) -> None:
        """End the thread after its current poll, for good."""
        self._stop.set()

    def after_fork(self) -> None:
        """Make a child's copy usable: the thread and the locks are the parent's."""
        self._starting = threading.Lock()
        self._thread = None
        self._started_at = None
        stopped = self._stop.is_set()
        self._stop = threading.Event()
        if stopped:
            self._stop.set()


def _run(asker: weakref.ref[Asker], stop: threading.Event, seconds: float) -> None:
    """Ask at regular times, as long as anything refers to the asker."""
    while not stop.wait(seconds):
        alive = asker()
        if alive is None:
            return
        try:
            seconds = alive.ask_regularly()
        except BaseException as error:  # noqa: BLE001 - SystemExit would end it without a word
            alive.note_failed_thread(error)
        del alive
