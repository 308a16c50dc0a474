"""What a checker reads of a published set, and what it does where a part cannot be read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.tree import NODE_PREFIX, NodeCache, NodeReader, leaves_with
from crlcheck.checker import polling, views
from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.store_set import StoreSet
from crlcheck.demo.encoding import der
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.encoding.names import general_name_of_uri
from crlcheck.errors import CatalogDamagedError
from crlcheck.publisher.operator import deny_certificate
from crlcheck.types import (
    DistributionPoint,
    ProblemKind,
    RevocationStatus,
    StatusProblem,
    UndeterminedCause,
)
from support import tampering
from support.checking import CA, CountingStore, make_checker, publish, verdict
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority, make_client
from support.whole_set import tiny_leaves

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNAVAILABLE = (RevocationStatus.UNDETERMINED, UndeterminedCause.STORE_UNAVAILABLE)
HOUR = timedelta(hours=1)

ISSUERS = [CA, *(make_authority(f"Issuer {number}") for number in range(5))]
CLIENTS = [make_client(authority, 1) for authority in ISSUERS]


@pytest.fixture
def store() -> Iterator[CountingStore]:
    """A store of several issuers, each entry of which has a leaf of its own."""
    with tiny_leaves():
        made = CountingStore()
        for authority in ISSUERS:
            publish(made, 1, authority=authority)
        yield made


def leaves_of(store: MemoryStore, authority: CertificateAuthority) -> list[str]:
    """The names of the leaves that have what concerns an issuer."""
    held, _ = read_set(store)
    name = authority.certificate.subject.public_bytes()
    nodes = NodeReader(store, NodeCache(0))
    (prefix,) = held.prefixes(name, None)
    return [
        leaf.name
        for leaf in leaves_with(nodes, held.root.top, prefix)
        if any(key.startswith(prefix) for key in nodes.node(leaf).entries)
    ]


def scope_leaf(store: MemoryStore, authority: CertificateAuthority) -> str:
    """The name of the leaf that has the record of an issuer's scope."""
    (found,) = (name for name in leaves_of(store, authority) if b"/s/-/" in store.read(name).body)
    return found


def damage(store: MemoryStore, name: str, kind: str) -> None:
    """Make an object another one, or take it away."""
    body = store.read(name).body
    if kind == "missing":
        store.delete(name)
    elif kind == "flipped":
        store.write(name, body.replace(b'"size"', b'"siZe"'))
    elif kind == "shorter":
        store.write(name, body[:-1])
    else:
        store.write(name, b"{}")


KINDS = ("missing", "flipped", "shorter", "another")


def problems_of(checker: RevocationChecker, kind: ProblemKind) -> list[StatusProblem]:
    """The problems of one kind."""
    return [one for one in checker.status().problems if one.kind is kind]


# ---- what is read ----------------------------------------------------------------------


def test_an_issuer_s_certificates_need_no_other_issuer_s_objects(store: CountingStore) -> None:
    """However many issuers there are, and what was read is not read again."""
    read: list[str] = []
    checker = make_checker(store, refresh_after=HOUR)
    count = store.before
    store.before = lambda _, name: read.append(name)
    assert checker.check(CLIENTS[0]).status is NOT_REVOKED
    store.before = count
    others = {name for authority in ISSUERS[1:] for name in leaves_of(store, authority)}
    assert scope_leaf(store, CA) in read
    store.counts.clear()
    assert checker.check(CLIENTS[0]).status is NOT_REVOKED
    assert not store.counts
    assert len(others & set(read)) <= 2, "a leaf beside may have such keys, by its separator"


def test_a_refresh_reads_what_has_changed(store: CountingStore) -> None:
    """The views of other issuers stay as they are; the image of the new CRL is loaded."""
    checker = make_checker(store, refresh_after=HOUR)
    for client in CLIENTS:
        assert checker.check(client).crl_number == 1
    followed = checker._set
    assert isinstance(followed, StoreSet)
    assert followed.in_use is not None
    before = followed.in_use.views.snapshots()
    publish(store, 2, authority=ISSUERS[3])
    store.counts.clear()
    assert checker.refresh()
    assert store.counts["load"] == 1
    after = followed.in_use.views.snapshots()
    assert sum(any(one is other for other in before) for one in after) == len(CLIENTS) - 1
    store.is_down = True
    assert [checker.check(client).crl_number for client in CLIENTS] == [1, 1, 1, 2, 1, 1]


