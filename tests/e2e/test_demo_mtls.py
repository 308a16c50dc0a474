"""The demo's second half: what it shows where nginx is installed."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path

import pytest

from support.blocks import blocks
from support.demo import Run, check_interrupted, processes_of, run_demo
from support.scripts import ROOT, script

COMMAND = [sys.executable, "-P", "-m", "crlcheck.cli", "demo", "--entries", "2000"]

# Client, status, and verdict, cause and CRL number in the access log.
CALLS = [
    ("good", "200", "not_revoked", "-", "7"),
    ("revoked", "403", "revoked", "-", "7"),
    ("foreign", "403", "undetermined", "unknown_issuer", "-"),
    ("good", "403", "revoked", "-", "8"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of the command; the directory's name must not break nginx's configuration."""
    return run_demo(COMMAND, tmp_path_factory.mktemp("a demo; {with} nginx"))


def test_each_client_gets_what_it_should(run: Run) -> None:
    """
    Through nginx the good client gets 200, the revoked and the foreign one 403, and
    so does the good one once a new CRL lists it; the access log says why.
    """
    assert (run.status, run.errors) == (0, "")
    shown = re.findall(
        r"ms  the (\w+) client calls and gets (\d+)\n"
        r" +access log: GET /orders/7 (\d+) verdict=(\S+) cause=(\S+) crl_number=(\S+)\n",
        run.output,
    )
    assert [(client, got, *logged) for client, got, _, *logged in shown] == CALLS
    assert all(got == logged for _, got, logged, *_ in shown)
    assert "All 4 answers through nginx are right." in run.output
    assert "Left out" not in run.output
    assert max(map(len, run.output.splitlines())) <= 120


def test_a_run_leaves_nothing_behind(run: Run) -> None:
    """
    Neither temporary files nor nginx, gateway or functions outlive a run.
    """
    assert list(run.directory.iterdir()) == []
    assert processes_of(run.marker) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    """
    However the demo ends, nginx and the function under AWS's runtime client end with it.
    """
    running = check_interrupted(COMMAND, tmp_path, number, after="the good client calls")
    assert any("nginx.conf" in line for line in running)
    assert any("awslambdaric" in line for line in running)


def _second_half(text: str) -> str:
    """The part about mutual TLS, without what differs from run to run."""
    lines = re.search(r"(?s)[^\n]*a gateway starts.*?answers through nginx[^\n]*", text)
    assert lines is not None
    return re.sub(r"(?m)^ *[\d,]+\.\d ms|(?<=localhost:)\d+", "…", lines.group())


def test_the_readme_shows_what_comes(run: Run) -> None:
    """
    What the README shows of this half is what the command prints.
    """
    (shown,) = blocks("README.md", "## Install", language="text")
    assert _second_half(shown.text) == _second_half(run.output)


def _screen(cast: str) -> list[str]:
    """The lines of a recording, without what differs from run to run, and without padding."""
    _, *events = map(json.loads, cast.splitlines())
    text = re.sub(r"\d[\d,.]*", "1", "".join(text for _, _, text in events))
    return re.sub(r"[ ━─]+", " ", text).splitlines()


def test_the_recording_shows_what_comes() -> None:
    """
    What the front page of the documentation plays is what the command prints on a terminal. Its
    times are those that were measured.
    """
    recorder = script("docs/record_demo.py")
    now = recorder.record(COMMAND, recorder.SHOWN)
    assert _screen((ROOT / "docs" / "site" / "demo.cast").read_text("utf-8")) == _screen(now)
