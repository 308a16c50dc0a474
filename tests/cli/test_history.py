"""``history``: what happened to a store, as text and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.cli import main
from crlcheck.publisher.publish_many import publish_many
from crlcheck.stores import LocalStore
from crlcheck.times import time_text
from support.command_line import NOW, Place, make_place
from support.moto_server import S3Environment
from support.pki import make_authority, make_crl

DAY = timedelta(days=1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The demo's files, an image and a store with one generation; the actor is ops."""
    monkeypatch.setenv("CRLCHECK_ACTOR", "ops@desk")
    return make_place(tmp_path)


def history(place: Place, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """The lines of the history, without the times."""
    capsys.readouterr()
    assert main(["history", place["store"], *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line if line.startswith(" ") else line.partition(" ")[2] for line in lines]


def test_what_operators_did(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """A denial and its end, a refused CRL, a CRL of less entries: by whom and why."""
    store, good = place["store"], place["good.pem"]
    to = ["--issuer", place["ca.pem"], "--to", store]
    assert main(["deny", "add", store, good, "--note", "stolen"]) == 0
    assert main(["publish", place.crl("small.crl"), *to]) == 4
    assert main(["publish", place.crl("small.crl"), *to, "--allow-shrink", "--note", "asked"]) == 0
    assert main(["deny", "remove", store, good]) == 0
    serial, crl, ca = place.serial("good"), place["small.crl"], "CN=Demo Issuing CA"
    lines = history(place, capsys)
    refusal = f"  a CRL of {crl} is refused (shrink): CRL 8 of {ca} has 1 entry"
    (number,) = (number for number, line in enumerate(lines) if line.startswith(refusal))
    assert lines[number - 1] == "by ops@desk"
    del lines[number - 1 : number + 1]  # among the generations, within a second of another
    scope = lines[4].split()[2]
    assert lines[:7] == [
        "generation 4, by ops@desk",
        f"  certificate {serial} of {ca} is not denied any more",
        "generation 3, by ops@desk: asked",
        f"  CRL 8 of {ca} is published",
        f"    + scope {scope} CRL 8 of {ca} replaced, 1 entry (20 before), from {crl}",
        "generation 2, by ops@desk: stolen",
        f"  certificate {serial} of {ca} is denied",
    ]
    assert lines[7] == "generation 1"
    assert lines[-1].startswith(f"    + issuer {ca} (")
    assert history(place, capsys, "--scope", scope.rstrip(":"))[:2] == lines[2:4]


def json_history(
    place: Place, capsys: pytest.CaptureFixture[str], *options: str
) -> list[dict[str, object]]:
    """The entries of the JSON document."""
    capsys.readouterr()
    assert main(["history", place["store"], *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"store", "entries"}
    return found["entries"]  # type: ignore[no-any-return]


def test_since_and_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The same options as everywhere, and nothing in that time is said."""
    for _ in range(2):
        assert main(["deny", "add", place["store"], place["good.pem"]]) == 0
    assert [one["generation"] for one in json_history(place, capsys)] == [3, 2, 1]
    for since, expected in {
        "1": [3, 2],
        "3": [],
        "1d": [3, 2, 1],
        time_text(NOW - DAY): [3, 2, 1],
        (NOW + 2 * DAY).date().isoformat(): [],
    }.items():
        found = json_history(place, capsys, "--since", since)
        assert [one["generation"] for one in found] == expected
    capsys.readouterr()
    assert main(["history", place["store"], "--since", "3"]) == 0
    assert capsys.readouterr().out.endswith("nothing happened in that time\n")
    assert main(["history", f"{place['store']}@1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["entries"]) == 1


def test_what_was_lost_is_marked(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody put an older root back, and where a swap never took effect."""
    store = LocalStore(place["store"])
    body = store.read(CATALOG_NAME).body
    for _ in range(2):
        assert main(["deny", "add", place["store"], place["good.pem"]]) == 0
    store.write(CATALOG_NAME, body)
    marked = [line for line in history(place, capsys) if line.startswith("generation")]
    mark = " (lost: somebody put an older root back), by ops@desk"
    assert marked == [f"generation 3{mark}", f"generation 2{mark}", "generation 1"]
    (name,) = [one for one in store.names("history/") if "/989-" in one]  # of generation 3
    store.delete(name)
    assert [one["generation"] for one in json_history(place, capsys)] == [1]
    found = json_history(place, capsys, "--all")
    assert [(one["generation"], one["outcome"]) for one in found] == [(2, "lost"), (1, "published")]
    assert "not known to have been published" in history(place, capsys, "--all")[0]


def test_many_changes_of_one_generation(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of them are shown, and all are in the document."""
    authorities = "".join(make_authority(f"CA {number}").pem.decode() for number in range(30))
    bundle = place.write("issuers.pem", authorities.encode())
    crl = place.write("ca.crl", place.world.crl)
    to = ["--issuer", place["ca.pem"], "--issuer", bundle, "--to", place["store"]]
    assert main(["publish", crl, *to]) == 0
    lines = history(place, capsys)
    assert lines[1] == "  30 issuers are trusted"
    assert lines[22] == "    and 10 more changes, which --json lists"
    added = json_history(place, capsys)[0]["issuers_added"]
    assert isinstance(added, list)
    assert len(added) == 30


def test_what_changed_is_shown_before_what_was_made_anew(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the issuers' names: a few CRLs that went back are not lost among many that did not."""
    begin = datetime.now(UTC) - timedelta(hours=2)
    authorities = [make_authority(f"CA {number:02}") for number in range(25)]
    issuers = [one.der for one in authorities]
    store = place["store"]
    for number in (1, 2):
        crls = [make_crl(one, number, next_update=begin + 300 * DAY) for one in authorities]
        given = crls if number == 1 else crls[7:9]
        publish_many(given, store, issuers=issuers, now=begin)
    before = read_set(LocalStore(store))[0].generation - 1
    assert main(["restore", store, "--from", f"@{before}"]) == 0
    shown = capsys.readouterr().out
    assert main(["history", store]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    changed, rebuilt = lines[:2], lines[2:20]
    assert ["CN=CA 07" in changed[0], "CN=CA 08" in changed[1]] == [True, True]
    assert all("CRL 1 of" in one and "replaced" in one for one in changed)
    assert all("rebuilt" in one for one in rebuilt)
    names = [one.partition("CN=")[2].partition(" rebuilt")[0] for one in rebuilt]
    assert names == sorted(names)
    assert "older CRL 1 of CN=CA 07" in shown


@pytest.mark.parametrize(
    ("target", "options", "status", "said"),
    [
        ("none", [], 4, "nothing is published there"),
        ("store", ["--since", "yesterday"], 2, "expected a generation such as 41"),
        ("store@9", [], 2, "it is yet to come"),
        ("ca.crlx", [], 4, "ca.crlx"),
    ],
)
def test_what_has_no_history(
    target: str,
    options: list[str],
    status: int,
    said: str,
    place: Place,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is an error, and no empty history."""
    assert main(["history", place[target], *options]) == status
    assert said in capsys.readouterr().err


def test_a_damaged_history_is_an_error(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The entries before it are shown as text; the document is the error."""
    assert main(["deny", "add", place["store"], place["good.pem"]]) == 0
    store = LocalStore(place["store"])
    (_, first) = store.names("history/")
    store.write(first, b"{}")
    capsys.readouterr()
    assert main(["history", place["store"]]) == 4
    captured = capsys.readouterr()
    assert "generation 2" in captured.out
    assert first in captured.err
    assert main(["history", place["store"], "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["kind"] == "CatalogDamagedError"


def test_in_s3(place: Place, s3: S3Environment, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a directory."""
    url = f"s3://{s3.bucket}/published"
    publish = ["publish", place["ca.crl"], "--issuer", place["ca.pem"], "--to", url]
    assert main(publish) == 0
    assert main(["publish", place["good.pem"], "--issuer", place["ca.pem"], "--to", url]) == 4
    capsys.readouterr()
    assert main(["history", url]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sum("(malformed)" in line for line in said) == 1
    assert sum(line.endswith("generation 1, by ops@desk") for line in said) == 1
