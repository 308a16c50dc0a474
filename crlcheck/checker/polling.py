"""
Decide when a store may be asked, and how long it is not asked after a failure.

Pure: the times are given, so nothing here reads a clock or holds a lock. All
durations are in seconds.

1. A check asks where the interval has passed since the last poll that the store
   answered began, and where the wall clock was set back behind that. With an
   interval of zero every check asks.
2. Beside a thread that asks in the background, a check asks only where that is
   late: the last poll ended longer ago than the interval, the margin and the pause
   together. The margin is the interval, but at least 0.5 and at most 1.
3. After the third failure in a row the store is not asked for 5 seconds, and twice
   as long after each further one, up to 60.
4. A catalog that is refused is an answer: it ends a row of failures.
5. After a failure the background thread asks again after a second, or after the
   pause, but never later than without the failure.
6. While another thread polls, a check waits for that poll where it has no set to
   answer from, 10 seconds at most. Where its set is late it waits only until that
   poll is as old as the margin, and not at all if the poll before that one failed.
7. A check that finds an object of the set in use missing or damaged asks as well, because a
   newer set may not need it. It does not where a poll ended within the last second.

For example, a store answers at 12:00:00 and fails from then on, and there is a check
every second, with an interval of zero. The store is asked at :01, :02 and :03, then
at :08, :18 and :38, then at 12:01:18, and from then on once a minute.
"""

from __future__ import annotations

from typing import NamedTuple

from crlcheck.times import Moment


class BackOff(NamedTuple):
    """
    How long something that failed is not tried again: ``first`` seconds, twice as long
    after each further failure in a row, ``longest`` at most. The first
    ``num_excused`` failures cost no pause.
    """

    first: float
    longest: float
    num_excused: int = 0

    def pause(self, num_failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        num_doublings = num_failures - self.num_excused - 1
        if num_doublings < 0:
            return 0.0
        return min(self.first * 2.0 ** min(num_doublings, 10), self.longest)


STORE_FAILED = BackOff(first=5.0, longest=60.0, num_excused=2)
"""For a store that did not answer: each attempt may have cost a request the whole time limit."""

OBJECT_REFUSED = BackOff(first=5.0, longest=5.0)
"""For an object that is unusable as it is: reading it again would cost a whole download."""

OBJECT_UNAVAILABLE = BackOff(first=1.0, longest=1.0)
"""For an object that the store did not give, and for the background thread."""

LONGEST_WAIT = 10.0
"""How long a thread waits at most for another's poll."""


class Polling(NamedTuple):
    """
    The polls of one store so far, and what follows from them for the next one.

    ``answered_at`` is when the last poll began that the store answered, ``ended_at``
    when the last one ended. ``num_failed_in_a_row`` counts those that the store did
    not answer, since the last that it did. ``num_failed`` counts the refused catalogs
    that were read too; ``num_refused`` counts a poll that found the refused catalog
    unchanged as well.
    """

    interval: float
    answered_at: Moment | None = None
    ended_at: Moment | None = None
    num_failed_in_a_row: int = 0
    num_polls: int = 0
    num_failed: int = 0
    num_refused: int = 0
    last_seconds: float | None = None

    # ---- when to ask ---------------------------------------------------------

    @property
    def margin(self) -> float:
        """How late something may be before a check does anything about it."""
        return min(max(self.interval, 0.5), 1.0)

    @property
    def pause(self) -> float:
        """How long the store is not asked after the last poll (rule 3)."""
        return STORE_FAILED.pause(self.num_failed_in_a_row)

    def is_due(self, now: Moment) -> bool:
        """Whether a check is to ask that no background thread helps (rule 1)."""
        last = self.answered_at
        return last is None or now.since(last) >= self.interval or now.wall < last.wall

    @property
    def latest(self) -> float:
        """How long after the last poll a background thread is late (rule 2)."""
        return self.interval + self.margin + self.pause

    def is_overdue(self, now: Moment) -> bool:
        """Whether a check is to ask although a background thread does (rule 2)."""
        last = self.ended_at
        age = 0.0 if last is None else now.since(last)
        return age > self.interval and age > self.latest

    def is_paused(self, now: Moment) -> bool:
        """Whether the store must not be asked now (rule 3)."""
        last, pause = self.ended_at, self.pause
        return bool(pause) and last is not None and now.since(last) < pause

    def may_ask_again(self, now: Moment) -> bool:
        """Whether to ask because an object of the set in use is missing (rule 7)."""
        last = self.ended_at
        is_recent = last is not None and now.since(last) < OBJECT_UNAVAILABLE.pause(1)
        return not is_recent and not self.is_paused(now)

    def seconds_to_next(self) -> float:
        """Return how long the background thread waits before it asks again (rule 5)."""
        if not self.num_failed_in_a_row:
            return self.interval
        retry = self.pause or OBJECT_UNAVAILABLE.pause(self.num_failed_in_a_row)
        return min(self.interval, retry)

    def patience(self, now: Moment, poll_age: float) -> float:
        """Return how long to wait for a poll that began so long ago, with a set (rule 6)."""
        last = self.answered_at
        if self.num_failed_in_a_row or last is None:
            return 0.0
        is_late = now.since(last) > self.interval + self.margin
        return max(0.0, self.margin - poll_age) if is_late else 0.0

    # ---- what came of it -----------------------------------------------------

    def answered(
        self, asked: Moment, ended: Moment, seconds: float, *, still_refused: bool
    ) -> Polling:
        """Return the polls with one that took a catalog, or found the last one unchanged."""
        return Polling(
            self.interval,
            asked,
            ended,
            0,
            self.num_polls + 1,
            self.num_failed,
            self.num_refused + still_refused,
            seconds,
        )

    def refused(self, asked: Moment, seconds: float) -> Polling:
        """Return the polls with one whose catalog was refused (rule 4)."""
        return self._replace(
            answered_at=asked,
            num_failed_in_a_row=0,
            num_polls=self.num_polls + 1,
            num_failed=self.num_failed + 1,
            num_refused=self.num_refused + 1,
            last_seconds=seconds,
        )

    def failed(self, seconds: float) -> Polling:
        """Return the polls with one that failed."""
        return self._replace(
            num_failed_in_a_row=self.num_failed_in_a_row + 1,
            num_polls=self.num_polls + 1,
            num_failed=self.num_failed + 1,
            last_seconds=seconds,
        )

    def ended(self, at: Moment) -> Polling:
        """Return the same polls, of which the last one ended at that time."""
        return self._replace(ended_at=at)

    def resumed(self) -> Polling:
        """Return the polls with no failures in a row, so without a pause."""
        return self._replace(num_failed_in_a_row=0)
