"""The command that brings a published set back."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from crlcheck.cli import main, restore
from crlcheck.stores import LocalStore
from support.pki import NOW, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, publish


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """A store at generation 3, where the second CRL of a scope is the last change."""
    monkeypatch.chdir(tmp_path)
    store = LocalStore("store", fsync=False)
    publish(store, make_crl(CA, 1, [7]))
    publish(store, make_crl(OTHER_CA, 5, [1]), OTHER_CA.pem)
    publish(store, make_crl(CA, 2, [7, 8]))
    return store


def generation(store: LocalStore) -> int:
    """The generation of the root."""
    return catalog_of(store).generation


def test_what_changes_is_shown_first(store: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A dry run ends there; without it the same lines come before the last one.
    """
    assert main(["restore", "store", "--from", "@1", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "store: generation 1 with 1 scope, in place of generation 3"
    for line in (
        "CRL 2 of CN=Example CA is replaced by the older CRL 1 of CN=Example CA: 1 revocation "
        "lifted",
        "CRL 5 of CN=Other CA is not in it: 1 revocation lifted",
    ):
        assert f"  {line}\n" in shown
    assert "CN=Other CA (" in shown
    assert generation(store) == 3
    assert main(["restore", "store", "--from", "@1"]) == 0
    out = capsys.readouterr().out
    assert out == f"{shown}store: restored from generation 1: generation 4\n"


@pytest.mark.parametrize("answer", [True, False])
def test_a_terminal_is_asked(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, *, answer: bool
) -> None:
    """
    Unless --yes is given; a no changes nothing, and is status 2.
    """
    asked = Mock(return_value=answer)
    monkeypatch.setattr(restore, "_asks", lambda: True)
    monkeypatch.setattr("click.confirm", asked)
    assert main(["restore", "store", "--from", "@2"]) == (0 if answer else 2)
    assert (asked.call_count, generation(store)) == (1, 4 if answer else 3)
    assert main(["restore", "store", "--from", "@1", "--yes"]) == 0
    assert asked.call_count == 1


def test_the_document(store: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    """
    It has every change; a file that is no CRL makes status 4, and the others come back.
    """
    crls = Path("crls")
    crls.mkdir()
    (crls / "a").write_bytes(make_crl(CA, 1, [7]))
    (crls / "b").write_bytes(b"no CRL")
    Path("ca.pem").write_bytes(CA.pem)
    command = ["restore", "store", "--from", "crls", "--issuer", "ca.pem", "--json"]
    assert main(command) == 4
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (err, document["generation"], document["num_lifted"]) == ("", 4, 2)
    assert [one["source"] for one in document["refused"]] == ["crls/b"]
    assert {one["after"] for one in document["scopes"]} == {None, "CRL 1 of CN=Example CA"}
    assert generation(store) == 4


def test_a_mirror_at_a_generation(store: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    """
    As STORE@GENERATION elsewhere; what is not there is an error.
    """
    assert main(["mirror", "store", "copy"]) == 0
    assert main(["restore", "new", "--from", "copy@3"]) == 0
    assert catalog_of(LocalStore("new")).scopes.keys() == catalog_of(store).scopes.keys()
    capsys.readouterr()
    assert main(["restore", "new", "--from", "copy@9"]) == 4
    assert "generation 9 cannot be restored: no record" in capsys.readouterr().err
    assert main(["restore", "new", "--from", "nothing"]) == 4
    assert main(["restore", "empty", "--from", "copy/catalog.json"]) == 2


@pytest.mark.parametrize("when", ["1", "2", "7d", "2026-11-24", "2026-11-24T10:30:00Z"])
def test_a_generation_or_a_time_needs_its_sign(
    store: LocalStore, when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Without @ it is a file or a directory of that name, if there is one.
    """
    before = generation(store)
    assert main(["restore", "store", "--from", when]) == 2
    assert f"did you mean @{when}?" in capsys.readouterr().err
    assert generation(store) == before
    assert main(["mirror", "store", when]) == 0
    assert main(["restore", "new", "--from", when]) == 0


def test_the_generation_of_the_clock(store: LocalStore) -> None:
    """
    Without a number it is above all that a store counts up to.
    """
    assert main(["advance", "store"]) == 0
    assert generation(store) > NOW.timestamp() * 1000


def test_a_directory_without_a_file(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said of the directory, not of CRLs in it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    before = generation(store)
    assert main(["restore", store.url, "--from", str(empty), "--yes"]) == 2
    assert f"{empty}: there is no file to read" in capsys.readouterr().err
    assert generation(store) == before


@pytest.mark.parametrize("command", ["status", "history", "grace list", "deny list"])
def test_a_store_with_nothing_published(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing is said in words, without the name of a Python class."""
    name, *verb = command.split()
    assert main([name, *verb, str(tmp_path / "nowhere")]) == 4
    said = capsys.readouterr().err
    assert str(tmp_path / "nowhere") in said
    assert "Error" not in said
