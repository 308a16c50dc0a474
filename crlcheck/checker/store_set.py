"""
Poll a store's catalog and keep the last good set in use.

``polling`` decides when the store is asked. This module handles its answers, its
failures and catalogs that are refused, and gives out no set that is too old.
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
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from crlcheck.catalog.catalog import Denial
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.checker import polling as polling_module
from crlcheck.checker.attempts import PatientReader
from crlcheck.checker.background import Refresher
from crlcheck.checker.image_cache import CachedImage, ImageCache
from crlcheck.checker.images import Images
from crlcheck.checker.polling import Polling
from crlcheck.checker.root_demands import RootDemands
from crlcheck.checker.snapshot import Denials, Snapshot, Trust, denials_of
from crlcheck.checker.views import OneView, UnansweredError, Views
from crlcheck.errors import (
    CatalogRollbackError,
    CrlCheckError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.stores import ObjectStore
from crlcheck.times import SINCE_BOOT, Moment, time_text
from crlcheck.types import Freshness, ImageLoading, ProblemKind, StatusProblem

if TYPE_CHECKING:
    from crlcheck.checker.image_files import ImageFiles

LOG = logging.getLogger("crlcheck")
NO_SET = "%s: no published set could be read: %s; every answer is UNDETERMINED"
"""The message of the log record for a failure that ``refresh`` raises too."""

BACKGROUND_SECONDS = 10.0
"""How often a background refresh asks unless another time is set."""

# A longer interval means never. Timers can count this far.
_LONGEST_INTERVAL = timedelta(days=36_525)

# A poll that takes longer is reported: a store's methods should have time limits.
_HANGING_SECONDS = 30.0

# A set with more images is partitioned, and a request needs few of them.
_MAX_PRELOADED = 16


class SetInUse(NamedTuple):
    """
    A published set in use: its views, the denials that count, and what the store said of it.

    ``etag`` is that of its root, and ``read_at`` is when that was last read in full.
    ``own_denials`` are the set's. ``expires`` is when its signature does, None where none is
    demanded. ``refused`` is a later catalog of the store that was
    refused. The denials in it count beside the set's own, because they can only deny more.
    """

    views: Views
    denied: Denials
    etag: str
    read_at: Moment
    own_denials: tuple[Denial, ...]
    expires: datetime | None = None
    refused: PublishedSet | None = None

    def seconds_signed(self, now: Moment) -> float | None:
        """
        Return how long the signature still holds, negative after that; None without one.

        The time since the set was read counts by the clock that ran the longest, so that a
        wall clock that is set back prolongs nothing.
        """
        if self.expires is None:
            return None
        return (self.expires - self.read_at.wall).total_seconds() - now.since(self.read_at)

    def beside(self, refused: PublishedSet | None) -> SetInUse:
        """Return the set in use with the denials of another refused catalog, or of none."""
        others = () if refused is None else refused.denied
        return self._replace(denied=denials_of([*self.own_denials, *others]), refused=refused)


class IndexesInUse(NamedTuple):
    """Open indexes in use, beside which nothing is denied."""

    views: OneView
    denied: Denials = MappingProxyType({})


class IndexSet:
    """Open indexes that the caller gave: a snapshot that never changes."""

    confirmed_at: datetime | None = None
    error: str | None = None
    image_bytes = 0
    image_memory = 0
    url: str | None = None

    def __init__(self, snapshot: Snapshot, clock: Callable[[], datetime]) -> None:
        self.in_use: IndexesInUse | None = IndexesInUse(OneView(snapshot))
        self._clock = clock

    def quiet(self) -> tuple[IndexesInUse, datetime] | None:
        """Return the indexes, and the time."""
        return None if self.in_use is None else (self.in_use, self._clock())

    def current(self) -> IndexesInUse | None:
        """Return the indexes."""
        return self.in_use

    def is_newer_than(self, in_use: SetInUse | IndexesInUse) -> bool:  # noqa: ARG002
        """Return False: there is nothing newer to take."""
        return False

    def why_none(self) -> str:
        """Never called, because there is always a snapshot."""
        raise AssertionError("a set of open indexes is never missing")

    def freshness(self) -> Freshness:
        """Return a freshness without any polls."""
        return Freshness()

    def problems(self) -> list[StatusProblem]:
        """Return no problems: nothing here can fail."""
        return []

    def refresh(self) -> bool:
        """Return False: there is nothing newer to take."""
        return False

    def preload(self) -> None:
        """Do nothing: the indexes are open already."""

    def close(self) -> None:
        """Do nothing: the indexes are the caller's to close."""


