"""How a published set stands: stale, soon stale, refused, unchecked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import crlcheck
from crlcheck.catalog import tree
from crlcheck.catalog.published_set import read_set
from crlcheck.publisher.store_status import StoreStatus, published_scopes, read_store_status
from crlcheck.signing.signing_key import load_signing_key, write_new_key
from crlcheck.stores import LocalStore
from support.issuers import certify
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_authority, make_crl
from support.publishing import CA, publish
from support.tampering import node_names

UNTIL = NOW + 30 * DAY
VALIDITY = UNTIL - (NOW - DAY + timedelta(minutes=1))
"""Of the first CRL that make_crl makes."""


def status_at(store: MemoryStore, moment: datetime, **options: object) -> StoreStatus:
    """The status at a time."""
    return read_store_status(store, now=moment, **options)  # type: ignore[arg-type]


def states(status: StoreStatus) -> list[str]:
    """The state of each scope that is listed."""
    return [one.state for one in status.scopes]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (UNTIL - VALIDITY / 4 - timedelta(minutes=1), []),
        (UNTIL - VALIDITY / 4 + timedelta(minutes=1), ["soon_stale"]),
        (UNTIL - timedelta(minutes=1), ["soon_stale"]),
        (UNTIL + timedelta(minutes=1), ["stale"]),
    ],
)
def test_a_scope_is_soon_stale_in_the_last_quarter_of_its_period(
    moment: datetime, expected: list[str]
) -> None:
    """
    And stale from its nextUpdate on. One that is neither is listed only if that is asked for.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    assert states(status_at(store, moment)) == expected
    assert states(status_at(store, moment, every_scope=True)) == (expected or ["current"])


def test_a_time_is_taken_in_place_of_a_part() -> None:
    """
    It is the same for all CRLs.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    assert states(status_at(store, UNTIL - 2 * DAY, warn=DAY)) == []
    assert states(status_at(store, UNTIL - DAY, warn=DAY)) == ["soon_stale"]
    assert states(status_at(store, UNTIL - DAY, warn=timedelta(0))) == []


@pytest.mark.parametrize("warn", [-0.1, 1.1, timedelta(seconds=-1)])
def test_a_warning_time_must_make_sense(warn: float | timedelta) -> None:
    """
    A part is from 0 to 1.
    """
    with pytest.raises(ValueError, match="warn: expected a part from 0 to 1 or a time"):
        read_store_status(MemoryStore(), warn=warn)


def test_a_store_without_anything_has_no_status() -> None:
    """
    It is no set in which all is well.
    """
    with pytest.raises(FileNotFoundError):
        read_store_status(MemoryStore())


def test_the_delta_decides_when_a_scope_is_stale() -> None:
    """
    It is the later of the two.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    publish(store, make_crl(CA, 2, next_update=NOW + DAY, extensions=[delta_of(1)]))
    (one,) = status_at(store, NOW + 2 * DAY).scopes
    assert (one.state, one.is_delta, one.crl_number) == ("stale", True, 2)
    assert one.time_left == -DAY


def test_a_grace_is_a_state_of_its_own() -> None:
    """
    Certificates pass, but somebody must act.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    late = UNTIL + DAY
    crlcheck.grant_grace(store, until=late + DAY, note="late", now=late)
    status = status_at(store, late)
    assert states(status) == ["in_grace"]
    assert status.grace is not None
    assert status.grace.note == "late"
    after = status_at(store, late + DAY)
    assert (states(after), after.grace) == (["stale"], None)


def test_an_unchecked_issuer_is_one_whose_issuer_is_not_trusted() -> None:
    """
    A root is none, nor is a CA whose root is trusted, nor an anchor.
    """
    root = make_authority("Root")
    below = make_authority("Below", parent=root)
    alone = make_authority("Alone", parent=make_authority("Unknown"))
    store = MemoryStore()
    publish(store, make_crl(CA, 1), issuer=[CA.der, root.der, below.der, alone.der])
    assert status_at(store, NOW).unchecked_issuers == ("CN=Alone",)
    assert status_at(store, NOW, issuers=False).unchecked_issuers is None
    (fingerprint,) = (
        one.fingerprint for one in read_set(store)[0].issuers() if one.certificate == alone.der
    )
    crlcheck.set_issuer(store, fingerprint, is_anchor=True)
    assert status_at(store, NOW).unchecked_issuers == ()


def test_refusals_denials_and_age_are_told() -> None:
    """
    With the generation and the counts of the root.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 2))
    with pytest.raises(crlcheck.CrlRollbackError):
        publish(store, make_crl(CA, 1), source_name="late.crl")
    name = crlcheck.load_certificate(CA.pem).subject
    crlcheck.deny_certificate(store, name, 7, until=NOW + DAY, now=NOW)
    crlcheck.deny_certificate(store, name, 8, now=NOW)
    status = status_at(store, NOW + 2 * DAY)
    assert [one.cause for one in status.rejections] == ["rollback"]
    assert (status.generation, status.num_scopes, status.num_issuers) == (3, 1, 1)
    assert status.num_denied == 1
    assert status.age is not None
    assert status.age <= 2 * DAY


