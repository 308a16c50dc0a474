"""Format times as text, and measure elapsed time by several clocks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, overload

# Linux counts the time that a machine slept in a clock of its own, macOS in CLOCK_MONOTONIC.
SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@overload
def time_text(moment: datetime) -> str: ...
@overload
def time_text(moment: datetime | None) -> str | None: ...
def time_text(moment: datetime | None) -> str | None:
    """Return a time in UTC in ISO 8601, as in ``"2026-01-02T00:00:00Z"``; None for None."""
    return None if moment is None else _utc_text(moment.astimezone(UTC))


# Every check words the nextUpdate of a CRL, which is the same object from check to check.
@functools.lru_cache
def _utc_text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def given_time(now: datetime | None) -> datetime:
    """
    Return *now*, or the clock's time where the caller gave none.

    Raises:
        ValueError: it has no time zone.
    """
    if now is None:
        return datetime.now(UTC)
    if now.tzinfo is None:
        raise ValueError(f"now: expected an aware datetime, found {now!r}")
    return now


def later(moment: datetime, by: timedelta) -> datetime:
    """Return *moment* moved by a time, but not out of the years 1 to 9999."""
    try:
        return moment + by
    except OverflowError:
        return FIRST if by < timedelta(0) else LAST


FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_SECOND = (FIRST - EPOCH) // timedelta(seconds=1)
"""The first second of the year 1, counted since 1970."""
LAST_SECOND = (LAST - EPOCH) // timedelta(seconds=1)
"""The last second of the year 9999."""


def time_at(seconds: int) -> datetime:
    """Turn seconds since 1970 into a time in UTC, over all of the years 1 to 9999."""
    # datetime.fromtimestamp refuses dates before 1970 on some platforms.
    return EPOCH + timedelta(0, seconds)


class Moment(NamedTuple):
    """
    A time by the wall clock, the monotonic clock and the time since boot.

    The wall clock may be set back, and the monotonic clock may stand still while the
    machine sleeps. So of several answers to how long ago something was, the longest
    is taken.
    """

    wall: datetime
    monotonic: float
    since_boot: float

    @classmethod
    def now(cls, clock: Callable[[], datetime]) -> Moment:
        """Return the present; *clock* is the wall clock."""
        return cls(clock(), time.monotonic(), time.clock_gettime(SINCE_BOOT))

    def since(self, earlier: Moment) -> float:
        """Return how many seconds passed between *earlier* and this moment."""
        return max(
            (self.wall - earlier.wall).total_seconds(),
            self.monotonic - earlier.monotonic,
            self.since_boot - earlier.since_boot,
        )

    def after(self, seconds: float) -> Moment:
        """Return the moment so many seconds later, by each clock."""
        return Moment(
            later(self.wall, timedelta(seconds=seconds)),
            self.monotonic + seconds,
            self.since_boot + seconds,
        )

    def age_by_machine(self) -> float:
        """Return how many seconds ago this was by the machine's own clocks, which cannot fail."""
        return max(
            time.monotonic() - self.monotonic, time.clock_gettime(SINCE_BOOT) - self.since_boot
        )


def clock_from(moment: datetime) -> Callable[[], datetime]:
    """Return a clock that shows *moment* now, and goes on from there."""
    begun = Moment.now(lambda: moment)
    return lambda: moment + timedelta(seconds=begun.age_by_machine())