class _Refusal(NamedTuple):
    """A catalog that was refused: its ETag, when it was read, and why it was refused."""

    etag: str
    at: Moment
    error: BaseException


class _Behind(NamedTuple):
    """
    An earlier generation than the one in use, which a cache handed out.

    ``since`` is when a poll first found one, with no other answer since then.
    """

    etag: str
    generation: int
    since: Moment


class _Quiet(NamedTuple):
    """
    Until when a set is used without anything else: no poll is due, and it is not too old.

    It holds for these polls and this set, from ``since`` by the wall clock, and until any
    of the three clocks of a ``Moment`` shows the time in it.
    """

    in_use: SetInUse
    polling: Polling
    since: datetime
    until: Moment


class StoreSet:
    """
    The published set of a store, kept up to date by conditional GETs.

    ``confirmed_at`` is when the store last confirmed that the set in use is current.
    ``error`` is why a later attempt failed.

    max_age: a set is not used after its catalog was last read in full so long ago. A
        broken cache may answer "not modified" for ever, so after half of that time
        the catalog is read without a condition.
    background: a thread asks in place of the checks. A check asks all the same where
        the thread is late or there is none: after a fork, after the process or its
        machine stood still, or where no thread can be started.
    demands: what its root must satisfy. Where that is a signature, the set is not used
        after the signature has expired, whatever the polls say.
    """

    def __init__(
        self,
        store: ObjectStore,
        trust: Trust,
        *,
        refresh_after: timedelta,
        clock: Callable[[], datetime],
        image_memory: int,
        image_loading: ImageLoading = ImageLoading.WHOLE,
        image_files: ImageFiles | None = None,
        max_age: timedelta | None = None,
        background: bool = False,
        demands: RootDemands | None = None,
    ) -> None:
        self.confirmed_at: datetime | None = None
        self.error: str | None = None
        self._store = store
        self._trust = trust
        self._demands = demands or RootDemands()
        self._cache = ImageCache(image_memory)
        self._images = Images(store, self._cache, image_loading, image_files)
        self._nodes = PatientReader(store)
        self._clock = clock
        self._max_age = None if max_age is None else max_age.total_seconds()
        # None before there is one. It is replaced as a whole, because a fork may happen at
        # any time.
        self.in_use: SetInUse | None = None
        self._quiet: _Quiet | None = None
        self._refusal: _Refusal | None = None
        self._behind: _Behind | None = None
        refresh_after = min(refresh_after, _LONGEST_INTERVAL)
        self._refresher: Refresher | None = None
        if background:
            refresh_after = refresh_after or timedelta(seconds=BACKGROUND_SECONDS)
            self._refresher = Refresher(refresh_after.total_seconds())
        # Replaced as a whole, and only by the thread that holds the lock.
        self._polling = Polling(refresh_after.total_seconds())
        self._lock = threading.Lock()
        # By the monotonic clock, while a poll is under way.
        self._polling_since: float | None = None
        # Failures of the background thread outside of any poll.
        self._num_thread_failures = 0
        _ALL.add(self)

    # ---- the set in use ------------------------------------------------------

    def current(self) -> SetInUse | None:
        """Return the set to use, after asking the store where that is due."""
        refresher = self._refresher
        is_helped = refresher is not None and refresher.is_running()
        if refresher is not None and not is_helped:
            refresher.ensure_running(self)
        polling = self._polling
        now: Moment | None = None
        # Without an interval a poll is due at any time.
        if self.in_use is not None and polling.interval:
            now = Moment.now(self._clock)
        if (
            now is None
            or (polling.is_overdue(now) if is_helped else polling.is_due(now))
            or self._awaits_renewal(polling, now)
        ):
            self._ask()
            now = None  # a poll takes time
        in_use = self.in_use
        if in_use is None or self._is_too_old(in_use, now) or self._has_expired(in_use, now):
            return None
        self._quiet = self._find_quiet(in_use, self._polling, is_helped=is_helped)
        return in_use

    def quiet(self) -> tuple[SetInUse, datetime] | None:
        """
        Return what ``current`` would, and the time, where it would do nothing else; None
        where it may do more.
        """
        quiet, refresher = self._quiet, self._refresher
        if (
            quiet is None
            or quiet.in_use is not self.in_use
            or quiet.polling is not self._polling
            or (refresher is not None and not refresher.is_running())
        ):
            return None
        now, until = self._clock(), quiet.until
        if (
            quiet.since <= now < until.wall
            and time.monotonic() < until.monotonic
            and time.clock_gettime(SINCE_BOOT) < until.since_boot
        ):
            return quiet.in_use, now
        return None

    def _find_quiet(self, in_use: SetInUse, polling: Polling, *, is_helped: bool) -> _Quiet | None:
        """Return until when ``current`` returns *in_use* and does nothing else."""
        known = self._quiet
        if known is not None and known.in_use is in_use and known.polling is polling:
            return known
        asked, ended = polling.answered_at, polling.ended_at
        if not polling.interval or asked is None or ended is None:
            return None
        read_at = in_use.read_at
        ends = [
            ended.after(polling.latest) if is_helped else asked.after(polling.interval),
            *([] if self._max_age is None else [read_at.after(self._max_age)]),
        ]
        if in_use.expires is not None:
            ends.append(read_at.after((in_use.expires - read_at.wall).total_seconds()))
        # The earliest by each clock.
        until = Moment(*map(min, zip(*ends, strict=True)))
        return _Quiet(in_use, polling, in_use.read_at.wall if is_helped else asked.wall, until)

    def pinned(self, in_use: SetInUse | None = None) -> ObjectStore:
        """
        Return the store with a set that is or was in use, whatever is published later; by
        default with the one in use.

        Raises:
            StoreUnavailableError: there is no set to use, or the store has another catalog
                that is refused: its denials count here, and would not count there.
        """
        in_use = in_use or self.current()
        if in_use is None:
            raise StoreUnavailableError(self.why_none())
        # Only here, as a check needs no history.
        from crlcheck.catalog.earlier import EarlierStore, pinned

        if isinstance(self._store, EarlierStore):
            return self._store
        if in_use.refused is not None:
            raise StoreUnavailableError(
                f"{self._store.url}: generation {in_use.views.published.generation} cannot be "
                "given to another process, because the store has another catalog, which is "
                f"refused: {self.error}"
            )
        return pinned(self._store, in_use.views.published)

    def why_none(self) -> str:
        """Return why there is no set to use."""
        in_use = self.in_use
        if in_use is None:
            reason = self.error if self._polling.num_polls else "nobody has asked for it yet"
            if self._polling_since is not None:
                reason = "it is being read"
            return f"no published set could be read: {reason}"
        age = _whole(self._age(in_use))
        reason = f"the published set was last read {age} ago, which is too long"
        if self._has_expired(in_use):
            reason = (
                f"the signature of generation {in_use.views.published.generation} expired at "
                f"{time_text(in_use.expires)}, and the store has no later one that holds"
            )
        behind = self._behind
        if behind is not None and self.error is None:
            return f"{reason}: {self._why_behind(in_use, behind)}"
        return reason if self.error is None else f"{reason}: {self.error}"

    @property
    def url(self) -> str | None:
        """The URL of the store."""
        return self._store.url

    @property
    def image_memory(self) -> int:
        """How many bytes of images are kept loaded."""
        return self._cache.capacity

    @property
    def image_bytes(self) -> int:
        """How many bytes the loaded images take."""
        return self._cache.size

    def freshness(self) -> Freshness:
        """Return how old the set is, and what the polls cost."""
        in_use, polling, behind = self.in_use, self._polling, self._behind
        signed = None if in_use is None else in_use.seconds_signed(Moment.now(self._clock))
        return Freshness(
            None if in_use is None else timedelta(seconds=self._age(in_use)),
            polling.num_polls,
            polling.num_failed + self._num_thread_failures,
            polling.last_seconds,
            polling.num_refused,
            None if behind is None else timedelta(seconds=self._seconds_behind(behind)),
            None if signed is None else timedelta(seconds=signed),
        )

    def _signature_problems(self, in_use: SetInUse) -> list[StatusProblem]:
        """Return the problem of a set whose signature has expired, or will soon."""
        expires, left = in_use.expires, in_use.seconds_signed(Moment.now(self._clock))
        if expires is None or left is None:
            return []
        if self._has_expired(in_use):
            kind = ProblemKind.SIGNATURE_EXPIRED
            return [StatusProblem(kind, self.why_none(), is_error=True)]
        # Only here, as a checker without keys does without it.
        from crlcheck.signing.statement import SOON, ends_soon

        # By the time that this machine has run since the set was read.
        moment = expires - timedelta(seconds=left)
        if not ends_soon(in_use.views.published.root.at, expires, moment, SOON):
            return []
        detail = (
            f"the signature of the set expires in {_whole(left)}, at {time_text(expires)}, and "
            "the store has had no later one"
        )
        return [StatusProblem(ProblemKind.SIGNATURE_ENDS_SOON, detail)]

    def problems(self) -> list[StatusProblem]:
        """Return the problems between the checker and its store, the worst first."""
        found: list[StatusProblem] = []
        in_use, refusal, refresher = self.in_use, self._refusal, self._refresher
        if refresher is not None and refresher.has_ended():
            # A service without any checks may still have its status read.
            refresher.ensure_running(self)
        if in_use is None:
            found.append(StatusProblem(ProblemKind.NOT_LOADED, self.why_none(), is_error=True))
        elif self._is_too_old(in_use):
            found.append(StatusProblem(ProblemKind.TOO_OLD, self.why_none(), is_error=True))
        else:
            found += self._signature_problems(in_use)
        if refusal is not None:
            went_back = isinstance(refusal.error, CatalogRollbackError)
            kind = ProblemKind.CATALOG_WENT_BACK if went_back else ProblemKind.CATALOG_REFUSED
            found.append(StatusProblem(kind, _describe(refusal.error)))
        behind = self._behind
        if in_use is not None and behind is not None:
            found.append(StatusProblem(ProblemKind.STORE_BEHIND, self._why_behind(in_use, behind)))
        error, num_failed = self.error, self._polling.num_failed_in_a_row
        if in_use is not None and error is not None and (refusal is None or num_failed):
            found.append(StatusProblem(ProblemKind.STORE_FAILING, error))
        since = self._polling_since
        if since is not None and time.monotonic() - since >= _HANGING_SECONDS:
            age = _whole(time.monotonic() - since)
            detail = f"the store has not answered a poll for {age}"
            found.append(StatusProblem(ProblemKind.STORE_FAILING, detail))
        if refresher is not None and refresher.trouble is not None:
            found.append(StatusProblem(ProblemKind.BACKGROUND_REFRESH, refresher.trouble))
        return found

    def preload(self) -> None:
        """Read the set and load its first views and images; checks try again what fails."""
        in_use = self.current()
        if in_use is None:
            return
        room = self._cache.capacity
        loaded: dict[CachedImage, None] = {}
        try:
            for snapshot in in_use.views.first():
                for image in snapshot.all_images():
                    if image in loaded:
                        continue
                    room -= image.size
                    if room < 0 or len(loaded) == _MAX_PRELOADED:
                        return
                    loaded[image] = None
                    self._preload_image(image)
        except UnansweredError as error:
            _warn("%s: not loaded ahead: %s", self._store.url, error.reason)

    def _preload_image(self, image: CachedImage) -> None:
        try:
            image.index()
            download = image.download
            if download is not None:
                download()
        except Exception as error:  # noqa: BLE001 - whatever it is, the checks try again
            _warn("%s: image not loaded ahead: %s", self._store.url, _describe(error))

    def _seconds_behind(self, behind: _Behind) -> float:
        return Moment.now(self._clock).since(behind.since)

    def _why_behind(self, in_use: SetInUse, behind: _Behind) -> str:
        return (
            f"{self._store.url} has handed out generation {behind.generation} for "
            f"{_whole(self._seconds_behind(behind))}, which is earlier than generation "
            f"{in_use.views.published.generation} in use: a cache is late, or the store "
            "was set back"
        )

    def _is_too_old(self, in_use: SetInUse, now: Moment | None = None) -> bool:
        return self._max_age is not None and self._age(in_use, now) > self._max_age

    def _has_expired(self, in_use: SetInUse, now: Moment | None = None) -> bool:
        if in_use.expires is None:
            return False
        left = in_use.seconds_signed(now or Moment.now(self._clock))
        return left is not None and left <= 0

    def _awaits_renewal(self, polling: Polling, now: Moment) -> bool:
        """Whether a check is to ask because the signature has expired, once a second."""
        in_use, last = self.in_use, polling.ended_at
        if in_use is None or not self._has_expired(in_use, now):
            return False
        return last is None or now.since(last) >= polling_module.OBJECT_UNAVAILABLE.pause(1)

    def _age(self, in_use: SetInUse, now: Moment | None = None) -> float:
        """Return how many seconds before *now* the catalog was read in full."""
        return (now or Moment.now(self._clock)).since(in_use.read_at)

    # ---- asking --------------------------------------------------------------

    def refresh(self) -> bool:
        """
        Ask the store now; return whether a newer set was taken.

        Raises:
            StoreError: the store does not answer, or its catalog is refused.
            IndexFileError: an image in use has a successor that is refused.
            FileNotFoundError: the catalog or such a successor is missing.
        """
        lock, longest = self._lock, polling_module.LONGEST_WAIT
        if not lock.acquire(timeout=longest):
            raise StoreUnavailableError(
                f"{self._store.url}: another poll has not ended for {longest:g} s"
            )
        try:
            self._polling = self._polling.resumed()
            return self._poll(again=True)
        finally:
            lock.release()

    def _ask(self) -> None:
        """Ask the store, unless another thread does or it must not be asked now."""
        polling = self._polling
        if polling.num_failed_in_a_row and polling.is_paused(Moment.now(self._clock)):
            return
        lock = self._lock
        if lock.acquire(timeout=self._patience(polling)):
            try:
                # A thread that had to wait takes the result of the poll that it waited for.
                if polling.num_polls == self._polling.num_polls:
                    with contextlib.suppress(Exception):  # logged; the last set stays in use
                        self._poll()
            finally:
                lock.release()

    def _patience(self, polling: Polling) -> float:
        """Return how many seconds to wait for a poll of another thread."""
        since = self._polling_since
        if self.in_use is None:
            return polling_module.LONGEST_WAIT
        if since is None:
            return 0
        return polling.patience(Moment.now(self._clock), time.monotonic() - since)

    def _poll(self, *, again: bool = False) -> bool:
        """
        Ask the store and take a newer set over; the caller holds the lock.

        Every failure is counted and logged here. With *again* a catalog is read again
        even if it was refused a moment ago.
        """
        in_use, refusal = self.in_use, self._refusal
        self._polling_since = started = time.monotonic()
        try:
            asked = Moment.now(self._clock)
            newer = self._read_newer(asked, again)
            ended, seconds = Moment.now(self._clock), time.monotonic() - started
        except BaseException as error:
            self._polling_since = None
            try:
                new_refusal = None if self._refusal is refusal else self._refusal
                self._note_failure(error, new_refusal, time.monotonic() - started)
            finally:
                self._polling = self._polling.ended(Moment.now(self._clock))
            raise
        self._polling_since = None
        still_refused = self._refusal is not None
        self._polling = self._polling.answered(asked, ended, seconds, still_refused=still_refused)
        if not still_refused:
            self.error = None
            if self._behind is None:
                self.confirmed_at = asked.wall
        if newer is None:
            return False
        self.in_use = newer
        # It would keep the images of the earlier set in memory until the next check.
        self._quiet = None
        return in_use is None or newer.views is not in_use.views

    def _read_newer(self, asked: Moment, again: bool) -> SetInUse | None:
        """Return the set of the store's catalog, None if there is no other to use."""
        in_use, refusal = self.in_use, self._refusal
        etag = self._etag_in_hand(again)
        stored = self._store.read_if_changed(CATALOG_NAME, etag)
        if stored is None:
            behind = self._behind
            if behind is not None and etag == behind.etag:
                return None
            self._behind = None
            if refusal is None or etag != refusal.etag:
                # The store has the catalog in use again.
                self._refusal = None
                if in_use is not None and in_use.refused is not None:
                    self.in_use = in_use.beside(None)
            return None
        published: PublishedSet | None = None
        try:
            held = "" if in_use is None else in_use.views.published.root.store
            published, expires = self._demands.read(stored.body, self._store, asked.wall, held=held)
            published = dataclasses.replace(published, nodes=self._nodes)
            if self._is_behind(published, stored.etag, asked):
                return None
            self._demands.check_generation(published)
            newer = self._follow(published, stored.etag, asked, expires)
        except BaseException as error:
            # A denial counts even if the rest of its catalog cannot be used.
            if in_use is not None and published is not None:
                with contextlib.suppress(StoreError):  # the denials may be what is damaged
                    self.in_use = in_use.beside(published)
            if _is_refusal(error):
                self._refusal = _Refusal(stored.etag, asked, error)
            raise
        self._refusal = self._behind = None
        self._cache.keep_only(newer.views.all_images())
        self._nodes.kept.forget(newer.views.outdated)
        newer.views.outdated.clear()
        return newer

    def _follow(
        self, published: PublishedSet, etag: str, asked: Moment, expires: datetime | None
    ) -> SetInUse:
        """
        Return a published set as the next one in use, with what the present one has loaded.

        Raises:
            StoreError: the set is older than the one in use, an object is damaged, or the
                store does not answer.
            IndexFileError: an image is unverified, corrupt or not the one the catalog names.
            FileNotFoundError: an image is missing.
            CertificateError: an issuer certificate of the catalog cannot be read.
        """
        in_use = self.in_use
        if in_use is None:
            denials = published.denied
            views = Views(published, self._trust, self._images)
            return SetInUse(views, denials_of(denials), etag, asked, denials, expires)
        held = in_use.views.published
        published.check_successor(held)
        if published.root.top is not None:
            published.nodes.node(published.root.top)  # a set without it is no use to any check
        is_format1 = published.format1 is not None or held.format1 is not None
        has_same_denials = not is_format1 and published.root.denied == held.root.denied
        denials = in_use.own_denials if has_same_denials else published.denied
        views = in_use.views
        if not published.is_same(held):
            views = views.followed_by(published)
        later = _later_expiry(in_use, published, expires)
        return SetInUse(views, denials_of(denials), etag, asked, denials, later)

    def _is_behind(self, published: PublishedSet, etag: str, asked: Moment) -> bool:
        """
        Whether a cache handed out an earlier generation than the one in use; note it.

        Only a store that says that it may do so is not refused for it. The denials of that
        generation do not count: those lifted since would apply again.
        """
        current = None if self.in_use is None else self.in_use.views.published
        may_be_behind = getattr(self._store, "may_be_behind", False)
        if current is None or not may_be_behind or published.generation >= current.generation:
            return False
        # A catalog of format 1 has no id. Another store's generations count for nothing here.
        if published.root.store not in ("", current.root.store):
            return False
        before = self._behind
        if before is None:
            LOG.info(
                "%s: found generation %d, which is earlier than generation %d in use",
                self._store.url,
                published.generation,
                current.generation,
            )
        since = asked if before is None else before.since
        self._behind = _Behind(etag, published.generation, since)
        return True

    def is_newer_than(self, in_use: SetInUse | IndexesInUse) -> bool:
        """
        Whether there is a newer set than *in_use*, after asking the store.

        It is not asked where it must not be, or was a moment ago. For a set of which an object
        is missing: clean-up deletes the objects of a set that was replaced a while ago.
        """
        lock = self._lock
        if self.in_use is in_use and lock.acquire(timeout=polling_module.LONGEST_WAIT):
            try:
                if self.in_use is in_use and self._polling.may_ask_again(Moment.now(self._clock)):
                    with contextlib.suppress(Exception):  # logged; the last set stays in use
                        self._poll()
            finally:
                lock.release()
        newer = self.in_use
        return newer is not None and newer.views is not in_use.views

    def _etag_in_hand(self, again: bool) -> str | None:
        """Return the ETag that another catalog must differ from, None for any catalog."""
        in_use, refusal = self.in_use, self._refusal
        max_age = self._max_age
        if in_use is not None and max_age is not None and self._age(in_use) > max_age / 2:
            return None
        if refusal is not None and not again:
            # Checks need not read it again: while it is the same, it is refused again.
            age = Moment.now(self._clock).since(refusal.at)
            if age < polling_module.OBJECT_REFUSED.pause(1):
                return refusal.etag
        behind = self._behind
        if behind is not None and not again:
            return behind.etag
        # A cache that never changes would keep a renewed signature back.
        return None if in_use is None or self._has_expired(in_use) else in_use.etag

    def _note_failure(self, error: BaseException, refusal: _Refusal | None, seconds: float) -> None:
        """Count and log a poll that failed; *refusal* is that of a catalog that it read."""
        is_first = self.error is None
        is_news = self.error != _describe(error)
        is_refusal = refusal is not None
        self.error = _describe(error)
        if refusal is not None:
            self._polling = self._polling.refused(refusal.at, seconds)
        else:
            self._polling = self._polling.failed(seconds)
        in_use = self.in_use
        traceback = None if isinstance(error, CrlCheckError | OSError) else error
        if in_use is None:
            if is_first:
                _warn(NO_SET, self._store.url, self.error, traceback=traceback)
        elif not is_refusal or is_news:
            _warn(
                "%s: generation %d, read %s ago, stays in use: %s",
                self._store.url,
                in_use.views.published.generation,
                _whole(in_use.read_at.age_by_machine()),
                self.error,
                traceback=traceback,
            )

    # ---- in the background ---------------------------------------------------

    def ask_regularly(self) -> float:
        """Ask in the background; return after how many seconds to ask again."""
        num_failed = self._polling.num_failed
        try:
            self._ask()
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the thread either
            if num_failed == self._polling.num_failed:
                self.note_failed_thread(error)
        return self._polling.seconds_to_next()

    def note_failed_thread(self, error: BaseException) -> None:
        """Count and log a failure outside of any poll."""
        self.error = _describe(error)
        self._num_thread_failures += 1
        _warn("%s: the background refresh failed: %s", self._store.url, error, traceback=error)

    def close(self) -> None:
        """End the background refresh."""
        if self._refresher is not None:
            self._refresher.stop()

    def after_fork(self) -> None:
        """Make a child's copy usable: the threads that may hold its locks are the parent's."""
        self._lock = threading.Lock()
        self._polling_since = None
        if self._refresher is not None:
            self._refresher.after_fork()
        self._cache.after_fork()
        self._images.after_fork()
        self._nodes.after_fork()
        if self.in_use is not None:
            self.in_use.views.after_fork()


