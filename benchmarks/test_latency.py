"""
Single lookups alone, each timed by itself.

Reading the clock waits for what came before, and its instructions are more than
a processor keeps in flight, so no lookup overlaps another. The clock's own time
is part of each figure; ``no_lookup`` is the same over an empty set.

*Isolated*: one after the other; the table lies in the cache as far as it fits.
*Cold*: before each lookup, twice the last-level cache is written, so that table,
interpreter and clock have to come from memory, as for the first request after a
pause. Page faults are counted beside: a page of a mapped file that the process has not
touched yet costs one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from resource import RUSAGE_THREAD, getrusage
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.interface import Contender, InContainer, Membership
from benchmarks.machine import last_level_cache_size
from benchmarks.record import Call, keep, measure
from benchmarks.workloads import draw_queries, fresh_integers

PERCENTILES = (*range(100), 99.5, 99.9, 100)
_NUM_ISOLATED = 50_000
_NUM_COLD = 200


def test_isolated(
    benchmark: Any, contender: Contender, num_entries: int, container: InContainer
) -> None:
    """
    Look serials up, half of them hits, one after the other.
    """
    _measure_latency(benchmark, contender, num_entries, container, "isolated")


def test_cold(
    benchmark: Any, contender: Contender, largest: int, largest_container: InContainer
) -> None:
    """
    Look serials up, half of them hits, each after the caches were written over.
    """
    _measure_latency(benchmark, contender, largest, largest_container, "cold")


def _measure_latency(
    benchmark: Any, contender: Contender, num_entries: int, container: InContainer, state: str
) -> None:
    count = min(_NUM_COLD if state == "cold" else _NUM_ISOLATED, contender.num_queries)
    rounds = draw_queries(contender.kind, num_entries, count, "half", num_rounds=1)
    times = {name: np.zeros(count, np.int64) for name in (contender.name, "no_lookup")}
    evict = _Evict() if state == "cold" else None
    faults = {name: np.zeros(count, np.int64) for name in times}

    def maker(name: str, lookups: InContainer) -> Callable[[], Call]:
        queries = fresh_integers(rounds)
        time_each = (
            partial(_time_each, nanoseconds=times[name])
            if evict is None
            else partial(_time_cold, evict, nanoseconds=times[name], faults=faults[name])
        )
        return lambda: partial(time_each, lookups.container, lookups.queries(next(queries)))

    row = {
        "measure": "latency",
        "contender": contender.name,
        "kind": contender.kind,
        "num_entries": num_entries,
        "variant": state,
        "operations": count,
    }
    nothing = maker("no_lookup", InContainer(frozenset[int]()))
    measure(
        benchmark,
        row,
        maker(contender.name, container),
        beside={"no_lookup": nothing},
        rounds=1,
        warmup_rounds=0,
    )
    quantiles = {
        name: [float(each) for each in np.percentile(of_one, PERCENTILES)]
        for name, of_one in times.items()
    }
    keep(benchmark, {"percentiles": PERCENTILES, "nanoseconds": quantiles})
    if state == "cold":
        keep(benchmark, {"figures": _by_faults(times[contender.name], faults[contender.name])})


def _by_faults(
    nanoseconds: npt.NDArray[np.int64], faults: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Return how many lookups had a page fault, and the medians of those and of the others."""
    had = faults > 0
    figures = {"faulting": float(had.mean())}
    for name, which in (("with_fault", had), ("without_fault", ~had)):
        if which.any():
            figures[name] = float(np.median(nanoseconds[which]))
    return figures


def _time_each(
    container: Membership, queries: Sequence[Any], nanoseconds: npt.NDArray[np.int64]
) -> None:
    clock = time.perf_counter_ns
    for place, query in enumerate(queries):
        start = clock()
        query in container  # noqa: B015 - the answer is not needed
        nanoseconds[place] = clock() - start


def _time_cold(
    evict: Callable[[], object],
    container: Membership,
    queries: Sequence[Any],
    nanoseconds: npt.NDArray[np.int64],
    faults: npt.NDArray[np.int64],
) -> None:
    clock = time.perf_counter_ns
    for place, query in enumerate(queries):
        before = _num_faults()
        evict()
        start = clock()
        query in container  # noqa: B015 - the answer is not needed
        nanoseconds[place] = clock() - start
        faults[place] = _num_faults() - before


def _num_faults() -> int:
    """Return how many page faults this thread has had; none of them read a disk."""
    return getrusage(RUSAGE_THREAD).ru_minflt


class _Evict:
    def __init__(self) -> None:
        self._memory = np.zeros(2 * last_level_cache_size(), np.uint8)
        self()  # its own pages fault now

    def __call__(self) -> None:
        self._memory += 1
