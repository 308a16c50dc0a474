"""What the record of a generation says that the generation changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.catalog import Catalog, Denial, PublishedImage, RemovedIssuer
from crlcheck.catalog.changes import changed_members
from crlcheck.catalog.compare_and_swap import Change, swap
from crlcheck.catalog.history import Action, chain
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.records import ScopeRecord
from support.catalogs import NOW, catalog, image, issuer, record, stored
from support.pki import make_authority

HOUR = timedelta(hours=1)
NAME = bytes.fromhex("300c310a300806035504030c0141")  # CN=A
A, B = record().key, record(issuer="B").key


def changed(before: Catalog, after: Catalog, **sources: str) -> dict[str, Any]:
    """What differs, at NOW."""
    return changed_members(before, after, NOW, sources)


def rows(before: Catalog, after: Catalog) -> list[tuple[str, str, int | None, int | None]]:
    """Scope, change, CRL number and, of a delta CRL, its base, of each row."""
    return [
        (one["scope"], one["change"], one["crl_number"], one["base_crl_number"])
        for one in changed(before, after)["scopes"]
    ]


def new_image(number: int, base: int | None = None) -> PublishedImage:
    """An image of B of another CRL than those of the catalog."""
    found = image(number, issuer="B", base=base)
    return replace(found, metadata=replace(found.metadata, tbs_digest=f"of {number}"))


def test_nothing_changed() -> None:
    """No member is written for what stayed."""
    assert changed(catalog(), catalog()) == {}


def test_crls_come_are_replaced_and_go() -> None:
    """A row for each CRL of a scope that is another one, the delta CRL's after the other."""
    both = catalog()
    assert rows(Catalog.empty(), both) == [
        (A, "added", 7, None),
        (B, "added", 7, None),
        (B, "added", 8, 7),
    ]
    newer = both.with_scope(replace(record(9, issuer="B"), base=new_image(9)), [])
    assert rows(both, newer) == [(B, "replaced", 9, None), (B, "removed", 8, 7)]
    newer_delta = replace(both.scopes[B], delta=new_image(9, base=7))
    assert rows(both, both.with_scope(newer_delta, [])) == [(B, "replaced", 9, 7)]
    gone = both.without_scope(B, now=NOW, note="")
    assert rows(both, gone) == [(B, "removed", 7, None), (B, "removed", 8, 7)]
    assert rows(both, both.with_override(A, covers_no_distribution_point=True)) == [
        (A, "set", 7, None)
    ]
    assert changed(both, both.with_reset(A, now=NOW, note="")) == {}  # the action says it


def test_a_row_says_what_was_before_and_where_the_crl_came_from() -> None:
    """The entries of the CRL before, and of a delta CRL the source that the catalog lacks."""
    both, delta = catalog(), image(9, issuer="B", base=7)
    new = replace(delta, metadata=replace(delta.metadata, num_entries=5, tbs_digest="new"))
    after = both.with_scope(replace(both.scopes[B], delta=new), [])
    (row,) = changed(both, after, new="https://u:Tr0ub4dor@ca.example/delta.crl")["scopes"]
    assert (row["num_entries_before"], row["num_entries"]) == (3, 5)
    assert row["source"] == "https://u:***@ca.example/delta.crl"
    assert row["this_update"] == "2026-11-01T00:00:00Z"
    (row, *_) = changed(Catalog.empty(), both)["scopes"]
    assert row["source"] == "s3://in/crl/a.crl"
    assert "num_entries_before" not in row


def test_the_same_crl_in_another_image_is_rebuilt() -> None:
    """As where the image was damaged, or of an older form."""
    both = catalog()
    old = both.scopes[A]
    again = ScopeRecord(A, replace(old.base, name="images/other.crlx"), None, None)
    assert rows(both, both.with_scope(again, [])) == [(A, "rebuilt", 7, None)]


def test_issuers_that_came_and_went() -> None:
    """By fingerprint and subject; one that cannot be read has none. Settings are no change."""
    authority = make_authority("Root of A")
    known = replace(issuer(""), certificate=authority.der)
    before = Catalog.empty()
    after = before.with_scope(record(), [known, issuer("junk")])
    found = changed(before, after)["issuers_added"]
    assert {one["fingerprint"]: one["subject"] for one in found} == {
        known.fingerprint: "CN=Root of A",
        issuer("junk").fingerprint: None,
    }
    gone = after.without_issuer(known.fingerprint, RemovedIssuer(NOW, NAME))
    (row,) = changed(after, gone)["issuers_removed"]
    assert row["fingerprint"] == known.fingerprint
    marked = after.with_issuer_settings(known.fingerprint, is_anchor=True)
    assert changed(after, marked) == {}


def test_denials_that_were_added_lifted_and_over() -> None:
    """One that had ended by itself was not lifted by anybody."""
    over = Denial(NAME, 1, NOW - 2 * HOUR, NOW - HOUR)
    held = Denial(NAME, 2, NOW - HOUR, NOW + HOUR, "stolen")
    before = replace(Catalog.empty(), denied=(over, held))
    after = before.with_denial(Denial(NAME, 3, NOW)).without_denial(NAME, 2, now=NOW)
    found = changed(before, after)
    numbers = {name: [one["serial_number"] for one in members] for name, members in found.items()}
    assert numbers == {
        "denials_added": ["3"],
        "denials_lifted": ["2"],
        "denials_ended": ["1"],
    }
    assert found["denials_lifted"][0] == {
        "issuer": "CN=A",
        "serial_number": "2",
        "until": "2026-11-02T01:00:00Z",
        "note": "stolen",
    }
    longer = replace(Catalog.empty(), denied=(Denial(NAME, 2, NOW),))
    assert changed(before, longer)["denials_added"][0]["until"] is None


@pytest.mark.parametrize("whole", [True, False])
def test_every_swap_writes_it_beside_the_action(whole: bool) -> None:
    """Whatever the writer says itself, and however large the part that it read."""
    store = stored(catalog())
    held, etag = read_set(store)
    before = held.everything() if whole else held.scope(A)
    after = before.without_scope(A, now=NOW, note="")
    action = Action(action="x", note="why", details={"own": 1, "sources": {}})
    assert swap(
        store,
        held,
        etag,
        Change(
            before=before,
            after=after,
            action=action,
            at=NOW,
            clock=lambda: NOW,
        ),
    )
    record_of_it = next(found for _, found in chain(store, read_set(store)[0].root))
    assert record_of_it.action.note == "why"
    details = record_of_it.action.details
    assert details.keys() == {"own", "scopes"}
    assert [one["scope"] for one in details["scopes"]] == [A]
