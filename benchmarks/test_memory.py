"""Memory of compiling and of what is loaded, each in a process of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks import memory
from benchmarks.baselines.interface import Contender
from benchmarks.record import keep
from benchmarks.workloads import STANDARD_SIZES, make_workload


def test_compile_memory(benchmark: Any, num_entries: int) -> None:
    """
    Compile from a stream, without attributes: the most that the process ever had.
    """
    workload = make_workload("random16", num_entries)
    figures = benchmark.pedantic(
        partial(memory.run, "compile_memory", workload.crl, workload.issuer)
    )
    keep(
        benchmark,
        {
            "measure": "compile_memory",
            "contender": "crlcheck",
            "kind": "random16",
            "num_entries": num_entries,
            "figures": figures,
        },
    )


def test_memory(benchmark: Any, contender: Contender, num_entries: int) -> None:
    """
    Load a CRL and look up: what the process has more than before, and had at most.
    """
    workload = make_workload(contender.kind, num_entries)
    small = make_workload(contender.kind, STANDARD_SIZES[0])
    figures = benchmark.pedantic(
        partial(memory.run, "memory", contender.name, workload.crl, workload.issuer, small.crl)
    )
    keep(
        benchmark,
        {
            "measure": "memory",
            "contender": contender.name,
            "kind": contender.kind,
            "num_entries": num_entries,
            "figures": figures,
        },
    )
