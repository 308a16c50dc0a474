"""
Read and write the catalog, which lists all that a store has published in one JSON object.

A catalog is a value. ``crlcheck.publisher`` makes the next one from it, and
``crlcheck.checker`` reads it.

**Version rule.** ``format`` is an integer. A reader refuses a format later than its own.
A member can be added within a format if a reader that ignores it gives no wrong
answer. Older versions ignore such a member and keep it when they rewrite the catalog.
Any other change takes a new format.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from crlcheck.catalog.records import (
    IMAGE_PREFIX,
    MAX_EARLIER_SOURCES,
    Denial,
    IssuerRecord,
    PublishedImage,
    RemovedIssuer,
    ScopeAction,
    ScopeRecord,
    Superseded,
    Tombstone,
    delta_fits,
)
from crlcheck.encoding.strict_json import canonical_json, members_of, parse_json, take, typed
from crlcheck.errors import CatalogRollbackError, CorruptIndexError, StoreError
from crlcheck.times import time_text

__all__ = [
    "CATALOG_FORMAT",
    "CATALOG_NAME",
    "IMAGE_PREFIX",
    "MAX_EARLIER_SOURCES",
    "Catalog",
    "Denial",
    "IssuerRecord",
    "PublishedImage",
    "RemovedIssuer",
    "ScopeAction",
    "ScopeRecord",
    "Superseded",
    "Tombstone",
    "delta_fits",
]

CATALOG_NAME = "catalog.json"
CATALOG_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Catalog:
    """
    One generation of the published set.

    ``generation`` counts the changes since the store was empty (0, which is never
    written). ``scopes`` has a record for each scope key. ``issuers`` are the trusted
    issuer certificates, sorted by their DER. ``tombstones`` has the last change that an
    operator made to each scope, and ``denied`` the certificates on the deny list.
    ``removed_issuers`` has, by fingerprint, the issuers that an operator removed. None of
    them is among ``issuers``, whoever wrote it there. ``superseded`` has the images that
    are published no longer, with the time. A name in it is never published again, so the
    image can be deleted safely. ``whole_since`` is the first generation of which no image
    has been deleted, None where an older version did not note it. ``unknown`` is as in
    PublishedImage.
    """

    generation: int
    scopes: Mapping[str, ScopeRecord]
    issuers: tuple[IssuerRecord, ...]
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)
    denied: tuple[Denial, ...] = ()
    superseded: Mapping[str, Superseded] = field(default_factory=dict)
    removed_issuers: Mapping[str, RemovedIssuer] = field(default_factory=dict)
    whole_since: int | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("scopes", "tombstones", "superseded", "removed_issuers"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        trusted = _merged(self.issuers)
        kept = (one for one in trusted if one.fingerprint not in self.removed_issuers)
        object.__setattr__(self, "issuers", tuple(kept))
        denied = {denial.key: denial for denial in self.denied}
        object.__setattr__(self, "denied", tuple(denied[key] for key in sorted(denied)))
        for key, record in self.scopes.items():
            if key != record.key:
                raise ValueError(f"scopes: found the record of {record.key} under {key}")
        for name in self.image_names() & self.superseded.keys():
            raise ValueError(f"superseded: found {name}, which a scope has published")

    @classmethod
    def empty(cls) -> Catalog:
        """Return the catalog of a store that has none."""
        return cls(0, {}, (), whole_since=1)

    def images(self) -> Iterator[PublishedImage]:
        """Yield every image that is published."""
        for record in self.scopes.values():
            yield from record.images()

    def image_names_at(self, generation: int) -> set[str]:
        """
        Return the images that this or an earlier generation named.

        Images that have been deleted since are missing: see ``whole_since``.
        """
        found = {image.name for image in self.images() if image.since <= generation}
        gone = self.superseded.items()
        return found | {name for name, one in gone if one.first <= generation <= one.last}

    def image_names(self) -> set[str]:
        """Return the object names of the images that are published."""
        return {image.name for image in self.images()}

    def issuer_certificates(self) -> tuple[bytes, ...]:
        """Return the trusted issuer certificates in DER."""
        return tuple(issuer.certificate for issuer in self.issuers)

    # ---- JSON ----------------------------------------------------------------

    @classmethod
    def from_bytes(cls, body: bytes) -> Catalog:
        """
        Read a catalog.

        Raises:
            StoreError: it is not a catalog, or one of a later format.
        """
        try:
            value = parse_json(body)
        except ValueError as error:
            raise StoreError(f"{CATALOG_NAME} is not JSON: {_reason(body, error)}") from error
        try:
            return _read_catalog(value)
        except (ValueError, CorruptIndexError) as error:
            raise StoreError(f"{CATALOG_NAME} cannot be read: {_reason(body, error)}") from error

    def to_bytes(self) -> bytes:
        """
        Return the catalog as canonical JSON: sorted keys, no spaces, ASCII.

        Raises:
            ValueError: the generation is not positive.
        """
        if self.generation <= 0:
            raise ValueError(f"catalog of generation {self.generation}: only later ones are stored")
        optional = {
            "tombstones": {key: one.members() for key, one in self.tombstones.items()},
            "denied": [denial.members() for denial in self.denied],
            "superseded": {name: one.members() for name, one in self.superseded.items()},
            "issuer_records": {
                one.fingerprint: members for one in self.issuers if (members := one.members())
            },
            "removed_issuers": {key: one.members() for key, one in self.removed_issuers.items()},
            "whole_since": self.whole_since,
        }
        return canonical_json(
            {
                **self.unknown,
                **{name: value for name, value in optional.items() if value},
                "format": CATALOG_FORMAT,
                "generation": self.generation,
                "issuers": [
                    base64.b64encode(issuer).decode("ascii")
                    for issuer in self.issuer_certificates()
                ],
                "scopes": {key: record.members() for key, record in self.scopes.items()},
            }
        )

    # ---- the next generation ---------------------------------------------------

    def with_scope(
        self, record: ScopeRecord, issuers: Iterable[IssuerRecord], *, now: datetime
    ) -> Catalog:
        """
        Return the next generation, with *record* for its scope and *issuers* added.

        *now* is noted for the images that it replaces. The record of an issuer that is
        there already stays, and its missing fields are filled.

        The operator's settings and the unknown members of the replaced record stay,
        because they belong to the scope and not to the CRL. A new complete CRL ends
        a reset.
        """
        previous = self.scopes.get(record.key)
        if previous is not None:
            record = replace(
                record,
                covers_no_distribution_point=previous.covers_no_distribution_point,
                unknown={**previous.unknown, **record.unknown},
            )
        record = record.published_in(self.generation + 1)
        tombstones = dict(self.tombstones)
        tombstone = tombstones.get(record.key)
        if tombstone is not None and (
            previous is None or previous.base.metadata.tbs_digest != record.base.metadata.tbs_digest
        ):
            tombstones[record.key] = replace(tombstone, accepts_any=False)
        return self._next_with_scopes(
            {**self.scopes, record.key: record},
            now=now,
            issuers=(*self.issuers, *issuers),
            tombstones=tombstones,
        )

    def lacks(self, issuers: Iterable[IssuerRecord]) -> bool:
        """Whether *issuers* would add an issuer, or a field to the record of one."""
        offered = (one for one in issuers if one.fingerprint not in self.removed_issuers)
        return _merged((*self.issuers, *offered)) != self.issuers

    def with_override(self, key: str, *, covers_no_distribution_point: bool) -> Catalog:
        """
        Return the next generation, with an operator's setting of one scope changed.

        Raises:
            ValueError: there is no such scope.
        """
        record = replace(
            self._record(key), covers_no_distribution_point=covers_no_distribution_point
        )
        return self._next(scopes={**self.scopes, key: record})

    def without_scope(self, key: str, *, now: datetime, note: str) -> Catalog:
        """
        Return the next generation without a scope, and with a tombstone for it.

        Raises:
            ValueError: there is no such scope, or the note is too long.
        """
        tombstone = self._tombstone(key, ScopeAction.REMOVED, now, note)
        scopes = {one: record for one, record in self.scopes.items() if one != key}
        tombstones = {**self.tombstones, key: tombstone}
        return self._next_with_scopes(scopes, now=now, tombstones=tombstones)

    def with_reset(self, key: str, *, now: datetime, note: str) -> Catalog:
        """
        Return the next generation, in which a scope takes any complete CRL next.

        The published CRL stays until that one comes.

        Raises:
            ValueError: there never was such a scope, or the note is too long.
        """
        removed = self.tombstones.get(key)
        if key not in self.scopes and removed is not None:
            tombstone = replace(
                removed, action=ScopeAction.RESET, at=now, note=note, accepts_any=True
            )
        else:
            tombstone = self._tombstone(key, ScopeAction.RESET, now, note)
        return self._next(tombstones={**self.tombstones, key: tombstone})

    def with_issuer_settings(
        self,
        fingerprint: str,
        *,
        is_anchor: bool | None = None,
        publishes_no_crl: bool | None = None,
    ) -> Catalog:
        """
        Return the next generation, with those settings of an issuer that are not None.

        Raises:
            ValueError: no issuer has that fingerprint.
        """
        record = self.issuer(fingerprint)
        changed = replace(
            record,
            is_anchor=record.is_anchor if is_anchor is None else is_anchor,
            publishes_no_crl=record.publishes_no_crl
            if publishes_no_crl is None
            else publishes_no_crl,
        )
        kept = (one for one in self.issuers if one.fingerprint != fingerprint)
        return self._next(issuers=(*kept, changed))

    def without_issuer(
        self, fingerprint: str, removed: RemovedIssuer, *, may_return: bool = False
    ) -> Catalog:
        """
        Return the next generation without an issuer and the scopes of *removed*.

        It has a record of both. Where the issuer *may_return* with any publication, it has
        one of the scopes alone.

        Raises:
            ValueError: no issuer has that fingerprint, or there is no such scope.
        """
        self.issuer(fingerprint)
        gone = set(removed.scopes)
        tombstones = {
            key: replace(
                self._tombstone(key, ScopeAction.REMOVED, removed.at, removed.note),
                accepts_same=True,
            )
            for key in removed.scopes
        }
        remembered = {} if may_return else {fingerprint: removed}
        return self._next_with_scopes(
            {key: record for key, record in self.scopes.items() if key not in gone},
            now=removed.at,
            tombstones={**self.tombstones, **tombstones},
            issuers=tuple(one for one in self.issuers if one.fingerprint != fingerprint),
            removed_issuers={**self.removed_issuers, **remembered},
        )

    def with_issuer_readmitted(self, fingerprint: str) -> Catalog:
        """
        Return the next generation, in which a publication may bring a removed issuer back.

        Raises:
            ValueError: no issuer of that fingerprint was removed.
        """
        if fingerprint not in self.removed_issuers:
            raise ValueError(f"issuer {fingerprint}: it was not removed from the catalog")
        kept = {key: one for key, one in self.removed_issuers.items() if key != fingerprint}
        return self._next(removed_issuers=kept)

    def issuer(self, fingerprint: str) -> IssuerRecord:
        """
        Return the trusted issuer of that fingerprint.

        Raises:
            ValueError: there is none.
        """
        for one in self.issuers:
            if one.fingerprint == fingerprint:
                return one
        raise ValueError(f"issuer {fingerprint}: there is no such issuer in the catalog")

    def with_denial(self, denial: Denial) -> Catalog:
        """Return the next generation with *denial*, and without the denials that have ended."""
        kept = [one for one in self.denied if one.key != denial.key and one.holds(denial.at)]
        return self._next(denied=(*kept, denial))

    def without_denial(self, issuer: bytes, serial_number: int, *, now: datetime) -> Catalog:
        """
        Return the next generation, in which a certificate is no longer denied by hand.

        Raises:
            ValueError: it is not on the deny list.
        """
        key = Denial(issuer, serial_number, now).key
        kept = tuple(one for one in self.denied if one.key != key)
        if len(kept) == len(self.denied):
            raise ValueError(f"serial number {serial_number:x} of that issuer is not denied")
        return self._next(denied=kept)

    def with_superseded(self, names: Iterable[str], *, now: datetime) -> Catalog:
        """Return the next generation, which notes images that nobody published for deletion."""
        noted = Superseded(_whole_seconds(now), 0, 0)
        fresh = {name: noted for name in names if name not in self.superseded}
        return self._next(superseded={**fresh, **self.superseded})

    def without_superseded(self, names: Iterable[str]) -> Catalog:
        """Return this generation without images that have been deleted."""
        gone = set(names) & self.superseded.keys()
        kept = {name: one for name, one in self.superseded.items() if name not in gone}
        last = max((self.superseded[name].last for name in gone), default=0)
        since = max(self.whole_since or 0, last + 1) if last else self.whole_since
        return replace(self, superseded=kept, whole_since=since)

    def deletable(self, now: datetime, grace: timedelta) -> list[str]:
        """Return the images that were superseded at least *grace* ago, oldest first."""
        found = [(one.at, name) for name, one in self.superseded.items() if now - one.at >= grace]
        return [name for _, name in sorted(found)]

    def with_generation(self, generation: int) -> Catalog:
        """Return this catalog with a later generation, also in the records of its new images."""
        if generation == self.generation:
            return self

        def renumbered(image: PublishedImage) -> PublishedImage:
            return replace(image, since=generation) if image.since == self.generation else image

        scopes = {
            key: replace(
                record,
                base=renumbered(record.base),
                delta=None if record.delta is None else renumbered(record.delta),
            )
            for key, record in self.scopes.items()
        }
        return replace(self, generation=generation, scopes=scopes)

    def latest_named(self) -> int:
        """Return the latest generation other than its own that its images' records name, or 0."""
        named = {image.since for image in self.images()}
        named |= {one.last for one in self.superseded.values()}
        return max(named - {self.generation}, default=0)

    def _next(self, **changes: Any) -> Catalog:
        return replace(self, generation=self.generation + 1, **changes)

    def _next_with_scopes(
        self, scopes: Mapping[str, ScopeRecord], *, now: datetime, **changes: Any
    ) -> Catalog:
        """Return the next generation, which notes the images that are published no longer."""
        named = {image.name for record in scopes.values() for image in record.images()}
        gone = {
            image.name: Superseded(_whole_seconds(now), image.since, self.generation)
            for image in self.images()
            if image.name not in named
        }
        return self._next(scopes=scopes, superseded={**self.superseded, **gone}, **changes)

    def _record(self, key: str) -> ScopeRecord:
        if key not in self.scopes:
            gone = self.tombstones.get(key)
            was = "" if gone is None else f", it was {gone.action.value} {time_text(gone.at)}"
            raise ValueError(
                f"scope {key}: there is no such scope in the catalog{was}; crlcheck scope list "
                "shows what is published"
            )
        return self.scopes[key]

    def _tombstone(self, key: str, action: ScopeAction, now: datetime, note: str) -> Tombstone:
        record = self._record(key)
        delta = None if record.delta is None else record.delta.metadata
        accepts_any = action is ScopeAction.RESET
        return Tombstone(
            action, _whole_seconds(now), note, record.base.metadata, delta, accepts_any
        )

    def check_successor(self, previous: Catalog) -> None:
        """
        Refuse to follow *previous* with this catalog unless it is later or the same.

        Raises:
            CatalogRollbackError: the generation went back, or stayed although the contents
                changed. Somebody put an old catalog back, or wrote without comparing.
        """
        if self.generation < previous.generation:
            message = (
                f"{CATALOG_NAME} went back to generation {self.generation} "
                f"from generation {previous.generation}, which is in use"
            )
        elif self.generation == previous.generation and self != previous:
            message = (
                f"{CATALOG_NAME} differs from the one in use, also of generation {self.generation}"
            )
        else:
            return
        raise CatalogRollbackError(message, generation=self.generation, held=previous.generation)


def _merged(issuers: Iterable[IssuerRecord]) -> tuple[IssuerRecord, ...]:
    """Return *issuers* sorted, with one record for each certificate."""
    found: dict[bytes, IssuerRecord] = {}
    for one in issuers:
        known = found.get(one.certificate)
        found[one.certificate] = one if known is None else known.completed_by(one)
    return tuple(found[certificate] for certificate in sorted(found))


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


# ---- reading -------------------------------------------------------------------


def _reason(body: bytes, error: Exception) -> str:
    """Return why *body* cannot be read as a catalog: what kind of file it is, or the error."""
    # Only here, because a catalog that is one does without it.
    from crlcheck.encoding.kinds import found_text, mistaken

    kind = mistaken(body, "catalog", "json", "text")
    return str(error) if kind is None else found_text(kind, "a catalog")


def _read_catalog(value: object) -> Catalog:
    members = members_of(value, "the catalog")
    found = take(members, "format", int)
    if found != CATALOG_FORMAT:
        raise ValueError(
            f"format: expected {CATALOG_FORMAT}, found {found}"
            + (", written by a later crlcheck" if found > CATALOG_FORMAT else "")
        )
    generation = take(members, "generation", int)
    if generation <= 0:
        raise ValueError(f"generation: expected a positive integer, found {generation}")
    records = members_of(members.pop("issuer_records", {}), "issuer_records")
    issuers = [
        _read_issuer(issuer, f"issuers[{i}]", records)
        for i, issuer in enumerate(take(members, "issuers", list))
    ]
    removed_issuers = {
        key: RemovedIssuer.read(one, f"removed_issuers.{key}")
        for key, one in members_of(members.pop("removed_issuers", {}), "removed_issuers").items()
    }
    scopes = {
        key: ScopeRecord.read(key, record, f"scopes.{key}")
        for key, record in take(members, "scopes", dict).items()
    }
    tombstones = {
        key: Tombstone.read(one, f"tombstones.{key}")
        for key, one in members_of(members.pop("tombstones", {}), "tombstones").items()
    }
    denied = [
        Denial.read(denial, f"denied[{i}]")
        for i, denial in enumerate(typed(members.pop("denied", []), list, "denied"))
    ]
    superseded = {
        name: Superseded.read(name, one)
        for name, one in members_of(members.pop("superseded", {}), "superseded").items()
    }
    whole_since = members.pop("whole_since", None)
    if whole_since is not None:
        whole_since = typed(whole_since, int, "whole_since")
    return Catalog(
        generation,
        scopes,
        tuple(issuers),
        tombstones,
        tuple(denied),
        superseded,
        removed_issuers,
        whole_since,
        unknown=members,
    )


def _read_issuer(value: object, where: str, records: Mapping[str, object]) -> IssuerRecord:
    text = typed(value, str, where)
    try:
        issuer = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{where}: not base64: {error}") from error
    if not issuer:
        raise ValueError(f"{where}: expected a certificate, found no bytes")
    fingerprint = IssuerRecord(issuer).fingerprint
    members = records.get(fingerprint, {})
    return IssuerRecord.read(issuer, members, f"issuer_records.{fingerprint}")
