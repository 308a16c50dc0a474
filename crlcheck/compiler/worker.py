"""
Make calls on a second thread, where there is a core for it and enough to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, Self, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Arguments = TypeVarTuple("Arguments")


class Call(Protocol[Result_co]):
    """A call that was submitted to a worker."""

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
    """A call that the thread makes."""

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


class Worker:
    """
    Makes calls one after the other: on a second thread once that is started, before at once.

    To start a thread and to hand calls to it takes longer than to compile a small CRL.
    """

    def __init__(self, *, is_alone: bool = True) -> None:
        """*is_alone* tells that no other CRL is compiled meanwhile, which needs the cores too."""
        self._may_start = is_alone and num_cores() > 1
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def start(self) -> None:
        """Make all further calls on a thread, where there is a core for it."""
        if self._may_start and self._executor is None:
            self._executor = ThreadPoolExecutor(1, "crlcheck-worker")

    def submit(
        self, function: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Call[Result]:
        """Call *function* soon, after every call submitted before."""
        if self._executor is None:
            return _Made(function(*arguments))
        return _Submitted(lambda: function(*arguments), self._executor)

    def share(self, function: Callable[[], None]) -> None:
        """Call *function* here and on the thread, and wait for both: they share its work."""
        if self._executor is None:
            function()
            return
        call = self._executor.submit(function)
        function()
        if not call.cancel():  # it has begun
            call.result()

    def close(self) -> None:
        """End the thread; calls that have not begun are dropped."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
