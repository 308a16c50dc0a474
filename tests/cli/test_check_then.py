"""``check --at`` and ``check STORE@GENERATION``: what would have been said then."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.cli import main
from crlcheck.publisher.operator import deny_certificate, grant_grace, lift_denial
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore, open_store
from crlcheck.times import time_text
from crlcheck.x509.certificates import load_certificate
from support.command_line import NOW, Place, make_place
from support.moto_server import S3Environment

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEPT = timedelta(days=365)
START = NOW - 10 * DAY


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """
    The demo's files, and a store ``past``: 1, ten days ago: the CRL. 2, eight days ago: the
    good client is denied. 3, six days ago: that is lifted.
    """
    found = make_place(tmp_path)
    fill(found, LocalStore(found["past"], fsync=False))
    return found


def fill(place: Place, store: Any) -> None:
    """Publish these three generations."""
    old = place.crl("old.crl", this_update=START - DAY, next_update=NOW + DAY, crl_number=3)
    good = load_certificate(Path(place["good.pem"]))
    issuer, number = good.issuer, good.serial_number
    publish_crl(Path(old), store, issuer=Path(place["ca.pem"]), now=START, grace=KEPT)
    deny_certificate(store, issuer, number, now=START + 2 * DAY, note="stolen")
    lift_denial(store, issuer, number, now=START + 4 * DAY)


def check(place: Place, target: str, *options: str) -> int:
    """The exit status for the good client."""
    return main(["check", target, place["good.pem"], *options])


def test_by_generation_and_by_time(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A sentence before the answers says which generation it is, and that it is not now.
    """
    store = place["past"]
    assert check(place, store) == 0
    assert "judged as of" not in capsys.readouterr().out
    for generation, status in {1: 0, 2: 1, 3: 0}.items():
        capsys.readouterr()
        assert check(place, f"{store}@{generation}") == status
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith(f"{store}@{generation}: generation {generation}, published ")
        assert said[0].endswith(", not as of now")
        moment = START + (2 * generation - 1) * DAY
        for at in (time_text(moment), f"{int((NOW - moment).total_seconds())}s"):
            assert check(place, store, "--at", at) == status
            assert capsys.readouterr().out.startswith(f"{store}@{generation}: ")
        assert check(place, store, "--at", str(generation)) == status
    assert check(place, f"{store}@8d") == 1
    assert check(place, f"{store}@{time_text(START + 3 * DAY)}") == 1


def test_the_answer_in_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The document says by which generation and time; that of now does not have them."""
    then = time_text(START + 3 * DAY)
    assert check(place, place["past"], "--at", then, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["generation"], found["judged_at"]) == (2, then)
    assert found["published_at"] == time_text(START + 2 * DAY)
    assert found["replaced_at"] == time_text(START + 4 * DAY)
    assert found["perhaps_generations"] == []
    assert found["results"][0]["denied"] is True
    assert check(place, place["past"], "--json") == 0
    assert json.loads(capsys.readouterr().out).keys() == {"exit_status", "results"}


def test_the_clock_of_that_time(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a generation at another time, and of an image, which has no generations."""
    store, image = place["past"], place["ca.crlx"]
    after = time_text(NOW + 400 * DAY)
    assert check(place, f"{store}@1", "--at", time_text(NOW)) == 0
    assert check(place, image, "--at", after) == 3
    assert "judged as of" in capsys.readouterr().out
    assert check(place, image, "--at", "0s", "--json") == 0
    assert "judged_at" in json.loads(capsys.readouterr().out)


