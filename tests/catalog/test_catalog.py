"""
The catalog as a value, and its JSON: strict about what it knows, careful with what it
does not.
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
from crlcheck.catalog.entries import entries_of, name_hash
from crlcheck.catalog.published_set import set_of
from crlcheck.errors import StoreError
from crlcheck.image.metadata import metadata_to_json
from support.catalogs import (
    SCOPE,
    a_scope,
    again,
    catalog,
    changed,
    image,
    issuer,
    metadata,
    read_value,
    record,
    value_of,
)
from support.memory_store import MemoryStore

# ---- round trip --------------------------------------------------------------


def test_what_was_written_is_read_back() -> None:
    """Every field of every record survives the trip through JSON."""
    found = again(catalog())
    assert found == catalog()
    assert found.generation == 2
    assert found.issuers == (issuer("certificate 1"), issuer("certificate 2"))
    assert found.scopes[record(issuer="B").key] == record(issuer="B", delta=True)
    assert found.scopes[record().key].delta is None


def test_the_entries_are_those_of_equal_catalogs() -> None:
    """Equal catalogs have equal entries, whatever the order of their making."""
    reversed_order = dataclasses.replace(
        catalog(),
        scopes=dict(reversed(list(catalog().scopes.items()))),
        issuers=catalog().issuers[::-1] * 2,
    )
    assert entries_of(reversed_order) == entries_of(catalog())


def test_the_entries_by_name() -> None:
    """The layout that other programs read: names, base64 certificates, the header's metadata."""
    certificate = IssuerRecord(b"\x30\xff")
    home = name_hash(metadata().issuer)
    assert entries_of(Catalog.empty().with_scope(record(), [certificate])) == {
        f"{name_hash(b'')}/i/{certificate.fingerprint}": {
            "certificate": base64.b64encode(b"\x30\xff").decode()
        },
        f"{home}/s/-/{record().key}": {
            "base": {
                "name": image().name,
                "digest": image().digest,
                "size": 4096,
                "metadata": metadata_to_json(metadata()),
            },
            "delta": None,
            "source": "s3://in/crl/a.crl",
        },
        f"{home}/x/{record().key}": {
            "idp": None,
            "verifier": (b"k" * 32).hex(),
            "any_point": False,
        },
    }


def test_absent_optional_members_read_the_same() -> None:
    """A delta CRL that is not named is none."""
    assert changed(lambda value: a_scope(value).pop("delta")) == catalog()


def test_an_absent_source_is_none() -> None:
    """A record need not say where its CRL came from."""
    found = changed(lambda value: a_scope(value).pop("source"))
    assert found.scopes[record().key].source is None


# ---- the next generation -----------------------------------------------------


def test_with_scope() -> None:
    """The next generation has the new record and all issuers; the one before is unchanged."""
    before = catalog()
    after = before.with_scope(record(9), iter([issuer("certificate 3"), issuer("certificate 1")]))
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


# ---- members of a later version ----------------------------------------------


def add_unknown(value: Any) -> None:
    """Add members that this version does not know, at every level."""
    scope = a_scope(value)
    scope["policy"] = {"stale": "grace"}
    scope["base"]["chunks"] = ["a"]
    scope["base"]["metadata"]["minor"] = True


def test_unknown_members_are_kept() -> None:
    """What a later version added is still there after this one changed another scope."""
    found = changed(add_unknown)
    after = value_of(found.with_scope(record(9, issuer="B"), [issuer("x")]))
    expected = value_of(catalog())
    add_unknown(expected)
    assert a_scope(after) == a_scope(expected)


def test_unknown_members_of_a_replaced_record() -> None:
    """A new CRL keeps its scope's unknown members, but not those of the image it replaces."""
    scope = a_scope(value_of(changed(add_unknown).with_scope(record(9), [])))
    assert scope.pop("policy") == {"stale": "grace"}
    assert scope == a_scope(value_of(Catalog.empty().with_scope(record(9), [])))


def test_unknown_members_count_as_contents() -> None:
    """Catalogs that differ only in what is unknown differ."""
    assert changed(add_unknown) != catalog()


def test_an_image_has_one_octet_at_least() -> None:
    """The smallest that there could be is read."""
    found = changed(lambda value: at("base")(value).update(size=1))
    assert found.scopes[record().key].base.size == 1


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
        set_of(body, MemoryStore())


def at(*path: str) -> Callable[[Any], Any]:
    """Walk down from the first scope's record."""

    def walk(value: Any) -> Any:
        value = a_scope(value)
        for name in path:
            value = value[name]
        return value

    return walk


ISSUER = f"{name_hash(b'')}/i/{issuer('certificate 1').fingerprint}"


def entry(key: str, change: Callable[[Any], object]) -> Callable[[Any], object]:
    """Change what stands under a key."""
    return lambda value: change(value["entries"][key])


BROKEN: list[tuple[Callable[[Any], object], str]] = [
    (entry(ISSUER, lambda one: one.update(certificate=1)), "certificate: expected a string"),
    (entry(ISSUER, lambda one: one.update(certificate="A")), "certificate: not base64"),
    (entry(ISSUER, lambda one: one.update(certificate="AA==\n")), "certificate: not base64"),
    (entry(ISSUER, lambda one: one.update(certificate="")), "expected a certificate"),
    (entry(ISSUER, lambda one: one.update(certificate="AA==")), "certificate of another issuer"),
    (entry(ISSUER, lambda one: one.pop("certificate")), f"{ISSUER}.certificate is missing"),
    (
        lambda value: value["entries"].update({SCOPE: 1}),
        f"{SCOPE}: expected an object, found 1",
    ),
    (
        lambda value: value["entries"].update({SCOPE: []}),
        f"{SCOPE}: expected an object, found []",
    ),
    (
        lambda value: value["entries"].update({SCOPE[:-2]: a_scope(value)}),
        "base: expected an image of scope",
    ),
    (
        lambda value: value["entries"].update({f"00{SCOPE[2:]}": a_scope(value)}),
        "belongs to the name of another issuer",
    ),
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
        changed(change)


@pytest.mark.parametrize("value", [None, [], "catalog", 1, True])
def test_json_that_is_no_object(value: object) -> None:
    """Only an object is a catalog."""
    with pytest.raises(StoreError, match="the catalog: expected an object"):
        set_of(json.dumps(value).encode(), MemoryStore())


@given(st.data())
def test_any_damage_is_a_store_error_or_a_catalog(data: st.DataObject) -> None:
    """Whatever JSON a node holds, reading ends in a catalog or in StoreError."""
    body = bytearray(json.dumps(value_of(catalog())["entries"]).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        entries = json.loads(body)
    except ValueError:
        return
    try:
        found = read_value({"entries": entries, "denied": []})
    except StoreError:
        return
    assert again(found).scopes == found.scopes


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
