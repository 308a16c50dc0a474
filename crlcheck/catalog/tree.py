"""
Keep a sorted map of text keys to JSON values in immutable objects of a store.

It is a B+ tree whose nodes are never changed: a new version writes the leaves that change
and the nodes above them under new names, and shares all others. A leaf has entries, an
inner node has references to the nodes below it. Each reference has the digest of its
node, so the digest of the top node authenticates the whole map.

A node's name has 128 random bits and is never written twice. So whoever deletes a name that
is no longer used can never hit a node that another writer has just written.

For example, a map has two leaves, for the keys up to "m" and from "m" on. A change of "q"
writes a second leaf and a top node. Both versions of the map share the first leaf.
"""

from __future__ import annotations

import bisect
import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, overload

from crlcheck.encoding.strict_json import canonical_json, members_of, parse_json, take, typed
from crlcheck.errors import CatalogDamagedError, CrlCheckError
from crlcheck.stores import ObjectStore
from crlcheck.stores.object_store import check_name

NODE_PREFIX = "nodes/"
"""The name of every node in a store begins with this."""

MAX_LEAF = 64 << 10
"""A leaf has at most so many bytes, unless one entry alone has more."""

MAX_INNER = 96 << 10
"""An inner node has at most so many bytes."""

# A node that is full splits into nodes that are full to this part, so that they do not
# split again at once.
_FILL = 0.7

_NODE_FORMAT = 2

# More bytes than a node has beside its entries, or its references.
_OVERHEAD = 64

# About how many bytes a parsed leaf, or inner node, takes for each byte of its JSON.
_PARSED_LEAF, _PARSED_INNER = 2, 3

DEFAULT_CACHE = 8 << 20
"""Bytes of nodes that stay parsed for a store."""


class Staleness(NamedTuple):
    """
    The earliest time at which a CRL of some entries is past its nextUpdate.

    ``stale_at`` is in seconds since 1970, None where none has a nextUpdate.
    ``longest_validity`` is the most seconds from thisUpdate to nextUpdate.
    """

    stale_at: int | None = None
    longest_validity: int = 0

    @classmethod
    def of(cls, this_update: datetime, next_update: datetime | None) -> Staleness:
        """Return that of one CRL."""
        if next_update is None:
            return cls()
        validity = int((next_update - this_update).total_seconds())
        return cls(int(next_update.timestamp()), max(validity, 0))

    def joined(self, other: Staleness) -> Staleness:
        """Return the staleness of the entries of both."""
        times = [one for one in (self.stale_at, other.stale_at) if one is not None]
        longest = max(self.longest_validity, other.longest_validity)
        return Staleness(min(times, default=None), longest)


_NO_CRL = Staleness()


@dataclass(frozen=True, slots=True)
class Reference:
    """
    The name of an immutable object, with its SHA-256 in hex and its size in bytes.

    ``staleness`` is that of the CRLs below a node.
    """

    name: str
    digest: str
    size: int
    staleness: Staleness = _NO_CRL

    def to_json(self) -> list[Any]:
        """Return the JSON value."""
        return [self.name, self.digest, self.size, *self.staleness]

    @classmethod
    def of(cls, name: str, body: bytes, staleness: Staleness = _NO_CRL) -> Reference:
        """Return the reference to an object with these bytes."""
        return cls(name, hashlib.sha256(body).hexdigest(), len(body), staleness)

    @classmethod
    def read(cls, value: object, where: str) -> Reference:
        """Read what ``to_json`` gave. Raises ValueError with the place."""
        items = typed(value, list, where)
        if len(items) != 5:
            raise ValueError(f"{where}: expected 5 items, found {len(items)}")
        name, digest = (typed(item, str, where) for item in items[:2])
        size, longest = typed(items[2], int, where), typed(items[4], int, where)
        stale_at = None if items[3] is None else typed(items[3], int, where)
        check_name(name)
        if len(digest) != 64 or not set(digest) <= _HEX or size <= 0:
            raise ValueError(f"{where}: expected a SHA-256 in hex and a size, found {items[1:3]}")
        return cls(name, digest, size, Staleness(stale_at, longest))


_HEX = frozenset("0123456789abcdef")


