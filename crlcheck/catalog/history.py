"""
Keep a record of each generation of a published set.

A record is written before the swap of the root that it proposes, and names the record of
the generation before by digest. The root names its own record. So the chain back from the
root has exactly the generations that were published. A record that is not on the chain is
that of a swap that another writer won, or of a writer that died.

The names of records sort newest first. So the latest generation that anybody proposed is
found by one short listing, also where somebody has put an old root back.

For example, two publishers read generation 7 and write a record of generation 8 each. One
swap succeeds, and that record is named by the root. The other publisher reads the root
again, finds another record on the chain in place of its own, and deletes its own.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from crlcheck.catalog.records import check_note
from crlcheck.catalog.root import MAX_GENERATION, Root
from crlcheck.catalog.tree import Reference, read_object
from crlcheck.encoding.strict_json import (
    canonical_json,
    members_of,
    parse_json,
    take,
    take_time,
    typed,
)
from crlcheck.errors import CatalogDamagedError
from crlcheck.stores import ObjectStore
from crlcheck.stores.object_store import check_name
from crlcheck.times import time_text

HISTORY_PREFIX = "history/"
"""The name of every record in a store begins with this."""

MAX_ACTOR = 200
"""Characters of the longest name of whoever changes a set."""

_RECORD_FORMAT = 1
_NAME = re.compile(r"history/([0-9]{13})/([0-9]{3})-[0-9a-f]{32}\.json")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """
    What a change of the published set is, for whoever reads its history.

    ``action`` is a stable word such as ``"publish"``, ``actor`` who did it where that is
    known, ``note`` what an operator said of it. ``details`` has JSON members of the action:
    the scopes, with their CRL numbers and counts.
    """

    action: str
    actor: str = ""
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, action: str, *, actor: str = "", note: str = "", **details: Any) -> Action:
        """
        Return an action without private keys and passwords in its texts.

        Raises:
            ValueError: the note or the actor's name is too long.
            TypeError: one of them is no text.
        """
        # Only here, because a check writes no history.
        from crlcheck.encoding.secrets import members_without_secrets, without_secrets

        for name, text in (("actor", actor), ("note", note)):
            given: object = text
            if not isinstance(given, str):
                raise TypeError(f"{name}: expected a str, found {given!r:.80}")
        check_note(note)
        if len(actor) > MAX_ACTOR:
            raise ValueError(f"actor: expected at most {MAX_ACTOR} characters, found {len(actor)}")
        return cls(
            action=action,
            actor=without_secrets(actor),
            note=without_secrets(note),
            details=members_without_secrets(details),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """
    The record of one generation.

    ``root`` is the root that it proposes, without ``history`` and ``signatures``, which are
    not known before the record is written. ``previous`` refers to the record of the
    generation before, None for the first. ``superseded`` are the objects that this
    generation does not use any more, and ``abandoned`` those that no generation ever used.
    Both are deleted after the grace period. ``unknown`` has JSON members of a later
    version.
    """

    root: Root
    action: Action
    previous: Reference | None = None
    superseded: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def generation(self) -> int:
        """The generation that it proposes."""
        return self.root.generation

    @property
    def at(self) -> datetime:
        """When it was written."""
        return self.root.at

    @property
    def given_up(self) -> tuple[str, ...]:
        """The objects that are to be deleted after the grace period, in a fixed order."""
        return (*self.superseded, *self.abandoned)

    def to_bytes(self) -> bytes:
        """Return the record as canonical JSON."""
        members: dict[str, Any] = {
            "format": _RECORD_FORMAT,
            "generation": self.generation,
            "at": time_text(self.at),
            "action": self.action.action,
            "root": self.root.members(),
            "superseded": list(self.superseded),
            "abandoned": list(self.abandoned),
            "previous": None if self.previous is None else self.previous.to_json(),
            "details": dict(self.action.details),
            "actor": self.action.actor,
            "note": self.action.note,
        }
        known = {name: value for name, value in members.items() if value}
        return canonical_json({**self.unknown, **known})

    @classmethod
    def from_bytes(cls, body: bytes, where: str) -> HistoryRecord:
        """
        Read a record.

        Raises:
            CatalogDamagedError: it is not one.
        """
        try:
            return cls._read(members_of(parse_json(body), "the record"))
        except (ValueError, RecursionError) as error:
            raise CatalogDamagedError(
                f"{where} cannot be read: {error}", name=where, found="unreadable"
            ) from error

    @classmethod
    def _read(cls, members: dict[str, Any]) -> HistoryRecord:
        found = take(members, "format", int)
        if found != _RECORD_FORMAT:
            raise ValueError(f"format: expected {_RECORD_FORMAT}, found {found}")
        root = Root.read(take(members, "root", dict), "root")
        stated = take(members, "generation", int), take_time(members, "at", "the record")
        if stated != (root.generation, root.at):
            raise ValueError(f"found generation {stated[0]}, and a root of {root.generation}")
        previous = members.pop("previous", None)
        names = {
            name: tuple(typed(one, str, name) for one in typed(members.pop(name, []), list, name))
            for name in ("superseded", "abandoned")
        }
        for name in (*names["superseded"], *names["abandoned"]):
            check_name(name)
        return cls(
            root=root,
            action=Action(
                action=take(members, "action", str),
                actor=typed(members.pop("actor", ""), str, "actor"),
                note=typed(members.pop("note", ""), str, "note"),
                details=members_of(members.pop("details", {}), "details"),
            ),
            previous=None if previous is None else Reference.read(previous, "previous"),
            superseded=names["superseded"],
            abandoned=names["abandoned"],
            unknown=members,
        )


# ---- names ---------------------------------------------------------------------------


def record_prefix(generation: int) -> str:
    """Return the prefix of the names of one generation's records."""
    folder, number = divmod(MAX_GENERATION - generation, 1000)
    return f"{HISTORY_PREFIX}{folder:013d}/{number:03d}-"


