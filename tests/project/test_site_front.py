"""The commands on the first page of the documentation's site."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crlcheck.cli import main
from crlcheck.demo.world import make_world
from support.console import commands_of
from support.scripts import script


def test_each_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One after the other; the service shows its settings instead of serving.
    """
    make_world(100, now=datetime.now(UTC)).write_files(tmp_path)
    (tmp_path / "good.pem").rename(tmp_path / "client.pem")
    monkeypatch.chdir(tmp_path)
    publish, check, serve = commands_of(script("docs/make_site.py").front())
    for command in (publish.text, check.text, f"{serve.text} --show-settings"):
        program, *arguments = shlex.split(command)
        assert program == "crlcheck"
        assert main(arguments) == 0, command
