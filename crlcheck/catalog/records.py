"""
What a catalog is made of: images, the record of each scope and of each trusted
issuer, what an operator did to them, and certificates denied by hand. Values
with their JSON.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from crlcheck.encoding.names import name_key
from crlcheck.encoding.strict_json import members_of, read_time, take, take_time, typed
from crlcheck.errors import CorruptIndexError
from crlcheck.image.metadata import METADATA_MEMBERS, metadata_from_json, metadata_to_json
from crlcheck.stores.object_store import check_name
from crlcheck.times import time_text
from crlcheck.types import ImageMetadata

IMAGE_PREFIX = "images/"
"""What the name of every image in a store begins with."""

MAX_NOTE = 500
"""Characters of the longest note that an operator may leave."""


MAX_EARLIER_SOURCES = 2
"""How many sources of earlier CRLs a scope remembers."""


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """
    An image in the store.

    ``name`` is its object name, ``digest`` the hex digest that authenticates
    it, ``size`` its octets, ``metadata`` what its header must say. ``since`` is
    the first generation of the catalog that named it, 0 before. ``unknown`` and
    ``unknown_metadata`` are JSON members of a later version, kept.

    Raises:
        ValueError: a field is not what it should be.
    """

    name: str
    digest: str
    size: int
    metadata: ImageMetadata
    since: int = field(default=0, compare=False)
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unknown_metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not re.fullmatch("[0-9a-f]{64}", self.digest):
            raise ValueError(f"digest: expected 64 lower-case hex digits, found {self.digest!r}")
        if self.size <= 0:
            raise ValueError(f"size: expected a positive number of bytes, found {self.size}")

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            **self.unknown,
            "name": self.name,
            "digest": self.digest,
            "size": self.size,
            "since": self.since,
            "metadata": {**self.unknown_metadata, **metadata_to_json(self.metadata)},
        }

    @classmethod
    def read(cls, value: object, where: str) -> PublishedImage:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        name = take(members, "name", str, where)
        digest = take(members, "digest", str, where)
        size = take(members, "size", int, where)
        since = typed(members.pop("since", 0), int, f"{where}.since")
        said = take(members, "metadata", dict, where)
        try:
            metadata = metadata_from_json(said)
            rest = {name: said[name] for name in said.keys() - METADATA_MEMBERS}
            return cls(name, digest, size, metadata, since, members, rest)
        except (ValueError, CorruptIndexError) as error:
            raise ValueError(f"{where}: {error}") from error


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """
    What is published for one scope: a complete CRL's image, maybe a delta's.

    ``key`` is the scope of both (``ImageMetadata.scope``), ``source`` says where
    the base CRL came from. ``unknown`` is as in PublishedImage.
    ``covers_no_distribution_point`` is the operator's: although the CRL names a
    distribution point, it speaks for certificates without any.
    ``earlier_sources`` are those of the last complete CRLs before this one.

    Raises:
        ValueError: an image is of another scope, or in the other's role, or the
            delta does not fit the base.
    """

    key: str
    base: PublishedImage
    delta: PublishedImage | None
    source: str | None
    covers_no_distribution_point: bool = False
    earlier_sources: tuple[str, ...] = ()
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

    def published_in(self, generation: int) -> ScopeRecord:
        """Return the record with that generation noted for images that are new in it."""

        def noted(image: PublishedImage) -> PublishedImage:
            return image if image.since else replace(image, since=generation)

        delta = None if self.delta is None else noted(self.delta)
        return replace(self, base=noted(self.base), delta=delta)

    def names(self, image: PublishedImage) -> bool:
        """Whether *image* is one of them, by the name that no other image ever has."""
        return image.name in (one.name for one in self.images())

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        members = {
            **self.unknown,
            "base": self.base.members(),
            "delta": None if self.delta is None else self.delta.members(),
            "source": self.source,
        }
        if self.covers_no_distribution_point:
            members["covers_no_distribution_point"] = True
        if self.earlier_sources:
            members["earlier_sources"] = list(self.earlier_sources)
        return members

    @classmethod
    def read(cls, key: str, value: object, where: str) -> ScopeRecord:
        """Read what ``members`` gave for *key*. Raises ValueError with the place."""
        members = members_of(value, where)
        base = PublishedImage.read(take(members, "base", dict, where), f"{where}.base")
        delta = members.pop("delta", None)
        if delta is not None:
            delta = PublishedImage.read(delta, f"{where}.delta")
        source = members.pop("source", None)
        if source is not None:
            source = typed(source, str, f"{where}.source")
        place = f"{where}.covers_no_distribution_point"
        override = typed(members.pop("covers_no_distribution_point", False), bool, place)
        place = f"{where}.earlier_sources"
        sources = typed(members.pop("earlier_sources", []), list, place)
        earlier = tuple(typed(one, str, place) for one in sources)
        try:
            return cls(key, base, delta, source, override, earlier, members)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


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
class Superseded:
    """
    Since when no catalog names an image, and the first and last generation that did.

    Both are 0 for an image that nobody ever published.
    """

    at: datetime
    first: int
    last: int

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {"at": time_text(self.at), "first": self.first, "last": self.last}

    @classmethod
    def read(cls, name: str, value: object) -> Superseded:
        """Read what ``members`` gave for an image. Raises ValueError with the place."""
        where = f"superseded.{name}"
        check_name(name)
        if not name.startswith(IMAGE_PREFIX):
            # What is listed here gets deleted: a stray name must not reach anything else.
            raise ValueError(f"{where}: expected the name of an image")
        members = members_of(value, where)
        first, last = (take(members, name, int, where) for name in ("first", "last"))
        return cls(take_time(members, "at", where), first, last)


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """
    A trusted issuer certificate, and what is known of it.

    ``certificate`` is its DER. ``added_at`` and ``added_by`` tell when and by
    what it came into the catalog; None where it came before that was noted, and
    whoever brings it then is taken for who did. ``self_signed`` tells whether its
    signature holds under its own key: decided when it was published, None where
    nobody could (an algorithm that is not supported, or an older writer), so that
    names and key ids must do.

    The operator's settings: at an ``is_anchor`` paths end;
    ``publishes_no_crl`` lets certificates pass for which no CRL of this issuer
    speaks. ``unknown`` is as in PublishedImage.
    """

    certificate: bytes = field(repr=False)
    added_at: datetime | None = None
    added_by: str = ""
    self_signed: bool | None = None
    is_anchor: bool = False
    publishes_no_crl: bool = False
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate in lower-case hex, by which operators name it."""
        return hashlib.sha256(self.certificate).hexdigest()

    def completed_by(self, other: IssuerRecord) -> IssuerRecord:
        """Return this record with what only *other*, of the same certificate, knows."""
        found = other.self_signed if self.self_signed is None else self.self_signed
        added_by = self.added_by or other.added_by
        if (found, added_by) == (self.self_signed, self.added_by):
            return self
        return replace(self, self_signed=found, added_by=added_by)

    def members(self) -> dict[str, Any]:
        """Return the JSON members beside the certificate, without those that say nothing."""
        members: dict[str, Any] = {
            "added_at": time_text(self.added_at),
            "added_by": self.added_by or None,
            "self_signed": self.self_signed,
            "is_anchor": self.is_anchor or None,
            "publishes_no_crl": self.publishes_no_crl or None,
        }
        known = {name: value for name, value in members.items() if value is not None}
        return {**self.unknown, **known}

    @classmethod
    def read(cls, certificate: bytes, value: object, where: str) -> IssuerRecord:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        added_at = members.pop("added_at", None)
        self_signed = members.pop("self_signed", None)

        def flag(name: str) -> bool:
            return typed(members.pop(name, False), bool, f"{where}.{name}")

        return cls(
            certificate,
            added_at=None if added_at is None else _read_time_at(added_at, f"{where}.added_at"),
            added_by=typed(members.pop("added_by", ""), str, f"{where}.added_by"),
            self_signed=None
            if self_signed is None
            else typed(self_signed, bool, f"{where}.self_signed"),
            is_anchor=flag("is_anchor"),
            publishes_no_crl=flag("publishes_no_crl"),
            unknown=members,
        )


