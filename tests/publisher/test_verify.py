"""Verifying a store: every kind of damage is told by name, and repaired from a copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crlcheck.catalog import tree
from crlcheck.catalog.history import HISTORY_PREFIX
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.tree import Reference
from crlcheck.checker.checker import RevocationChecker
from crlcheck.cli import main
from crlcheck.errors import StoreUnavailableError
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import deny_certificate
from crlcheck.publisher.sign import sign_root
from crlcheck.publisher.verify import StoreFault, VerifyReport, verify_store
from crlcheck.remedies import REMEDIES_BY_REASON
from crlcheck.stores import LocalStore
from crlcheck.types import RevocationStatus
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_authority, make_client, make_crl
from support.publishing import CA, OTHER_CA, images_of, publish
from support.root_keys import MemoryKey
from support.web_server import web_server

NAME = CA.certificate.subject.public_bytes()
CRL = make_crl(CA, 1, [7, 8])


def filled() -> MemoryStore:
    """A store with two scopes, a delta CRL, a denial and a history of four generations."""
    store = MemoryStore()
    publish(store, CRL)
    publish(store, make_crl(CA, 2, [9], extensions=[delta_of(1)]))
    publish(store, make_crl(OTHER_CA, 5, [1]), OTHER_CA.pem)
    deny_certificate(store, NAME, 99, now=NOW)
    return store


def verified(store: Any, **options: Any) -> tuple[VerifyReport, list[StoreFault]]:
    """Verify, and collect the faults."""
    faults: list[StoreFault] = []
    return verify_store(store, on_fault=faults.append, **options), faults


def damage(store: MemoryStore, name: str) -> None:
    """Change the last byte of an object."""
    body = store.read(name).body
    store.write(name, body[:-1] + bytes([body[-1] ^ 1]))


def root_of(store: MemoryStore) -> Any:
    """The members of the root."""
    return json.loads(store.read(CATALOG_NAME).body)


def objects_of(store: MemoryStore) -> dict[str, str]:
    """An object of each kind that a root leads to, by kind."""
    held, _ = read_set(store)
    assert held.root.top is not None
    assert held.root.denied is not None
    assert held.root.history is not None
    return {
        "node": held.root.top.name,
        "denials": held.root.denied.name,
        "record": held.root.history.name,
        "old record": list(store.names(HISTORY_PREFIX))[2],
        "image": next(one.name for one in held.images() if one.metadata.crl_number == 1),
        "delta": next(one.name for one in held.images() if one.metadata.is_delta),
    }


KINDS = ["node", "denials", "record", "old record", "image", "delta"]


def test_a_whole_store() -> None:
    """
    Everything is counted, and nothing is written.
    """
    store = filled()
    before = {name: store.read(name) for name in store.names("")}
    report, faults = verified(store)
    assert (faults, report.is_whole) == ([], True)
    assert (report.generation, report.num_scopes, report.num_images) == (4, 2, 3)
    assert (report.num_issuers, report.num_denials, report.num_records) == (2, 1, 4)
    assert (report.history_from, report.num_leftover_records, report.num_unnamed) == (1, 0, 0)
    assert {name: store.read(name) for name in store.names("")} == before


@pytest.mark.parametrize("found", ["missing", "damaged"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_object_is_missed_and_copied_back(kind: str, found: str) -> None:
    """
    The fault has the object's name and what follows; a mirror's copy is written back,
    byte for byte and under no new generation.
    """
    store, mirror = filled(), MemoryStore()
    mirror_store(store, mirror)
    name = objects_of(store)[kind]
    whole = store.read(name).body
    if found == "missing":
        store.delete(name)
    else:
        damage(store, name)
    report, (fault,) = verified(store)
    assert (fault.name, fault.found, fault.repaired_from) == (name, found, "")
    assert name in fault.detail
    assert fault.means
    assert fault.remedy
    assert not report.is_whole

    report, (fault,) = verified(store, repair_from=[mirror])
    assert fault.repaired_from == f"memory:/{name}"
    assert report.is_whole
    assert store.read(name).body == whole
    assert verified(store)[1] == []
    assert read_set(store)[0].generation == 4


def test_all_at_once() -> None:
    """
    A store of which only the root is left, and a mirror of another time that has each image
    under another name, if at all.
    """
    store, mirror = filled(), MemoryStore()
    mirror_store(store, mirror)
    for name in [*store.names("images/"), *store.names("nodes/"), *store.names("history/")]:
        store.delete(name)
    report, faults = verified(store)
    assert not report.is_whole
    assert len(faults) == 3
    report, faults = verified(store, repair_from=[mirror])
    assert report.is_whole
    assert len(faults) == 1 + 1 + 4 + 3
    assert verified(store)[1] == []


def test_an_image_under_another_name_is_the_same() -> None:
    """
    In the mirror or in the store itself, of whatever generation.
    """
    store, other = filled(), MemoryStore()
    publish(other, CRL)
    name = objects_of(store)["image"]
    damage(store, name)
    report, (fault,) = verified(store, repair_from=[other])
    assert fault.repaired_from.removeprefix("memory:/") == images_of(other)[0] != name
    assert report.is_whole
    store.write(f"{name.removesuffix('.crlx')[:-32]}{'0' * 32}.crlx", store.read(name).body)
    store.delete(name)
    report, (fault,) = verified(store, repair_from=[store])
    assert fault.repaired_from
    assert report.is_whole


class ReadableStore(MemoryStore):
    """A store to whose objects nobody may write from now on."""

    is_closed = False

    def write(self, name: str, *arguments: Any, **options: Any) -> str:
        """Write, or refuse it as a file system does."""
        if self.is_closed:
            raise PermissionError(13, "Permission denied", f"/store/{name}")
        return super().write(name, *arguments, **options)


def readable_store() -> ReadableStore:
    """A store with another copy of a damaged image under a name of its own."""
    store = ReadableStore()
    publish(store, CRL)
    (name,) = images_of(store)
    store.write(f"{name.removesuffix('.crlx')[:-32]}{'0' * 32}.crlx", store.read(name).body)
    damage(store, name)
    store.is_closed = True
    return store


def test_nothing_is_written_that_nobody_asked_for() -> None:
    """
    Without anything to repair from, the damage is told, and that the store has another copy.
    """
    store = readable_store()
    report, (fault,) = verified(store)
    assert (fault.found, fault.repaired_from, report.is_whole) == ("damaged", "", False)
    assert "--repair-from STORE" in fault.remedy
    store.is_closed = False
    assert verified(store, repair_from=[store])[0].is_whole
    assert verified(store)[1] == []


def test_the_damage_is_told_where_the_repair_is_refused() -> None:
    """
    By the operating system or by the store; of nodes, denials and records as of images.
    """
    store, mirror = ReadableStore(), MemoryStore()
    publish(store, CRL)
    deny_certificate(store, NAME, 99, now=NOW)
    mirror_store(store, mirror)
    held, _ = read_set(store)
    references = (held.root.top, held.root.denied, held.root.history)
    names = {one.name for one in references if one is not None} | set(images_of(store))
    for name in names:
        damage(store, name)
    store.is_closed = True
    report, faults = verified(store, repair_from=[mirror])
    assert {fault.name for fault in faults} == names
    assert (report.num_repaired, report.is_whole) == (0, False)
    for fault in faults:
        assert "not repaired from memory:/" in fault.detail
        assert "Permission denied" in fault.detail
        assert "may write" in fault.remedy


@pytest.mark.parametrize("attributes", [True, False])
def test_an_image_is_made_anew_from_its_crl(tmp_path: Path, *, attributes: bool) -> None:
    """
    Of a file or of a directory in which other files lie too; PEM with several works.
    """
    store = MemoryStore()
    publish(store, CRL, attributes=attributes)
    publish(store, make_crl(OTHER_CA, 5, [1]), OTHER_CA.pem)
    (name,) = [one.name for one in read_set(store)[0].images() if one.metadata.num_entries == 2]
    whole = store.read(name).body
    store.delete(name)
    (tmp_path / "notes").write_bytes(b"no CRL")
    (tmp_path / ".hidden").write_bytes(b"no CRL")
    (tmp_path / "other.crl").write_bytes(make_crl(CA, 2, [7, 8]))
    report, (fault,) = verified(store, repair_from=[tmp_path])
    assert (fault.found, fault.repaired_from) == ("missing", "")
    assert fault.scopes == tuple(
        one.key for one in read_set(store)[0].scopes() if one.base.name == name
    )
    (tmp_path / "a.crl").write_bytes(CRL)
    report, (fault,) = verified(store, repair_from=[tmp_path])
    assert fault.repaired_from == str(tmp_path / "a.crl")
    assert report.is_whole
    assert store.read(name).body == whole


def test_a_repaired_store_answers_again() -> None:
    """
    Revocations of the damaged scope hold from the next look on.
    """
    store, mirror = filled(), MemoryStore()
    mirror_store(store, mirror)
    damage(store, objects_of(store)["image"])
    ask = RevocationChecker(store, clock=lambda: NOW).check
    assert ask(make_client(CA, 7)).status is RevocationStatus.UNDETERMINED
    verify_store(store, repair_from=[mirror])
    ask = RevocationChecker(store, clock=lambda: NOW).check
    assert ask(make_client(CA, 7)).status is RevocationStatus.REVOKED


def test_a_mirror_that_is_damaged_too_repairs_nothing() -> None:
    """
    A copy of another digest is never written.
    """
    store, mirror = filled(), MemoryStore()
    mirror_store(store, mirror)
    for kind, name in objects_of(store).items():
        if kind != "old record":  # which cannot be reached past the first one
            damage(store, name)
            damage(mirror, name)
    before = {name: store.read(name) for name in store.names("")}
    report, faults = verified(store, repair_from=[mirror])
    assert report.num_repaired == 0 < len(faults)
    assert {name: store.read(name) for name in store.names("")} == before


# ---- the root ------------------------------------------------------------------------------


def test_a_root_that_is_gone_or_cannot_be_read() -> None:
    """
    It says which generation the history knows, and that a restore is needed.
    """
    store = filled()
    store.delete(CATALOG_NAME)
    report, (fault,) = verified(store)
    assert (report.generation, fault.found) == (None, "missing")
    assert "the history has generation 4" in fault.detail
    assert "restore" in fault.remedy
    store.write(CATALOG_NAME, b"<html>")
    report, (fault,) = verified(store)
    assert (report.is_whole, fault.found) == (False, "unreadable")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("scopes", 3),
        ("trusted", [3, "0" * 64]),
        ("removed", [1, "0" * 64]),
        ("generation", 9),
        ("settings", {"keep": 5}),
        ("history", None),
    ],
)
def test_a_root_that_somebody_has_edited(member: str, value: object) -> None:
    """
    It is not the one that its record proposes, or its numbers are wrong.
    """
    store = filled()
    members = root_of(store)
    members[member] = value
    store.write(CATALOG_NAME, json.dumps({k: v for k, v in members.items() if v}).encode())
    report, faults = verified(store)
    assert not report.is_whole
    assert {fault.name for fault in faults} == {CATALOG_NAME}


def test_an_old_root_that_somebody_put_back() -> None:
    """
    The history proves the later generation; publishing goes above it.
    """
    store = filled()
    old = store.read(CATALOG_NAME).body
    for serial in (1, 2):
        deny_certificate(store, NAME, serial, now=NOW)
    store.write(CATALOG_NAME, old)
    report, (fault,) = verified(store)
    assert (fault.found, report.num_leftover_records) == ("set_back", 2)
    assert "generation 4, although generation 5" in fault.detail
    assert "@6" in fault.remedy


def test_a_record_above_the_root_is_told() -> None:
    """
    The record of one later generation proves nothing, but an old root may hide it.
    """
    store = filled()
    old = store.read(CATALOG_NAME).body
    assert verified(store)[0].later_generation is None
    deny_certificate(store, NAME, 1, now=NOW)
    assert verified(store)[0].later_generation is None
    generation = root_of(store)["generation"]
    store.write(CATALOG_NAME, old)
    report, faults = verified(store)
    assert (faults, report.later_generation) == ([], generation)


def test_a_signed_root() -> None:
    """
    Only keys that are given are asked for; an unsigned root fails them.
    """
    store = filled()
    assert verified(store)[0].is_whole
    report, (fault,) = verified(store, root_keys=[MemoryKey().root_key])
    assert (fault.name, fault.found, report.is_whole) == (CATALOG_NAME, "unsigned", False)
    assert fault.remedy == REMEDIES_BY_REASON["unsigned"]


def test_a_root_signed_by_a_key_that_is_not_given() -> None:
    """
    The keys that were given may be the old ones, so no other set is to be brought back.
    """
    store = filled()
    old, new = MemoryKey(), MemoryKey()
    sign_root(store, sign_with=new, adopt=True, now=NOW)
    _, faults = verified(store, root_keys=[new.root_key], now=NOW)
    assert not faults
    _, (fault,) = verified(store, root_keys=[old.root_key], now=NOW)
    assert fault.remedy == REMEDIES_BY_REASON["unknown_key"]
    assert "keep the one that they have until its signature expires" in fault.means


def test_a_root_whose_signature_has_expired() -> None:
    """
    Services that have the set do not keep it: a checker stops using it then.
    """
    store, key = filled(), MemoryKey()
    sign_root(store, sign_with=key, adopt=True, now=NOW)
    _, (fault,) = verified(store, root_keys=[key.root_key], now=NOW + 8 * DAY)
    assert fault.means == "services with these keys call every certificate undetermined"
    assert fault.remedy == REMEDIES_BY_REASON["expired"]


# ---- the tree ---------------------------------------------------------------------------


def rewritten(store: MemoryStore, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the entries of the top leaf as somebody would who has written the root too."""
    members = root_of(store)
    leaf = json.loads(store.read(members["top"][0]).body)
    change(leaf["entries"])
    body = json.dumps(leaf).encode()
    store.write("nodes/changed.json", body)
    reference = Reference("nodes/changed.json", _digest(body), len(body))
    members["top"] = [*reference.to_json()[:3], *members["top"][3:]]
    store.write(CATALOG_NAME, json.dumps(members).encode())


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _key(entries: dict[str, Any], kind: str) -> str:
    return next(key for key in sorted(entries) if key.split("/")[1] == kind)


