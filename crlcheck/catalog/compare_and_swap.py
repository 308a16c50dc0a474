"""
Change the published set by compare-and-swap, and try again where another writer came first.

Every writer goes through ``swap``. These are its steps:

1. The entries that change are found, and the nodes that have them are made anew.
2. The next generation is above all that anybody may have seen: that of the root, the
   latest in the history, and the last one that this process has written. Readers
   refuse a generation that they have seen with other contents, also where somebody has put
   an old root back.
3. The new nodes are written, then the record of the generation, which names the objects
   that it stops using.
4. The root is swapped. Where another writer came first, the chain of records tells
   whether this swap took place all the same: its request may have been sent twice. If it
   surely did not, the new nodes and the record are deleted.

For example, two publishers read generation 7 and swap. One root of generation 8 is written.
The other publisher's chain has another record of generation 8 than its own: its swap is
lost. It deletes its nodes, and its caller tries again on generation 8.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from crlcheck.catalog import tree
from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.changes import SOURCES, changed_members
from crlcheck.catalog.entries import changed_entries, staleness_of_entry
from crlcheck.catalog.format1 import marked_generation
from crlcheck.catalog.history import (
    Action,
    HistoryRecord,
    chain,
    generation_of,
    last_recorded,
    latest_listed,
    listed,
    new_record_name,
    read_listed,
    record_prefix,
)
from crlcheck.catalog.published_set import (
    PublishedSet,
    nodes_of,
    nothing_published,
    read_set,
)
from crlcheck.catalog.root import CATALOG_NAME, MAX_GENERATION, Certificates, Cleaned, Root
from crlcheck.catalog.signing_store import (
    SigningStore,
    check_may_change,
    signed_root,
    unsigned_store,
    warn_of_expiry,
)
from crlcheck.catalog.tree import NODE_PREFIX, Reference
from crlcheck.encoding.strict_json import canonical_json
from crlcheck.errors import (
    CatalogDamagedError,
    CatalogRollbackError,
    CrlCheckError,
    PreconditionFailedError,
    RootSignatureError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.stores import ObjectStore
from crlcheck.times import clock_from, given_time

MAX_SWAPS = 40
"""A change is tried this many times where others come first."""

_MAX_AGE = timedelta(minutes=2)

_log = logging.getLogger(__name__)


def back_off(num_lost: int) -> None:
    """Wait before the next try, with full jitter so that contenders spread out."""
    time.sleep(random.uniform(0, min(2.0, 0.02 * 2**num_lost)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    A change of the published set.

    ``before`` is the part of the set that was read, ``after`` what it becomes. ``action``
    says what it is. ``at`` is when it is made. ``abandoned`` are objects that no
    generation ever used, and which clean-up notes. ``cleaned`` is how far clean-up has
    come, None where it has not moved. ``follows_lost`` says that an operator knows that
    somebody put an old root back, and goes on from it; a root is signed only then.
    ``clock`` returns the time of each step. It was set when the change was asked for, which
    may be long before its swap. A change that
    ``is_anew`` replaces the whole set: no node of the old one is read or used.
    """

    before: Catalog
    after: Catalog
    action: Action
    at: datetime
    clock: Callable[[], datetime]
    abandoned: tuple[str, ...] = ()
    cleaned: Cleaned | None = None
    follows_lost: bool = False
    is_anew: bool = False

    @property
    def is_late(self) -> bool:
        """
        Whether it was made so long ago that its record must be written again.

        The grace period of what it supersedes begins at ``at``. Readers of the generation
        before need these objects for the whole period from the swap on, also where the
        machine slept before it.
        """
        return self.clock() - self.at > _MAX_AGE


