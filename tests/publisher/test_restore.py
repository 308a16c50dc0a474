"""Bringing a set back: what returns, what an operator has decided that stays, and races."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from crlcheck.catalog.catalog import ScopeAction
from crlcheck.catalog.history import HISTORY_PREFIX
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.signing_store import SigningStore
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import (
    CrlRollbackError,
    PreconditionFailedError,
    RootSignatureError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.publisher import publication, restore
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.issuers import readmit_issuer, remove_issuer, set_issuer
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import (
    deny_certificate,
    grant_grace,
    lift_denial,
    override_scope,
    remove_scope,
    reset_scope,
)
from crlcheck.publisher.restore import DenialsFrom, RestoreReport, restore_store
from crlcheck.publisher.verify import verify_store
from crlcheck.stores import LocalStore, ObjectStore, S3Store
from crlcheck.types import RevocationStatus
from support.memory_store import MemoryStore
from support.moto_server import S3Environment
from support.pki import DAY, NOW, delta_of, make_client, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, images_of, publish
from support.root_keys import MemoryKey

NAME = CA.certificate.subject.public_bytes()
MILLISECONDS = int(NOW.timestamp() * 1000)
REVOKED, NOT_REVOKED = RevocationStatus.REVOKED, RevocationStatus.NOT_REVOKED


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between tries."""
    for module in (publication, restore):
        monkeypatch.setattr(module, "back_off", lambda _: None)


def filled(store: Any = None) -> Any:
    """A store at generation 3: two scopes, of which the first has its second CRL."""
    store = MemoryStore() if store is None else store
    publish(store, make_crl(CA, 1, [7]))
    publish(store, make_crl(OTHER_CA, 5, [1]), OTHER_CA.pem)
    publish(store, make_crl(CA, 2, [7, 8]))
    return store


def status(store: Any, serial: int, authority: Any = CA) -> RevocationStatus:
    """What a fresh checker says."""
    checker = RevocationChecker(store, clock=lambda: NOW)
    return checker.check(make_client(authority, serial)).status


def restored(store: Any, *arguments: Any, **options: Any) -> RestoreReport:
    """Restore at NOW."""
    return restore_store(store, *arguments, now=NOW, **options)


def generation(store: Any) -> int:
    """The generation of the root."""
    return read_set(store)[0].generation


# ---- where it comes from -------------------------------------------------------------------


