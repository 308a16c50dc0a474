"""The example in docs/reference/catalog-format.md is what the code reads and writes."""

from __future__ import annotations

import json
import re
from typing import Any

from crlcheck.catalog import tree
from crlcheck.catalog.entries import UNREADABLE, entries_of
from crlcheck.catalog.history import HistoryRecord, chain, full_root
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME, MEMBERS
from crlcheck.encoding.strict_json import canonical_json
from support.blocks import blocks
from support.documents import document
from support.memory_store import MemoryStore

TEXT = document("catalog-format.md").read_text(encoding="utf-8")


def examples() -> dict[str, Any]:
    """Each object of the example, by its name."""
    names = re.findall(r"^`([\w./-]+)`[^`]*?:\n\n```json$", TEXT, re.MULTILINE)
    bodies = blocks("catalog-format.md", language="json")
    return {name: json.loads(one.text) for name, one in zip(names, bodies, strict=True)}


def test_the_example_is_one_store() -> None:
    """Each object is read, the digests are right, and it is written again as it is."""
    store = MemoryStore()
    for name, value in examples().items():
        store.write(name, canonical_json(value))
    assert sorted(store.names("")) == sorted(examples())
    held, _ = read_set(store)
    catalog = held.everything()
    assert canonical_json(held.root.members()) == store.read(CATALOG_NAME).body
    assert held.root.top is not None
    assert entries_of(catalog) == examples()[held.root.top.name]["entries"]
    ((reference, record),) = [*chain(store, held.root, after=1)]
    assert full_root(record, reference) == held.root
    assert record.to_bytes() == store.read(reference.name).body
    assert isinstance(record, HistoryRecord)
    (scope,) = catalog.scopes.values()
    assert scope.base.metadata.crl_number == 17
    assert held.root.top.staleness.stale_at == scope.base.metadata.next_update.timestamp()  # type: ignore[union-attr]


def test_the_table_has_each_member_of_the_root() -> None:
    """And the limits are those of the code."""
    table = TEXT.partition("## The root")[2].partition("## The tree")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == MEMBERS
    assert f"up to {tree.MAX_LEAF >> 10} KiB" in TEXT
    assert f"up to {tree.MAX_INNER >> 10} KiB" in TEXT
    assert f"(`{UNREADABLE[:8]}…`)" in TEXT
