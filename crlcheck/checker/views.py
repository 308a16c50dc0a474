"""
Load the part of a published set that a verdict needs, and keep the last parts in use.

A **view** is what is needed for the certificates of one issuer: all that the set has under
the issuer's name, under the names of the CRL issuers that a certificate's distribution
points name, and under the names of all trusted issuers above these. It is made into a
``Snapshot``, and ``path`` decides by it as by the whole set.

1. A view is kept for an issuer's name, where all scopes of that issuer are read together and
   the certificate names no CRL issuer. Otherwise it is kept for the name and the
   distribution points: of an issuer with many scopes only those are read that may cover the
   certificate, and the explanation of an OUT_OF_SCOPE reads the short list of the others.
2. The least recently used views are dropped where all together have more than so many
   records. A view that is needed again is read again.
3. At a refresh the views are taken over by the next generation. A view of which no entry has
   changed stays as it is. Any other is read anew before the next generation is used, and so
   are the images that replace loaded ones. So a generation of which an object that is
   needed is missing or damaged never replaces one that works.

For example, 3,000 issuers have a CRL each, and certificates of 5 of them come. A checker
holds 5 views, each with the issuer's CRL and that of the root above it. One of the 5 issuers
publishes a CRL: one leaf of the tree and one image are read, and 4 views stay.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.entries import (
    INDIRECT,
    is_reference,
    name_hash,
    point_hash,
    points_of,
    read_key,
    scopes_prefix,
)
from crlcheck.catalog.published_set import PublishedSet, names_needed_by
from crlcheck.catalog.tree import Reference
from crlcheck.checker.attempts import Attempts
from crlcheck.checker.image_cache import CachedImage
from crlcheck.checker.images import Images
from crlcheck.checker.remembered import Memory
from crlcheck.checker.scope import Coverage, TrustedIssuer
from crlcheck.checker.snapshot import Snapshot, Trust, facts_of, snapshot_of_catalog
from crlcheck.encoding.names import directory_name, name_key
from crlcheck.encoding.strict_json import canonical_json
from crlcheck.errors import CatalogDamagedError, CrlCheckError
from crlcheck.types import (
    CertificateFacts,
    CrlWarning,
    DistributionPoint,
    ImageMetadata,
    UndeterminedCause,
)

MAX_CRL_ISSUERS = 16
"""How many CRL issuers the distribution points of one certificate may name."""

_CAPACITY = 16_384
"""Records that all views together may have: of 3,000 issuers below one root about so many."""

# A larger view, which the question for a serial number may need, is not read again at a
# refresh: it would delay all checks. It is read again when it is needed.
_LARGE = 1_024

# Bytes of a certificate that count as one record.
_BYTES_OF_RECORD = 4_096

_MAX_EXPLAINED = 256

_EVERYTHING = "everything"

Need: TypeAlias = tuple[bytes, frozenset[str] | None]
"""An issuer name, and P(p) of the distribution points that are needed under it; None for all."""


class Question(NamedTuple):
    """
    What a view is for: the names that are needed, and those of all indirect CRLs or not.

    Of the names above them all is read that their certificates need.
    """

    needs: tuple[Need, ...]
    all_indirect: bool = False


class UnansweredError(Exception):
    """
    No view can be had for a question, so its certificates are UNDETERMINED.

    ``may_be_superseded`` tells that an object is missing or damaged, which the store's next
    generation may not need any more.
    """

    def __init__(
        self, cause: UndeterminedCause, reason: str, *, may_be_superseded: bool = False
    ) -> None:
        super().__init__(reason)
        self.cause = cause
        self.reason = reason
        self.may_be_superseded = may_be_superseded


class OneView:
    """The view of open indexes: all questions are answered by one snapshot."""

    published = None

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._view = View(None, 1)
        self._view.snapshot = snapshot
        self.memory: Memory | None = None

    def of_certificate(self, _: CertificateFacts) -> View:
        """Return the only view."""
        return self._view

    def of_path(self, _: Sequence[CertificateFacts]) -> Snapshot:
        """Return the snapshot."""
        return self.snapshot

    def of_serials(
        self,
        _: Sequence[CertificateFacts],
        *,
        any_points: bool,  # noqa: ARG002 - one has all points
    ) -> Snapshot:
        """Return the snapshot."""
        return self.snapshot

    def issuers_named(self, name: bytes) -> Iterator[CertificateFacts]:
        """Yield the trusted certificates of a subject."""
        return _issuers_named(self.snapshot, name)

    def every_image(self) -> Iterator[CachedImage]:
        """Yield the images, each delta after its complete CRL."""
        return self.snapshot.all_images()

    def explained(self, _: Snapshot, __: CertificateFacts, coverage: Coverage) -> Coverage:
        """Return *coverage* as it is: the snapshot has all CRLs."""
        return coverage

    def may_have_crls(
        self, snapshot: Snapshot, certificate: CertificateFacts, coverage: Coverage
    ) -> bool:
        """Return what the snapshot's table says."""
        return snapshot.table.may_have_crls(certificate, coverage)


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Part:
    """
    What the tree has under some keys, and from where.

    ``prefixes`` are how its keys begin, ``leaves`` the leaves that may have them, and
    ``digest`` that of the entries. ``order`` has the key of each scope's record, ``above``
    what the trusted certificates in it need, and ``indirect`` the names in the list of
    indirect CRLs.
    """

    prefixes: tuple[str, ...]
    leaves: tuple[Reference, ...]
    digest: bytes
    catalog: Catalog
    order: Mapping[str, str]
    above: Sequence[Need]
    indirect: Sequence[bytes] = ()