def test_shards_in_which_nothing_is_due_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The references of the tree say when the earliest CRL below them is stale.
    """
    monkeypatch.setattr(tree, "MAX_LEAF", 1000)
    store = MemoryStore()
    soon = make_authority("Soon")
    publish(store, make_crl(soon, 1, next_update=NOW + DAY), issuer=soon.pem)
    for number in range(12):
        other = make_authority(f"CA {number}")
        publish(store, make_crl(other, 1), issuer=other.pem)
    published, _ = read_set(store)
    read: list[str] = []
    nodes = tree.NodeReader(store, tree.NodeCache(0))
    whole = nodes.node

    def counted(reference: tree.Reference, level: int | None = None) -> tree.Node:
        read.append(reference.name)
        return whole(reference, level)

    monkeypatch.setattr(nodes, "node", counted)
    object.__setattr__(published, "nodes", nodes)
    errors: list[crlcheck.CatalogDamagedError] = []
    found = list(published_scopes(published, NOW + DAY, failed=errors.append))
    assert [one.issuer for one in found] == ["CN=Soon"]
    num_read = len(read)
    every = published_scopes(published, NOW + DAY, every_scope=True, failed=errors.append)
    assert len(list(every)) == 13
    assert errors == []
    assert num_read < (len(read) - num_read) / 3


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_what_can_be_read_of_a_damaged_set_is_told(
    harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever node it is: the others' scopes are there, and no issuer is called unchecked
    because its own issuer's entry cannot be read.
    """
    monkeypatch.setattr(tree, "MAX_LEAF", 2500)
    monkeypatch.setattr(tree, "MAX_INNER", 700)
    root = make_authority("Root")
    below = [make_authority(f"CA {number}", parent=root) for number in range(8)]
    alone = make_authority("Alone", parent=make_authority("Unknown"))
    store = MemoryStore()
    issuers = [root.der, alone.der, *(one.der for one in below)]
    for one in (root, alone, *below):
        publish(store, make_crl(one, 1), issuer=issuers)
    whole = status_at(store, NOW, every_scope=True)
    assert whole.unreadable == ()
    assert whole.unchecked_issuers == ("CN=Alone",)
    told = set()
    for name in node_names(store):
        broken = MemoryStore()
        for other in store.names(""):
            if other != name:
                broken.write(other, store.read(other).body)
            elif harm == "damaged":
                broken.write(other, b"{}")
        status = status_at(broken, NOW, every_scope=True)
        (lost,) = status.unreadable
        assert (lost.name, harm in lost.detail) == (name, True)
        assert "crlcheck verify" in lost.remedy
        assert set(status.scopes) <= set(whole.scopes)
        assert (status.num_scopes, status.num_issuers) == (10, 10)
        assert set(status.unchecked_issuers or ()) <= {"CN=Alone"}
        told.add(len(status.scopes))
        scopes = crlcheck.read_published_scopes(broken, now=NOW)
        assert len([next(scopes) for _ in status.scopes]) == len(status.scopes)
        with pytest.raises(crlcheck.CatalogDamagedError):
            next(scopes)
    assert 0 in told
    assert max(told) >= 7


