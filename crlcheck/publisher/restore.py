"""
Bring a published set back: from an earlier generation, from a mirror, or from CRLs.

These are the steps:

1. The set that is to come back is read: that of an earlier generation of the store, that of
   another store, or one that is made of CRLs by the rules of a publication.
2. What the store has now is read as far as it can be. Where ``catalog.json`` is missing, is
   unreadable or is that of another store, the latest record of the history stands for it.
3. Both are put together. The scopes and the trusted issuers are those that come back, but
   what an operator has decided against since then holds:

   - certificates that are denied in either set are denied until that ends, unless the
     caller chooses,
   - an issuer that was removed in either set stays removed, and so do CRLs that only its
     key has signed,
   - a setting by hand that lets more certificates pass is kept only where the present set
     has it too,
   - a scope that does not come back gets a tombstone, so that no older CRL takes its place.

   Where denials or removed issuers of the present set cannot be read, nothing is restored
   unless the caller accepts that.
4. The caller is told what changes, and may decline.
5. The images are copied and the nodes are written, all under new names.
6. The root is swapped. Its generation is one above the greatest that is known: that of the
   root, and those that the history lists. Where they cannot be trusted to know all that
   services have seen, it is the number of milliseconds since 1970 if that is more. They
   are trusted where the root can be read, the history can be read back from it, and the
   set that comes back is of no later generation.
7. Where another writer came first, steps 2, 3 and 6 are done again.

For example, services use generation 12 when somebody deletes ``catalog.json``. Generation 12
is restored from the history. The new root has generation 1,796,000,000,000, which all
services take because it is above 12.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from crlcheck.catalog.catalog import (
    IMAGE_PREFIX,
    Catalog,
    Denial,
    IssuerRecord,
    PublishedImage,
    RemovedIssuer,
    ScopeAction,
    ScopeRecord,
    Tombstone,
)
from crlcheck.catalog.compare_and_swap import MAX_SWAPS, Change, back_off, swap
from crlcheck.catalog.descriptions import crl_text
from crlcheck.catalog.earlier import is_there, latest_readable, store_at
from crlcheck.catalog.entries import catalog_of, name_hash
from crlcheck.catalog.given_up import given_up_since
from crlcheck.catalog.history import (
    Action,
    chain,
    full_root,
    generation_of,
    listed,
    read_listed,
)
from crlcheck.catalog.published_set import (
    NO_TIME,
    PublishedSet,
    nodes_of,
    read_denials,
    set_of,
)
from crlcheck.catalog.readable_part import NodesOfEither
from crlcheck.catalog.root import CATALOG_NAME, Certificates, Cleaned, Root
from crlcheck.catalog.signing_store import SigningStore
from crlcheck.catalog.tree import NODE_PREFIX, Node, NodeReader, Reference, read_object
from crlcheck.compiler.compile import CompileOptions
from crlcheck.encoding.names import name_text
from crlcheck.encoding.paths import source_name
from crlcheck.errors import (
    CatalogDamagedError,
    CorruptIndexError,
    CrlCheckError,
    CrlError,
    CrlRollbackError,
    CrlSignatureError,
    RootSignatureError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.image.diff import Listing, entries_missing
from crlcheck.image.index import RevocationIndex, open_index
from crlcheck.publisher.copies import Copies, Origin, crl_files, is_mirror
from crlcheck.publisher.publish_many import PublishResult, PublishSource, SourceCrl, publish_many
from crlcheck.publisher.rules import is_signer
from crlcheck.signing.root_key import RootKey, read_root_keys
from crlcheck.signing.statement import signers_of, verify_root
from crlcheck.stores import LocalStore, ObjectStore, open_for_writing, open_store
from crlcheck.stores.probe import probe_store
from crlcheck.times import clock_from, given_time, time_text
from crlcheck.types import CertificateFacts, ImageMetadata, chosen
from crlcheck.x509.certificates import (
    CertificateSource,
    load_certificates,
    published_certificate,
)

_log = logging.getLogger(__name__)


class DenialsFrom(enum.Enum):
    """Which denials a restored set has: those of both sets, or of one alone."""

    BOTH = "both"
    PRESENT = "present"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class ScopeChange:
    """
    What a restore changes of one scope.

    ``before`` and ``after`` name its CRL, None where the set has none. ``num_lifted`` are
    certificates that are not revoked any more by this scope, ``num_newly_revoked`` those that
    are again; None where an image cannot be read.
    """

    scope: str
    before: str | None
    after: str | None
    is_older: bool
    num_lifted: int | None
    num_newly_revoked: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """
    What a restore changes.

    ``generation`` is the one that was written, None where nothing was. ``source`` says where
    the set comes from. ``present`` is the generation that the store had, None where that
    could not be read. ``scopes`` are those that change. Issuers are named by fingerprint and
    name. ``denied`` are certificates that are denied anew, ``allowed`` those that are
    not denied any more. ``refused`` are CRLs that cannot be restored, each with the reason.
    ``notes`` say what else an operator should know.
    """

    generation: int | None
    source: str
    present: int | None
    num_scopes: int
    scopes: tuple[ScopeChange, ...] = ()
    issuers_added: tuple[str, ...] = ()
    issuers_gone: tuple[str, ...] = ()
    denied: tuple[Denial, ...] = ()
    allowed: tuple[Denial, ...] = ()
    refused: tuple[tuple[str, CrlCheckError], ...] = ()
    notes: tuple[str, ...] = ()


def restore_store(
    store: str | os.PathLike[str] | ObjectStore,
    origin: Origin | None = None,
    *,
    when: int | datetime | timedelta | None = None,
    issuers: CertificateSource | Iterable[CertificateSource] = (),
    denials: DenialsFrom | str = DenialsFrom.BOTH,
    without_present: bool = False,
    adopt: bool = False,
    root_keys: Iterable[RootKey | str] | str | None = None,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
    confirm: Callable[[RestoreReport], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[CompileOptions],
) -> RestoreReport:
    """
    Bring a published set back, under a generation above all that services can have seen.

    Args:
        store: as for ``publish_crl``. It may be empty, or damaged in any way.
        origin: a mirror, or a CRL file, or a directory of CRLs; None for the store itself.
        when: the generation of *origin*, or of the store itself, that comes back; or a time,
            or how long ago, for the one of then. By default the last one of *origin*.
        issuers: for CRLs, the trusted certificates; by default those of the present set.
        denials: whose denials hold afterwards, by the member or its value.
        without_present: restore although denials or removed issuers of the present set
            cannot be read, so that they are lost.
        adopt: where *store* signs, or *root_keys* are given, take a set also if no signed root
            leads to its record in the history, and vouch for all that it has.
        root_keys: public keys of which one must have signed the root from which the set comes:
            that of *origin*, or of the store itself. For CRLs without *issuers*, it is the
            store's, whose issuers are trusted. A signature that has expired is enough, as
            a mirror may be old; the report notes it.
        note: why, for the history.
        actor: who, for the history.
        now: the time, UTC; by default the clock's.
        confirm: is called with the report before anything is written; False ends it.
        progress: is called with the bytes of images copied so far, and to copy in all.
        options: for CRLs, as for ``compile_crl``.

    Readers and publishers may be at work. Denials and removed issuers of the present set
    hold afterwards, as the module says.

    Raises:
        ValueError: neither *origin* nor *when* is given, or both do not fit.
        EarlierSetError: there was no set at that time, or the history does not go back to it.
        StoreError: the set that is to come back is not whole, or what the present set
            denies cannot be read.
        RootSignatureError: the root of the store is signed, and *store* does not sign; or it
            does, and no key of it has signed the root of the mirror, or no signed root leads to
            the set that is to come back. Or none of *root_keys* has signed that root.
        StoreUnavailableError: a store does not answer, or others came first too often.
        CertificateError: *issuers* holds something that is not a certificate.
        OSError: *origin* cannot be read.
    """
    moment = given_time(now).replace(microsecond=0)
    target = open_for_writing(store)
    kept_denials = chosen("denials", DenialsFrom, denials)
    action = Action.of("restore", note=note, actor=actor)
    demands = _Demands(target, root_keys, moment, adopt=adopt)
    with contextlib.ExitStack() as stack:
        if origin is not None and not is_mirror(origin):
            assert not isinstance(origin, ObjectStore), "a store is a mirror"
            if when is not None:
                raise ValueError("when: CRLs have no generations")
            trusted = load_certificates(issuers) if issuers != () else ()
            older = _made_of_crls(Path(origin), target, trusted, demands, stack, options)
        else:
            older = _older_set(target, origin, when, demands)
        older = replace(older, notes=(*older.notes, *demands.notes))
        restore = _Restore(
            target, older, kept_denials, moment, note, without_present=without_present, adopt=adopt
        )
        report = restore.plan()
        if confirm is not None and not confirm(report):
            return report
        written = restore.run(action, progress)
    return replace(report, generation=written)


# ---- step 1: the set that comes back ------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Older:
    """
    The set that comes back.

    ``origin`` has its images. ``generation`` is its own, 0 for one made of CRLs, which has no
    ``settings`` by hand.
    """

    catalog: Catalog
    origin: ObjectStore
    words: str
    generation: int
    store: str
    has_settings: bool
    refused: tuple[tuple[str, CrlCheckError], ...] = ()
    notes: tuple[str, ...] = ()


class _Demands:
    """
    What the root must satisfy from which a set comes back, and what is noted about it.

    Where the store signs, its keys must have signed the root of a mirror, because to sign what
    it has is to vouch for it. Where keys were given, one of them must have signed the root.
    A store's own root is verified by the store's keys when it is changed. Every read of a
    root is verified, as a server may answer the second one otherwise than the first.
    """

    def __init__(
        self,
        target: ObjectStore,
        root_keys: Iterable[RootKey | str] | str | None,
        now: datetime,
        *,
        adopt: bool,
    ) -> None:
        self.now = now
        self.adopt = adopt
        self._target = target
        self._signer = target.signer if isinstance(target, SigningStore) else None
        self._keys = () if root_keys is None else read_root_keys(root_keys)
        self._expired: datetime | None = None
        self._signers: tuple[str, ...] = ()

    @property
    def is_vouched_for(self) -> bool:
        """Whether a record of the history may come back to which no signed root leads."""
        return self.adopt or not (self._signer or self._keys)

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should know about the signature."""
        found = []
        if self._expired is not None:
            found.append(
                f"the signature of the root from which it comes expired at "
                f"{time_text(self._expired)}: look whether a later generation was published"
            )
        if self._signer is None and (self._keys or self._signers):
            by = f" was signed by the key {', '.join(self._signers)}, and" if self._signers else ""
            found.append(
                f"the set that comes back{by} gets no signature: services that demand one refuse "
                "it; give the key (--sign-with, CRLCHECK_SIGN_WITH)"
            )
        return tuple(found)

    def read(self, place: ObjectStore) -> PublishedSet:
        """
        Return the set of the root of a store.

        Raises:
            RootSignatureError: it is not signed as it must be.
            StoreError: it cannot be read.
        """

        def verify(members: Mapping[str, Any]) -> None:
            if self._signer is not None and place is not self._target:
                verify_root(members, self._signer.accepted, now=NO_TIME)
            if self._keys:
                (last, *_) = verify_root(members, self._keys, now=NO_TIME)
                expires = last.statement.expires
                self._expired = expires if expires <= self.now else None
            elif self._signer is None:
                with contextlib.suppress(RootSignatureError):  # nobody demands one
                    self._signers = signers_of(members)

        return set_of(place.read(CATALOG_NAME).body, place, verify=verify)

    def root_of(self, place: ObjectStore) -> Root | None:
        """
        Return the root of a store, None where it is missing or cannot be read.

        Raises:
            RootSignatureError: it is not signed as it must be.
        """
        try:
            return self.read(place).root
        except FileNotFoundError:
            return None
        except (StoreUnavailableError, RootSignatureError):
            raise
        except StoreError:
            return None


def _older_set(
    target: ObjectStore,
    origin: Origin | None,
    when: int | datetime | timedelta | None,
    demands: _Demands,
) -> _Older:
    """Return a generation of another store, or an earlier one of the store itself."""
    if origin is None and when is None:
        raise ValueError("when: expected a generation or a time, or an origin")
    place = target if origin is None else open_store(origin)
    words = "" if origin is None else f" of {place.url}"
    if when is None:
        found = demands.read(place)
    elif isinstance(when, int):
        found = _set_of_generation(place, when, demands)
    else:
        generation = _generation_at(place, when, demands)
        found = _set_of_generation(place, generation, demands)
    if origin is not None:
        # What the other store lacks may still be here.
        found = replace(found, nodes=NodesOfEither(found.nodes, target))
    try:
        catalog = found.everything()
    except CatalogDamagedError as error:
        raise StoreError(
            f"generation {found.generation}{words} cannot be restored, because it is not whole: "
            f"{error}"
        ) from error
    return _Older(
        catalog=catalog,
        origin=place,
        words=f"generation {found.generation}{words}",
        generation=found.generation,
        store=found.root.store,
        has_settings=True,
    )


def _generation_at(store: ObjectStore, when: datetime | timedelta, demands: _Demands) -> int:
    """Return the generation that a store had at a time, also where its root is gone."""
    now = demands.now
    if demands.root_of(store) is not None:
        return store_at(store, when, now=now).generation
    moment = now - when if isinstance(when, timedelta) else when
    for generation, name in listed(store):
        record = read_listed(store, name)
        if record is not None and record.at <= moment:
            return generation
    raise StoreError(f"{store.url}: the history does not go back to {time_text(moment)}")


def _set_of_generation(store: ObjectStore, generation: int, demands: _Demands) -> PublishedSet:
    """
    Return the set of a generation that the history has, also after an old root was put back.

    Records have no signature. So the root, which may have one, must lead to that of the
    generation, unless somebody has vouched for it.

    Raises:
        RootSignatureError: it does not, and nobody has.
        StoreError: there is none, or it cannot be told which of several was published.
    """
    root = demands.root_of(store)
    if root is not None and root.generation == generation:
        return PublishedSet(root, nodes_of(store))
    found = None if root is None else _root_on_chain(store, root, generation)
    if found is None:
        found = _root_off_chain(store, generation)
        if not demands.is_vouched_for:
            raise RootSignatureError(
                f"{store.url}: no signed root leads to the record of generation {generation}, so "
                "that anybody who may write history/ can have made it; nothing is restored, "
                "because that would vouch for it",
                reason="unsigned_record",
            )
    return PublishedSet(found, nodes_of(store))


def _root_on_chain(store: ObjectStore, root: Root, generation: int) -> Root | None:
    with contextlib.suppress(CatalogDamagedError):
        for reference, record in chain(store, root, after=generation - 1):
            if record.generation == generation:
                return full_root(record, reference)
    return None


def _root_off_chain(store: ObjectStore, generation: int) -> Root:
    """Return the root of a generation to which the present root does not lead."""
    found: dict[str, Root] = {}
    followed: set[str] = set()
    for number, name in listed(store):
        if number < generation:
            break
        record = read_listed(store, name)
        if record is not None and record.previous is not None:
            followed.add(record.previous.name)
        if record is not None and number == generation:
            found[name] = record.root
    # Of several only one was published: that which a later one follows, or which is whole.
    if len(found) > 1 and followed & found.keys():
        found = {name: root for name, root in found.items() if name in followed}
    if len(found) > 1:
        whole = {name: root for name, root in found.items() if is_there(store, root)}
        found = whole or found
    if len(found) != 1:
        why = "no record of it is left" if not found else "several were proposed"
        raise StoreError(f"{store.url}: generation {generation} cannot be restored: {why}")
    return next(iter(found.values()))


def _given(crl: SourceCrl) -> str:
    """Return the path of a CRL as it was given, which is not its name in the store."""
    assert isinstance(crl.given, PublishSource)
    return str(replace(crl, name=str(crl.given.source)))


def _made_of_crls(
    path: Path,
    target: ObjectStore,
    trusted: tuple[CertificateFacts, ...],
    demands: _Demands,
    stack: contextlib.ExitStack,
    options: CompileOptions,
) -> _Older:
    """Publish CRLs in a store of their own, by the rules that hold for every publication."""
    if not trusted:
        if demands.root_of(target) is None and not demands.is_vouched_for:
            raise RootSignatureError(
                f"{target.url}: the trusted issuers are known by records of the history only, to "
                "which no signed root leads; nothing is restored, because that would vouch for "
                "them; give the issuers (--issuer, issuers)",
                reason="unsigned_record",
            )
        present = _read_present(target, Copies(target, ()), adopt=True).catalog
        certificates = map(published_certificate, present.issuer_certificates())
        trusted = tuple(one for one in certificates if one is not None)
    crls = crl_files(path)
    if not crls:
        raise ValueError(f"{path}: there is no file to read in this directory")
    if not trusted:
        raise ValueError("issuers: expected the trusted certificates, because the store has none")
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="crlcheck."))
    staged = LocalStore(directory, fsync=False)
    refused: list[tuple[str, CrlCheckError]] = []
    results: list[tuple[str, PublishResult]] = []
    publish_many(
        [PublishSource(source=crl, name=source_name(crl)) for crl in crls],
        staged,
        issuers=trusted,
        issuers_from=f"restored from {source_name(path)}",
        now=demands.now,
        compare_up_to=0,
        on_result=lambda crl, result: results.append((_given(crl), result)),
        **options,
    )
    for name, result in results:
        if isinstance(result, Exception) and not isinstance(result, CrlError):
            raise result
        # An older CRL beside a newer one is no fault of anybody.
        if isinstance(result, CrlError) and not isinstance(result, CrlRollbackError):
            refused.append((name, result))
    try:
        held = set_of(staged.read(CATALOG_NAME).body, staged)
    except FileNotFoundError:
        reasons = "; ".join(f"{name}: {error}" for name, error in refused)
        raise StoreError(f"{path}: no CRL in it can be published: {reasons}") from None
    return _Older(
        catalog=held.everything(),
        origin=staged,
        words=f"the CRLs of {path}",
        generation=0,
        store="",
        has_settings=False,
        refused=tuple(refused),
    )


# ---- step 2: what the store has now ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Present:
    """
    What a store has now, as far as it can be read.

    ``etag`` is that of ``catalog.json``, whatever is in it. ``generation`` is that of its root,
    None where it is none of this store. ``base`` is the root whose record comes before the
    one of the restore. ``catalog`` has what can be read. ``unreadable`` names what cannot be
    read of what an operator has decided. ``latest`` is the greatest generation that is known;
    with ``is_reliable`` no other can have been seen.
    """

    etag: str | None
    generation: int | None
    base: Root | None
    catalog: Catalog
    latest: int
    is_reliable: bool
    store: str
    is_known: bool
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: Mapping[str, Any]
    members: Mapping[str, Any] | None

    @cached_property
    def issuers(self) -> dict[str, IssuerRecord]:
        """The trusted issuers by fingerprint."""
        return {one.fingerprint: one for one in self.catalog.issuers}


