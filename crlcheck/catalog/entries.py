"""
Divide a catalog into the entries of a tree, and put a part of it together from them.

An entry is a key and a JSON value. The keys are arranged so that all that concerns one
issuer name lies together, and that one certificate needs few of them. H(n) is a hash of the
canonical form of a name, P(p) that of the name of a distribution point:

- ``H(subject)/i/<fingerprint>``: a trusted issuer certificate.
- ``H(subject)/r/<fingerprint>``: one that an operator removed.
- ``H(issuer)/s/P(point)/<scope>``: the record of a scope. P is "-" where its CRL names no
  distribution point, and "." where it names its own issuer. A scope with several names has
  its record under the first one. Under the others, and under "-" where an operator lets it
  cover certificates without distribution points, an entry refers to that place.
- ``H(issuer)/x/<scope>``: a short list of the scopes of an issuer.
- ``H(issuer)/g/<scope>``: the tombstone of a scope.
- ``!x/H(issuer)/<scope>``: the scopes of indirect CRLs, of all issuers.

For example, a certificate names http://ca.example/7 as its distribution point. Its scopes
lie under ``H(issuer)/s/-/``, under ``H(issuer)/s/P(http://ca.example/7)/`` and, for a CRL
that names its own issuer, under ``H(issuer)/s/./``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.records import IssuerRecord, RemovedIssuer, ScopeRecord, Tombstone
from crlcheck.catalog.tree import Staleness
from crlcheck.encoding.names import name_key
from crlcheck.encoding.strict_json import members_of, read_time, take, typed
from crlcheck.types import ImageMetadata
from crlcheck.x509.certificates import published_certificate
from crlcheck.x509.distribution_points import (
    PointKey,
    is_named,
    point_keys,
    point_of_name,
    read_issuing_distribution_point,
)

INDIRECT = "!x/"
"""The keys of the list of indirect CRLs begin with this."""

ANY_POINT = "-"
"""Stands in a key for CRLs that need no distribution point."""

OWN_POINT = "."
"""Stands in a key for CRLs whose distribution point is the name of their own issuer."""


# ---- keys ------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 14)
def name_hash(name: bytes) -> str:
    """Return H(n) for a DER Name, however it is spelled."""
    return hashlib.sha256(name_key(name)).hexdigest()[:32]


def point_hash(point: PointKey) -> str:
    """Return P(p) for the name of a distribution point."""
    is_directory_name, name = point
    return hashlib.sha256(bytes([is_directory_name]) + name).hexdigest()[:16]


def issuer_prefix(name: bytes) -> str:
    """Return the prefix of all keys of one issuer name."""
    return f"{name_hash(name)}/"


def scopes_prefix(name: bytes, point: str | None = None) -> str:
    """Return the prefix of the keys of an issuer's scopes, or of those at one P(p)."""
    return f"{name_hash(name)}/s/" + ("" if point is None else f"{point}/")


def list_prefix(name: bytes) -> str:
    """Return the prefix of the keys of the short list of an issuer's scopes."""
    return f"{name_hash(name)}/x/"


def prefixes_beside_scopes(name: bytes) -> list[str]:
    """Return how the keys of an issuer name begin that are neither scopes nor the list."""
    return [f"{name_hash(name)}/{kind}/" for kind in "gir"]


class Key(NamedTuple):
    """
    The parts of the key of an entry: H(n), the kind, P(p) of a scope's record, and the name.

    The name is a scope, or the fingerprint of a certificate.
    """

    home: str
    kind: str
    point: str | None
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part is not None)


def read_key(key: str) -> Key | None:
    """Return the parts of a key; None for a key of a kind that this version does not know."""
    match key.split("/"):
        case [home, "s", point, name] if home != "!x":
            return Key(home, "s", point, name)
        case [home, ("g" | "i" | "r" | "x") as kind, name] if home != "!x":
            return Key(home, kind, None, name)
    return None


class ListedScope(NamedTuple):
    """
    A scope in the short list of an issuer's scopes.

    ``idp`` is the CRL's issuingDistributionPoint, ``verifier`` the hash of the key that
    verified it. ``any_point`` tells that it covers certificates without distribution points.
    """

    scope: str
    idp: bytes | None
    verifier: bytes | None
    any_point: bool