def read_object(store: ObjectStore, reference: Reference) -> bytes:
    """
    Return the bytes of an immutable object, which its reference authenticates.

    Raises:
        CatalogDamagedError: the object is missing, or it is another one.
        StoreError: the store does not answer.
    """
    try:
        body = store.read(reference.name).body
    except FileNotFoundError as error:
        raise CatalogDamagedError(
            f"{store.url}/{reference.name} is missing, which the catalog needs",
            name=reference.name,
            found="missing",
        ) from error
    digest = hashlib.sha256(body).hexdigest()
    if len(body) != reference.size or digest != reference.digest:
        raise CatalogDamagedError(
            f"{store.url}/{reference.name} is damaged: expected {reference.size} bytes with "
            f"SHA-256 {reference.digest}, found {len(body)} bytes with {digest}",
            name=reference.name,
            found="damaged",
        )
    return body


@dataclass(frozen=True, slots=True)
class Node:
    """
    A node: ``entries`` of a leaf (``level`` 0), or ``below`` of an inner node.

    ``separators`` has for each node below the text from which on its keys sort. ``body`` is
    the node as it is stored, known of one that this process has written.
    """

    level: int
    entries: Mapping[str, Any] = field(default_factory=dict)
    separators: Sequence[str] = ()
    below: _References = field(default_factory=lambda: _References((), ""))
    body: bytes | None = None

    @classmethod
    def from_bytes(cls, body: bytes, where: str) -> Node:
        """
        Read a node.

        Raises:
            CatalogDamagedError: it is not one, or one of a later format.
        """
        try:
            members = members_of(parse_json(body), "the node")
            found = take(members, "format", int)
            if found != _NODE_FORMAT:
                raise ValueError(f"format: expected {_NODE_FORMAT}, found {found}")
            level = take(members, "level", int)
            if level < 0:
                raise ValueError(f"level: expected a number from 0, found {level}")
            if level == 0:
                return cls(level, take(members, "entries", dict))
            items = take(members, "nodes", list)
            # All at once, because there are hundreds.
            if set(map(type, items)) != {list} or not all(items):
                raise ValueError("nodes: expected at least one array, and no empty one")
            separators = [item[0] for item in items]
            if set(map(type, separators)) != {str} or separators != sorted(set(separators)):
                raise ValueError("nodes: expected separators in their order")
            return cls(level, {}, separators, _References(items, where))
        except (ValueError, RecursionError) as error:
            raise CatalogDamagedError(
                f"{where} cannot be read: {error}", name=where, found="unreadable"
            ) from error

    def places(self, prefix: str) -> range:
        """Return the positions of the nodes below that may have keys with *prefix*."""
        first = max(bisect.bisect_right(self.separators, prefix) - 1, 0)
        return range(first, bisect.bisect_left(self.separators, prefix + _LAST))


class _References(Sequence[Reference]):
    """
    The references of an inner node, each read when it is needed.

    A node has hundreds of them, and one certificate needs one or two.
    """

    def __init__(self, items: Sequence[list[Any]], where: str) -> None:
        self.items = items
        self._where = where

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> Reference: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Reference]: ...

    def __getitem__(self, place: int | slice) -> Reference | Sequence[Reference]:
        """Return a reference. Raises CatalogDamagedError where it is not one."""
        if isinstance(place, slice):
            return _References(self.items[place], self._where)
        try:
            return Reference.read(self.items[place][1:], f"nodes[{place}]")
        except ValueError as error:
            raise CatalogDamagedError(
                f"{self._where} cannot be read: {error}", name=self._where, found="unreadable"
            ) from error


_LAST = "\U0010ffff"  # sorts after every character of a key


