"""
Read what happened to a published set: the generations, and the CRLs that were refused.

The generations are read back from the root, record by record. Beside the chain lie the
records of swaps that took no effect, and of generations that were lost because somebody put
an older root back. The second kind is told by a record that follows on another one which is
not on the chain, and by what the writer after them has noted.

For example, the root is of generation 5, and 6 to 8 had been published when somebody put it
back. The next change makes generation 9. The history shows 9, then 8 to 6 as undone, then 5.
"""

from __future__ import annotations

import enum
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from crlcheck.catalog.descriptions import count
from crlcheck.catalog.earlier import EarlierStore, no_history
from crlcheck.catalog.history import (
    HistoryRecord,
    chain,
    generation_of,
    listed,
    read_listed,
)
from crlcheck.catalog.published_set import PublishedSet, nothing_published, read_set
from crlcheck.catalog.tree import Reference
from crlcheck.encoding.strict_json import members_of, read_time, take, typed
from crlcheck.errors import CatalogDamagedError, ReadOnlyStoreError
from crlcheck.publisher.refusals import Refusal, refusals_since
from crlcheck.signing.root_key import RootKey, read_root_keys
from crlcheck.signing.statement import verify_root
from crlcheck.stores import ObjectStore, open_store
from crlcheck.times import given_time, time_text

# The clocks of writers differ. Only after so many older records in a row is a time reached.
_MAX_OUT_OF_ORDER = 20


