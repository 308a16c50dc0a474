"""From a CRL on disk, in the page cache, to something that answers; verified."""

from __future__ import annotations

import pytest

from benchmarks.baselines.interface import Contender
from benchmarks.baselines.limits import read_and_hash
from benchmarks.contenders import CONTENDERS
from benchmarks.workloads import make_workload

SIZES = (10_000, 100_000, 1_000_000)


@pytest.mark.parametrize("num_entries", SIZES)
def test_limit_read_and_hash(benchmark, num_entries: int) -> None:  # type: ignore[no-untyped-def]
    """
    Reading the file and hashing it: nothing that verifies can be faster.
    """
    workload = make_workload("random16", num_entries)
    digest = benchmark.pedantic(
        read_and_hash, (workload.crl,), rounds=7, warmup_rounds=1, iterations=1
    )
    assert len(digest) == 32
    benchmark.extra_info["num_entries"] = num_entries


@pytest.mark.parametrize("num_entries", SIZES)
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_load(benchmark, contender: Contender, num_entries: int) -> None:  # type: ignore[no-untyped-def]
    """
    Load a CRL of random serials of 16 octets, half of its entries with a reason.
    """
    num_entries = min(num_entries, contender.max_entries)
    workload = make_workload("random16", num_entries)
    rounds = contender.rounds if num_entries < 1_000_000 else 3
    contender.start()
    try:
        lookups = benchmark.pedantic(
            contender.load, (workload.crl, workload.issuer), rounds=rounds, iterations=1
        )
        listed = int.from_bytes(workload.serials.rows[0].tobytes(), "big")
        assert lookups.prepare([listed, listed ^ 1])() == 1
        lookups.close()
    finally:
        contender.stop()
    benchmark.extra_info["num_entries"] = num_entries
