"""Real shells on a terminal, in which a test types words and presses the Tab key."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

# How each shell starts without the user's files, and where it reads the completions.
STARTS = {
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(crlcheck completion bash)"'),
    "zsh": (
        ["-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$(crlcheck completion zsh)"',
    ),
    "fish": (["--no-config", "-i"], "crlcheck completion fish | source"),
}


def completed(shell: str, words: str, expected: str, directory: Path) -> str:
    """
    Type *words* and Tab twice in *directory*; return what the terminal shows then.

    It waits until *expected* is shown, or for half a minute.
    """
    arguments, setup = STARTS[shell]
    ours, theirs = pty.openpty()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(directory), "TERM": "dumb" if shell == "bash" else "xterm",
        "INPUTRC": "/dev/null", "LC_ALL": "C.UTF-8", "COLUMNS": "200",
    }  # fmt: skip
    program = shutil.which(shell)
    assert program is not None, f"{shell} is not installed"
    process = subprocess.Popen(
        [program, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=directory,
        env=environment, start_new_session=True,
        # fish wants the terminal to be its own. No other thread runs in these tests.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )  # fmt: skip
    os.close(theirs)
    try:
        os.write(ours, setup.encode() + b"; echo rea''dy\r")
        _read_until(ours, b"\nready")
        os.write(ours, words.encode() + b"\t")
        time.sleep(1)
        os.write(ours, b"\t")
        return _read_until(ours, expected.encode()).decode("utf-8", "replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_until(terminal: int, expected: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 30
    while expected not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            with contextlib.suppress(OSError):
                shown += os.read(terminal, 1 << 16)
    return shown