class HistoryOutcome(enum.Enum):
    """What became of an entry of the history."""

    PUBLISHED = "published"
    """The generation led to the present one."""
    UNDONE = "undone"
    """It was published, and is lost because somebody put an older root back."""
    LOST = "lost"
    """It was proposed, and no root that is known names it: another change came first."""
    REFUSED = "refused"
    """A CRL was refused; there is no generation."""
    MISSING = "missing"
    """The history ends here: earlier records were deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryCrl:
    """
    A CRL of a scope that a generation changed.

    ``change`` is ``"added"``, ``"replaced"``, ``"rebuilt"`` (the same CRL in a new image),
    ``"removed"`` or ``"set"`` (a setting of the scope). ``num_entries_before`` are those of
    the CRL that was replaced.
    """

    scope: str
    change: str
    issuer: str
    crl_number: int | None
    base_crl_number: int | None
    this_update: datetime
    next_update: datetime | None
    num_entries: int
    num_entries_before: int | None
    tbs_digest: str
    digest: str
    source: str | None

    def __str__(self) -> str:
        kind = "CRL" if self.base_crl_number is None else "delta CRL"
        number = f"the {kind}" if self.crl_number is None else f"{kind} {self.crl_number}"
        return f"{number} of {self.issuer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryIssuer:
    """An issuer certificate that became trusted or ceased to be."""

    fingerprint: str
    subject: str | None

    def __str__(self) -> str:
        return f"issuer {self.subject or 'that cannot be read'} ({self.fingerprint[:16]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDenial:
    """A certificate that an operator denied, or does not deny any more."""

    issuer: str
    serial_number: int
    until: datetime | None
    note: str

    def __str__(self) -> str:
        return f"certificate {self.serial_number:x} of {self.issuer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """
    What happened at one time: a generation was published, or a CRL was refused.

    ``action`` is a stable word such as ``"publish"``, ``"deny"`` or ``"refuse"``;
    ``summary`` says in words what was done. ``actor`` is who did it, where that is known,
    and ``note`` why. ``denials_ended`` were over by themselves. ``details`` has what the
    action tells besides: of a refusal ``source``, ``cause``, ``detail`` and ``remedy``.
    """

    at: datetime
    outcome: HistoryOutcome
    action: str
    generation: int | None = None
    actor: str = ""
    note: str = ""
    crls: tuple[HistoryCrl, ...] = ()
    issuers_added: tuple[HistoryIssuer, ...] = ()
    issuers_removed: tuple[HistoryIssuer, ...] = ()
    denials_added: tuple[HistoryDenial, ...] = ()
    denials_lifted: tuple[HistoryDenial, ...] = ()
    denials_ended: tuple[HistoryDenial, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What was done, in words."""
        words = _SUMMARIES.get(self.action)
        return self.action.replace("_", " ") if words is None else words(self)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as values for JSON."""
        members = {one.name: _json_ready(getattr(self, one.name)) for one in fields(self)}
        return {**members, "summary": self.summary}


def read_history(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    since: datetime | timedelta | int | None = None,
    scope: str | None = None,
    include_lost: bool = False,
    root_keys: Iterable[RootKey | str] | str | None = None,
    now: datetime | None = None,
) -> Iterator[HistoryEntry]:
    """
    Yield what happened to a published set, the latest first.

    Nothing is kept of what was yielded, so the history may be of any length. Where it does
    not reach back to *since*, or to the first generation, an entry with the outcome MISSING
    says so at its end.

    Args:
        store: as for ``publish_crl``.
        since: a time, how long ago, or a generation that is not shown any more.
        scope: only what concerns the scopes whose keys begin so.
        include_lost: yield changes, too, that were proposed and never published.
        root_keys: keys of which one must have signed the root, which leads to the records of
            all that was published; without them its signature is not verified.
        now: the time, UTC; by default the clock's.

    Raises:
        RootSignatureError: the root is signed by none of *root_keys*, or no more.
        FileNotFoundError: the store has nothing published.
        EarlierSetError: its catalog is of format 1, which has no history.
        CatalogDamagedError: a record is damaged. What was published before cannot be told.
        ValueError: *since* has no time zone.
        StoreError: the store does not answer.
    """
    target = open_store(store)
    if isinstance(since, timedelta):
        since = given_time(now) - since
    if isinstance(since, datetime) and since.tzinfo is None:
        raise ValueError(f"since: expected an aware datetime, found {since!r}")
    keys = None if root_keys is None else read_root_keys(root_keys)

    def verify(held: PublishedSet) -> None:
        if keys is not None:
            verify_root(held.members or {}, keys, now=given_time(now))

    found = _merged(target, since, verify)
    if not include_lost:
        found = (entry for entry in found if entry.outcome is not HistoryOutcome.LOST)
    return found if scope is None else (one for one in found if _concerns(one, scope))


def _concerns(entry: HistoryEntry, scope: str) -> bool:
    if entry.outcome is HistoryOutcome.MISSING:
        return True
    keys = [*(one.scope for one in entry.crls), entry.details.get("scope")]
    return any(isinstance(key, str) and key.startswith(scope) for key in keys)


def _merged(
    store: ObjectStore, since: datetime | int | None, verify: Callable[[PublishedSet], None]
) -> Iterator[HistoryEntry]:
    """Yield generations and refusals, by their times."""
    since_generation = since if isinstance(since, int) else 0
    since_time = since if isinstance(since, datetime) else None
    refusals = _refusals(store, since_time)
    waiting = next(refusals, None)
    for entry in _generations(store, since_generation, since_time, verify):
        while waiting is not None and waiting.at > entry.at:
            yield waiting
            waiting = next(refusals, None)
        if entry.generation is not None and entry.generation == since_generation:
            return  # what came before is not asked for
        yield entry
        if entry.outcome is HistoryOutcome.MISSING:
            break
    if waiting is not None:
        yield waiting
    yield from refusals


def _refusals(store: ObjectStore, since: datetime | None) -> Iterator[HistoryEntry]:
    if isinstance(store, EarlierStore):
        return  # they may be of a later time
    try:
        for one in refusals_since(store, since):
            yield _refused(store, one)
    except ReadOnlyStoreError:
        return  # a web server has no list of names


def _refused(store: ObjectStore, refusal: Refusal | str) -> HistoryEntry:
    if isinstance(refusal, str):
        raise CatalogDamagedError(
            f"{store.url}/{refusal} cannot be read: expected the trace of a refused CRL",
            name=refusal,
            found="unreadable",
        )
    return HistoryEntry(
        at=refusal.at,
        outcome=HistoryOutcome.REFUSED,
        action="refuse",
        actor=refusal.actor,
        details={
            "source": refusal.source,
            "cause": refusal.cause,
            "detail": refusal.detail,
            "remedy": refusal.remedy,
        },
    )


# ---- generations -------------------------------------------------------------------------


def _generations(
    store: ObjectStore,
    since_generation: int,
    since: datetime | None,
    verify: Callable[[PublishedSet], None],
) -> Iterator[HistoryEntry]:
    """
    Yield the generations, and in the end whether the history ends early.

    That of *since_generation* is yielded, too, so that its time is known.
    """
    num_older = 0
    for found in _walk(store, verify):
        if isinstance(found, HistoryEntry):
            if num_older == 0:
                yield found  # it does not reach back so far
            return
        record, outcome = found
        if record.generation < since_generation:
            return
        if since is not None and record.at < since:
            num_older += 1
            if num_older > _MAX_OUT_OF_ORDER:
                return
            continue
        yield _entry(store, record, outcome)


def _walk(
    store: ObjectStore, verify: Callable[[PublishedSet], None]
) -> Iterator[tuple[HistoryRecord, HistoryOutcome] | HistoryEntry]:
    """
    Yield every record with what became of it; an entry in the place of those that are gone.
    """
    # Begun before the root is read: what is listed and was published by then is on its chain.
    names = _listed(store)
    first = next(names, None)
    held, etag = read_set(store)
    verify(held)
    if held.format1 is not None:
        raise no_history(store, held)
    if etag is None and first is None:
        raise nothing_published(store)
    root = held.root
    on_chain = chain(store, root)
    coming = next(on_chain, None)
    above, last = root, None
    followed: set[str] = set()  # records off the chain that another one names
    for generation, name in itertools.chain([] if first is None else [first], names, [(0, "")]):
        is_listed = False
        while coming is not None and _comes_before(coming, generation, name):
            reference, last = coming
            yield last, HistoryOutcome.PUBLISHED
            above, coming = last.root, next(on_chain, None)
            is_listed = reference.name == name
        if is_listed or generation == 0:
            continue
        if coming is None and last is not None and last.previous is not None:
            break  # the chain is gone from here on
        record = read_listed(store, name)
        if record is None:
            continue
        is_undone = above.is_lost(generation) or name in followed
        followed.discard(name)
        if record.previous is not None and _is_off_chain(record.previous, coming):
            followed.add(record.previous.name)
            is_undone = True
        yield record, HistoryOutcome.UNDONE if is_undone else HistoryOutcome.LOST
    missing = root.history if last is None else last.previous
    if missing is not None or (last is None and root.generation > 0):
        yield HistoryEntry(
            at=root.at if last is None else last.at,
            outcome=HistoryOutcome.MISSING,
            action="deleted",
            generation=root.generation if missing is None else generation_of(missing),
        )


def _listed(store: ObjectStore) -> Iterator[tuple[int, str]]:
    """Yield generation and name of each record; none where the store cannot list its objects."""
    latest = store.generation if isinstance(store, EarlierStore) else None
    try:
        for generation, name in listed(store):
            if latest is None or generation <= latest:
                yield generation, name
    except ReadOnlyStoreError:
        return


def _comes_before(coming: tuple[Reference, HistoryRecord], generation: int, name: str) -> bool:
    """Whether a record of the chain is the listed one, or later than that."""
    reference, record = coming
    return record.generation > generation or reference.name == name


def _is_off_chain(reference: Reference, coming: tuple[Reference, HistoryRecord] | None) -> bool:
    """Whether a record is not on the chain, of which *coming* is the next one."""
    generation = generation_of(reference)
    if coming is None:
        return True
    return generation > coming[1].generation or (
        generation == coming[1].generation and reference.name != coming[0].name
    )


# ---- entries -----------------------------------------------------------------------------


def _entry(store: ObjectStore, record: HistoryRecord, outcome: HistoryOutcome) -> HistoryEntry:
    """
    Return the entry of a generation.

    Raises:
        CatalogDamagedError: what the record says of its changes cannot be read.
    """
    details = dict(record.action.details)
    try:
        return HistoryEntry(
            at=record.at,
            outcome=outcome,
            action=record.action.action,
            generation=record.generation,
            actor=record.action.actor,
            note=record.action.note,
            crls=tuple(map(_crl, _rows(details, "scopes"))),
            issuers_added=tuple(map(_issuer, _rows(details, "issuers_added"))),
            issuers_removed=tuple(map(_issuer, _rows(details, "issuers_removed"))),
            denials_added=tuple(map(_denial, _rows(details, "denials_added"))),
            denials_lifted=tuple(map(_denial, _rows(details, "denials_lifted"))),
            denials_ended=tuple(map(_denial, _rows(details, "denials_ended"))),
            details=details,
        )
    except ValueError as error:
        where = f"{store.url}: the history record of generation {record.generation}"
        raise CatalogDamagedError(
            f"{where} cannot be read: {error}", name=f"{record.generation}", found="unreadable"
        ) from error


def _rows(details: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [members_of(row, name) for row in typed(details.pop(name, []), list, name)]


def _crl(row: dict[str, Any]) -> HistoryCrl:
    def number(name: str) -> int | None:
        value = row.get(name)
        return None if value is None else typed(value, int, name)

    next_update, source = row.get("next_update"), row.get("source")
    return HistoryCrl(
        scope=take(row, "scope", str),
        change=take(row, "change", str),
        issuer=take(row, "issuer", str),
        crl_number=number("crl_number"),
        base_crl_number=number("base_crl_number"),
        this_update=read_time(take(row, "this_update", str), "this_update"),
        next_update=_time(next_update, "next_update"),
        num_entries=take(row, "num_entries", int),
        num_entries_before=number("num_entries_before"),
        tbs_digest=take(row, "tbs_digest", str),
        digest=take(row, "digest", str),
        source=None if source is None else typed(source, str, "source"),
    )


def _issuer(row: dict[str, Any]) -> HistoryIssuer:
    subject = row.get("subject")
    return HistoryIssuer(
        fingerprint=take(row, "fingerprint", str),
        subject=None if subject is None else typed(subject, str, "subject"),
    )


def _denial(row: dict[str, Any]) -> HistoryDenial:
    return HistoryDenial(
        issuer=take(row, "issuer", str),
        serial_number=int(take(row, "serial_number", str), 16),
        until=_time(row.get("until"), "until"),
        note=take(row, "note", str),
    )


def _time(value: object, where: str) -> datetime | None:
    return None if value is None else read_time(typed(value, str, where), where)


def _json_ready(value: Any) -> Any:
    if isinstance(value, HistoryOutcome):
        return value.value
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, HistoryDenial):
        members = {one.name: _json_ready(getattr(value, one.name)) for one in fields(value)}
        return {**members, "serial_number": f"{value.serial_number:x}"}
    if isinstance(value, HistoryCrl | HistoryIssuer):
        return {one.name: _json_ready(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {name: _json_ready(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(member) for member in value]
    # A CRL number may exceed what JSON readers keep exactly as a number.
    is_large = isinstance(value, int) and abs(value) >= 1 << 53
    return str(value) if is_large else value


# ---- words -------------------------------------------------------------------------------


def _published(entry: HistoryEntry) -> str:
    new = [one for one in entry.crls if one.change != "removed"]
    if len(new) == 1:
        again = " in a new image" if new[0].change == "rebuilt" else ""
        return f"{new[0]} is published{again}"
    return f"{count(len(new), 'CRL')} are published"


def _trusted(entry: HistoryEntry) -> str:
    added = entry.issuers_added
    if not added:
        return "more is known of the trusted issuers"
    return f"{added[0]} is trusted" if len(added) == 1 else f"{len(added)} issuers are trusted"


def _denied(entry: HistoryEntry) -> str:
    words = [f"{one} is denied{_until(one.until)}" for one in entry.denials_added]
    return "; ".join(words) or "a certificate is denied"


def _allowed(entry: HistoryEntry) -> str:
    gone = (*entry.denials_lifted, *entry.denials_ended)
    return "; ".join(f"{one} is not denied any more" for one in gone) or "a denial is lifted"


def _withdrawn(entry: HistoryEntry) -> str:
    number = len(entry.issuers_removed)
    return f"{count(number, 'issuer')} gone from {entry.details.get('added_by')}: not trusted"


def _grace(entry: HistoryEntry) -> str:
    scope = entry.details.get("scope")
    which = "the CRLs of all scopes" if scope is None else f"the CRLs of scope {scope}"
    until = entry.details.get("until")
    if until is None:
        return f"{which} may not be used past their nextUpdate any more"
    return f"{which} may be used past their nextUpdate until {until}"


def _kept(entry: HistoryEntry) -> str:
    keep = entry.details.get("keep")
    what = "objects that are not used any more are deleted, or noted for that"
    return what if keep is None else f"{what}; they are kept for {keep} seconds"


def _until(until: datetime | None) -> str:
    return "" if until is None else f" until {time_text(until)}"


def _about(words: str) -> Any:
    """Return words with the details of the entry in them."""
    return lambda entry: words.format_map(_Details(entry.details))


class _Details(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "?"


_SUMMARIES: dict[str, Any] = {
    "publish": _published,
    "trust": _trusted,
    "deny": _denied,
    "allow": _allowed,
    "set_scope": _about("scope {scope}: {set}"),
    "remove_scope": _about("scope {scope} is removed"),
    "reset_scope": _about("scope {scope} takes any verified CRL next"),
    "remove_issuer": _about("issuer {issuer} is removed"),
    "readmit_issuer": _about("issuer {issuer} may be added again"),
    "set_issuer": _about("issuer {issuer}: {set}"),
    "withdraw_issuers": _withdrawn,
    "grant_grace": _grace,
    "end_grace": _grace,
    "dismiss_refusal": _about("the refusal of {source} is dismissed"),
    "advance": _about("the generation is raised above {above}"),
    "clean_up": _kept,
    "restore": _about("an earlier set is restored"),
    "refuse": _about("a CRL of {source} is refused ({cause}): {detail}"),
    "deleted": lambda entry: (
        f"the record of generation {entry.generation} and all before it were deleted"
    ),
}
