"""
The catalog's JSON: canonical, strict about what it knows, careful with what it does not.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.catalog.catalog import Catalog, IssuerRecord
from crlcheck.errors import CatalogRollbackError, StoreError
from crlcheck.image.metadata import metadata_to_json
from support.catalogs import NOW, a_scope, catalog, changed, image, issuer, metadata, record

# ---- round trip --------------------------------------------------------------


def test_what_was_written_is_read_back() -> None:
    """Every field of every record survives the trip through JSON."""
    found = Catalog.from_bytes(catalog().to_bytes())
    assert found == catalog()
    assert found.generation == 2
    assert found.issuers == (issuer("certificate 1"), issuer("certificate 2"))
    assert found.scopes[record(issuer="B").key] == record(issuer="B", delta=True)
    assert found.scopes[record().key].delta is None


def test_the_bytes_are_canonical() -> None:
    """Equal catalogs have equal bytes, whatever the order of their making: sorted and compact."""
    body = catalog().to_bytes()
    text = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
    assert body == text.encode("ascii")
    reversed_order = dataclasses.replace(
        catalog(),
        scopes=dict(reversed(list(catalog().scopes.items()))),
        issuers=catalog().issuers[::-1] * 2,
    )
    assert reversed_order.to_bytes() == body


def test_the_members_by_name() -> None:
    """The layout that other programs read: names, base64 certificates, the header's metadata."""
    value = json.loads(
        Catalog.empty().with_scope(record(), [IssuerRecord(b"\x30\xff")], now=NOW).to_bytes()
    )
    assert value == {
        "format": 1,
        "generation": 1,
        "whole_since": 1,
        "issuers": [base64.b64encode(b"\x30\xff").decode()],
        "scopes": {
            record().key: {
                "base": {
                    "name": image().name,
                    "digest": image().digest,
                    "size": 4096,
                    "since": 1,
                    "metadata": metadata_to_json(metadata()),
                },
                "delta": None,
                "source": "s3://in/crl/a.crl",
            }
        },
    }


def test_layout_and_optional_members_are_free() -> None:
    """White space, order, repeated issuers and absent optional members read the same."""

    def change(value: Any) -> None:
        value["issuers"] = value["issuers"][::-1] + value["issuers"]
        del a_scope(value)["delta"]

    assert Catalog.from_bytes(changed(change)) == catalog()


def test_an_absent_source_is_none() -> None:
    """A record need not say where its CRL came from."""
    body = changed(lambda value: a_scope(value).pop("source"))
    assert Catalog.from_bytes(body).scopes[record().key].source is None


def test_the_empty_catalog_is_never_stored() -> None:
    """Generation 0 stands for no catalog at all, so it has no bytes."""
    assert (Catalog.empty().generation, dict(Catalog.empty().scopes)) == (0, {})
    with pytest.raises(ValueError, match="generation 0"):
        Catalog.empty().to_bytes()


# ---- the next generation -----------------------------------------------------


def test_with_scope() -> None:
    """The next generation has the new record and all issuers; the one before is unchanged."""
    before = catalog()
    after = before.with_scope(
        record(9), iter([issuer("certificate 3"), issuer("certificate 1")]), now=NOW
    )
    assert after.generation == 3
    assert after.scopes[record().key].base == image(9)
    assert after.scopes[record(issuer="B").key] == before.scopes[record(issuer="B").key]
    assert after.issuer_certificates() == (b"certificate 1", b"certificate 2", b"certificate 3")
    assert before == catalog()


def test_scopes_cannot_be_changed_in_place() -> None:
    """A catalog in use by several threads has no mutable scopes."""
    given = dict(catalog().scopes)
    held = dataclasses.replace(catalog(), scopes=given)
    given.clear()
    assert held == catalog()
    with pytest.raises(TypeError):
        del held.scopes[record().key]  # type: ignore[attr-defined]


def test_check_successor() -> None:
    """A reader follows a later generation, or the same catalog again."""
    later = catalog().with_scope(record(9), [], now=NOW)
    later.check_successor(catalog())
    catalog().check_successor(catalog())
    catalog().check_successor(Catalog.empty())
    Catalog.from_bytes(catalog().to_bytes()).check_successor(catalog())


