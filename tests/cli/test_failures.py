"""The command line where something goes wrong: one clear line, and never the status 1."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.cli import main
from crlcheck.demo.pki import CertificateAuthority, sign_crl
from support.command_line import NOW, WEEK, Place, make_place

COMMAND = [sys.executable, "-P", "-m", "crlcheck.cli"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Files that the tests read, and add to under names of their own."""
    return make_place(tmp_path_factory.mktemp("cli"))


_BAD_INPUT: dict[str, Callable[[Place], list[str]]] = {
    "no such CRL": lambda p: ["compile", p["nope"]],
    "empty": lambda p: ["compile", p.write("empty", b"")],
    "truncated": lambda p: ["compile", p.write("short", p.world.crl[:-1])],
    "trailing data": lambda p: ["compile", p.write("long", p.world.crl + b"\0")],
    "a certificate": lambda p: ["compile", p.write("certificate", p.world.good.der)],
    "a directory as CRL": lambda p: ["compile", p["."]],
    "no certificate as issuer": lambda p: ["compile", p["ca.crl"], "--issuer", p["ca.crl"]],
    "another issuer": lambda p: ["compile", p["ca.crl"], "--issuer", p["foreign.pem"]],
}


@pytest.mark.parametrize("case", _BAD_INPUT)
def test_bad_input_exits_4_and_leaves_nothing(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str
) -> None:
    """
    Bad input is one line on standard error that names the file, status 4, and
    no output.
    """
    arguments = _BAD_INPUT[case](place)
    if "--issuer" not in arguments:
        arguments += ["--issuer", place["ca.pem"]]
    assert main([*arguments, "-o", str(tmp_path / "x.crlx")]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("crlcheck: ")
    assert len(err.splitlines()) == 1
    assert place.path.name in err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_place_of_the_output(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """
    A directory is not replaced, and neither is anything else that is no file.
    """
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for output, message in ((tmp_path, os.strerror(errno.EISDIR)), (pipe, "Not a regular file")):
        arguments = ["compile", place["ca.crl"], "--issuer", place["ca.pem"], "-o", str(output)]
        assert main(arguments) == 4
        assert capsys.readouterr().err == f"crlcheck: {output}: {message}\n"
    assert pipe.is_fifo()


def test_a_full_disk(place: Place, tmp_path: Path) -> None:
    """
    A disk that takes no more gives status 4 with the system's message, and leaves
    no file behind.
    """
    command = [
        *(sys.executable, "-P", "-m", "crlcheck.cli", "compile", place["ca.crl"]),
        *("--issuer", place["ca.pem"], "-o", str(tmp_path / "x.crlx")),
    ]
    run = subprocess.run(
        ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 4
    assert run.stderr == f"crlcheck: {tmp_path / 'x.crlx'}: {os.strerror(errno.EFBIG)}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nope", "nope.crlx", "ca.crl", "."])
def test_what_is_neither_image_nor_store(
    place: Place, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """
    A target that does not exist, is something else, or is a directory without a
    catalog is one failure, however many certificates were named.
    """
    certificates = [place["good.pem"], place["revoked.pem"]]
    assert main(["check", place[name], *certificates]) == 4
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert main(["check", place[name], "--serial", "1"]) == 4


@pytest.mark.parametrize(
    "command",
    ["status", "scope list", "issuer list", "deny list", "grace list", "inspect", "history",
     "clean", "advance", "diff --since 1", "check --serial 01"],
)  # fmt: skip
def test_a_store_without_a_root_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It says that nothing is published, and which command tells whether something was.
    """
    store = tmp_path / "store"
    store.mkdir()
    first, *options = command.split()
    words = (
        [first, str(store), *options] if options[:1] != ["list"] else [first, "list", str(store)]
    )
    assert main(words) == 4
    said = capsys.readouterr().err
    assert f"{store}/catalog.json: nothing is published there; crlcheck verify tells" in said
    assert main([*words, "--json"]) == 4
    assert "nothing is published there" in json.loads(capsys.readouterr().out)["error"]


def test_an_unverified_image_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """
    No verdict rests on a CRL that was not verified.
    """
    image = tmp_path / "unverified.crlx"
    crlcheck.compile_unverified_crl(place.world.crl, image)
    assert main(["check", str(image), place["good.pem"]]) == 4
    assert main(["check", str(image), "--serial", place.serial("good")]) == 4
    assert capsys.readouterr().err.count("was not verified") == 2


# ---- how a process ends ----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], 2),
        (["frobnicate"], 2),
        (["compile", "ca.crl"], 2),
        (["check", "store"], 2),
        (["check", "http://example.com/", "good.pem"], 2),
        (["check", "--frobnicate", "store", "good.pem"], 2),
        (["--help"], 0),
        (["check", "--help"], 0),
        (["--version"], 0),
    ],
    ids=str,
)
def test_wrong_usage_exits_2(arguments: list[str], status: int) -> None:
    """
    What cannot be understood exits 2, and asking for help is no failure.
    """
    assert main(arguments) == status


@pytest.mark.parametrize(
    "error", [RuntimeError("unforeseen\nand long"), MemoryError(), SystemExit(1)]
)
def test_an_uncaught_error_exits_4(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    """
    Nothing that goes wrong exits 1, which means revoked; --debug shows where it did.
    """

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(crlcheck, "compile_crl", fail)
    arguments = ["compile", place["ca.crl"], "--issuer", place["ca.pem"], "-o", place["x"]]
    assert main(arguments) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["--debug", *arguments]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_exits_130(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Ctrl-C ends a run with the status that shells give it.
    """

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(crlcheck.RevocationChecker, "check", interrupt)
    assert main(["check", place["store"], place["revoked.pem"]]) == 130


# Stops where the image is complete but does not have its name yet.
_SLOW_DISK = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
from crlcheck.cli import main
os.fsync = lambda file: (print("syncing", flush=True), time.sleep(60))
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(
    place: Place, tmp_path: Path, number: signal.Signals
) -> None:
    """
    A run that is told to end removes what it had begun to write.
    """
    arguments = ["compile", place["ca.crl"], "--issuer", place["ca.pem"]]
    arguments += ["-o", str(tmp_path / "x.crlx")]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _SLOW_DISK, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "syncing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("client", ["good", "revoked"])
def test_output_that_cannot_be_written_is_no_verdict(place: Place, client: str) -> None:
    """
    A full disk behind standard output exits 4, and a reader that is gone 141, as shells
    have it: the interpreter's own statuses for these are 120 and, at times, 1.
    """
    command = [*COMMAND, "check", place["store"], place[f"{client}.pem"]]
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (4, f"crlcheck: {os.strerror(errno.ENOSPC)}\n")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        run = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (141, "")


@pytest.mark.parametrize(("client", "status"), [("good", 0), ("revoked", 1), ("nope", 4)])
def test_closed_streams_keep_the_status(place: Place, client: str, status: int) -> None:
    """
    Who wants the status only may close both streams.
    """
    arguments = ["check", place["store"], place[f"{client}.pem"]]
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *COMMAND, *arguments], check=False
    )
    assert run.returncode == status


