"""
A thread that asks a store at regular times, in place of the checks.

Nothing that a poll raises ends it. Should it end all the same, or could it not be
started, the next check finds that out and starts it again.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Protocol

LOG = logging.getLogger("crlcheck")

_RESTART_SECONDS = 1.0
"""How long after one attempt to start the thread the next one comes at the earliest."""


class Asker(Protocol):
    """What the thread works for."""

    def ask_regularly(self) -> float:
        """Ask once; return after how many seconds to ask again."""

    def note_failed_thread(self, error: BaseException) -> None:
        """Count and tell what no poll has told, raised in the thread or by its end."""


class Refresher:
    """
    Keeps a thread running for an Asker, as long as that is used by anybody.

    ``trouble`` says why there is no thread although there should be one, else None.
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
        """Whether there was a thread in this process that lives no longer."""
        return self._thread is not None and not self._thread.is_alive()

    def ensure_running(self, asker: Asker) -> None:
        """Start the thread unless it runs; after an attempt that failed, not again at once."""
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
            # "can't start new thread", or the interpreter is about to end. The checks ask.
            is_new = self.trouble is None
            self.trouble = f"the background refresh was not started: {error}"
            if is_new:
                LOG.warning("%s; the checks ask themselves meanwhile", self.trouble)
            return
        self._thread = thread
        self.trouble = None

    def stop(self) -> None:
        """End the thread after what it is doing, for good."""
        self._stop.set()

    def after_fork(self) -> None:
        """Make a child's copy usable: the thread is the parent's, and so are the locks."""
        self._starting = threading.Lock()
        self._thread = None
        self._started_at = None
        stopped = self._stop.is_set()
        self._stop = threading.Event()
        if stopped:
            self._stop.set()


def _run(asker: weakref.ref[Asker], stop: threading.Event, seconds: float) -> None:
    """Ask every so many seconds, as long as anybody holds the asker."""
    while not stop.wait(seconds):
        held = asker()
        if held is None:
            return
        try:
            seconds = held.ask_regularly()
        except BaseException as error:  # noqa: BLE001 - SystemExit would end it without a word
            held.note_failed_thread(error)
        del held
