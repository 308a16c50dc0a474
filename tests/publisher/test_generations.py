"""
A restored store: no writer gives out a generation that was given out before.

The records of the history tell, and within one process its own memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.catalog import compare_and_swap
from crlcheck.catalog.history import HISTORY_PREFIX, latest_listed, listed, new_record_name
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.records import IssuerRecord
from crlcheck.catalog.root import CATALOG_NAME, MAX_GENERATION
from crlcheck.cli import main
from crlcheck.errors import CatalogRollbackError, StoreError, StoreUnavailableError
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.issuers import remove_issuer
from crlcheck.publisher.mirror import mirror_store
from crlcheck.publisher.operator import (
    advance_generation,
    deny_certificate,
    lift_denial,
    override_scope,
    remove_scope,
    reset_scope,
)
from crlcheck.publisher.verify import verify_store
from crlcheck.stores import LocalStore
from crlcheck.types import RevocationStatus
from support.checking import make_checker
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_client, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, publish

NAME = CA.certificate.subject.public_bytes()
BAD = make_client(CA, 2)


def history(store: Any, last: int = 6) -> list[bytes]:
    """Publish so many generations; return the catalog of each."""
    catalogs = []
    for number in range(1, last + 1):
        publish(store, make_crl(CA, number, [99]))
        catalogs.append(store.read(CATALOG_NAME).body)
    deny_certificate(store, NAME, 1000 + last, now=NOW)
    return [*catalogs, store.read(CATALOG_NAME).body]


def forget(store: MemoryStore) -> MemoryStore:
    """Return the same objects in another store, as another process would open it."""
    other = MemoryStore()
    for name in store.names(""):
        other.write(name, store.read(name).body)
    return other


def forget_history(store: MemoryStore, after: int = 0) -> None:
    """Delete the records of later generations, as a backup does not have them."""
    for generation, name in [*listed(store)]:
        if generation > after:
            store.delete(name)


def scope_of(store: Any) -> str:
    """The key of the only scope."""
    (scope,) = catalog_of(store).scopes
    return scope


WRITERS: dict[str, Callable[[Any], object]] = {
    "publish": lambda store: publish(store, make_crl(CA, 50)),
    "publish another issuer's": lambda store: publish(store, make_crl(OTHER_CA, 1), OTHER_CA.pem),
    "deny": lambda store: deny_certificate(store, NAME, 5, now=NOW),
    "lift": lambda store: lift_denial(store, NAME, 77, now=NOW),
    "remove": lambda store: remove_scope(store, scope_of(store), now=NOW),
    "reset": lambda store: reset_scope(store, scope_of(store), now=NOW),
    "override": lambda store: override_scope(
        store, scope_of(store), covers_no_distribution_point=True
    ),
    "clean up": lambda store: clean_up(store, grace=timedelta(0), now=NOW + timedelta(days=1)),
    "advance": lambda store: advance_generation(store, above=3),
}


@pytest.mark.parametrize("memory", ["of the history", "of the process"])
@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_goes_above_what_was_written(
    writer: str, memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where the catalog alone was restored the history beside it tells, and where the history
    was too, a process that wrote since does. The next change is above all that
    readers may have seen, and a warning says what happened.
    """
    store = MemoryStore()
    deny_first = publish(store, make_crl(CA, 1, [99])).generation
    deny_certificate(store, NAME, 77, now=NOW)
    catalogs = [store.read(CATALOG_NAME).body]
    catalogs += history(store)[1:]
    last = catalog_of(store).generation
    assert deny_first == 1
    store.write(CATALOG_NAME, catalogs[1])
    if memory == "of the history":
        store = forget(store)
    else:
        forget_history(store, after=3)
    with caplog.at_level(logging.WARNING):
        WRITERS[writer](store)
    assert catalog_of(store).generation == last + 1
    assert "was restored to generation 3" in caplog.text
    # Nobody has read the last one and written another, so that it may be a lost proposal.
    proved = last if memory == "of the process" else last - 1
    assert f"generation {proved} had been written" in caplog.text
    assert latest_listed(store) == last + 1


