"""
The units of ``deploy/systemd`` as systemd reads them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a command that is there."""
    for name in ("crlcheck.service", "crlcheck.socket"):
        text = (UNITS / name).read_text()
        command = str(Path(sys.executable).with_name("crlcheck"))
        (tmp_path / name).write_text(text.replace("/opt/crlcheck/bin/crlcheck", command))
    return tmp_path


def test_systemd_finds_no_fault_in_the_units(units: Path) -> None:
    """
    Every line is known and every value is one, and the two belong together.
    """
    paths = [str(path) for path in sorted(units.iterdir())]
    run = subprocess.run(
        ["systemd-analyze", "verify", *paths], check=False, capture_output=True, text=True
    )
    own = [line for line in run.stderr.splitlines() if "crlcheck." in line]
    assert own == []
    assert run.returncode == 0, run.stderr


def test_the_service_may_do_little(units: Path) -> None:
    """
    By systemd's own count, in which 10 is a service without any limit.
    """
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=14"]
    run = subprocess.run(
        [*command, str(units / "crlcheck.service")], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout
