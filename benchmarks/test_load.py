"""From a CRL on disk, in the page cache, to something that answers; verified."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.baselines.interface import Contender, Lookups
from benchmarks.record import Call, affordable_rounds, measure, timed
from benchmarks.workloads import make_workload

_ESTIMATE_ENTRIES = 10_000


def test_load(benchmark: Any, contender: Contender, num_entries: int) -> None:
    """
    Load a CRL, half of its entries with a reason, with every contender.

    What a round has loaded is given up before the next, untimed. Slow ones get
    fewer rounds.
    """
    workload = make_workload(contender.kind, num_entries)
    small = make_workload(contender.kind, min(_ESTIMATE_ENTRIES, num_entries))
    loaded: list[Lookups] = []

    def close() -> None:
        while loaded:
            loaded.pop().close()

    def load() -> None:
        loaded.append(contender.load(workload.crl, workload.issuer))

    def make_load() -> Call:
        close()
        return load

    contender.start()
    try:
        contender.load(small.crl, small.issuer).close()
        loading_small = partial(contender.load, small.crl, small.issuer)
        seconds = timed(lambda: loading_small().close())
        rounds = affordable_rounds(seconds * num_entries / small.num_entries)
        row = {
            "measure": "load",
            "contender": contender.name,
            "kind": contender.kind,
            "num_entries": num_entries,
            "figures": {"source_size": workload.crl_size},
        }
        measure(benchmark, row, make_load, rounds=rounds, warmup_rounds=int(rounds > 2))
        listed = int.from_bytes(workload.serials.rows[0].tobytes(), "big")
        unlisted = workload.serials.non_members(np.random.default_rng(7), 1)
        assert loaded[0].prepare([listed, *unlisted])() == 1
        close()
    finally:
        contender.stop()