def test_what_is_published_after_the_root_is_gone_goes_on_from_the_history(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It has all scopes, denials and removed issuers that were there, under a later generation,
    so that services take it, and the log says that the root was gone.
    """
    store = MemoryStore()
    history(store)
    publish(store, make_crl(OTHER_CA, 1), OTHER_CA.pem)
    fingerprint = IssuerRecord(OTHER_CA.der).fingerprint
    remove_issuer(store, fingerprint, now=NOW)
    deny_certificate(store, NAME, 5, now=NOW)
    checker = make_checker(store)
    assert checker.check(make_client(CA, 5)).denied
    assert checker.check(BAD).status is RevocationStatus.NOT_REVOKED
    before = catalog_of(store)
    store.delete(CATALOG_NAME)
    other = forget(store)
    report = publish(other, make_crl(CA, 9, [2]))
    assert report.generation == before.generation + 1
    assert f"gone although generation {before.generation - 1} had been written" in caplog.text
    after = catalog_of(other)
    assert (after.denied, after.removed_issuers) == (before.denied, before.removed_issuers)
    assert after.tombstones == before.tombstones
    assert verify_store(other, now=NOW).is_whole
    for name in other.names(""):
        store.write(name, other.read(name).body)
    assert checker.check(BAD).status is RevocationStatus.REVOKED
    assert checker.check(make_client(CA, 5)).denied


@pytest.mark.parametrize("is_late", [False, True])
def test_who_swaps_while_the_root_is_gone_may_be_gone_on_from(
    monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """
    A publisher has written its record and not yet the root, or is about to write its record
    again because it is late, and another one goes on from the record that is there. Nothing
    of it is deleted, and the first one is told that it is published.
    """
    store = MemoryStore()
    history(store)
    store.delete(CATALOG_NAME)
    others = [lambda: publish(store, make_crl(OTHER_CA, 1), OTHER_CA.pem)]

    def comes_first() -> bool:
        if not others:
            return False
        others.pop()()
        return True

    def before(operation: str, name: str) -> None:
        if (operation, name) == ("write", CATALOG_NAME):
            comes_first()

    if is_late:
        monkeypatch.setattr(compare_and_swap.Change, "is_late", property(lambda _: comes_first()))
    else:
        store.before = before
    assert publish(store, make_crl(CA, 9, [2])).published
    catalog = catalog_of(store)
    assert {image.metadata.crl_number for image in catalog.images()} == {1, 9}
    assert verify_store(store, now=NOW).is_whole


def test_what_follows_an_old_root_keeps_the_denials_of_later_generations() -> None:
    """
    Those that hold, and that nobody lifts with this change. The history says that they were
    added, and a service that has seen them goes on denying.
    """
    store = MemoryStore()
    history(store)
    old = store.read(CATALOG_NAME).body
    for serial in (5, 6):
        deny_certificate(store, NAME, serial, until=NOW + serial * DAY, now=NOW)
    checker = make_checker(store)
    assert checker.check(make_client(CA, 6)).denied
    store.write(CATALOG_NAME, old)
    publish(store, make_crl(CA, 9, [2]), now=NOW + 5 * DAY + timedelta(minutes=1))
    assert {one.serial_number for one in catalog_of(store).denied} == {6, 1006}
    assert checker.check(make_client(CA, 6)).denied
    lift_denial(store, NAME, 6, now=NOW)
    assert {one.serial_number for one in catalog_of(store).denied} == {1006}
    assert verify_store(store, now=NOW).is_whole


def test_a_restored_catalog_with_a_denial_reaches_who_saw_a_later_one() -> None:
    """
    What an operator denies after a restore of the catalog is taken by a running
    service at once, generation and all.
    """
    store = MemoryStore()
    catalogs = history(store)
    checker = make_checker(store)
    checker.check(BAD)
    store.write(CATALOG_NAME, catalogs[2])
    deny_certificate(store, NAME, 2, now=NOW)
    assert checker.check(BAD).denied
    assert checker.status().generation == 8
    assert checker.status().error is None


def test_no_record_gives_a_false_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """
    One whose writer died before the swap, and one of a writer that lost: neither is a
    restored catalog. Their numbers are used up all the same.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))

    def die(operation: str, name: str) -> None:
        if (operation, name) == ("write", CATALOG_NAME):
            raise StoreUnavailableError("no answer")

    store.before = die
    with pytest.raises(StoreUnavailableError):
        publish(store, make_crl(CA, 2))
    assert latest_listed(store) == 2
    come_first = True

    def interfere(operation: str, name: str) -> None:
        nonlocal come_first
        if (operation, name) == ("write", CATALOG_NAME) and come_first:
            come_first = False
            publish(store, make_crl(OTHER_CA, 1), OTHER_CA.pem)

    store.before = interfere
    report = publish(store, make_crl(CA, 3))
    assert (report.generation, report.num_lost_swaps) == (5, 1)
    assert "was restored" not in caplog.text
    assert "is gone" not in caplog.text


