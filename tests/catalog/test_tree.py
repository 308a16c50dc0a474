"""The map in immutable objects, against a dict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crlcheck.catalog import tree
from crlcheck.catalog.tree import (
    Node,
    NodeCache,
    NodeReader,
    Reference,
    Staleness,
    change,
    find,
    has_few_leaves,
    leaves_with,
    read_object,
    references,
    walk,
)
from crlcheck.encoding.strict_json import canonical_json
from crlcheck.errors import CatalogDamagedError, StoreUnavailableError
from support.catalogs import held, places, put
from support.memory_store import MemoryStore

# Leaves of about five entries, and inner nodes of about three references.
MAX_LEAF = tree._OVERHEAD + 150
MAX_INNER = tree._OVERHEAD + 600


@pytest.fixture(autouse=True)
def small_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make trees of several levels of few entries."""
    monkeypatch.setattr(tree, "MAX_LEAF", MAX_LEAF)
    monkeypatch.setattr(tree, "MAX_INNER", MAX_INNER)


def count_leaves(nodes: NodeReader, top: Reference | None, prefix: str) -> int:
    """How many leaves may have keys with a prefix."""
    return sum(1 for _ in leaves_with(nodes, top, prefix))


def staleness_of(key: str, value: Any) -> Staleness | None:
    """Numbers are times, and texts are entries without a CRL."""
    return Staleness(value, value % 7) if isinstance(value, int) else None


