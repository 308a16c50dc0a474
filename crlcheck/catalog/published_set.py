"""
Read one generation of a published set, and of it only the part that is needed.

The root is read when it has changed. What lies under an issuer name is read from the tree
when somebody asks for it.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.entries import (
    ANY_POINT,
    INDIRECT,
    OWN_POINT,
    ListedScope,
    catalog_of,
    elsewhere,
    homes_of,
    is_reference,
    issuer_prefix,
    list_prefix,
    name_hash,
    point_hash,
    prefixes_beside_scopes,
    read_indirect,
    read_key,
    read_listed,
    scopes_prefix,
    subject_of,
)
from crlcheck.catalog.format1 import FORMAT, Format1, read_format1
from crlcheck.catalog.records import (
    Denial,
    IssuerRecord,
    PublishedImage,
    ScopeRecord,
    Tombstone,
)
from crlcheck.catalog.root import CATALOG_NAME, MEMBERS, NOTHING_PUBLISHED, Root
from crlcheck.catalog.tree import (
    Failed,
    NodeCache,
    NodeReader,
    Reference,
    find,
    has_few_leaves,
    leaves_with,
    read_object,
    references,
    walk,
)
from crlcheck.encoding.names import directory_name
from crlcheck.encoding.strict_json import members_of, parse_json, typed
from crlcheck.errors import (
    CatalogDamagedError,
    CatalogRollbackError,
    CorruptIndexError,
    StoreError,
)
from crlcheck.stores import ObjectStore
from crlcheck.types import CertificateFacts, DistributionPoint
from crlcheck.x509.certificates import published_certificate
from crlcheck.x509.distribution_points import (
    PointKey,
    is_named,
    keyed_points,
    point_keys,
    point_of_name,
)

# The scopes of an issuer that lie in no more leaves are read together.
_FEW_LEAVES = 2

NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class PublishedSet:
    """
    One generation of what a store has published.

    ``root`` is its root. ``format1`` has the whole set where the store's catalog is of
    format 1, and then nothing is read from the tree. ``members`` has the root in JSON as it
    was read, None where there is none.
    """

    root: Root
    nodes: NodeReader
    format1: Format1 | None = None
    members: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def generation(self) -> int:
        """The generation; 0 for a store that has nothing published."""
        return self.root.generation

    # ---- a part ------------------------------------------------------------------

    def part(
        self,
        names: Iterable[bytes],
        points: Mapping[str, Collection[PointKey]] | None = None,
    ) -> Catalog:
        """
        Return all that lies under issuer names, without denials.

        Args:
            names: DER Names, in any spelling.
            points: for the hash of a name, the names of the distribution points that are
                needed. Of an issuer with many scopes only those of these points are read,
                those without a point, and those that name the issuer itself. None for all.

        A catalog of format 1 is returned whole.

        Raises:
            CatalogDamagedError: an object is missing or damaged.
            StoreError: the store does not answer.
        """
        if self.format1 is not None:
            return self.format1.catalog
        prefixes: list[str] = []
        for home, name in sorted(homes_of(names).items()):
            needed = None if points is None else map(point_hash, points.get(home, ()))
            prefixes += self.prefixes(name, needed)
        return self._catalog(find(self.nodes, self.root.top, prefixes))

    def prefixes(self, name: bytes, points: Iterable[str] | None) -> list[str]:
        """
        Return how the keys begin of all that ``part`` reads of one issuer name.

        *points* has P(p) of each point that is needed under it; None is for all.

        Raises: as ``part``.
        """
        if points is None or self.is_small(name):
            return [issuer_prefix(name)]
        needed = {ANY_POINT, OWN_POINT, *points}
        return [
            *prefixes_beside_scopes(name),
            *(scopes_prefix(name, point) for point in sorted(needed)),
        ]

    def entries_with(self, prefix: str) -> dict[str, Any]:
        """
        Return the entries whose keys begin with *prefix*, and the records to which they refer.

        Raises: as ``part``.
        """
        entries = find(self.nodes, self.root.top, [prefix])
        try:
            missing = sorted(elsewhere(entries))
        except ValueError as error:
            raise self._unreadable(error, prefix) from error
        return {**entries, **find(self.nodes, self.root.top, missing)}

    def part_of(self, entries: Mapping[str, Any], prefix: str) -> Catalog:
        """
        Return the part of what ``entries_with`` gave for *prefix*.

        Raises:
            CatalogDamagedError: an entry cannot be read, or lies under another issuer's name.
        """
        try:
            return catalog_of(entries, self.generation, settings=self.root.settings)
        except (ValueError, CorruptIndexError) as error:
            raise self._unreadable(error, prefix) from error

    def listed(self, name: bytes) -> Iterator[ListedScope]:
        """
        Yield the short list of an issuer's scopes, one leaf at a time.

        Raises: as ``part``.
        """
        prefix = list_prefix(name)
        for key, value in walk(self.nodes, self.root.top, prefix):
            try:
                yield read_listed(key, value)
            except ValueError as error:
                raise self._unreadable(error, key) from error

    def indirect(self, entries: Mapping[str, Any]) -> list[bytes]:
        """
        Return the issuer names in what ``entries_with`` gave for the list of indirect CRLs.

        Raises: as ``part_of``.
        """
        try:
            return [read_indirect(key, value) for key, value in entries.items()]
        except ValueError as error:
            raise self._unreadable(error, INDIRECT) from error

    def _unreadable(self, error: Exception, prefix: str) -> CatalogDamagedError:
        leaves = [leaf.name for leaf in self.leaves_with(prefix)]
        return CatalogDamagedError(
            f"{self.nodes.store.url}/{' or '.join(leaves)} cannot be read: {error}",
            name=leaves[0],
            found="unreadable",
        )

    def leaves_with(self, prefix: str) -> tuple[Reference, ...]:
        """
        Return the references to the leaves that may have keys with *prefix*.

        Raises: as ``part``.
        """
        return tuple(leaves_with(self.nodes, self.root.top, prefix))

    def is_small(self, name: bytes) -> bool:
        """Whether all scopes of an issuer are read together. No leaf is read to tell."""
        prefix = scopes_prefix(name)
        return has_few_leaves(self.nodes, self.root.top, prefix, _FEW_LEAVES)

    def closure(
        self,
        names: Iterable[bytes],
        points: Mapping[str, Collection[PointKey]] | None = None,
        *,
        is_wanted: Callable[[bytes, Collection[PointKey]], bool] = lambda *_: True,
    ) -> Catalog:
        """
        Return the part under *names* and under the names of all issuers above them.

        Arguments and errors are those of ``part``. The points that a trusted certificate
        names are needed too, under the name of its issuer. Of the names above, with their
        points, those are left out for which *is_wanted* returns False.
        """
        if self.format1 is not None:
            return self.format1.catalog
        needed = {home: set(points.get(home, ())) if points else set() for home in homes_of(names)}
        found = homes_of(names)
        done: dict[str, set[PointKey]] = {}
        catalog = self.part(())
        while done != needed:
            done = {home: set(some) for home, some in needed.items()}
            catalog = self.part(found.values(), None if points is None else needed)
            for issuer in catalog.issuers:
                certificate = published_certificate(issuer.certificate)
                if certificate is not None:
                    for name, keys in names_needed_by(certificate):
                        if not is_wanted(name, keys):
                            continue
                        home = name_hash(name)
                        found.setdefault(home, name)
                        needed.setdefault(home, set()).update(keys)
        return catalog

    def _catalog(self, entries: Mapping[str, Any], **others: Any) -> Catalog:
        whole = dict(entries)
        try:
            missing = elsewhere(entries)
            whole.update(find(self.nodes, self.root.top, sorted(missing)))
            return catalog_of(whole, self.generation, settings=self.root.settings, **others)
        except (ValueError, CorruptIndexError) as error:
            raise self._unreadable(error, _first_unreadable(whole)) from error

    # ---- the whole -----------------------------------------------------------------

    @property
    def denied(self) -> tuple[Denial, ...]:
        """
        The certificates on the deny list; they are read once.

        Raises: as ``part``.
        """
        # No functools.cached_property: in Python 3.11 it has one lock for all instances, so
        # that a store that hangs would hold up the readers of every other one.
        known: tuple[Denial, ...] | None = self.__dict__.get("_denied")
        if known is None:
            known = self.__dict__["_denied"] = self._read_denied()
        return known

    def _read_denied(self) -> tuple[Denial, ...]:
        if self.format1 is not None:
            return self.format1.catalog.denied
        if self.root.denied is None:
            return ()
        body = read_object(self.nodes.store, self.root.denied)
        return read_denials(body, f"{self.nodes.store.url}/{self.root.denied.name}")

    def everything(self) -> Catalog:
        """
        Return the whole set with its denials. It takes memory for all scopes.

        Raises: as ``part``.
        """
        if self.format1 is not None:
            return self.format1.catalog
        entries = dict(walk(self.nodes, self.root.top))
        return self._catalog(entries, denied=self.denied)

    def readable(self, failed: Failed) -> Catalog:
        """
        Return what can be read of the whole set, for those who show it and decide nothing by it.

        *failed* is told of what is missing or damaged. It is left out, the denials too.

        Raises:
            StoreError: the store does not answer.
        """
        if self.format1 is not None:
            return self.format1.catalog
        denied: tuple[Denial, ...] = ()
        try:
            denied = self.denied
        except CatalogDamagedError as error:
            failed(error)
        entries = dict(walk(self.nodes, self.root.top, "", None, failed))
        try:
            return self._catalog(entries, denied=denied)
        except CatalogDamagedError as error:
            damaged = error
        kept, num_failed = {}, 0
        for key, value in entries.items():
            # What refers to a record may be read where that is not.
            if _is_reference(key, value):
                continue
            try:
                self._catalog({key: value})
            except CatalogDamagedError as error:
                failed(error)
                num_failed += 1
            else:
                kept[key] = value
        if not num_failed:
            failed(damaged)  # a reference to what is not there
        return self._catalog(kept, denied=denied)

    def scopes(
        self,
        *,
        skip: Callable[[Reference], bool] | None = None,
        is_wanted: Callable[[str, Any], bool] = lambda *_: True,
        failed: Failed | None = None,
    ) -> Iterator[ScopeRecord]:
        """
        Yield the record of each scope, one leaf at a time.

        *skip* and *failed* are as for ``tree.walk``. An entry is not read in full for whose
        key and value *is_wanted* returns False.

        Raises: as ``part``.
        """
        if self.format1 is not None:
            yield from self.format1.catalog.scopes.values()
            return
        for key, value in walk(self.nodes, self.root.top, "", skip, failed):
            place = read_key(key)
            if place is None or place.kind != "s" or is_reference(value):
                continue
            if not is_wanted(key, value):
                continue
            try:
                yield ScopeRecord.read(place.name, value, key)
            except (ValueError, CorruptIndexError) as error:
                damaged = self._unreadable(error, key)
                if failed is None:
                    raise damaged from error
                failed(damaged)

    def issuers(self, *, failed: Failed | None = None) -> Iterator[IssuerRecord]:
        """
        Yield each trusted issuer, one leaf at a time.

        *failed* is as for ``tree.walk``. Raises: as ``part``.
        """
        for _, catalog in self._leaf_by_leaf("i", failed):
            yield from catalog.issuers

    def tombstones(self, *, failed: Failed | None = None) -> Iterator[Tombstone]:
        """
        Yield the tombstone of each scope, one leaf at a time.

        *failed* is as for ``tree.walk``. Raises: as ``part``.
        """
        for _, catalog in self._leaf_by_leaf("g", failed):
            yield from catalog.tombstones.values()

    def _leaf_by_leaf(self, kind: str, failed: Failed | None) -> Iterator[tuple[str, Catalog]]:
        """Yield key and catalog of each entry of one kind."""
        if self.format1 is not None:
            yield "", self.format1.catalog
            return
        for key, value in walk(self.nodes, self.root.top, "", None, failed):
            if key.split("/")[1] == kind:
                try:
                    found = self._catalog({key: value})
                except CatalogDamagedError as error:
                    if failed is None:
                        raise
                    failed(error)
                else:
                    yield key, found

    def images(self) -> Iterator[PublishedImage]:
        """Yield every image that is published. Raises: as ``part``."""
        for record in self.scopes():
            yield from record.images()

    def objects(self) -> Iterator[Reference]:
        """Yield the nodes and the denials that the root names. Raises: as ``part``."""
        yield from references(self.nodes, self.root.top)
        if self.root.denied is not None:
            yield self.root.denied

    def denials(self) -> Catalog:
        """Return the part that has the denials and nothing else. Raises: as ``part``."""
        if self.format1 is not None:
            return self.format1.catalog
        return self._catalog({}, denied=self.denied)

    def settings(self) -> Catalog:
        """Return the part that has the operator's settings for the store and nothing else."""
        return self.part(())

    def scope(self, scope: str) -> Catalog:
        """
        Return the part under the issuer name of a scope; an empty one if there is none.

        Raises: as ``part``.
        """
        name = self.find_scope(scope)
        return self.part(() if name is None else (name,))

    def issuers_named(
        self,
        is_meant: Callable[[str], bool],
        is_wanted: Callable[[IssuerRecord], bool] = lambda _: True,
        *,
        is_one: bool = False,
    ) -> Catalog:
        """
        Return the part under the names of some issuers, trusted or removed.

        They are those whose fingerprints *is_meant* returns True for, and of the trusted
        ones those whose records *is_wanted* does. A catalog of format 1 is returned whole. Where
        *is_one*, no more than one fingerprint is meant, and what is missing or damaged elsewhere
        does not hide it.

        Raises: as ``part``.
        """
        if self.format1 is not None:
            return self.format1.catalog
        names: set[bytes] = set()
        errors: list[CatalogDamagedError] = []
        failed = errors.append if is_one else None
        for key, value in walk(self.nodes, self.root.top, "", None, failed):
            place = read_key(key)
            if place is not None and place.kind in ("i", "r") and is_meant(place.name):
                issuer = self._catalog({key: value})
                names |= {one.subject for one in issuer.removed_issuers.values()}
                names |= {subject_of(one.certificate) for one in filter(is_wanted, issuer.issuers)}
        if errors and not names:
            raise errors[0]
        return self.part(names)

    def find_scope(self, scope: str) -> bytes | None:
        """
        Return the issuer name of a scope that is published or was; None where there is none.

        What is missing or damaged hides no scope that can be read.

        Raises: as ``part``, where what cannot be read may have the scope.
        """
        if self.format1 is not None:
            return None
        failed: list[CatalogDamagedError] = []
        for key, value in walk(self.nodes, self.root.top, "", None, failed.append):
            place = read_key(key)
            if place is None or place.name != scope:
                continue
            if place.kind == "s" and not is_reference(value):
                found = self._catalog({key: value}).scopes[scope].base.metadata
            elif place.kind == "g":
                found = self._catalog({key: value}).tombstones[scope].base
            else:
                continue
            return found.issuer
        if failed:
            raise failed[0]
        return None

    # ---- the order of generations -----------------------------------------------------

    def check_successor(self, previous: PublishedSet) -> None:
        """
        Refuse to follow *previous* with this set unless it is later or the same.

        Raises:
            CatalogRollbackError: the generation went back, or stayed although the contents
                changed. Somebody put an old catalog back, or wrote without comparing.
        """
        if self.generation < previous.generation:
            message = (
                f"{CATALOG_NAME} went back to generation {self.generation} "
                f"from generation {previous.generation}, which is in use"
            )
        elif self.generation == previous.generation and not self.is_same(previous):
            message = (
                f"{CATALOG_NAME} differs from the one in use, also of generation {self.generation}"
            )
        else:
            return
        raise CatalogRollbackError(message, generation=self.generation, held=previous.generation)

    def is_same(self, other: PublishedSet) -> bool:
        """Whether both have the same contents, whoever signed them."""
        return self.root.digest == other.root.digest and self.format1 == other.format1