class View:
    """
    A view, loaded when it is first needed; one thread loads, the others wait.

    ``is_held`` tells that it has not been dropped. What is remembered of a view that was
    dropped is not used, so that a view that answers is always one that a refresh takes over.
    """

    __slots__ = (
        "is_held",
        "is_used",
        "lock",
        "own_weight",
        "parts",
        "question",
        "snapshot",
        "weight",
    )

    def __init__(self, question: Question | None, weight: int) -> None:
        self.question = question
        self.own_weight = self.weight = weight
        self.is_used = self.is_held = True
        self.snapshot: Snapshot | None = None
        self.parts: tuple[_Part, ...] = ()
        self.lock = threading.Lock()

    @property
    def loaded(self) -> Snapshot:
        """The snapshot of a view that was loaded."""
        assert self.snapshot is not None, "it is loaded"
        return self.snapshot


class Views:
    """
    The views of one generation. Threads may share them.

    *images* gives out their images, the same ones to all generations of a store.
    """

    def __init__(self, published: PublishedSet, trust: Trust, images: Images) -> None:
        self.published = published
        self._trust = trust
        self._images = images
        self._is_whole = published.format1 is not None
        self._views: OrderedDict[Hashable, View] = OrderedDict()
        self._weight = 0
        self._parts: weakref.WeakValueDictionary[str, _Part] = weakref.WeakValueDictionary()
        self._attempts = Attempts()
        self.outdated: set[str] = set()
        """Nodes that the views of the generation before needed, and these do not."""
        self._explained: dict[Hashable, tuple[Coverage, bool]] = {}
        self._lock = threading.Lock()
        self.memory: Memory | None = None

    # ---- questions -----------------------------------------------------------------

    def of_certificate(self, certificate: CertificateFacts) -> View:
        """
        Return the view for the verdict on a certificate, loaded.

        Raises:
            UnansweredError: there is none.
        """
        points = certificate.distribution_points
        if not points or not _names_crl_issuer(points):
            view = self._views.get(certificate.issuer)
            if view is not None and view.snapshot is not None:
                view.is_used = True
                return view
        return self._find((certificate,), ())

    def of_path(self, path: Sequence[CertificateFacts]) -> Snapshot:
        """
        Return the view for the verdict on a path that is given.

        Raises: as ``of_certificate``.
        """
        also = [(certificate.subject, frozenset[str]()) for certificate in path[1:]]
        return self._find(path, also).loaded

    def of_serials(self, certificates: Sequence[CertificateFacts], *, any_points: bool) -> Snapshot:
        """
        Return the view for certificates that differ in their serial numbers alone.

        Raises: as ``of_certificate``.
        """
        if not any_points:
            return self._find(certificates[:1], ()).loaded
        issuer = certificates[0].issuer
        question = Question(((issuer, None),), all_indirect=True)
        with _answering():
            return self._view((issuer, None), question, 1).loaded

    def everything(self) -> Snapshot:
        """
        Return the view of the whole set.

        Raises: as ``of_certificate``.
        """
        with _answering():
            return self._view(_EVERYTHING, None, 1).loaded

    def of_issuer(self, name: bytes) -> Snapshot:
        """
        Return the view for certificates of an issuer that name no distribution point.

        Raises: as ``of_certificate``.
        """
        with _answering():
            if self._is_whole:
                return self._view(_EVERYTHING, None, 1).loaded
            return self._of_issuer(name).loaded

    def issuers_named(self, name: bytes) -> Iterator[CertificateFacts]:
        """
        Yield the trusted certificates of a subject.

        Raises: as ``of_certificate``.
        """
        return _issuers_named(self.of_issuer(name), name)

    def _of_issuer(self, name: bytes) -> View:
        if self.published.is_small(name):
            return self._view(name, Question(((name, frozenset()),)), 1)
        points = None if self._trust.waive_points else frozenset[str]()
        return self._view((((name, ()),), ()), Question(((name, points),)), 1)

    def first(self) -> Iterator[Snapshot]:
        """
        Yield the views of the first issuers that have CRLs.

        Raises: as ``of_certificate``.
        """
        with _answering():
            names: dict[str, None] = {}
            for record in self.published.scopes():
                issuer = record.base.metadata.issuer
                home = name_hash(issuer)
                if home not in names:
                    names[home] = None
                    yield self.of_issuer(issuer)

    def _find(self, path: Sequence[CertificateFacts], also: Sequence[Need]) -> View:
        for certificate in path:
            _check_crl_issuers(certificate)
        with _answering():
            if self._is_whole:
                return self._view(_EVERYTHING, None, 1)
            first = path[0]
            if (
                len(path) == 1
                and not _names_crl_issuer(first.distribution_points)
                and self.published.is_small(first.issuer)
            ):
                return self._of_issuer(first.issuer)
            needs = itertools.chain.from_iterable(map(self._needs_of, path))
            # Facts that a certificate of the same question may not have do not matter here.
            key = tuple((one.issuer, one.distribution_points) for one in path), tuple(also)
            size = sum(len(one.der) for one in path)
            return self._view(key, Question((*needs, *also)), 1 + size // _BYTES_OF_RECORD)

    def _needs_of(self, certificate: CertificateFacts) -> list[Need]:
        """Return what a verdict on a certificate needs, without what is above."""
        if self._trust.waive_points and not certificate.distribution_points:
            return [(certificate.issuer, None)]
        return [
            (name, frozenset(map(point_hash, points)))
            for name, points in names_needed_by(certificate)
        ]

    # ---- views -----------------------------------------------------------------------

    def _view(self, key: Hashable, question: Question | None, weight: int) -> View:
        """Return a view, read if it is not held. Raises as ``_load``."""
        with self._lock:
            view = self._views.get(key)
            if view is None:
                view = self._views[key] = View(question, weight)
                self._weight += weight
                self._make_room(view)
        view.is_used = True
        if view.snapshot is not None:
            return view
        with view.lock:
            if view.snapshot is None:
                self._attempts.require_due(key)
                try:
                    snapshot, parts = self._load(question)
                except (CrlCheckError, OSError) as error:
                    self._attempts.note(key, error)
                    raise
                self._attempts.forget(key)
                view.parts, view.snapshot = parts, snapshot
                self._weigh(key, view)
        return view

    def _weigh(self, key: Hashable, view: View) -> None:
        more = len(view.loaded.images) + sum(len(one.catalog.issuers) for one in view.parts)
        with self._lock:
            view.weight += more
            if self._views.get(key) is view:
                self._weight += more
                self._make_room(view)

    def _make_room(self, but: View) -> None:
        """Drop views that were not used lately, the oldest first; the caller holds the lock."""
        num_spared, num_held = 0, len(self._views)
        while self._weight > _CAPACITY and len(self._views) > 1:
            key, view = next(iter(self._views.items()))
            if view is but or (view.is_used and num_spared < len(self._views)):
                view.is_used = False
                num_spared += 1
                self._views.move_to_end(key)
            else:
                del self._views[key]
                self._weight -= view.weight
                view.is_held = False
        if self.memory is not None and len(self._views) < num_held:
            self.memory.forget_dropped()

    def _held(self) -> list[tuple[Hashable, View]]:
        """Return the views that are loaded, the oldest first."""
        with self._lock:
            return [(key, view) for key, view in self._views.items() if view.snapshot is not None]

    def snapshots(self) -> list[Snapshot]:
        """Return the views that are held."""
        return [view.snapshot for _, view in self._held() if view.snapshot is not None]

    def all_images(self) -> Iterator[CachedImage]:
        """Yield the images of the views that are held."""
        for snapshot in self.snapshots():
            yield from snapshot.all_images()

    def every_image(self) -> Iterator[CachedImage]:
        """
        Yield the images of the whole set, each delta after its complete CRL.

        Raises:
            StoreError: a part cannot be read.
            IndexFileError: the CRL of an image was not verified.
        """
        for record in self.published.scopes():
            yield from map(self._images.image_of, record.images())

    def own_issuers(self) -> Iterator[tuple[str, bytes]]:
        """Yield H(n) and the names of the checker's own trusted issuers."""
        for home, issuers in self._trust.issuers_at.items():
            yield home, issuers[0].certificate.subject

    @property
    def own_trusted(self) -> Sequence[TrustedIssuer]:
        """The checker's own trusted issuers."""
        return self._trust.issuers

    # ---- reading ---------------------------------------------------------------------

    def _load(self, question: Question | None) -> tuple[Snapshot, tuple[_Part, ...]]:
        """
        Read a view; without a question that of the whole set.

        Raises:
            CatalogDamagedError: an object is missing or damaged.
            StoreError: the store does not answer.
            IndexFileError: the CRL of an image was not verified.
            CertificateError: an issuer certificate cannot be read.
        """
        if self.published.format1 is not None:
            catalog = self.published.format1.catalog
            return snapshot_of_catalog(catalog, self._trust, self._images), ()
        if question is None:
            part = self._part("")
            return snapshot_of_catalog(part.catalog, self._trust, self._images), (part,)
        parts, homes = self._closure(question)
        partial = frozenset(home for home in homes if f"{home}/" not in parts)
        found = tuple(parts.values())
        snapshot = snapshot_of_catalog(
            self._joined(found), self._trust, self._images, homes=homes, partial=partial
        )
        return snapshot, found

    def _closure(self, question: Question) -> tuple[dict[str, _Part], set[str]]:
        """Return the parts that a question needs, by prefix, and the hashes of their names."""
        parts: dict[str, _Part] = {}
        homes: set[str] = set()
        done: set[Need] = set()
        waiting = list(question.needs)
        if question.all_indirect:
            parts[INDIRECT] = self._part(INDIRECT)
            waiting += [(name, None) for name in parts[INDIRECT].indirect]
        while waiting:
            need = waiting.pop()
            if need in done:
                continue
            done.add(need)
            name, points = need
            home = name_hash(name)
            if home not in homes:
                homes.add(home)
                for one in self._trust.issuers_at.get(home, ()):
                    waiting += self._needs_of(one.certificate)
            for prefix in self.published.prefixes(name, points):
                if prefix not in parts:
                    part = parts[prefix] = self._part(prefix)
                    waiting += part.above
        return parts, homes

    def _part(self, prefix: str) -> _Part:
        with self._lock:
            part = self._parts.get(prefix)
        if part is None:
            part = self._read(prefix)
            with self._lock:
                part = self._parts.setdefault(prefix, part)
        return part

    def _read(self, prefix: str) -> _Part:
        published = self.published
        entries = published.entries_with(prefix)
        others = sorted(key for key in entries if not key.startswith(prefix))
        prefixes = (prefix, *others)
        catalog = published.part_of(entries, prefix)
        order = {
            place.name: key
            for key, value in entries.items()
            if (place := read_key(key)) is not None
            and place.kind == "s"
            and not is_reference(value)
        }
        above = [
            need
            for issuer in catalog.issuers
            for need in self._needs_of(facts_of(issuer.certificate))
        ]
        return _Part(
            prefixes,
            self._leaves(prefixes),
            hashlib.sha256(canonical_json(entries)).digest(),
            catalog,
            order,
            above,
            published.indirect(entries) if prefix == INDIRECT else (),
        )

    def _leaves(self, prefixes: Iterable[str]) -> tuple[Reference, ...]:
        return tuple(itertools.chain.from_iterable(map(self.published.leaves_with, prefixes)))

    def _joined(self, parts: Iterable[_Part]) -> Catalog:
        """Return the catalog of all *parts*, its scopes in the order that the whole set has."""
        parts = list(parts)
        places = {scope: (key, part) for part in parts for scope, key in part.order.items()}
        in_order = sorted(places.items(), key=lambda item: item[1][0])
        return Catalog(
            self.published.generation,
            {scope: part.catalog.scopes[scope] for scope, (_, part) in in_order},
            tuple(one for part in parts for one in part.catalog.issuers),
            {key: one for part in parts for key, one in part.catalog.tombstones.items()},
            removed_issuers={
                key: one for part in parts for key, one in part.catalog.removed_issuers.items()
            },
            settings=self.published.root.settings,
        )

    # ---- the next generation -----------------------------------------------------------

    def followed_by(self, published: PublishedSet) -> Views:
        """
        Return the views of a later set, with all that is held here.

        Raises: as ``_load``, and as ``CachedImage.index`` where the successor of a loaded
            image cannot be loaded.
        """
        newer = Views(published, self._trust, self._images)
        if self.published.root.top not in (None, published.root.top):
            newer.outdated.add(self.published.root.top.name)
        needed = self._images.open_scopes()
        rebuilt: list[View] = []
        if newer._is_whole:
            if self._held():
                rebuilt.append(newer._view(_EVERYTHING, None, 1))
        elif self._is_whole:
            names = {image.metadata.issuer for image in self.all_images() if image.is_open}
            rebuilt += map(newer._of_issuer, sorted(names))
        else:
            same_settings = self.published.root.settings == published.root.settings
            carried = _Carried(newer)
            for key, view in self._held():
                if same_settings and carried.has_all(view.parts):
                    newer._adopt(key, view)
                elif newer._reads_again(key, view):
                    rebuilt.append(newer._view(key, view.question, view.own_weight))
        for image in (image for view in rebuilt for image in view.loaded.all_images()):
            if image.scope in needed:
                image.index()
        return newer

    def _adopt(self, key: Hashable, view: View) -> None:
        # An object of its own: what these views drop is not dropped from those before.
        own = self._views[key] = View(view.question, view.own_weight)
        own.weight, own.is_used = view.weight, view.is_used
        own.parts, own.snapshot = view.parts, view.snapshot
        self._weight += own.weight

    def _reads_again(self, key: Hashable, view: View) -> bool:
        """Whether a view is read again at a refresh, rather than when it is needed."""
        if view.question is None or view.weight > _LARGE:
            return False
        # An issuer whose scopes are not read together any more has views by point.
        return not isinstance(key, bytes) or self.published.is_small(key)

    def after_fork(self) -> None:
        """Make new locks: the threads that may hold the old ones are the parent's."""
        self._lock = threading.Lock()
        self._attempts.after_fork()
        for view in list(self._views.values()):
            view.lock = threading.Lock()

    # ---- an issuer with many scopes ------------------------------------------------------

    def explained(
        self, snapshot: Snapshot, certificate: CertificateFacts, coverage: Coverage
    ) -> Coverage:
        """
        Return the coverage of a certificate that no CRL covers, as the whole set has it.

        Where only some scopes of its issuer are in the view, the others are counted, and the
        nearest one is found, by the short list of the issuer's scopes.

        Raises:
            StoreError: the list cannot be read.
        """
        if not snapshot.partial:
            return coverage
        found, _ = self._by_lists(snapshot, certificate, coverage)
        return replace(coverage, num_inapplicable=found.num_inapplicable, nearest=found.nearest)

    def may_have_crls(
        self, snapshot: Snapshot, certificate: CertificateFacts, coverage: Coverage
    ) -> bool:
        """
        Return what ``ScopeTable.may_have_crls`` says of the whole set.

        Raises: as ``explained``.
        """
        if snapshot.table.may_have_crls(certificate, coverage):
            return True
        return bool(snapshot.partial) and self._by_lists(snapshot, certificate, coverage)[1]

    def _by_lists(
        self, snapshot: Snapshot, certificate: CertificateFacts, coverage: Coverage
    ) -> tuple[Coverage, bool]:
        """Return the coverage by all CRLs, and whether one not in the view may be of an issuer."""
        question = (
            snapshot.partial,
            name_hash(certificate.issuer),
            tuple(key.key_hash for key in coverage.issuers),
            certificate.is_ca,
            certificate.distribution_points,
        )
        known = self._explained.get(question)
        if known is None:
            known = self._explain(snapshot, certificate, coverage)
            if len(self._explained) >= _MAX_EXPLAINED:
                self._explained.clear()
            self._explained[question] = known
        return known

    def _explain(
        self,
        snapshot: Snapshot,
        certificate: CertificateFacts,
        coverage: Coverage,
    ) -> tuple[Coverage, bool]:
        may_be_any = any(
            snapshot.table.is_indirect(metadata)
            for name in _crl_issuers(certificate)
            if name_hash(name) in snapshot.partial
            for _, _, metadata, _ in self._listed(name)
        )
        issuer = certificate.issuer
        if name_hash(issuer) not in snapshot.partial:
            return coverage, may_be_any
        # In the order of the records' keys, as the whole set has them.
        listed = sorted(self._listed(issuer), key=lambda entry: entry[:2])
        crls = [(metadata, any_point) for _, _, metadata, any_point in listed]
        found, may_be_own = snapshot.table.among(certificate, coverage.issuers, crls)
        where = f"{scopes_prefix(issuer)}: the short list of scopes"
        if found.cause is None:
            raise CatalogDamagedError(
                f"{self.published.nodes.store.url}: {where} has one that covers "
                f"serial number {certificate.serial_number:x}, which is not among the records",
                name=where,
                found="damaged",
            )
        nearest = None
        for point, scope, metadata, _ in listed:
            if metadata is found.nearest:
                prefix = f"{scopes_prefix(issuer, point)}{scope}"
                part = self.published.part_of(self.published.entries_with(prefix), prefix)
                if scope not in part.scopes:
                    raise CatalogDamagedError(
                        f"{self.published.nodes.store.url}: {where} has {scope}, which is missing",
                        name=where,
                        found="damaged",
                    )
                nearest = part.scopes[scope].base.metadata
        return replace(found, nearest=nearest), may_be_any or may_be_own

    def _listed(self, name: bytes) -> Iterator[tuple[str, str, ImageMetadata, bool]]:
        """Yield P(p) and the key of each scope of an issuer, and what the short list says."""
        issuer_hash = hashlib.sha256(name_key(name)).digest()
        for one in self.published.listed(name):
            metadata = _metadata_of(name, issuer_hash, one.idp, one.verifier)
            yield points_of(metadata)[0], one.scope, metadata, one.any_point

    def section(self, needs: Iterable[Need]) -> Snapshot:
        """Read a view that is not kept. Raises: as ``_load``."""
        return self._load(Question(tuple(needs)))[0]


class _Carried:
    """Finds out which parts of an earlier generation have not changed in *newer*."""

    def __init__(self, newer: Views) -> None:
        self._newer = newer
        self._unchanged: dict[str, _Part | None] = {}
        # Kept until all views are made, so that no part is read twice.
        self._read: list[_Part] = []

    def has_all(self, parts: Iterable[_Part]) -> bool:
        """Whether none of *parts* has changed. Raises as ``Views._load``."""
        return sum(not self._has(part) for part in parts) == 0  # each of them is looked at

    def _has(self, part: _Part) -> bool:
        prefix = part.prefixes[0]
        if prefix not in self._unchanged:
            self._unchanged[prefix] = part if self._is_unchanged(part) else None
        return self._unchanged[prefix] is part

    def _is_unchanged(self, part: _Part) -> bool:
        newer, prefix = self._newer, part.prefixes[0]
        leaves = newer._leaves(part.prefixes)
        if leaves != part.leaves:
            newer.outdated |= {one.name for one in part.leaves} - {one.name for one in leaves}
            now = newer._read(prefix)
            if now.digest != part.digest:
                self._read.append(now)
                newer._parts[prefix] = now
                return False
            # The same entries in other leaves, because their neighbours have changed.
            part.leaves = leaves
        newer._parts[prefix] = part
        return True


def _metadata_of(
    issuer: bytes, issuer_hash: bytes, idp: bytes | None, verifier: bytes | None
) -> ImageMetadata:
    """Return what the short list says of a complete CRL; the other fields mean nothing."""
    return ImageMetadata(
        version=0,
        issuer=issuer,
        issuer_hash=issuer_hash,
        authority_key_id=None,
        verifier_key_hash=verifier,
        verifier_subject_key_id=None,
        issuing_distribution_point=idp,
        crl_number=None,
        base_crl_number=None,
        this_update=_NO_TIME,
        next_update=None,
        expired_certs_on_crl=None,
        signature_algorithm="",
        tbs_digest="",
        num_entries=0,
        num_duplicates=0,
        attributes=False,
        warnings=CrlWarning(0),
    )


_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def _issuers_named(snapshot: Snapshot, name: bytes) -> Iterator[CertificateFacts]:
    keys = snapshot.table.issuers.named(name)
    return (one.facts for key in keys for one in key.certificates)


def _names_crl_issuer(points: Iterable[DistributionPoint]) -> bool:
    return any(point.crl_issuers for point in points)


def _crl_issuers(certificate: CertificateFacts) -> Iterator[bytes]:
    """Yield the CRL issuers that a certificate's distribution points name."""
    for point in certificate.distribution_points:
        yield from filter(None, map(directory_name, point.crl_issuers))


def _check_crl_issuers(certificate: CertificateFacts) -> None:
    """
    Refuse to look up more CRL issuers than a certificate of a real CA names.

    Raises:
        UnansweredError: it names more.
    """
    names = set(map(name_key, _crl_issuers(certificate)))
    if len(names) > MAX_CRL_ISSUERS:
        raise UnansweredError(
            UndeterminedCause.OUT_OF_SCOPE,
            f"its distribution points name {len(names)} CRL issuers, and the CRLs of at most "
            f"{MAX_CRL_ISSUERS} are looked up",
        )


class _answering:  # noqa: N801 - a context manager
    """Turns what cannot be read into an UnansweredError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, CrlCheckError | OSError):
            raise UnansweredError(
                UndeterminedCause.STORE_UNAVAILABLE,
                f"the part of the published set that it needs cannot be read: {error}",
                may_be_superseded=isinstance(error, CatalogDamagedError),
            ) from error
