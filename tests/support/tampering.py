"""Write what no publisher of this version writes into a store's tree."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

from crlcheck.catalog import tree
from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.compare_and_swap import change_catalog
from crlcheck.catalog.entries import staleness_of_entry
from crlcheck.catalog.history import Action
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.tree import NodeCache, NodeReader
from support.memory_store import MemoryStore


def rewrite(store: MemoryStore, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a next generation whose entries are what *change* makes of those there are."""
    held, _ = read_set(store)
    nodes = NodeReader(store, NodeCache(0))
    entries = dict(tree.walk(nodes, held.root.top))
    change(entries)
    made = tree.change(nodes, None, entries, staleness_of_entry)
    for name, body in made.written.items():
        store.write(name, body)
    root = dataclasses.replace(held.root, generation=held.generation + 1, top=made.top)
    store.write(CATALOG_NAME, root.to_bytes())


def change(store: MemoryStore, made: Callable[[Catalog], Catalog]) -> None:
    """Publish what *made* returns for the whole catalog, by the rules."""
    change_catalog(store, "a test", made, Action(action="test"))


def node_names(store: MemoryStore) -> list[str]:
    """The names of the nodes that the root needs, the top node first."""
    held, _ = read_set(store)
    return [one.name for one in tree.references(NodeReader(store, NodeCache(0)), held.root.top)]


def repoint(store: MemoryStore, name: str, body: bytes) -> None:
    """
    Write another body for the top node *name*, and a next generation that names it so.

    Its digest is right, so what is in it is all that may be wrong.
    """
    held, _ = read_set(store)
    top = held.root.top
    assert top is not None
    assert top.name == name
    store.write(name, body)
    found = dataclasses.replace(top, digest=hashlib.sha256(body).hexdigest(), size=len(body))
    root = dataclasses.replace(held.root, generation=held.generation + 1, top=found)
    store.write(CATALOG_NAME, root.to_bytes())
