"""docs/tutorials/library.md from its first command to its last."""

from __future__ import annotations

import doctest
import os
import re
import sys
from pathlib import Path

import pytest

from support.blocks import as_page, blocks
from support.console import Shell, commands_of, search_path

DEMO = blocks("library.md", "## A CA, and three clients", language="console")
TYPED = blocks("library.md", language="pycon")
COMMANDS = blocks("library.md", "## The same by command", language="console")


def run(shell: Shell, page: str) -> None:
    """Run the commands of a page, each of which must print what the page has."""
    for command in commands_of(page):
        done = shell.run(command.text)
        expected = re.escape(command.output).replace("…", ".*")
        assert re.fullmatch(expected, done.stdout.rstrip("\n")), done.stdout


def test_the_tutorial_works_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Its commands in a shell, and what is typed at the prompt between them in one interpreter.
    """
    place = tmp_path / "place"
    place.mkdir()
    environ = {**os.environ, "PATH": search_path(Path(sys.executable).parent)}
    shell = Shell(place, tmp_path / "state", environ)
    run(shell, as_page(DEMO))
    monkeypatch.chdir(place)
    # In an example "..." continues a line, so that the page has one character for what differs.
    text = "\n".join(block.text for block in TYPED).replace("…", "...")
    typed = doctest.DocTestParser().get_doctest(text, {}, "library.md", "library.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.FAIL_FAST)
    failed, tried = runner.run(typed)
    assert (failed, tried) == (0, len(typed.examples)), capsys.readouterr().out
    run(shell, as_page(COMMANDS))
