"""
Stores of format 1, as the last version that wrote them left them: what they say is read,
and the first change writes it in format 2, where nothing of it is lost.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.catalog import Catalog, IssuerRecord
from crlcheck.catalog.earlier import store_at
from crlcheck.catalog.format1 import MARK_NAME
from crlcheck.catalog.published_set import PublishedSet, read_set, set_of
from crlcheck.catalog.root import CATALOG_NAME, MEMBERS
from crlcheck.errors import CrlRollbackError, CrlSignatureError, EarlierSetError, StoreError
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.issuers import readmit_issuer
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import (
    advance_generation,
    deny_certificate,
    lift_denial,
    override_scope,
    remove_scope,
)
from crlcheck.publisher.publish import publish_crl
from crlcheck.publisher.timeline import read_history
from crlcheck.x509.certificates import load_certificate
from support.catalogs import held, places, put
from support.golden_stores import PASSED, REVOKED, UNKNOWN, VERDICTS, GoldenStores, checker_of
from support.memory_store import MemoryStore
from support.pki import NOW
from support.publishing import given_up_of, images_of

HOUR = timedelta(hours=1)
STORES = GoldenStores("format1")
NAMES, golden, store_of, verdicts = STORES.names, STORES.read, STORES.store, STORES.verdicts


def members(name: str) -> Any:
    """The JSON of its catalog."""
    return json.loads(golden(name)["objects"][CATALOG_NAME])


def set_in(store: MemoryStore) -> PublishedSet:
    """What the store has published."""
    return read_set(store)[0]


def name_of(name: str) -> bytes:
    """The Name of the first authority."""
    return load_certificate(golden(name)["files"]["ca"]).subject


# ---- reading -----------------------------------------------------------------------


def test_each_store_is_of_format_1() -> None:
    """The files are what they are taken for."""
    assert set(NAMES) == VERDICTS.keys()
    assert [members(name)["format"] for name in NAMES] == [1] * len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_says_of_certificates(name: str) -> None:
    """As before, delta CRLs, denials, removed issuers and scopes included."""
    assert verdicts(name, checker_of(store_of(name))) == VERDICTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_each_member_is_read(name: str) -> None:
    """Counted here by a reader of the JSON alone."""
    value, found = members(name), set_in(store_of(name))
    catalog = found.everything()
    assert found.generation == catalog.generation == value["generation"]
    assert catalog.scopes.keys() == value["scopes"].keys()
    assert catalog.tombstones.keys() == value.get("tombstones", {}).keys()
    assert catalog.removed_issuers.keys() == value.get("removed_issuers", {}).keys()
    assert len(catalog.denied) == len(value.get("denied", []))
    assert [base64.b64encode(one.certificate).decode() for one in catalog.issuers] == sorted(
        value["issuers"], key=base64.b64decode
    )
    assert found.format1 is not None
    assert list(found.format1.superseded) == sorted(value.get("superseded", {}))
    for key, record in catalog.scopes.items():
        stated = dict(value["scopes"][key])
        for image in (stated["base"], stated["delta"] or {}):
            image.pop("since", None)
        assert record.members() == stated


# ---- the first change ----------------------------------------------------------------


def _publish(store: MemoryStore, name: str, crl: str = "next") -> object:
    files = golden(name)["files"]
    issuer = files["other" if "other" in crl else "ca"]
    return publish_crl(files[crl], store, issuer=issuer, now=NOW)


CHANGES: dict[str, Callable[[MemoryStore, str], object]] = {
    "publish": _publish,
    "deny": lambda store, name: deny_certificate(store, name_of(name), 77, now=NOW),
    "clean up": lambda store, _: clean_up(store, now=NOW),
    "advance": lambda store, _: advance_generation(store, above=100),
}


def without(catalog: Catalog, *fields: str) -> Catalog:
    """A catalog with nothing in some fields."""
    empty: dict[str, Any] = {"scopes": {}, "denied": (), "issuers": (), "tombstones": {}}
    return dataclasses.replace(catalog, generation=0, **{one: empty[one] for one in fields})


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_the_first_change_writes_format_2_and_loses_nothing(name: str, change: str) -> None:
    """Beside what it changes; a checker that held format 1 goes on."""
    store = store_of(name)
    before, checker = set_in(store), checker_of(store)
    assert verdicts(name, checker) == VERDICTS[name]
    CHANGES[change](store, name)
    after = set_in(store)
    assert json.loads(store.read(CATALOG_NAME).body)["format"] == 2
    assert after.format1 is None
    assert after.generation > before.generation
    assert len(after.root.store) == 32
    changed = {
        "publish": ("scopes", "issuers", "tombstones"), "deny": ("denied",),
    }.get(change, ())  # fmt: skip
    assert without(after.everything(), *changed) == without(before.everything(), *changed)
    expected = list(VERDICTS[name])
    if change == "publish":
        expected[:3] = REVOKED, expected[1], PASSED
        if name == "tombstones":
            expected[1] = PASSED
        if name == "denied":
            expected[2] = REVOKED
    assert verdicts(name, checker) == tuple(expected)
    assert verdicts(name, checker_of(store)) == tuple(expected)
    assert checker.status().error is None
    assert after.root.num_scopes == len(after.everything().scopes)
    assert after.root.trusted.count == len(after.everything().issuers)
    # And again, now from format 2.
    CHANGES["deny"](store, name)
    assert set_in(store).generation == after.generation + 1


def test_unknown_members_are_kept_in_format_2() -> None:
    """At every level, and through a later change."""
    store, later = store_of("unknown_members"), {"x": [1]}
    for serial in (1, 2):
        deny_certificate(store, name_of("unknown_members"), serial, now=NOW)
    found = set_in(store)
    (record,), (issuer,) = found.everything().scopes.values(), found.everything().issuers
    denial = next(one for one in found.denied if one.serial_number == 8)
    assert [one.unknown for one in (found.root, record, record.base, issuer, denial)] == [
        {"later": later}
    ] * 5
    assert record.base.unknown_metadata == {"later": later}


def test_an_unknown_member_with_a_name_of_format_2_is_left_out() -> None:
    """It cannot have meant there what it means now."""
    store = store_of("plain")
    value = {**members("plain"), "top": ["x"], "settings": 1, "lost": {}, "later": 1}
    value |= {"history": "x", "cleaned": 3, "store": ""}
    store.write(CATALOG_NAME, json.dumps(value).encode())
    deny_certificate(store, name_of("plain"), 8, now=NOW)
    root = set_in(store).root
    assert root.unknown == {"later": 1}
    assert root.members().keys() <= {*MEMBERS, "later"}
    assert verdicts("plain", checker_of(store)) == (REVOKED, REVOKED, PASSED, UNKNOWN)


# ---- the rules that it stood for ----------------------------------------------------


def test_superseded_images_wait_for_their_time_and_go() -> None:
    """Their grace period begins with the first change, which cannot be too early."""
    store = store_of("superseded")
    superseded = set(members("superseded")["superseded"])
    assert len(superseded) == 3, "two images, and one that nobody published"
    assert clean_up(store, now=NOW + HOUR) == (0, 3)
    assert superseded == {*given_up_of(store)}
    assert clean_up(store, now=NOW + HOUR + HOUR / 2)[0] == 0
    assert clean_up(store, now=NOW + 2 * HOUR)[0] == 3
    assert not superseded & {*images_of(store)}
    assert verdicts("superseded", checker_of(store)) == VERDICTS["superseded"]


def test_a_removed_issuer_stays_removed() -> None:
    """Until it is readmitted."""
    store, name = store_of("removed_issuer"), "removed_issuer"
    with pytest.raises(CrlSignatureError, match="an operator removed the issuer"):
        _publish(store, name, "next of other")
    _publish(store, name)
    with pytest.raises(CrlSignatureError, match="an operator removed the issuer"):
        _publish(store, name, "next of other")
    readmit_issuer(store, IssuerRecord(golden(name)["files"]["other"]).fingerprint)
    _publish(store, name, "next of other")
    assert verdicts(name, checker_of(store))[3] is REVOKED


def test_tombstones_hold() -> None:
    """A removed scope takes nothing older, and a reset one takes anything once."""
    store, name = store_of("tombstones"), "tombstones"
    with pytest.raises(CrlRollbackError):
        _publish(store, name, "older")
    _publish(store, name, "next of other")
    with pytest.raises(CrlRollbackError):
        _publish(store, name, "older")
    _publish(store, name)
    found = set_in(store).everything()
    assert len(found.scopes) == len(found.tombstones) == 2


def test_scopes_are_set_and_removed_by_hand() -> None:
    """By their keys, as they stand in the catalog."""
    store = store_of("delta")
    (scope,) = (
        key for key, one in set_in(store).everything().scopes.items() if one.delta is not None
    )
    assert set_in(store).everything().scopes[scope].covers_no_distribution_point
    override_scope(store, scope, covers_no_distribution_point=False)
    assert not set_in(store).everything().scopes[scope].covers_no_distribution_point
    other = store_of("delta")
    remove_scope(other, scope, now=NOW)
    assert verdicts("delta", checker_of(other)) == (UNKNOWN, UNKNOWN, UNKNOWN, REVOKED)


def test_denials_are_lifted() -> None:
    """The other one stays."""
    store = store_of("denied")
    lift_denial(store, name_of("denied"), 8, now=NOW)
    assert verdicts("denied", checker_of(store)) == (REVOKED, PASSED, REVOKED, UNKNOWN)


def test_a_change_that_changes_nothing_leaves_format_1() -> None:
    """Nothing is written for the same CRL."""
    store = store_of("plain")
    before = store.read(CATALOG_NAME)
    crl = golden("plain")["files"]["older"]
    with pytest.raises(CrlRollbackError):
        publish_crl(crl, store, issuer=golden("plain")["files"]["ca"], now=NOW)
    assert store.read(CATALOG_NAME) == before
    assert not list(store.names("nodes/"))


@pytest.mark.parametrize("name", NAMES)
def test_a_mirror_follows_from_format_1_to_format_2(name: str) -> None:
    """Both are copied as they are."""
    source, target = store_of(name), MemoryStore()
    mirror_store(source, target)
    assert target.read(CATALOG_NAME).body == source.read(CATALOG_NAME).body
    checker = checker_of(target)
    assert verdicts(name, checker) == VERDICTS[name]
    deny_certificate(source, name_of(name), 77, now=NOW)
    mirror_store(source, target)
    assert target.read(CATALOG_NAME).body == source.read(CATALOG_NAME).body
    assert set_in(target).everything() == set_in(source).everything()
    assert verdicts(name, checker) == VERDICTS[name]


def test_the_mark_of_a_restored_store_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    """Readers have seen the generation that it names."""
    store = store_of("superseded")
    store.write(MARK_NAME, b'{"generation":41}')
    assert deny_certificate(store, name_of("superseded"), 8, now=NOW) == 42
    assert "although generation 41 had been written" in caplog.text
    assert deny_certificate(store, name_of("superseded"), 9, now=NOW) == 43


def test_the_mark_of_a_store_whose_catalog_is_gone_is_followed() -> None:
    """The same."""
    store = store_of("plain")
    store.delete(CATALOG_NAME)
    store.write(MARK_NAME, b'{"generation":41}')
    _publish(store, "plain")
    assert set_in(store).generation == 42


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"generation":"6"}',
        b'{"generation":true}',
        b'{"generation":-6}',
        b'{"generation":9007199254740991}',
        b'{"generation":' + b"9" * 400 + b"}",
        b"[" * 99999,
    ],
)
def test_a_broken_mark_keeps_nothing_from_being_published(body: bytes) -> None:
    """A generation that no catalog has is not followed."""
    store = store_of("plain")
    before = set_in(store).generation
    store.write(MARK_NAME, body)
    assert deny_certificate(store, name_of("plain"), 8, now=NOW) == before + 1


# ---- what cannot be read -------------------------------------------------------------


def is_closed(place: str) -> bool:
    """Whether what is at a place has a reader and tests of its own."""
    return place.endswith((".metadata", "issuers")) or place.startswith("tombstones.")


PLACES = {
    f"{name}: {place}": (name, place, way)
    for name in NAMES
    for place, way in places(members(name), is_closed)
    if way[-1] not in ("format", "whole_since", "later") and "later" not in way
}
OF_ANOTHER_KIND: dict[type, object] = {
    bool: 1,
    int: True,
    str: 1,
    list: {},
    dict: [],
    type(None): 1,
}
# Format 1 noted generations of its images, which nobody reads any more.
UNREAD = ("since", "last", "first")


@pytest.mark.parametrize("place", PLACES)
def test_a_member_of_another_kind_is_refused(place: str) -> None:
    """Whatever it is; true and false are no numbers."""
    name, where, way = PLACES[place]
    if way[-1] in UNREAD or where.startswith("superseded."):
        return
    value = OF_ANOTHER_KIND[type(held(members(name), way))]
    with pytest.raises(StoreError, match=r"cannot be read: .*expected "):
        set_of(json.dumps(put(members(name), way, value)).encode(), MemoryStore())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generation": 0}, "generation: expected a positive integer, found 0"),
        ({"generation": -1}, "generation: expected a positive integer"),
        ({"generation": 1.0}, "generation: expected an integer, found 1.0"),
        ({"issuers": ["AA==", "A"]}, r"issuers\[1\]: not base64"),
        ({"issuers": [""]}, r"issuers\[0\]: expected a certificate"),
        ({"superseded": {"catalog.json": {}}}, "expected the name of an image"),
        ({"superseded": {"images/../x": {}}}, "object name"),
        ({"format": True}, "format: expected an integer, found True"),
        ({"format": "1"}, "format: expected an integer, found '1'"),
        ({"format": 0}, "format: expected 2, found 0"),
        ({"format": 3}, "format: expected 2, found 3, written by a later crlcheck"),
    ],
)
def test_a_broken_catalog_is_refused(change: dict[str, object], message: str) -> None:
    """Whole, and the message says where it is."""
    body = json.dumps({**members("plain"), **change}).encode()
    with pytest.raises(StoreError, match=message):
        set_of(body, MemoryStore())


def test_a_name_is_never_published_and_superseded() -> None:
    """Such a catalog would have a clean-up delete an image in use."""
    value = members("plain")
    (record,) = value["scopes"].values()
    value["superseded"] = {record["base"]["name"]: {"at": "2026-03-01T00:00:00Z"}}
    with pytest.raises(StoreError, match="which a scope has published"):
        set_of(json.dumps(value).encode(), MemoryStore())


@pytest.mark.parametrize("name", NAMES)
def test_it_has_no_history_until_the_first_change(name: str) -> None:
    """That is said, and the store is not shown as it was by what it is now."""
    store = store_of(name)
    for ask in (
        lambda: store_at(store, 1),
        lambda: store_at(store, HOUR, now=NOW),
        lambda: next(read_history(store)),
    ):
        with pytest.raises(EarlierSetError, match="format 1, which has no history") as caught:
            ask()
        assert caught.value.found == "deleted"
    deny_certificate(store, name_of(name), 4711, now=NOW)
    (entry,) = read_history(store)
    assert (entry.action, entry.generation) == ("deny", set_in(store).generation)
    assert store_at(store, set_in(store).generation, now=NOW + HOUR).generation
