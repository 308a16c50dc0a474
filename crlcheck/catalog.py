"""
The catalog: what a store has published, as one small JSON object.

Pure values; ``crlcheck.publisher`` and ``crlcheck.checker`` read and write them.

**Version rule.** ``format`` is an integer. A reader refuses a later one than its
own. Members that a reader may pass over without giving a wrong answer can be
added within a format: older versions ignore them and keep them when they
rewrite the catalog. Anything else, such as a list of denied certificates, takes
a new format.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from crlcheck._metadata import ImageMetadata
from crlcheck._object_store import check_name
from crlcheck.errors import CorruptIndexError, StoreError

CATALOG_NAME = "catalog.json"
CATALOG_FORMAT = 1

_Kind = TypeVar("_Kind", int, str, list[Any], dict[str, Any])


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """
    An image in the store.

    ``name`` is its object name, ``digest`` the hex digest that authenticates
    it, ``size`` its octets, ``metadata`` what its header must say. ``unknown``
    and ``unknown_metadata`` are JSON members of a later version, kept.

    Raises:
        ValueError: a field is not what it should be.
    """

    name: str
    digest: str
    size: int
    metadata: ImageMetadata
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unknown_metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not re.fullmatch("[0-9a-f]{64}", self.digest):
            raise ValueError(f"digest: expected 64 lower-case hex digits, found {self.digest!r}")
        if self.size <= 0:
            raise ValueError(f"size: expected a positive number of octets, found {self.size}")


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """
    What is published for one scope: a complete CRL's image, maybe a delta's.

    ``key`` is the scope of both (``ImageMetadata.scope``), ``source`` says where
    the base CRL came from. ``unknown`` is as in PublishedImage.
    ``covers_no_distribution_point`` is the operator's: although the CRL names a
    distribution point, it speaks for certificates without any.

    Raises:
        ValueError: an image is of another scope, or in the other's role, or the
            delta does not fit the base.
    """

    key: str
    base: PublishedImage
    delta: PublishedImage | None
    source: str | None
    covers_no_distribution_point: bool = False
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for role, image in (("base", self.base), ("delta", self.delta)):
            if image is None:
                continue
            if image.metadata.scope != self.key:
                raise ValueError(
                    f"{role}: expected an image of scope {self.key}, "
                    f"found one of {image.metadata.scope}"
                )
            if image.metadata.is_delta != (role == "delta"):
                found = "a delta CRL" if image.metadata.is_delta else "a complete CRL"
                raise ValueError(f"{role}: found the image of {found}")
        if self.delta is not None and not delta_fits(self.delta.metadata, self.base.metadata):
            raise ValueError(
                f"delta: CRL number {self.delta.metadata.crl_number} with base "
                f"{self.delta.metadata.base_crl_number} does not fit base CRL number "
                f"{self.base.metadata.crl_number}"
            )

    def images(self) -> Iterator[PublishedImage]:
        """Yield the base and, where there is one, the delta."""
        yield self.base
        if self.delta is not None:
            yield self.delta

    def names(self, image: PublishedImage) -> bool:
        """Whether *image* is one of them, by the name that no other image ever has."""
        return image.name in (one.name for one in self.images())


def delta_fits(delta: ImageMetadata, base: ImageMetadata) -> bool:
    """
    Whether a delta CRL may lie beside a complete CRL of its scope.

    RFC 5280 5.2.4: its BaseCRLNumber is not above the number of the complete
    CRL, which is below its own.
    """
    if delta.base_crl_number is None or delta.crl_number is None:
        return False
    if base.is_delta or base.crl_number is None:
        return False
    return delta.base_crl_number <= base.crl_number < delta.crl_number


@dataclass(frozen=True, slots=True)
class Catalog:
    """
    One generation of the published set.

    ``generation`` counts the changes since the store was empty (0, which is
    never written). ``scopes`` has a record for each scope key; ``issuers`` are
    the trusted issuer certificates in DER, sorted. ``unknown`` is as in
    PublishedImage.
    """

    generation: int
    scopes: Mapping[str, ScopeRecord]
    issuers: tuple[bytes, ...]
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", MappingProxyType(dict(self.scopes)))
        object.__setattr__(self, "issuers", tuple(sorted(set(self.issuers))))
        for key, record in self.scopes.items():
            if key != record.key:
                raise ValueError(f"scopes: found the record of {record.key} under {key}")

    @classmethod
    def empty(cls) -> Catalog:
        """Return the catalog of a store that has none."""
        return cls(0, {}, ())

    @classmethod
    def from_bytes(cls, body: bytes) -> Catalog:
        """
        Read a catalog.

        Raises:
            StoreError: it is not a catalog, or one of a later format.
        """
        try:
            value = json.loads(
                body.decode("utf-8"),
                object_pairs_hook=_distinct,
                parse_constant=_refuse_number,
                parse_float=_finite,
            )
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{CATALOG_NAME} is not JSON: {error}") from error
        try:
            return _read_catalog(value)
        except (ValueError, CorruptIndexError) as error:
            raise StoreError(f"{CATALOG_NAME} cannot be read: {error}") from error

    def to_bytes(self) -> bytes:
        """
        The canonical JSON: sorted keys, no spaces, ASCII.

        Raises:
            ValueError: the generation is not positive.
        """
        if self.generation <= 0:
            raise ValueError(f"catalog of generation {self.generation}: only later ones are stored")
        members = {
            **self.unknown,
            "format": CATALOG_FORMAT,
            "generation": self.generation,
            "issuers": [base64.b64encode(issuer).decode("ascii") for issuer in self.issuers],
            "scopes": {key: _record_members(record) for key, record in self.scopes.items()},
        }
        return json.dumps(members, sort_keys=True, separators=(",", ":")).encode("ascii")

    def with_scope(self, record: ScopeRecord, issuers: Iterable[bytes]) -> Catalog:
        """
        Return the next generation, with *record* in place of its scope's and
        *issuers* added.

        The operator's settings and unknown members of the replaced record stay:
        they belong to the scope, not to the CRL.
        """
        previous = self.scopes.get(record.key)
        if previous is not None:
            record = replace(
                record,
                covers_no_distribution_point=previous.covers_no_distribution_point,
                unknown={**previous.unknown, **record.unknown},
            )
        return replace(
            self,
            generation=self.generation + 1,
            scopes={**self.scopes, record.key: record},
            issuers=(*self.issuers, *issuers),
        )

    def with_override(self, key: str, *, covers_no_distribution_point: bool) -> Catalog:
        """
        Return the next generation, with an operator's setting of one scope changed.

        Raises:
            ValueError: there is no such scope.
        """
        if key not in self.scopes:
            raise ValueError(f"scope {key}: there is no such scope in the catalog")
        record = replace(
            self.scopes[key], covers_no_distribution_point=covers_no_distribution_point
        )
        return replace(self, generation=self.generation + 1, scopes={**self.scopes, key: record})

    def check_successor(self, previous: Catalog) -> None:
        """
        Refuse to follow *previous* with this catalog unless it is later or the same.

        Raises:
            StoreError: the generation went backwards, or stayed although the
                contents changed: someone put an old catalog back, or wrote
                without comparing.
        """
        if self.generation < previous.generation:
            raise StoreError(
                f"{CATALOG_NAME} went back to generation {self.generation} "
                f"from generation {previous.generation}, which is in use"
            )
        if self.generation == previous.generation and self != previous:
            raise StoreError(
                f"{CATALOG_NAME} differs from the one in use, also of generation {self.generation}"
            )


# ---- writing -------------------------------------------------------------------


def _record_members(record: ScopeRecord) -> dict[str, Any]:
    members = {
        **record.unknown,
        "base": _image_members(record.base),
        "delta": None if record.delta is None else _image_members(record.delta),
        "source": record.source,
    }
    if record.covers_no_distribution_point:
        members["covers_no_distribution_point"] = True
    return members


def _image_members(image: PublishedImage) -> dict[str, Any]:
    return {
        **image.unknown,
        "name": image.name,
        "digest": image.digest,
        "size": image.size,
        "metadata": {**image.unknown_metadata, **image.metadata.to_json()},
    }


# ---- reading -------------------------------------------------------------------


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            # Which of two values holds depends on the parser, so neither does.
            raise ValueError(f"an object has two members {name!r}")
        members[name] = value
    return members


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON can repeat")


def _read_catalog(value: object) -> Catalog:
    members = dict(_typed(value, dict, "the catalog"))
    found = _take(members, "format", int, "")
    if found != CATALOG_FORMAT:
        raise ValueError(
            f"format: expected {CATALOG_FORMAT}, found {found}"
            + (", written by a later crlcheck" if found > CATALOG_FORMAT else "")
        )
    generation = _take(members, "generation", int, "")
    if generation <= 0:
        raise ValueError(f"generation: expected a positive integer, found {generation}")
    issuers = [
        _read_issuer(issuer, f"issuers[{i}]")
        for i, issuer in enumerate(_take(members, "issuers", list, ""))
    ]
    scopes = {
        key: _read_record(key, record, f"scopes.{key}")
        for key, record in _take(members, "scopes", dict, "").items()
    }
    return Catalog(generation, scopes, tuple(issuers), unknown=members)


def _read_issuer(value: object, where: str) -> bytes:
    text = _typed(value, str, where)
    try:
        issuer = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{where}: not base64: {error}") from error
    if not issuer:
        raise ValueError(f"{where}: expected a certificate, found no octets")
    return issuer


def _read_record(key: str, value: object, where: str) -> ScopeRecord:
    members = dict(_typed(value, dict, where))
    base = _read_image(_take(members, "base", dict, where), f"{where}.base")
    delta = members.pop("delta", None)
    if delta is not None:
        delta = _read_image(delta, f"{where}.delta")
    source = members.pop("source", None)
    if source is not None:
        source = _typed(source, str, f"{where}.source")
    override = members.pop("covers_no_distribution_point", False)
    if not isinstance(override, bool):
        raise ValueError(
            f"{where}.covers_no_distribution_point: expected true or false, found {override!r:.80}"
        )
    try:
        return ScopeRecord(key, base, delta, source, override, members)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _read_image(value: object, where: str) -> PublishedImage:
    members = dict(_typed(value, dict, where))
    name = _take(members, "name", str, where)
    digest = _take(members, "digest", str, where)
    size = _take(members, "size", int, where)
    said = _take(members, "metadata", dict, where)
    try:
        metadata = ImageMetadata.from_json(said)
        known = metadata.to_json()
        rest = {name: value for name, value in said.items() if name not in known}
        return PublishedImage(name, digest, size, metadata, members, rest)
    except (ValueError, CorruptIndexError) as error:
        raise ValueError(f"{where}: {error}") from error


def _take(members: dict[str, Any], name: str, kind: type[_Kind], where: str) -> _Kind:
    """Remove a required member; what is left in the end is unknown."""
    place = f"{where}.{name}" if where else name
    if name not in members:
        raise ValueError(f"{place} is missing")
    return _typed(members.pop(name), kind, place)


def _typed(value: object, kind: type[_Kind], where: str) -> _Kind:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where}: expected {_JSON_NAMES[kind]}, found {value!r:.80}")
    return value


_JSON_NAMES: dict[type, str] = {
    int: "an integer",
    str: "a string",
    list: "an array",
    dict: "an object",
}