@pytest.fixture(params=["memory", "directory", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return LocalStore(tmp_path / "store", fsync=False)
    s3: S3Environment = request.getfixturevalue("s3")
    return S3Store(f"s3://{s3.bucket}/published", client=s3.client)


def test_an_earlier_generation(anywhere: ObjectStore) -> None:
    """
    Its CRLs are in use again, under the next generation and under names that nothing had;
    a checker that runs takes it at its next look, and clean-up deletes what it replaced.
    """
    store = filled(anywhere)
    running = RevocationChecker(store, clock=lambda: NOW)
    assert running.check(make_client(CA, 8)).status is REVOKED
    before = set(store.names(""))
    report = restored(store, when=2)
    assert (report.generation, report.present, report.source) == (4, 3, "generation 2")
    (change,) = report.scopes
    assert (change.num_lifted, change.num_newly_revoked, change.is_older) == (1, 0, True)
    assert (change.before, change.after) == ("CRL 2 of CN=Example CA", "CRL 1 of CN=Example CA")
    held, _ = read_set(store)
    used = {image.name for image in held.images()} | {one.name for one in held.objects()}
    assert used.isdisjoint(before)
    running.refresh()
    assert running.check(make_client(CA, 8)).status is NOT_REVOKED
    assert running.check(make_client(CA, 7)).status is REVOKED
    clean_up(store, now=NOW + DAY)
    assert {*store.names("images/"), *store.names("nodes/")} == used
    assert verify_store(store).is_whole
    assert status(store, 1, OTHER_CA) is REVOKED


@pytest.mark.parametrize("of_generation", [None, 3])
def test_an_empty_bucket_from_a_mirror(anywhere: ObjectStore, of_generation: int | None) -> None:
    """
    The generation is the time in milliseconds, which is above all that services have seen.
    """
    mirror = MemoryStore()
    mirror_store(filled(), mirror)
    report = restored(anywhere, mirror, when=of_generation)
    assert (report.generation, report.present) == (MILLISECONDS, None)
    assert [change.before for change in report.scopes] == [None, None]
    assert status(anywhere, 8) is REVOKED
    assert verify_store(anywhere).is_whole
    publish(anywhere, make_crl(CA, 3, [7, 8, 9]))
    assert generation(anywhere) == MILLISECONDS + 1


@pytest.mark.parametrize("case", ["missing", "not JSON", "a later format", "of another store"])
def test_the_root_alone_is_lost(case: str) -> None:
    """
    The history has the rest: the generation comes back, with the denials of the latest.
    """
    store = filled()
    deny_certificate(store, NAME, 99, now=NOW)
    body = store.read(CATALOG_NAME).body
    other = filled()
    changed = {
        "not JSON": b"<html>",
        "a later format": json.dumps({**json.loads(body), "format": 3}).encode(),
        "of another store": other.read(CATALOG_NAME).body,
    }
    store.delete(CATALOG_NAME)
    if case in changed:
        store.write(CATALOG_NAME, changed[case])
    report = restored(store, when=2)
    assert report.generation == MILLISECONDS
    assert report.notes
    assert status(store, 99) is REVOKED
    assert status(store, 8) is NOT_REVOKED
    assert read_set(store)[0].root.store != read_set(other)[0].root.store
    assert verify_store(store).is_whole
    assert verify_store(store).history_from == 1


def test_an_old_root_was_put_back_and_published_on() -> None:
    """
    The generation that was lost comes back, with what was denied in either line.
    """
    store = filled()
    old = store.read(CATALOG_NAME).body
    publish(store, make_crl(CA, 3, [7, 8, 9]))
    deny_certificate(store, NAME, 50, now=NOW)
    store.write(CATALOG_NAME, old)
    assert status(store, 9) is NOT_REVOKED
    deny_certificate(store, NAME, 51, now=NOW)
    assert generation(store) == 6
    report = restored(store, when=5)
    assert report.generation == 7
    assert [status(store, serial) for serial in (9, 50, 51)] == [REVOKED] * 3
    assert verify_store(store).is_whole


def test_an_old_root_was_put_back_while_services_run() -> None:
    """
    They refuse the old root, and take the restored one.
    """
    store = filled()
    old = store.read(CATALOG_NAME).body
    publish(store, make_crl(CA, 3, [7, 8, 9]))
    publish(store, make_crl(OTHER_CA, 6, [1, 2]), OTHER_CA.pem)
    running = RevocationChecker(store, clock=lambda: NOW, refresh_after=timedelta(0))
    assert running.check(make_client(CA, 9)).status is REVOKED
    store.write(CATALOG_NAME, old)
    assert running.check(make_client(CA, 9)).status is REVOKED
    assert running.status().problems
    report = restored(store, when=5)
    assert report.generation == 6
    assert running.check(make_client(CA, 9)).status is REVOKED
    assert not running.status().problems
    assert status(store, 2, OTHER_CA) is REVOKED
    assert verify_store(store).history_from == 1


def test_crls_of_a_directory(tmp_path: Path) -> None:
    """
    Made by the rules of a publication: the newest of each scope, with its delta, whatever the
    order of the names. What is refused is told.
    """
    for name, crl in {
        "1-delta": make_crl(CA, 3, [9], extensions=[delta_of(2)]),
        "2-new": make_crl(CA, 2, [7, 8]),
        "3-old": make_crl(CA, 1, [7]),
        "4-other": make_crl(OTHER_CA, 5, [1]),
        "5-notes": b"no CRL",
    }.items():
        (tmp_path / name).write_bytes(crl)
    store = MemoryStore()
    report = restored(store, tmp_path, issuers=[CA.pem, OTHER_CA.pem])
    assert report.generation == MILLISECONDS
    ((source, _),) = report.refused
    assert source == str(tmp_path / "5-notes")
    assert [status(store, serial) for serial in (7, 8, 9)] == [REVOKED] * 3
    assert status(store, 1, OTHER_CA) is REVOKED
    assert verify_store(store).is_whole


def test_crls_with_the_issuers_of_the_store(tmp_path: Path) -> None:
    """
    A store that is there has the issuers, and their settings stay.
    """
    store = filled()
    (issuer,) = [one for one in catalog_of(store).issuers if one.certificate == CA.der]
    set_issuer(store, issuer.fingerprint, is_anchor=True)
    (tmp_path / "ca.crl").write_bytes(make_crl(CA, 1, [7]))
    report = restored(store, tmp_path / "ca.crl")
    assert report.generation == generation(store) == 5
    assert {one.certificate: one.is_anchor for one in catalog_of(store).issuers} == {
        CA.der: True,
        OTHER_CA.der: False,
    }
    assert status(store, 8) is NOT_REVOKED
    with pytest.raises(ValueError, match="issuers: expected the trusted certificates"):
        restored(MemoryStore(), tmp_path)
    (tmp_path / "ca.crl").write_bytes(b"no CRL")
    with pytest.raises(StoreError, match="no CRL in it can be published"):
        restored(MemoryStore(), tmp_path, issuers=CA.pem)


def test_a_catalog_of_format_1_is_replaced() -> None:
    """
    It has no history, so the generation is the time.
    """
    store, mirror = filled(), MemoryStore()
    mirror_store(store, mirror)
    catalog = catalog_of(store)
    for name in list(store.names(HISTORY_PREFIX)):
        store.delete(name)
    members = {
        "format": 1,
        "generation": 3,
        "issuers": [base64.b64encode(one).decode() for one in catalog.issuer_certificates()],
        "scopes": {key: record.members() for key, record in catalog.scopes.items()},
    }
    deny_members = {"issuer": NAME.hex(), "serial_number": "63", "at": "2026-03-01T00:00:00Z"}
    members["denied"] = [{**deny_members, "note": ""}]
    store.write(CATALOG_NAME, json.dumps(members).encode())
    report = restored(store, mirror)
    assert report.generation == MILLISECONDS
    assert (status(store, 8), status(store, 99)) == (REVOKED, REVOKED)
    assert verify_store(store).is_whole


# ---- what cannot come back ----------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["images/", "nodes/"])
def test_a_set_that_is_not_whole(prefix: str) -> None:
    """
    Nothing is written but what is deleted again, and the message names the object.
    """
    mirror = MemoryStore()
    mirror_store(filled(), mirror)
    for name in mirror.names(prefix):
        mirror.delete(name)
    store = MemoryStore()
    with pytest.raises(StoreError, match=f"not whole: .*{prefix}"):
        restored(store, mirror)
    assert list(store.names("")) == []


def test_generations_that_nobody_has() -> None:
    """
    Of a number that was skipped or that is later than all.
    """
    store = filled()
    for number in (9, 0):
        with pytest.raises(StoreError, match="no record of it is left"):
            restored(store, when=number)
    with pytest.raises(ValueError, match="expected a generation or a time"):
        restored(store)
    with pytest.raises(FileNotFoundError):
        restored(store, MemoryStore())


def test_of_two_proposals_the_one_that_was_published() -> None:
    """
    A killed writer left a record of the same generation.
    """
    store = filled()
    name = next(one for one in store.names(HISTORY_PREFIX) if "989-" in one)
    members = json.loads(store.read(name).body)
    members["root"]["top"][0] = f"nodes/{'0' * 32}.json"
    store.write(f"{name[:-37]}{'0' * 32}.json", json.dumps(members).encode())
    store.delete(CATALOG_NAME)
    assert restored(store, when=3).generation == MILLISECONDS
    assert status(store, 8) is REVOKED


# ---- what an operator has decided ----------------------------------------------------------


def test_denials_of_both_sets_hold() -> None:
    """
    By default those of both; of one alone where the operator says so.
    """
    expected = {
        DenialsFrom.BOTH: [20, 21, 22],
        DenialsFrom.PRESENT: [21, 22],
        DenialsFrom.OLDER: [20, 22],
    }
    for choice, serials in expected.items():
        store = filled()
        for serial in (20, 22):
            deny_certificate(store, NAME, serial, now=NOW, until=NOW + DAY)
        older = generation(store)
        lift_denial(store, NAME, 20, now=NOW)
        deny_certificate(store, NAME, 21, now=NOW)
        deny_certificate(store, NAME, 22, now=NOW)
        report = restored(store, when=older, denials=choice)
        denied = {one.serial_number: one.until for one in catalog_of(store).denied}
        assert sorted(denied) == serials
        if choice is not DenialsFrom.OLDER:
            assert denied[22] is None  # the one that ends last
        assert [one.serial_number for one in report.denied] == [20] * (20 in serials)
        assert [one.serial_number for one in report.allowed] == [21] * (21 not in serials)


def test_a_denial_that_has_ended_does_not_come_back() -> None:
    """
    It denies nobody, and would be shown as a change.
    """
    store = filled()
    deny_certificate(store, NAME, 20, now=NOW, until=NOW + DAY)
    older = generation(store)
    deny_certificate(store, NAME, 21, now=NOW + 2 * DAY)
    report = restore_store(store, when=older, now=NOW + 2 * DAY)
    assert [one.serial_number for one in catalog_of(store).denied] == [21]
    assert (report.denied, report.allowed) == ((), ())


@pytest.mark.parametrize("lost", ["denials", "removed issuers"])
def test_decisions_that_cannot_be_read(lost: str) -> None:
    """
    Nothing is restored, unless the operator accepts it; a mirror that has them is enough.
    """
    store, mirror, older = filled(), MemoryStore(), MemoryStore()
    mirror_store(store, older)
    deny_certificate(store, NAME, 99, now=NOW)
    (other,) = [one for one in catalog_of(store).issuers if one.certificate == OTHER_CA.der]
    remove_issuer(store, other.fingerprint, now=NOW)
    mirror_store(store, mirror)
    root = read_set(store)[0].root
    reference = root.denied if lost == "denials" else root.top
    assert reference is not None
    store.delete(reference.name)
    before = generation(store)
    with pytest.raises(StoreError, match=f"the {lost} of the present set cannot be read"):
        restored(store, older)
    assert generation(store) == before
    report = restored(store, older, without_present=True)
    assert any(lost in one for one in report.notes)
    assert (status(store, 99) is REVOKED) is (lost != "denials")
    store.write(CATALOG_NAME, mirror.read(CATALOG_NAME).body)  # as it was
    restored(store, mirror)
    assert status(store, 99) is REVOKED
    assert other.fingerprint in catalog_of(store).removed_issuers


def test_a_removed_issuer_stays_removed() -> None:
    """
    And so do the CRLs that only its key has signed; they are told by name.
    """
    store = filled()
    (other,) = [one for one in catalog_of(store).issuers if one.certificate == OTHER_CA.der]
    remove_issuer(store, other.fingerprint, now=NOW)
    report = restored(store, when=3)
    ((_, error),) = report.refused
    assert "removed the issuer whose key signed it" in str(error)
    catalog = catalog_of(store)
    assert [one.certificate for one in catalog.issuers] == [CA.der]
    assert len(catalog.scopes) == 1
    readmit_issuer(store, other.fingerprint)
    assert restored(store, when=3).refused == ()
    assert status(store, 1, OTHER_CA) is REVOKED


def test_settings_by_hand_that_let_more_pass() -> None:
    """
    They come back only where the present set has them too.
    """
    store = filled()
    (ours,) = [one for one in catalog_of(store).issuers if one.certificate == CA.der]
    scopes = sorted(catalog_of(store).scopes)

    def all_set(on: bool) -> None:
        set_issuer(store, ours.fingerprint, is_anchor=on, publishes_no_crl=on)
        override_scope(store, scopes[0], covers_no_distribution_point=on)
        for scope in (None, scopes[0]):
            grant_grace(store, until=NOW + DAY if on else None, scope=scope, now=NOW)

    def found() -> tuple[bool, ...]:
        catalog = catalog_of(store)
        (issuer,) = [one for one in catalog.issuers if one.certificate == CA.der]
        scope = catalog.scopes[scopes[0]]
        return (
            issuer.is_anchor,
            issuer.publishes_no_crl,
            scope.covers_no_distribution_point,
            scope.grace is not None,
            catalog.grace is not None,
        )

    all_set(on=True)
    older = generation(store)
    restored(store, when=older)
    assert found() == (True,) * 5
    all_set(on=False)
    restored(store, when=older)
    assert found() == (False,) * 5


def test_settings_of_a_scope_that_was_removed_since() -> None:
    """
    The present set has them no more, so the scope comes back without them.

    Where nobody knows what the present set had, it comes back as it was.
    """
    store = filled()
    scope = min(catalog_of(store).scopes)
    override_scope(store, scope, covers_no_distribution_point=True)
    grant_grace(store, until=NOW + DAY, scope=scope, now=NOW)
    older = generation(store)
    backup = MemoryStore()
    mirror_store(store, backup)
    remove_scope(store, scope, now=NOW)
    restored(store, when=older)
    record = catalog_of(store).scopes[scope]
    assert (record.covers_no_distribution_point, record.grace) == (False, None)
    empty = MemoryStore()
    restored(empty, backup, when=older)
    assert catalog_of(empty).scopes[scope].covers_no_distribution_point


def test_a_scope_that_does_not_come_back() -> None:
    """
    Its CRL may, and a newer one, but none that is older.
    """
    store = filled()
    report = restored(store, when=1)
    assert {one.after for one in report.scopes} == {None, "CRL 1 of CN=Example CA"}
    assert [name.split(" (")[0] for name in report.issuers_gone] == ["CN=Other CA"]
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(OTHER_CA, 4), OTHER_CA.pem)
    assert publish(store, make_crl(OTHER_CA, 5, [1]), OTHER_CA.pem).published
    assert status(store, 1, OTHER_CA) is REVOKED


def test_a_removed_scope_comes_back() -> None:
    """
    Its issuer is trusted still, and whoever restores wants what was there.
    """
    store = filled()
    scope = next(one.key for one in read_set(store)[0].scopes())
    remove_scope(store, scope, now=NOW)
    assert len(catalog_of(store).scopes) == 1
    restored(store, when=3)
    assert scope in catalog_of(store).scopes
    assert catalog_of(store).tombstones[scope].action is ScopeAction.REMOVED


def test_a_reset_that_is_over_is_not_opened_again() -> None:
    """
    Else whoever may upload could bring an old CRL back.
    """
    store = filled()
    (scope,) = [one.key for one in read_set(store)[0].scopes() if one.base.metadata.crl_number == 2]
    reset_scope(store, scope, now=NOW)
    older = generation(store)
    publish(store, make_crl(CA, 1, [7]))
    restored(store, when=older)
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1, [7]))