@dataclass(frozen=True, slots=True)
class RemovedIssuer:
    """
    The memory of an issuer certificate that an operator took out of the catalog.

    While it is there, no publication brings the certificate back. ``subject`` is
    its whole Name as DER, ``scopes`` are those that went with it.
    """

    at: datetime
    subject: bytes
    scopes: tuple[str, ...] = ()
    note: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_note(self.note)

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            **self.unknown,
            "at": time_text(self.at),
            "subject": self.subject.hex(),
            "scopes": list(self.scopes),
            "note": self.note,
        }

    @classmethod
    def read(cls, value: object, where: str) -> RemovedIssuer:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        scopes = take(members, "scopes", list, where)
        return cls(
            at=take_time(members, "at", where),
            subject=_take_name(members, "subject", where),
            scopes=tuple(typed(one, str, f"{where}.scopes[{i}]") for i, one in enumerate(scopes)),
            note=take(members, "note", str, where),
            unknown=members,
        )


class ScopeAction(enum.Enum):
    """What an operator can do to a scope by name."""

    REMOVED = "removed"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """
    The last thing that an operator did to a scope, and what was published then.

    ``base`` and ``delta`` say of which CRLs: they stay the memory by which an
    older CRL is known after the scope was removed. ``accepts_any`` tells that
    the scope's next complete CRL need not be newer; it is used up by that CRL.
    ``accepts_same`` tells that the scope went with its issuer: once that is trusted
    again, the very same complete CRL may come back, where no delta lay beside it.
    """

    action: ScopeAction
    at: datetime
    note: str
    base: ImageMetadata
    delta: ImageMetadata | None
    accepts_any: bool
    accepts_same: bool = False
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_note(self.note)

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            **self.unknown,
            "action": self.action.value,
            "at": time_text(self.at),
            "note": self.note,
            "base": metadata_to_json(self.base),
            "delta": None if self.delta is None else metadata_to_json(self.delta),
            "accepts_any": self.accepts_any,
            **({"accepts_same": True} if self.accepts_same else {}),
        }

    @classmethod
    def read(cls, value: object, where: str) -> Tombstone:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        try:
            delta = members.pop("delta", None)
            if delta is not None:
                delta = metadata_from_json(typed(delta, dict, f"{where}.delta"))
            return cls(
                action=ScopeAction(take(members, "action", str, where)),
                at=take_time(members, "at", where),
                note=take(members, "note", str, where),
                base=metadata_from_json(take(members, "base", dict, where)),
                delta=delta,
                accepts_any=take(members, "accepts_any", bool, where),
                accepts_same=typed(
                    members.pop("accepts_same", False), bool, f"{where}.accepts_same"
                ),
                unknown=members,
            )
        except CorruptIndexError as error:
            raise ValueError(f"{where}: {error}") from error


