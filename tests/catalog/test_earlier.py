"""A store as it was: by generation and by time, and why it cannot always be shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from crlcheck.catalog.earlier import EarlierStore, store_at
from crlcheck.catalog.history import read_record
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import (
    CatalogDamagedError,
    CrlRollbackError,
    EarlierSetError,
    ReadOnlyStoreError,
)
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.operator import (
    advance_generation,
    deny_certificate,
    grant_grace,
    lift_denial,
    remove_scope,
)
from crlcheck.publisher.rejections import read_rejections
from crlcheck.stores import LocalStore, ObjectStore, open_store
from crlcheck.types import RevocationStatus, UndeterminedCause
from crlcheck.x509.certificates import load_certificate
from support.memory_store import MemoryStore
from support.moto_server import S3Environment
from support.pki import DAY, NOW, make_client, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, publish

HOUR = timedelta(hours=1)
CLIENT = make_client(CA, 5)
NAME = load_certificate(CA.der).subject
REVOKED, GOOD = RevocationStatus.REVOKED, RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
LATER = NOW + 100 * DAY
KEPT = timedelta(days=365)


@pytest.fixture(params=["memory", "directory", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return LocalStore(tmp_path / "user@41", fsync=False)
    s3: S3Environment = request.getfixturevalue("s3")
    return open_store(f"s3://{s3.bucket}/user@41")


def fill(store: Any) -> None:
    """
    1: CRL 1. 2, a day later: the client is denied. 3, a day later: that is lifted. 4, a
    day later: CRL 2 revokes the client.
    """
    publish(store, make_crl(CA, 1), now=NOW, grace=KEPT)
    deny_certificate(store, NAME, 5, now=NOW + DAY, note="stolen")
    lift_denial(store, NAME, 5, now=NOW + 2 * DAY)
    publish(store, make_crl(CA, 2, [5]), now=NOW + 3 * DAY, grace=KEPT)


def verdict(store: ObjectStore, when: int | datetime | timedelta) -> tuple[RevocationStatus, int]:
    """What was said of the client then, and by which generation."""
    then = store_at(store, when, now=LATER)
    checker = RevocationChecker(then, clock=lambda: then.at)
    return checker.check(CLIENT).status, then.generation


def put_back(store: Any, generation: int) -> Callable[[], None]:
    """Take the root; what is returned puts it back over whatever is there then."""
    assert read_set(store)[0].generation == generation
    body = store.read(CATALOG_NAME).body
    return lambda: store.write(CATALOG_NAME, body)


def test_what_was_said_then(store: Any) -> None:
    """By the CRLs, the denials and the clock of that time, in every kind of store."""
    fill(store)
    expected = {1: GOOD, 2: REVOKED, 3: GOOD, 4: REVOKED}
    for generation, status in expected.items():
        assert verdict(store, generation) == (status, generation)
        published = NOW + (generation - 1) * DAY
        for moment in (published + HOUR / 6, published + HOUR, published + DAY - HOUR / 60):
            assert verdict(store, moment) == (status, generation)
            assert verdict(store, LATER - moment) == (status, generation)
            east = moment.astimezone(timezone(timedelta(hours=14)))
            assert verdict(store, east) == (status, generation)
    then = store_at(store, NOW + 2 * DAY + HOUR, now=LATER)
    assert then.at == NOW + 2 * DAY + HOUR
    assert then.until is not None
    for found, expected_at in ((then.published_at, 2), (then.until, 3)):
        assert timedelta(0) <= found - NOW - expected_at * DAY < HOUR / 6
    assert then.url == f"{store.url}@3"
    assert store_at(store, 4, now=LATER).until is None
    earlier = store_at(store, 2, now=LATER)
    assert earlier.at == earlier.published_at


def test_the_time_of_the_set_counts_and_not_that_of_the_question() -> None:
    """A CRL that is stale by now was current then, and a grace that is over held then."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1, next_update=NOW + DAY), now=NOW)
    grant_grace(store, until=NOW + 5 * DAY, now=NOW + 2 * DAY)
    assert verdict(store, NOW + HOUR) == (GOOD, 1)
    assert verdict(store, NOW + DAY + HOUR) == (UNDETERMINED, 1)
    assert verdict(store, NOW + 3 * DAY) == (GOOD, 2)
    assert verdict(store, NOW + 6 * DAY) == (UNDETERMINED, 2)


