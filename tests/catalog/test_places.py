"""
Every member of a catalog is looked at, and an error names the place of the one that
is wrong.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.catalog import Catalog, Denial, IssuerRecord, RemovedIssuer
from crlcheck.errors import StoreError
from support.catalogs import NOW, issuer, record

NAME = bytes.fromhex("300c310a300806035504030c0141")  # CN=A
ISSUER = IssuerRecord(b"certificate", NOW, "ca.pem", True, is_anchor=True, publishes_no_crl=True)

DEFAULTS: dict[str, object] = {
    "accepts_same": False,
    "added_at": None,
    "added_by": "",
    "covers_no_distribution_point": False,
    "delta": None,
    "denied": [],
    "earlier_sources": [],
    "is_anchor": False,
    "issuer_records": {},
    "publishes_no_crl": False,
    "removed_issuers": {},
    "self_signed": None,
    "since": 0,
    "source": None,
    "superseded": {},
    "tombstones": {},
    "until": None,
    "whole_since": None,
}
"""What an optional member is taken for where it is not there."""
KEYED = [["issuer_records"], ["removed_issuers"], ["scopes"], ["superseded"], ["tombstones"]]
"""Objects whose members are named by what they are about."""
OF_ANOTHER_KIND = {bool: 1, int: True, str: 1, list: {}, dict: [], type(None): 1}


def full() -> Catalog:
    """A catalog that has a value for every member that there is."""
    found = Catalog.empty()
    for name in "ABC":
        found = found.with_scope(record(issuer=name, delta=True), [], now=NOW)
    found = found.with_scope(record(9), [ISSUER, issuer("other")], now=NOW)
    found = found.with_override(record().key, covers_no_distribution_point=True)
    found = found.without_scope(record(issuer="B").key, now=NOW, note="retired")
    gone = RemovedIssuer(NOW, NAME, (record(issuer="C").key,), "key lost")
    found = found.without_issuer(issuer("other").fingerprint, gone)
    moved = dataclasses.replace(record(9, delta=True), earlier_sources=("s3://in/crl/old.crl",))
    found = found.with_scope(moved, [], now=NOW)
    return found.with_denial(Denial(NAME, 0x0F, NOW, NOW + timedelta(hours=1), "stolen"))


def places(value: Any, where: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Each member of a catalog, as messages name it, with the way to it."""
    if isinstance(value, list):
        for i, one in enumerate(value):
            yield f"{where}[{i}]", [i]
            yield from ((place, [i, *way]) for place, way in places(one, f"{where}[{i}]"))
    elif isinstance(value, dict):
        for key, one in value.items():
            place = f"{where}.{key}" if where else key
            yield place, [key]
            # A CRL's metadata has a reader and tests of its own, and an issuer is a string.
            inside = key not in ("metadata", "issuers") and not where.startswith("tombstones.")
            if inside:
                yield from ((below, [key, *way]) for below, way in places(one, place))


VALUE = json.loads(full().to_bytes())
PLACES = dict(places(VALUE))


def put(way: list[Any], *value: object) -> bytes:
    """The catalog's JSON with another value at the end of a way, or none."""
    whole = copy.deepcopy(VALUE)
    holder = whole
    for step in way[:-1]:
        holder = holder[step]
    if value:
        (holder[way[-1]],) = value
    else:
        del holder[way[-1]]
    return json.dumps(whole).encode()


def held(way: list[Any]) -> Any:
    """What stands at the end of a way."""
    value = VALUE
    for step in way:
        value = value[step]
    return value


def test_the_whole_catalog_is_read_back() -> None:
    """Nothing of it is lost, and it has every member that may be left out."""
    assert Catalog.from_bytes(full().to_bytes()) == full()
    assert {way[-1] for way in PLACES.values()} >= DEFAULTS.keys()


@pytest.mark.parametrize("place", PLACES)
def test_a_member_of_another_kind_is_refused_at_its_place(place: str) -> None:
    """Whatever it is; true and false are no numbers."""
    way = PLACES[place]
    value = OF_ANOTHER_KIND[type(held(way))]
    with pytest.raises(StoreError, match=f"cannot be read: {re.escape(place)}: expected "):
        Catalog.from_bytes(put(way, value))


@pytest.mark.parametrize("place", [place for place, way in PLACES.items() if way[-1] in DEFAULTS])
def test_an_optional_member_has_a_default(place: str) -> None:
    """One that is not there says the least that it could."""
    way = PLACES[place]
    found = Catalog.from_bytes(put(way))
    assert found.to_bytes() == Catalog.from_bytes(put(way, DEFAULTS[way[-1]])).to_bytes()
    if held(way) is not None:
        assert json.loads(found.to_bytes()) != VALUE


TIMES = [place for place, way in PLACES.items() if way[-1] in ("added_at", "at", "until")]


@pytest.mark.parametrize("place", TIMES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [("yesterday", "a time in ISO 8601"), ("2026-11-02T00:00:00+01:00", "a time in UTC")],
)
def test_a_text_that_is_no_time_is_refused_at_its_place(
    place: str, text: str, expected: str
) -> None:
    """Nor is one in another zone than UTC."""
    message = f"cannot be read: {re.escape(place)}: expected {expected}, found '{re.escape(text)}'"
    with pytest.raises(StoreError, match=message):
        Catalog.from_bytes(put(PLACES[place], text))


REQUIRED = [
    place
    for place, way in PLACES.items()
    if isinstance(way[-1], str) and way[-1] not in DEFAULTS and way[-2:-1] not in KEYED
]


@pytest.mark.parametrize("place", REQUIRED)
def test_a_member_that_is_required_is_missed_at_its_place(place: str) -> None:
    """What decides who passes is never made up."""
    with pytest.raises(StoreError, match=f"cannot be read: {re.escape(place)} is missing"):
        Catalog.from_bytes(put(PLACES[place]))


MAPS = {"issuer_records", "removed_issuers", "scopes", "superseded", "tombstones"}
OBJECTS = [
    place
    for place, way in PLACES.items()
    if isinstance(held(way), dict)
    and way[-1] not in MAPS
    and way[0] != "superseded"
    and (way[0] != "tombstones" or len(way) == 2)
]
"""Every object of fields that others may add to."""


@pytest.mark.parametrize("place", ["", *OBJECTS])
def test_a_member_of_a_later_version_is_kept_at_its_place(place: str) -> None:
    """So that this version takes nothing away from what a later one has written."""
    body = put([*PLACES.get(place, []), "later"], {"x": [1]})
    assert json.loads(Catalog.from_bytes(body).to_bytes()) == json.loads(body)


METADATA = [
    place
    for place, way in PLACES.items()
    if way[-1] in ("base", "delta", "metadata") and isinstance(held(way), dict)
]


@pytest.mark.parametrize("place", METADATA)
def test_metadata_that_is_wrong_is_refused_with_what_it_is_of(place: str) -> None:
    """The image's, or the memory's of a CRL that was removed."""
    way = PLACES[place]
    if way[0] == "scopes" and way[-1] != "metadata":
        way, place = [*way, "metadata"], f"{place}.metadata"
    with pytest.raises(
        StoreError, match=f"cannot be read: {re.escape(place.rpartition('.')[0])}: "
    ):
        Catalog.from_bytes(put(way, {"version": 1}))
