"""
Verify a published set: the root and every object that it leads to; repair what has a copy.

These are the steps:

1. The root can be read, is signed by an accepted key where keys are given, and is the root
   that its own history record proposes.
2. Every node has the digest and the size that its reference says. Its keys lie in its range,
   each entry lies under the key of its own issuer and distribution point, and the reference
   says when the first CRL below goes stale.
3. The entries fit together: each scope has its places in the tree, and no others are there.
   The root has the right numbers of scopes, of trusted and of removed issuers.
4. Every image has the digest and the size that its scope's record says, and its header is
   what the record says of it.
5. The denials can be read.
6. The history can be read from the root back to the oldest record that clean-up has kept.
   No later generation was published than that of the root.
7. Objects that no generation names are counted. They do no harm, and clean-up deletes them.

An object is repaired by writing the very bytes that the root leads to, so a repair makes no
new generation.

For example, the image of one scope is damaged, and a mirror has it. It is copied from there
under its own name. Services that refused it before can use it from their next look on.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from crlcheck.catalog.catalog import IMAGE_PREFIX, PublishedImage, ScopeRecord
from crlcheck.catalog.descriptions import crl_text, scope_text, some_of
from crlcheck.catalog.earlier import latest_readable
from crlcheck.catalog.entries import (
    catalog_of,
    entries_of,
    points_of,
    scopes_prefix,
    staleness_of_entry,
)
from crlcheck.catalog.given_up import given_up_since
from crlcheck.catalog.history import (
    HistoryRecord,
    generation_in,
    latest_listed,
    listed,
    read_listed,
)
from crlcheck.catalog.published_set import (
    PublishedSet,
    read_denials,
    read_set,
)
from crlcheck.catalog.root import CATALOG_NAME, Certificates, Root
from crlcheck.catalog.tree import NODE_PREFIX, Node, Reference, Staleness, read_object, walk
from crlcheck.encoding.strict_json import canonical_json
from crlcheck.errors import (
    CatalogDamagedError,
    CorruptIndexError,
    IndexFileError,
    RootSignatureError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.image.index import open_index
from crlcheck.publisher.copies import Copies, Origin, check_image
from crlcheck.remedies import remedy_of
from crlcheck.signing.root_key import RootKey, read_root_keys
from crlcheck.signing.statement import verify_root
from crlcheck.stores import ObjectStore, open_for_writing, open_store
from crlcheck.times import given_time
from crlcheck.types import several

_JOBS = 8
_MAX_TRIES = 5
_MAX_AHEAD = 256 << 20  # bytes of images that are read at once

RESTORE = "crlcheck restore, from a mirror, from CRLs or from an earlier generation"
_REPAIR_IMAGE = "crlcheck verify STORE --repair-from the CRL or a mirror"
_REPAIR = f"crlcheck verify STORE --repair-from a mirror; without one {RESTORE}"
_HISTORY_ENDS = (
    "the history ends there: what came before cannot be shown, and clean-up cannot tell which "
    "objects are not used any more"
)
_NODE_LOST = (
    "the trusted issuers and the scopes in it cannot be read: their certificates are undetermined"
)
_RIGHTS = "repair it as somebody who may write to the store"
_LOOK = "look for who writes to the store besides crlcheck"


@dataclass(frozen=True, slots=True)
class StoreFault:
    """
    Something that is wrong in a store.

    ``name`` is the object. ``found`` is a stable word: ``"missing"``, ``"damaged"``,
    ``"unreadable"``, ``"misplaced"`` (an entry under a key that is not its own),
    ``"miscounted"``, ``"unsigned"`` or ``"set_back"``. ``detail`` says what was expected and
    found, ``means`` what follows from it, and ``remedy`` what can be done. ``scopes`` are the
    scopes that are affected. ``repaired_from`` is where a copy of the object was found, ""
    where it is not repaired.
    """

    name: str
    found: str
    detail: str
    means: str
    remedy: str
    scopes: tuple[str, ...] = ()
    repaired_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """
    What was verified in a store.

    ``generation`` and ``at`` are those of the root, None where it cannot be read.
    ``num_bytes`` counts those of all objects that were read. ``history_from`` is the oldest
    generation that the history has, None where it has none. ``later_generation`` is the
    latest one that the history has and the root does not lead to, where it is later than the
    root's: its writer failed or is at work, or somebody put an old root back. None without
    such a record. ``num_leftover_records`` are
    records to which the root does not lead: of generations that were never published, or were
    lost when somebody put an old root back. ``history_error`` says why a web server refuses the
    history, which is no fault: checkers do not read it. ``num_waiting`` are objects that are
    not used any more and wait for clean-up; ``num_unnamed`` are objects that nothing names.
    """

    generation: int | None
    at: datetime | None
    num_scopes: int = 0
    num_issuers: int = 0
    num_nodes: int = 0
    num_images: int = 0
    num_records: int = 0
    num_bytes: int = 0
    num_denials: int = 0
    history_from: int | None = None
    later_generation: int | None = None
    num_leftover_records: int = 0
    num_waiting: int = 0
    num_unnamed: int = 0
    num_faults: int = 0
    num_repaired: int = 0
    history_error: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong, or all of it was repaired."""
        return self.num_faults == self.num_repaired


