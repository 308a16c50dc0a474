"""What commands show of a store of which an object is missing or damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from crlcheck.cli import main
from crlcheck.publisher.operator import deny_certificate
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore
from support.pki import NOW, make_authority, make_crl

NUM_CAS = 6
AUTHORITIES = [make_authority(f"CA {number}") for number in range(NUM_CAS)]
COMMANDS = [["scope", "list"], ["issuer", "list"], ["inspect"]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of several CAs, with several leaves, and a denial."""
    monkeypatch.setattr("crlcheck.catalog.tree.MAX_LEAF", 3000)
    directory = tmp_path / "store"
    for authority in AUTHORITIES:
        publish_crl(make_crl(authority, 1), LocalStore(directory), issuer=authority.pem, now=NOW)
    name = AUTHORITIES[0].certificate.subject.public_bytes()
    deny_certificate(LocalStore(directory), name, 9, now=NOW)
    return directory


def nodes_of(store: Path) -> list[str]:
    """The names of the leaves."""
    root = json.loads((store / "catalog.json").read_bytes())
    top = json.loads((store / root["top"][0]).read_bytes())
    return [node[1] for node in top["nodes"]]


def shown_in(text: str) -> set[int]:
    """The CAs that a text names."""
    return {number for number in range(NUM_CAS) if f"CN=CA {number}" in text}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("damage", ["missing", "other bytes", "the denials"])
def test_what_lies_elsewhere_is_shown(
    store: Path, command: list[str], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The object has a line of its own with what to do, and the exit status is that of a failure:
    the list is not whole. The denials are no part of what is shown, and are told of too.
    """
    place = str(store) + "/."  # nothing of it is in memory
    assert main([*command, place]) == 0
    healthy = capsys.readouterr().out
    assert shown_in(healthy) == {*range(NUM_CAS)}
    assert main([*command, place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unreadable"] == []
    lost = nodes_of(store)[-1]
    if damage == "the denials":
        lost = json.loads((store / "catalog.json").read_bytes())["denied"][0]
    if damage == "missing":
        (store / lost).unlink()
    else:
        (store / lost).write_bytes(b"{}")
    assert main([*command, place]) == 4
    told = capsys.readouterr().out
    assert f"nothing is known of what lies in {lost}: " in told
    assert "crlcheck verify" in told
    left = shown_in(told)
    assert left == {*range(NUM_CAS)} if damage == "the denials" else 0 < len(left) < NUM_CAS
    assert main([*command, place, "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["unreadable"]] == [lost]
    assert shown_in(json.dumps(document)) == left


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_tree_without_its_top_shows_nothing(
    store: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so."""
    root = json.loads((store / "catalog.json").read_bytes())
    (store / root["top"][0]).unlink()
    assert main([*command, f"{store}/."]) == 4
    told = capsys.readouterr().out
    assert shown_in(told) == set()
    assert f"nothing is known of what lies in {root['top'][0]}: " in told


def test_of_several_stores_a_damaged_one_is_told(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are shown, and the exit status tells of it."""
    publish_crl(
        make_crl(AUTHORITIES[0], 1), LocalStore(tmp_path / "other"), issuer=AUTHORITIES[0].pem,
        now=NOW,
    )  # fmt: skip
    (store / nodes_of(store)[0]).unlink()
    assert main(["inspect", f"{store}/.", str(tmp_path / "other")]) == 4
    told = capsys.readouterr().out
    assert told.count("generation ") == 2


def publish_next(store: Path) -> None:
    """A second CRL of every CA, which revokes a certificate."""
    for authority in AUTHORITIES:
        crl = make_crl(authority, 2, [2])
        publish_crl(crl, LocalStore(store), issuer=authority.pem, now=NOW)


@pytest.mark.parametrize("side", ["before", "after"])
def test_what_a_damaged_side_hides_is_not_compared(
    store: Path, side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Its certificates would seem to be lifted, or newly revoked. The others are compared.
    """
    before, after = tmp_path / "before", store
    shutil.copytree(store, before)
    publish_next(after)
    assert main(["diff", f"{before}/.", f"{after}/."]) == 0
    healthy = capsys.readouterr().out
    assert healthy.count("1 newly revoked certificate, 0 lifted") == NUM_CAS
    damaged = before if side == "before" else after
    lost = nodes_of(damaged)[-1]
    (damaged / lost).unlink()
    assert main(["diff", f"{before}/.", f"{after}/."]) == 4
    told = capsys.readouterr().out
    num_compared = told.count("1 newly revoked certificate, 0 lifted")
    num_hidden = told.count("is not compared")
    assert num_compared + num_hidden == NUM_CAS
    assert min(num_compared, num_hidden) > 0
    assert "only in" not in told
    assert f"nothing is known of what lies in {lost}: " in told
    assert main(["diff", f"{before}/.", f"{after}/.", "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert len(document["scopes"]) == num_compared
    assert len(document["not_compared"]) == num_hidden
    assert [one["name"] for one in document["unreadable"]] == [lost]


def test_what_really_is_on_one_side_is_compared_beside_damage(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of its issuer lies in what can be read."""
    before = tmp_path / "before"
    shutil.copytree(store, before)
    (store / nodes_of(store)[-1]).unlink()
    others = [make_authority(f"New {number}") for number in range(8)]
    for authority in others:
        crl = make_crl(authority, 1, [2])
        publish_crl(crl, LocalStore(before), issuer=authority.pem, now=NOW)
    assert main(["diff", f"{before}/.", f"{store}/.", "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    only = [one for one in document["scopes"] if one["only_in"] == "A"]
    assert only
    assert {one["num_lifted"] for one in only} == {1}


def test_an_image_that_is_gone_keeps_no_other_scope_from_being_compared(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has an error of its own."""
    before = tmp_path / "before"
    shutil.copytree(store, before)
    publish_next(store)
    old = {path.name for path in (before / "images").iterdir()}
    new = sorted(path for path in (store / "images").iterdir() if path.name not in old)
    new[0].unlink()
    assert main(["diff", f"{before}/.", f"{store}/."]) == 4
    said = capsys.readouterr()
    assert said.out.count("1 newly revoked certificate, 0 lifted") == NUM_CAS - 1
    assert new[0].name in said.err
    assert main(["diff", f"{before}/.", f"{store}/.", "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in document["failed"]] == ["FileNotFoundError"]