def _later_expiry(
    in_use: SetInUse | None, published: PublishedSet, expires: datetime | None
) -> datetime | None:
    """
    Return when the signature of a set that was read expires, or the one in use if later.

    A cache or an attacker may hand out an earlier signature of the same root.
    """
    before = None if in_use is None else in_use.views.published
    if in_use is None or in_use.expires is None or expires is None or before is None:
        return expires
    return max(expires, in_use.expires) if published.is_same(before) else expires


def _is_refusal(error: BaseException) -> bool:
    """Whether the catalog itself was at fault, rather than a store that did not answer."""
    is_ours = isinstance(error, CrlCheckError | OSError)
    return is_ours and not isinstance(error, StoreUnavailableError)


def _describe(error: BaseException) -> str:
    words = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if words and isinstance(error, CrlCheckError | OSError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _warn(message: str, *values: object, traceback: BaseException | None = None) -> None:
    with contextlib.suppress(Exception):  # the application's log handler may fail
        LOG.warning(message, *values, exc_info=traceback)


def _whole(seconds: float) -> timedelta:
    return timedelta(seconds=int(seconds))


_ALL: weakref.WeakSet[StoreSet] = weakref.WeakSet()


def _after_fork() -> None:
    for followed in list(_ALL):
        followed.after_fork()


os.register_at_fork(after_in_child=_after_fork)