def test_denials_and_refusals_that_cannot_be_read_hide_nothing_else() -> None:
    """
    Their number is not known then.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 2))
    with pytest.raises(crlcheck.CrlRollbackError):
        publish(store, make_crl(CA, 1), source_name="late.crl")
    crlcheck.deny_certificate(store, crlcheck.load_certificate(CA.pem).subject, 7, now=NOW)
    (refusal,) = store.names("status/")
    store.write(refusal, b"[]")
    denied = read_set(store)[0].root.denied
    assert denied is not None
    store.delete(denied.name)
    status = status_at(store, NOW, every_scope=True)
    assert states(status) == ["current"]
    assert (status.num_denied, status.rejections) == (None, ())
    assert {one.name for one in status.unreadable} == {refusal, denied.name}


def test_a_refusal_is_noted_although_a_shard_is_damaged() -> None:
    """
    What stays published of its source is told as far as it can be read.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1), source_name="late.crl")
    top = read_set(store)[0].root.top
    assert top is not None
    copy = MemoryStore()
    for name in store.names(""):
        copy.write(name, store.read(name).body if name != top.name else b"{}")
    with pytest.raises(crlcheck.MalformedCrlError):
        publish(copy, b"no CRL", source_name="late.crl")
    (rejection,) = crlcheck.read_rejections(copy)
    assert (rejection.source, rejection.cause, rejection.serving) == ("late.crl", "malformed", ())


def test_an_expired_crl_that_a_newer_one_replaces_is_told_apart() -> None:
    """
    After a key rollover the old key's last CRL runs out, and nothing is amiss.
    """
    old = certify("Rolled", by=None)
    new = certify("Rolled", by=old)
    store = MemoryStore()
    publish(store, make_crl(old, 1, next_update=NOW + DAY), issuer=[old.der, new.der])
    later = make_crl(new, 2, this_update=NOW, next_update=NOW + 60 * DAY)
    publish(store, later, issuer=[old.der, new.der], now=NOW + timedelta(hours=1))
    (one,) = status_at(store, NOW + 2 * DAY).scopes
    assert one.state == "expired_and_replaced"
    assert one.replaced_by is not None


def test_a_store_without_a_set_has_no_scopes_to_list() -> None:
    """
    That is told at the call, not at the first scope.
    """
    with pytest.raises(FileNotFoundError, match=r"nothing is published"):
        crlcheck.read_published_scopes(MemoryStore())


@pytest.mark.parametrize("read", [crlcheck.read_store_status, crlcheck.read_published_scopes])
def test_only_a_root_that_a_given_key_has_signed_is_believed(
    read: Callable[..., object], tmp_path: Path
) -> None:
    """
    Whoever monitors a store wants to hear of a root that the services refuse.
    """
    store = LocalStore(tmp_path / "store")
    crlcheck.publish_crl(make_crl(CA, 1), store, issuer=CA.pem, now=NOW)
    write_new_key(tmp_path / "key.pem")
    write_new_key(tmp_path / "other.pem")
    public, other = (
        str(load_signing_key(tmp_path / name).root_key) for name in ("key.pem", "other.pem")
    )
    with pytest.raises(crlcheck.RootSignatureError) as unsigned:
        read(store, root_keys=[public], now=NOW)
    assert unsigned.value.reason == "unsigned"
    crlcheck.sign_root(store, tmp_path / "key.pem", adopt=True, now=NOW)
    read(store, root_keys=[other, public], now=NOW)
    for keys, at, reason in (([other], NOW, "unknown_key"), ([public], NOW + 900 * DAY, "expired")):
        with pytest.raises(crlcheck.RootSignatureError) as refused:
            read(store, root_keys=keys, now=at)
        assert refused.value.reason == reason


def test_a_list_with_an_end_has_the_most_urgent_scopes_and_counts_all() -> None:
    """
    Whatever the length, the counts are those of the whole set.
    """
    store = MemoryStore()
    for hours in (200, 6, 700, -48, -24):
        authority = make_authority(f"CA for {hours} hours")
        until = NOW + timedelta(hours=hours)
        crl = make_crl(authority, 1, [2, 3], this_update=NOW - 3 * DAY, next_update=until)
        publish(store, crl, authority.pem)
    whole = read_store_status(store, now=NOW, every_scope=True)
    assert whole.num_by_state == {"stale": 2, "soon_stale": 1, "current": 2}
    for length in (0, 1, 3, 5, 6):
        found = read_store_status(store, now=NOW, every_scope=True, at_most=length)
        assert found.scopes == whole.scopes[:length]
        assert found.num_by_state == whole.num_by_state
        assert found.num_entries == whole.num_entries == 10
        assert found.count("stale") == 2
    due = read_store_status(store, now=NOW, at_most=2)
    assert due.scopes == whole.scopes[:2]
    assert due.num_by_state == {"stale": 2, "soon_stale": 1}
    assert due.num_entries is None
