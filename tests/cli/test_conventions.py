"""What every command has in common: its options, its help, its answers as JSON."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from crlcheck.cli import main
from crlcheck.cli.command import Command
from crlcheck.cli.root import root
from crlcheck.encoding.strict_json import parse_json
from crlcheck.signing.signing_key import write_new_key
from support.command_line import Place, make_place
from support.documents import document

COMMAND = [sys.executable, "-P", "-m", "crlcheck.cli"]


def commands(
    command: click.Command = root, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command and group with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))


COMMANDS = dict(commands())
LEAVES = {path for path, command in COMMANDS.items() if not isinstance(command, click.Group)}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The demo's files, an image and a store."""
    return make_place(tmp_path)


# ---- the tree ----------------------------------------------------------------------


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_the_common_options(path: tuple[str, ...]) -> None:
    """
    Each takes --json, -q, -v, --debug and --help, so that no command need be looked up.
    """
    command = COMMANDS[path]
    context = click.Context(command, info_name=" ".join(path))
    found = {name for parameter in command.get_params(context) for name in parameter.opts}
    assert found >= {"--json", "-q", "--quiet", "-v", "--verbose", "--debug", "--help"}
    assert isinstance(command, Command)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_has_exit_statuses_and_examples(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    An example is a line that the command's parser takes; a status is one that it has.
    """
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    statuses = shown.split("\nExit status:\n")[1].split("\n\n")[0].splitlines()
    assert [int(line.split()[0]) for line in statuses][:1] == [0]
    assert {int(line.split()[0]) for line in statuses} <= {0, 1, 2, 3, 4, 5, 6}
    examples = shown.split("\nExamples:\n")[1].splitlines()
    assert examples
    for example in examples:
        words = shlex.split(example.rpartition("| ")[2])
        assert words[: 1 + len(path)] == ["crlcheck", *path]
        _parse(root, words[1:])


def _parse(command: click.Command, words: list[str]) -> None:
    """Parse *words* as the command does, without running anything."""
    if "--help" in words:
        return
    with click.Context(command, info_name="crlcheck") as context:
        rest = command.parse_args(context, words)
        if isinstance(command, click.Group):
            _name, below, words = command.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            assert below is not None, rest
            _parse(below, words)


# ---- answers as JSON -----------------------------------------------------------------

# What each command needs to end well, in this order, after the command that stands before it.
_RUNS: dict[tuple[str, ...], list[str]] = {
    ("refusal", "list"): ["store"],
    ("refusal", "dismiss"): ["store", "README.txt"],
    ("compile",): ["ca.crl", "--issuer", "ca.pem", "-o", "new.crlx"],
    ("publish",): ["ca.crl", "--issuer", "ca.pem", "--to", "other"],
    ("check",): ["store", "good.pem"],
    ("check-table",): [
        *("store", "table.csv", "--issuer", "issuer", "--serial", "serial", "-o", "out.parquet"),
    ],
    ("inspect",): ["store"],
    ("demo",): ["--files", "files", "--entries", "10"],
    ("deny", "add"): ["store", "good.pem"],
    ("deny", "list"): ["store"],
    ("deny", "remove"): ["store", "good.pem"],
    ("grace", "add"): ["store", "--for", "1h"],
    ("grace", "list"): ["store"],
    ("grace", "remove"): ["store"],
    ("status",): ["store"],
    ("issuer", "list"): ["store"],
    ("issuer", "anchor"): ["store", "ca.pem"],
    ("issuer", "no-crl"): ["store", "ca.pem"],
    ("scope", "list"): ["store"],
    ("scope", "set"): ["store", "SCOPE", "--covers-no-distribution-point"],
    ("scope", "reset"): ["store", "SCOPE"],
    ("mirror",): ["store", "copy"],
    ("clean",): ["store"],
    ("verify",): ["store", "--repair-from", "copy"],
    ("restore",): ["store", "--from", "copy"],
    ("advance",): ["store", "--above", "99"],
    ("export",): ["copy", "--format", "sample-json", "-o", "out.json"],
    ("diff",): ["ca.crlx", "new.crlx"],
    ("sign",): ["copy", "--sign-with", "root-key.pem", "--adopt"],
    ("history",): ["store"],
    ("completion",): ["bash"],
    ("serve",): [
        *("store", "--verified-by", "proxy", "--header", "X-Cert", "--form", "nginx"),
        "--show-settings",
    ],
    ("key", "new"): [],
    ("key", "show"): ["ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"],
    ("help",): ["deny", "add"],
    ("scope", "remove"): ["store", "SCOPE"],
    ("issuer", "remove"): ["store", "ca.pem"],
    ("issuer", "readmit"): ["store", "ca.pem"],
}
# These need a server, or a bucket: their own tests hold their documents.
_ELSEWHERE = {("fetch",), ("doctor",), ("migrate", "aws-sample")}


def test_every_command_answers_with_one_json_document(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Standard output is one document in strict JSON and nothing else, standard error empty;
    a quiet run of the same command writes nothing, with the same exit status.
    """
    assert set(_RUNS) == LEAVES - _ELSEWHERE
    monkeypatch.chdir(place.path)
    write_new_key("root-key.pem")
    place.refusal()
    place.write("table.csv", b"issuer,serial\nCN=Demo Issuing CA,2a\n")
    assert main(["scope", "list", "store", "--json"]) == 0
    (scope,) = json.loads(capsys.readouterr().out)["scopes"]
    for path, arguments in _RUNS.items():
        given = [scope if one == "SCOPE" else one for one in arguments]
        status = main([*path, *given, "--json"])
        out, err = capsys.readouterr()
        if path[-1] not in ("remove", "readmit", "dismiss"):  # which cannot be done twice
            assert main([*path, *given, "--quiet"]) == status
            assert capsys.readouterr() == ("", ""), path
        assert (status, err) == (0, ""), path
        assert isinstance(parse_json(out.encode()), dict), path


@pytest.mark.parametrize("path", sorted(LEAVES), ids=" ".join)
def test_every_command_reports_wrong_usage_as_json(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Also where --json stands after what cannot be parsed, or before the command.
    """
    for arguments in ([*path, "--frobnicate", "--json"], ["--json", *path, "--frobnicate"]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        found: Any = parse_json(out.encode())
        assert (found["kind"], found["exit_status"], err) == ("NoSuchOption", 2, "")
        assert "--frobnicate" in found["error"]
        assert found["remedy"] == f"crlcheck {' '.join(path)} --help"


def test_an_error_as_json_has_its_attributes(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The members are the exception's name, its message and its attributes; the status is that
    of the text.
    """
    damaged = place.write("damaged.crl", place.world.crl[:-1])
    arguments = ["compile", damaged, "--issuer", place["ca.pem"], "-o", place["x"], "--json"]
    assert main(arguments) == 4
    out, err = capsys.readouterr()
    found: Any = parse_json(out.encode())
    assert err == ""
    assert set(found) == {"error", "kind", "attributes", "remedy", "exit_status"}
    assert (found["kind"], found["exit_status"]) == ("MalformedCrlError", 4)
    assert set(found["attributes"]) >= {"rule", "offset"}
    assert main(["compile", place["nope"], *arguments[2:]]) == 4
    found = parse_json(capsys.readouterr().out.encode())
    assert found["kind"] == "FileNotFoundError"
    assert found["attributes"] == {"errno": 2, "filename": place["nope"]}


def test_names_that_are_no_text_are_strict_json(place: Place) -> None:
    """
    A name with bytes that are no UTF-8 is escaped, because readers refuse such bytes.
    """
    name = os.fsdecode(os.fsencode(place.path) + b"/\xff.pem")
    Path(name).write_bytes(place.world.good.pem)
    command = [*COMMAND, "check", place["store"], name, "--json"]
    run = subprocess.run(command, capture_output=True, check=False)
    found: Any = parse_json(run.stdout)
    assert found["results"][0]["certificate"].endswith("/\\udcff.pem")
    assert b"\\udcff" in run.stdout.replace(b"\\\\", b"\\")
    assert run.returncode == 0


def test_json_of_a_missing_extra() -> None:
    """
    Without click, which would read the options, the error is JSON all the same.
    """
    program = "import sys; sys.modules['click'] = None\nfrom crlcheck.cli import main\n"
    program += "sys.exit(main(['check', 'store', 'x.pem', '--json']))"
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    found: Any = parse_json(run.stdout.encode())
    assert (run.returncode, run.stderr) == (4, "")
    assert (found["kind"], found["remedy"]) == ("ImportError", "pip install 'crlcheck[cli]'")


@pytest.mark.parametrize("module", ["crlcheck", "crlcheck.cli"])
def test_python_runs_it_as_a_module(module: str) -> None:
    """
    Where the script is not on the path.
    """
    command = [sys.executable, "-P", "-m", module, "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()[0], run.stderr) == (0, "crlcheck", "")


def test_help_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """
    ``help deny add`` is ``deny add --help``; what is mistyped gets the near name.
    """
    for words in ([], ["deny"], ["deny", "add"]):
        assert main([*words, "--help"]) == 0
        asked = capsys.readouterr().out
        assert main(["help", *words]) == 0
        assert capsys.readouterr().out == asked
    for arguments, near in (
        (["help", "deny", "ad"], "add"),
        (["pubish"], "publish"),
        (["deny", "lst", "x"], "list"),
        (["check", "--seral", "x"], "--serial"),
    ):
        assert main(arguments) == 2
        near_ones = capsys.readouterr().err.partition("Did you mean ")[2]
        assert f"'{near}'" in near_ones
    assert main(["help", "check", "more"]) == 2


# ---- quiet and verbose ---------------------------------------------------------------


def test_a_quiet_run_writes_errors_only(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The verdict is the exit status; a file that cannot be read is named, a warning is not.
    """
    assert main(["check", place["store"], place["revoked.pem"], "-q"]) == 1
    chain = place.write("chain.pem", place.world.good.pem + place.world.authority.pem)
    assert main(["--quiet", "check", place["store"], chain]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["check", "-q", place["store"], place["nope"]]) == 4
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


def test_a_verbose_run_tells_what_it_does(place: Place) -> None:
    """
    On standard error, by what the library logs; standard output stays what it is.
    """
    arguments = ["publish", place["ca.crl"], "--issuer", place["ca.pem"], "--to", place["new"]]
    command = [*COMMAND, *arguments, "-v", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert f"crlcheck: reading {place['ca.crl']}\n" in run.stderr
    assert "the catalog of generation 1 is written" in run.stderr
    assert isinstance(parse_json(run.stdout.encode()), dict)


def test_the_page_names_every_command() -> None:
    """
    The table of JSON documents has each of them.
    """
    page = document("command-line.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert {path[0] for path in LEAVES} <= {
        word for row in rows for word in re.findall(r"[a-z-]+", row)
    }


def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Wherever they stand.
    """
    for arguments in (["check", "-q", "-v", "store"], ["-q", "check", "-v", "store", "x"]):
        assert main(arguments) == 2
        assert "exclude each other" in capsys.readouterr().err