def swap(
    store: ObjectStore,
    held: PublishedSet,
    etag: str | None,
    change: Change,
    *,
    on_doubt: Callable[[], None] = lambda: None,
) -> PublishedSet | None:
    """
    Change the set of *etag*, which is *held*; return the one that was written.

    Return None where another set is there now, and this change is not part of it. Where
    later generations were written already, somebody put an old root back. Then the new
    generation is above them all, and a warning is logged.

    *on_doubt* is called where None is returned and nobody can tell whether the change was
    published for a time: its request was sent twice, and then somebody put an old root
    back. What it names is not deleted then, because a reader may have read that root.

    Raises:
        RootSignatureError: as ``check_may_change``, and with the reason ``"set_back"``
            where somebody put an old root back and a signature would renew it.
        SigningKeyError: a key does not sign.
        CatalogDamagedError: a node that changes is missing or damaged.
        StoreUnavailableError: the store does not answer. The change may have been made.
    """
    check_may_change(store, held.members)
    listed_latest = latest_listed(store)
    lost = lost_generation(store, held.generation, listed_latest)
    if lost and not change.follows_lost:
        change = _with_lost_denials(store, held, change)
    described = replace(change, action=_described(change))
    proposal = _Proposal(store, held, described, listed_latest, lost)
    if isinstance(store, SigningStore) and not change.follows_lost:
        known = proposal.lost_generation
        if known and read_set(store)[1] != etag:
            return None  # another writer was first, which is how it is known
        check_not_set_back(store, held.generation, known)
    # A key that does not sign must not leave objects behind.
    root = signed_root(store, proposal.dated(change.at), now=change.at)
    proposal.write_nodes()
    proposal.write_record()
    while change.is_late:
        # The nodes took long to write, or the machine slept.
        _log.info("%s: the record of the generation is written again, with its time", store.url)
        if etag is not None:  # else another writer may have gone on from it
            proposal.delete_record()
        change = replace(change, at=change.clock())
        root = signed_root(store, proposal.dated(change.at), now=change.at)
        proposal.write_record()
    try:
        store.write(CATALOG_NAME, root.to_bytes(), if_match=etag, if_absent=etag is None)
    except PreconditionFailedError as error:
        if _is_lost(proposal, error, etag, on_doubt):
            return None
    else:
        proposal.delete_earlier_records()
    _log.info("%s: the catalog of generation %d is written", store.url, proposal.root.generation)
    # Warn only after the write. Where it fails, another writer wrote the later generation.
    warn_of_expiry(store, held.members, change.at)
    proposal.warn_of_lost_generations()
    _WRITTEN.note(store, proposal.root.generation)
    held.nodes.kept.forget(proposal.superseded)
    for reference, node in proposal.as_read:
        held.nodes.kept.keep(reference, node)
    return PublishedSet(root, held.nodes, members=root.members())


def _is_lost(
    proposal: _Proposal,
    error: PreconditionFailedError,
    etag: str | None,
    on_doubt: Callable[[], None],
) -> bool:
    """Whether a swap that failed did not take place; then what was written for it goes."""
    # Where there was no root, another writer may have gone on from the record.
    if (error.may_be_written or etag is None) and proposal.was_published():
        return False
    _log.info("%s: another writer was first: the catalog is read again", proposal.url)
    if error.may_be_written:
        on_doubt()
    else:
        proposal.delete()
    return True


def check_not_set_back(store: ObjectStore, generation: int, known: int) -> None:
    """
    Refuse to sign on from a generation where a later one is *known*.

    Raises:
        RootSignatureError: it is; the reason is ``"set_back"``.
    """
    if not known:
        return
    found = f"has generation {generation}" if generation else "is gone"
    raise RootSignatureError(
        f"{store.url}: {CATALOG_NAME} {found} although generation {known} was published: "
        "somebody put an old root back; nothing is changed, because to sign what follows "
        "would make it the newest",
        reason="set_back",
    )


def set_to_go_on_from(store: ObjectStore) -> PublishedSet | None:
    """
    Return the last set that the history has, for a store whose root is gone.

    Who begins anew there would have readers take a set without the denials, and without all
    CRLs but the new ones, for the next one of theirs. None is returned where nothing proves
    that anything was published: the first publication may be under way.

    Raises:
        StoreError: the store does not answer.
    """
    known = lost_generation(store, 0)
    root = last_recorded(store) if known else None
    if root is None:
        return None
    _log.warning(
        "%s: %s is gone although generation %d had been written: what follows goes on from "
        "generation %d, the last one in the history",
        store.url,
        CATALOG_NAME,
        known,
        root.generation,
    )
    return PublishedSet(root, nodes_of(store))


