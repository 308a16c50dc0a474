"""Lists of serial numbers, directories and several files, standard input, and tried policies."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck import Policy
from crlcheck.cli import main
from crlcheck.demo.encoding import encode_extension
from crlcheck.errors import StoreUnavailableError
from crlcheck.settings import read_policy
from crlcheck.stores import LocalStore
from support.command_line import NOW, WEEK, Place, make_place
from support.paged_world import LISTED, fill

COMMAND = [sys.executable, "-P", "-m", "crlcheck"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The demo's files, an image and a store."""
    return make_place(tmp_path)


def run(
    arguments: list[str], stdin: bytes = b"", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process."""
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, check=False, **options
    )


# ---- lists of serial numbers -----------------------------------------------------------


@pytest.mark.parametrize("source", ["--serial -", "--serials-from -", "--serials-from FILE"])
def test_a_list_of_serial_numbers(place: Place, source: str) -> None:
    """
    One a line, in every form; empty lines, comments, a byte order mark and CRLF do not
    count; each has its verdict and the exit status is the worst.
    """
    good, revoked = place.serial("good"), place.serial("revoked")
    octets = re.findall("..", revoked.rjust(len(revoked) + len(revoked) % 2, "0"))
    lines = ["\ufeff# ours", good, "", "  ", f"  0x{good}  # the good one", good.upper()]
    text = "\r\n".join([*lines, ":".join(octets)]).encode()
    path = place.write("list", text)
    arguments = ["check", place["store"], *source.replace("FILE", path).split()]
    ran = run(arguments, text)
    found = [line.split(b" is ")[1][:11] for line in ran.stdout.splitlines()]
    assert found == [b"not revoked"] * 3 + [b"revoked: ke"]
    assert (ran.returncode, ran.stderr) == (1, b"")
    document = json.loads(run([*arguments, "--json"], text).stdout)
    assert document["exit_status"] == 1
    assert [one["status"] for one in document["results"]] == ["not_revoked"] * 3 + ["revoked"]
    assert document["results"][1]["serial"] == f"0x{good}"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"xyz", "serial number 'xyz': expected hexadecimal digits"),
        (b"1" * 5000, "expected less than 4096 bytes in a line"),
        (b"\xff\x00", "expected hexadecimal digits"),
        (b"1a 2b", "expected hexadecimal digits"),
    ],
)
def test_a_line_that_is_no_serial_number_fails_alone(
    place: Place, bad: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The error has the line's number, the numbers behind it are checked, and a revoked one
    still decides the exit status.
    """
    good, revoked = place.serial("good").encode(), place.serial("revoked").encode()
    path = place.write("list", b"\n".join([good, b"#", bad, good]))
    assert main(["check", place["store"], "--serials-from", path]) == 4
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.startswith(f"crlcheck: {path}, line 3: ")
    assert words in err
    path = place.write("list", b"\n".join([bad, revoked]))
    assert main(["check", place["store"], "--serials-from", path, "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)["results"]
    assert (first["line"], first["status"], second["status"]) == (1, None, "revoked")


def test_an_unforeseen_error_hides_no_later_number(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whatever fails about one number, those behind it are checked; what fails before any
    number is one failure.
    """
    check = crlcheck.RevocationChecker.check_serials
    failures = iter([False, True])

    def failing(*given: Any, **options: Any) -> Iterator[Any]:
        for result in check(*given, **options):
            if next(failures, False):
                raise RuntimeError("unforeseen")
            yield result

    monkeypatch.setattr(crlcheck.RevocationChecker, "check_serials", failing)
    path = place.write("list", "\n".join(["1", "2", place.serial("revoked")]).encode())
    assert main(["check", place["store"], "--serials-from", path]) == 1
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (2, "crlcheck: 2: RuntimeError: unforeseen\n")

    def failing_at_once(*given: Any, **options: Any) -> Iterator[Any]:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(crlcheck.RevocationChecker, "check_serials", failing_at_once)
    assert main(["check", place["store"], "--serial", "1", "--serial", "2"]) == 4
    assert capsys.readouterr() == ("", "crlcheck: RuntimeError: unforeseen\n")


@pytest.mark.parametrize("text", [b"", b"# none\n\n"])
def test_an_empty_list_is_no_verdict(
    place: Place, text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing was checked, so nothing is "not revoked".
    """
    path = place.write("list", text)
    assert main(["check", place["store"], "--serials-from", path]) == 4
    assert "nothing was checked" in capsys.readouterr().err
    assert main(["check", place["store"], "--serials-from", place["nope"], "--serial", "1"]) == 4


def test_a_long_list_needs_no_more_memory(place: Place) -> None:
    """
    Results are not kept: a hundred thousand need no more than one, also as JSON.
    """
    numbers = b"\n".join(b"%x" % number for number in range(1, 100_001))

    def measured(text: bytes) -> tuple[int, bytes]:
        program = (
            "import resource, sys\nfrom crlcheck.cli import main\n"
            f"status = main(['check', {place['store']!r}, '--serial', '-', '--json'])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
            "sys.exit(status)"
        )
        ran = subprocess.run(
            [sys.executable, "-P", "-c", program], input=text, capture_output=True, check=False
        )
        assert ran.returncode == 0
        return int(ran.stderr), ran.stdout

    scale = 1 if sys.platform != "darwin" else 1024
    one, many = measured(b"1"), measured(numbers)
    assert len(json.loads(many[1])["results"]) == 100_000
    assert (many[0] - one[0]) / scale < 48 << 10
    assert len(many[1]) > 40 << 20


# ---- the policy ------------------------------------------------------------------------


def test_a_policy_is_tried(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A stale CRL's verdict under a grace, for certificates and serial numbers, says what
    was waived.
    """
    crl = place.crl("stale.crl", this_update=NOW - 2 * WEEK, next_update=NOW - WEEK)
    store = str(tmp_path / "stale")
    assert main(["publish", crl, "--issuer", place["ca.pem"], "--to", store]) == 0
    for subject in ([place["good.pem"]], ["--serial", place.serial("good")]):
        capsys.readouterr()
        check = ["check", store, *subject]
        assert main(check) == 3
        assert main([*check, "--policy", "stale=grace:24h"]) == 3
        capsys.readouterr()
        assert main([*check, "--policy", "stale=grace:8d", "--json"]) == 0
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert result["waived"] == ["stale"]
        assert main([*check, "--policy", "stale=grace", "--policy", "stale-grace=8d"]) == 0
    assert main(["check", store, place["revoked.pem"], "--policy", "stale=grace:8d"]) == 1
    foreign = ["check", place["store"], place["foreign.pem"]]
    assert (main(foreign), main([*foreign, "--policy", "unknown_issuer=allow"])) == (3, 0)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("stail=grace:24h", "'stail' is no rule of the policy: did you mean stale?"),
        ("frob=allow", "there are stale, stale_grace, unknown_issuer, unpublished_issuers"),
        ("hold", "'hold': expected a rule and its value"),
        ("hold=perhaps", "hold is 'perhaps': expected one of "),
        ("hold=", "hold is empty"),
        ("stale=grace", "expected both, as in stale=grace:24h, or neither"),
        ("stale_grace=3h", "expected both"),
        ("stale=grace:soon", "expected a number and its unit"),
        ("path_depth=-1", "expected a whole number"),
    ],
)
def test_a_policy_that_is_not_clear_is_wrong_usage(
    place: Place, rule: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What is unknown is named with what exists; a verdict is not given by half a policy.
    """
    assert main(["check", place["store"], place["good.pem"], "--policy", rule]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert words in err


def test_the_policy_has_every_rule(place: Place) -> None:
    """
    Each field of Policy is read, and a rule that is given twice is refused.
    """
    values = {
        "stale": "grace", "stale_grace": "3h", "unknown_issuer": "allow",
        "unpublished_issuers": place["ca.pem"], "no_distribution_point": "allow",
        "path_depth": "2", "hold": "ALLOW", "expired_certificate": "allow", "clock_skew": "7m",
    }  # fmt: skip
    policy = read_policy(f"{name}={value}" for name, value in values.items())
    assert values.keys() == {field.name for field in dataclasses.fields(Policy)}
    assert all(getattr(policy, name) != getattr(Policy(), name) for name in values)
    assert read_policy([]) == Policy()
    with pytest.raises(ValueError, match="hold is given twice"):
        read_policy(["hold=allow", "hold=deny"])
    with pytest.raises(ValueError, match="stale_grace is given twice"):
        read_policy(["stale_grace=1h", "stale=grace:3h"])


# ---- several files, directories, standard input ------------------------------------------


@pytest.fixture
def folder(place: Place) -> Path:
    """A directory with two CRLs, and with what is not read."""
    folder = place.path / "crls"
    folder.mkdir()
    (folder / "sub").mkdir()
    (folder / ".hidden.crl").write_bytes(place.world.crl)
    (folder / "dangling").symlink_to("nowhere")
    Path(place.crl("crls/2.crl", crl_number=9)).touch()
    Path(place.crl("crls/1.crl", crl_number=8)).touch()
    return folder


def test_a_directory_is_published(
    place: Place, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    File by file in the order of their names; what is not read is named each by each.
    """
    arguments = ["publish", str(folder), "--issuer", place["ca.pem"], "--to", place["new"]]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)["crls"]
    assert [(one["crl_number"], one["published"]) for one in found] == [(8, True), (9, True)]
    assert [one["source"] for one in found] == [str(folder / "1.crl"), str(folder / "2.crl")]
    for name in (".hidden.crl", "dangling", "sub"):
        assert f"{folder / name}: not read: " in err
    assert len(err.splitlines()) == 3


def test_one_bad_file_keeps_no_other_from_being_published(
    place: Place, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A damaged CRL, a text, a file that is not there: each is named, the rest is published,
    and the exit status tells of it.
    """
    (folder / "0.crl").write_bytes(place.world.crl[:-1])
    (folder / "README").write_text("CRLs of ours\n")
    arguments = ["publish", place["nope.crl"], str(folder), "--issuer", place["ca.pem"]]
    assert main([*arguments, "--to", place["new"]]) == 4
    out, err = capsys.readouterr()
    assert out.count(": published: ") == 2
    for name in (place["nope.crl"], folder / "0.crl", folder / "README"):
        assert f"crlcheck: {name}: " in err
    assert main([*arguments, "--to", place["new"], "--json"]) == 4
    found = json.loads(capsys.readouterr().out)["crls"]
    kinds = [one.get("kind", one.get("published")) for one in found]
    malformed = "MalformedCrlError"
    assert kinds == ["FileNotFoundError", malformed, False, False, malformed]


def test_a_delta_waits_for_its_base(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Whatever the order of the files; alone it is refused.
    """
    delta = encode_extension("2.5.29.27", b"\x02\x01\x07", critical=True)
    path = place.crl("a-delta.crl", crl_number=8, extensions=[delta])
    end = ["--issuer", place["ca.pem"], "--to", place["new"]]
    assert main(["publish", path, *end]) == 4
    assert main(["publish", path, place["ca.crl"], *end]) == 0
    out = capsys.readouterr().out
    assert out.index("of CRL 7 of") < out.index("of delta CRL 8 of")


def test_directories_of_certificates(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    For checks, denials and issuers; in each the worst decides, and what is none is named.
    """
    clients, issuers = place.path / "clients", place.path / "issuers"
    for folder, names in ((clients, ("good.pem", "revoked.pem")), (issuers, ("ca.pem",))):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(Path(place[name]).read_bytes())
    assert main(["check", place["store"], str(clients)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2
    end = ["--issuer", str(issuers), "--to", place["new"]]
    assert main(["publish", place["ca.crl"], *end]) == 0
    compiled = ["compile", place["ca.crl"], "--issuer", str(issuers), "-o", place["y"]]
    assert main(compiled) == 0
    (clients / "notes").write_text("none\n")
    capsys.readouterr()
    assert main(["deny", "add", place["new"], str(clients)]) == 4
    out, err = capsys.readouterr()
    assert (out.count(" is denied: "), err.count(str(clients / "notes"))) == (2, 1)
    assert main(["deny", "list", place["new"], "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["denials"]) == 2
    (clients / "notes").unlink()
    assert main(["deny", "remove", place["new"], str(clients), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["certificates"]) == 2
    (place.path / "nothing").mkdir()
    assert main(["check", place["store"], place["nothing"]]) == 2
    assert "there is no file to read" in capsys.readouterr().err


def test_several_things_are_inspected(
    place: Place, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Files, a directory, a store; one that cannot be read keeps no other from being shown.
    """
    targets = [place["ca.crlx"], str(folder), place["store"], place["nope"]]
    assert main(["inspect", *targets, "--json"]) == 4
    found = json.loads(capsys.readouterr().out)["targets"]
    assert [one["kind"] for one in found] == ["image", "crl", "crl", "store", "FileNotFoundError"]
    assert main(["inspect", *targets]) == 4
    out, err = capsys.readouterr()
    assert out.count("not verified") == 2
    assert err.splitlines()[-1] == f"crlcheck: {place['nope']}: No such file or directory"


def test_standard_input_stands_for_one_file(place: Place) -> None:
    """
    Of a certificate, a CRL, an image, an issuer; twice it is wrong usage.
    """
    pem, crl = place.world.good.pem, place.world.crl
    ran = run(["check", place["store"], "-"], pem)
    assert (ran.returncode, ran.stdout[:15]) == (0, b"standard input:")
    assert run(["check", place["store"], "-"], place.world.revoked.pem).returncode == 1
    assert run(["check", place["store"], "-", "-"], pem).returncode == 2
    end = ["--issuer", place["ca.pem"], "--to", place["new"]]
    assert run(["publish", "-", *end], crl).returncode == 0
    both = ["publish", "-", "--issuer", "-", "--to", place["new"]]
    authority = place.world.authority.pem
    assert run(both, authority).returncode == 2
    assert run(["publish", place["ca.crl"], "--issuer", "-", *end[2:]], authority).returncode == 0
    assert b"standard input: a CRL" in run(["inspect", "-"], crl).stdout
    image = Path(place["ca.crlx"]).read_bytes()
    assert b"standard input: the image of a verified CRL" in run(["inspect", "-"], image).stdout
    assert run(["deny", "add", place["new"], "-"], pem).returncode == 0
    assert run(["check", place["new"], place["good.pem"]]).returncode == 1


def test_the_first_answer_does_not_wait_for_a_large_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It is read by parts, while all of it is loaded for what may follow.
    """
    fill(LocalStore(tmp_path, fsync=False))
    ended, loaded = threading.Event(), []

    def load(_store: LocalStore, name: str) -> bytes:
        loaded.append(name)
        ended.wait(30)
        raise StoreUnavailableError("it comes too late")

    monkeypatch.setattr(LocalStore, "load", load)
    assert main(["check", str(tmp_path), "--serial", f"{LISTED[0]:x}"]) == 1
    ended.set()
    assert "is revoked" in capsys.readouterr().out
    assert len(loaded) <= 1
