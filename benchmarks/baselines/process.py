"""
Peers in other languages: a small program that is asked over a pipe.

A question is one line: ``load CRL CERTIFICATE`` reads and verifies, ``queries
FILE WIDTH`` takes rows of unsigned big-endian bytes, ``lookup`` looks all of
them up and answers with the hits, ``memory`` answers with the bytes alive. An
answer is ``ok NUMBER`` or ``error`` and why.
"""

from __future__ import annotations

import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.baselines.interface import Contender, Lookups
from benchmarks.workloads import BUILD

SOURCES = Path(__file__).parent
PROGRAMS = BUILD / "programs"


class Program(Contender):
    """A contender that is another process; its own start is never measured."""

    in_process = False

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    @abstractmethod
    def build(self) -> list[str | Path]:
        """Compile the program and return the command that starts it."""

    def start(self) -> None:
        """Start the program, once."""
        if self._process is None:
            PROGRAMS.mkdir(parents=True, exist_ok=True)
            self._process = subprocess.Popen(
                self.build(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

    def stop(self) -> None:
        """End the program, which leaves at the end of its input."""
        if self._process is not None:
            with self._process as process:
                assert process.stdin is not None
                process.stdin.close()
            self._process = None

    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Have the program read and verify, in place of what it has loaded."""
        self.ask("load", crl, issuer)
        return _InProgram(self)

    def ask(self, *words: object) -> int:
        """Ask one question and return the number that answers it."""
        self.start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(map(str, words)) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline().rstrip()
        if not answer.startswith("ok "):
            raise RuntimeError(f"{self.title} answered {answer!r} to {words[0]}")
        return int(answer.removeprefix("ok "))

    def ask_about(self, serials: Sequence[int]) -> Callable[[], int]:
        """Give the program serials, and return the call that has it look them up."""
        self.start()
        width = (max(serials).bit_length() + 7) // 8
        with tempfile.NamedTemporaryFile(dir=PROGRAMS) as file:
            file.write(b"".join(serial.to_bytes(width, "big") for serial in serials))
            file.flush()
            self.ask("queries", file.name, width)
        return partial(self.ask, "lookup")

    @property
    def process_id(self) -> int:
        """The program's process."""
        self.start()
        assert self._process is not None
        return self._process.pid


class _InProgram(Lookups):
    def __init__(self, program: Program) -> None:
        self._program = program

    def prepare(self, serials: Sequence[int]) -> Callable[[], int]:
        return self._program.ask_about(serials)