def test_denials_are_read_at_a_refresh_only_where_they_changed(store: CountingStore) -> None:
    """They hold for what no view is held of, too, and while its part cannot be read."""
    name = CA.certificate.subject.public_bytes()
    deny_certificate(store, name, 1, now=NOW)
    checker = make_checker(store, refresh_after=HOUR)
    assert checker.check(CLIENTS[1]).status is NOT_REVOKED
    read: list[str] = []
    store.before = lambda _, name: read.append(name)
    publish(store, 2, authority=ISSUERS[1])
    denied = read_set(store)[0].root.denied
    assert denied is not None
    read.clear()
    assert checker.refresh()
    assert denied.name not in read
    store.delete(scope_leaf(store, CA))
    assert checker.check(CLIENTS[0]).denied
    assert checker.check_chain([CLIENTS[0], CA.der]).denied
    assert checker.check_serial(CA.der, 1).denied
    assert verdict(checker.check_serial(CA.der, 5)) == UNAVAILABLE


# ---- faults ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_whose_shard_is_damaged_never_replaces_one_that_works(
    store: CountingStore, kind: str
) -> None:
    """The old set stays in use, and the error names the object."""
    checker = make_checker(store)
    for client in CLIENTS:
        checker.check(client)
    publish(store, 2, revoked=[], authority=ISSUERS[2])
    name = scope_leaf(store, ISSUERS[2])
    whole = store.read(name).body
    damage(store, name, kind)
    assert checker.check(make_client(ISSUERS[2], 2)).status is REVOKED
    assert name in str(checker.status().error)
    with pytest.raises(CatalogDamagedError) as caught:
        checker.refresh()
    assert caught.value.name == name
    (problem,) = problems_of(checker, ProblemKind.CATALOG_REFUSED)
    assert name in problem.detail
    generation = checker.status().generation
    # A denial counts all the same.
    deny_certificate(store, CA.certificate.subject.public_bytes(), 1, now=NOW)
    assert checker.check(CLIENTS[0]).denied
    assert checker.status().generation == generation
    store.write(name, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
        checker = make_checker(store)
        assert checker.check(make_client(ISSUERS[2], 2)).status is NOT_REVOKED


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_that_is_damaged_at_first_need_is_undetermined(
    store: CountingStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    For the certificates that need it, with the object's name; others are decided. It is not
    read at every check, and once it is whole the certificates are decided.
    """
    name = scope_leaf(store, CA)
    whole = store.read(name).body
    damage(store, name, kind)
    checker = make_checker(store, refresh_after=HOUR)
    assert checker.check(CLIENTS[1]).status is NOT_REVOKED
    reads: list[str] = []
    store.before = lambda _, found: reads.append(found)
    for _ in range(4):
        result = checker.check(CLIENTS[0])
        assert verdict(result) == UNAVAILABLE
        assert name in result.detail
    assert reads.count(name) == 1
    assert reads.count("catalog.json") <= 1
    (problem,) = problems_of(checker, ProblemKind.PART_UNAVAILABLE)
    assert problem.is_error
    assert name in problem.detail
    assert checker.status().answering
    store.write(name, whole)
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    fresh = make_checker(store)
    assert fresh.check(CLIENTS[0]).status is NOT_REVOKED
    assert not problems_of(fresh, ProblemKind.PART_UNAVAILABLE)


def test_a_shard_that_is_there_again_is_read_again(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the pause, by the same checker, without a newer set."""
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    name = scope_leaf(store, CA)
    whole = store.read(name).body
    store.delete(name)
    checker = make_checker(store, refresh_after=HOUR)
    assert verdict(checker.check(CLIENTS[0])) == UNAVAILABLE
    store.write(name, whole)
    assert checker.check(CLIENTS[0]).status is NOT_REVOKED


def test_what_is_not_held_while_the_store_is_down(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is undetermined, and is asked for again after a pause; what is held is decided. The
    status tells it, and survives it.
    """
    checker = make_checker(store, refresh_after=HOUR)
    assert checker.check(CLIENTS[0]).status is NOT_REVOKED
    store.is_down = True
    store.counts.clear()
    for _ in range(3):
        result = checker.check(CLIENTS[1])
        assert verdict(result) == UNAVAILABLE
        assert "nodes/" in result.detail
    assert store.counts.total() <= 2
    assert checker.check(CLIENTS[0]).status is NOT_REVOKED
    status = checker.status()
    assert status.answering
    assert [one.issuer for one in status.scopes] == ["CN=Example CA"]
    assert problems_of(checker, ProblemKind.PART_UNAVAILABLE)
    store.is_down = False
    monkeypatch.setattr(polling, "OBJECT_UNAVAILABLE", polling.BackOff(0.0, 0.0))
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    fresh = make_checker(store)
    assert fresh.check(CLIENTS[1]).status is NOT_REVOKED
    assert len(fresh.status().scopes) == len(ISSUERS)


@pytest.mark.parametrize("how", ["check", "chain", "serial"])
def test_objects_that_clean_up_deleted_are_those_of_an_older_set(
    store: CountingStore, how: str
) -> None:
    """
    A checker that polls seldom finds that the nodes of its set are gone: it takes the newer
    set, and answers by that.
    """
    checker = make_checker(store, refresh_after=timedelta(days=1))
    assert checker.check(CLIENTS[1]).status is NOT_REVOKED
    followed = checker._set
    assert isinstance(followed, StoreSet)
    followed._polling = followed._polling._replace(ended_at=None)
    old = set(store.names(NODE_PREFIX))
    publish(store, 2, revoked=[1], authority=CA)
    held, _ = read_set(store)
    used = {one.name for one in held.objects()}
    for name in old - used:
        store.delete(name)
    asked = {
        "check": lambda: checker.check(CLIENTS[0]),
        "chain": lambda: checker.check_chain([CLIENTS[0], CA.der]),
        "serial": lambda: checker.check_serial(CA.der, 1),
    }
    assert asked[how]().status is REVOKED
    assert checker.status().generation == held.generation


def test_an_image_under_another_issuer_s_name_is_refused(store: CountingStore) -> None:
    """The record of one issuer's scope is moved under another name: neither is believed."""
    checker = make_checker(store)
    checker.check(CLIENTS[0])

    def moved(entries: dict[str, Any]) -> None:
        home, other = (
            next(iter(read_set(store)[0].prefixes(one.certificate.subject.public_bytes(), None)))
            for one in (CA, ISSUERS[1])
        )
        (key,) = (key for key in entries if key.startswith(f"{other}s/"))
        entries[home + key.removeprefix(other)] = entries.pop(key)

    tampering.rewrite(store, moved)
    with pytest.raises(CatalogDamagedError, match="name of another issuer"):
        checker.refresh()
    assert checker.check(CLIENTS[0]).status is NOT_REVOKED
    fresh = make_checker(store)
    assert verdict(fresh.check(CLIENTS[0])) == UNAVAILABLE
    assert "name of another issuer" in fresh.check(CLIENTS[0]).detail


def test_any_object_that_is_missing_clears_nobody() -> None:
    """
    Whichever node of the tree is deleted: a certificate is decided as before or undetermined,
    and the revoked one is never cleared.
    """
    with tiny_leaves():
        store = MemoryStore()
        for authority in ISSUERS[:3]:
            publish(store, 1, authority=authority)
        for name in tampering.node_names(store):
            body = store.read(name).body
            store.delete(name)
            checker = make_checker(store)
            for authority in ISSUERS[:3]:
                result = checker.check(make_client(authority, 2))
                assert result.status is REVOKED or verdict(result) == UNAVAILABLE
            store.write(name, body)


# ---- bounds ----------------------------------------------------------------------------


def indirect_point(num_issuers: int) -> DistributionPoint:
    """A distribution point that names so many CRL issuers."""
    names = [make_name(number) for number in range(num_issuers)]
    return DistributionPoint(
        full_names=(general_name_of_uri("http://ca.example/crl"),),
        crl_issuers=tuple(der(0xA4, name) for name in names),
    )


def make_name(number: int) -> bytes:
    """A Name."""
    value = der(0x0C, b"CRL issuer %d" % number)
    return der(0x30, der(0x31, der(0x30, b"\x06\x03\x55\x04\x03" + value)))


@pytest.mark.parametrize(("num_issuers", "is_read"), [(16, True), (17, False), (5000, False)])
def test_a_certificate_names_at_most_sixteen_crl_issuers(
    store: CountingStore, num_issuers: int, *, is_read: bool
) -> None:
    """One that names more is undetermined, in words of its own, and a denial holds."""
    checker = make_checker(store, refresh_after=HOUR)
    point = indirect_point(num_issuers)
    result = checker.check_serial(CA.der, 1, distribution_points=[point])
    if is_read:
        assert result.status is NOT_REVOKED
        return
    assert verdict(result) == (
        RevocationStatus.UNDETERMINED,
        UndeterminedCause.OUT_OF_SCOPE,
    )
    assert f"name {num_issuers} CRL issuers, and the CRLs of at most 16" in result.detail
    deny_certificate(store, CA.certificate.subject.public_bytes(), 1, now=NOW)
    checker.refresh()
    assert checker.check_serial(CA.der, 1, distribution_points=[point]).denied


def test_views_are_dropped_where_there_are_too_many(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were not used lately; each certificate is decided all the same."""
    monkeypatch.setattr(views, "_CAPACITY", 7)
    checker = make_checker(store, refresh_after=HOUR)
    followed = checker._set
    assert isinstance(followed, StoreSet)
    for _ in range(3):
        for client in CLIENTS:
            assert checker.check(client).status is NOT_REVOKED
            assert checker.check(CLIENTS[0]).status is NOT_REVOKED
    assert followed.in_use is not None
    assert len(followed.in_use.views.snapshots()) <= 3
    assert followed.in_use.views._weight == sum(
        view.weight for view in followed.in_use.views._views.values()
    )


def test_certificates_of_made_up_issuers_drive_out_nothing_that_is_used(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever sends one of a new name each time costs the others no read of the store.
    """
    monkeypatch.setattr(views, "_CAPACITY", 50)
    checker = make_checker(store, refresh_after=HOUR)
    for _ in range(2):
        assert checker.check(CLIENTS[0]).status is NOT_REVOKED
    made_up = make_client(make_authority("Name 0000"), 1)
    for number in range(300):
        checker.check(made_up.replace(b"Name 0000", b"Name %04d" % number))
        if number % 5 == 0:
            store.counts.clear()
            assert checker.check(CLIENTS[0]).status is NOT_REVOKED
            assert not store.counts


def test_threads_that_need_one_part_read_it_once(store: CountingStore) -> None:
    """The others wait for the first."""
    checker = make_checker(store, refresh_after=HOUR)
    checker.check(CLIENTS[1])
    reads: list[str] = []
    begun = threading.Barrier(4)

    def slow(operation: str, name: str) -> None:
        reads.append(name)

    store.before = slow
    results = []

    def ask() -> None:
        begun.wait()
        results.append(checker.check(CLIENTS[0]).status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [NOT_REVOKED] * 4
    store.before = None
    assert reads.count(scope_leaf(store, CA)) == 1


def test_a_child_reads_parts_although_its_parent_was_reading(store: CountingStore) -> None:
    """A fork while a thread holds each lock of the views leaves none held in the child."""
    checker = make_checker(store, refresh_after=HOUR)
    checker.check(CLIENTS[0])
    followed = checker._set
    assert isinstance(followed, StoreSet)
    assert followed.in_use is not None
    found = followed.in_use.views
    locks = [found._lock, found._attempts._lock, followed._nodes.kept._lock, followed._images._lock]
    for lock in [*locks, *(view.lock for view in found._views.values())]:
        assert lock.acquire(timeout=5)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answers = [checker.check(client).status is NOT_REVOKED for client in CLIENTS[:3]]
        os.write(writing, b"right" if all(answers) else b"wrong")
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == b"right"
    os.waitpid(child, 0)
    os.close(reading)


def test_preloading_takes_the_first_issuers(store: CountingStore) -> None:
    """Their certificates are decided though the store is down then."""
    checker = make_checker(store, refresh_after=HOUR)
    checker.preload()
    store.is_down = True
    assert [checker.check(client).status for client in CLIENTS] == [NOT_REVOKED] * len(CLIENTS)


# ---- a large set -----------------------------------------------------------------------


def test_the_status_of_a_large_set_is_told_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thousand of each; ``scopes`` yields all."""
    store = MemoryStore()
    monkeypatch.setattr("crlcheck.checker.health.MAX_LISTED", 3)
    for authority in ISSUERS:
        publish(store, 1, authority=authority)
    checker = make_checker(store, clock=lambda: NOW + timedelta(days=90))
    checker.refresh()
    status = checker.status()
    assert not status.answering
    assert len(status.scopes) == 3
    assert len(list(checker.scopes())) == len(ISSUERS)
    kinds = [one.kind for one in status.problems]
    assert kinds.count(ProblemKind.STALE) == 3
    (more,) = problems_of(checker, ProblemKind.MORE_PROBLEMS)
    assert more.is_error
    assert "there are 3 more problems" in more.detail