def test_nothing_can_be_changed_in_the_past(store: Any) -> None:
    """Each change is refused before any of it is done, and nothing is deleted."""
    fill(store)
    before = sorted(store.names(""))
    then = store_at(store, 2, now=LATER)
    (scope,) = catalog_of(then).scopes  # type: ignore[arg-type]
    changes: list[Callable[[], object]] = [
        lambda: publish(then, make_crl(CA, 9)),
        lambda: deny_certificate(then, NAME, 7, now=NOW),
        lambda: remove_scope(then, scope, now=NOW),
        lambda: clean_up(then, grace=timedelta(0), now=LATER),
        lambda: then.write("images/x.crlx", b""),
        lambda: then.delete("catalog.json"),
    ]
    for change in changes:
        with pytest.raises(ReadOnlyStoreError, match="user@41@2|memory:@2"):
            change()
    assert sorted(store.names("")) == before


def test_it_is_a_store_that_never_changes() -> None:
    """A checker that polls it takes nothing newer, and status objects of now are not shown."""
    store = MemoryStore()
    fill(store)
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1), source_name="old", now=NOW + 3 * DAY)
    assert len(read_rejections(store)) == 1
    then = store_at(store, 1, now=LATER)
    assert isinstance(then, ObjectStore)
    assert read_rejections(then) == []
    stored = then.read(CATALOG_NAME)
    assert then.read_if_changed(CATALOG_NAME, stored.etag) is None
    assert then.read_if_changed(CATALOG_NAME, None) == stored
    checker = RevocationChecker(then, clock=lambda: NOW + HOUR)
    assert checker.check(CLIENT).status is GOOD
    assert checker.refresh() is False
    assert store_at(then, 1, now=LATER).generation == 1


# ---- what cannot be shown ------------------------------------------------------------


def refusal(store: Any, when: int | datetime | timedelta) -> EarlierSetError:
    """Why the store cannot be shown as it was then."""
    with pytest.raises(EarlierSetError) as caught:
        store_at(store, when, now=LATER)
    return caught.value


def test_a_generation_that_is_yet_to_come_and_a_time_before_the_first(store: Any) -> None:
    """Both are said, with the generation of now and the time of the first one."""
    fill(store)
    error = refusal(store, 5)
    assert (error.found, error.generation, error.held) == ("later", 5, 4)
    assert "generation 5 cannot be shown: it is yet to come" in str(error)
    error = refusal(store, NOW - DAY)
    assert (error.found, error.generation, error.held) == ("before", None, 4)
    assert "the first generation is of 2026-03-01T00:0" in str(error)


