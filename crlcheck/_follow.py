"""
Keeping up with a store: when it is asked, what becomes of its failures, and how
long a set may be answered from.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta

from crlcheck._images import ImageCache, retry_due
from crlcheck._snapshot import Snapshot, Trust, snapshot_of_catalog
from crlcheck.catalog import CATALOG_NAME, Catalog
from crlcheck.errors import CrlCheckError, StoreUnavailableError
from crlcheck.stores import ObjectStore
from crlcheck.types import Freshness

LOG = logging.getLogger("crlcheck")

BACKGROUND_SECONDS = 10.0
"""How often a background refresh asks where no other time is set."""

# From so many failures in a row on, the store is left alone for a while, which
# grows up to a minute: each of them may have cost a request the whole time limit.
_FAILURES_BEFORE_PAUSE = 3
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 60.0

# More images than these are partitions, of which a request needs few.
_MAX_PRELOADED = 16


class FixedSet:
    """A snapshot that stays: indexes handed over. The counterpart of FollowedSet."""

    confirmed_at: datetime | None = None
    error: str | None = None

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot: Snapshot | None = snapshot

    def current(self) -> Snapshot | None:
        """Return the snapshot."""
        return self.snapshot

    def why_none(self) -> str:
        """Never asked: there is a snapshot."""
        raise AssertionError("a fixed set is never missing")

    def freshness(self) -> Freshness:
        """Nothing to keep up with."""
        return Freshness()

    def refresh(self) -> bool:
        """Return False: there is nothing newer to take."""
        return False

    def preload(self) -> None:
        """Do nothing: indexes that are handed over are open."""

    def close(self) -> None:
        """Do nothing: the indexes are the caller's to close."""


