"""Open what was compiled before."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from benchmarks.baselines import sample_json
from benchmarks.baselines.limits import read_and_hash
from benchmarks.record import measure
from benchmarks.workloads import make_workload


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "unverified"])
def test_open_image(benchmark: Any, num_entries: int, verify: bool) -> None:
    """
    Open an image, beside reading and hashing the same file.
    """
    workload = make_workload("random16", num_entries)
    image = workload.compile_image()
    row = {
        "measure": "open",
        "contender": "crlcheck",
        "kind": "random16",
        "num_entries": num_entries,
        "variant": "verify=True" if verify else "verify=False",
        "figures": {"image_size": image.stat().st_size},
    }
    index = measure(
        benchmark,
        row,
        lambda: partial(crlcheck.open_index, image, verify=verify),
        beside={"read_and_hash": lambda: partial(read_and_hash, image)},
        rounds=15,
        warmup_rounds=2,
    )
    assert len(index) == num_entries
    index.close()


def test_open_json(benchmark: Any, num_entries: int, tmp_path: Path) -> None:
    """
    Read the JSON that the published sample would have left.
    """
    workload = make_workload("random16", num_entries)
    stored = tmp_path / "revoked.json"
    stored.write_text(json.dumps({hex(each): "" for each in workload.serials.integers()}))
    row = {
        "measure": "open",
        "contender": "sample_json",
        "kind": "random16",
        "num_entries": num_entries,
        "figures": {"image_size": stored.stat().st_size},
    }
    measure(benchmark, row, lambda: lambda: sample_json.read(stored.read_text()))
