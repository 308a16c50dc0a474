"""What lies under which key, and that a part of a set has all that its names need."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from crlcheck.catalog.catalog import Catalog, IssuerRecord, RemovedIssuer, ScopeRecord
from crlcheck.catalog.entries import (
    ANY_POINT,
    catalog_of,
    changed_entries,
    elsewhere,
    entries_of,
    name_hash,
    point_hash,
    points_of_crl,
    read_key,
    staleness_of_entry,
)
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.catalog.tree import Staleness
from crlcheck.demo.encoding import der
from crlcheck.errors import StoreError
from crlcheck.x509.distribution_points import PointKey
from support.catalogs import (
    NOW,
    SCOPE,
    again,
    catalog,
    changed,
    image,
    issuer,
    metadata,
    record,
    store_of,
    stored,
    value_of,
)
from support.pki import make_authority

CA, OTHER = make_authority("CA"), make_authority("Other")
CA_NAME = CA.certificate.subject.public_bytes()
OTHER_NAME = OTHER.certificate.subject.public_bytes()


def uri(number: int) -> str:
    """The name of a partition's distribution point."""
    return f"http://ca.example/{number}.crl"


def partition(*numbers: int, indirect: bool = False, name: bytes = CA_NAME) -> ScopeRecord:
    """A scope whose CRL has a distribution point with these names."""
    full = b"".join(der(0x86, uri(number).encode()) for number in numbers)
    point = der(0xA0, der(0xA0, full)) if numbers else b""
    idp = der(0x30, point, b"\x84\x01\xff" if indirect else b"") if numbers or indirect else None
    described = dataclasses.replace(
        metadata(),
        issuer=name,
        issuer_hash=name_hash(name).encode(),
        issuing_distribution_point=idp,
    )
    place = dataclasses.replace(image(), name=f"images/{described.scope}.crlx", metadata=described)
    return ScopeRecord(described.scope, place, None, None)


def _point(number: int) -> PointKey:
    """The point of a partition, as certificates name it."""
    (key,) = points_of_crl(partition(number).base.metadata)
    return key


def full() -> Catalog:
    """Partitions, one with several names, one without, an indirect one, two issuers."""
    found = Catalog.empty()
    trusted = [IssuerRecord(CA.der, NOW, "ca.pem"), IssuerRecord(OTHER.der, NOW, "ca.pem")]
    for one in (
        partition(1), partition(2, 3, 4), partition(), partition(9, indirect=True),
        partition(1, name=OTHER_NAME),
    ):  # fmt: skip
        found = found.with_scope(one, trusted)
    return found


def set_in(found: Catalog) -> PublishedSet:
    """A set that was published."""
    return read_set(stored(found))[0]


# ---- keys --------------------------------------------------------------------------


def test_a_scope_of_several_points_lies_under_each() -> None:
    """Its record under the first by hash, and references to it under the others."""
    several = partition(2, 3, 4)
    keys = entries_of(Catalog.empty().with_scope(several, []))
    first, *others = sorted(point_hash(_point(number)) for number in (2, 3, 4))
    home = name_hash(CA_NAME)
    assert keys[f"{home}/s/{first}/{several.key}"] == several.members()
    for point in others:
        assert keys[f"{home}/s/{point}/{several.key}"] == {"at": first}
    assert len(keys) == 4, "and the short list"


def test_a_scope_without_points_that_an_operator_widens_is_found_without() -> None:
    """A reference under "-" comes and goes with the setting."""
    one = partition(1)
    before = Catalog.empty().with_scope(one, [])
    after = before.with_override(one.key, covers_no_distribution_point=True)
    place = f"{name_hash(CA_NAME)}/s/{ANY_POINT}/{one.key}"
    assert changed_entries(before, after)[place] == {"at": point_hash(_point(1))}
    assert changed_entries(after, before)[place] is None
    plain = partition()
    widened = Catalog.empty().with_scope(plain, [])
    widened = widened.with_override(plain.key, covers_no_distribution_point=True)
    assert again(widened).scopes == widened.scopes, "it has its record there"


def test_the_list_of_indirect_crls() -> None:
    """They lie under their own issuer, and in a list of all."""
    one = partition(9, indirect=True)
    keys = entries_of(Catalog.empty().with_scope(one, []))
    assert keys[f"!x/{name_hash(CA_NAME)}/{one.key}"] == {"name": CA_NAME.hex()}
    assert not any(key.startswith("!x/") for key in entries_of(catalog()))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/s/-/b", "s"),
        ("a/i/b", "i"),
        ("a/r/b", "r"),
        ("a/x/b", "x"),
        ("a/g/b", "g"),
        ("a/z/b", None),
        ("a/s/b", None),
        ("a/i/b/c", None),
        ("a/s/b/c/d", None),
        ("!x/a/b", None),
        ("!x/s/-/b", None),
        ("!x/i/b", None),
        ("a", None),
        ("", None),
        ("///", None),
    ],
)
def test_the_parts_of_a_key(key: str, kind: str | None) -> None:
    """What has another shape is of a later kind, and no error."""
    found = read_key(key)
    assert (None if found is None else found.kind) == kind
    assert found is None or str(found) == key