class Model:
    """A tree in a store, the dict that it must be, and all names that were ever written."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.expected: dict[str, Any] = {}
        self.top: Reference | None = None
        self.names: set[str] = set()
        self.kept = NodeCache()

    def change(self, changes: Mapping[str, Any]) -> tree.TreeChange:
        """Change both, and compare everything about them."""
        before = self.reachable()
        made = change(NodeReader(self.store, self.kept), self.top, changes, staleness_of)
        for reference, node in made.as_read:
            self.kept.keep(reference, node)
        assert not made.written.keys() & self.names, "a name was given again"
        self.names |= made.written.keys()
        for name, body in made.written.items():
            assert body == canonical_json(json.loads(body))
            self.store.write(name, body)
        self.top = made.top
        for key, value in changes.items():
            self.expected.pop(key, None)
            if value is not None:
                self.expected[key] = json.loads(json.dumps(value))
        after = self.reachable()
        assert after - before == made.written.keys()
        assert before - after == set(made.superseded)
        assert len(made.superseded) == len(set(made.superseded))
        self.compare()
        return made

    def reachable(self) -> set[str]:
        """The names of all nodes, found by a reader of the JSON alone."""
        return {name for name, _ in self._nodes(self.top)}

    def _nodes(self, top: Reference | None) -> Iterator[tuple[str, Any]]:
        if top is None:
            return
        value = json.loads(self.store.read(top.name).body)
        yield top.name, value
        for _, *below in value.get("nodes", ()):
            yield from self._nodes(Reference.read(below, ""))

    def compare(self) -> None:
        """Compare the tree with the dict."""
        nodes = NodeReader(self.store)
        assert list(walk(nodes, self.top)) == sorted(self.expected.items())
        kept = NodeReader(self.store, self.kept)
        assert repr([*walk(kept, self.top)]) == repr([*walk(nodes, self.top)])
        assert {one.name for one in references(nodes, self.top)} == self.reachable()
        assert (self.top is None) == (not self.expected)
        if self.top is not None:
            self.check(self.top, "", None)

    def check(self, reference: Reference, first: str, end: str | None) -> tuple[int, Staleness]:
        """Check a node by its JSON; return its level, and the staleness below it."""
        body = self.store.read(reference.name).body
        assert (len(body), hashlib.sha256(body).hexdigest()) == (reference.size, reference.digest)
        value = json.loads(body)
        assert json.dumps(value, sort_keys=True, separators=(",", ":")).encode() == body
        staleness = Staleness()
        if value["level"] == 0:
            assert value["entries"]
            assert len(body) <= MAX_LEAF or len(value["entries"]) == 1
            for key, one in value["entries"].items():
                assert first <= key
                assert end is None or key < end
                staleness = staleness.joined(staleness_of(key, one) or Staleness())
        else:
            assert len(body) <= MAX_INNER
            separators = [separator for separator, *_ in value["nodes"]]
            assert separators == sorted(set(separators))
            assert all(first <= one for one in separators[1:])
            ends = [*separators[1:], end]
            starts = [first, *separators[1:]]
            for start, stop, (_, *below) in zip(starts, ends, value["nodes"], strict=True):
                level, found = self.check(Reference.read(below, ""), start, stop)
                assert level == value["level"] - 1
                staleness = staleness.joined(found)
        assert reference.staleness == staleness
        return value["level"], staleness


KEYS = st.text("abc/", min_size=1, max_size=6)
VALUES = st.one_of(
    st.none(), st.integers(0, 99), st.text('x":1,', max_size=60), st.just(("a", [1, {"a": 2}]))
)
CHANGES = st.dictionaries(KEYS, VALUES, max_size=25)
# The first leaf of several goes, and then more come before the next than a leaf holds.
LETTERS = "abcdefghijklmnopqrstuvwxyz"
GONE: list[dict[str, Any]] = [
    dict.fromkeys(LETTERS[9:], "x" * 20),
    dict.fromkeys(LETTERS[9:15]),
    dict.fromkeys(LETTERS[:12], "x" * 20),
    dict.fromkeys(LETTERS[:9]),
    dict.fromkeys(LETTERS, "x" * 20),
    dict.fromkeys(LETTERS),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(CHANGES, max_size=6))
@example(GONE)
@example([*GONE, *GONE])
def test_the_tree_is_the_dict(batches: list[dict[str, Any]]) -> None:
    """
    After any changes: the entries, their order, the digests, sizes and levels, the order
    of the separators, the earliest time of each reference, and which nodes are written and
    given up. No name comes twice.
    """
    model = Model()
    for batch in batches:
        model.change(batch)
    model.change(dict.fromkeys(model.expected))
    assert model.top is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(CHANGES, CHANGES, st.lists(st.text("abc/", max_size=4), max_size=4))
def test_what_starts_with_a_prefix_is_found(
    first: dict[str, Any], second: dict[str, Any], prefixes: list[str]
) -> None:
    """And the number of leaves tells how many are read for it."""
    model = Model()
    model.change(first)
    model.change(second)
    expected = {
        key: value for key, value in model.expected.items() if key.startswith(tuple(prefixes))
    }
    assert find(NodeReader(model.store), model.top, prefixes) == expected
    for prefix in prefixes:
        read: list[str] = []
        nodes = NodeReader(model.store, NodeCache(0))
        counted = count_leaves(nodes, model.top, prefix)
        for limit in {0, 1, 2, max(counted - 1, 0), counted}:
            few = has_few_leaves(nodes, model.top, prefix, limit)
            assert few is (counted <= limit)
        model.store.before = lambda _, name, read=read: read.append(name)
        found = list(walk(nodes, model.top, prefix))
        model.store.before = None
        assert found == sorted(
            (key, value) for key, value in model.expected.items() if key.startswith(prefix)
        )
        leaves = [name for name in read if not json.loads(model.store.read(name).body)["level"]]
        assert len(leaves) == counted


def grown(number: int) -> Model:
    """A tree of so many entries, one after the other."""
    model = Model()
    for position in range(number):
        model.change({f"{position * 7919 % number:05}": position})
    return model


def test_only_a_full_node_splits() -> None:
    """One more entry writes its leaf and the nodes above, and one more where it is full."""
    model = grown(60)
    top = model.top
    assert top is not None
    level = json.loads(model.store.read(top.name).body)["level"]
    assert level >= 2
    for key in ("00010x", "00059x", "0"):
        leaves_before = count_leaves(NodeReader(model.store), model.top, "")
        made = model.change({key: 1})
        leaves = count_leaves(NodeReader(model.store), model.top, "")
        assert leaves - leaves_before in (0, 1)
        written = [json.loads(body)["level"] for body in made.written.values()]
        assert written.count(0) == 1 + leaves - leaves_before
        assert len(made.superseded) == level + 1


def test_a_change_of_one_entry_shares_all_other_nodes() -> None:
    """It writes as many nodes as the tree has levels."""
    model = grown(60)
    before = model.reachable()
    made = model.change({"00030": 1000})
    assert len(made.written) == len(made.superseded) == 3
    assert len(before) > 10


def test_what_changes_nothing_writes_nothing() -> None:
    """The same value again, and a key that goes and was not there."""
    model = grown(30)
    top = model.top
    for changes in ({}, {"00003": model.expected["00003"]}, {"x": None}):
        made = model.change(changes)
        assert (made.written, list(made.superseded), made.top) == ({}, [], top)
    assert change(NodeReader(MemoryStore()), None, {"x": None}, staleness_of).top is None


def test_an_entry_larger_than_a_leaf_has_one_of_its_own() -> None:
    """And so have its neighbours."""
    model = Model()
    model.change({"a": "x", "b": "x" * 1000, "c": "x"})
    assert count_leaves(NodeReader(model.store), model.top, "") == 3
    model.change({"b": "x"})
    model.change({"b": "x" * 100, "bb": "x" * 90, "bbb": "y" * 140})


def test_a_leaf_of_the_longest_staleness() -> None:
    """The earliest end and the longest validity may be those of two CRLs."""
    model = Model()
    model.change({"a": 7, "b": 13, "c": "x"})
    assert model.top is not None
    assert model.top.staleness == Staleness(7, 6)


def test_skipped_references_hide_what_is_below() -> None:
    """A reader that holds a node holds all of it."""
    model = grown(60)
    nodes = NodeReader(model.store)
    before = {one.digest for one in references(nodes, model.top)}
    made = model.change({"00030": 1000})
    new = {one.name for one in references(nodes, model.top, lambda one: one.digest in before)}
    assert new == made.written.keys()
    assert list(references(nodes, model.top, lambda _: True)) == []


# ---- damage ----------------------------------------------------------------------------


def test_each_node_is_authenticated_by_the_top() -> None:
    """Another byte, a byte more or less, or no object: refused with its name, never read."""
    model = grown(30)
    for name in model.reachable():
        body = model.store.read(name).body
        for bad in (body[:-1], body + b" ", body.replace(b"e", b"f", 1), b"", b"{}"):
            model.store.write(name, bad)
            with pytest.raises(CatalogDamagedError, match="is damaged: expected") as caught:
                list(walk(NodeReader(model.store), model.top))
            assert (caught.value.name, caught.value.found) == (name, "damaged")
        model.store.delete(name)
        with pytest.raises(CatalogDamagedError, match="is missing") as caught:
            list(walk(NodeReader(model.store), model.top))
        assert (caught.value.name, caught.value.found) == (name, "missing")
        model.store.write(name, body)
    model.compare()


def test_a_change_does_not_read_past_a_damaged_node() -> None:
    """Nothing of it may be lost in silence."""
    model = grown(30)
    nodes = NodeReader(model.store)
    leaf = next(one for one in references(nodes, model.top) if not nodes.node(one).level)
    model.store.delete(leaf.name)
    with pytest.raises(CatalogDamagedError):
        change(NodeReader(model.store), model.top, {"0": 1}, staleness_of)


def test_a_store_that_does_not_answer_is_not_damage() -> None:
    """The error is the store's own."""
    model = grown(30)

    def fail(operation: str, name: str) -> None:
        raise StoreUnavailableError("no answer")

    model.store.before = fail
    with pytest.raises(StoreUnavailableError):
        list(walk(NodeReader(model.store), model.top))