def verify_store(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    repair_from: Iterable[Origin] = (),
    root_keys: Iterable[RootKey | str] | str | None = None,
    now: datetime | None = None,
    on_fault: Callable[[StoreFault], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """
    Verify all that a store has published; repair objects of which *repair_from* has a copy.

    Args:
        store: as for ``publish_crl``.
        repair_from: mirrors of the store, and files or directories of CRLs. An object of
            the right digest is copied from a mirror. An image is also compiled anew from
            its CRL. Nodes and records can be copied only. Without any, nothing is written;
            the store itself may be named, which can have another copy of an image.
        root_keys: keys of which one must have signed the root; without them its
            signatures are not looked at.
        now: the time at which a signature must hold, UTC; by default the clock's.
        on_fault: is called with each fault, when it is known whether it is repaired.
        progress: is called with the number of scopes that are verified, and of all.

    Of a store that can only be read by name, such as one at an ``https://`` URL, the objects
    that nothing names are not counted.

    The set is read part by part, so a store of any size takes little memory. A publication
    meanwhile is no fault.

    Raises:
        StoreUnavailableError: the store does not answer.
        OSError: one of *repair_from* cannot be read.
    """
    copied_from = [*several("repair_from", repair_from)]
    target = open_for_writing(store) if copied_from else open_store(store)
    copies = Copies(target, copied_from)
    told: set[StoreFault] = set()

    def tell(fault: StoreFault) -> None:
        if fault not in told and on_fault is not None:
            on_fault(fault)
        told.add(fault)

    keys = () if root_keys is None else read_root_keys(root_keys)
    for _ in range(_MAX_TRIES):
        verification = _Verification(target, copies, keys, given_time(now), tell, progress)
        report = verification.run()
        if not verification.was_overtaken:
            break
    return report


@dataclass(frozen=True, slots=True)
class _LostNode:
    """A node that cannot be read, with the range of keys that lie below it."""

    fault: StoreFault
    low: str
    high: str | None


class _Verification:
    """One run; each method is a step of the module's docstring."""

    def __init__(
        self,
        store: ObjectStore,
        copies: Copies,
        keys: Sequence[RootKey],
        now: datetime,
        on_fault: Callable[[StoreFault], None],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.was_overtaken = False
        self._store = store
        self._copies = copies
        self._keys = keys
        self._now = now
        self._can_list = not getattr(store, "is_read_only", False)
        self._on_fault = on_fault
        self._progress = progress
        self._report = VerifyReport(generation=None, at=None)
        self._held: PublishedSet
        self._lost: list[_LostNode] = []
        self._unrepaired: dict[str, list[tuple[PublishedImage, StoreFault]]] = {}
        self._expected = self._found = 0  # sums over the entries that depend on others
        self._trusted = self._removed = Certificates()
        self._num_present = 0  # images and nodes that the set uses and the store has

    def run(self) -> VerifyReport:
        root = self._read_root()
        if root is None:
            return self._report
        self._verify_denials(root)
        if self._held.format1 is None:
            top = root.top
            if top is not None:
                self._verify_images(self._walk(top, None, "", None), root.num_scopes)
            self._verify_whole(root)
        else:
            scopes = self._held.format1.catalog.scopes
            self._verify_images(iter(scopes.values()), len(scopes))
        self._compile_missing()
        given_up = self._verify_history_if_served(root) if self._held.format1 is None else set()
        if self._can_list:
            self._count_unnamed(given_up)
        self._report_lost_nodes()
        return self._report

    # ---- reporting -----------------------------------------------------------------

    def _count(self, **more: int) -> None:
        changes = {name: getattr(self._report, name) + number for name, number in more.items()}
        self._report = replace(self._report, **changes)

    def _tell(self, fault: StoreFault) -> None:
        self._count(num_faults=1, num_repaired=int(bool(fault.repaired_from)))
        self._on_fault(fault)

    # ---- step 1: the root -------------------------------------------------------------

    def _read_root(self) -> Root | None:
        try:
            held, etag = read_set(self._store)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            self._tell_root("unreadable", str(error))
            return None
        if etag is None:
            self._tell_root("missing", f"{CATALOG_NAME} is missing: nothing is published")
            return None
        self._held = held
        root = held.root
        at = root.at if held.format1 is None else None
        self._report = replace(self._report, generation=root.generation, at=at)
        if self._keys:
            try:
                verify_root(held.members or {}, self._keys, now=self._now)
            except RootSignatureError as error:
                means = (
                    "services with these keys refuse the set; those that run keep the one that "
                    "they have until its signature expires; those that start now call every "
                    "certificate undetermined"
                )
                if error.reason == "expired":
                    means = "services with these keys call every certificate undetermined"
                self._tell(
                    StoreFault(
                        CATALOG_NAME, "unsigned", str(error), means, remedy_of(error) or RESTORE
                    )
                )
        return root

    def _tell_root(self, found: str, detail: str) -> None:
        latest = latest_listed(self._store) if self._can_list else 0
        known = f"; the history has generation {latest}" if latest else ""
        means = (
            "services that run keep the set that they have until it is too old; those that "
            "start now call every certificate undetermined"
        )
        remedy = f"{RESTORE} (crlcheck restore STORE --from @{latest})" if latest else RESTORE
        self._tell(StoreFault(CATALOG_NAME, found, f"{detail}{known}", means, remedy))

    # ---- step 2: the nodes --------------------------------------------------------------

    def _walk(
        self, reference: Reference, level: int | None, low: str, high: str | None
    ) -> Iterator[ScopeRecord]:
        """Verify a node and those below it; yield the scopes, one leaf at a time."""
        node = self._read_node(reference, low, high)
        if node is None:
            return
        self._count(num_nodes=1)
        if level is not None and node.level != level:
            self._tell_node(reference, f"expected a node of level {level}, found {node.level}")
            return
        if node.level == 0:
            yield from self._verify_entries(reference, node, low, high)
            return
        staleness = Staleness()
        for place, below in enumerate(node.below):
            begin = node.separators[place] if place else low
            is_last = place + 1 == len(node.below)
            end = high if is_last else node.separators[place + 1]
            if begin < low or (high is not None and end is not None and end > high):
                self._tell_node(reference, "its nodes are not in the range of its keys")
                return
            staleness = staleness.joined(below.staleness)
            yield from self._walk(below, node.level - 1, begin, end)
        self._check_staleness(reference, staleness)

    def _read_node(self, reference: Reference, low: str, high: str | None) -> Node | None:
        body, fault = self._read(reference)
        where = f"{self._store.url}/{reference.name}"
        if body is not None:
            try:
                node = Node.from_bytes(body, where)
            except CatalogDamagedError as error:
                fault = StoreFault(reference.name, "unreadable", str(error), "", _LOOK)
            else:
                if fault is not None:
                    means = "it has a part of the issuers and scopes, which can be read again"
                    if not fault.repaired_from:
                        means = _NODE_LOST
                    self._tell(replace(fault, means=means))
                return node
        if fault is not None:
            self._lost.append(_LostNode(fault, low, high))
        return None

    def _read(self, reference: Reference) -> tuple[bytes | None, StoreFault | None]:
        """Return the bytes of an object, and what was wrong with it; repair it if possible."""
        try:
            body = read_object(self._store, reference)
        except CatalogDamagedError as error:
            if error.found == "missing" and self._was_given_up(reference.name):
                self.was_overtaken = True
                return None, None
            fault = StoreFault(reference.name, error.found, str(error), "", _REPAIR)
            copy = self._copies.object(reference)
            if copy is None:
                return None, fault
            body, where = copy
            return body, self._repaired(fault, body, where)
        finally:
            self._count(num_bytes=reference.size)
            self._num_present += reference.name.startswith(NODE_PREFIX)
        return body, None

    def _tell_node(self, reference: Reference, detail: str) -> None:
        means = "a certificate may not be found, or may be found in the wrong place"
        self._tell(StoreFault(reference.name, "misplaced", detail, means, RESTORE))

    def _check_staleness(self, reference: Reference, found: Staleness) -> None:
        if found != reference.staleness:
            detail = f"expected {list(reference.staleness)} of its CRLs, found {list(found)}"
            means = "crlcheck status may not see that a CRL goes stale"
            self._tell(StoreFault(reference.name, "miscounted", detail, means, RESTORE))

    def _verify_entries(
        self, reference: Reference, leaf: Node, low: str, high: str | None
    ) -> Iterator[ScopeRecord]:
        staleness = Staleness()
        for key in sorted(leaf.entries):
            value = leaf.entries[key]
            if key < low or (high is not None and key >= high):
                self._tell_node(reference, f"{key} is not in its range of keys")
            try:
                one = staleness_of_entry(key, value)
                staleness = staleness if one is None else staleness.joined(one)
                yield from self._verify_entry(key, value)
            except (ValueError, TypeError, CorruptIndexError) as error:
                self._tell_node(reference, f"the entry {key} cannot be read: {error}")
        self._check_staleness(reference, staleness)

    def _verify_entry(self, key: str, value: Any) -> Iterator[ScopeRecord]:
        """Verify an entry by itself, and note which others it needs (step 3)."""
        if _depends(key, value):
            self._found += _hash_of(key, value)
            return
        catalog = catalog_of({key: value}, 0)
        entries = entries_of(catalog)
        if not entries:
            return  # of a kind that only a later version knows
        if entries.pop(key, None) != value:
            raise ValueError("found under a key that is not its own")
        self._expected += sum(_hash_of(other, entries[other]) for other in entries)
        self._trusted = self._trusted.joined(
            Certificates.of(one.fingerprint for one in catalog.issuers)
        )
        self._removed = self._removed.joined(Certificates.of(catalog.removed_issuers))
        yield from catalog.scopes.values()

    # ---- step 3: how the entries fit together -----------------------------------------

    def _verify_whole(self, root: Root) -> None:
        self._count(num_issuers=self._trusted.count)
        if self._lost or self.was_overtaken:
            return  # what lies in them is not known
        if (self._expected - self._found) % _MODULUS:
            self._tell_entries_that_do_not_fit(root)
        for what, stated, found in (
            ("scopes", root.num_scopes, self._report.num_scopes),
            ("trusted issuers", root.trusted, self._trusted),
            ("removed issuers", root.removed, self._removed),
        ):
            if stated != found:
                detail = f"{what}: expected {_words(stated)}, found {_words(found)}"
                means = "a publication may not notice that an issuer is new, or is gone"
                self._tell(StoreFault(CATALOG_NAME, "miscounted", detail, means, RESTORE))

    def _tell_entries_that_do_not_fit(self, root: Root) -> None:
        """Read all entries again, now all at once, to name those that do not fit."""
        expected: dict[str, int] = {}
        found: dict[str, int] = {}
        for key, value in walk(self._held.nodes, root.top):
            if _depends(key, value):
                found[key] = _hash_of(key, value)
                continue
            try:
                entries = entries_of(catalog_of({key: value}, 0))
            except (ValueError, TypeError, CorruptIndexError):
                continue  # told before
            entries.pop(key, None)
            expected |= {other: _hash_of(other, entries[other]) for other in entries}
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                what = "missing" if key not in found else "not that of any scope"
                means = "a certificate may not find the CRL that covers it"
                scope = (key.rpartition("/")[2],)
                detail = f"the entry {key} is {what}"
                self._tell(StoreFault(CATALOG_NAME, "misplaced", detail, means, RESTORE, scope))

    # ---- step 4: the images -------------------------------------------------------------

    def _verify_images(self, scopes: Iterator[ScopeRecord], total: int) -> None:
        """Verify the images of *scopes*, several at once."""
        waiting: deque[tuple[ScopeRecord, PublishedImage, Future[tuple[str, str] | None]]]
        waiting = deque()
        with ThreadPoolExecutor(_JOBS, thread_name_prefix="crlcheck-verify") as pool:
            for record in scopes:
                self._count(num_scopes=1)
                for image in record.images():
                    future = pool.submit(_fault_of_image, self._store, image)
                    waiting.append((record, image, future))
                while len(waiting) > 2 * _JOBS or _size_of(waiting) > _MAX_AHEAD:
                    self._take(*waiting.popleft())
                if self._progress is not None:
                    self._progress(self._report.num_scopes, total)
            while waiting:
                self._take(*waiting.popleft())

    def _take(
        self,
        record: ScopeRecord,
        image: PublishedImage,
        future: Future[tuple[str, str] | None],
    ) -> None:
        fault = future.result()
        self._count(num_images=1, num_bytes=image.size)
        if fault is None:
            self._num_present += 1
            return
        found, detail = fault
        if found == "missing" and self._was_given_up(image.name):
            return
        self._num_present += found != "missing"
        metadata = image.metadata
        told = StoreFault(
            image.name,
            found,
            f"{self._store.url}/{image.name} {detail}",
            f"it is {crl_text(metadata)} for {scope_text(record.base.metadata)}: services that "
            "load it call the certificates that it covers undetermined",
            _REPAIR_IMAGE,
            (record.key,),
        )
        copy = self._copies.image(image)
        if copy is not None and not self._copies:  # nobody asked for a repair
            remedy = f"crlcheck verify STORE --repair-from STORE, which has it at {copy[1]} too"
            self._tell(replace(told, remedy=remedy))
        elif copy is not None:
            self._write_image(*copy, told)
        elif self._copies.crls:
            self._unrepaired.setdefault(metadata.tbs_digest, []).append((image, told))
        else:
            self._tell(told)

    def _write_image(self, body: bytes, where: str, fault: StoreFault) -> None:
        repaired = self._repaired(fault, body, where)
        self._num_present += bool(repaired.repaired_from) and fault.found == "missing"
        self._tell(repaired)

    def _repaired(self, fault: StoreFault, body: bytes, where: str) -> StoreFault:
        """Write the object of a fault; return the fault with what came of it."""
        try:
            self._store.write(fault.name, body)
        except (OSError, StoreError) as error:
            detail = f"{fault.detail}; it was not repaired from {where}: {_reason(error)}"
            return replace(fault, detail=detail, remedy=_RIGHTS)
        return replace(fault, repaired_from=where, remedy="")

    def _compile_missing(self) -> None:
        """Make images anew from CRLs; one that differs by a byte is not used."""
        if not self._unrepaired:
            return
        wanted = {
            digest: [image for image, _ in images] for digest, images in self._unrepaired.items()
        }
        faults = {
            image.name: fault for images in self._unrepaired.values() for image, fault in images
        }
        names = {image.metadata.issuer for images in wanted.values() for image in images}
        try:
            issuers = self._held.part(names).issuer_certificates()
        except StoreError:
            issuers = ()  # they lie in a node that is lost
        for image, body, where in self._copies.compiled(wanted, issuers):
            fault = faults.pop(image.name, None)
            if fault is not None:
                self._write_image(body, where, fault)
        for fault in faults.values():
            self._tell(fault)

    # ---- step 5: the denials ---------------------------------------------------------------

    def _verify_denials(self, root: Root) -> None:
        if self._held.format1 is not None:
            self._count(num_denials=len(self._held.format1.catalog.denied))
            return
        if root.denied is None:
            return
        body, fault = self._read(root.denied)
        means = "nobody can tell which certificates an operator denied, so the set is refused"
        if fault is not None:
            self._tell(replace(fault, means=means))
        if body is None:
            return
        try:
            denied = read_denials(body, f"{self._store.url}/{root.denied.name}")
        except CatalogDamagedError as error:
            name = root.denied.name
            self._tell(StoreFault(name, "unreadable", str(error), means, RESTORE))
        else:
            self._count(num_denials=len(denied))

    # ---- step 6: the history -----------------------------------------------------------------

    def _verify_history_if_served(self, root: Root) -> set[str]:
        """Verify the history; that of a store at a URL may be kept from outsiders."""
        try:
            return self._verify_history(root)
        except StoreUnavailableError as error:
            if self._can_list or error.status not in (401, 403):
                raise
            self._report = replace(self._report, history_error=str(error))
            return set()

    def _verify_history(self, root: Root) -> set[str]:
        """Verify the chain of records; return what was given up and is not deleted yet."""
        given_up: set[str] = set()
        stored = _Listing(listed(self._store) if self._can_list else iter(()))
        for name, record in self._chain(root):
            self._count(num_records=1)
            self._report = replace(self._report, history_from=record.generation)
            stored.take(record.generation, name)
            if record.generation > root.cleaned.generation:
                given_up |= {*record.given_up}
        stored.finish()
        self._count(num_leftover_records=stored.num_others)
        if self._can_list:
            self._tell_if_set_back(root)
        return given_up

    def _chain(self, root: Root) -> Iterator[tuple[str, HistoryRecord]]:
        reference, before = root.history, root.generation + 1
        if reference is None:
            self._tell_history(CATALOG_NAME, "missing", "the root names no history record")
        while reference is not None:
            stated = generation_in(reference.name)
            if stated is None or stated >= before:
                detail = f"{reference.name}: expected the record of a generation before {before}"
                self._tell_history(reference.name, "misplaced", detail)
                return
            record = self._record(root, reference, stated)
            if record is None:
                return
            if before > root.generation:
                proposed = replace(root, history=None, signatures=())
                if proposed.members() != record.root.members():
                    detail = f"{CATALOG_NAME} is not the root that {reference.name} proposes"
                    means = "somebody other than crlcheck has written it"
                    self._tell(StoreFault(CATALOG_NAME, "damaged", detail, means, RESTORE))
            yield reference.name, record
            reference, before = record.previous, stated

    def _record(self, root: Root, reference: Reference, stated: int) -> HistoryRecord | None:
        is_first = reference == root.history
        if not is_first and stated <= root.cleaned.generation:
            # Clean-up deletes such records one day, the oldest first.
            try:
                self._store.read(reference.name)
            except FileNotFoundError:
                return None
        body, fault = self._read(reference)
        if fault is not None:
            self._tell(replace(fault, means=_HISTORY_ENDS))
        if body is None:
            return None
        where = f"{self._store.url}/{reference.name}"
        try:
            record = HistoryRecord.from_bytes(body, where)
        except CatalogDamagedError as error:
            self._tell_history(reference.name, "unreadable", str(error))
            return None
        if record.generation != stated:
            detail = f"{where}: expected generation {stated}, found {record.generation}"
            self._tell_history(reference.name, "misplaced", detail)
            return None
        return record

    def _tell_history(self, name: str, found: str, detail: str) -> None:
        self._tell(StoreFault(name, found, detail, _HISTORY_ENDS, _REPAIR))

    def _tell_if_set_back(self, root: Root) -> None:
        later = latest_listed(self._store)
        if later <= root.generation or read_set(self._store)[0].generation >= later:
            return  # none, or published meanwhile
        self._report = replace(self._report, later_generation=later)
        published = _latest_published(self._store, root.generation)
        if published is None:
            return  # one record alone proves nothing
        # The last one is followed by none that would prove it.
        last = latest_readable(self._store, above=published)
        latest = published if last is None else last.generation
        detail = (
            f"{CATALOG_NAME} is of generation {root.generation}, although generation {published} "
            "was published: somebody has put an old root back"
        )
        means = (
            "services that have seen the later generation refuse this one, except for its "
            "denials; services that start now believe it, so revocations may be lifted"
        )
        remedy = f"crlcheck restore STORE --from @{latest}"
        self._tell(StoreFault(CATALOG_NAME, "set_back", detail, means, remedy))

    # ---- step 7: objects that nothing names ------------------------------------------------

    def _count_unnamed(self, given_up: set[str]) -> None:
        stored = waiting = 0
        for prefix in (IMAGE_PREFIX, NODE_PREFIX):
            for name in self._store.names(prefix):
                stored += 1
                waiting += name in given_up
        unnamed = (
            0 if self._lost or self.was_overtaken else max(0, stored - waiting - self._num_present)
        )
        self._count(num_waiting=waiting, num_unnamed=unnamed)

    # ---- what a lost node had -----------------------------------------------------------------

    def _report_lost_nodes(self) -> None:
        """Tell which scopes are lost with a node: those of the images that nothing names now."""
        if not self._lost:
            return
        top = self._held.root.top
        assert top is not None, "a node was lost"
        again = _Verification(
            self._store, Copies(self._store, ()), (), self._now, lambda _: None, None
        )
        again._held = self._held
        readable = again._walk(top, None, "", None)
        known = {image.name for record in readable for image in record.images()}
        since = self._held.root.cleaned.generation
        given_up = given_up_since(self._store, self._held, since) or set()
        found: list[tuple[str, str, str]] = []
        for name in self._store.names(IMAGE_PREFIX) if self._can_list else ():
            if name in known or name in given_up:
                continue
            try:
                with open_index(self._store.load(name), verify=False) as index:
                    metadata = index.metadata
            except (IndexFileError, FileNotFoundError):
                continue
            point = points_of(metadata)[0]
            key = f"{scopes_prefix(metadata.issuer, point)}{metadata.scope}"
            found.append((key, metadata.scope, crl_text(metadata)))
        for lost in self._lost:
            scopes = sorted(
                {
                    (text, scope)
                    for key, scope, text in found
                    if key >= lost.low and (lost.high is None or key < lost.high)
                }
            )
            means = _NODE_LOST
            if scopes:
                means += f"; it had {some_of([text for text, _ in scopes], _MOST_SHOWN)}"
            self._tell(replace(lost.fault, means=means, scopes=tuple(scope for _, scope in scopes)))

    # ---- publications meanwhile ----------------------------------------------------------------

    def _was_given_up(self, name: str) -> bool:
        """Whether a later generation does not use an object any more, so that it may be gone."""
        try:
            current, _ = read_set(self._store)
        except StoreUnavailableError:
            raise
        except StoreError:
            return False
        if current.generation <= self._held.generation:
            return False
        given_up = given_up_since(self._store, current, self._held.generation)
        return given_up is None or name in given_up


_MODULUS: Final = 1 << 256
_MOST_SHOWN: Final = 5


def _size_of(waiting: Iterable[tuple[ScopeRecord, PublishedImage, object]]) -> int:
    return sum(image.size for _, image, _ in waiting)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the store'}: {error.strerror}"
    return str(error)


def _depends(key: str, value: Any) -> bool:
    """Whether an entry is there only because of the record of a scope elsewhere."""
    _, kind, *_ = key.split("/")
    return key.startswith("!") or kind == "x" or (kind == "s" and "at" in value)


def _hash_of(key: str, value: object) -> int:
    """Return a number for an entry; sums of it tell sets of entries apart."""
    body = key.encode("utf-8") + b"\0" + canonical_json(value)
    return int.from_bytes(hashlib.sha256(body).digest(), "big")


def _fault_of_image(store: ObjectStore, image: PublishedImage) -> tuple[str, str] | None:
    """Return what is wrong with an image, as a word and in words; None if nothing is."""
    try:
        check_image(image, store.load(image.name))
    except FileNotFoundError:
        return "missing", "is missing"
    except IndexFileError as error:
        return "damaged", f"is damaged: {error}"
    return None


def _latest_published(store: ObjectStore, held: int) -> int | None:
    """
    Return the latest generation after *held* that was surely published, None for none.

    A record names the one before it, whose root its writer has read.
    """
    for generation, name in listed(store):
        if generation <= held:
            return None
        record = read_listed(store, name)
        if record is None or record.previous is None:
            continue
        stated = generation_in(record.previous.name)
        if stated is not None and stated > held:
            return stated
    return None


@dataclass(slots=True)
class _Listing:
    """Compares the records in the store with those of the chain, both the latest first."""

    rest: Iterator[tuple[int, str]]
    num_others: int = 0
    _next: tuple[int, str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._next = next(self.rest, None)

    def take(self, generation: int, name: str) -> None:
        """Count the records in the store up to *generation*, except the one of that *name*."""
        while self._next is not None and self._next[0] >= generation:
            self.num_others += self._next[1] != name
            self._next = next(self.rest, None)

    def finish(self) -> None:
        """Count the records that are left."""
        while self._next is not None:
            self.num_others += 1
            self._next = next(self.rest, None)


def _words(counted: int | Certificates) -> str:
    if isinstance(counted, Certificates):
        return f"{counted.count:,} (digest {counted.digest:064x})"
    return f"{counted:,}"
