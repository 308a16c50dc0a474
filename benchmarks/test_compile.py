"""A CRL on disk, in the page cache, to an image in a new file; verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from benchmarks.baselines.limits import read_and_hash
from benchmarks.contenders import fresh_image
from benchmarks.record import Call, measure
from benchmarks.workloads import make_workload

# Where there is one core, that is all that can be said.
CORES = (1, 2) if len(os.sched_getaffinity(0)) > 1 else (1,)


@pytest.mark.parametrize("attributes", [True, False], ids=["attributes", "serials"])
@pytest.mark.parametrize("cores", CORES)
def test_compile(benchmark: Any, num_entries: int, cores: int, attributes: bool) -> None:
    """
    Compile random serials of 16 bytes, beside reading and hashing the same file.

    No verification can do with less than the latter. Every round writes a file
    of a new name; the one before is removed in between, untimed.
    """
    workload = make_workload("random16", num_entries)
    written: list[Path] = []

    def make_compile() -> Call:
        while written:
            written.pop().unlink()
        written.append(fresh_image(workload.crl))
        return partial(
            crlcheck.compile_crl,
            workload.crl,
            written[0],
            issuer=workload.issuer,
            attributes=attributes,
            fsync=False,
            max_source_size=0,
        )

    row = {
        "measure": "compile",
        "contender": "crlcheck",
        "kind": "random16",
        "num_entries": num_entries,
        "variant": _variant(attributes, cores),
        "figures": {"source_size": workload.crl_size},
    }
    with only_cores(cores):
        report = measure(
            benchmark,
            row,
            make_compile,
            beside={"read_and_hash": lambda: partial(read_and_hash, workload.crl)},
            rounds=15 if num_entries <= 1_000_000 else 7,
            warmup_rounds=2,
        )
    assert report.num_entries == num_entries
    written.pop().unlink()


def _variant(attributes: bool, cores: int) -> str:
    """Name a way of compiling as the targets do."""
    kept = "attributes" if attributes else "serials"
    return f"{kept}, {cores} core{'s' if cores > 1 else ''}"


@contextmanager
def only_cores(count: int) -> Iterator[None]:
    """Stay on *count* cores; compile_crl looks which it has when it is called."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
