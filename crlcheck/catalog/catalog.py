"""
Hold the catalog, or a part of it: what a published set says of some issuers.

A catalog is a value. ``crlcheck.publisher`` makes the next one from it, and
``crlcheck.checker`` reads it. ``catalog.published_set`` reads the part that is needed, and
``catalog.compare_and_swap`` writes what has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from crlcheck.catalog.records import (
    IMAGE_PREFIX,
    MAX_EARLIER_SOURCES,
    Denial,
    Grace,
    IssuerRecord,
    PublishedImage,
    RemovedIssuer,
    ScopeAction,
    ScopeRecord,
    Tombstone,
    delta_fits,
)
from crlcheck.times import time_text

__all__ = [
    "IMAGE_PREFIX",
    "MAX_EARLIER_SOURCES",
    "Catalog",
    "Denial",
    "Grace",
    "IssuerRecord",
    "PublishedImage",
    "RemovedIssuer",
    "ScopeAction",
    "ScopeRecord",
    "Tombstone",
    "delta_fits",
]


@dataclass(frozen=True, slots=True)
class Catalog:
    """
    One generation of the published set, or a part of it.

    ``generation`` is that of the root (0 for a store without one). ``scopes`` has a record
    for each scope key. ``issuers`` are the trusted issuer certificates, sorted by their DER.
    ``tombstones`` has the last change that an operator made to each scope, and ``denied``
    the certificates on the deny list. ``removed_issuers`` has, by fingerprint, the issuers
    that an operator removed. None of them is among ``issuers``, whoever wrote it there.
    ``settings`` are the operator's settings for the whole store.

    A part has all that the set has under some issuer names, and nothing else. Every method
    does with a part what it does with the whole, as far as the part reaches.
    """

    generation: int
    scopes: Mapping[str, ScopeRecord]
    issuers: tuple[IssuerRecord, ...]
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)
    denied: tuple[Denial, ...] = ()
    removed_issuers: Mapping[str, RemovedIssuer] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("scopes", "tombstones", "removed_issuers", "settings"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        trusted = _merged(self.issuers)
        kept = (one for one in trusted if one.fingerprint not in self.removed_issuers)
        object.__setattr__(self, "issuers", tuple(kept))
        denied = {denial.key: denial for denial in self.denied}
        object.__setattr__(self, "denied", tuple(denied[key] for key in sorted(denied)))
        for key, record in self.scopes.items():
            if key != record.key:
                raise ValueError(f"scopes: found the record of {record.key} under {key}")

    @classmethod
    def empty(cls) -> Catalog:
        """Return the catalog of a store that has none."""
        return cls(0, {}, ())

    def images(self) -> Iterator[PublishedImage]:
        """Yield every image that is published."""
        for record in self.scopes.values():
            yield from record.images()

    def image_names(self) -> set[str]:
        """Return the object names of the images that are published."""
        return {image.name for image in self.images()}

    def issuer_certificates(self) -> tuple[bytes, ...]:
        """Return the trusted issuer certificates in DER."""
        return tuple(issuer.certificate for issuer in self.issuers)

    # ---- the next generation ---------------------------------------------------

    def with_scope(self, record: ScopeRecord, issuers: Iterable[IssuerRecord]) -> Catalog:
        """Return the next generation, with *record* put as ``Draft.put`` does, and *issuers*."""
        draft = Draft(self)
        draft.put(record)
        return draft.catalog(issuers)

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

    @property
    def grace(self) -> Grace | None:
        """
        Until when all CRLs are used past their nextUpdate, None without such a permission.

        Raises:
            ValueError: the setting cannot be read.
        """
        value = self.settings.get("grace")
        return None if value is None else Grace.read(value, "settings.grace")

    def with_grace(self, grace: Grace | None, *, key: str | None = None) -> Catalog:
        """
        Return the next generation, with *grace* for one scope, or for all without *key*.

        None ends it.

        Raises:
            ValueError: there is no such scope.
        """
        if key is not None:
            record = replace(self._record(key), grace=grace)
            return self._next(scopes={**self.scopes, key: record})
        settings = {name: value for name, value in self.settings.items() if name != "grace"}
        if grace is not None:
            settings["grace"] = grace.members()
        return self._next(settings=settings)

    def without_scope(self, key: str, *, now: datetime, note: str) -> Catalog:
        """
        Return the next generation without a scope, and with a tombstone for it.

        Raises:
            ValueError: there is no such scope, or the note is too long.
        """
        tombstone = self._tombstone(key, ScopeAction.REMOVED, now, note)
        scopes = {one: record for one, record in self.scopes.items() if one != key}
        tombstones = {**self.tombstones, key: tombstone}
        return self._next(scopes=scopes, tombstones=tombstones)

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
        return self._next(
            scopes={key: record for key, record in self.scopes.items() if key not in gone},
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

    def _next(self, **changes: Any) -> Catalog:
        return replace(self, generation=self.generation + 1, **changes)

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


class Draft:
    """
    The next generation of a catalog while CRLs are put into it, so that many cost one copy.

    Threads may use it at once for different scopes.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._scopes: dict[str, ScopeRecord] = {}
        self._tombstones: dict[str, Tombstone] = {}

    def scope(self, key: str) -> ScopeRecord | None:
        """Return the record of a scope, None where there is none."""
        return self._scopes.get(key) or self._catalog.scopes.get(key)

    def tombstone(self, key: str) -> Tombstone | None:
        """Return the tombstone of a scope, None where there is none."""
        return self._tombstones.get(key) or self._catalog.tombstones.get(key)

    def put(self, record: ScopeRecord) -> ScopeRecord:
        """
        Put *record* in the place of the one of its scope; return it as it is then.

        The operator's settings and the unknown members of the replaced record stay,
        because they belong to the scope and not to the CRL. A new complete CRL ends
        a reset.
        """
        key, previous = record.key, self.scope(record.key)
        if previous is not None:
            record = replace(
                record,
                covers_no_distribution_point=previous.covers_no_distribution_point,
                grace=previous.grace,
                unknown={**previous.unknown, **record.unknown},
            )
        tombstone = self.tombstone(key)
        if tombstone is not None and (
            previous is None or previous.base.metadata.tbs_digest != record.base.metadata.tbs_digest
        ):
            self._tombstones[key] = replace(tombstone, accepts_any=False)
        self._scopes[key] = record
        return record

    def catalog(self, issuers: Iterable[IssuerRecord]) -> Catalog:
        """
        Return the next generation, with *issuers* added.

        The record of an issuer that is there already stays, and its missing fields are
        filled.
        """
        before = self._catalog
        return replace(
            before,
            generation=before.generation + 1,
            scopes={**before.scopes, **self._scopes},
            issuers=(*before.issuers, *issuers),
            tombstones={**before.tombstones, **self._tombstones},
        )


def _merged(issuers: Iterable[IssuerRecord]) -> tuple[IssuerRecord, ...]:
    """Return *issuers* sorted, with one record for each certificate."""
    found: dict[bytes, IssuerRecord] = {}
    for one in issuers:
        known = found.get(one.certificate)
        found[one.certificate] = one if known is None else known.completed_by(one)
    return tuple(found[certificate] for certificate in sorted(found))


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
