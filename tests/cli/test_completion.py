"""Completion by a real bash; ``make e2e`` has the other shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.blocks import blocks
from support.command_line import Place, make_place
from support.shells import STARTS, completed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The demo's files, an image and a store."""
    return make_place(tmp_path_factory.mktemp("completion"))


def asked(place: Place, *words: str, store: str = "store") -> list[str]:
    """What the command tells bash for the last of *words*."""
    run = subprocess.run(
        [sys.executable, "-P", "-m", "crlcheck"],
        env={
            **os.environ,
            "_CRLCHECK_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["crlcheck", *words]),
            "COMP_CWORD": str(len(words)),
        },
        cwd=place.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout.split()


def test_commands_options_and_choices(place: Place) -> None:
    """
    Everything that click knows, and directories for stores.
    """
    assert asked(place, "pub") == ["plain,publish"]
    assert asked(place, "deny", "a") == ["plain,add"]
    assert asked(place, "check", "--ser") == ["plain,--serial", "plain,--serials-from"]
    assert asked(place, "check", "store", "--kind", "u") == ["plain,user"]
    assert asked(place, "publish", "--to", "st") == ["dir,st"]
    assert asked(place, "clean", "st") == ["dir,st"]
    assert asked(place, "check", "st") == ["file,st"]
    assert asked(place, "publish", "ca") == ["file,ca"]


def test_names_in_a_store(place: Place) -> None:
    """
    Scopes and fingerprints of a directory; nothing of a server, nor of what is damaged.
    """
    (scope,) = asked(place, "scope", "remove", "store", "''")
    key = scope.removeprefix("plain,")
    assert len(key) == 32
    assert asked(place, "scope", "reset", "store", key[:5]) == [scope]
    assert asked(place, "scope", "reset", "store", "zz") == []
    (issuer,) = asked(place, "issuer", "remove", "store", "''")
    assert len(issuer.removeprefix("plain,")) == 64
    assert asked(place, "issuer", "remove", "store", "ca.p") == ["file,ca.p"]
    assert asked(place, "scope", "remove", "s3://nowhere.invalid/x", "''") == []
    (place.path / "damaged").mkdir()
    place.write("damaged/catalog.json", b"{")
    assert asked(place, "scope", "remove", "damaged", "''") == []


def test_a_store_that_does_not_answer(place: Place) -> None:
    """
    A press of the key ends after two seconds, whatever a directory lies on.
    """
    program = (
        "import sys, time\nfrom crlcheck.stores import LocalStore\n"
        "LocalStore.read = lambda store, name: time.sleep(60)\n"
        "from crlcheck.cli import main\nsys.exit(main())"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={
            **os.environ,
            "_CRLCHECK_COMPLETE": "bash_complete",
            "COMP_WORDS": "crlcheck scope remove store ",
            "COMP_CWORD": "4",
        },
        cwd=place.path,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stdout) == (-14, b"")


def test_the_lines_of_the_page(place: Place) -> None:
    """
    A shell that reads them completes; fish reads what the second one writes.
    """
    (example,) = blocks("command-line.md", "## Completion")
    line, fish = example.text.splitlines()
    assert line.partition("   #")[0] == STARTS["bash"][1]
    assert line.partition("   #")[0].replace("bash", "zsh") in STARTS["zsh"][1]
    written = place.path / ".config" / "fish" / "completions" / "crlcheck.fish"
    written.parent.mkdir(parents=True)
    environ = {
        "HOME": str(place.path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(["bash", "-c", fish], env=environ, check=True)
    assert "complete --no-files --command crlcheck " in written.read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("crlcheck publ", "crlcheck publish "),
        ("crlcheck check sto", "store/"),
        ("crlcheck check --policy hold=allow --serials-f", "--serials-from "),
        ("crlcheck deny ", "remove"),
        ("crlcheck completion z", "completion zsh "),
    ],
)
def test_bash_completes(place: Place, words: str, expected: str) -> None:
    """
    By the line that the help shows.
    """
    assert shutil.which("bash")
    assert Path(sys.executable).with_name("crlcheck").exists()
    assert expected in completed("bash", words, expected, place.path)
