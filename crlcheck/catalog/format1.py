"""
Read a catalog of format 1, which had the whole published set in one JSON object.

The first change of the set writes it in format 2.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.entries import read_certificate
from crlcheck.catalog.records import (
    IMAGE_PREFIX,
    Denial,
    IssuerRecord,
    RemovedIssuer,
    ScopeRecord,
    Tombstone,
)
from crlcheck.catalog.root import MAX_GENERATION
from crlcheck.encoding.strict_json import members_of, parse_json, take, typed
from crlcheck.stores import ObjectStore
from crlcheck.stores.object_store import check_name

FORMAT = 1

_log = logging.getLogger(__name__)

MARK_NAME = "generation.json"
"""Beside a catalog of format 1: the last generation that a writer gave out."""


def marked_generation(store: ObjectStore) -> int:
    """
    Return the last generation that a writer of format 1 noted, 0 where there is none.

    It is later than the catalog's where somebody has put an old catalog back.

    Raises:
        StoreError: the store does not answer.
    """
    try:
        members = members_of(parse_json(store.read(MARK_NAME).body), MARK_NAME)
        found = take(members, "generation", int)
    except FileNotFoundError:
        return 0
    except ValueError as error:
        _log.warning("%s/%s cannot be read: %s", store.url, MARK_NAME, error)
        return 0
    # A generation that no catalog has is not followed.
    return found if 0 < found < MAX_GENERATION - 1 else 0


@dataclass(frozen=True, slots=True)
class Format1:
    """
    A catalog of format 1.

    ``superseded`` are the images that it published no longer. ``unknown`` has JSON members
    of a later version, which are kept.
    """

    catalog: Catalog
    superseded: tuple[str, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_format1(members: dict[str, Any]) -> Format1:
    """
    Read the members of the JSON object.

    Raises:
        ValueError: one is missing, or cannot be read; the message has the place.
        CorruptIndexError: the metadata of an image cannot be read.
    """
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
        key: ScopeRecord.read(key, _without_since(record), f"scopes.{key}")
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
    superseded = members_of(members.pop("superseded", {}), "superseded")
    for name in superseded:
        check_name(name)
        if not name.startswith(IMAGE_PREFIX):
            # Every object that is listed here gets deleted, so it must be an image.
            raise ValueError(f"superseded.{name}: expected the name of an image")
    members.pop("whole_since", None)
    members.pop("format", None)
    catalog = Catalog(
        generation,
        scopes,
        tuple(issuers),
        tombstones,
        tuple(denied),
        removed_issuers,
    )
    published = catalog.image_names() & superseded.keys()
    if published:
        raise ValueError(f"superseded: found {published.pop()}, which a scope has published")
    return Format1(catalog, tuple(sorted(superseded)), members)


def _without_since(record: object) -> object:
    """Return a scope's record without the generations that format 1 noted of its images."""
    if not isinstance(record, dict):
        return record
    return {
        name: {key: member for key, member in value.items() if key != "since"}
        if name in ("base", "delta") and isinstance(value, dict)
        else value
        for name, value in record.items()
    }


def _read_issuer(value: object, where: str, records: Mapping[str, object]) -> IssuerRecord:
    issuer = read_certificate(typed(value, str, where), where)
    fingerprint = IssuerRecord(issuer).fingerprint
    members = records.get(fingerprint, {})
    return IssuerRecord.read(issuer, members, f"issuer_records.{fingerprint}")
