"""
Read and write the root of a published set: the one object of a store that changes.

Everything else is immutable and reached from the root by references (``catalog.tree``).
So one root is one consistent set, and its digest authenticates all of it.

**Version rule.** ``format`` is an integer. A reader refuses a format later than its own.
A member can be added within a format if a reader that ignores it gives no wrong
answer. Older versions ignore such a member and keep it when they rewrite the root.
Any other change takes a new format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from crlcheck.catalog.tree import Reference
from crlcheck.encoding.strict_json import canonical_json, members_of, take, take_time, typed
from crlcheck.times import time_text

CATALOG_NAME = "catalog.json"
"""The object with the root."""

NOTHING_PUBLISHED = "nothing is published there; crlcheck verify tells whether something was"
"""What is said of a place of a store that has no root."""

ROOT_FORMAT = 2

MEMBERS = frozenset(
    {
        "format",
        "store",
        "generation",
        "at",
        "top",
        "denied",
        "history",
        "trusted",
        "removed",
        "scopes",
        "settings",
        "cleaned",
        "lost",
        "signatures",
    }
)
"""The JSON members that this version knows."""

MAX_GENERATION = 1 << 53
"""Every generation is below this, because JSON readers keep integers exactly up to here."""

_MODULUS = 1 << 256
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Certificates:
    """
    The number of certificates in a set, and a digest of it that does not depend on the order.

    ``digest`` is the sum of the SHA-256 of all certificates, modulo 2^256. So a certificate
    can be added or taken out without reading the others.
    """

    count: int = 0
    digest: int = 0

    @classmethod
    def of(cls, fingerprints: Iterable[str]) -> Certificates:
        """Return those with these SHA-256 fingerprints in hex."""
        distinct = set(fingerprints)
        return cls(len(distinct), sum(int(one, 16) for one in distinct) % _MODULUS)

    def changed(self, before: Certificates, after: Certificates) -> Certificates:
        """Return the whole set, of which a part was *before* and is *after*."""
        return Certificates(
            self.count - before.count + after.count,
            (self.digest - before.digest + after.digest) % _MODULUS,
        )

    def joined(self, other: Certificates) -> Certificates:
        """Return the set of both, which have no certificate in common."""
        return other.changed(Certificates(), self)

    def to_json(self) -> list[Any]:
        """Return the JSON value."""
        return [self.count, f"{self.digest:064x}"]

    @classmethod
    def read(cls, value: object, where: str) -> Certificates:
        """Read what ``to_json`` gave. Raises ValueError with the place."""
        items = typed(value, list, where)
        if len(items) != 2:
            raise ValueError(f"{where}: expected 2 items, found {len(items)}")
        count, digest = typed(items[0], int, where), typed(items[1], str, where)
        if count < 0 or not _DIGEST.fullmatch(digest):
            raise ValueError(f"{where}: expected a number and 64 hex digits, found {items}")
        return cls(count, int(digest, 16))


@dataclass(frozen=True, slots=True)
class Cleaned:
    """
    How far clean-up has come.

    All objects are deleted that generations up to ``generation`` stopped using, and the
    first ``position`` of those that the next one did. ``next_at`` is the time of that one,
    where it is known.
    """

    generation: int = 0
    position: int = 0
    next_at: datetime | None = None

    def to_json(self) -> list[Any]:
        """Return the JSON value."""
        return [self.generation, self.position, time_text(self.next_at)]

    @classmethod
    def read(cls, value: object, where: str) -> Cleaned:
        """Read what ``to_json`` gave. Raises ValueError with the place."""
        items = typed(value, list, where)
        if len(items) != 3:
            raise ValueError(f"{where}: expected 3 items, found {len(items)}")
        generation, position = (typed(item, int, where) for item in items[:2])
        if generation < 0 or position < 0:
            raise ValueError(f"{where}: expected numbers from 0, found {items[:2]}")
        members = {"next_at": items[2]}
        next_at = None if items[2] is None else take_time(members, "next_at", where)
        return cls(generation, position, next_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """
    The root of one generation of the published set.

    ``generation`` only grows. ``store`` is the store's id: 32 random hex digits, made with
    its first generation. ``at`` is when this generation was written. ``top`` refers to the
    top node of the tree, ``denied`` to the object with the denials, ``history`` to the
    record of this generation. ``trusted`` and ``removed`` are the trusted and the removed
    issuer certificates, ``num_scopes`` counts the scopes. ``settings`` has the operator's
    settings for the whole store. ``lost`` has ranges of generations, each the first and the
    last, that were published and lost when somebody put an old root back, as far as clean-up
    still has to leave out what they gave up. ``signatures`` are those of
    ``signing.statement``. ``unknown`` has JSON members of a later version, which are kept.
    """

    generation: int
    store: str
    at: datetime
    top: Reference | None = None
    denied: Reference | None = None
    history: Reference | None = None
    trusted: Certificates = Certificates()
    removed: Certificates = Certificates()
    num_scopes: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    cleaned: Cleaned = Cleaned()
    lost: tuple[tuple[int, int], ...] = ()
    signatures: tuple[Any, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def is_lost(self, generation: int) -> bool:
        """Whether a generation is not one of those that led to this root."""
        return any(first <= generation <= last for first, last in self.lost)

    @property
    def digest(self) -> str:
        """The SHA-256 in hex of all members but the signatures: of the whole published set."""
        # Only here: no first check needs it.
        from crlcheck.signing.statement import root_digest

        return root_digest(self.members())

    def with_signatures(self, signed: Mapping[str, Any]) -> Root:
        """Return this root with the signatures among JSON members."""
        return replace(self, signatures=tuple(signed["signatures"]))

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        references = {"top": self.top, "denied": self.denied, "history": self.history}
        optional = {
            **{name: one.to_json() for name, one in references.items() if one is not None},
            "settings": dict(self.settings),
            "lost": [list(one) for one in self.lost],
            "signatures": list(self.signatures),
        }
        return {
            **self.unknown,
            **{name: value for name, value in optional.items() if value},
            "format": ROOT_FORMAT,
            "store": self.store,
            "generation": self.generation,
            "at": time_text(self.at),
            "trusted": self.trusted.to_json(),
            "removed": self.removed.to_json(),
            "scopes": self.num_scopes,
            "cleaned": self.cleaned.to_json(),
        }

    def to_bytes(self) -> bytes:
        """
        Return the root as canonical JSON: sorted keys, no spaces, ASCII.

        Raises:
            ValueError: the generation is not one that is stored.
        """
        if not 0 < self.generation < MAX_GENERATION:
            raise ValueError(
                f"catalog of generation {self.generation}: expected one from 1 to below 2^53"
            )
        return canonical_json(self.members())

    @classmethod
    def read(cls, value: object, where: str = "the catalog") -> Root:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        found = take(members, "format", int)
        if found != ROOT_FORMAT:
            raise ValueError(
                f"format: expected {ROOT_FORMAT}, found {found}"
                + (", written by a later crlcheck" if found > ROOT_FORMAT else "")
            )
        generation = take(members, "generation", int)
        if not 0 < generation < MAX_GENERATION:
            raise ValueError(f"generation: expected one from 1 to below 2^53, found {generation}")
        store = take(members, "store", str)
        if not store:
            raise ValueError("store: expected the id of the store, found no text")
        num_scopes = take(members, "scopes", int)
        if num_scopes < 0:
            raise ValueError(f"scopes: expected a number from 0, found {num_scopes}")

        def reference(name: str) -> Reference | None:
            one = members.pop(name, None)
            return None if one is None else Reference.read(one, name)

        return cls(
            generation=generation,
            store=store,
            at=take_time(members, "at", where),
            top=reference("top"),
            denied=reference("denied"),
            history=reference("history"),
            trusted=Certificates.read(members.pop("trusted", None), "trusted"),
            removed=Certificates.read(members.pop("removed", None), "removed"),
            num_scopes=num_scopes,
            settings=members_of(members.pop("settings", {}), "settings"),
            cleaned=Cleaned.read(members.pop("cleaned", None), "cleaned"),
            lost=tuple(_range(one) for one in typed(members.pop("lost", []), list, "lost")),
            signatures=tuple(typed(members.pop("signatures", None) or [], list, "signatures")),
            unknown=members,
        )


def _range(value: object) -> tuple[int, int]:
    items = typed(value, list, "lost")
    if len(items) != 2:
        raise ValueError(f"lost: expected 2 items, found {len(items)}")
    first, last = (typed(item, int, "lost") for item in items)
    return first, last
