"""
Go through a whole published set in sections, each of which is judged on its own.

A section has all that some issuers have, and what is above them. It is read, handed out and
forgotten, so a set of any size takes the memory of one section. A small set is one section,
which is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from crlcheck.catalog.entries import is_reference, name_hash, read_certificate, read_key
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.tree import leaves_with
from crlcheck.checker.snapshot import Snapshot, facts_of
from crlcheck.checker.views import Need, OneView, UnansweredError, Views
from crlcheck.errors import CrlCheckError, StoreError

_SMALL_SET = 256
"""A set of so many scopes is one section."""

_SCOPES = 64
"""A section has about so many scopes, and whole issuers."""

_MOST_SCOPES = 1_024
"""An issuer with more scopes is divided."""

Failed = Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class Section:
    """
    A part of a published set: ``scopes`` are those that no other section has, and ``homes``
    the hashes of the issuer names that no other section has. None stands for all.
    """

    snapshot: Snapshot
    scopes: Collection[str] | None = None
    homes: Collection[str] | None = None

    def has_scope(self, scope: str) -> bool:
        """Whether a scope of the snapshot belongs to this section."""
        return self.scopes is None or scope in self.scopes

    def has_issuer(self, name: bytes) -> bool:
        """Whether an issuer name of the snapshot belongs to this section."""
        return self.homes is None or name_hash(name) in self.homes


@dataclass(slots=True)
class _Home:
    """What a section is to have of one issuer: P(p) of its CRLs, and their scopes."""

    name: bytes
    is_continued: bool = False
    points: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)


def sections_of(views: Views | OneView, failed: Failed) -> Iterator[Section]:
    """Yield the sections of a set; the errors of what cannot be read are handed to *failed*."""
    if isinstance(views, OneView):
        yield Section(views.snapshot)
        return
    published = views.published
    if published.format1 is not None or published.root.num_scopes <= _SMALL_SET:
        try:
            snapshot = views.everything()
        except UnansweredError as error:
            if published.format1 is not None:
                failed(error)
                return
        else:
            yield Section(snapshot)
            return
    yield from _Walk(views, failed).sections()


class _Walk:
    """Goes through the tree, one leaf at a time."""

    def __init__(self, views: Views, failed: Failed) -> None:
        self._views = views
        self._failed = failed
        self._own = dict(views.own_issuers())

    def sections(self) -> Iterator[Section]:
        homes: dict[str, _Home] = {}
        for home, name, point, scope in _places(self._views.published, self._failed):
            self._own.pop(home, None)
            size = sum(len(one.scopes) for one in homes.values())
            continued = home in homes and size >= _MOST_SCOPES
            if continued or (home not in homes and size >= _SCOPES):
                yield from self._read(homes, divided=home if continued else None)
                homes = {}
            found = homes.setdefault(home, _Home(name, is_continued=continued))
            if scope is not None:
                found.points.add(point)
                found.scopes.add(scope)
        yield from self._read(homes)
        # The checker's own issuers of which the set has nothing.
        yield from self._read({home: _Home(name) for home, name in self._own.items()})

    def _read(self, homes: dict[str, _Home], divided: str | None = None) -> Iterator[Section]:
        if not homes:
            return
        needs: list[Need] = [
            (one.name, frozenset(one.points) if one.is_continued or home == divided else None)
            for home, one in homes.items()
        ]
        try:
            snapshot = self._views.section(needs)
        except (CrlCheckError, OSError) as error:
            if len(homes) == 1:
                self._failed(error)
                return
            for home, one in homes.items():
                yield from self._read({home: one}, divided)
            return
        scopes = {scope for one in homes.values() for scope in one.scopes}
        yield Section(
            snapshot, scopes, {home for home, one in homes.items() if not one.is_continued}
        )


def _places(
    published: PublishedSet, failed: Failed
) -> Iterator[tuple[str, bytes, str, str | None]]:
    """
    Yield H(n), a name, and P(p) and the key of a scope, in the order of the keys.

    The scope is None for a trusted issuer's certificate.
    """
    for leaf in leaves_with(published.nodes, published.root.top, "", failed):
        try:
            entries = published.nodes.node(leaf, 0).entries
        except CrlCheckError as error:
            failed(error)
            continue
        for key in sorted(entries):
            place, value = read_key(key), entries[key]
            if place is None or place.kind not in "is" or is_reference(value):
                continue
            try:
                name = _name_in(place.kind, value)
            except (CrlCheckError, ValueError, KeyError, TypeError) as error:
                where = f"{published.nodes.store.url}/{leaf.name}: {key}"
                failed(StoreError(f"{where} cannot be read: {error}"))
                continue
            yield place.home, name, place.point or "", place.name if place.kind == "s" else None


def _name_in(kind: str, value: Any) -> bytes:
    if kind == "i":
        return facts_of(read_certificate(value["certificate"], "certificate")).subject
    return bytes.fromhex(value["base"]["metadata"]["issuer"])