def new_record_name(generation: int) -> str:
    """Return a new name for a record."""
    return f"{record_prefix(generation)}{secrets.token_hex(16)}.json"


def generation_in(name: str) -> int | None:
    """Return the generation of the record of that name, None for the name of another object."""
    found = _NAME.fullmatch(name)
    return None if found is None else MAX_GENERATION - int(found[1] + found[2])


def generation_of(reference: Reference) -> int:
    """Return the generation of the record that a reference names, 0 for another object."""
    return generation_in(reference.name) or 0


def listed(store: ObjectStore) -> Iterator[tuple[int, str]]:
    """Yield generation and name of each record in the store, the latest first."""
    for name in store.names(HISTORY_PREFIX):
        generation = generation_in(name)
        if generation is not None:
            yield generation, name


def latest_listed(store: ObjectStore) -> int:
    """
    Return the latest generation that anybody has proposed, 0 for none.

    Raises:
        StoreError: the store does not answer.
    """
    return next((generation for generation, _ in listed(store)), 0)


# ---- the chain -------------------------------------------------------------------------


def read_record(store: ObjectStore, reference: Reference) -> HistoryRecord:
    """
    Return the record that a reference names.

    Raises:
        CatalogDamagedError: it is missing, damaged or not a record.
        StoreError: the store does not answer.
    """
    body = read_object(store, reference)
    return HistoryRecord.from_bytes(body, f"{store.url}/{reference.name}")


def chain(
    store: ObjectStore, root: Root, after: int = 0
) -> Iterator[tuple[Reference, HistoryRecord]]:
    """
    Yield the records of the generations later than *after*, from that of *root* back.

    It ends early at the oldest record that clean-up has kept.

    Raises:
        CatalogDamagedError: a record is damaged, or is that of a later generation than
            the one before it.
        StoreError: the store does not answer.
    """
    reference, generation = root.history, root.generation + 1
    while reference is not None:
        name = reference.name
        stated = generation_in(name)
        if stated is None or stated >= generation:
            raise CatalogDamagedError(
                f"{store.url}/{name}: expected the record of a generation before {generation}",
                name=name,
                found="order",
            )
        if stated <= after:
            return
        try:
            record = read_record(store, reference)
        except CatalogDamagedError as error:
            if error.found == "missing" and generation <= root.generation:
                return  # clean-up has deleted it and all before it
            raise
        yield reference, record
        reference, generation = record.previous, stated


def read_listed(store: ObjectStore, name: str) -> HistoryRecord | None:
    """Return a record that was found by listing, None where it cannot be read."""
    try:
        return HistoryRecord.from_bytes(store.read(name).body, f"{store.url}/{name}")
    except (FileNotFoundError, CatalogDamagedError):
        return None


def last_recorded(store: ObjectStore) -> Root | None:
    """
    Return the root of the latest generation that the history has, None where it has none.

    Where nothing proves that it was published, whoever wrote its record was about to swap it,
    and had written all that it names.

    Raises:
        StoreError: the store does not answer.
    """
    for _, name in listed(store):
        try:
            body = store.read(name).body
            record = HistoryRecord.from_bytes(body, f"{store.url}/{name}")
        except (FileNotFoundError, CatalogDamagedError):
            continue
        return full_root(record, Reference.of(name, body))
    return None


def full_root(record: HistoryRecord, reference: Reference) -> Root:
    """Return the root of a record with its history, as it was published but for signatures."""
    return replace(record.root, history=reference)