INNER = {
    "format": 2,
    "level": 1,
    "nodes": [
        ["", "nodes/a.json", "0" * 64, 1, None, 0],
        ["b", "nodes/b.json", "1" * 64, 2, 3, 4],
    ],
}
LEAF = {"format": 2, "level": 0, "entries": {"a": 1}}
OF_ANOTHER_KIND: dict[type, object] = {int: True, str: 1, list: {}, dict: []}


def read(value: Any) -> Node:
    """Read a node, and all that it refers to."""
    node = Node.from_bytes(json.dumps(value).encode(), "nodes/x.json")
    list(node.below)
    return node


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (value, place)
        for value in (INNER, LEAF)
        for place, way in places(value)
        if place != "entries.a" and held(value, way) is not None
    ],
)
def test_a_member_of_another_kind_is_refused(value: Any, place: str) -> None:
    """With the name of the node."""
    way = dict(places(value))[place]
    broken = put(value, way, OF_ANOTHER_KIND[type(held(value, way))])
    with pytest.raises(CatalogDamagedError, match=r"nodes/x.json cannot be read: .*expected "):
        read(broken)


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": []},
        {"nodes": INNER["nodes"][::-1]},  # type: ignore[index]
        {"nodes": [INNER["nodes"][0]] * 2},  # type: ignore[index]
        {"nodes": [["", "nodes/../a", "0" * 64, 1, None, 0]]},
        {"nodes": [["", "nodes/a", "0" * 63, 1, None, 0]]},
        {"nodes": [["", "nodes/a", "G" * 64, 1, None, 0]]},
        {"nodes": [["", "nodes/a", "0" * 64, 0, None, 0]]},
        {"nodes": [["", "nodes/a", "0" * 64, 1, None]]},
        {"nodes": [[]]},
        {"format": 1},
        {"format": 3},
        {"level": -1},
    ],
)
def test_a_node_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    """Separators without order, names that are none, and later formats."""
    with pytest.raises(CatalogDamagedError, match="cannot be read"):
        read({**INNER, **change})