class NodeCache:
    """
    Keeps the nodes of a store that were used last, parsed. Threads may share it.

    *capacity* is in bytes, 0 to keep nothing.
    """

    def __init__(self, capacity: int = DEFAULT_CACHE) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[str, tuple[str, Node, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def find(self, reference: Reference) -> Node | None:
        """Return a node if it is kept; this counts as a use of it."""
        with self._lock:
            kept = self._kept.get(reference.name)
            if kept is None or kept[0] != reference.digest:
                return None
            self._kept.move_to_end(reference.name)
            return kept[1]

    def keep(self, reference: Reference, node: Node) -> None:
        """Keep a node that was read, or written just now."""
        parsed = _PARSED_INNER if node.level else _PARSED_LEAF
        size = reference.size * (parsed + (node.body is not None))
        with self._lock:
            self._drop(reference.name)
            if size > self._capacity:
                return
            self._kept[reference.name] = reference.digest, node, size
            self._size += size
            while self._size > self._capacity:
                self._drop(next(iter(self._kept)))

    def forget(self, names: Iterable[str]) -> None:
        """Drop the nodes that no set in use needs."""
        with self._lock:
            for name in names:
                self._drop(name)

    def after_fork(self) -> None:
        """Make a new lock, and count again: the parent's thread may have been interrupted."""
        self._lock = threading.Lock()
        self._size = sum(size for _, _, size in self._kept.values())

    def _drop(self, name: str) -> None:
        dropped = self._kept.pop(name, None)
        if dropped is not None:
            self._size -= dropped[2]


class NodeReader:
    """Reads and verifies the nodes of one store. Threads may share it."""

    def __init__(self, store: ObjectStore, kept: NodeCache | None = None) -> None:
        self.store = store
        self.kept = NodeCache() if kept is None else kept

    def node(self, reference: Reference, level: int | None = None) -> Node:
        """
        Return a node, which must be of *level* unless that is None.

        Raises: as ``read_object``.
        """
        node = self.kept.find(reference) or self._read(reference)
        if level is not None and node.level != level:
            where = f"{self.store.url}/{reference.name}"
            raise CatalogDamagedError(
                f"{where} cannot be read: level: expected {level}, found {node.level}",
                name=reference.name,
                found="unreadable",
            )
        return node

    def _read(self, reference: Reference) -> Node:
        body = read_object(self.store, reference)
        node = Node.from_bytes(body, f"{self.store.url}/{reference.name}")
        self.kept.keep(reference, node)
        return node


# ---- reading -------------------------------------------------------------------------


Failed = Callable[[CatalogDamagedError], None]
"""Is told of what is missing or damaged, where the rest is to be read without it."""


def find(nodes: NodeReader, top: Reference | None, prefixes: Iterable[str]) -> dict[str, Any]:
    """
    Return the entries of the map of *top* whose keys start with one of *prefixes*.

    Raises: as ``read_object``.
    """
    found: dict[str, Any] = {}
    for prefix in prefixes:
        found.update(walk(nodes, top, prefix))
    return found


def walk(
    nodes: NodeReader,
    top: Reference | None,
    prefix: str = "",
    skip: Callable[[Reference], bool] | None = None,
    failed: Failed | None = None,
) -> Iterator[tuple[str, Any]]:
    """
    Yield the entries whose keys start with *prefix*, in the order of their keys.

    Only one leaf at a time is in use. Where *skip* returns True for a reference, what is below
    it is left out, and it is not read. With *failed* what is missing or damaged is left
    out with all below it, and the error is handed to it.

    Raises: as ``read_object``.
    """
    for _, node in _leaves(nodes, top, prefix, skip, failed):
        for key in sorted(node.entries):
            if key.startswith(prefix):
                yield key, node.entries[key]


def _leaves(
    nodes: NodeReader,
    reference: Reference | None,
    prefix: str,
    skip: Callable[[Reference], bool] | None,
    failed: Failed | None,
    level: int | None = None,
) -> Iterator[tuple[Reference, Node]]:
    if reference is None or (skip is not None and skip(reference)):
        return
    try:
        node = nodes.node(reference, level)
    except CatalogDamagedError as error:
        if failed is None:
            raise
        failed(error)
        return
    if node.level == 0:
        yield reference, node
        return
    for place in node.places(prefix):
        yield from _leaves(nodes, node.below[place], prefix, skip, failed, node.level - 1)


def leaves_with(
    nodes: NodeReader,
    top: Reference | None,
    prefix: str,
    failed: Callable[[CrlCheckError], None] | None = None,
    level: int | None = None,
) -> Iterator[Reference]:
    """
    Yield the references to the leaves that may have keys that start with *prefix*.

    No leaf is read, except a top node. With *failed* what cannot be read is left out, and the
    error is handed to it. *level* is that of the node *top*, where it is known.

    Raises: as ``read_object``.
    """
    if top is None:
        return
    try:
        node = nodes.node(top, level)
    except CrlCheckError as error:
        if failed is None:
            raise
        failed(error)
        return
    if node.level == 0:
        yield top
        return
    for place in node.places(prefix):
        if node.level == 1:
            yield node.below[place]
        else:
            yield from leaves_with(nodes, node.below[place], prefix, failed, node.level - 1)


def has_few_leaves(nodes: NodeReader, top: Reference | None, prefix: str, limit: int) -> bool:
    """
    Whether *limit* leaves or fewer may have keys that start with *prefix*.

    No leaf is read, except a top node, and of many nodes below one none is.

    Raises: as ``read_object``.
    """
    return top is None or _num_leaves(nodes, nodes.node(top), prefix, limit) <= limit


def _num_leaves(nodes: NodeReader, node: Node, prefix: str, limit: int) -> int:
    """Return how many leaves may have such keys; above *limit* the number need not be exact."""
    if node.level == 0:
        return 1
    places = node.places(prefix)
    if node.level == 1 or len(places) > limit:
        return len(places)
    below = (nodes.node(node.below[place], node.level - 1) for place in places)
    return sum(_num_leaves(nodes, one, prefix, limit) for one in below)


def references(
    nodes: NodeReader, top: Reference | None, skip: Callable[[Reference], bool] | None = None
) -> Iterator[Reference]:
    """
    Yield *top* and the references to all nodes below it; no leaf is read below a top node.

    Where *skip* returns True for a reference, it and what is below it are left out.

    Raises: as ``read_object``.
    """
    if top is not None and not (skip is not None and skip(top)):
        yield top
        yield from _references_below(nodes, nodes.node(top), skip)


def _references_below(
    nodes: NodeReader, node: Node, skip: Callable[[Reference], bool] | None
) -> Iterator[Reference]:
    for below in node.below:
        if skip is None or not skip(below):
            yield below
            if node.level > 1:
                yield from _references_below(nodes, nodes.node(below, node.level - 1), skip)


# ---- changing ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TreeChange:
    """
    A new version of a map: its ``top``, the nodes to write, and the names of those that it
    does not use any more. Of some of the new nodes it is known what will be read of them.
    """

    top: Reference | None
    written: Mapping[str, bytes]
    superseded: Sequence[str]
    as_read: Sequence[tuple[Reference, Node]] = ()


def change(
    nodes: NodeReader,
    top: Reference | None,
    changes: Mapping[str, Any],
    staleness: Callable[[str, Any], Staleness | None],
) -> TreeChange:
    """
    Return a version of the map of *top* with *changes*; a key whose value is None goes.

    *staleness* returns that of an entry, None where it has no CRL. Nothing is written.

    Raises: as ``read_object``.
    """
    if not changes:
        return TreeChange(top, {}, ())  # as a denial does, which no damaged node is to stop
    writer = _Writer(nodes, staleness)
    in_order = sorted(changes.items())
    if top is None:
        made = writer.leaves("", {key: value for key, value in in_order if value is not None})
        level = 0
    else:
        level = nodes.node(top).level
        made = writer.rewritten("", top, in_order, level)
    while len(made) > 1:
        level += 1
        made = writer.inner(level, made)
    new_top = Reference.read(made[0][1:], "the top") if made else None
    while new_top is not None and level > 0 and len(writer.node(new_top).below) == 1:
        # A top node with one node below it is not needed.
        writer.discard(new_top)
        (new_top,) = writer.node(new_top).below
        level -= 1
    return TreeChange(new_top, writer.written, writer.superseded, writer.as_read)


_Placed = list[list[Any]]
"""Nodes as JSON has them in the node above: the text from which on keys sort, the reference."""


class _Writer:
    """Makes the nodes of a new version."""

    def __init__(
        self, nodes: NodeReader, staleness: Callable[[str, Any], Staleness | None]
    ) -> None:
        self._nodes = nodes
        self._staleness = staleness
        self._made: dict[str, Node] = {}
        self.written: dict[str, bytes] = {}
        self.as_read: list[tuple[Reference, Node]] = []
        self.superseded: list[str] = []

    def node(self, reference: Reference, level: int | None = None) -> Node:
        made = self._made.get(reference.name)
        return self._nodes.node(reference, level) if made is None else made

    def discard(self, reference: Reference) -> None:
        if self.written.pop(reference.name, None) is None:
            self.superseded.append(reference.name)

    def rewritten(
        self, separator: str, reference: Reference, changes: Sequence[tuple[str, Any]], level: int
    ) -> _Placed:
        """Return what takes the place of a node: itself, others, or nothing."""
        node = self.node(reference, level)
        if node.level == 0:
            return self._rewritten_leaf(separator, reference, node, changes)
        # What was first may be gone: the first node of those that are left takes its place,
        # or a key that sorts before it would split it into nodes in a wrong order.
        first, *others = node.below.items
        before = [[separator, *first[1:]], *others]
        placed: _Placed = []
        keys = [key for key, _ in changes]
        ends = [bisect.bisect_left(keys, one) for one in node.separators[1:]]
        for place, begin, end in zip(
            range(len(before)), [0, *ends], [*ends, len(keys)], strict=True
        ):
            if begin == end:
                placed.append(before[place])
            else:
                below = before[place][0], node.below[place]
                placed += self.rewritten(*below, changes[begin:end], level - 1)
        if placed == before:
            return [[separator, *reference.to_json()]]
        self.discard(reference)
        if placed:
            placed[0] = [separator, *placed[0][1:]]
        return self.inner(node.level, placed, separator, node)

    def _rewritten_leaf(
        self,
        separator: str,
        reference: Reference,
        leaf: Node,
        changes: Sequence[tuple[str, Any]],
    ) -> _Placed:
        is_as_read = len(changes) <= _MAX_SPLICED
        entries = dict(leaf.entries)
        for key, value in changes:
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = parse_json(canonical_json(value)) if is_as_read else value
        if entries == leaf.entries:
            return [[separator, *reference.to_json()]]
        self.discard(reference)
        body = _spliced_leaf(leaf, entries, changes) if is_as_read else None
        if body is not None and len(body) <= MAX_LEAF:
            return [[separator, *self._leaf(entries, body, is_as_read=True)]]
        return self.leaves(separator, entries, is_as_read=is_as_read)

    def leaves(
        self, separator: str, entries: Mapping[str, Any], *, is_as_read: bool = False
    ) -> _Placed:
        """Return new leaves with *entries*. *is_as_read* tells that these are as JSON has them."""
        if not entries:
            return []
        if sum(map(len, entries)) <= MAX_LEAF:  # the keys alone would not fit otherwise
            body = canonical_json({"entries": entries, "format": _NODE_FORMAT, "level": 0})
            if len(body) <= MAX_LEAF:
                return [[separator, *self._leaf(entries, body, is_as_read=is_as_read)]]
        placed: _Placed = []
        last = ""
        texts = {key: canonical_json({key: entries[key]})[1:-1] for key in sorted(entries)}
        sizes = [len(text) + 2 for text in texts.values()]
        for some in _parts([*texts], sizes, MAX_LEAF - _OVERHEAD):
            where = _shortest_between(last, some[0]) if placed else separator
            body = b"".join((_LEAF_BEGIN, b",".join(map(texts.__getitem__, some)), _LEAF_END))
            part = {key: entries[key] for key in some}
            placed.append([where, *self._leaf(part, body, is_as_read=is_as_read)])
            last = some[-1]
        return placed

    def _leaf(self, entries: Mapping[str, Any], body: bytes, *, is_as_read: bool) -> list[Any]:
        """Return the reference to a new leaf."""
        staleness = Staleness()
        for key, value in entries.items():
            found = self._staleness(key, value)
            staleness = staleness if found is None else staleness.joined(found)
        node = Node(0, entries, body=body)
        return self._reference(node, body, staleness, is_as_read=is_as_read)

    def inner(
        self, level: int, placed: _Placed, separator: str = "", before: Node | None = None
    ) -> _Placed:
        """Return new inner nodes above the nodes of *placed*, in the place of *before*."""
        body = None if before is None else _spliced_inner(before, placed)
        if body is None:
            body = _inner(level, placed)
        if not placed or len(body) <= MAX_INNER:
            return [[separator, *self._inner(level, placed, body)]] if placed else []
        sizes = [len(canonical_json(item)) + 1 for item in placed]
        made: _Placed = []
        for some in _parts(placed, sizes, MAX_INNER - _OVERHEAD):
            where = some[0][0] if made else separator
            made.append([where, *self._inner(level, some, _inner(level, some))])
        return made

    def _inner(self, level: int, placed: _Placed, body: bytes) -> list[Any]:
        """Return the reference to a new inner node."""
        staleness = _staleness_below(placed)
        separators = [item[0] for item in placed]
        node = Node(level, {}, separators, _References(placed, "a new node"), body)
        return self._reference(node, body, staleness, is_as_read=True)

    def _reference(
        self, node: Node, body: bytes, staleness: Staleness, *, is_as_read: bool
    ) -> list[Any]:
        name = f"{NODE_PREFIX}{secrets.token_hex(16)}.json"
        reference = Reference.of(name, body, staleness)
        self.written[name] = body
        self._made[name] = node
        if is_as_read:
            self.as_read.append((reference, node))
        return reference.to_json()


# More changes of one node than these take as long as to encode all of it.
_MAX_SPLICED = 4


def _spliced_leaf(
    leaf: Node, entries: Mapping[str, Any], changes: Sequence[tuple[str, Any]]
) -> bytes | None:
    """Return the stored form of a *leaf* with *changes* to *entries*; None where that is hard."""
    if leaf.body is None or entries.keys() != leaf.entries.keys():
        return None
    texts = [
        [canonical_json({key: value})[1:-1] for value in (leaf.entries[key], entries[key])]
        for key, value in changes
        if value is not None
    ]
    return _replaced(leaf.body, texts)


def _spliced_inner(before: Node, placed: _Placed) -> bytes | None:
    """Return the stored form of an inner node with *placed* below; None where that is hard."""
    if before.body is None or len(before.below) != len(placed):
        return None
    changed = [pair for pair in zip(before.below.items, placed, strict=True) if pair[0] != pair[1]]
    if len(changed) > _MAX_SPLICED:
        return None
    return _replaced(before.body, [[*map(canonical_json, pair)] for pair in changed])


def _replaced(body: bytes, texts: Sequence[Sequence[bytes]]) -> bytes | None:
    """
    Return *body*, which is canonical, with another text in the place of each text of a member.

    Return None unless each is there exactly once. Within a string of JSON it cannot be,
    because its quotes would be escaped.
    """
    for old, new in texts:
        if body.count(old) != 1:
            return None
        body = body.replace(old, new)
    return body


# What is around the entries of a leaf in canonical form.
_LEAF_BEGIN = b'{"entries":{'
_LEAF_END = b'},"format":%b,"level":0}' % canonical_json(_NODE_FORMAT)


def _inner(level: int, placed: _Placed) -> bytes:
    return canonical_json({"format": _NODE_FORMAT, "level": level, "nodes": placed})


def _staleness_below(placed: _Placed) -> Staleness:
    """Return the staleness of the nodes of *placed*, most of which nobody has read."""
    try:
        times = [item[4] for item in placed if item[4] is not None]
        longest = [item[5] for item in placed]
    except IndexError:
        times = longest = [None]
    if {*map(type, times), *map(type, longest)} - {int}:
        raise CatalogDamagedError(
            "a node of the catalog cannot be changed: expected numbers in its references, found "
            f"{[one for one in (*times, *longest) if type(one) is not int][:3]}",
            name="",
            found="unreadable",
        )
    return Staleness(min(times, default=None), max(longest))


_Item = TypeVar("_Item")


def _parts(items: Sequence[_Item], sizes: Sequence[int], limit: int) -> Iterator[list[_Item]]:
    """Yield *items* as they are if they fit *limit*, else in parts of about equal size."""
    total = sum(sizes)
    if total <= limit:
        if items:
            yield list(items)
        return
    share = total / -(-total // int(limit * _FILL))
    part: list[_Item] = []
    size = 0
    for item, more in zip(items, sizes, strict=True):
        if part and (size + more / 2 > share or size + more > limit):
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    yield part


def _shortest_between(before: str, after: str) -> str:
    """Return the shortest text that sorts after *before* and not after *after*."""
    num_common = next(
        (place for place, one in enumerate(before) if one != after[place : place + 1]), len(before)
    )
    return after[: num_common + 1]