@pytest.mark.parametrize(
    ("when", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (LATER + HOUR, ValueError),
        (-HOUR, ValueError),
        (NOW.replace(tzinfo=None), ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_what_is_no_time(when: Any, error: type[Exception]) -> None:
    """A number that no generation has, the future, a time without a zone, another type."""
    store = MemoryStore()
    fill(store)
    with pytest.raises(error):
        store_at(store, when, now=LATER)


def test_nothing_is_published() -> None:
    """It is said as everywhere."""
    with pytest.raises(FileNotFoundError, match="nothing is published"):
        store_at(MemoryStore(), 1)


def test_a_number_that_no_generation_had() -> None:
    """As where somebody advanced the store, which skips numbers."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1), now=NOW)
    advance_generation(store, above=40)
    assert [refusal(store, number).found for number in (2, 40)] == ["skipped", "skipped"]
    assert store_at(store, 1, now=LATER).generation == 1


def test_a_generation_that_lost_its_swap(store: Any) -> None:
    """Its record is there, but no root ever led to it."""
    fill(store)
    held, _ = read_set(store)
    assert held.root.history is not None
    own = read_record(store, held.root.history)
    name = held.root.history.name.replace("-", "-0")[:-6] + ".json"
    store.write(name, own.to_bytes())  # of generation 4, beside the one that was published
    assert store_at(store, 4, now=LATER).generation == 4
    record = held.root.history.name.rpartition("/")[2]
    lost = own.to_bytes().replace(b'"generation":4', b'"generation":6')
    number = f"{int(record[:3]) - 2:03d}"
    store.write(held.root.history.name.replace(f"/{record[:3]}-", f"/{number}-"), lost)
    error = refusal(store, 6)
    assert error.found == "lost"
    assert "another change came first" in str(error)


def test_an_old_root_was_put_back(store: Any) -> None:
    """
    The generations after it were published and are lost. They cannot be shown, and who asks
    for their time is told that they may have been served.
    """
    fill(store)
    restore = put_back(store, 4)
    publish(store, make_crl(CA, 3, [5]), now=NOW + 4 * DAY, grace=KEPT)
    publish(store, make_crl(CA, 4, [5]), now=NOW + 5 * DAY, grace=KEPT)
    restore()
    before = store_at(store, NOW + 5 * DAY + HOUR, now=LATER)
    assert (before.generation, before.perhaps) == (4, (5, 6))
    assert refusal(store, 5).found == "lost"
    publish(store, make_crl(CA, 5, [5]), now=NOW + 6 * DAY, grace=KEPT)
    assert refusal(store, 5).found == "lost"
    assert "put an older root back" in str(refusal(store, 6))
    then = store_at(store, NOW + 5 * DAY + HOUR, now=LATER)
    assert (then.generation, then.perhaps) == (4, (5, 6))
    assert store_at(store, NOW + 4 * DAY + HOUR, now=LATER).perhaps == (5,)
    assert store_at(store, NOW + 3 * DAY + HOUR, now=LATER).perhaps == ()
    assert store_at(store, NOW + 6 * DAY + HOUR, now=LATER).perhaps == ()


def test_objects_that_clean_up_deleted(store: Any) -> None:
    """
    Its certificates are undetermined, with the reason. It is never judged by less than the
    whole set, and never by nothing.
    """
    fill(store)
    clean_up(store, grace=timedelta(0), now=NOW + 4 * DAY)
    then = store_at(store, 2, now=LATER)
    with pytest.raises(EarlierSetError) as caught:
        catalog_of(then)  # type: ignore[arg-type]
    assert caught.value.found == "deleted"
    result = RevocationChecker(then, clock=lambda: then.at).check(CLIENT)
    assert result.status is UNDETERMINED
    assert result.cause is UndeterminedCause.STORE_UNAVAILABLE
    assert "generation 2 cannot be shown" in result.detail


def test_records_that_are_gone(store: Any) -> None:
    """The message says how far back the history goes."""
    fill(store)
    publish(store, make_crl(OTHER_CA, 1), OTHER_CA.pem, now=NOW + 4 * DAY)
    records = list(store.names("history/"))
    for name in records[3:]:
        store.delete(name)
    assert store_at(store, 3, now=LATER).generation == 3
    for when in (1, 2, NOW, NOW + DAY + HOUR):
        error = refusal(store, when)
        assert error.found == "deleted"
        assert "goes back to generation 3, of 2026-03-03T00:0" in str(error)


def test_a_damaged_history_is_not_passed_over(store: Any) -> None:
    """What lies behind the damage is not known, so that nothing is said of it."""
    fill(store)
    (_, second, *_) = store.names("history/")
    store.write(second, store.read(second).body.replace(b"allow", b"alxow"))
    assert store_at(store, 4, now=LATER).generation == 4
    for when in (1, 3, NOW + HOUR):
        with pytest.raises(CatalogDamagedError, match="damaged|digest|other"):
            store_at(store, when, now=LATER)


def test_the_store_is_named_as_the_command_takes_it(tmp_path: Path) -> None:
    """A path, a URL or a store."""
    fill(LocalStore(tmp_path / "s", fsync=False))
    then = store_at(tmp_path / "s", 2)
    assert isinstance(then, EarlierStore)
    assert then.generation == store_at(str(tmp_path / "s"), 2).generation == 2