def read_listed(key: str, value: object) -> ListedScope:
    """Read an entry of the short list. Raises ValueError with the place."""
    members = members_of(value, key)

    def octets(name: str) -> bytes | None:
        text = members.get(name)
        return None if text is None else bytes.fromhex(typed(text, str, f"{key}.{name}"))

    any_point = typed(members.get("any_point"), bool, f"{key}.any_point")
    return ListedScope(key.rpartition("/")[2], octets("idp"), octets("verifier"), any_point)


def read_indirect(key: str, value: object) -> bytes:
    """Read the issuer's name from an entry of the list of indirect CRLs. Raises ValueError."""
    name = bytes.fromhex(take(members_of(value, key), "name", str, key))
    _check_home(key, key.split("/")[1], name)
    return name


def points_of_crl(metadata: ImageMetadata) -> set[PointKey]:
    """Return the names of a CRL's distribution point."""
    der = metadata.issuing_distribution_point
    idp = None if der is None else read_issuing_distribution_point(der)
    if idp is None or not is_named(idp.point):
        return set()
    return set(point_keys(idp.point, metadata.issuer))


def points_of(metadata: ImageMetadata) -> list[str]:
    """Return P(p) of each name of a CRL's distribution point, in order; "-" for none."""
    own = point_of_name(metadata.issuer)
    return sorted(
        OWN_POINT if point == own else point_hash(point) for point in points_of_crl(metadata)
    ) or [ANY_POINT]


# ---- from a catalog ----------------------------------------------------------------------


def entries_of(catalog: Catalog) -> dict[str, Any]:
    """Return the entries of a catalog, or of a part of one."""
    return dict(_entries_of(catalog))


def _entries_of(catalog: Catalog) -> Iterator[tuple[str, Any]]:
    for issuer in catalog.issuers:
        key = f"{name_hash(subject_of(issuer.certificate))}/i/{issuer.fingerprint}"
        der = base64.b64encode(issuer.certificate).decode("ascii")
        yield key, {**issuer.members(), "certificate": der}
    for fingerprint, removed in catalog.removed_issuers.items():
        yield f"{name_hash(removed.subject)}/r/{fingerprint}", removed.members()
    for scope, tombstone in catalog.tombstones.items():
        yield f"{name_hash(tombstone.base.issuer)}/g/{scope}", tombstone.members()
    for record in catalog.scopes.values():
        yield from _entries_of_scope(record)


def _entries_of_scope(record: ScopeRecord) -> Iterator[tuple[str, Any]]:
    metadata = record.base.metadata
    home = name_hash(metadata.issuer)
    first, *others = points_of(metadata)
    yield f"{home}/s/{first}/{record.key}", record.members()
    if record.covers_no_distribution_point and first != ANY_POINT:
        others.append(ANY_POINT)
    for point in others:
        yield f"{home}/s/{point}/{record.key}", {"at": first}
    der, verifier = metadata.issuing_distribution_point, metadata.verifier_key_hash
    yield (
        f"{home}/x/{record.key}",
        {
            "idp": None if der is None else der.hex(),
            "verifier": None if verifier is None else verifier.hex(),
            "any_point": record.covers_no_distribution_point,
        },
    )
    idp = None if der is None else read_issuing_distribution_point(der)
    if idp is not None and idp.indirect_crl:
        yield f"{INDIRECT}{home}/{record.key}", {"name": metadata.issuer.hex()}


UNREADABLE = name_hash(b"")
"""Stands in the keys of issuer certificates that cannot be read, for the name."""


def subject_of(certificate: bytes) -> bytes:
    """Return the subject of a certificate; an unreadable one is trusted under no name."""
    facts = published_certificate(certificate)
    return b"" if facts is None else facts.subject


def staleness_of_entry(key: str, value: Any) -> Staleness | None:
    """
    Return when the CRL of an entry is past its nextUpdate; None for other entries.

    It reads the two times alone, because a leaf has many entries. An entry whose times
    cannot be read is stale at once, so that whoever looks for stale CRLs finds it.
    """
    place = read_key(key)
    if place is None or place.kind != "s" or not isinstance(value, dict) or "at" in value:
        return None
    try:
        image = value.get("delta") or value["base"]
        metadata = image["metadata"]
        if metadata["next_update"] is None:
            return Staleness()
        begun = read_time(metadata["this_update"], key)
        ends = read_time(metadata["next_update"], key)
    except (KeyError, TypeError, ValueError):
        return Staleness(0)
    return Staleness.of(begun, ends)