# ---- asking first, and doing it --------------------------------------------------------------


def test_nothing_is_written_before_it_is_confirmed() -> None:
    """
    Also not a probe; the report is what is shown.
    """
    mirror = MemoryStore()
    mirror_store(filled(), mirror)
    for store in (MemoryStore(), filled()):
        before = {name: store.read(name).etag for name in store.names("")}
        confirm = Mock(return_value=False)
        report = restored(store, mirror, confirm=confirm)
        confirm.assert_called_once_with(report)
        assert report.generation is None
        assert {name: store.read(name).etag for name in store.names("")} == before


def test_the_history_says_what_came_back() -> None:
    """
    With who and why.
    """
    store = filled()
    restored(store, when=1, note="wrong CRL", actor="alice")
    name = next(iter(store.names(HISTORY_PREFIX)))
    members = json.loads(store.read(name).body)
    assert (members["action"], members["note"], members["actor"]) == (
        "restore",
        "wrong CRL",
        "alice",
    )
    assert members["details"]["from"] == "generation 1"


def test_images_that_cannot_be_compared() -> None:
    """
    The present image is gone: the restore goes on, and says that nothing was counted.
    """
    store = filled()
    (image,) = [one for one in read_set(store)[0].images() if one.metadata.crl_number == 2]
    store.delete(image.name)
    (change,) = restored(store, when=2).scopes
    assert (change.num_lifted, change.num_newly_revoked) == (None, None)
    assert status(store, 7) is REVOKED


