"""Run ``crlcheck demo``, and find the processes that it leaves."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    status: int
    output: str
    errors: str
    directory: Path
    marker: str


def run_demo(command: Sequence[str], directory: Path) -> Run:
    """Run the command, with *directory* for its temporary files."""
    marker = secrets.token_hex(16)
    done = subprocess.run(
        command, env=_environment(directory, marker), capture_output=True, text=True, check=False
    )
    return Run(done.returncode, done.stdout, done.stderr, directory, marker)


def check_interrupted(
    command: Sequence[str], directory: Path, number: signal.Signals, *, after: str
) -> list[str]:
    """
    Send a signal once a line with *after* has come, and check that all ends; return
    the command lines of the processes that ran by then.
    """
    marker = secrets.token_hex(16)
    with subprocess.Popen(
        command, env=_environment(directory, marker), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(after in line for line in process.stdout)
        running = processes_of(marker)
        process.send_signal(number)
        status = process.wait(60)
    assert status == (-number if number is signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 60
    while processes_of(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(marker) == []
    if number is not signal.SIGKILL:
        assert list(directory.iterdir()) == []
    return running


def processes_of(marker: str) -> list[str]:
    """The command lines of all processes that inherited the marker."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and marker.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue  # gone meanwhile, or somebody else's
    return found


def _environment(directory: Path, marker: str) -> dict[str, str]:
    """An environment that would lead AWS clients astray, were it passed on."""
    return {
        **os.environ,
        "TMPDIR": str(directory),
        "AWS_PROFILE": "no-such-profile",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "CRLCHECK_STORE": "s3://somebody-elses-bucket",
        "DEMO_TEST_RUN": marker,
    }
