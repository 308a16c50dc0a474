"""
Make calls on a second thread, where there is a core for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Call(Generic[Result]):
    """A call that was submitted to a worker."""

    def __init__(self, make: Callable[[], Result], executor: ThreadPoolExecutor | None) -> None:
        self._make = make
        self._future: Future[Result] = Future()
        if executor is None:
            self._future.set_result(make())
        else:
            self._future = executor.submit(make)

    @property
    def done(self) -> bool:
        """Whether the call has ended."""
        return self._future.done()

    def result(self) -> Result:
        """Wait for the call and return its result; raise its exception."""
        return self._future.result()

    def result_here(self) -> Result:
        """Return the result as ``result`` does, but make the call here if it has not begun."""
        if self._future.cancel():
            self._future = Future()
            self._future.set_result(self._make())
        return self._future.result()


class Worker:
    """
    Makes calls one after the other on a second thread, or at once where there is none.

    Where all cores are at work already, there is none either (*is_alone* is False).
    """

    def __init__(self, *, is_alone: bool = True) -> None:
        has_thread = is_alone and num_cores() > 1
        self._executor = ThreadPoolExecutor(1, "crlcheck-worker") if has_thread else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def submit(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Call[Result]:
        """Call *function* soon, after every call submitted before."""
        return Call(lambda: function(*arguments), self._executor)

    def close(self) -> None:
        """End the thread; calls that have not begun are dropped."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
