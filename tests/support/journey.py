"""Run the commands of a Markdown page in bash, and compare what they print with the page."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ANYTHING = "…"
"""Stands in an expected line for what differs from run to run, within that line."""

SECONDS_A_COMMAND = 600

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_END = "end of the command"


@dataclass(frozen=True, slots=True)
class Step:
    """A command as the page has it, and the lines that it says are printed."""

    command: str
    expected: str
    line: int


def read_steps(page: str) -> list[Step]:
    """
    Return the commands of the page's ``console`` blocks in order.

    A command is a line that begins with ``$``, and the lines after it that begin
    with ``>`` continue it. What follows, up to the next command or the end of the
    block, is what it prints on both standard output and standard error.
    """
    steps = []
    for block in _BLOCK.finditer(page):
        first_line = page.count("\n", 0, block.start(1)) + 1
        lines = block[1].splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith("$ ")]
        if not starts or starts[0] != 0:
            raise ValueError(f"line {first_line}: a console block begins with a command")
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            after = start + 1
            while after < end and lines[after].startswith("> "):
                after += 1
            command = "\n".join(line[2:] for line in lines[start:after])
            expected = "\n".join(lines[after:end])
            steps.append(Step(command, expected, first_line + start))
    return steps


def is_as_expected(expected: str, printed: str) -> bool:
    """Tell whether *printed* is what *expected* says, :data:`ANYTHING` in it left open."""
    pattern = "[^\n]*".join(re.escape(part) for part in expected.split(ANYTHING))
    return re.fullmatch(pattern, printed) is not None


class Bash:
    """One shell, which keeps its directory, variables and last status between commands."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(self, command: str) -> str:
        """
        Run *command* and return what it printed, without the last newline.

        Raises:
            TimeoutError: if it does not end within :data:`SECONDS_A_COMMAND`.
            EOFError: if the shell ended.
        """
        stdin = self._process.stdin
        assert stdin is not None
        # The status is handed on, so that `echo $?` may be the next command.
        say_the_end = f'printf "\\n%s\\n" "{_END}"'
        stdin.write(f"{{ {command}\n}} </dev/null\n".encode())
        stdin.write(f"status=$?; {say_the_end}; (exit $status)\n".encode())
        stdin.flush()
        return self._read_to_the_end().removesuffix("\n")

    def _read_to_the_end(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        end = f"\n{_END}\n".encode()
        printed = b""
        deadline = time.monotonic() + SECONDS_A_COMMAND
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not printed.endswith(end):
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise TimeoutError(f"not ended in {SECONDS_A_COMMAND} s: {printed.decode()}")
                piece = os.read(stdout.fileno(), 65536)
                if not piece:
                    raise EOFError(f"the shell ended: {printed.decode()}")
                printed += piece
        return printed[: -len(end)].decode()


@contextmanager
def open_bash(directory: Path, environment: Mapping[str, str]) -> Iterator[Bash]:
    """
    Start bash in *directory*, as somebody has it who installed crlcheck there.

    *environment* is added to that of this process.
    """
    path = [str(Path(sys.executable).parent), environment.get("PATH", os.environ["PATH"])]
    path += ["/usr/sbin", "/usr/share/easy-rsa"]
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        cwd=directory,
        env={
            **os.environ,
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            **environment,
            "PATH": os.pathsep.join(path),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with process:
        try:
            yield Bash(process)
        finally:
            process.kill()


def differences(page: str, bash: Bash) -> Iterator[str]:
    """Run the page and yield, for each command that prints something else, what it printed."""
    for step in read_steps(page):
        printed = bash.run(step.command)
        if not is_as_expected(step.expected, printed):
            shown = (f"line {step.line}: $ {step.command}", printed, "the page says:")
            yield "\n".join((*shown, step.expected))
