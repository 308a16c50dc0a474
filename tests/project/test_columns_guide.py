"""docs/guides/columns.md: its commands in a shell, and what is typed in one interpreter."""

from __future__ import annotations

import doctest
import os
import sys
from pathlib import Path

import pytest

from support.blocks import as_page, blocks
from support.console import Shell, commands_of, search_path


def test_the_guide_works_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prints what the page has."""
    place = tmp_path / "place"
    place.mkdir()
    environ = {**os.environ, "PATH": search_path(Path(sys.executable).parent)}
    shell = Shell(place, tmp_path / "state", environ)
    for command in commands_of(as_page(blocks("columns.md", language="console"))):
        assert shell.run(command.text).stdout.rstrip("\n") == command.output
    monkeypatch.chdir(place)
    text = "\n".join(block.text for block in blocks("columns.md", language="pycon"))
    typed = doctest.DocTestParser().get_doctest(text, {}, "columns.md", "columns.md", 0)
    failed, tried = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST).run(typed)
    assert (failed, tried) == (0, len(typed.examples)), capsys.readouterr().out