def test_what_is_no_record_is_passed_by() -> None:
    """Only a name of that form tells of a generation."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    for name in ("a", "0000000000000/000-x.json", "0000000000000/000/x", "9007199254740/z.json"):
        store.write(f"{HISTORY_PREFIX}{name}", b"{}")
    assert publish(store, make_crl(CA, 2)).generation == 2


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"generation":"6"}', b"[" * 99999])
def test_a_broken_record_keeps_nothing_from_being_published(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """
    One that nobody's root names, of a later generation: its number is used up, and what
    it says is not believed.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    store.write(new_record_name(6), body)
    assert publish(store, make_crl(CA, 2)).generation == 7
    assert "was restored" not in caplog.text
    assert deny_certificate(store, NAME, 5, now=NOW) == 8


def test_the_highest_number_of_all_is_refused_before_anything_is_written() -> None:
    """No reader would take the next one."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    store.write(new_record_name(MAX_GENERATION - 1), b"{}")
    before = list(store.names(""))
    with pytest.raises(StoreError, match="generation"):
        deny_certificate(store, NAME, 5, now=NOW)
    assert list(store.names("")) == before


def test_a_history_that_cannot_be_listed_fails_the_change() -> None:
    """A number that somebody may have seen must not be given out again."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))

    def fail(operation: str, name: str) -> None:
        if operation == "names":
            raise StoreUnavailableError("no answer")

    store.before = fail
    with pytest.raises(StoreUnavailableError):
        deny_certificate(store, NAME, 5, now=NOW)
    store.before = None
    assert catalog_of(store).generation == 1


def test_a_store_without_a_hash_is_one_too() -> None:
    """
    What this process wrote is then not remembered, and the history is.
    """

    class Plain(MemoryStore):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return self is other

    store = Plain()
    catalogs = history(store)
    store.write(CATALOG_NAME, catalogs[0])
    assert deny_certificate(store, NAME, 5, now=NOW) == 8


# ---- by hand -----------------------------------------------------------------------


def test_an_operator_brings_a_store_above_what_services_hold() -> None:
    """
    The whole store was restored, so that nothing in it tells. Afterwards a running
    service takes it; a store that is above already stays as it is.
    """
    store = MemoryStore()
    history(store)
    checker = make_checker(store)
    checker.check(BAD)
    restored = MemoryStore()
    publish(restored, make_crl(CA, 1, [2]))
    held = checker.status().generation
    assert held == 7
    assert advance_generation(restored, above=held) == 8
    assert advance_generation(restored, above=held) == 8
    for name in restored.names(""):
        store.write(name, restored.read(name).body)
    assert checker.check(BAD).status is RevocationStatus.REVOKED
    assert checker.status().generation == 8


@pytest.mark.parametrize("above", [0, -1, 1 << 53])
def test_no_catalog_has_such_a_generation(above: int) -> None:
    """
    A slip must not use the numbers up.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    with pytest.raises(ValueError, match="above"):
        advance_generation(store, above=above)


def test_advance_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    ``crlcheck advance STORE --above N``.
    """
    store = LocalStore(tmp_path, fsync=False)
    publish(store, make_crl(CA, 1))
    assert main(["advance", store.url, "--above", "6"]) == 0
    assert capsys.readouterr().out == f"{store.url}: generation 7\n"
    assert read_set(store)[0].everything().generation == 7
    assert main(["advance", store.url, "--above", "0"]) == 2
    assert main(["advance", f"{store.url}/none", "--above", "6"]) == 4


def test_a_mirror_does_not_follow_its_source_back() -> None:
    """
    Even where its own catalog is gone: what served from it has seen later ones.
    """
    source, target = MemoryStore(), MemoryStore()
    catalogs = history(source)
    mirror_store(source, target)
    source.write(CATALOG_NAME, catalogs[2])
    target.delete(CATALOG_NAME)
    with pytest.raises(CatalogRollbackError) as refused:
        mirror_store(source, target)
    assert (refused.value.generation, refused.value.held) == (3, 7)
    assert advance_generation(source, above=7) == 8
    assert mirror_store(source, target).generation == 8
    assert make_checker(target).check(make_client(CA, 99)).status is RevocationStatus.REVOKED


def test_nobody_else_writes_the_catalog() -> None:
    """
    A writer that passed by would know of no later generation. Signing changes none: it
    replaces the signatures of the very root that it has read.
    """
    package = Path(compare_and_swap.__file__).parents[1]
    writers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ".write(CATALOG_NAME" in path.read_text(encoding="utf-8")
    }
    assert writers == {"catalog/compare_and_swap.py", "publisher/sign.py"}