def _with_lost_denials(store: ObjectStore, held: PublishedSet, change: Change) -> Change:
    """
    Return *change* with the denials of the latest generation, where an old root was put back.

    Services that have seen them take what follows on the old root for the next generation.
    """
    root = last_recorded(store)
    try:
        lost = () if root is None else PublishedSet(root, nodes_of(store)).denied
    except CatalogDamagedError as error:
        _log.warning(
            "%s: denials of generations that are lost cannot be kept: %s", store.url, error
        )
        return change
    present = held.denials().denied
    known = {one.key for one in present}
    more = tuple(one for one in lost if one.key not in known and one.holds(change.at))
    before, after = change.before, change.after
    if before.denied == after.denied:  # a part of the set, which may not have them
        before, after = (replace(one, denied=present) for one in (before, after))
    return replace(change, before=before, after=replace(after, denied=(*after.denied, *more)))


def _described(change: Change) -> Action:
    """Return the action of a change with all that it changes."""
    action, details = change.action, dict(change.action.details)
    sources = details.pop(SOURCES, {})
    changed = changed_members(change.before, change.after, change.at, sources)
    return replace(action, details={**details, **changed})


class _Proposal:
    """
    The objects of a generation that is proposed.

    ``root`` is the root, once it has a time.
    """

    root: Root
    _record: Reference
    _record_body: bytes

    def __init__(
        self, store: ObjectStore, held: PublishedSet, change: Change, listed_latest: int, lost: int
    ) -> None:
        self._store = store
        self._held = held
        old, before, after = held.root, change.before, change.after
        # A catalog of format 1 has no tree, so that all of it is new.
        is_format1 = held.format1 is not None
        known = Catalog.empty() if is_format1 or change.is_anew else before
        nodes = tree.change(held.nodes, old.top, changed_entries(known, after), staleness_of_entry)
        self._objects = dict(nodes.written)
        self.as_read = nodes.as_read
        self.superseded = superseded = [
            *nodes.superseded,
            *sorted(before.image_names() - after.image_names()),
        ]
        if held.format1 is not None:
            superseded += held.format1.superseded
        denied = old.denied
        if after.denied != known.denied:
            superseded += [] if denied is None else [denied.name]
            denied = self._denied_object(after)
        # What a store of format 1 has beside its catalog, or beside a catalog that is gone.
        marked = 0 if old.history is not None else marked_generation(store)
        latest = max(
            old.generation, listed_latest, marked, _WRITTEN.get(store), after.generation - 1
        )
        if latest + 1 >= MAX_GENERATION:
            raise StoreError(
                f"{store.url}: found generation {latest}, after which there is none: expected one "
                f"below 2^53 - 1; delete the object {record_prefix(latest)}*.json if no catalog "
                "of that generation was ever published"
            )
        self.lost_generation = max(lost, marked if marked > old.generation else 0)
        cleaned = change.cleaned or old.cleaned
        all_lost = [one for one in old.lost if one[1] > cleaned.generation]
        if self.lost_generation:
            all_lost.append((old.generation + 1, latest))
        self._proposed = replace(
            old,
            generation=latest + 1,
            store=old.store or _id_in_history(store),
            top=nodes.top,
            denied=denied,
            history=None,
            trusted=old.trusted.changed(
                Certificates.of(one.fingerprint for one in known.issuers),
                Certificates.of(one.fingerprint for one in after.issuers),
            ),
            removed=old.removed.changed(
                Certificates.of(known.removed_issuers), Certificates.of(after.removed_issuers)
            ),
            num_scopes=old.num_scopes - len(known.scopes) + len(after.scopes),
            settings=after.settings,
            cleaned=cleaned,
            lost=tuple(all_lost),
            signatures=(),
        )
        self._action, self._abandoned = change.action, change.abandoned
        self._record_names: list[str] = []

    def _denied_object(self, after: Catalog) -> Reference | None:
        if not after.denied:
            return None
        body = canonical_json({"denied": [denial.members() for denial in after.denied]})
        reference = Reference.of(f"{NODE_PREFIX}{secrets.token_hex(16)}.json", body)
        self._objects[reference.name] = body
        return reference

    @property
    def url(self) -> str:
        """The store's."""
        return self._store.url

    def write_nodes(self) -> None:
        """Write the new nodes and the denials."""
        for name, body in self._objects.items():
            self._store.write(name, body)

    def dated(self, at: datetime) -> Root:
        """Return the root with the time of the change, and with a new record of it."""
        proposed = replace(self._proposed, at=at.replace(microsecond=0))
        record = HistoryRecord(
            root=proposed,
            action=self._action,
            previous=self._held.root.history,
            superseded=tuple(self.superseded),
            abandoned=self._abandoned,
        )
        self._record_body = record.to_bytes()
        self._record = Reference.of(new_record_name(proposed.generation), self._record_body)
        self._record_names.append(self._record.name)
        self.root = replace(proposed, history=self._record)
        return self.root

    def write_record(self) -> None:
        """Write the record."""
        self._store.write(self._record.name, self._record_body)

    def delete_record(self) -> None:
        """Delete the record. A failure is only logged."""
        self._record_names.remove(self._record.name)
        self._delete(self._record.name)

    def delete_earlier_records(self) -> None:
        """Delete all records but the last one, which is published. A failure is only logged."""
        for name in self._record_names[:-1]:
            self._delete(name)

    def delete(self) -> None:
        """Delete what was written, because no root names it. A failure is only logged."""
        for name in self._record_names:
            self._delete(name)
        for name in reversed(self._objects):
            self._delete(name)

    def _delete(self, name: str) -> None:
        try:
            self._store.delete(name)
        except (CrlCheckError, OSError) as error:
            _log.warning("%s was not deleted from %s: %s", name, self._store.url, error)

    def was_published(self) -> bool:
        """Whether the swap that was reported as lost took place (step 4)."""
        current, _ = read_set(self._store)
        records = chain(self._store, current.root, after=self._held.generation)
        try:
            return any(reference.name in self._record_names for reference, _ in records)
        except CatalogDamagedError as error:
            # Nothing is deleted, because a root may name it.
            raise StoreUnavailableError(
                f"{self._store.url}: it cannot be told whether generation "
                f"{self.root.generation} was published: {error}"
            ) from error

    def warn_of_lost_generations(self) -> None:
        """Log where somebody had put an old root back, so that later changes are lost."""
        before, known, store = self._held.generation, self.lost_generation, self._store
        if known:
            _log.warning(
                "%s: %s %s although generation %d had been written; what was published and set "
                "by hand since then is lost, but for denials, and generation %d follows; "
                "crlcheck restore can bring it back",
                store.url,
                CATALOG_NAME,
                f"was restored to generation {before}" if before else "is gone",
                known,
                self.root.generation,
            )