def _is_reference(key: str, value: object) -> bool:
    place = read_key(key)
    return place is not None and place.kind == "s" and is_reference(value)


def _first_unreadable(entries: Mapping[str, Any]) -> str:
    """Return the key of the first entry that cannot be read; that of a reference at last."""
    references = []
    for key, value in sorted(entries.items()):
        if is_reference(value):
            references.append(key)
            continue
        try:
            catalog_of({key: value}, 0)
        except (ValueError, CorruptIndexError):
            return key
    return next(iter(references), "")


def names_needed_by(
    certificate: CertificateFacts,
) -> list[tuple[bytes, set[PointKey]]]:
    """
    Return the issuer names that a verdict on a certificate needs, with its points under each.

    They are the name of its issuer, and the CRL issuers that its distribution points name
    (RFC 5280 4.2.1.13).
    """
    needed: dict[bytes, set[PointKey]] = {certificate.issuer: set()}
    own: list[DistributionPoint] = []
    for point in certificate.distribution_points:
        if not point.crl_issuers:
            own.append(point)
            continue
        names = [name for name in map(directory_name, point.crl_issuers) if name is not None]
        # Read once for all names, as a certificate may have thousands of both.
        keys = (
            set(point_keys(replace(point, relative_name=None), b""))
            if is_named(point)
            else set(map(point_of_name, names))
        )
        for name in names:
            needed.setdefault(name, set()).update(keys)
            if point.relative_name is not None:
                needed[name].update(point_keys(replace(point, full_names=()), name))
    needed[certificate.issuer].update(key for key, _ in keyed_points(own, certificate.issuer))
    return list(needed.items())