def _move(kind: str) -> Callable[[dict[str, Any]], None]:
    def change(entries: dict[str, Any]) -> None:
        key = _key(entries, kind)
        entries["f" * 32 + key[32:]] = entries.pop(key)

    return change


def _drop(kind: str) -> Callable[[dict[str, Any]], None]:
    return lambda entries: entries.pop(_key(entries, kind))


def _stray(entries: dict[str, Any]) -> None:
    key = _key(entries, "x")
    entries[f"{key[:-1]}x"] = entries[key]


def _unreadable(entries: dict[str, Any]) -> None:
    entries[_key(entries, "s")] = {"base": 1}


@pytest.mark.parametrize(
    "change",
    [_move("s"), _move("i"), _move("x"), _drop("x"), _drop("i"), _drop("s"), _stray, _unreadable],
    ids=["scope", "issuer", "list", "no list", "no issuer", "no scope", "stray", "unreadable"],
)
def test_entries_that_do_not_fit_together(change: Callable[[dict[str, Any]], None]) -> None:
    """
    Each entry lies under its own key, with those that belong to it and no others.
    """
    store = filled()
    rewritten(store, change)
    _, faults = verified(store)
    # The root differs from its record in any case.
    assert {fault.found for fault in faults} > {"damaged"}


def test_a_reference_that_hides_a_stale_crl() -> None:
    """
    The earliest nextUpdate below a node is counted anew.
    """
    store = filled()
    members = root_of(store)
    members["top"][3] += 86400
    store.write(CATALOG_NAME, json.dumps(members).encode())
    _, faults = verified(store)
    assert ("miscounted", members["top"][0]) in {(one.found, one.name) for one in faults}


