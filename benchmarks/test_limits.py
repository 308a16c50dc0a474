"""What the machine itself can do."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.baselines import limits
from benchmarks.record import measure
from benchmarks.workloads import SEED

_SIZE = 1 << 26
_ACCESSES = 500_000


def _row(name: str, operations: int, unit: str) -> dict[str, Any]:
    return {
        "measure": "limit",
        "contender": name,
        "kind": unit,
        "num_entries": operations,
        "operations": operations,
    }


def test_hash(benchmark: Any) -> None:
    """
    SHA-256 of 64 MiB in memory.
    """
    data = np.random.default_rng(SEED).bytes(_SIZE)
    measure(
        benchmark,
        _row("hash_in_memory", _SIZE, "byte"),
        lambda: partial(limits.hash_in_memory, data),
        rounds=7,
    )


def test_copy(benchmark: Any) -> None:
    """
    Copying 64 MiB to memory that was touched before.
    """
    source, target = np.ones(_SIZE, np.uint8), np.zeros(_SIZE, np.uint8)
    measure(
        benchmark,
        _row("memory_copy", _SIZE, "byte"),
        lambda: partial(limits.copy, source, target),
        rounds=7,
    )
    assert target[-1] == 1


def test_independent_accesses(benchmark: Any) -> None:
    """
    Half a million random reads of 256 MiB, none of which waits for another.
    """
    accesses = limits.IndependentAccesses(np.random.default_rng(SEED), _ACCESSES)
    measure(
        benchmark,
        _row("independent_access", _ACCESSES, "access"),
        lambda: accesses,
        rounds=7,
    )


def test_dependent_accesses(benchmark: Any) -> None:
    """
    Half a million random reads of 256 MiB, each of which waits for the one before.

    A Python loop makes them, so the same loop over a table in the cache is
    measured beside it; what they differ by is memory.
    """
    accesses = limits.DependentAccesses(np.random.default_rng(SEED), _ACCESSES)
    measure(
        benchmark,
        _row("dependent_access", _ACCESSES, "access"),
        lambda: accesses,
        beside={"dependent_access_cached": lambda: accesses.loop},
    )