def read_denials(body: bytes, where: str) -> tuple[Denial, ...]:
    """
    Read the object with the denials.

    Raises:
        CatalogDamagedError: it is not one.
    """
    try:
        members = members_of(parse_json(body), "the denials")
        denied = typed(members.get("denied"), list, "denied")
        return tuple(Denial.read(one, f"denied[{i}]") for i, one in enumerate(denied))
    except ValueError as error:
        raise CatalogDamagedError(
            f"{where} cannot be read: {error}", name=where, found="unreadable"
        ) from error


# ---- opening -------------------------------------------------------------------------


def read_set(store: ObjectStore) -> tuple[PublishedSet, str | None]:
    """
    Return the published set and its etag; an empty one and None where there is none yet.

    Raises:
        StoreError: it cannot be read, or the store does not answer.
    """
    try:
        stored = store.read(CATALOG_NAME)
    except FileNotFoundError:
        return PublishedSet(Root(generation=0, store="", at=NO_TIME), nodes_of(store)), None
    return set_of(stored.body, store), stored.etag


def nothing_published(store: ObjectStore) -> FileNotFoundError:
    """Return the error for a store that has no root."""
    return FileNotFoundError(errno.ENOENT, NOTHING_PUBLISHED, f"{store.url}/{CATALOG_NAME}")


