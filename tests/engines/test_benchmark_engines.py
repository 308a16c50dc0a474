"""The benchmark of engines: its contenders say the same, and its figures are written."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

import support.benchmark_package  # noqa: F401 - it makes the package known

SMALL = ["--rows", "3000", "--issuers", "3", "--entries", "40", "--rounds", "2"]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each target has its ratio, and each thing that it took.
    """
    output = tmp_path / "engines.json"
    importlib.import_module("benchmarks.engines").main([*SMALL, "--output", str(output)])
    found = json.loads(output.read_text(encoding="utf-8"))
    assert len(found["times"]) == 8
    assert [one["name"] for one in found["ratios"]] == ["T24"] * 4
    assert len(capsys.readouterr().out.splitlines()) == 8 + 4