# ---- others at work ---------------------------------------------------------------------------


def before_swap(store: MemoryStore, act: Callable[[], object]) -> None:
    """Let *act* happen once, when the root is written next."""

    def before(operation: str, name: str) -> None:
        if operation == "write" and name == CATALOG_NAME:
            store.before = None
            act()

    store.before = before


def test_a_denial_that_comes_between_holds() -> None:
    """
    The swap is lost, and the sets are put together again.
    """
    store = filled()
    before_swap(store, lambda: deny_certificate(store, NAME, 99, now=NOW))
    restored(store, when=2)
    assert generation(store) >= 5
    assert (status(store, 99), status(store, 8)) == (REVOKED, NOT_REVOKED)
    assert verify_store(store).num_unnamed == 0


def test_a_publisher_that_a_restore_overtakes() -> None:
    """
    It publishes on the restored set, with an image that nobody deletes.
    """
    store = filled()
    before_swap(store, lambda: restored(store, when=2))
    report = publish(store, make_crl(CA, 3, [7, 8, 9]))
    assert report.published
    assert generation(store) >= 5
    clean_up(store, now=NOW + DAY)
    clean_up(store, now=NOW + 2 * DAY)
    assert report.image_name in images_of(store)
    assert status(store, 9) is REVOKED
    assert verify_store(store).is_whole


