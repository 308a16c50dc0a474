"""``crlcheck refusal``: what was refused is listed, and dismissed where it is settled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crlcheck import MalformedCrlError, dismiss_rejection, publish_crl, read_rejections
from crlcheck.catalog.published_set import read_set
from crlcheck.cli import main
from crlcheck.publisher.operator import change_store
from crlcheck.publisher.rejections import record_rejections
from crlcheck.publisher.timeline import read_history
from crlcheck.stores import LocalStore
from support.command_line import NOW, Place, make_place
from support.memory_store import MemoryStore
from support.pki import make_crl
from support.publishing import CA, publish


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The demo's files, and a store with a CRL that was refused."""
    made = make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRLCHECK_ACTOR", "alice")
    made.refusal()
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Run a command and return its exit status and its JSON document."""
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_refusal_is_shown_until_it_is_dismissed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """``status`` ends with 1 until then, and the history says who dismissed it and why."""
    status, document = run(capsys, "refusal", "list", "store")
    assert (status, [one["source"] for one in document["rejections"]]) == (0, ["README.txt"])
    assert run(capsys, "status", "store")[0] == 1
    generation = read_set(LocalStore("store"))[0].root.generation
    given = ["refusal", "dismiss", "store", "README.txt", "--note", "no CRL, removed"]
    assert run(capsys, *given) == (
        0,
        {"store": "store", "source": "README.txt", "generation": generation + 1},
    )
    assert run(capsys, "refusal", "list", "store") == (0, {"rejections": []})
    assert run(capsys, "status", "store")[0] == 0
    _, history = run(capsys, "history", "store")
    dismissed, *_ = history["entries"]
    assert dismissed["action"] == "dismiss_refusal"
    assert (dismissed["actor"], dismissed["note"]) == ("alice", "no CRL, removed")
    assert dismissed["summary"] == "the refusal of README.txt is dismissed"
    assert "refuse" in [one["action"] for one in history["entries"]]


def test_what_was_not_refused_cannot_be_dismissed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing changes, and the message says where the names are."""
    before = read_set(LocalStore("store"))[0].root.digest
    for name in ("readme.txt", "./README.txt", "README.txt#2", ""):
        assert main(["refusal", "dismiss", "store", name]) == 2
        assert "crlcheck refusal list" in capsys.readouterr().err
    assert read_set(LocalStore("store"))[0].root.digest == before
    assert [one.source for one in read_rejections("store")] == ["README.txt"]


def test_the_published_set_is_the_same_after_it() -> None:
    """Only the generation is a new one: what is published and denied stays as it is."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    error = MalformedCrlError("no CRL", rule="x", offset=0)
    record_rejections(store, {"a#2": error, "b": error}, NOW)
    before = read_set(store)[0].everything()
    assert dismiss_rejection(store, "a#2", now=NOW) == before.generation + 1
    after = read_set(store)[0].everything()
    assert (after.scopes, after.issuers) == (before.scopes, before.issuers)
    assert [one.source for one in read_rejections(store)] == ["b"]
    newest = next(iter(read_history(store)))
    assert newest.details == {"source": "a#2"}


def test_a_refusal_that_comes_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has seen it yet."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    record_rejections(store, {"a": MalformedCrlError("old", rule="x", offset=0)}, NOW)

    def slowly(*given: Any, **named: Any) -> int:
        record_rejections(store, {"a": MalformedCrlError("new", rule="x", offset=0)}, NOW)
        return change_store(*given, **named)

    monkeypatch.setattr("crlcheck.publisher.rejections.change_store", slowly)
    dismiss_rejection(store, "a", now=NOW)
    assert [one.detail for one in read_rejections(store)] == ["new"]


def test_a_dismissed_source_is_listed_again_where_it_is_refused_again() -> None:
    """A dismissal is of one refusal, and not of the source for good."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    for _ in range(2):
        with pytest.raises(MalformedCrlError):
            publish_crl(b"no CRL", store, issuer=CA.der, source_name="a", now=NOW)
        assert [one.source for one in read_rejections(store)] == ["a"]
        dismiss_rejection(store, "a", now=NOW)
        assert read_rejections(store) == []
