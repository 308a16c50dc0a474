"""
Make calls on other threads, where there are cores for them and enough to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, Self, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Arguments = TypeVarTuple("Arguments")

_NAME = "crlcheck-worker"


class Call(Protocol[Result_co]):
    """A call that was submitted to workers."""

    @property
    def done(self) -> bool:
        """Whether the call has ended."""

    def result(self) -> Result_co:
        """Wait for the call and return its result; raise its exception."""

    def result_here(self) -> Result_co:
        """Return the result as ``result`` does, but make the call here if it has not begun."""


class _Made(Generic[Result]):
    """A call that was made at once."""

    done = True

    def __init__(self, result: Result) -> None:
        self._result = result

    def result(self) -> Result:
        return self._result

    result_here = result


class _Submitted(Generic[Result]):
    """A call that a thread makes."""

    def __init__(self, make: Callable[[], Result], executor: ThreadPoolExecutor) -> None:
        self._make = make
        self._future = executor.submit(make)

    @property
    def done(self) -> bool:
        return self._future.done()

    def result(self) -> Result:
        return self._future.result()

    def result_here(self) -> Result:
        if self._future.cancel():
            self._future = Future()
            self._future.set_result(self._make())
        return self._future.result()


MAX_THREADS = 8
"""So many threads compile one CRL at most, the caller's included. More have nothing to do."""


class Workers:
    """
    Makes calls on other threads once these are started, before at once.

    To start a thread and to hand calls to it takes longer than to compile a small CRL.
    """

    def __init__(self, *, is_alone: bool = True) -> None:
        """*is_alone* tells that no other CRL is compiled meanwhile, which needs the cores too."""
        self._may_start = is_alone
        self._in_order: ThreadPoolExecutor | None = None
        self._in_any_order: ThreadPoolExecutor | None = None
        self.num_threads = 1
        """How many threads work, the caller's included."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def start(self) -> None:
        """Make all further calls on threads, where there are cores for them."""
        if not self._may_start:
            return
        self._may_start = False
        self.num_threads = min(num_cores(), MAX_THREADS)
        if self.num_threads > 1:
            self._in_order = self._in_any_order = ThreadPoolExecutor(1, _NAME)
        if self.num_threads > 2:
            # While it works, nothing is left to do in order. It starts as many threads as
            # there are calls, up to this number.
            self._in_any_order = ThreadPoolExecutor(self.num_threads - 1, _NAME)

    def submit(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Call[Result]:
        """Call *function* soon, after every call submitted here before."""
        if self._in_order is None:
            return _Made(function(*arguments))
        return _Submitted(lambda: function(*arguments), self._in_order)

    def submit_any(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Call[Result]:
        """Call *function* soon, beside others."""
        if self._in_any_order is None:
            return _Made(function(*arguments))
        return _Submitted(lambda: function(*arguments), self._in_any_order)

    def share(self, function: Callable[[], None]) -> None:
        """Call *function* on every thread, and wait for all: they share its work."""
        calls = [
            self._in_any_order.submit(function)
            for _ in range(self.num_threads - 1)
            if self._in_any_order is not None
        ]
        function()
        for call in calls:
            if not call.cancel():  # it has begun
                call.result()

    def close(self) -> None:
        """End the threads; calls that have not begun are dropped."""
        for executor in (self._in_order, self._in_any_order):
            if executor is not None:
                executor.shutdown(wait=True, cancel_futures=True)


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
