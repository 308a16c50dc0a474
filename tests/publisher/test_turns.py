"""Large publications in one store take turns, so that they need not begin anew."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from crlcheck import publish_crl
from crlcheck.catalog.published_set import read_set
from crlcheck.publisher import locks, publication
from crlcheck.publisher.locks import lock_path, turn
from crlcheck.stores import LocalStore
from support.pki import NOW, make_crl
from support.publishing import CA, OTHER_CA

CRL = make_crl(CA, 1, [1])


@pytest.fixture(autouse=True)
def many_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a publication of one CRL take its turn as one of many does."""
    monkeypatch.setattr(publication, "_MANY", 1)


def test_a_publication_waits_for_the_turn_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It reads the set after the other one has swapped, so that neither loses its swap.
    """
    store, waits = LocalStore(tmp_path), threading.Event()
    sleep = time.sleep

    def note(seconds: float) -> None:
        waits.set()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", note)
    found = []

    def publish() -> None:
        found.append(publish_crl(CRL, store, issuer=CA.pem, now=NOW))

    second = threading.Thread(target=publish)
    with turn(store):
        second.start()
        assert waits.wait(60)
        monkeypatch.setattr(publication, "_MANY", 2)
        publish_crl(make_crl(OTHER_CA, 1), store, issuer=OTHER_CA.pem, now=NOW)
    second.join(60)
    assert [(one.generation, one.num_lost_swaps) for one in found] == [(2, 0)]


def test_a_turn_that_takes_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Another process may hang in its turn; the swap decides who comes first.
    """
    monkeypatch.setattr(locks, "_LONGEST_TURN", 0.05)
    store = LocalStore(tmp_path)
    with turn(store):
        assert publish_crl(CRL, store, issuer=CA.pem, now=NOW).published
    assert read_set(store)[0].generation == 1


@pytest.mark.parametrize("in_the_way", ["link", "directory", "no rights"])
def test_a_lock_that_cannot_be_taken_keeps_nothing_from_being_published(
    tmp_path: Path, in_the_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Turns only save work.
    """
    store = LocalStore(tmp_path)
    path = lock_path(store, "turn")
    if in_the_way == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif in_the_way == "directory":
        path.mkdir()
    else:

        def refuse(*_arguments: object) -> int:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(locks, "open_lock", refuse)
    assert publish_crl(CRL, store, issuer=CA.pem, now=NOW).published
    assert not (tmp_path / "elsewhere").exists()