def test_serial_numbers_then(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether the issuer is named or found in the set of that time."""
    serial = ["--serial", place.serial("good")]
    for issuer in ([], ["--issuer", place["ca.pem"]]):
        for generation, status in {1: 0, 2: 1, 3: 0}.items():
            assert main(["check", f"{place['past']}@{generation}", *serial, *issuer]) == status
    assert capsys.readouterr().out.count("not as of now") == 6


@pytest.mark.parametrize(
    ("target", "options", "status", "said"),
    [
        ("past@4", [], 2, "generation 4 cannot be shown: it is yet to come"),
        ("past@0", [], 2, "the first generation is 1"),
        ("past", ["--at", "2999-01-01"], 2, "lies in the future"),
        ("past", ["--at", "yesterday"], 2, "expected a generation such as 41"),
        ("past@1", ["--at", "2"], 2, "names a generation already"),
        ("ca.crlx", ["--at", "2"], 2, "an image has no generations"),
        ("past", ["--at", "90d"], 4, "nothing was published yet"),
        ("none@1", [], 4, "none@1: No such file"),
    ],
)
def test_what_cannot_be_asked(
    target: str,
    options: list[str],
    status: int,
    said: str,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is wrong usage, or a failure with the reason, and never an answer about now."""
    monkeypatch.chdir(place.path)
    assert check(place, target, *options) == status
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_in_s3_with_an_at_sign_in_the_prefix(
    place: Place, s3: S3Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prefix keeps its name with a slash at the end, and takes @GENERATION after that."""
    url = f"s3://{s3.bucket}/user@2"
    fill(place, open_store(url))
    assert check(place, f"{url}/") == 0
    assert check(place, f"{url}@2") == 1
    assert check(place, f"{url}@3") == 0
    assert f"{url}@3: generation 3" in capsys.readouterr().out


def test_other_commands_show_a_store_as_it_was(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that reads takes STORE@WHEN, and every one that writes refuses it."""
    then = f"{place['past']}@2"
    for words, found in {
        ("deny", "list"): "stolen",
        ("inspect",): "generation 2",
        ("scope", "list"): "current",
        ("issuer", "list"): "CN=Demo Issuing CA",
    }.items():
        assert main([*words, then]) == 0
        assert found in capsys.readouterr().out
    assert main(["mirror", then, place["copy"]]) == 0
    assert check(place, place["copy"]) == 1
    for change in (
        ["deny", "add", then, place["good.pem"]],
        ["publish", place["ca.crl"], "--issuer", place["ca.pem"], "--to", then],
        ["clean", then],
        ["advance", then, "--above", "9"],
    ):
        capsys.readouterr()
        assert main(change) == 4
        assert "this store can only be read" in capsys.readouterr().err


def test_other_commands_judge_by_the_time_of_the_store(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CRL that is stale now was current then, and a denial or a grace that is over held."""
    store = LocalStore(place["stale"], fsync=False)
    ca, good = Path(place["ca.pem"]), load_certificate(Path(place["good.pem"]))
    crl = place.crl("old.crl", this_update=START - DAY, next_update=START + 5 * DAY, crl_number=3)
    publish_crl(Path(crl), store, issuer=ca, now=START, grace=KEPT)
    until = START + 4 * DAY
    deny_certificate(store, good.issuer, good.serial_number, until=until, now=START + DAY)
    grant_grace(store, until=until, now=START + 2 * DAY)
    then = f"{store.url}@{time_text(START + 3 * DAY)}"
    marks = {
        ("deny", "list"): "(over)",
        ("grace", "list"): "(over)",
        ("inspect",): "(stale)",
        ("scope", "list"): "(stale)",
    }
    for words, mark in marks.items():
        for target, is_marked in ((store.url, True), (then, False)):
            capsys.readouterr()
            assert main([*words, target]) == 0
            assert (mark in capsys.readouterr().out.replace(store.url, "")) is is_marked
    assert main(["status", store.url, "--warn", "1h"]) == 3
    assert main(["status", f"{store.url}@1", "--warn", "1h"]) == 0
    out = ["--format", "sample-json", "-o", place["out.json"]]
    assert main(["export", store.url, *out]) == 4
    assert main(["export", then, *out]) == 0
    assert place.serial("good") in Path(place["out.json"]).read_text().lower()
