"""Single lookups, half of them hits, in random order, of ints made afresh."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines.interface import Contender
from benchmarks.contenders import CONTENDERS
from benchmarks.workloads import make_workload

SIZES = (10_000, 1_000_000)


@pytest.mark.parametrize("num_entries", SIZES)
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_lookup(benchmark, contender: Contender, num_entries: int) -> None:  # type: ignore[no-untyped-def]
    """
    Look serials up one by one; the extra information has nanoseconds for each.
    """
    num_entries = min(num_entries, contender.max_entries)
    workload = make_workload("random16", num_entries)
    rng = np.random.default_rng(7)
    contender.start()
    try:
        lookups = contender.load(workload.crl, workload.issuer)
        queries = workload.queries(rng, contender.num_queries, "half")
        hits = benchmark.pedantic(
            lookups.prepare(queries), rounds=contender.rounds, warmup_rounds=1, iterations=1
        )
        assert hits == contender.num_queries // 2
        lookups.close()
    finally:
        contender.stop()
    benchmark.extra_info["num_entries"] = num_entries
    median = benchmark.stats.stats.median
    benchmark.extra_info["nanoseconds_each"] = median / contender.num_queries * 1e9