def test_check_successor_refuses_going_back() -> None:
    """An old catalog that is restored is refused, and so is another of the same generation."""
    later = catalog().with_scope(record(9), [], now=NOW)
    message = "went back to generation 2 from generation 3"
    with pytest.raises(CatalogRollbackError, match=message) as caught:
        catalog().check_successor(later)
    assert (caught.value.generation, caught.value.held) == (2, 3)
    other = catalog().with_scope(record(10), [], now=NOW)
    with pytest.raises(StoreError, match="differs .* generation 3"):
        other.check_successor(later)


# ---- members of a later version ----------------------------------------------


def add_unknown(value: Any) -> None:
    """Add members that this version does not know, at every level."""
    value["policies"] = {"x": [1, 2.5, None, "\u00e9"]}
    scope = a_scope(value)
    scope["policy"] = {"stale": "grace"}
    scope["base"]["chunks"] = ["a"]
    scope["base"]["metadata"]["minor"] = True


def test_unknown_members_are_kept() -> None:
    """What a later version added is still there after this one changed another scope."""
    found = Catalog.from_bytes(changed(add_unknown))
    after = json.loads(found.with_scope(record(9, issuer="B"), [issuer("x")], now=NOW).to_bytes())
    expected = json.loads(changed(add_unknown))
    assert after["policies"] == expected["policies"]
    assert a_scope(after) == a_scope(expected)


def test_unknown_members_of_a_replaced_record() -> None:
    """A new CRL keeps its scope's unknown members, but not those of the image it replaces."""
    found = Catalog.from_bytes(changed(add_unknown))
    scope = a_scope(json.loads(found.with_scope(record(9), [], now=NOW).to_bytes()))
    assert scope.pop("policy") == {"stale": "grace"}
    fresh = Catalog.empty().with_scope(record(9), [], now=NOW)
    expected = a_scope(json.loads(fresh.to_bytes()))
    assert (scope["base"].pop("since"), expected["base"].pop("since")) == (3, 1)
    assert scope == expected


def test_unknown_members_count_as_contents() -> None:
    """Catalogs that differ only in what is unknown differ."""
    with pytest.raises(StoreError, match="differs"):
        Catalog.from_bytes(changed(add_unknown)).check_successor(catalog())


def test_an_earlier_format_is_not_said_to_be_later() -> None:
    """There is none, so that nothing is guessed about it."""
    with pytest.raises(StoreError) as caught:
        Catalog.from_bytes(changed(lambda value: value.update(format=0)))
    assert str(caught.value).endswith("format: expected 1, found 0")


def test_an_image_has_one_octet_at_least() -> None:
    """The smallest that there could be is read."""
    body = changed(lambda value: at("base")(value).update(size=1))
    assert Catalog.from_bytes(body).scopes[record().key].base.size == 1


def test_a_later_format_is_refused() -> None:
    """A later format may mean something that an older reader would get wrong."""
    with pytest.raises(StoreError, match="format: expected 1, found 2, written by a later"):
        Catalog.from_bytes(changed(lambda value: value.update(format=2, scopes=[])))


# ---- what is not a catalog ---------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'{"format": 1, "format": 1}',
        b'{"format": NaN}',
        b'{"format": 1e999}',
        b"[" * 100_000,
        b"9" * 5000,
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_not_json(body: bytes) -> None:
    """Broken, ambiguous or endlessly nested JSON is one StoreError."""
    with pytest.raises(StoreError, match="not JSON"):
        Catalog.from_bytes(body)


def at(*path: str) -> Callable[[Any], Any]:
    """Walk down from the first scope's record."""

    def walk(value: Any) -> Any:
        value = a_scope(value)
        for name in path:
            value = value[name]
        return value

    return walk