def _read_present(store: ObjectStore, copies: Copies, *, adopt: bool) -> _Present:
    notes: list[str] = []
    etag, held = None, None
    try:
        stored = store.read(CATALOG_NAME)
        etag = stored.etag
        held = set_of(stored.body, store)
    except FileNotFoundError:
        notes.append(f"{CATALOG_NAME} is missing")
    except StoreUnavailableError:
        raise
    except StoreError as error:
        notes.append(str(error))
    latest_record = latest_readable(store, above=0)
    own = latest_record.store if latest_record is not None else ""
    if held is not None and own and held.root.store not in ("", own):
        notes.append(f"{CATALOG_NAME} is that of another store, {held.root.store}")
        held = None
    root = None if held is None else held.root
    before = 0 if root is None else root.generation
    later = None if root is None else latest_readable(store, above=before)
    is_set_back = root is not None and _was_published(store, before)
    if is_set_back:
        notes.append(
            f"{CATALOG_NAME} was set back to generation {before}, after later ones were published"
        )
    present = (later if is_set_back else root) or latest_record
    roots: list[Root] = []
    for one in (present, root, later):
        if one is not None and one not in roots:
            roots.append(one)
    readers = [_Reader(store, copies, one) for one in roots]
    catalog = held.format1.catalog if held is not None and held.format1 is not None else None
    unreadable: list[str] = []
    if catalog is None:
        catalog, unreadable = (
            (Catalog.empty(), []) if not readers else readers[0].read(is_needed=True)
        )
        for other in readers[1:]:
            more, missed = other.read(is_needed=other.root is root)
            catalog = replace(
                catalog,
                denied=_joined(catalog.denied, more.denied),
                removed_issuers={**more.removed_issuers, **catalog.removed_issuers},
            )
            unreadable += missed
    base = present if present is not None and _history_is_whole(store, present) else None
    return _Present(
        etag=etag,
        generation=None if root is None else root.generation,
        base=base,
        catalog=catalog,
        latest=max(before, next((number for number, _ in listed(store)), 0)),
        is_reliable=root is not None and base is not None,
        store=own or ("" if root is None else root.store),
        # A record has no signature: what it lets pass is not signed unless somebody vouches.
        is_known=present is not None
        and (adopt or present is root or not isinstance(store, SigningStore)),
        unreadable=tuple(dict.fromkeys(unreadable)),
        notes=tuple(notes),
        unknown={} if root is None else root.unknown,
        members=None if held is None else held.members,
    )


def _was_published(store: ObjectStore, above: int) -> bool:
    """Whether a generation after *above* was surely published: another record names it."""
    for number, name in listed(store):
        if number <= above:
            return False
        record = read_listed(store, name)
        previous = None if record is None else record.previous
        if previous is not None and generation_of(previous) > above:
            return True
    return False


def _history_is_whole(store: ObjectStore, root: Root) -> bool:
    """Whether the history can be read back from a root, as far as clean-up has come."""
    if root.history is None:
        return False
    reached = root.generation
    try:
        for _, record in chain(store, root, after=root.cleaned.generation):
            reached = 0 if record.previous is None else generation_of(record.previous)
    except CatalogDamagedError:
        return False
    return reached <= root.cleaned.generation


class _Reader:
    """Reads what is there of the set of a root."""

    def __init__(self, store: ObjectStore, copies: Copies, root: Root) -> None:
        self.root = root
        self._store = store
        self._copies = copies
        self._nodes = NodeReader(store)

    def read(self, *, is_needed: bool) -> tuple[Catalog, list[str]]:
        """Return the readable part, and what could not be read of an operator's decisions."""
        root, unreadable = self.root, []
        scopes: dict[str, ScopeRecord] = {}
        tombstones: dict[str, Tombstone] = {}
        issuers: list[IssuerRecord] = []
        removed: dict[str, Any] = {}
        for key, value in [] if root.top is None else self._entries(root.top):
            try:
                one = catalog_of({key: value}, 0)
            except (ValueError, CorruptIndexError):
                continue
            scopes |= one.scopes
            tombstones |= one.tombstones
            issuers += one.issuers
            removed |= one.removed_issuers
        if Certificates.of(removed) != root.removed:
            unreadable.append("removed issuers")
        denied: tuple[Denial, ...] = ()
        if root.denied is not None:
            body = self._object(root.denied)
            if body is None:
                unreadable.append("denials")
            else:
                denied = read_denials(body, root.denied.name)
        catalog = Catalog(
            root.generation,
            scopes,
            tuple(issuers),
            tombstones,
            denied,
            removed,
            settings=root.settings,
        )
        return catalog, unreadable if is_needed else []

    def _entries(self, reference: Reference) -> Iterator[tuple[str, Any]]:
        try:
            node = self._nodes.node(reference)
        except CatalogDamagedError:
            body = self._object(reference)
            if body is None:
                return
            node = Node.from_bytes(body, reference.name)
        yield from node.entries.items()
        for below in node.below:
            yield from self._entries(below)

    def _object(self, reference: Reference) -> bytes | None:
        try:
            return read_object(self._store, reference)
        except CatalogDamagedError:
            found = self._copies.object(reference)
            return None if found is None else found[0]