# Of the longest serial number, as the catalog has it.
_MAX_SERIAL_DIGITS = 1024


@dataclass(frozen=True, slots=True)
class Denial:
    """
    A certificate that an operator denies by hand, before its CA publishes that it is revoked.

    It is named by its issuer's DER Name, in whatever spelling, and its serial
    number; ``at`` is when it was denied, ``until`` when that ends (None: never).

    Raises:
        ValueError: the note is too long, the denial ends before it begins, or the
            serial number is longer than any that is read.
        TypeError: the serial number is none.
    """

    issuer: bytes
    serial_number: int
    at: datetime
    until: datetime | None = None
    note: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_note(self.note)
        if not isinstance(self.serial_number, int):
            raise TypeError(f"serial_number: expected an int, found {self.serial_number!r:.80}")
        if self.serial_number.bit_length() > 4 * _MAX_SERIAL_DIGITS:
            raise ValueError(f"serial_number: expected at most {_MAX_SERIAL_DIGITS} hex digits")
        if self.until is not None and self.until <= self.at:
            raise ValueError(
                f"until: expected a time after {time_text(self.at)}, found {time_text(self.until)}"
            )

    @property
    def key(self) -> tuple[bytes, int]:
        """What certificates are matched by: the canonical issuer and the serial number."""
        return name_key(self.issuer), self.serial_number

    def holds(self, now: datetime) -> bool:
        """Whether it has not ended yet."""
        return self.until is None or now < self.until

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            **self.unknown,
            "issuer": self.issuer.hex(),
            "serial_number": f"{self.serial_number:x}",
            "at": time_text(self.at),
            "until": time_text(self.until),
            "note": self.note,
        }

    @classmethod
    def read(cls, value: object, where: str) -> Denial:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        serial = take(members, "serial_number", str, where)
        if not re.fullmatch(f"-?[0-9a-f]{{1,{_MAX_SERIAL_DIGITS}}}", serial):
            raise ValueError(f"{where}.serial_number: expected hex digits, found {serial!r:.80}")
        name = _take_name(members, "issuer", where)
        until = members.pop("until", None)
        try:
            return cls(
                issuer=name,
                serial_number=int(serial, 16),
                at=take_time(members, "at", where),
                until=None if until is None else _read_time_at(until, f"{where}.until"),
                note=take(members, "note", str, where),
                unknown=members,
            )
        except ValueError as error:
            text = str(error)
            raise ValueError(text if text.startswith(where) else f"{where}: {text}") from error


def _read_time_at(value: object, where: str) -> datetime:
    return read_time(typed(value, str, where), where)


def _take_name(members: dict[str, Any], name: str, where: str) -> bytes:
    """Remove a required member that is a Name in hex, and return its DER."""
    text = take(members, name, str, where)
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ValueError(f"{where}.{name}: expected hex, found {text!r:.80}") from error


def check_note(note: str) -> None:
    """
    Refuse a note that does not fit.

    Raises:
        ValueError: it is longer than MAX_NOTE.
    """
    if len(note) > MAX_NOTE:
        raise ValueError(f"note: expected at most {MAX_NOTE} characters, found {len(note)}")