# ---- parts -----------------------------------------------------------------------------


def test_everything_is_read_back() -> None:
    """Each kind of entry, in one round."""
    found = full().with_reset(partition(1).key, now=NOW, note="x")
    fingerprint = IssuerRecord(OTHER.der).fingerprint
    gone = RemovedIssuer(NOW, OTHER_NAME, (partition(1, name=OTHER_NAME).key,))
    found = found.without_issuer(fingerprint, gone)
    assert again(found) == found
    assert catalog_of(entries_of(found), found.generation) == found


def test_a_part_has_what_lies_under_its_names() -> None:
    """And nothing of the others."""
    part = set_in(full()).part([OTHER_NAME])
    assert part.scopes.keys() == {partition(1, name=OTHER_NAME).key}
    assert [one.certificate for one in part.issuers] == [OTHER.der]
    assert set_in(full()).part([]).scopes == {}


@pytest.fixture
def partitions(monkeypatch: pytest.MonkeyPatch) -> tuple[Catalog, PublishedSet]:
    """So many partitions that they do not lie in two leaves."""
    monkeypatch.setattr("crlcheck.catalog.tree.MAX_LEAF", 4000)
    found = full()
    for number in range(10, 40):
        found = found.with_scope(partition(number, number + 100), [])
    return found, set_in(found)


def test_a_part_of_many_partitions_has_those_of_the_points(
    partitions: tuple[Catalog, PublishedSet],
) -> None:
    """By any of their names, and those that need no point; the others are not read."""
    found, held = partitions
    home = name_hash(CA_NAME)
    for number, expected in ((20, 20), (120, 20), (3, 2)):
        part = held.part([CA_NAME], {home: {_point(number)}})
        one = partition(2, 3, 4) if expected == 2 else partition(expected, expected + 100)
        assert part.scopes == {key: found.scopes[key] for key in (one.key, partition().key)}
        assert {one.certificate for one in part.issuers} == {CA.der}
    assert held.part([CA_NAME], {}).scopes.keys() == {partition().key}
    assert len(held.part([CA_NAME]).scopes) == len(found.scopes) - 1
    widened = found.with_override(partition(30, 130).key, covers_no_distribution_point=True)
    part = set_in(widened).part([CA_NAME], {home: set()})
    assert part.scopes.keys() == {partition().key, partition(30, 130).key}


def test_a_part_has_the_crl_that_names_its_own_issuer(
    partitions: tuple[Catalog, PublishedSet],
) -> None:
    """As a directory name, which a certificate without points of its own may stand for."""
    found, _ = partitions
    name = der(0xA4, CA_NAME)
    idp = der(0x30, der(0xA0, der(0xA0, name)))
    described = dataclasses.replace(partition().base.metadata, issuing_distribution_point=idp)
    own = ScopeRecord(described.scope, dataclasses.replace(image(77), metadata=described), None, "")
    part = set_in(found.with_scope(own, [])).part([CA_NAME], {})
    assert own.key in part.scopes
    assert "/s/./" in str(list(entries_of(found.with_scope(own, []))))


def test_a_changed_part_changes_nothing_else(partitions: tuple[Catalog, PublishedSet]) -> None:
    """Its difference has no key outside of it."""
    _, held = partitions
    part = held.part([CA_NAME], {name_hash(CA_NAME): {_point(20)}})
    after = part.without_scope(partition(20, 120).key, now=NOW, note="")
    keys = changed_entries(part, after)
    assert {key.rpartition("/")[2] for key in keys} == {partition(20, 120).key}
    assert sorted(kind for key in keys if (kind := key.split("/")[1]) != "s") == ["g", "x"]


def test_the_part_of_a_scope_is_found_by_its_key() -> None:
    """Published or removed; another text finds nothing."""
    found = full()
    held = set_in(found.without_scope(partition(1).key, now=NOW, note=""))
    for one in (partition(1), partition(2, 3, 4), partition(9, indirect=True)):
        assert held.find_scope(one.key) == CA_NAME
    assert held.find_scope("x") is None
    assert held.find_scope("") is None
    assert held.find_scope(IssuerRecord(CA.der).fingerprint) is None