# ---- steps 3 to 7 ------------------------------------------------------------------------------


class _Restore:
    """One restore; the images that it writes are used by every try of the swap."""

    def __init__(
        self,
        store: ObjectStore,
        older: _Older,
        denials: DenialsFrom,
        now: datetime,
        note: str,
        *,
        without_present: bool,
        adopt: bool,
    ) -> None:
        self._store = store
        self._older = older
        self._denials = denials
        self._now = now
        self._clock = clock_from(now)
        self._note = note
        self._without_present = without_present
        self._adopt = adopt
        self._copies = Copies(store, () if older.origin is store else (older.origin,))
        self._present = self._read()
        self._names: dict[str, str] = {}  # of an image of the older set, the new name

    def _read(self) -> _Present:
        present = _read_present(self._store, self._copies, adopt=self._adopt)
        if present.unreadable and not self._without_present:
            what = " and ".join(present.unreadable)
            raise StoreError(
                f"{self._store.url}: the {what} of the present set cannot be read, so that a "
                "restore would undo what an operator has decided; repair them from a mirror "
                "(crlcheck verify --repair-from), or accept that (crlcheck restore "
                "--without-present)"
            )
        return present

    # ---- step 3 --------------------------------------------------------------------

    def _together(self, present: _Present) -> tuple[Catalog, list[tuple[str, CrlCheckError]]]:
        """Return what is to be published, and the CRLs that cannot be."""
        older, now_there = self._older.catalog, present.catalog
        removed = {**older.removed_issuers, **now_there.removed_issuers}
        refused: list[tuple[str, CrlCheckError]] = []
        signers = _Signers(older, removed)
        scopes: dict[str, ScopeRecord] = {}
        for key, record in older.scopes.items():
            metadata = record.base.metadata
            if signers.were_removed(key, metadata):
                error = CrlSignatureError(
                    f"{crl_text(metadata)}: an operator removed the issuer whose key signed it",
                    reason="removed_issuer",
                )
                refused.append((key, error))
            else:
                scopes[key] = self._scope(record, present)
        catalog = Catalog(
            self._generation(present),
            scopes,
            tuple(self._issuer(one, present) for one in older.issuers),
            self._tombstones(scopes, present),
            self._denied(present),
            removed,
            self._settings(present),
        )
        return catalog, refused

    def _scope(self, record: ScopeRecord, present: _Present) -> ScopeRecord:
        """Return a scope with the settings that both sets have."""
        if not present.is_known:
            return record
        there = present.catalog.scopes.get(record.key)
        covers = there is not None and there.covers_no_distribution_point
        if self._older.has_settings:
            covers = covers and record.covers_no_distribution_point
        grace = None if there is None else there.grace
        return replace(record, covers_no_distribution_point=covers, grace=grace)

    def _issuer(self, issuer: IssuerRecord, present: _Present) -> IssuerRecord:
        """Return a trusted issuer with the settings that both sets have."""
        if not present.is_known:
            return issuer
        there = present.issuers.get(issuer.fingerprint)
        if there is not None and not self._older.has_settings:
            return there
        return replace(
            issuer,
            is_anchor=issuer.is_anchor and there is not None and there.is_anchor,
            publishes_no_crl=issuer.publishes_no_crl
            and there is not None
            and there.publishes_no_crl,
        )

    def _settings(self, present: _Present) -> dict[str, Any]:
        older = dict(self._older.catalog.settings)
        if not present.is_known:
            return older
        older.pop("grace", None)
        return {**older, **present.catalog.settings}

    def _denied(self, present: _Present) -> tuple[Denial, ...]:
        older, now_there = self._older.catalog.denied, present.catalog.denied
        by_choice = {
            DenialsFrom.OLDER: older,
            DenialsFrom.PRESENT: now_there,
            DenialsFrom.BOTH: _joined(older, now_there),
        }
        return tuple(one for one in by_choice[self._denials] if one.holds(self._now))

    def _tombstones(
        self, scopes: Mapping[str, ScopeRecord], present: _Present
    ) -> dict[str, Tombstone]:
        older, now_there = self._older.catalog.tombstones, present.catalog.tombstones
        found = {**older, **now_there}
        for key, tombstone in found.items():
            both = all(one.get(key, tombstone).accepts_any for one in (older, now_there))
            is_open = both and key in (now_there if present.is_known else older)
            found[key] = replace(tombstone, accepts_any=is_open)
        for key, record in present.catalog.scopes.items():
            if key not in scopes:
                # Its CRL may come back, and a newer one, but none that is older.
                found[key] = Tombstone(
                    ScopeAction.REMOVED,
                    self._now,
                    self._note,
                    record.base.metadata,
                    None if record.delta is None else record.delta.metadata,
                    accepts_any=False,
                    accepts_same=True,
                )
        return found

    def _generation(self, present: _Present) -> int:
        """Return the generation to write, by the rule of step 6."""
        older = self._older.generation if self._older.store == present.store else 0
        latest = max(present.latest, older)
        if present.is_reliable and self._older.generation <= present.latest:
            return latest + 1
        return max(latest + 1, int(self._now.timestamp() * 1000))

    # ---- step 4 --------------------------------------------------------------------

    def plan(self) -> RestoreReport:
        """Return what would change."""
        present = self._present
        catalog, refused = self._together(present)
        before, after = (_names_of(one.issuers) for one in (present.catalog, catalog))
        denied, allowed = (
            tuple(one for one in some if one.key not in {other.key for other in others})
            for some, others in (
                (catalog.denied, present.catalog.denied),
                ([one for one in present.catalog.denied if one.holds(self._now)], catalog.denied),
            )
        )
        lost = [f"the {what} of the present set are lost" for what in present.unreadable]
        return RestoreReport(
            generation=None,
            source=self._older.words,
            present=present.generation,
            num_scopes=len(catalog.scopes),
            scopes=tuple(sorted(self._scope_changes(present.catalog, catalog), key=_by_name)),
            issuers_added=tuple(sorted(after[one] for one in after.keys() - before.keys())),
            issuers_gone=tuple(sorted(before[one] for one in before.keys() - after.keys())),
            denied=denied,
            allowed=allowed,
            refused=(*self._older.refused, *refused),
            notes=(*self._older.notes, *present.notes, *lost),
        )

    def _scope_changes(self, before: Catalog, after: Catalog) -> Iterator[ScopeChange]:
        for key in before.scopes.keys() | after.scopes.keys():
            old, new = before.scopes.get(key), after.scopes.get(key)
            if _digests(old) == _digests(new):
                continue
            lifted, revoked = self._differences(old, new)
            yield ScopeChange(
                key,
                _text(old),
                _text(new),
                old is not None and new is not None and _order(new) < _order(old),
                lifted,
                revoked,
            )

    def _differences(
        self, old: ScopeRecord | None, new: ScopeRecord | None
    ) -> tuple[int | None, int | None]:
        try:
            with contextlib.ExitStack() as stack:
                before = self._listing(old, stack)
                after = self._listing(new, stack)
                return (
                    sum(1 for _ in entries_missing(before, after)),
                    sum(1 for _ in entries_missing(after, before)),
                )
        except (CrlCheckError, OSError):
            return None, None

    def _listing(self, record: ScopeRecord | None, stack: contextlib.ExitStack) -> Listing:
        if record is None:
            return Listing(None)
        base, *delta = (self._opened(image, stack) for image in record.images())
        return Listing(base, *delta)

    def _opened(self, image: PublishedImage, stack: contextlib.ExitStack) -> RevocationIndex:
        found = self._copies.image(image)
        if found is None:
            raise StoreError(f"{image.name} cannot be read")
        return stack.enter_context(open_index(found[0], verify=False))

    # ---- steps 5 to 7 ----------------------------------------------------------------

    def run(self, action: Action, progress: Callable[[int, int], None] | None) -> int:
        """Write the set; return its generation."""
        present = self._present
        if present.etag is None:
            probe_store(self._store)
        for num_lost in range(MAX_SWAPS):
            try:
                if num_lost:
                    back_off(num_lost)
                    present = self._read()
                self._copy_images(present, progress)
            except BaseException:
                self._discard()
                raise
            # Where this fails, nobody knows whether a root names the images.
            written = self._swap(present, action)
            if written is not None:
                return written
        self._discard()
        raise StoreUnavailableError(
            f"{self._older.words} was not restored: other changes to {self._store.url} came first "
            f"{MAX_SWAPS} times"
        )

    def _copy_images(self, present: _Present, progress: Callable[[int, int], None] | None) -> None:
        """Copy the images under new names, unless that is done and none was given up since."""
        catalog, _ = self._together(present)
        if self._names and present.base is not None:
            held = PublishedSet(present.base, nodes_of(self._store))
            given_up = given_up_since(self._store, held, self._present.latest)
            if given_up is None or not given_up.isdisjoint(self._names.values()):
                self._names.clear()
        images = [one for one in catalog.images() if one.name not in self._names]
        done, total = 0, sum(image.size for image in images)
        for image in images:
            if progress is not None:
                progress(done, total)
            found = self._copies.image(image)
            if found is None:
                raise StoreError(
                    f"{self._older.words} cannot be restored, because it is not whole: the image "
                    f"{image.name} is missing or damaged"
                )
            name = f"{IMAGE_PREFIX}{image.digest}-{secrets.token_hex(16)}.crlx"
            self._store.write(name, found[0])
            self._names[image.name] = name
            done += image.size
        if progress is not None:
            progress(done, total)

    def _swap(self, present: _Present, action: Action) -> int | None:
        catalog, _ = self._together(present)
        scopes = {key: self._renamed(record) for key, record in catalog.scopes.items()}
        base = present.base
        # What nobody uses from now on, also what a writer has written who comes too late.
        unused = {*self._store.names(IMAGE_PREFIX), *self._store.names(NODE_PREFIX)}
        unused -= {*self._names.values()}
        if base is not None:
            held = PublishedSet(base, nodes_of(self._store))
            since = base.cleaned.generation
            unused -= given_up_since(self._store, held, since) or set()
        empty = Root(
            generation=catalog.generation - 1,
            store=present.store or self._older.store,
            at=NO_TIME,
            history=None if base is None else base.history,
            cleaned=Cleaned(catalog.generation - 1) if base is None else base.cleaned,
            lost=() if base is None else base.lost,
            unknown=present.unknown,
        )
        change = Change(
            before=present.catalog,
            after=replace(catalog, scopes=scopes),
            is_anew=True,
            follows_lost=True,
            action=replace(action, details={**action.details, "from": self._older.words}),
            at=self._now,
            clock=self._clock,
            abandoned=tuple(sorted(unused - present.catalog.image_names())),
        )
        held = PublishedSet(empty, nodes_of(self._store), members=present.members)
        # In doubt the images may be named by a root that somebody has read.
        written = swap(self._store, held, present.etag, change, on_doubt=self._names.clear)
        return None if written is None else written.generation

    def _renamed(self, record: ScopeRecord) -> ScopeRecord:
        def renamed(image: PublishedImage) -> PublishedImage:
            return replace(image, name=self._names[image.name])

        delta = None if record.delta is None else renamed(record.delta)
        return replace(record, base=renamed(record.base), delta=delta)

    def _discard(self) -> None:
        """Delete the images that were written and that no root names; a failure is logged."""
        for name in self._names.values():
            try:
                self._store.delete(name)
            except (CrlCheckError, OSError) as error:
                _log.warning("%s was not deleted from %s: %s", name, self._store.url, error)


