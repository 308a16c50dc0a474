"""Run the commands of a document's ``console`` blocks, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """A command of a document, and the output that the document shows."""

    text: str
    output: str


def commands_of(document: str) -> list[Command]:
    """The commands of all blocks in order; a line that begins with ``$ `` begins one."""
    found: list[Command] = []
    for block in re.findall(r"^```console\n(.*?)^```$", document, re.DOTALL | re.MULTILINE):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = text.splitlines()
            length = next(n for n in range(1, len(lines) + 1) if _is_whole("\n".join(lines[:n])))
            found.append(Command("\n".join(lines[:length]), "\n".join(lines[length:])))
    return found


def _is_whole(text: str) -> bool:
    """Whether a shell would run *text* rather than wait for another line."""
    heredoc = re.search(r"<<'(\w+)'", text)
    if heredoc is not None and f"\n{heredoc[1]}" not in text:
        return False
    if text.endswith("\\"):
        return False
    checked = subprocess.run(
        ["bash", "-n"], input=text, text=True, capture_output=True, check=False
    )
    return checked.returncode == 0


class Shell:
    """A shell in *directory* that keeps its variables and its directory between commands."""

    def __init__(self, directory: Path, state: Path, environ: Mapping[str, str]) -> None:
        self.directory, self._state = directory, state
        self._environ = dict(environ)
        state.write_text("")

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command; the first failure in it ends it."""
        where = self._state.with_suffix(".directory")
        script = (
            f"set -e; . {self._state}; cd {self.directory}\n{command}\n"
            f"status=$?\ndeclare -p | grep -E '^declare -(-|x) ' | grep -v ' _=' > {self._state}\n"
            f"pwd > {where}\nexit $status\n"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if where.exists():
            self.directory = Path(where.read_text().strip())
        return done


def search_path(*first: Path) -> str:
    """PATH with *first* before what this process has."""
    return os.pathsep.join([*map(str, first), os.environ["PATH"]])
