"""
Every member of a catalog is looked at, and an error names the place of the one that
is wrong.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

import pytest

from crlcheck.catalog.catalog import Catalog, Denial, IssuerRecord, RemovedIssuer
from crlcheck.errors import StoreError
from support.catalogs import (
    NOW,
    again,
    held,
    issuer,
    places,
    put,
    read_value,
    record,
    value_of,
)

NAME = bytes.fromhex("300c310a300806035504030c0141")  # CN=A
ISSUER = IssuerRecord(b"certificate", NOW, "ca.pem", True, is_anchor=True, publishes_no_crl=True)

DEFAULTS: dict[str, object] = {
    "accepts_same": False,
    "added_at": None,
    "added_by": "",
    "covers_no_distribution_point": False,
    "delta": None,
    "earlier_sources": [],
    "is_anchor": False,
    "publishes_no_crl": False,
    "self_signed": None,
    "source": None,
    "until": None,
}
"""What an optional member is taken for where it is not there."""
OF_ANOTHER_KIND = {bool: 1, int: True, str: 1, list: {}, dict: [], type(None): 1}


def full() -> Catalog:
    """A catalog that has a value for every member that there is."""
    found = Catalog.empty()
    for name in "ABC":
        found = found.with_scope(record(issuer=name, delta=True), [])
    found = found.with_scope(record(9), [ISSUER, issuer("other")])
    found = found.with_override(record().key, covers_no_distribution_point=True)
    found = found.without_scope(record(issuer="B").key, now=NOW, note="retired")
    gone = RemovedIssuer(NOW, NAME, (record(issuer="C").key,), "key lost")
    found = found.without_issuer(issuer("other").fingerprint, gone)
    moved = dataclasses.replace(record(9, delta=True), earlier_sources=("s3://in/crl/old.crl",))
    found = found.with_scope(moved, [])
    return found.with_denial(Denial(NAME, 0x0F, NOW, NOW + timedelta(hours=1), "stolen"))


def is_closed(place: str) -> bool:
    """Whether what is at a place has a reader and tests of its own: a CRL's metadata."""
    return place.endswith(".metadata") or ("/g/" in place and "." in place)


VALUE = value_of(full())
PLACES = {
    **{
        place: ["entries", *way]
        for place, way in places(VALUE["entries"], is_closed)
        # The short list is for readers of many scopes, and says nothing that is not above.
        if "/x/" not in place
    },
    **{f"denied{place}": ["denied", *way] for place, way in places(VALUE["denied"])},
}


def test_the_whole_catalog_is_read_back() -> None:
    """Nothing of it is lost, and it has every member that may be left out."""
    assert again(full()) == full()
    assert value_of(read_value(VALUE)) == VALUE
    assert {way[-1] for way in PLACES.values()} >= DEFAULTS.keys()


@pytest.mark.parametrize("place", PLACES)
def test_a_member_of_another_kind_is_refused_at_its_place(place: str) -> None:
    """Whatever it is; true and false are no numbers."""
    way = PLACES[place]
    value = OF_ANOTHER_KIND[type(held(VALUE, way))]
    with pytest.raises(StoreError, match=f"cannot be read: {re.escape(place)}: expected "):
        read_value(put(VALUE, way, value))


@pytest.mark.parametrize("place", [place for place, way in PLACES.items() if way[-1] in DEFAULTS])
def test_an_optional_member_has_a_default(place: str) -> None:
    """One that is not there says the least that it could."""
    way = PLACES[place]
    found = read_value(put(VALUE, way))
    assert found == read_value(put(VALUE, way, DEFAULTS[way[-1]]))
    if held(VALUE, way) is not None:
        assert value_of(found) != VALUE


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
        read_value(put(VALUE, PLACES[place], text))


REQUIRED = [
    place
    for place, way in PLACES.items()
    if isinstance(way[-1], str) and way[-1] not in DEFAULTS and len(way) > 2
]


@pytest.mark.parametrize("place", REQUIRED)
def test_a_member_that_is_required_is_missed_at_its_place(place: str) -> None:
    """What decides who passes is never made up."""
    with pytest.raises(StoreError, match=f"cannot be read: {re.escape(place)} is missing"):
        read_value(put(VALUE, PLACES[place]))


OBJECTS = [
    place
    for place, way in PLACES.items()
    if isinstance(held(VALUE, way), dict) and not (is_closed(place) and "/g/" in place)
]
"""Every object of fields that others may add to."""


@pytest.mark.parametrize("place", OBJECTS)
def test_a_member_of_a_later_version_is_kept_at_its_place(place: str) -> None:
    """So that this version takes nothing away from what a later one has written."""
    later = put(VALUE, [*PLACES[place], "later"], {"x": [1]})
    assert value_of(read_value(later)) == later


METADATA = [
    place
    for place, way in PLACES.items()
    if way[-1] == "metadata" or ("/g/" in place and way[-1] in ("base", "delta"))
]


@pytest.mark.parametrize("place", METADATA)
def test_metadata_that_is_wrong_is_refused_with_what_it_is_of(place: str) -> None:
    """The image's, or the memory's of a CRL that was removed."""
    where = re.escape(place.rpartition(".")[0])
    with pytest.raises(StoreError, match=f"cannot be read: {where}: "):
        read_value(put(VALUE, PLACES[place], {"version": 1}))
