"""What a terminal shows: colors and progress, by the variables that users set."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import Place, make_place

COMMAND = [sys.executable, "-P", "-m", "crlcheck"]
ESC = b"\x1b"
GREEN = b"\x1b[32m"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The demo's files, an image and a store."""
    return make_place(tmp_path_factory.mktemp("screen"))


def on_terminal(
    arguments: list[str], *streams: str, **variables: str
) -> tuple[subprocess.CompletedProcess[bytes], bytes]:
    """Run the command with some streams on a terminal; return it and what the terminal got."""
    named = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM", "COLORTERM")
    environment = {key: value for key, value in os.environ.items() if key not in named}
    ours, theirs = pty.openpty()
    # A terminal shows what is written while the command runs: read it meanwhile.
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs if "stdout" in streams else subprocess.PIPE,
        stderr=theirs if "stderr" in streams else subprocess.PIPE,
        env={**environment, "TERM": "xterm", **variables},
    )
    os.close(theirs)
    shown = b""
    with process, os.fdopen(ours, "rb", buffering=0) as terminal:
        with contextlib.suppress(OSError):
            while chunk := terminal.read(4096):
                shown += chunk
        out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err), shown


# ---- colors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "is_colored"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"FORCE_COLOR": "0"}, True),
    ],
    ids=str,
)
def test_colors_on_a_terminal(place: Place, variables: dict[str, str], is_colored: bool) -> None:
    """
    Of lines and of tables alike.
    """
    check = ["check", place["store"], place["good.pem"]]
    for arguments in (check, ["inspect", place["store"]]):
        ran, shown = on_terminal(arguments, "stdout", **variables)
        assert ran.returncode == 0
        assert (ESC in shown) is is_colored, shown


@pytest.mark.parametrize(
    ("variables", "is_colored"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"CLICOLOR_FORCE": "0"}, False),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False),
    ],
    ids=str,
)
def test_colors_in_a_file(place: Place, variables: dict[str, str], is_colored: bool) -> None:
    """
    Only where they are demanded, and never in JSON.
    """
    check = ["check", place["store"], place["good.pem"]]
    for arguments in (check, ["inspect", place["store"]]):
        ran, _ = on_terminal(arguments, **variables)
        assert (ESC in ran.stdout) is is_colored, ran.stdout
        ran, _ = on_terminal([*arguments, "--json"], **variables)
        assert ESC not in ran.stdout


# ---- progress ----------------------------------------------------------------------


def _runs(place: Place, target: Path) -> dict[str, list[str]]:
    issuer = ["--issuer", place["ca.pem"]]
    return {
        "reading": ["compile", place["ca.crl"], *issuer, "-o", str(target / "x.crlx")],
        "reading ": ["publish", place["ca.crl"], *issuer, "--to", str(target / "store")],
        "copying to": ["mirror", place["store"], str(target / "copy")],
        "making the files": ["demo", "--files", str(target / "files"), "--entries", "10"],
        "checking": ["check", place["store"], place["good.pem"]],
    }


@pytest.mark.parametrize(
    "words", ["reading", "reading ", "copying to", "making the files", "checking"]
)
def test_progress_is_for_terminals(place: Place, tmp_path: Path, words: str) -> None:
    """
    On standard error while it lasts; not in a quiet run, on a dumb terminal, or beside
    JSON, and standard output gets what it gets without.
    """
    arguments = _runs(place, tmp_path)[words]
    ran, shown = on_terminal(arguments, "stderr")
    assert (ran.returncode, words.encode() in shown) == (0, True)
    assert ran.stdout.strip()
    assert ESC not in ran.stdout
    for silent, variables in ((["--json"], {}), (["--quiet"], {}), ([], {"TERM": "dumb"})):
        ran, shown = on_terminal([*arguments, *silent], "stderr", **variables)
        assert ran.returncode == 0
        assert ESC not in shown
        assert words.encode() not in shown
    ran, shown = on_terminal(arguments, "stderr", NO_COLOR="1")
    assert GREEN not in shown
    assert b"[3" not in shown.replace(b"[?25", b"")
    ran, _ = on_terminal(arguments)
    assert ran.stderr == b""


def test_what_is_said_meanwhile_is_whole(place: Place) -> None:
    """
    With both streams on one terminal each verdict is a line of its own.
    """
    clients = [place["good.pem"], place["revoked.pem"], place["foreign.pem"], place["nope.pem"]]
    ran, shown = on_terminal(["check", place["store"], *clients], "stdout", "stderr")
    assert ran.returncode == 1
    for words in (b" is not revoked", b" is revoked", b" is undetermined", b"No such file"):
        assert shown.count(words) == 1