@pytest.mark.parametrize("name", ["click", "rich"])
def test_a_missing_extra_is_named(name: str) -> None:
    """
    Without click or rich the command says what to install, and exits 4.
    """
    program = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from crlcheck.cli import main; sys.exit(main(['--help']))"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (4, "")
    assert run.stderr == (
        f"crlcheck: the command line needs the package {name}: pip install 'crlcheck[cli]'\n"
    )


def test_names_cannot_write_to_the_terminal(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """
    Control characters in a file's name come out escaped, on one line.
    """
    name = tmp_path / "a\x1b[2J\nb.pem"
    name.write_bytes(place.world.good.pem)
    assert main(["check", place["store"], str(name), f"{name}.nope"]) == 4
    out, err = capsys.readouterr()
    assert "a\\x1b[2J\\nb.pem: certificate" in out
    assert "\x1b" not in out + err
    assert (len(out.splitlines()), len(err.splitlines())) == (1, 1)


def test_names_that_the_encoding_lacks(tmp_path: Path) -> None:
    """
    Where standard output cannot show an issuer's name, it is escaped and nothing fails.
    """
    issuer = CertificateAuthority.create("Prüfstelle 中")
    crl = sign_crl(issuer, this_update=NOW, next_update=NOW + WEEK, crl_number=1)
    (tmp_path / "client.pem").write_bytes(issuer.issue("client").pem)
    store = str(tmp_path / "store")
    crlcheck.publish_crl(crl, store, issuer=issuer.der)
    for arguments in (["inspect", store], ["check", store, str(tmp_path / "client.pem")]):
        run = subprocess.run(
            [*COMMAND, *arguments],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )
        assert (run.returncode, run.stderr) == (0, b"")
        assert b"CN=Pr" in run.stdout
