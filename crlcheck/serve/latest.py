"""
Keep the last value of what takes long to find out, and find it out anew, not too often.

It is found out in a thread, one at a time, and kept for a while: the longer it took, the
longer. Whoever asks meanwhile gets the last one, so that questions take nothing from the
checks, however many there are, and wait for a store that hangs no longer than they like.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

LOG = logging.getLogger("crlcheck.serve")

ValueT = TypeVar("ValueT")


class Latest(Generic[ValueT]):
    """
    The last value that *make* has returned.

    *shortest* is the least time between two of them, in seconds, *part* the part of all time
    that may go into them, and *patience* how long a question waits. *name* is for the log.
    """

    def __init__(
        self,
        make: Callable[[], ValueT],
        *,
        name: str,
        shortest: float,
        part: float,
        patience: float,
    ) -> None:
        self._make = make
        self._name = name
        self._shortest = shortest
        self._part = part
        self._patience = patience
        self._last: ValueT | None = None
        self._found_at = float("-inf")
        self._due = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def age(self) -> float:
        """Seconds since the last value was found."""
        return time.monotonic() - self._found_at

    async def latest(self) -> ValueT | None:
        """Return a value that is not old, or the last one there is; None before the first."""
        if time.monotonic() >= self._due and self._task is None:
            self._task = asyncio.create_task(self._renew())
        if self._task is not None:
            # It goes on where this question ends, for the next one.
            await asyncio.wait([self._task], timeout=self._patience)
        return self._last

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            self._last = await asyncio.to_thread(self._make)
            self._found_at = time.monotonic()
        except Exception as error:  # noqa: BLE001 - the last value stays, and the service works
            LOG.error("%s could not be found out: %s", self._name, type(error).__name__)
        finally:
            took = time.monotonic() - began
            self._due = time.monotonic() + max(self._shortest, took / self._part)
            self._task = None