class FollowedSet:
    """
    The published set of a store, kept up to date by conditional GETs.

    ``snapshot`` is the last good one, None before there was one;
    ``confirmed_at`` is when the store last said that it is current, ``error``
    why a later attempt failed.

    max_age: a set whose catalog was not read in full for so long is not answered
        from. As "not modified" may be said for ever by mistake, it is read
        without a condition once half of that time has passed.
    background: a thread asks instead of the checks.
    """

    def __init__(
        self,
        store: ObjectStore,
        trust: Trust,
        *,
        refresh_after: timedelta,
        clock: Callable[[], datetime],
        image_memory: int,
        max_age: timedelta | None = None,
        background: bool = False,
    ) -> None:
        self.snapshot: Snapshot | None = None
        self.confirmed_at: datetime | None = None
        self.error: str | None = None
        self._store = store
        self._trust = trust
        self._image_memory = image_memory
        self._cache = ImageCache(image_memory)
        self._refresh_after = refresh_after
        self._clock = clock
        self._max_age = max_age
        self._lock = threading.Lock()
        self._num_polls = 0
        self._num_failed_polls = 0
        self._failures_in_a_row = 0
        self._last_poll_seconds: float | None = None
        self._polled_at: datetime | None = None
        # When the catalog was read in full, by the clock and by the monotonic one.
        self._read_at: tuple[datetime, float] | None = None
        # By the monotonic clock: until when the store is left alone.
        self._paused_until = 0.0
        # The etag of a catalog that could not be used, and when that was found.
        self._refused: tuple[str, float] | None = None
        self._background = background
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stop = threading.Event()
        _ALL.add(self)

    # ---- what to answer from -------------------------------------------------

    def current(self) -> Snapshot | None:
        """Return the set to answer from, after asking the store where that is due."""
        if self._background and self._thread is None:
            self._start()
        if self.snapshot is None or (not self._background and self._is_due()):
            self._ask()
        snapshot = self.snapshot
        if snapshot is not None and self._max_age is not None and self._age() > self._max_age:
            return None
        return snapshot

    def why_none(self) -> str:
        """Say why there is no set to answer from."""
        if self.snapshot is None:
            return f"no published set could be read: {self.error}"
        reason = f"the published set was last read {_whole(self._age())} ago, which is too long"
        return reason if self.error is None else f"{reason}: {self.error}"

    def freshness(self) -> Freshness:
        """Return how well the store is kept up with."""
        return Freshness(
            None if self._read_at is None else self._age(),
            self._num_polls,
            self._num_failed_polls,
            self._last_poll_seconds,
        )

    def preload(self) -> None:
        """Read the set and load its images as far as they fit; what fails is tried at need."""
        snapshot = self.current()
        if snapshot is None:
            return
        room = self._image_memory
        for _, image in zip(range(_MAX_PRELOADED), snapshot.all_images(), strict=False):
            room -= image.size
            if room < 0:
                return
            try:
                image.index()
            except (CrlCheckError, OSError) as error:
                LOG.warning("%s: image not loaded ahead: %s", self._store.url, error)

    def _age(self) -> timedelta:
        """Return how long ago the catalog was read in full."""
        assert self._read_at is not None, "there is a snapshot"
        read_at, monotonic = self._read_at
        # A clock that was set back must not make it younger, nor a machine that slept.
        by_monotonic = timedelta(seconds=time.monotonic() - monotonic)
        return max(self._clock() - read_at, by_monotonic)

    # ---- asking --------------------------------------------------------------

    def refresh(self) -> bool:
        """
        Ask the store now; return whether a newer set was taken.

        Raises:
            StoreError: the store does not answer, or its catalog is refused.
            IndexFileError: an image in use has a successor that is refused.
            FileNotFoundError: the catalog or such a successor is missing.
        """
        with self._lock:
            self._refused = None
            self._failures_in_a_row, self._paused_until = 0, 0.0
            return self._poll()

    def _ask(self) -> None:
        """
        Ask unless another thread does: who has something to answer from does not
        wait for it, and who had to wait takes what came of it.
        """
        if time.monotonic() < self._paused_until:
            return
        num_polls = self._num_polls
        lock = self._lock
        if lock.acquire(blocking=self.snapshot is None):
            try:
                if num_polls == self._num_polls:
                    self._poll()
            except (CrlCheckError, OSError):
                pass  # It is in ``error``, and what is held keeps answering.
            finally:
                lock.release()

    def _is_due(self) -> bool:
        if self._polled_at is None or not self._refresh_after:
            return True
        elapsed = self._clock() - self._polled_at
        # A clock that was set back must not keep the store from being asked.
        return not timedelta(0) <= elapsed < self._refresh_after

    def _poll(self) -> bool:
        """Ask the store and take a newer set over; the caller holds the lock."""
        self._polled_at = now = self._clock()
        held = self.snapshot
        started = time.monotonic()
        try:
            newer = self._read_newer(held, now)
        except (CrlCheckError, OSError) as error:
            self._note_failure(error, held)
            raise
        finally:
            self._last_poll_seconds = time.monotonic() - started
            self._num_polls += 1
        self._failures_in_a_row = 0
        if self._refused is None:
            self.confirmed_at, self.error = now, None
        if newer is None:
            return False
        self.snapshot = newer
        return held is None or newer.catalog is not held.catalog

    def _note_failure(self, error: Exception, held: Snapshot | None) -> None:
        self.error = str(error)
        self._num_failed_polls += 1
        self._failures_in_a_row += 1
        too_many = self._failures_in_a_row - _FAILURES_BEFORE_PAUSE
        if too_many >= 0:
            pause = min(_FIRST_PAUSE * 2 ** min(too_many, 10), _LONGEST_PAUSE)
            self._paused_until = time.monotonic() + pause
        if held is not None and held.catalog is not None:
            LOG.warning(
                "%s: generation %d, read %s ago, stays in use: %s",
                self._store.url,
                held.catalog.generation,
                _whole(self._age()),
                error,
            )

    def _read_newer(self, held: Snapshot | None, now: datetime) -> Snapshot | None:
        etag = None if held is None else held.etag
        if self._refused is not None:
            # It is not read again at every check: as long as it stays, the refusal does.
            if retry_due(self._refused[1]):
                self._refused = None
            else:
                etag = self._refused[0]
        if held is not None and self._max_age is not None and self._age() > self._max_age / 2:
            etag = None
        read_at = now, time.monotonic()
        stored = self._store.read_if_changed(CATALOG_NAME, etag)
        if stored is None:
            return None
        self._refused = None
        try:
            catalog = Catalog.from_bytes(stored.body)
            snapshot = snapshot_of_catalog(
                catalog, stored.etag, self._store, self._trust, held, self._cache
            )
        except StoreUnavailableError:
            raise
        except (CrlCheckError, OSError):
            self._refused = stored.etag, time.monotonic()
            raise
        self._cache.keep_only(snapshot.all_images())
        self._read_at = read_at
        return snapshot

    # ---- in the background ---------------------------------------------------

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._stop.is_set():
                seconds = self._refresh_after.total_seconds() or BACKGROUND_SECONDS
                self._thread = threading.Thread(
                    target=_ask_regularly,
                    args=(weakref.ref(self), self._stop, seconds),
                    name="crlcheck refresh",
                    daemon=True,
                )
                self._thread.start()

    def close(self) -> None:
        """End the background refresh."""
        self._stop.set()

    def after_fork(self) -> None:
        """Make a child's copy usable: threads are gone, and whoever held a lock with them."""
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._thread = None
        stopped = self._stop.is_set()
        self._stop = threading.Event()
        if stopped:
            self._stop.set()
        self._cache.after_fork()
        if self.snapshot is not None:
            for image in self.snapshot.all_images():
                image.after_fork()


def _ask_regularly(
    followed: weakref.ref[FollowedSet], stop: threading.Event, seconds: float
) -> None:
    """Ask every so many seconds, as long as anybody holds the set."""
    while not stop.wait(seconds):
        held = followed()
        if held is None:
            return
        held._ask()
        del held


def _whole(age: timedelta) -> timedelta:
    return timedelta(seconds=int(age.total_seconds()))


_ALL: weakref.WeakSet[FollowedSet] = weakref.WeakSet()


def _after_fork() -> None:
    for followed in list(_ALL):
        followed.after_fork()


os.register_at_fork(after_in_child=_after_fork)
