"""The root: its JSON, its digest, and the sums of certificates."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.catalog.published_set import set_of
from crlcheck.catalog.root import MAX_GENERATION, MEMBERS, Certificates, Cleaned, Root
from crlcheck.catalog.tree import Reference, Staleness
from crlcheck.errors import CatalogRollbackError, StoreError
from support.catalogs import NOW, held, places, put
from support.memory_store import MemoryStore

REFERENCE = Reference("nodes/a.json", "0f" * 32, 5, Staleness(7, 9))
FULL = Root(
    generation=7,
    store="ab" * 16,
    at=NOW,
    top=REFERENCE,
    denied=replace(REFERENCE, name="nodes/b.json", staleness=Staleness()),
    history=replace(REFERENCE, name="history/c.json"),
    trusted=Certificates(2, 17),
    removed=Certificates(1, 3),
    num_scopes=4,
    settings={"keep": 3600},
    cleaned=Cleaned(5, 2, NOW),
    lost=((3, 4),),
    signatures=(),
    unknown={"later": {"x": [1]}, "empty": None},
)
BARE = Root(generation=1, store="x", at=NOW)
VALUE = json.loads(FULL.to_bytes())
OPTIONAL = {"top", "denied", "history", "settings", "lost", "signatures"}


def read(value: Any) -> Root:
    """Read a root's JSON as a store has it."""
    return set_of(json.dumps(value).encode(), MemoryStore()).root


@pytest.mark.parametrize("root", [FULL, BARE])
def test_a_root_is_read_back(root: Root) -> None:
    """Every member, and the bytes are canonical."""
    body = root.to_bytes()
    assert Root.read(json.loads(body)) == root
    assert read(json.loads(body)).to_bytes() == body
    text = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
    assert body == text.encode("ascii")


def test_the_members_that_it_knows() -> None:
    """No name of them is ever a member of a later version."""
    assert {*VALUE, "signatures"} == {*MEMBERS, "later", "empty"}


def test_the_digest_is_of_all_but_the_signatures() -> None:
    """Each other member changes it."""
    changes: list[dict[str, Any]] = [
        {"generation": 8},
        {"store": "cd" * 16},
        {"top": None},
        {"denied": None},
        {"history": None},
        {"trusted": Certificates()},
        {"removed": Certificates()},
        {"num_scopes": 5},
        {"settings": {}},
        {"cleaned": Cleaned()},
        {"lost": ()},
        {"unknown": {}},
    ]
    digests = {replace(FULL, **change).digest for change in changes}
    assert len(digests | {FULL.digest}) == len(changes) + 1
    assert replace(FULL, signatures=({"key": "x"},)).digest == FULL.digest


@pytest.mark.parametrize("generation", [0, -1, MAX_GENERATION])
def test_a_generation_that_is_none_is_neither_written_nor_read(generation: int) -> None:
    """JSON readers keep integers exactly up to 2^53."""
    with pytest.raises(ValueError, match=re.escape(f"generation {generation}")):
        replace(FULL, generation=generation).to_bytes()
    with pytest.raises(StoreError, match="generation: expected one from 1 to below 2\\^53"):
        read({**VALUE, "generation": generation})


@pytest.mark.parametrize("grace", [5, [], {"until": "2036-01-01T00:00:00Z"}, {"at": 5}])
def test_settings_that_no_checker_uses_are_refused_by_all(grace: object) -> None:
    """So no publication goes on from them, and the error names the object and the place."""
    with pytest.raises(StoreError, match=r"catalog\.json cannot be read: settings\.grace"):
        read({**VALUE, "settings": {"grace": grace}})


KINDS: dict[type, object] = {int: True, str: 1, list: {}, dict: [], type(None): 1}
PLACES = {
    place: way
    for place, way in places(VALUE, lambda place: place in ("settings", "later", "lost"))
    if place not in ("later", "empty") and held(VALUE, way) is not None
}


@pytest.mark.parametrize("place", PLACES)
def test_a_member_of_another_kind_is_refused(place: str) -> None:
    """In the references too."""
    way = PLACES[place]
    value = KINDS[type(held(VALUE, way))]
    with pytest.raises(StoreError, match=r"catalog.json cannot be read: .*expected "):
        read(put(VALUE, way, value))


@pytest.mark.parametrize("name", sorted(MEMBERS - OPTIONAL))
def test_a_member_that_is_required_is_missed(name: str) -> None:
    """What decides who passes is never made up."""
    with pytest.raises(StoreError, match=r"is missing|expected "):
        read({key: one for key, one in VALUE.items() if key != name})


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"format": True},
        {"store": ""},
        {"scopes": -1},
        {"trusted": [-1, "0" * 64]},
        {"trusted": [1, "0" * 63]},
        {"trusted": [1, "0x" + "0" * 62]},
        {"trusted": [1, "+" + "0" * 63]},
        {"trusted": [1, "G" * 64]},
        {"trusted": [1]},
        {"cleaned": [-1, 0, None]},
        {"cleaned": [0, -1, None]},
        {"cleaned": [0, 0, "yesterday"]},
        {"cleaned": [0, 0]},
        {"top": ["nodes/../x", "0" * 64, 1, None, 0]},
        {"top": ["nodes/x", "0" * 64, 0, None, 0]},
        {"at": "2026-11-02"},
    ],
)
def test_a_broken_root_is_refused(change: dict[str, Any]) -> None:
    """With the name of the object, whatever it is."""
    with pytest.raises(StoreError, match=r"catalog.json cannot be read: "):
        read({**VALUE, **change})


# ---- certificates ----------------------------------------------------------------------

FINGERPRINTS = st.sets(st.integers(0, (1 << 256) - 1).map(lambda one: f"{one:064x}"))


@given(FINGERPRINTS, FINGERPRINTS, FINGERPRINTS)
def test_the_sum_of_a_set_follows_its_changes(
    rest: set[str], before: set[str], after: set[str]
) -> None:
    """Whatever part of it was read, and in whatever order."""
    rest -= before | after
    whole = Certificates.of(rest | before)
    changed = whole.changed(Certificates.of(before), Certificates.of(after))
    assert changed == Certificates.of(rest | after)
    assert Certificates.read(changed.to_json(), "x") == changed
    assert Certificates.of(rest).joined(Certificates.of(after)) == changed
    assert Certificates.of([*before, *before]) == Certificates.of(before)


# ---- which follows which ---------------------------------------------------------------


def test_a_later_root_follows_and_the_same_one() -> None:
    """Whoever signed it."""
    store = MemoryStore()
    first = set_of(FULL.to_bytes(), store)
    later = set_of(replace(FULL, generation=8).to_bytes(), store)
    later.check_successor(first)
    first.check_successor(first)


def test_going_back_is_refused() -> None:
    """An old root that is put back, and another of the same generation."""
    store = MemoryStore()
    first = set_of(FULL.to_bytes(), store)
    later = set_of(replace(FULL, generation=8).to_bytes(), store)
    with pytest.raises(CatalogRollbackError, match="went back to generation 7 from") as caught:
        first.check_successor(later)
    assert (caught.value.generation, caught.value.held) == (7, 8)
    for other in (replace(FULL, num_scopes=5), replace(FULL, unknown={"later": 1})):
        with pytest.raises(CatalogRollbackError, match="differs .* generation 7"):
            set_of(other.to_bytes(), store).check_successor(first)