def many(monkeypatch: pytest.MonkeyPatch, number: int = 12) -> MemoryStore:
    """A store whose tree has several levels."""
    monkeypatch.setattr(tree, "MAX_LEAF", 4000)
    monkeypatch.setattr(tree, "MAX_INNER", 700)
    store = MemoryStore()
    for position in range(number):
        authority = make_authority(f"CA {position}")
        publish(store, make_crl(authority, 1, [position]), authority.pem)
    return store


def test_a_lost_shard_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The fault names the scopes of that shard alone, and of the others nothing is said.
    """
    store = many(monkeypatch)
    held, _ = read_set(store)
    report, faults = verified(store)
    assert (faults, report.num_scopes) == ([], 12)
    assert report.num_nodes > 8
    leaves = [one for one in held.objects() if held.nodes.node(one).level == 0]
    lost = leaves[3]
    inside = {
        key.rpartition("/")[2] for key in held.nodes.node(lost).entries if key.split("/")[1] == "s"
    }
    store.delete(lost.name)
    report, (fault,) = verified(store)
    assert (fault.name, set(fault.scopes)) == (lost.name, inside)
    assert report.num_scopes == 12 - len(inside)
    inner = next(one for one in held.objects() if held.nodes.node(one).level == 1)
    damage(store, inner.name)
    assert {one.name for one in verified(store)[1]} == {lost.name, inner.name} - (
        {lost.name} if lost in held.nodes.node(inner).below else set()
    )


# ---- history and what is left over ------------------------------------------------------


def test_records_of_lost_swaps_are_harmless() -> None:
    """
    Those that another writer beat, or that a killed writer left, also above the root.
    """
    store = filled()
    record = store.read(objects_of(store)["record"])
    name = objects_of(store)["record"]
    store.write(f"{name[:-37]}{'0' * 32}.json", record.body)
    report, faults = verified(store)
    assert (faults, report.num_leftover_records) == ([], 1)


def test_objects_that_nothing_names_and_those_that_wait() -> None:
    """
    They are counted, and are no fault; clean-up deletes them.
    """
    store = filled()
    publish(store, make_crl(CA, 3), now=NOW)
    store.write("images/orphan.crlx", b"x")
    store.write("nodes/orphan.json", b"x")
    report, faults = verified(store)
    assert (faults, report.num_unnamed) == ([], 2)
    assert report.num_waiting >= 3
    clean_up(store, now=NOW + DAY)
    clean_up(store, now=NOW + 2 * DAY)
    report, faults = verified(store)
    assert (faults, report.num_unnamed) == ([], 0)


def test_publications_meanwhile_are_no_fault() -> None:
    """
    Clean-up deletes what a later generation does not use, while the set is verified.
    """
    store = filled()
    top = read_set(store)[0].root.top
    assert top is not None

    def overtake(operation: str, name: str) -> None:
        if (operation, name) == ("read", top.name):
            store.before = None
            publish(store, make_crl(CA, 3), now=NOW)
            clean_up(store, now=NOW + DAY)
            assert top.name not in store.names("nodes/")

    store.before = overtake
    report, faults = verified(store)
    assert (faults, report.num_scopes, report.num_images) == ([], 2, 2)
    assert report.generation is not None
    assert report.generation > 4


def test_a_store_that_does_not_answer_is_not_damaged() -> None:
    """
    The error is raised, because nothing is known of the objects.
    """
    store = filled()

    def fail(operation: str, name: str) -> None:
        if operation == "load":
            raise StoreUnavailableError("no answer")

    store.before = fail
    with pytest.raises(StoreUnavailableError):
        verify_store(store)


def test_progress_and_a_directory(tmp_path: Path) -> None:
    """
    The number of scopes rises to that of the root.
    """
    store = LocalStore(tmp_path, fsync=False)
    publish(store, CRL)
    publish(store, make_crl(OTHER_CA, 5, [1]), OTHER_CA.pem)
    seen: list[tuple[int, int]] = []
    assert verify_store(tmp_path, progress=lambda done, total: seen.append((done, total))).is_whole
    assert seen == [(1, 2), (2, 2)]


def test_a_repair_needs_something_to_repair_from(tmp_path: Path) -> None:
    """
    A path that is not there is an error, before anything is read.
    """
    with pytest.raises(FileNotFoundError):
        verify_store(filled(), repair_from=[tmp_path / "nothing"])


def test_a_store_whose_history_is_refused_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    As docs/guides/stores.md has it: all that checkers read is there, and what is not read is said.
    """
    publish(LocalStore(tmp_path / "root" / "set"), CRL)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with web_server(tmp_path / "root", tmp_path) as web:
        url = f"{web.url}/set"
        report = verify_store(url)
        assert (report.is_whole, report.history_from, report.history_error) == (True, 1, None)
        web.refused = "/history/"
        report = verify_store(url)
        assert (report.is_whole, report.num_images, report.num_nodes) == (True, 1, 1)
        assert report.history_from is None
        assert "was answered 403" in str(report.history_error)
        assert main(["verify", url]) == 0
        shown = capsys.readouterr()
        assert "the history was not verified" in shown.out
        assert "the history was not verified: " in shown.err