def test_two_restores_at_once() -> None:
    """
    Both take place, one after the other.
    """
    store = filled()
    before_swap(store, lambda: restored(store, when=1))
    assert restored(store, when=2).generation == generation(store) >= 5
    assert status(store, 1, OTHER_CA) is REVOKED
    clean_up(store, now=NOW + DAY)
    clean_up(store, now=NOW + 2 * DAY)
    assert verify_store(store).is_whole


def test_images_that_clean_up_has_noted_are_written_anew() -> None:
    """
    A restore so slow that its images count as abandoned publishes others.
    """
    store = filled()

    def clean_twice() -> None:
        clean_up(store, now=NOW)
        clean_up(store, now=NOW + DAY)

    before_swap(store, clean_twice)
    restored(store, when=3)
    clean_up(store, now=NOW + 2 * DAY)
    clean_up(store, now=NOW + 3 * DAY)
    assert verify_store(store).is_whole
    assert status(store, 8) is REVOKED


def operations_of_a_restore() -> int:
    """How many operations a restore of the store takes."""
    store, seen = filled(), []
    store.before = lambda *operation: seen.append(operation)
    restored(store, when=2)
    return len(seen)


@pytest.mark.parametrize("number", range(operations_of_a_restore()))
def test_a_store_that_fails_in_the_middle(number: int) -> None:
    """
    At each operation: the set before stays whole, or the one after is there, whole.
    """
    store = filled()
    count = itertools.count()

    def fail(_operation: str, _name: str) -> None:
        if next(count) == number:
            raise StoreUnavailableError("no answer")

    store.before = fail
    with contextlib.suppress(StoreUnavailableError):
        restored(store, when=2)
    store.before = None
    report = verify_store(store)
    assert (report.is_whole, report.num_scopes) == (True, 2)
    clean_up(store, now=NOW + DAY)
    clean_up(store, now=NOW + 2 * DAY)
    report = verify_store(store)
    assert (report.is_whole, report.num_unnamed) == (True, 0)


