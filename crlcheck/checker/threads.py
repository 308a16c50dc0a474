"""
Keep the threads in which checks wait for a store, for callers in an event loop.

They are a checker's own, because the loop's default ones look up host names and do the
application's work: a store that hangs must not hold those up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    # Only here: an authorizer has no event loop.
    from concurrent.futures import ThreadPoolExecutor

_NUM_THREADS = 8
"""So many checks wait at once. Further ones wait for these."""

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


class CheckThreads:
    """The threads of one checker, started when they are first needed, in each process anew."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: tuple[int, ThreadPoolExecutor] | None = None

    async def run(self, function: Callable[[ArgumentT], ResultT], argument: ArgumentT) -> ResultT:
        """Call *function* in a thread, while the caller's event loop goes on."""
        # Only here: the loop's owner has imported it.
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(
            self._executor(), function, argument
        )

    def _executor(self) -> ThreadPoolExecutor:
        made, process = self._made, os.getpid()
        if made is None or made[0] != process:
            from concurrent.futures import ThreadPoolExecutor

            # A child of fork has its parent's executor, but none of its threads. Two loops
            # may come here at once: the executor that is not kept ends with its last check.
            executor = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="crlcheck check")
            made = self._made = (process, executor)
        return made[1]

    def close(self) -> None:
        """End the threads after the checks that were given to them; later ones start anew."""
        made, self._made = self._made, None
        if made is not None and made[0] == os.getpid():
            made[1].shutdown(wait=False)
