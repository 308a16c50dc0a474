"""The history says of each change who made it and why, and has no secrets in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.history import MAX_ACTOR, Action, chain
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.records import MAX_NOTE
from crlcheck.encoding.secrets import without_secrets
from crlcheck.publisher.issuers import readmit_issuer, withdraw_issuers
from crlcheck.publisher.operator import (
    deny_certificate,
    lift_denial,
)
from support.changes import CHANGES, NAME, OF_CA, published_store
from support.memory_store import MemoryStore
from support.pki import NOW
from support.publishing import CA, OTHER_CA, publish


def last_action(store: MemoryStore) -> Action:
    """What the history says of the last change."""
    held, _ = read_set(store)
    return next(record for _, record in chain(store, held.root)).action


@pytest.mark.parametrize("action", CHANGES)
def test_every_change_says_who_made_it_and_why(action: str) -> None:
    """Both are in the record of the generation, under the action's own word."""
    store = published_store()
    CHANGES[action](store, actor="alice@desk", note="ticket 4711")
    found = last_action(store)
    assert (found.action, found.actor, found.note) == (action, "alice@desk", "ticket 4711")


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize(
    ("by", "error"),
    [
        ({"actor": "a" * (MAX_ACTOR + 1)}, ValueError),
        ({"note": "n" * (MAX_NOTE + 1)}, ValueError),
        ({"actor": 5}, TypeError),
        ({"actor": None}, TypeError),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(
    action: str, by: dict[str, Any], error: type[Exception]
) -> None:
    """Neither a generation nor an image is written for it."""
    store = published_store()
    if action in ("readmit_issuer", "allow"):
        CHANGES[action](store)  # a first time, so that it can be asked for again
    before = (read_set(store)[0].root.digest, list(store.names("images/")))
    change = {
        "readmit_issuer": lambda s, **given: readmit_issuer(s, "0" * 64, **given),
        "allow": lambda s, **given: lift_denial(s, NAME, 5, now=NOW, **given),
    }.get(action, CHANGES[action])
    with pytest.raises(error, match=f"{next(iter(by))}: expected"):
        change(store, **by)
    assert (read_set(store)[0].root.digest, list(store.names("images/"))) == before


def test_issuers_that_are_gone_from_their_source_name_it_and_the_actor() -> None:
    """However long the name of that source is."""
    store, source = MemoryStore(), "s3://bucket/" + "x" * 2 * MAX_NOTE
    publish(store, OF_CA, issuer=[CA.der, OTHER_CA.der], issuers_from=source)
    withdraw_issuers(store, [CA.der], added_by=source, actor="lambda f 1", now=NOW)
    found = last_action(store)
    assert (found.action, found.actor) == ("withdraw_issuers", "lambda f 1")
    assert found.details["added_by"] == source


def test_no_secret_gets_into_the_history() -> None:
    """Neither from the actor nor from the note nor from the place of a CRL."""
    store, url = MemoryStore(), "https://user:Tr0ub4dor@ca.example/ca.crl"
    publish(store, OF_CA, source_name=url, actor=url, note=f"from {url}")
    deny_certificate(store, NAME, 5, now=NOW, until=NOW + timedelta(hours=1), note=url)
    records = [store.read(name).body for name in store.names("history/")]
    assert len(records) == 2
    assert without_secrets(url) in records[-1].decode()
    assert not any(b"Tr0ub4dor" in body for body in records)