SCOPE = f"scopes.{record().key}"
BROKEN: list[tuple[Callable[[Any], object], str]] = [
    (lambda value: value.pop("format"), "format is missing"),
    (lambda value: value.update(format=0), "format: expected 1, found 0"),
    (lambda value: value.update(format=True), "format: expected an integer, found True"),
    (lambda value: value.update(format="1"), "format: expected an integer, found '1'"),
    (lambda value: value.pop("generation"), "generation is missing"),
    (lambda value: value.update(generation=0), "generation: expected a positive integer, found 0"),
    (lambda value: value.update(generation=-1), "generation: expected a positive integer"),
    (lambda value: value.update(generation=1.0), "generation: expected an integer, found 1.0"),
    (lambda value: value.update(issuers={}), "issuers: expected an array, found {}"),
    (lambda value: value.update(issuers=["AA==", 1]), "issuers[1]: expected a string, found 1"),
    (lambda value: value.update(issuers=["AA==", "A"]), "issuers[1]: not base64"),
    (lambda value: value.update(issuers=["AA==\n"]), "issuers[0]: not base64"),
    (lambda value: value.update(issuers=[""]), "issuers[0]: expected a certificate"),
    (lambda value: value.update(scopes=[]), "scopes: expected an object, found []"),
    (lambda value: value["scopes"].update(x=None), "scopes.x: expected an object, found None"),
    (lambda value: value["scopes"].update(x=a_scope(value)), "scopes.x: base: expected an image"),
    (lambda value: at()(value).pop("base"), f"{SCOPE}.base is missing"),
    (lambda value: at()(value).update(base=None), f"{SCOPE}.base: expected an object, found None"),
    (lambda value: at()(value).update(source=1), f"{SCOPE}.source: expected a string, found 1"),
    (lambda value: at()(value).update(delta=[]), f"{SCOPE}.delta: expected an object, found []"),
    (
        lambda value: at()(value).update(delta=at("base")(value)),
        f"{SCOPE}: delta: found the image of a complete CRL",
    ),
    (
        lambda value: at("base", "metadata")(value).update(base_crl_number=1),
        f"{SCOPE}: base: found the image of a delta CRL",
    ),
    (lambda value: at("base")(value).pop("size"), f"{SCOPE}.base.size is missing"),
    (lambda value: at("base")(value).update(size=0), f"{SCOPE}.base: size: expected a positive"),
    (lambda value: at("base")(value).update(size=False), f"{SCOPE}.base.size: expected an integer"),
    (lambda value: at("base")(value).update(name="../x"), f"{SCOPE}.base: object name '../x'"),
    (lambda value: at("base")(value).update(digest="AB" * 32), f"{SCOPE}.base: digest: expected"),
    (lambda value: at("base")(value).update(digest="0f"), f"{SCOPE}.base: digest: expected"),
    (lambda value: at("base")(value).update(digest="0" * 64 + "\n"), f"{SCOPE}.base: digest"),
    (lambda value: at("base")(value).update(metadata=None), f"{SCOPE}.base.metadata: expected"),
    (lambda value: at("base", "metadata")(value).pop("issuer"), f"{SCOPE}.base: image metadata"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_broken_catalog_is_refused(change: Callable[[Any], object], message: str) -> None:
    """What is missing or of another kind is refused whole, and the message says where it is."""
    with pytest.raises(StoreError, match=re.escape(message)):
        Catalog.from_bytes(changed(change))


@pytest.mark.parametrize("value", [None, [], "catalog", 1, True])
def test_json_that_is_no_object(value: object) -> None:
    """Only an object is a catalog."""
    with pytest.raises(StoreError, match="the catalog: expected an object"):
        Catalog.from_bytes(json.dumps(value).encode())


@given(st.data())
def test_any_damage_is_a_store_error_or_a_catalog(data: st.DataObject) -> None:
    """Whatever bytes a catalog holds, reading ends in a catalog or in StoreError."""
    body = bytearray(catalog().to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        found = Catalog.from_bytes(bytes(body))
    except StoreError:
        return
    assert Catalog.from_bytes(found.to_bytes()) == found


def test_misuse() -> None:
    """Records that contradict themselves cannot be made."""
    with pytest.raises(ValueError, match="object name"):
        dataclasses.replace(image(), name="/etc/passwd")
    with pytest.raises(ValueError, match="expected an image of scope"):
        dataclasses.replace(record(), base=image(issuer="B"))
    with pytest.raises(ValueError, match="found the image of a delta CRL"):
        dataclasses.replace(record(), base=image(base=1))
    with pytest.raises(ValueError, match="found the record of"):
        Catalog(1, {"x": record()}, ())
