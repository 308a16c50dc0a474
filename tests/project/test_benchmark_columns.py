"""The benchmark of tables: its contenders say the same, and its figures are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.benchmark_package import columns

SMALL = ["--rows", "3000", "--issuers", "3", "--entries", "40", "--certificates", "120"]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each target has its ratio, and each thing that it took."""
    output = tmp_path / "columns.json"
    columns.main([*SMALL, "--rounds", "2", "--output", str(output)])
    found = json.loads(output.read_text(encoding="utf-8"))
    assert set(found["times"]) == {
        "read", "table", "check", "look-ups", "certificates", "parse", "cryptography"
    }  # fmt: skip
    assert [one["name"] for one in found["ratios"]] == ["T23", "T23", "T25"]
    assert len(capsys.readouterr().out.splitlines()) == 7 + 3


def test_a_wrong_answer_is_no_figure(tmp_path: Path) -> None:
    """What is timed is compared before."""
    inventory = columns.Inventory(tmp_path, 3000, 3, 40)
    inventory.require_right(2)
    inventory.num_listed += 1
    with pytest.raises(RuntimeError, match="expected 4 revoked"):
        inventory.require_right(2)
    certificates = columns.Certificates(80)
    certificates.require_right()
    certificates.num_listed -= 1
    with pytest.raises(RuntimeError, match="expected 1"):
        certificates.require_right()


def test_medians() -> None:
    """Of each of both times by itself."""
    rounds = [{"a": columns.Times(cpu, 10 - cpu)} for cpu in (1.0, 5.0, 2.0)]
    assert columns.medians(rounds) == {"a": columns.Times(2.0, 8.0)}