class LosingStore(MemoryStore):
    """Swaps the root, and then says that another writer was first, once."""

    lose = False

    def write(self, name: str, body: Any, **conditions: Any) -> str:
        etag = super().write(name, body, **conditions)
        if name == CATALOG_NAME and self.lose:
            self.lose = False
            raise PreconditionFailedError("lost", name=name, may_be_written=True)
        return etag


def test_a_lost_answer_is_no_lost_restore() -> None:
    """
    The chain of records tells, and the images stay.
    """
    store = filled(LosingStore())
    store.lose = True
    assert restored(store, when=2).generation == generation(store) == 4
    assert verify_store(store).is_whole


# ---- signed roots ----------------------------------------------------------------------------


def test_a_signed_store_is_restored_by_its_key_only() -> None:
    """
    Not without the key, and not from a mirror whose root the key has not signed.
    """
    key, plain = MemoryKey(), MemoryStore()
    store = SigningStore(plain, key)
    filled(store)
    unsigned = filled()
    with pytest.raises(RootSignatureError) as caught:
        restored(plain, when=2)
    assert caught.value.reason == "no_signing_key"
    with pytest.raises(RootSignatureError):
        restored(store, unsigned)
    assert generation(plain) == 3
    assert restored(store, when=2).generation == 4
    report = verify_store(plain, root_keys=[key.root_key], now=NOW)
    assert report.is_whole
    mirror = MemoryStore()
    mirror_store(plain, mirror)
    plain.delete(CATALOG_NAME)
    assert restored(store, mirror).generation == MILLISECONDS
    assert verify_store(plain, root_keys=[key.root_key], now=NOW).is_whole


