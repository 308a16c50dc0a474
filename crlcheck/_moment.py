"""A moment by every clock that a process has, to tell how long ago something was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

# Linux counts the time that a machine slept in a clock of its own, macOS in CLOCK_MONOTONIC.
_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Moment:
    """
    When something happened, by the wall clock, the monotonic clock and the time since boot.

    The wall clock may be set back, and the monotonic clock may stand still while the
    machine sleeps: an age is what the clock says that says most.
    """

    wall: datetime
    monotonic: float
    since_boot: float

    @classmethod
    def now(cls, clock: Callable[[], datetime]) -> Moment:
        """Return the present; *clock* is the wall clock."""
        return cls(clock(), time.monotonic(), time.clock_gettime(_SINCE_BOOT))

    def age(self, clock: Callable[[], datetime]) -> timedelta:
        """Return how long ago it was."""
        return max(clock() - self.wall, self.age_by_machine())

    def age_by_machine(self) -> timedelta:
        """Return how long ago it was by the machine's own clocks, which cannot fail."""
        monotonic = time.monotonic() - self.monotonic
        since_boot = time.clock_gettime(_SINCE_BOOT) - self.since_boot
        return timedelta(seconds=max(monotonic, since_boot))