# ---- to a catalog --------------------------------------------------------------------------


def elsewhere(entries: Mapping[str, Any]) -> set[str]:
    """Return the keys of scope records to which entries refer and which are not among them."""
    found = {_record_key(place, value) for place, value in _references(entries)}
    return found - entries.keys()


def _references(entries: Mapping[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Yield the entries that refer to the place of a scope's record."""
    for key, value in entries.items():
        place = read_key(key)
        if place is not None and place.kind == "s" and is_reference(value):
            yield place, value


def is_reference(value: object) -> bool:
    """Whether the entry of a scope refers to the place of its record."""
    return isinstance(value, dict) and "at" in value


def _record_key(place: Key, value: dict[str, Any]) -> str:
    point = typed(value["at"], str, f"{place}.at")
    return str(place._replace(point=point))


def catalog_of(entries: Mapping[str, Any], generation: int, **others: Any) -> Catalog:
    """
    Return the catalog that has *entries* and no more.

    Entries of kinds that this version does not know are left out; no writer changes them.

    Raises:
        ValueError: an entry cannot be read, lies under a key that is not its own, or refers
            to one that is not there.
    """
    scopes: dict[str, ScopeRecord] = {}
    tombstones: dict[str, Tombstone] = {}
    issuers: list[IssuerRecord] = []
    removed: dict[str, RemovedIssuer] = {}
    for key, value in entries.items():
        place = read_key(key)
        if place is None:
            continue
        home, kind, _, name = place
        if kind == "i":
            issuers.append(_read_issuer(value, key))
        elif kind == "r":
            removed[name] = RemovedIssuer.read(value, key)
            _check_home(key, home, removed[name].subject)
        elif kind == "g":
            tombstones[name] = Tombstone.read(value, key)
            _check_home(key, home, tombstones[name].base.issuer)
        elif kind == "s" and not is_reference(value):
            scopes[name] = ScopeRecord.read(name, value, key)
            # A shard must not bring the CRL of another issuer's name.
            _check_home(key, home, scopes[name].base.metadata.issuer)
    for place, value in _references(entries):
        if place.name not in scopes:
            raise ValueError(f"{place}: refers to {_record_key(place, value)}, which is missing")
    return Catalog(
        generation,
        scopes,
        tuple(issuers),
        tombstones,
        removed_issuers=removed,
        **others,
    )


def _check_home(key: str, home: str, name: bytes) -> None:
    if home != name_hash(name):
        raise ValueError(f"{key}: found what belongs to the name of another issuer")


def _read_issuer(value: object, where: str) -> IssuerRecord:
    members = members_of(value, where)
    der = read_certificate(take(members, "certificate", str, where), f"{where}.certificate")
    record = IssuerRecord.read(der, members, where)
    home, _, fingerprint = where.split("/")
    if fingerprint != record.fingerprint:
        raise ValueError(f"{where}: found the certificate of another issuer")
    facts = published_certificate(der)
    # Another version may have been able to read a certificate, or not: under no name, or
    # where it cannot be read, it is trusted for nothing, and is nobody else's.
    if facts is not None and home != UNREADABLE:
        _check_home(where, home, facts.subject)
    return record


def read_certificate(text: str, where: str) -> bytes:
    """Return the DER of a certificate in base64. Raises ValueError with the place."""
    try:
        der = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{where}: not base64: {error}") from error
    if not der:
        raise ValueError(f"{where}: expected a certificate, found no bytes")
    return der


def changed_entries(before: Catalog, after: Catalog) -> dict[str, Any]:
    """Return the entries that differ; the value of one that is gone is None."""
    old, new = entries_of(before), entries_of(after)
    changed: dict[str, Any] = {key: value for key, value in new.items() if old.get(key) != value}
    return {**changed, **dict.fromkeys(old.keys() - new.keys())}


def homes_of(names: Iterable[bytes]) -> dict[str, bytes]:
    """Return each of *names* under its hash, one of several spellings."""
    return {name_hash(name): name for name in names}