@pytest.mark.parametrize("bad", [["x", 0], [1, "x"], [1, None], ["x", "y"], [True, 0], [1], []])
def test_a_broken_reference_beside_a_change_is_not_copied(bad: list[Any]) -> None:
    """What it says would stand in the node above as well."""
    store = MemoryStore()
    leaf = json.dumps(LEAF).encode()
    store.write("nodes/a.json", leaf)
    below = Reference("nodes/a.json", hashlib.sha256(leaf).hexdigest(), len(leaf))
    items = [["", *below.to_json()], ["b", "nodes/b.json", "1" * 64, 2, *bad]]
    body = json.dumps({**INNER, "nodes": items}).encode()
    store.write("nodes/top.json", body)
    top = Reference("nodes/top.json", hashlib.sha256(body).hexdigest(), len(body))
    with pytest.raises(CatalogDamagedError, match="cannot be changed: expected numbers"):
        change(NodeReader(store), top, {"a": 2}, staleness_of)


def test_a_node_of_another_level_than_its_place_is_refused() -> None:
    """A tree that refers to itself would have no end."""
    store = MemoryStore()
    leaf = json.dumps(LEAF).encode()
    store.write("nodes/a.json", leaf)
    below = Reference("nodes/a.json", hashlib.sha256(leaf).hexdigest(), len(leaf))
    body = json.dumps({**INNER, "level": 2, "nodes": [["", *below.to_json()]]}).encode()
    store.write("nodes/top.json", body)
    top = Reference("nodes/top.json", hashlib.sha256(body).hexdigest(), len(body))
    with pytest.raises(CatalogDamagedError, match="level: expected 1, found 0"):
        list(walk(NodeReader(store), top))


# ---- what is kept -----------------------------------------------------------------------


def test_a_reader_keeps_the_last_nodes() -> None:
    """As far as its bytes reach, the least used one goes first."""
    model = grown(60)
    num_nodes = len(model.reachable())
    counted: list[str] = []
    model.store.before = lambda _, name: counted.append(name)
    nodes = NodeReader(model.store)
    list(walk(nodes, model.top))
    first = len(counted)
    list(walk(nodes, model.top))
    assert len(counted) == first == num_nodes
    nothing = NodeReader(model.store, NodeCache(0))
    for _ in range(2):
        list(walk(nothing, model.top))
    assert len(counted) == 3 * first
    little = NodeReader(model.store, NodeCache(4 * 3 * 300))
    for _ in range(2):
        list(walk(little, model.top, "00001"))
    assert len(counted) < 3 * first + 8


def test_objects_are_read_once_verified() -> None:
    """The bytes of what a reference names, and nothing else."""
    store = MemoryStore()
    store.write("nodes/a", b"abc")
    reference = Reference("nodes/a", hashlib.sha256(b"abc").hexdigest(), 3)
    assert read_object(store, reference) == b"abc"