def lost_generation(store: ObjectStore, held: int, listed_latest: int | None = None) -> int:
    """
    Return a generation later than *held* that was surely published, 0 where none is known.

    *listed_latest* is the result of ``latest_listed``, where the caller has it.
    """
    listed_latest = latest_listed(store) if listed_latest is None else listed_latest
    known = max(_WRITTEN.get(store), _latest_proved(store, listed_latest, held))
    return known if known > held else 0


def _latest_proved(store: ObjectStore, listed_latest: int, held: int) -> int:
    """
    Return a generation later than *held* that was surely published, 0 where none is known.

    A record names the one before it. Who wrote it has read that one's root.
    """
    if listed_latest <= held:
        return 0
    for generation, name in listed(store):
        if generation <= held:
            break
        record = read_listed(store, name)
        if record is not None and record.previous is not None:
            stated = generation_of(record.previous)
            if stated > held and generation <= listed_latest:
                return stated
    return 0


def _id_in_history(store: ObjectStore) -> str:
    """Return the store's id where its root is gone and its history is not, else a new one."""
    root = last_recorded(store)
    return secrets.token_hex(16) if root is None else root.store


def write_copy(store: ObjectStore, copied: PublishedSet, body: bytes, etag: str | None) -> bool:
    """
    Replace the root of *etag* with that of another store, byte for byte.

    Return False where another root is there now.

    Raises:
        CatalogRollbackError: a later generation was written here already.
        StoreUnavailableError: the store does not answer.
    """
    latest = latest_listed(store)
    if copied.generation < latest:
        raise CatalogRollbackError(
            f"generation {copied.generation} cannot be written to {store.url}, where "
            f"generation {latest} was",
            generation=copied.generation,
            held=latest,
        )
    try:
        store.write(CATALOG_NAME, body, if_match=etag, if_absent=etag is None)
    except PreconditionFailedError:
        return False
    _WRITTEN.note(store, copied.generation)
    return True


