"""Make catalogs and their records."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from crlcheck.catalog import tree
from crlcheck.catalog.catalog import Catalog, IssuerRecord, PublishedImage, ScopeRecord
from crlcheck.catalog.compare_and_swap import Change, swap
from crlcheck.catalog.entries import entries_of, name_hash
from crlcheck.catalog.history import Action
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME, Root
from crlcheck.catalog.tree import NodeReader, Reference
from crlcheck.encoding.strict_json import canonical_json
from crlcheck.types import CrlWarning, ImageMetadata
from support.memory_store import MemoryStore

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def metadata(number: int = 7, *, issuer: str = "A", base: int | None = None) -> ImageMetadata:
    """What the header of an image of *issuer*'s CRL says; a delta CRL with *base*."""
    return ImageMetadata(
        version=1,
        issuer=b"0\x03" + issuer.encode(),
        issuer_hash=issuer.encode() * 32,
        authority_key_id=b"\x01\x02",
        verifier_key_hash=b"k" * 32,
        verifier_subject_key_id=None,
        issuing_distribution_point=None,
        crl_number=number,
        base_crl_number=base,
        this_update=datetime(2026, 11, 1, tzinfo=UTC),
        next_update=datetime(2026, 12, 1, 12, 30, tzinfo=UTC),
        expired_certs_on_crl=None,
        signature_algorithm="ecdsa-with-SHA256",
        tbs_digest="sha256:" + "0f" * 32,
        num_entries=3,
        num_duplicates=0,
        attributes=True,
        warnings=CrlWarning.NO_AUTHORITY_KEY_ID,
    )


def image(number: int = 7, *, issuer: str = "A", base: int | None = None) -> PublishedImage:
    """An image of that CRL."""
    name = f"images/{number:064x}-{ord(issuer):02x}.crlx"
    described = metadata(number, issuer=issuer, base=base)
    return PublishedImage(name, f"{number:064x}", 4096, described)


def record(number: int = 7, *, issuer: str = "A", delta: bool = False) -> ScopeRecord:
    """A scope's record, with a delta CRL of the next number where *delta*."""
    base = image(number, issuer=issuer)
    after = image(number + 1, issuer=issuer, base=number) if delta else None
    return ScopeRecord(base.metadata.scope, base, after, "s3://in/crl/a.crl")


def issuer(text: str) -> IssuerRecord:
    """The bare record of a certificate with these bytes."""
    return IssuerRecord(text.encode())


def catalog() -> Catalog:
    """Generation 2, with two scopes and two issuers."""
    first = Catalog.empty().with_scope(record(), [issuer("certificate 2")])
    return first.with_scope(record(issuer="B", delta=True), [issuer("certificate 1")])


# ---- in a store ------------------------------------------------------------------


_Store = TypeVar("_Store", bound=MemoryStore)


@overload
def stored(found: Catalog) -> MemoryStore: ...


@overload
def stored(found: Catalog, store: _Store) -> _Store: ...


def stored(found: Catalog, store: MemoryStore | None = None) -> MemoryStore:
    """A store in which a writer has published a catalog."""
    store = MemoryStore() if store is None else store
    held, etag = read_set(store)
    change = Change(
        before=Catalog.empty(), after=found, action=Action(action="test"), at=NOW, clock=lambda: NOW
    )
    assert swap(store, held, etag, change) is not None
    return store


def again(found: Catalog) -> Catalog:
    """A catalog, written to a store and read."""
    return read_set(stored(found))[0].everything()


def value_of(found: Catalog) -> dict[str, Any]:
    """The JSON of a catalog: its entries by key, and the denials."""
    denied = [denial.members() for denial in found.denied]
    return {"entries": copy.deepcopy(entries_of(found)), "denied": denied}


def store_of(value: dict[str, Any]) -> MemoryStore:
    """A store with that JSON in its objects, as a hand or another version may write it."""
    store = MemoryStore()
    made = tree.change(NodeReader(store), None, value["entries"], lambda *_: None)
    body = canonical_json({"denied": value["denied"]})
    denied = Reference("nodes/denied.json", hashlib.sha256(body).hexdigest(), len(body))
    for name, octets in {**made.written, denied.name: body}.items():
        store.write(name, octets)
    root = Root(generation=2, store="ab" * 16, at=NOW, top=made.top, denied=denied)
    store.write(CATALOG_NAME, root.to_bytes())
    return store


def read_value(value: dict[str, Any]) -> Catalog:
    """Read a catalog from that JSON."""
    return read_set(store_of(value))[0].everything()


def changed(change: Callable[[Any], object]) -> Catalog:
    """Read the catalog with *change* made to its JSON."""
    value = value_of(catalog())
    change(value)
    return read_value(value)


SCOPE = f"{name_hash(metadata().issuer)}/s/-/{record().key}"
"""The key of the first scope's record."""


def a_scope(value: Any) -> Any:
    """The first scope's members."""
    return value["entries"][SCOPE]


# ---- the places in a JSON value ---------------------------------------------------


def places(
    value: Any, skip: Callable[[str], bool] = lambda _: False, where: str = ""
) -> Iterator[tuple[str, list[Any]]]:
    """Each member of a JSON value, as messages name it, with the way to it."""
    if isinstance(value, list):
        for i, one in enumerate(value):
            yield f"{where}[{i}]", [i]
            yield from ((place, [i, *way]) for place, way in places(one, skip, f"{where}[{i}]"))
    elif isinstance(value, dict):
        for key, one in value.items():
            place = f"{where}.{key}" if where else key
            yield place, [key]
            if not skip(place):
                yield from ((below, [key, *way]) for below, way in places(one, skip, place))


def put(value: Any, way: list[Any], *new: object) -> Any:
    """A copy of a JSON value with another value at the end of a way, or none."""
    whole = copy.deepcopy(value)
    holder = whole
    for step in way[:-1]:
        holder = holder[step]
    if new:
        (holder[way[-1]],) = new
    else:
        del holder[way[-1]]
    return whole


def held(value: Any, way: list[Any]) -> Any:
    """What stands at the end of a way."""
    for step in way:
        value = value[step]
    return value
