"""
Poll a store's catalog and keep the last good set in use.

When the store is asked, what becomes of its failures and of catalogs that are
refused, and how long a set may be answered from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from crlcheck._images import ImageCache, retry_due
from crlcheck._moment import Moment
from crlcheck._refresher import Refresher
from crlcheck._snapshot import Snapshot, Trust, denials_of, snapshot_of_catalog
from crlcheck.catalog import CATALOG_NAME, Catalog
from crlcheck.errors import CatalogRollbackError, CrlCheckError, StoreUnavailableError
from crlcheck.stores import ObjectStore
from crlcheck.types import Freshness, ProblemKind, StatusProblem

LOG = logging.getLogger("crlcheck")

BACKGROUND_SECONDS = 10.0
"""How often a background refresh asks where no other time is set."""

# From so many failures in a row on, the store is left alone for a while, which
# grows up to a minute: each of them may have cost a request the whole time limit.
_FAILURES_BEFORE_PAUSE = 3
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 60.0

# What is asked for no more often than that is asked for never; timers count so far.
_LONGEST_INTERVAL = timedelta(days=36_525)

# How long after a failure the background refresh tries again, where it is not due sooner.
_RETRY_SECONDS = 1.0

# How long one thread waits at most for another's poll, where it has nothing to answer
# from or was told to ask now.
_LONGEST_WAIT = 10.0

# A poll that has taken so long is told of: a store's methods are to have time limits.
_HANGING_SECONDS = 30.0

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

    def problems(self) -> list[StatusProblem]:
        """Nothing that can fail."""
        return []

    def refresh(self) -> bool:
        """Return False: there is nothing newer to take."""
        return False

    def preload(self) -> None:
        """Do nothing: indexes that are handed over are open."""

    def close(self) -> None:
        """Do nothing: the indexes are the caller's to close."""