@pytest.mark.parametrize("place", ["the store", "a mirror"])
def test_what_no_signed_root_leads_to_is_not_signed(place: str) -> None:
    """
    A record of the history has no signature: who may write it must not have it signed.

    An operator may vouch for it.
    """
    key, plain = MemoryKey(), MemoryStore()
    store = SigningStore(plain, key)
    filled(store)
    record = next(iter(plain.names("history/")))
    first = plain.read(CATALOG_NAME).body
    publish(store, make_crl(CA, 3, [7, 8, 9]), now=NOW + DAY)
    mirror = MemoryStore()
    mirror_store(plain, mirror)
    origin: dict[str, Any] = {"when": 4}
    if place == "a mirror":
        origin["origin"] = mirror
        mirror.write(CATALOG_NAME, first)
    else:
        plain.delete(CATALOG_NAME)
    assert record in set(plain.names("history/"))
    with pytest.raises(RootSignatureError, match="no signed root leads to") as caught:
        restored(store, **origin)
    assert caught.value.reason == "unsigned_record"
    restored(store, adopt=True, **origin)
    assert verify_store(plain, root_keys=[key.root_key], now=NOW).is_whole


@pytest.mark.parametrize("adopt", [False, True])
def test_what_an_unsigned_record_lets_pass_is_not_signed(*, adopt: bool) -> None:
    """
    Its denials hold, for they can only deny more; its grace does not unless it is adopted.
    """
    key, plain = MemoryKey(), MemoryStore()
    store = SigningStore(plain, key)
    filled(store)
    mirror = MemoryStore()
    mirror_store(plain, mirror)
    scope = min(catalog_of(plain).scopes)
    deny_certificate(store, CA.certificate.subject.public_bytes(), 9, now=NOW)
    for one in (None, scope):
        grant_grace(store, until=NOW + DAY, scope=one, now=NOW)
    plain.delete(CATALOG_NAME)
    restored(store, mirror, adopt=adopt)
    catalog = catalog_of(plain)
    assert [one.serial_number for one in catalog.denied] == [9]
    assert (catalog.grace is not None, catalog.scopes[scope].grace is not None) == (adopt, adopt)


@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("when", [DAY, NOW + DAY])
def test_the_set_of_a_time(when: Any, *, is_gone: bool) -> None:
    """
    Yesterday's, also where the root is gone; before the first there was none.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [7]))
    publish(store, make_crl(CA, 2, [7, 8]), now=NOW + 2 * DAY, keep=30 * DAY)
    if is_gone:
        store.delete(CATALOG_NAME)
    report = restore_store(store, when=when, now=NOW + 2 * DAY)
    assert report.source == "generation 1"
    assert status(store, 8) is NOT_REVOKED
    if is_gone:
        store.delete(CATALOG_NAME)
    with pytest.raises(StoreError):
        restore_store(store, when=NOW - DAY, now=NOW + 2 * DAY)
