"""Lookups of many serials at once, half of them hits, in random order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

import crlcheck
from benchmarks.baselines.limits import IndependentAccesses
from benchmarks.record import Call, measure
from benchmarks.serials import integers
from benchmarks.workloads import SEED, Workload, draw_queries, make_workload

_COUNT = 400_000
_ROUNDS = 7


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["contains_many", "contains_packed"])
def test_batch(benchmark: Any, num_entries: int, method: str, threads: int) -> None:
    """
    Ask for 400 thousand, in one call of each thread, beside as many random reads of memory.

    Time is that from the first thread's start to the last one's end, over all
    serials. The reads do not wait for one another; one read for each serial.
    """
    workload = make_workload("random16", num_entries)
    accesses = IndependentAccesses(np.random.default_rng(SEED), _COUNT)
    row = {
        "measure": "batch",
        "contender": "crlcheck",
        "kind": "random16",
        "num_entries": num_entries,
        "variant": f"{method}, {threads} thread{'s' if threads > 1 else ''}",
        "operations": _COUNT,
    }
    with (
        crlcheck.open_index(workload.compile_image(), verify=False) as index,
        ThreadPoolExecutor(threads) as executor,
    ):
        hits = measure(
            benchmark,
            row,
            _maker(index, workload, method, threads, executor),
            beside={"memory_access": lambda: accesses},
            rounds=_ROUNDS,
        )
    assert hits == _COUNT // 2


def _maker(
    index: crlcheck.RevocationIndex,
    workload: Workload,
    method: str,
    threads: int,
    executor: ThreadPoolExecutor,
) -> Callable[[], Call]:
    rounds = draw_queries(workload.kind, workload.num_entries, _COUNT, "half", _ROUNDS + 1)
    rows = itertools.cycle(rounds)
    width = rounds[0].shape[1]

    def make() -> Call:
        parts = np.array_split(next(rows), threads)
        calls: list[Callable[[], int]]
        if method == "contains_many":
            calls = [partial(_many, index, integers(part)) for part in parts]
        else:
            calls = [partial(_packed, index, part.tobytes(), width) for part in parts]
        return calls[0] if threads == 1 else partial(_together, executor, calls)

    return make


def _many(index: crlcheck.RevocationIndex, serials: list[int]) -> int:
    return index.contains_many(serials).count(True)


def _packed(index: crlcheck.RevocationIndex, rows: bytes, width: int) -> int:
    return index.contains_packed(rows, width).count(1)


def _together(executor: ThreadPoolExecutor, calls: list[Callable[[], int]]) -> int:
    futures = [executor.submit(call) for call in calls]
    return sum(future.result() for future in futures)