@dataclass(frozen=True, slots=True)
class _Held:
    """
    What is answered from: a snapshot, and when its catalog was read in full.

    ``refused`` is a catalog that the store had since and that does not take its
    place: the denials in it count beside the snapshot's own, which only adds safety.
    """

    snapshot: Snapshot
    read_at: Moment
    refused: Catalog | None = None

    def beside(self, refused: Catalog | None) -> _Held:
        """Return the same with the denials of another refused catalog, or of none."""
        assert self.snapshot.catalog is not None, "it was read from a store"
        catalogs = [self.snapshot.catalog] if refused is None else [self.snapshot.catalog, refused]
        snapshot = dataclasses.replace(self.snapshot, denied=denials_of(catalogs))
        return dataclasses.replace(self, snapshot=snapshot, refused=refused)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A catalog of the store that could not be taken: its etag, when that was found, and why."""

    etag: str
    at: Moment
    error: BaseException


class FollowedSet:
    """
    The published set of a store, kept up to date by conditional GETs.

    ``confirmed_at`` is when the store last said that what is held is current,
    ``error`` why a later attempt failed.

    max_age: a set whose catalog was not read in full for so long is not answered
        from. As "not modified" may be said for ever by mistake, it is read
        without a condition once half of that time has passed.
    background: a thread asks instead of the checks. A check asks all the same
        where the thread is overdue or there is none, as after a fork, after the
        process or its machine stood still, or where no thread can be had.
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
        self.confirmed_at: datetime | None = None
        self.error: str | None = None
        self._store = store
        self._trust = trust
        self._image_memory = image_memory
        self._cache = ImageCache(image_memory)
        self._clock = clock
        self._max_age = max_age
        # None before there is one. It is replaced as a whole, as a fork may come at any time.
        self._held: _Held | None = None
        self._refusal: _Refusal | None = None
        refresh_after = min(refresh_after, _LONGEST_INTERVAL)
        self._interval = refresh_after
        self._refresher: Refresher | None = None
        if background:
            self._interval = refresh_after or timedelta(seconds=BACKGROUND_SECONDS)
            self._refresher = Refresher(self._interval.total_seconds())
        # How late the thread may be before a check asks, and how long a check waits for
        # a poll that has just begun where what is held is older than that.
        self._slack = min(max(self._interval, timedelta(seconds=0.5)), timedelta(seconds=1))
        self._lock = threading.Lock()
        self._polling_since: float | None = None
        self._polled_at: Moment | None = None
        self._answered_at: Moment | None = None
        # How long the store is left alone after the last poll.
        self._pause = timedelta(0)
        self._failures_in_a_row = 0
        self._num_polls = 0
        self._num_failed_polls = 0
        self._num_refused_polls = 0
        self._last_poll_seconds: float | None = None
        _ALL.add(self)

    @property
    def snapshot(self) -> Snapshot | None:
        """The last good one, None before there was one; it may be too old to answer from."""
        held = self._held
        return None if held is None else held.snapshot

    # ---- what to answer from -------------------------------------------------

    def current(self) -> Snapshot | None:
        """Return the set to answer from, after asking the store where that is due."""
        refresher = self._refresher
        is_helped = refresher is not None and refresher.is_running()
        if refresher is not None and not is_helped:
            refresher.ensure_running(self)
        if self._held is None or self._is_due(is_helped):
            self._ask()
        held = self._held
        return None if held is None or self._is_too_old(held) else held.snapshot

    def why_none(self) -> str:
        """Say why there is no set to answer from."""
        held = self._held
        if held is None:
            reason = "nobody has asked for it yet" if self._num_polls == 0 else self.error
            if self._polling_since is not None:
                reason = "it is being read"
            return f"no published set could be read: {reason}"
        age = _whole(held.read_at.age(self._clock))
        reason = f"the published set was last read {age} ago, which is too long"
        return reason if self.error is None else f"{reason}: {self.error}"

    def freshness(self) -> Freshness:
        """Return how well the store is kept up with."""
        held = self._held
        return Freshness(
            None if held is None else held.read_at.age(self._clock),
            self._num_polls,
            self._num_failed_polls,
            self._last_poll_seconds,
            self._num_refused_polls,
        )

    def problems(self) -> list[StatusProblem]:
        """Return what is wrong between the checker and its store, the worst first."""
        found: list[StatusProblem] = []
        held, refusal, refresher = self._held, self._refusal, self._refresher
        if refresher is not None and refresher.has_ended():
            # Whoever looks at a service that nobody uses brings it back too.
            refresher.ensure_running(self)
        if held is None:
            found.append(StatusProblem(ProblemKind.NOT_LOADED, self.why_none(), is_error=True))
        elif self._is_too_old(held):
            found.append(StatusProblem(ProblemKind.TOO_OLD, self.why_none(), is_error=True))
        if refusal is not None:
            went_back = isinstance(refusal.error, CatalogRollbackError)
            kind = ProblemKind.CATALOG_WENT_BACK if went_back else ProblemKind.CATALOG_REFUSED
            found.append(StatusProblem(kind, _describe(refusal.error)))
        error = self.error
        if held is not None and error is not None and (refusal is None or self._failures_in_a_row):
            found.append(StatusProblem(ProblemKind.STORE_FAILING, error))
        since = self._polling_since
        if since is not None and time.monotonic() - since >= _HANGING_SECONDS:
            age = _whole(timedelta(seconds=time.monotonic() - since))
            detail = f"the store has not answered a poll for {age}"
            found.append(StatusProblem(ProblemKind.STORE_FAILING, detail))
        if refresher is not None and refresher.trouble is not None:
            found.append(StatusProblem(ProblemKind.BACKGROUND_REFRESH, refresher.trouble))
        return found

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
            except Exception as error:  # noqa: BLE001 - whatever it is, the checks try again
                _warn("%s: image not loaded ahead: %s", self._store.url, _describe(error))

    def _is_too_old(self, held: _Held) -> bool:
        return self._max_age is not None and held.read_at.age(self._clock) > self._max_age

    # ---- asking --------------------------------------------------------------

    def refresh(self) -> bool:
        """
        Ask the store now; return whether a newer set was taken.

        Raises:
            StoreError: the store does not answer, or its catalog is refused.
            IndexFileError: an image in use has a successor that is refused.
            FileNotFoundError: the catalog or such a successor is missing.
        """
        lock = self._lock
        if not lock.acquire(timeout=_LONGEST_WAIT):
            raise StoreUnavailableError(
                f"{self._store.url}: another poll has not ended for {_LONGEST_WAIT:g} s"
            )
        try:
            self._failures_in_a_row, self._pause = 0, timedelta(0)
            return self._poll(again=True)
        finally:
            lock.release()

    def _ask(self) -> None:
        """Ask unless another thread does, or the store is left alone."""
        if self._is_paused():
            return
        num_polls = self._num_polls
        lock = self._lock
        if lock.acquire(timeout=self._patience()):
            try:
                # Who had to wait takes what came of it.
                if num_polls == self._num_polls:
                    with contextlib.suppress(Exception):  # told; what is held keeps answering
                        self._poll()
            finally:
                lock.release()

    def _is_due(self, is_helped: bool) -> bool:
        """Whether a check is to ask: where its time has come, or the thread's has passed by far."""
        if is_helped:
            # Where the store is left alone, the thread has its turn after that.
            return self._polled_at is not None and self._is_late(self._polled_at, self._pause)
        last = self._answered_at
        if last is None or not self._interval:
            return True
        # A clock that was set back must not keep the store from being asked.
        return last.age(self._clock) >= self._interval or self._clock() < last.wall

    def _is_late(self, last: Moment, pause: timedelta = timedelta(0)) -> bool:
        """Whether what was last done then should have been done again, and for long already."""
        return last.age(self._clock) > self._interval + self._slack + pause

    def _patience(self) -> float:
        """
        Return how many seconds to wait for a poll of another thread.

        Who has something to answer from does not wait, but where that is older than it
        should be, for what has just begun: after a suspension the thread and the
        first checks wake at one time. So a poll that takes long, or a store that
        fails, makes nobody wait but who asks.
        """
        since = self._polling_since
        if self._held is None:
            return _LONGEST_WAIT
        if since is None or self._failures_in_a_row or self._answered_at is None:
            return 0
        if not self._is_late(self._answered_at):
            return 0
        return max(0.0, since + self._slack.total_seconds() - time.monotonic())

    def _is_paused(self) -> bool:
        last, pause = self._polled_at, self._pause
        return bool(pause) and last is not None and last.age(self._clock) < pause

    def _poll(self, *, again: bool = False) -> bool:
        """
        Ask the store and take a newer set over; the caller holds the lock.

        Whatever is raised is counted and told here. *again*: read the catalog again
        also where it was refused a moment ago.
        """
        held, refusal = self._held, self._refusal
        self._polling_since = started = time.monotonic()
        try:
            asked = Moment.now(self._clock)
            newer = self._read_newer(asked, again)
        except BaseException as error:
            self._note_failure(error, self._refusal is not refusal)
            raise
        finally:
            self._last_poll_seconds = time.monotonic() - started
            self._num_polls += 1
            self._polling_since = None
            self._polled_at = Moment.now(self._clock)
        self._answered_at = asked
        self._failures_in_a_row, self._pause = 0, timedelta(0)
        if self._refusal is None:
            self.confirmed_at, self.error = asked.wall, None
        else:
            self._num_refused_polls += 1
        if newer is None:
            return False
        self._held = _Held(newer, asked)
        return held is None or newer.catalog is not held.snapshot.catalog

    def _read_newer(self, asked: Moment, again: bool) -> Snapshot | None:
        """Return what the store has published since, or again, None for nothing to take."""
        held, refusal = self._held, self._refusal
        etag = self._etag_in_hand(again)
        stored = self._store.read_if_changed(CATALOG_NAME, etag)
        if stored is None:
            if refusal is None or etag != refusal.etag:
                # The store has what is held again.
                self._refusal = None
                if held is not None and held.refused is not None:
                    self._held = held.beside(None)
            return None
        catalog: Catalog | None = None
        snapshot = None if held is None else held.snapshot
        try:
            catalog = Catalog.from_bytes(stored.body)
            newer = snapshot_of_catalog(
                catalog, stored.etag, self._store, self._trust, snapshot, self._cache
            )
        except BaseException as error:
            # A denial is to count even where the rest of its catalog cannot be taken.
            if held is not None and catalog is not None:
                self._held = held.beside(catalog)
            if _is_for_good(error):
                self._refusal = _Refusal(stored.etag, asked, error)
            raise
        self._refusal = None
        self._cache.keep_only(newer.all_images())
        return newer

    def _etag_in_hand(self, again: bool) -> str | None:
        """Return the etag by which the store is asked for another catalog, None for any."""
        held, refusal = self._held, self._refusal
        max_age = self._max_age
        if held is not None and max_age is not None:
            is_old = held.read_at.age(self._clock) > max_age / 2
            if is_old:
                return None
        if refusal is not None and not again:
            # It is not read again at every check: as long as it stays, the refusal does.
            age = refusal.at.age(self._clock)
            if not retry_due(age.total_seconds()):
                return refusal.etag
        return None if held is None else held.snapshot.etag

    def _note_failure(self, error: BaseException, is_refusal: bool) -> None:
        """Count a poll that failed, and tell of it."""
        is_first = self.error is None
        is_news = self.error != _describe(error)
        self.error = _describe(error)
        self._num_failed_polls += 1
        if is_refusal:
            # The store answers: there is nothing to spare it, and the next answer may do.
            self._num_refused_polls += 1
            self._answered_at = self._refusal.at if self._refusal is not None else None
            self._failures_in_a_row, self._pause = 0, timedelta(0)
        else:
            self._failures_in_a_row += 1
            too_many = self._failures_in_a_row - _FAILURES_BEFORE_PAUSE
            if too_many >= 0:
                pause = min(_FIRST_PAUSE * 2 ** min(too_many, 10), _LONGEST_PAUSE)
                self._pause = timedelta(seconds=pause)
        held = self._held
        traceback = None if isinstance(error, CrlCheckError | OSError) else error
        if held is None:
            if is_first:
                message = "%s: no published set could be read: %s; every answer is UNDETERMINED"
                _warn(message, self._store.url, self.error, traceback=traceback)
        elif not is_refusal or is_news:
            assert held.snapshot.catalog is not None, "it was read from a store"
            _warn(
                "%s: generation %d, read %s ago, stays in use: %s",
                self._store.url,
                held.snapshot.catalog.generation,
                _whole(held.read_at.age_by_machine()),
                self.error,
                traceback=traceback,
            )

    # ---- in the background ---------------------------------------------------

    def ask_regularly(self) -> float:
        """Ask in the background; return after how many seconds to ask again."""
        num_failed = self._num_failed_polls
        try:
            self._ask()
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the thread either
            if num_failed == self._num_failed_polls:
                self.note_failed_thread(error)
        interval = self._interval.total_seconds()
        if not self._failures_in_a_row:
            return interval
        return min(interval, self._pause.total_seconds() or _RETRY_SECONDS)

    def note_failed_thread(self, error: BaseException) -> None:
        """Count and tell as a failed poll what no poll has told."""
        self.error = _describe(error)
        self._num_failed_polls += 1
        _warn("%s: the background refresh failed: %s", self._store.url, error, traceback=error)

    def close(self) -> None:
        """End the background refresh."""
        if self._refresher is not None:
            self._refresher.stop()

    def after_fork(self) -> None:
        """Make a child's copy usable: threads are gone, and whoever held a lock with them."""
        self._lock = threading.Lock()
        self._polling_since = None
        if self._refresher is not None:
            self._refresher.after_fork()
        self._cache.after_fork()
        if self._held is not None:
            for image in self._held.snapshot.all_images():
                image.after_fork()


def _is_for_good(error: BaseException) -> bool:
    """Whether a catalog is refused for what it is, rather than for a store that did not answer."""
    is_ours = isinstance(error, CrlCheckError | OSError)
    return is_ours and not isinstance(error, StoreUnavailableError)


def _describe(error: BaseException) -> str:
    words = str(error)
    if words and isinstance(error, CrlCheckError | OSError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _warn(message: str, *values: object, traceback: BaseException | None = None) -> None:
    with contextlib.suppress(Exception):  # a handler of the application's must not decide here
        LOG.warning(message, *values, exc_info=traceback)


def _whole(age: timedelta) -> timedelta:
    return timedelta(seconds=int(age.total_seconds()))


_ALL: weakref.WeakSet[FollowedSet] = weakref.WeakSet()


def _after_fork() -> None:
    for followed in list(_ALL):
        followed.after_fork()


os.register_at_fork(after_in_child=_after_fork)
