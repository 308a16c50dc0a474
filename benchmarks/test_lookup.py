"""
Single lookups in a loop, in random order, of ints made just before.

The processor runs ahead into the next lookups while one still waits for memory,
as it does in any busy loop; ``test_latency`` has lookups alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import crlcheck
from benchmarks.baselines.interface import (
    Contender,
    InContainer,
    Lookups,
)
from benchmarks.record import MIN_ROUNDS, Call, measure
from benchmarks.workloads import (
    Answers,
    draw_queries,
    fresh_integers,
    make_workload,
    num_listed,
)

_PAIRED_QUERIES = 100_000
_PAIRED_ROUNDS = 11
SKEWED_KINDS = ("prefix_counter", "two_prefixes", "sequential_low", "mixed_lengths")


@pytest.mark.parametrize("answers", ["hits", "misses", "half"])
def test_lookup(
    benchmark: Any, contender: Contender, num_entries: int, loaded: Lookups, answers: Answers
) -> None:
    """
    Look serials up one by one in a warm loop, each round others.
    """
    count = contender.num_queries
    rounds = draw_queries(contender.kind, num_entries, count, answers, MIN_ROUNDS + 1)
    serials = fresh_integers(rounds)
    row = {
        "measure": "lookup",
        "contender": contender.name,
        "kind": contender.kind,
        "num_entries": num_entries,
        "variant": f"warm, {answers}",
        "operations": count,
    }
    hits = measure(benchmark, row, lambda: loaded.prepare(next(serials)))
    assert hits == num_listed(count, answers)


def test_against_set(benchmark: Any, num_entries: int) -> None:
    """
    Look the same serials up in crlcheck and in a Python set, turn and turn about.

    Each gets ints that were made for it just before: those that the set itself
    holds would lie in the cache where the set has just touched them.
    """
    workload = make_workload("random16", num_entries)
    row = {
        "measure": "against_set",
        "contender": "crlcheck",
        "kind": "random16",
        "num_entries": num_entries,
        "variant": "warm, half",
        "operations": _PAIRED_QUERIES,
    }
    reference = InContainer(set(workload.serials.integers()))
    with crlcheck.open_index(workload.compile_image(), verify=False) as index:
        hits = measure(
            benchmark,
            row,
            _asking("random16", num_entries, InContainer(index)),
            beside={"python_set": _asking("random16", num_entries, reference)},
            rounds=_PAIRED_ROUNDS,
        )
    assert hits == _PAIRED_QUERIES // 2


@pytest.mark.parametrize("kind", SKEWED_KINDS)
def test_skewed(benchmark: Any, largest: int, kind: str) -> None:
    """
    Look up serials of issuers with habits, beside random ones of 16 bytes.
    """
    images = [make_workload(each, largest).compile_image() for each in (kind, "random16")]
    with (
        crlcheck.open_index(images[0], verify=False) as skewed,
        crlcheck.open_index(images[1], verify=False) as random,
    ):
        row = {
            "measure": "skewed",
            "contender": "crlcheck",
            "kind": kind,
            "num_entries": largest,
            "variant": "warm, half",
            "operations": _PAIRED_QUERIES,
        }
        hits = measure(
            benchmark,
            row,
            _asking(kind, largest, InContainer(skewed)),
            beside={"random16": _asking("random16", largest, InContainer(random))},
            rounds=_PAIRED_ROUNDS,
        )
    assert hits == _PAIRED_QUERIES // 2


def _asking(kind: str, num_entries: int, lookups: InContainer) -> Callable[[], Call]:
    """Return a maker; all makers of a kind and size ask the same in the same round."""
    rounds = draw_queries(kind, num_entries, _PAIRED_QUERIES, "half", _PAIRED_ROUNDS + 1)
    serials = fresh_integers(rounds)
    return lambda: lookups.prepare(next(serials))
