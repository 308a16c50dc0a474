"""Who runs a command, and why, stands in the history of the store."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from crlcheck.catalog.history import MAX_ACTOR, Action, chain
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.records import MAX_NOTE
from crlcheck.cli import main
from crlcheck.cli.root import root
from crlcheck.errors import CrlSignatureError
from crlcheck.publisher.rejections import record_rejections
from crlcheck.stores import LocalStore
from support.command_line import NOW, Place, make_place

COMMANDS = {
    "publish": ["publish", "NEXT", "--issuer", "CA", "--to", "STORE", "--allow-shrink"],
    "set_scope": ["scope", "set", "STORE", "SCOPE", "--covers-no-distribution-point"],
    "remove_scope": ["scope", "remove", "STORE", "SCOPE"],
    "reset_scope": ["scope", "reset", "STORE", "SCOPE"],
    "deny": ["deny", "add", "STORE", "GOOD"],
    "allow": ["deny", "remove", "STORE", "DENIED"],
    "grant_grace": ["grace", "add", "STORE", "--for", "1h"],
    "end_grace": ["grace", "remove", "STORE"],
    "advance": ["advance", "STORE", "--above", "40"],
    "remove_issuer": ["issuer", "remove", "STORE", "CA"],
    "readmit_issuer": ["issuer", "readmit", "STORE", "CA"],
    "set_issuer": ["issuer", "anchor", "STORE", "CA"],
    "clean_up": ["clean", "STORE", "--grace", "0s"],
    "restore": ["restore", "STORE", "--from", "@1", "--yes"],
    "dismiss_refusal": ["refusal", "dismiss", "STORE", "/srv/README.txt"],
}
BEFORE = {
    "allow": ["deny", "add", "STORE", "DENIED"],
    "end_grace": ["grace", "add", "STORE", "--for", "1h"],
    "readmit_issuer": ["issuer", "remove", "STORE", "CA"],
    "restore": ["deny", "add", "STORE", "GOOD"],
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The demo's files, and a store with an image that nobody published and a refused CRL."""
    found = make_place(tmp_path)
    store = LocalStore(found["store"])
    store.write("images/abandoned.crlx", b"")
    record_rejections(store, {"/srv/README.txt": CrlSignatureError("bad", reason="bad")}, NOW)
    return found


def last_action(place: Place) -> Action:
    """What the history says of the last change."""
    held, _ = read_set(LocalStore(place["store"]))
    return next(record for _, record in chain(LocalStore(place["store"]), held.root)).action


def typed(place: Place, words: list[str]) -> list[str]:
    """The command with the names of this place."""
    held, _ = read_set(LocalStore(place["store"]))
    scope = next(iter(held.everything().scopes), "none")
    names = {
        "STORE": place["store"],
        "NEXT": place.crl("next.crl"),
        "CA": place["ca.pem"],
        "GOOD": place["good.pem"],
        "DENIED": place["good.pem"],
        "SCOPE": scope,
    }
    return [names.get(word, word) for word in words]


@pytest.mark.parametrize("action", COMMANDS)
def test_every_command_that_changes_a_store_takes_a_note(
    action: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note and the actor are in the history, and a note that is too long is wrong usage."""
    monkeypatch.setenv("CRLCHECK_ACTOR", "pipeline 12 of ops")
    if action in BEFORE:
        assert main(typed(place, BEFORE[action])) == 0
    words = typed(place, COMMANDS[action])
    assert main([*words, "--note", "n" * (MAX_NOTE + 1)]) == 2
    assert main([*words, "--note", "ticket 4711, s3://k:Tr0ub4dor@host/"]) == 0
    found = last_action(place)
    assert (found.action, found.actor) == (action, "pipeline 12 of ops")
    assert found.note == "ticket 4711, s3://k:***@host/"


# A fetch is run by cron, and a signature makes no generation.
WITHOUT_NOTE = {("fetch",), ("sign",)}


def leaves(command: click.Command = root, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield every command with the words that call it."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from leaves(below, (*path, name))
    else:
        yield path, {name for parameter in command.params for name in parameter.opts}


def test_no_command_that_changes_a_store_is_without_a_note() -> None:
    """Those that sign are those that change one."""
    changing = {path for path, options in leaves() if "--sign-with" in options}
    noted = {path for path, options in leaves() if "--note" in options}
    assert changing - WITHOUT_NOTE == noted
    # These make an action that another command makes above.
    as_others = {("issuer", "no-crl"), ("migrate", "aws-sample")}
    tried = {tuple(words[: len(path)]) for words in COMMANDS.values() for path in noted}
    assert tried >= noted - as_others


def test_the_actor_is_the_user_of_this_machine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment names nobody, and with the name before sudo."""
    for name in ("CRLCHECK_ACTOR", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    denial = ["deny", "add", place["store"], place["good.pem"]]
    assert main(denial) == 0
    own = f"{getpass.getuser()}@{socket.gethostname()}"
    assert last_action(place).actor == own
    monkeypatch.setenv("SUDO_USER", "alice")
    assert main(denial) == 0
    assert last_action(place).actor == f"alice as {own}"


def test_a_user_without_a_name_is_a_number(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any uid."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.delenv("CRLCHECK_ACTOR", raising=False)
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert main(["deny", "add", place["store"], place["good.pem"]]) == 0
    assert last_action(place).actor == f"4711@{socket.gethostname()}"


def test_an_actor_that_is_too_long_is_wrong_usage(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the variable, and nothing changes."""
    monkeypatch.setenv("CRLCHECK_ACTOR", "a" * (MAX_ACTOR + 1))
    before = read_set(LocalStore(place["store"]))[0].root.digest
    assert main(["deny", "add", place["store"], place["good.pem"]]) == 2
    assert "CRLCHECK_ACTOR: expected at most 200 characters" in capsys.readouterr().err
    assert read_set(LocalStore(place["store"]))[0].root.digest == before
