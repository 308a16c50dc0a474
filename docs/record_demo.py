"""
Record what ``crlcheck demo`` prints on a terminal, and when: ``make recording``.

The file is an asciicast, version 2: a line with the terminal's size, and a line for each piece of
text with the seconds before it. ``asciinema play`` plays it, and the documentation's front page.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

COMMAND = (sys.executable, "-P", "-m", "crlcheck.cli", "demo")
SHOWN = "crlcheck demo"
WIDTH, HEIGHT = 110, 60
"""The terminal, in characters: as wide as the demo's table, and as high as what it prints."""


def record(command: Sequence[str], shown: str) -> str:
    """
    Run a command on a terminal of its own; return what it printed as an asciicast.

    *shown* is what a person types for it.

    Raises:
        RuntimeError: it failed, or complained of something.
    """
    started = time.monotonic()
    events: list[tuple[float, str]] = [(0.0, f"$ {shown}\r\n")]
    with tempfile.TemporaryFile() as complaints:
        own, other = pty.openpty()
        try:
            fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=other,
                # Progress, which comes and goes, is shown where this is a terminal.
                stderr=complaints,
                env=_environment(),
            )
            os.close(other)
            events += ((time.monotonic() - started, text) for text in _printed(own))
        finally:
            os.close(own)
        status = process.wait()
        complaints.seek(0)
        said = complaints.read().decode(errors="replace")
    if status or said:
        raise RuntimeError(f"{shown}: exit status {status}: {said}")
    head = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": shown}
    lines = [head, *([round(at, 3), "o", text] for at, text in events)]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def _environment() -> dict[str, str]:
    left_out = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}


def _printed(terminal: int) -> Iterator[str]:
    """Yield pieces of text as they come, until nobody has the other side open any more."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # how Linux says so
            return
        if not piece:
            return
        if text := decoder.decode(piece):
            yield text


def main() -> None:
    """Record the demo into the file that the command line names."""
    parser = argparse.ArgumentParser(description="Record what crlcheck demo prints.")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    recorded = record(COMMAND, SHOWN)
    if "answers through nginx are right" not in recorded:
        sys.exit("the half with nginx is missing: nothing was written")
    given.file.write_text(recorded, encoding="utf-8")
    print(f"{given.file}: {len(recorded.encode()):,} bytes")


if __name__ == "__main__":
    main()
