"""
Read what can be read of a published set, where nodes of its tree are missing or damaged.

A node has what lies under some issuer names. Where it cannot be read, these names cannot,
and all others can. Whoever changes the set leaves alone what he cannot read: it stays in the
tree as it is, and nothing in it is believed.

For example, the tree has three leaves, and the second one is missing. A group of CRLs comes
for all of them. Those of issuers in the second leaf fail with its name, and the others
are published: the new tree has the first and third leaf anew, and refers to the second
one as before.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.entries import name_hash
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.tree import Node, NodeReader, Reference, find, read_object
from crlcheck.errors import CatalogDamagedError
from crlcheck.stores import ObjectStore
from crlcheck.x509.distribution_points import PointKey

_log = logging.getLogger(__name__)


class ReadablePart:
    """Tells of issuer names in one set whether they can be read, and reads those that can."""

    def __init__(self, held: PublishedSet) -> None:
        # Thousands of names may lie in a node, and a damaged one is read once for all.
        self._held = replace(held, nodes=_ReadOnce(held.nodes))
        self._known: dict[tuple[str, frozenset[PointKey]], CatalogDamagedError | None] = {}

    def damage_under(self, name: bytes, points: Collection[PointKey]) -> CatalogDamagedError | None:
        """
        Return why what ``PublishedSet.part`` reads of an issuer name cannot be read, if so.

        Raises:
            StoreError: the store does not answer.
        """
        home = name_hash(name)
        place = home, frozenset(points)
        if place not in self._known:
            try:
                self._held.part([name], {home: points})
            except CatalogDamagedError as error:
                self._known[place] = error
            else:
                self._known[place] = None
        return self._known[place]

    def damage_at(self, keys: Iterable[str]) -> CatalogDamagedError | None:
        """
        Return why a leaf cannot be read to which one of *keys* belongs, if so.

        Raises: as ``damage_under``.
        """
        try:
            find(self._held.nodes, self._held.root.top, sorted(keys))
        except CatalogDamagedError as error:
            return error
        return None

    def closure(
        self, names: Iterable[bytes], points: Mapping[str, Collection[PointKey]]
    ) -> Catalog:
        """
        Return ``PublishedSet.closure`` of names that can be read.

        Names above them that cannot be read are left out. Raises: as ``PublishedSet.part``.
        """
        return self._held.closure(
            names, points, is_wanted=lambda name, keys: self.damage_under(name, keys) is None
        )


class _ReadOnce(NodeReader):
    """Reads a node that is missing or damaged once, and then raises its error again."""

    def __init__(self, nodes: NodeReader) -> None:
        super().__init__(nodes.store, nodes.kept)
        self._damaged: dict[str, CatalogDamagedError] = {}

    def _read(self, reference: Reference) -> Node:
        known = self._damaged.get(reference.name)
        if known is not None:
            raise known.with_traceback(None)
        try:
            return super()._read(reference)
        except CatalogDamagedError as error:
            self._damaged[reference.name] = error
            raise


class NodesOfEither(NodeReader):
    """
    Reads the nodes of a store; one that is missing or damaged there is read from its *copy*.

    A reference authenticates the bytes, wherever they come from.
    """

    def __init__(self, nodes: NodeReader, copy: ObjectStore) -> None:
        super().__init__(nodes.store, nodes.kept)
        self._copy = copy
        self._of_copy: dict[Reference, Node] = {}

    def _read(self, reference: Reference) -> Node:
        known = self._of_copy.get(reference)
        if known is not None:
            return known
        try:
            return super()._read(reference)
        except CatalogDamagedError as error:
            body = read_copy(self._copy, reference, error)
        node = Node.from_bytes(body, f"{self._copy.url}/{reference.name}")
        # Not among those that all readers of the source share: it has not this one.
        self._of_copy[reference] = node
        _log.warning(
            "%s/%s is missing or damaged, and %s has it: crlcheck verify %s --repair-from %s "
            "puts it back",
            self.store.url,
            reference.name,
            self._copy.url,
            self.store.url,
            self._copy.url,
        )
        return node


def read_copy(copy: ObjectStore, reference: Reference, error: CatalogDamagedError) -> bytes:
    """Return an object of a copy that is damaged elsewhere; where it is too, raise that *error*."""
    try:
        return read_object(copy, reference)
    except CatalogDamagedError:
        raise error from None