class _Signers:
    """Tells whether all issuers are removed whose key has signed a CRL."""

    def __init__(self, older: Catalog, removed: Mapping[str, RemovedIssuer]) -> None:
        self._removed = removed
        self._scopes = {scope for one in removed.values() for scope in one.scopes}
        self._by_name: dict[str, list[tuple[str, CertificateFacts]]] = {}
        for issuer in older.issuers if removed else ():
            facts = published_certificate(issuer.certificate)
            if facts is not None:
                known = self._by_name.setdefault(name_hash(facts.subject), [])
                known.append((issuer.fingerprint, facts))

    def were_removed(self, scope: str, metadata: ImageMetadata) -> bool:
        if not self._removed:
            return False
        signers = [
            fingerprint
            for fingerprint, facts in self._by_name.get(name_hash(metadata.issuer), ())
            if is_signer(facts, metadata)
        ]
        return all(one in self._removed for one in signers) if signers else scope in self._scopes


def _joined(some: Iterable[Denial], others: Iterable[Denial]) -> tuple[Denial, ...]:
    """Return the denials of both; of one certificate the one that ends last."""
    found: dict[tuple[bytes, int], Denial] = {}
    for one in (*some, *others):
        known = found.get(one.key)
        if known is None or (
            known.until is not None and (one.until is None or one.until > known.until)
        ):
            found[one.key] = one
    return tuple(found.values())


def _names_of(issuers: Iterable[IssuerRecord]) -> dict[str, str]:
    names = {}
    for one in issuers:
        facts = published_certificate(one.certificate)
        name = "an unreadable certificate" if facts is None else name_text(facts.subject)
        names[one.fingerprint] = f"{name} ({one.fingerprint[:16]}…)"
    return names


def _by_name(change: ScopeChange) -> tuple[str, str, str]:
    return change.before or "", change.after or "", change.scope


def _digests(record: ScopeRecord | None) -> list[str]:
    return [] if record is None else [image.digest for image in record.images()]


def _text(record: ScopeRecord | None) -> str | None:
    if record is None:
        return None
    return " and ".join(crl_text(image.metadata) for image in record.images())


def _order(record: ScopeRecord) -> tuple[int, datetime]:
    metadata = (record.delta or record.base).metadata
    return metadata.crl_number or 0, metadata.this_update