def change_catalog(
    store: ObjectStore,
    what: str,
    change: Callable[[Catalog], Catalog | None],
    action: Action,
    *,
    part: Callable[[PublishedSet], Catalog] = PublishedSet.everything,
    at: datetime | None = None,
    follows_lost: bool = False,
) -> Catalog:
    """
    Replace the catalog with the result of *change*; return the new catalog.

    *change* gets what *part* returns, by default the whole, and returns None for no change.
    Where another writer came first, it is called again on that writer's catalog. *what* names
    the change in messages, *action* in the history. *at* is the time of the change, by
    default the clock's. *follows_lost* is as in Change.

    Raises:
        FileNotFoundError: there is no catalog.
        StoreUnavailableError: the store does not answer, or too many others came first.
        RootSignatureError: the root is signed and the store does not sign, or the reverse.
        SigningKeyError: a key does not sign.
        StoreError: the catalog cannot be read.
    """

    moment = given_time(at)
    clock = clock_from(moment)

    def prepare(held: PublishedSet) -> Change | None:
        before = part(held)
        after = change(before)
        if after is None:
            return None
        return Change(
            before=before,
            after=after,
            action=action,
            at=moment,
            clock=clock,
            follows_lost=follows_lost,
        )

    held, prepared = change_set(store, what, prepare)
    if prepared is None:
        return part(held)
    return replace(prepared.after, generation=held.generation)


def change_set(
    store: ObjectStore,
    what: str,
    prepare: Callable[[PublishedSet], Change | None],
) -> tuple[PublishedSet, Change | None]:
    """
    Make the change that *prepare* returns; return the set afterwards, and the change.

    Raises: as ``change_catalog``.
    """
    for num_lost in range(MAX_SWAPS):
        if num_lost:
            back_off(num_lost)
        held, etag = read_set(store)
        if etag is None:
            raise nothing_published(store)
        check_may_change(store, held.members)
        try:
            prepared = prepare(held)
            if prepared is None:
                return held, None
            written = swap(store, held, etag, prepared)
        except CatalogDamagedError:
            # Clean-up may have deleted it, because a later generation does not use it.
            if read_set(store)[1] == etag:
                raise
            continue
        if written is not None:
            return written, prepared
    raise StoreUnavailableError(
        f"{what} failed: other changes to {store.url} came first {MAX_SWAPS} times"
    )


# ---- the last generation written -----------------------------------------------------------


class _Written:
    """The last generation that this process wrote to each store that it still has open."""

    def __init__(self) -> None:
        self._generations: weakref.WeakKeyDictionary[ObjectStore, int]
        self._generations = weakref.WeakKeyDictionary()

    def get(self, store: ObjectStore) -> int:
        try:
            return self._generations.get(unsigned_store(store), 0)
        except TypeError:  # a store of the caller's own, which may have no hash
            return 0

    def note(self, store: ObjectStore, generation: int) -> None:
        try:
            store = unsigned_store(store)
            self._generations[store] = max(generation, self._generations.get(store, 0))
        except TypeError:
            return


_WRITTEN = _Written()
