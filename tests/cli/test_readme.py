"""What the README shows is what happens."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crlcheck.demo.world import make_world
from support.blocks import blocks

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")

# What differs from run to run: times, keys and what derives from them, the size
# of an ECDSA signature, where the store lies.
_VARIABLE = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"images/[0-9a-f]{64}-[0-9a-f]{32}", "IMAGE"),
    (r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b", "DIGEST"),
    (r"(?<=the CRL as DER: )[\d,]+|[\d,]+(?= bytes\n)", "SIZE"),
    (r"(?:/[\w.-]+)+(?=/published:)", "DIRECTORY"),
)


PYTHON = [one.text for one in blocks("README.md", language="python")]
CONSOLE = [one.text for one in blocks("README.md", language="console")]
(PRINTED,) = blocks("README.md", "# crlcheck", language="text")


def _masked(text: str) -> str:
    for pattern, name in _VARIABLE:
        text = re.sub(pattern, name, text)
    return text


def _run(arguments: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the files that the README's examples use."""
    make_world(1000, now=datetime.now(UTC)).write_files(tmp_path)
    return tmp_path


def test_the_first_example_prints_what_it_says(directory: Path) -> None:
    """
    The example at the top is nine lines long, runs, and prints the block below it.
    """
    example, printed = PYTHON[0], PRINTED.text
    assert len(example.splitlines()) == 9
    run = _run(["-c", example], directory)
    # The shown image size is exact, the rest but for what no two runs share.
    assert _masked(run.stdout) == _masked(printed)
    assert run.stdout.splitlines()[0] == printed.splitlines()[0]
    assert run.returncode == 0


def test_every_python_example_runs(directory: Path) -> None:
    """
    The other examples run too; they state by assertions what comes out.
    """
    examples = PYTHON[1:]
    assert examples
    for example in examples:
        run = _run(["-c", example], directory)
        assert (run.returncode, run.stdout) == (0, "")


def _session() -> list[tuple[str, str]]:
    """Every crlcheck command of the README in order, with the output shown."""
    commands = []
    for block in CONSOLE:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            if command.split()[0] in ("crlcheck", "echo"):
                commands.append((command, output))
    return commands


def test_the_commands_print_what_they_say(tmp_path: Path) -> None:
    """
    The command line session, run from start to end, prints what is shown, exit
    statuses included.
    """
    session = _session()
    assert {command.split()[1] for command, _ in session} >= {
        "check",
        "compile",
        "demo",
        "inspect",
        "publish",
    }
    status = 0
    for command, shown in session:
        if command == "echo $?":
            found = f"{status}\n"
        else:
            run = _run(["-m", "crlcheck.cli", *shlex.split(command)[1:]], tmp_path)
            found, status = run.stdout, run.returncode
        assert _masked(found) == _masked(shown), command


def test_links_lead_somewhere() -> None:
    """
    Every file that the README links to exists.
    """
    targets = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert targets
    assert [target for target in targets if not (README.parent / target).exists()] == []
