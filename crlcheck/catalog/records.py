"""
Read and write the records in a catalog, each a value with its JSON members.

They are the published images, the scopes, the trusted issuers, an operator's changes to
both, and the certificates on the deny list.
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
"""The name of every image in a store begins with this."""

MAX_NOTE = 500
"""Characters of the longest note that an operator may leave."""

MAX_EARLIER_SOURCES = 2
"""A scope's record keeps the sources of this many earlier CRLs."""


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """
    An image in the store.

    ``name`` is its object name, ``digest`` the hex digest that authenticates it, ``size``
    its size in bytes, and ``metadata`` the metadata that its header must have. ``unknown``
    and ``unknown_metadata`` are JSON members of a later version, which are kept.

    Raises:
        ValueError: a field has a value that is not allowed.
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
            raise ValueError(f"size: expected a positive number of bytes, found {self.size}")

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            **self.unknown,
            "name": self.name,
            "digest": self.digest,
            "size": self.size,
            "metadata": {**self.unknown_metadata, **metadata_to_json(self.metadata)},
        }

    @classmethod
    def read(cls, value: object, where: str) -> PublishedImage:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        name = take(members, "name", str, where)
        digest = take(members, "digest", str, where)
        size = take(members, "size", int, where)
        stated = take(members, "metadata", dict, where)
        try:
            metadata = metadata_from_json(stated)
            rest = {name: stated[name] for name in stated.keys() - METADATA_MEMBERS}
            return cls(name, digest, size, metadata, members, rest)
        except (ValueError, CorruptIndexError) as error:
            raise ValueError(f"{where}: {error}") from error


@dataclass(frozen=True, slots=True)
class Grace:
    """
    An operator's permission to use CRLs past their nextUpdate, until a time.

    ``at`` is when it was given, and ``note`` says why.

    Raises:
        ValueError: it ends before it begins, or the note is too long.
    """

    until: datetime
    at: datetime
    note: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_note(self.note)
        if self.until <= self.at:
            raise ValueError(
                f"until: expected a time after {time_text(self.at)}, found {time_text(self.until)}"
            )

    def members(self) -> dict[str, Any]:
        """Return the JSON members."""
        return {
            **self.unknown,
            "until": time_text(self.until),
            "at": time_text(self.at),
            "note": self.note,
        }

    @classmethod
    def read(cls, value: object, where: str) -> Grace:
        """Read what ``members`` gave. Raises ValueError with the place."""
        members = members_of(value, where)
        try:
            return cls(
                until=take_time(members, "until", where),
                at=take_time(members, "at", where),
                note=take(members, "note", str, where),
                unknown=members,
            )
        except ValueError as error:
            text = str(error)
            raise ValueError(text if text.startswith(where) else f"{where}: {text}") from error


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """
    The published images of one scope: a complete CRL's, and a delta CRL's if there is one.

    ``key`` is the scope of both (``ImageMetadata.scope``). ``source`` names the place that
    the complete CRL came from, ``earlier_sources`` those of the last complete CRLs before
    it. ``covers_no_distribution_point`` is an operator's setting: the CRL covers
    certificates without a distribution point although it names one. ``grace`` is another:
    until when its CRLs are used past their nextUpdate. ``unknown`` is as in PublishedImage.

    Raises:
        ValueError: an image is of another scope or of the other kind, or the delta CRL
            does not fit the complete CRL.
    """

    key: str
    base: PublishedImage
    delta: PublishedImage | None
    source: str | None
    covers_no_distribution_point: bool = False
    earlier_sources: tuple[str, ...] = ()
    grace: Grace | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._check("base", self.base)
        if self.delta is None:
            return
        self._check("delta", self.delta)
        if not delta_fits(self.delta.metadata, self.base.metadata):
            raise ValueError(
                f"delta: CRL number {self.delta.metadata.crl_number} with base "
                f"{self.delta.metadata.base_crl_number} does not fit base CRL number "
                f"{self.base.metadata.crl_number}"
            )

    def _check(self, role: str, image: PublishedImage) -> None:
        """Refuse the image of another scope, or of the other kind of CRL."""
        if image.metadata.scope != self.key:
            raise ValueError(
                f"{role}: expected an image of scope {self.key}, "
                f"found one of {image.metadata.scope}"
            )
        if image.metadata.is_delta != (role == "delta"):
            found = "a delta CRL" if image.metadata.is_delta else "a complete CRL"
            raise ValueError(f"{role}: found the image of {found}")

    def images(self) -> Iterator[PublishedImage]:
        """Yield the base and, where there is one, the delta."""
        yield self.base
        if self.delta is not None:
            yield self.delta

    def grace_until(self, of_store: Grace | None) -> datetime | None:
        """Return until when its CRLs are used past nextUpdate, by its grace or the store's."""
        ends = [one.until for one in (of_store, self.grace) if one is not None]
        return max(ends, default=None)

    def names(self, image: PublishedImage) -> bool:
        """Whether *image* is one of the images, by its name, which no other image ever has."""
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
        if self.grace is not None:
            members["grace"] = self.grace.members()
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
        earlier = tuple(typed(one, str, f"{place}[{i}]") for i, one in enumerate(sources))
        grace = members.pop("grace", None)
        if grace is not None:
            grace = Grace.read(grace, f"{where}.grace")
        try:
            return cls(key, base, delta, source, override, earlier, grace, members)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def delta_fits(delta: ImageMetadata, base: ImageMetadata) -> bool:
    """
    Whether a delta CRL and a complete CRL of one scope may be combined (RFC 5280 5.2.4).

    The number of the complete CRL must not be below the delta's BaseCRLNumber, and must
    be below the delta's own number.
    """
    if delta.base_crl_number is None or delta.crl_number is None:
        return False
    if base.is_delta or base.crl_number is None:
        return False
    return delta.base_crl_number <= base.crl_number < delta.crl_number


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """
    A trusted issuer certificate, with its source and the operator's settings.

    ``certificate`` is its DER. ``added_at`` and ``added_by`` are the time when it was added
    and the source. Older versions did not note these. Then ``added_at`` is None,
    and the next publication with the certificate counts as the source. ``self_signed`` is
    whether its own key signed it. The publisher verifies that. It is None where that was
    not possible (an algorithm that is not supported, or an older version), and then
    names and key ids decide.

    The operator's settings: paths end at a certificate that ``is_anchor``. With
    ``publishes_no_crl``, certificates of this issuer that no CRL covers pass.
    ``unknown`` is as in PublishedImage.
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
        """Return this record with missing fields from *other*, of the same certificate."""
        found = other.self_signed if self.self_signed is None else self.self_signed
        added_by = self.added_by or other.added_by
        if (found, added_by) == (self.self_signed, self.added_by):
            return self
        return replace(self, self_signed=found, added_by=added_by)

    def members(self) -> dict[str, Any]:
        """Return the JSON members beside the certificate, without those that have no value."""
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
    The record of an issuer certificate that an operator removed.

    While the catalog has it, no publication adds the certificate again. ``subject`` is its
    whole Name as DER, ``scopes`` are the scopes that were removed with it.
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
    """An operator's change of a scope."""

    REMOVED = "removed"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """
    The last change that an operator made to a scope, with the CRLs published then.

    ``base`` and ``delta`` are the metadata of those CRLs. A removed scope accepts no CRL
    that is older. With ``accepts_any`` the scope's next complete CRL need not be
    newer, and that CRL ends the permission. With ``accepts_same`` the scope was removed
    with its issuer. Once the issuer is trusted again, the same complete CRL is accepted
    if there was no delta CRL beside it.
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


# The catalog has no serial number with more hex digits.
_MAX_SERIAL_DIGITS = 1024


@dataclass(frozen=True, slots=True)
class Denial:
    """
    A certificate on the deny list, where an operator put it before its CA revokes it.

    ``issuer`` is its issuer's DER Name, in any spelling. ``at`` is the time when it was
    denied, ``until`` the time when that ends (None: never).

    Raises:
        ValueError: the note is too long, the denial ends before it begins, or the
            serial number is longer than any that is read.
        TypeError: the serial number is not an int.
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
        """The canonical issuer and the serial number, by which certificates are found."""
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