def test_the_part_of_an_issuer_is_found_by_its_fingerprint() -> None:
    """Trusted or removed."""
    fingerprint = IssuerRecord(OTHER.der).fingerprint
    trusted = set_in(full())
    removed = set_in(full().without_issuer(fingerprint, RemovedIssuer(NOW, OTHER_NAME)))
    for held in (trusted, removed):
        part = held.issuers_named(fingerprint[:9].__eq__)
        assert not part.scopes
        part = held.issuers_named(lambda one: one.startswith(fingerprint[:9]))
        assert part.scopes.keys() == {partition(1, name=OTHER_NAME).key}


# ---- what is not right -----------------------------------------------------------------


@pytest.mark.parametrize("key", ["x/z/y", "x", "!y/a/b", "a/s/b", "a/i/b/c/d"])
@pytest.mark.parametrize("member", [{"a": 1}, [], 1, None, "x"])
def test_entries_of_a_later_kind_are_left_out_and_kept(key: str, member: Any) -> None:
    """No writer of this version takes them away."""
    value = value_of(catalog())
    if member is not None:
        value["entries"][key] = member
    store = store_of(value)
    held = read_set(store)[0]
    assert held.everything().scopes == catalog().scopes
    assert elsewhere(value["entries"]) == set()
    assert len(list(held.scopes())) == 2


@pytest.mark.parametrize("at", ["gone", "", SCOPE.split("/")[2] + "x"])
def test_a_reference_to_no_record_is_refused(at: str) -> None:
    """A scope that is skipped may be the one that revokes."""
    home, _, _, name = SCOPE.split("/")

    def change(value: Any) -> None:
        value["entries"][f"{home}/s/{'0' * 16}/{name}x"] = {"at": at}

    with pytest.raises(StoreError, match="refers to .*, which is missing"):
        changed(change)


@pytest.mark.parametrize("at", [1, None, [], {}])
def test_a_reference_of_another_kind_is_refused(at: Any) -> None:
    """It is no place."""
    with pytest.raises(StoreError, match="at: expected a string"):
        changed(lambda value: value["entries"].update({SCOPE: {"at": at}}))


@pytest.mark.parametrize("kind", ["r", "g", "s", "i"])
def test_what_belongs_to_another_name_is_refused(kind: str) -> None:
    """An image, a certificate, a removal and a tombstone under a name that is not theirs."""
    found = full().with_reset(partition(1).key, now=NOW, note="")
    found = found.without_issuer(
        IssuerRecord(OTHER.der).fingerprint, RemovedIssuer(NOW, OTHER_NAME)
    )
    value = value_of(found)
    key = next(
        key
        for key, one in value["entries"].items()
        if key.split("/")[1] == kind and "at" not in {*one} - ({"at"} if kind in "rg" else set())
    )
    value["entries"][f"{'0' * 32}/{key.partition('/')[2]}"] = value["entries"].pop(key)
    with pytest.raises(StoreError, match="found what belongs to the name of another issuer"):
        read_set(store_of(value))[0].everything()


def test_a_certificate_that_only_one_version_can_read_is_no_damage() -> None:
    """Whether it was kept under its name or under none."""
    value = value_of(Catalog.empty().with_scope(record(), [issuer("x"), IssuerRecord(CA.der)]))
    keys = [key for key in value["entries"] if "/i/" in key]
    for key in keys:
        home, _, rest = key.partition("/")
        moved = name_hash(b"") if home == name_hash(CA_NAME) else name_hash(CA_NAME)
        value["entries"][f"{moved}/{rest}"] = value["entries"].pop(key)
    assert len(read_set(store_of(value))[0].everything().issuers) == 2


# ---- when it is stale ---------------------------------------------------------------


def test_the_staleness_of_an_entry() -> None:
    """That of the later CRL; one whose times cannot be read is stale at once."""
    ends, validity = int(metadata().next_update.timestamp()), 30 * 86400 + 45000  # type: ignore[union-attr]
    for one in (record(), record(delta=True)):
        assert staleness_of_entry(SCOPE, one.members()) == Staleness(ends, validity)
    endless = dataclasses.replace(metadata(), next_update=None)
    never = dataclasses.replace(record(), base=dataclasses.replace(image(), metadata=endless))
    assert staleness_of_entry(SCOPE, never.members()) == Staleness()
    later = record(delta=True).members()
    later["delta"]["metadata"]["next_update"] = "2026-11-09T00:00:00Z"
    found = staleness_of_entry(SCOPE, later)
    assert found is not None
    assert found.longest_validity == 8 * 86400
    broken: Any
    for broken in ({}, {"base": 1}, {"base": {}}, {"base": {"metadata": {"next_update": 1}}}):
        assert staleness_of_entry(SCOPE, broken) == Staleness(0)
    other: Any
    for other in ({"at": "x"}, 1, [], None):
        assert staleness_of_entry(SCOPE, other) is None
    assert staleness_of_entry("a/i/b", record().members()) is None