def set_of(
    body: bytes,
    store: ObjectStore,
    *,
    verify: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> PublishedSet:
    """
    Return the published set of a root's bytes.

    *verify* is called with the members of the root before anything in it is believed, and
    raises where it is to be refused.

    Raises:
        StoreError: it is not a root, or one of a later format.
    """
    try:
        value = parse_json(body)
    except ValueError as error:
        raise StoreError(f"{CATALOG_NAME} is not JSON: {_reason(body, error)}") from error
    if isinstance(value, dict):
        verify(value)
    try:
        members = members_of(value, "the catalog")
        if members.get("format") == FORMAT and members["format"] is not True:
            found = read_format1(members)
            # What has a meaning in format 2 cannot have had that one.
            unknown = {key: one for key, one in found.unknown.items() if key not in MEMBERS}
            root = Root(generation=found.catalog.generation, store="", at=NO_TIME, unknown=unknown)
            return PublishedSet(root, nodes_of(store), found, members=members_of(value, ""))
        root = Root.read(value)
        # What no checker uses, no command goes on from.
        _ = Catalog(0, {}, (), settings=root.settings).grace
        return PublishedSet(root, nodes_of(store), members=members)
    except (ValueError, CorruptIndexError) as error:
        raise StoreError(f"{CATALOG_NAME} cannot be read: {_reason(body, error)}") from error


def _reason(body: bytes, error: Exception) -> str:
    """Return why *body* cannot be read as a catalog: what kind of file it is, or the error."""
    # Only here, because a catalog that is one does without it.
    from crlcheck.encoding.kinds import found_text, mistaken

    kind = mistaken(body, "catalog", "json", "text")
    return str(error) if kind is None else found_text(kind, "a catalog")


def nodes_of(store: ObjectStore) -> NodeReader:
    """Return a reader of a store's nodes; all of them share the nodes that stay parsed."""
    try:
        kept = _KEPT.get(store)
        if kept is None:
            kept = _KEPT[store] = NodeCache()
    except TypeError:  # a store of the caller's own, which may have no hash
        kept = NodeCache()
    return NodeReader(store, kept)


# The nodes must not refer to the store, or neither would ever go.
_KEPT: weakref.WeakKeyDictionary[ObjectStore, NodeCache] = weakref.WeakKeyDictionary()


def _after_fork() -> None:
    for kept in list(_KEPT.values()):
        kept.after_fork()


os.register_at_fork(after_in_child=_after_fork)
