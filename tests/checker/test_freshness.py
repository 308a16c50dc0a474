"""
How long a set is answered from, how failures of a store are bounded, and what a
server needs: a background refresh, forks, a status.
"""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

import crlcheck
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import IndexClosedError
from crlcheck.stores import StoredObject
from crlcheck.types import Freshness, RevocationStatus, UndeterminedCause
from support.checking import (
    BAD,
    GOOD,
    Clock,
    CountingStore,
    make_checker,
    make_index,
    publish,
    verdict,
)
from support.example_pki import example_pki
from support.pki import NOW

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
TOO_OLD = (RevocationStatus.UNDETERMINED, UndeterminedCause.STORE_UNAVAILABLE)
HOUR = timedelta(hours=1)


class StuckStore(CountingStore):
    """A store, or something before it, that may say "not modified" whatever has changed."""

    is_stuck = False

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed, unless it is stuck."""
        found = super().read_if_changed(name, etag)
        return None if self.is_stuck and etag is not None else found


# ---- age -----------------------------------------------------------------------------


def test_a_store_that_is_down_is_waited_for_and_then_no_more() -> None:
    """
    Up to max_catalog_age the last set answers; after it nothing does, with the
    reason, until the store is back.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock, max_catalog_age=HOUR)
    assert checker.check(GOOD).status is NOT_REVOKED
    store.is_down = True
    clock.now = NOW + HOUR
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + HOUR + timedelta(seconds=1)
    result = checker.check(BAD)
    assert verdict(result) == TOO_OLD
    assert "last read 1:00:01 ago" in result.detail
    assert "no answer" in result.detail
    store.is_down = False
    assert checker.refresh() is False
    assert checker.check(BAD).status is REVOKED


def test_not_modified_for_ever_is_bounded() -> None:
    """
    Half way through the catalog is read without a condition, so that a cache that
    is stuck on "not modified" hides a newer one no longer than that.
    """
    store, clock = StuckStore(), Clock()
    publish(store, 1, revoked=[])
    checker = make_checker(store, clock=clock, max_catalog_age=HOUR)
    assert checker.check(BAD).status is NOT_REVOKED
    publish(store, 2)
    store.is_stuck = True
    clock.now = NOW + HOUR / 2
    assert checker.check(BAD).status is NOT_REVOKED
    clock.now = NOW + HOUR / 2 + timedelta(seconds=1)
    assert checker.check(BAD).status is REVOKED


def test_the_same_catalog_read_in_full_is_fresh_again() -> None:
    """
    Where nothing is published for long, nothing is denied for that.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock, max_catalog_age=HOUR)
    for _ in range(8):
        assert checker.check(GOOD).status is NOT_REVOKED
        clock.now += HOUR * 0.6
    assert store.counts["load"] == 1
    age = checker.freshness().catalog_age
    assert age is not None
    assert age < HOUR


def test_a_clock_that_is_set_back_makes_nothing_younger(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The monotonic clock counts on, and the store is asked although nothing is due.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock, max_catalog_age=HOUR, refresh_after=HOUR)
    checker.check(GOOD)
    store.is_down = True
    clock.now = NOW - HOUR
    assert checker.check(GOOD).status is NOT_REVOKED
    assert store.counts["read_if_changed"] == 2
    later = time.monotonic() + 3700
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert verdict(checker.check(GOOD)) == TOO_OLD


@pytest.mark.parametrize("age", [timedelta(0), -HOUR])
def test_an_age_must_be_positive(age: timedelta) -> None:
    """
    No set is younger than it is.
    """
    with pytest.raises(ValueError, match="max_catalog_age"):
        make_checker(CountingStore(), max_catalog_age=age)


# ---- failures ------------------------------------------------------------------------


def test_a_store_that_fails_again_and_again_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    After three failures it is asked every five seconds, then less and less often,
    at least every minute; each failure is logged, and what is held keeps answering.
    """
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    store.counts.clear()
    store.is_down = True
    asked = []
    for _ in range(300):
        before = store.counts["read_if_changed"]
        assert checker.check(GOOD).status is NOT_REVOKED
        if store.counts["read_if_changed"] > before:
            asked.append(now)
        now += 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[:6] == [1, 1, 5, 10, 20, 40]
    assert set(pauses[6:]) == {60}
    warnings = [record for record in caplog.records if record.name == "crlcheck"]
    assert len(warnings) == len(asked)
    assert all(record.levelno == logging.WARNING for record in warnings)
    assert "generation 1" in warnings[0].getMessage()
    assert checker.freshness().num_failed_polls == len(asked)
    store.is_down = False
    now += 60
    checker.check(GOOD)
    checker.check(GOOD)
    assert checker.status().error is None
    assert checker.freshness().num_polls == len(asked) + 3


def test_asking_now_ends_a_pause() -> None:
    """
    ``refresh`` is somebody's decision, and checks ask again after it.
    """
    store = CountingStore()
    publish(store, 1, revoked=[])
    checker = make_checker(store)
    checker.check(BAD)
    store.is_down = True
    for _ in range(5):
        checker.check(BAD)
    store.is_down = False
    publish(store, 2)
    assert checker.check(BAD).status is NOT_REVOKED
    assert checker.refresh()
    assert checker.check(BAD).status is REVOKED


# ---- in the background ---------------------------------------------------------------


def wait_for(condition: object, seconds: float = 10.0) -> None:
    """Wait until *condition* is true."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_no_check_waits_for_the_store_but_the_first() -> None:
    """
    A thread asks, and a check answers from what is held while that takes its time.
    """
    store = CountingStore()
    publish(store, 1, revoked=[])
    askers: set[str] = set()
    slow = threading.Event()
    before = store.before

    def note(operation: str, name: str) -> None:
        askers.add(threading.current_thread().name)
        if slow.is_set() and operation == "read_if_changed":
            time.sleep(0.2)
        assert before is not None
        before(operation, name)

    store.before = note
    with make_checker(
        store, background_refresh=True, refresh_after=timedelta(milliseconds=20)
    ) as checker:
        assert checker.check(BAD).status is NOT_REVOKED
        askers.clear()
        publish(store, 2)
        askers.clear()
        slow.set()
        wait_for(lambda: checker.check(BAD).status is REVOKED)
        assert askers == {"crlcheck refresh"}


def refreshers() -> set[threading.Thread]:
    """The refresh threads that there are; those of other tests may end at any time."""
    return {thread for thread in threading.enumerate() if thread.name == "crlcheck refresh"}


@pytest.mark.parametrize("end", ["close", "forget"])
def test_the_thread_ends_with_the_checker(end: str) -> None:
    """
    Whether it is closed or forgotten, nothing of it stays.
    """
    store = CountingStore()
    publish(store)
    held = [make_checker(store, background_refresh=True, refresh_after=timedelta(milliseconds=20))]
    before = refreshers()
    held[0].check(GOOD)
    held[0].check(GOOD)
    (thread,) = refreshers() - before
    if end == "close":
        held[0].close()
        with pytest.raises(IndexClosedError):
            held[0].check(GOOD)
    else:
        held.clear()
    wait_for(lambda: not thread.is_alive())


FORKING = """
import os, sys, threading, warnings
from datetime import timedelta
import crlcheck
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
store, certificate = sys.argv[1:]
checker = crlcheck.RevocationChecker(
    store, background_refresh=True, refresh_after=timedelta(milliseconds=10)
)
if sys.stdin.readline() == "after\\n":
    checker.check(certificate)
checker._set._lock.acquire()  # as a refresh in another thread would hold it
child = os.fork()
if child == 0:
    first = checker.check(certificate).status.name
    names = [thread.name for thread in threading.enumerate()]
    print(first, names.count("crlcheck refresh"), flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fork_before_or_after_the_first_check_works(when: str, tmp_path: Path) -> None:
    """
    A server may make its checker, and even use it, before it forks its workers:
    each refreshes by a thread of its own, and waits for no lock of the parent's.
    """
    pki = example_pki()
    store = tmp_path / "published"
    crlcheck.publish_crl(pki.crl(), crlcheck.open_store(store), issuer=pki.authority.pem)
    (tmp_path / "client.pem").write_bytes(pki.good.pem)
    run = subprocess.run(
        [sys.executable, "-P", "-c", FORKING, store, tmp_path / "client.pem"],
        input=f"{when}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.split("\n")[:2] == ["NOT_REVOKED 1", "0"], run.stderr


# ---- the status ------------------------------------------------------------------------


def test_the_status_is_fit_for_a_health_endpoint() -> None:
    """
    Per scope: number, age, time to nextUpdate and last error, as JSON too.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock)
    checker.check(GOOD)
    clock.now = NOW + HOUR
    status = checker.status()
    (scope,) = status.scopes
    assert scope.next_update is not None
    assert scope.time_left == scope.next_update - clock.now
    assert scope.age == clock.now - scope.this_update
    assert status.freshness.catalog_age == HOUR
    shown = json.loads(json.dumps(status.as_dict()))
    assert shown["scopes"][0]["crl_number"] == 1
    assert shown["scopes"][0]["time_left"] == scope.time_left.total_seconds()
    assert shown["scopes"][0]["error"] is None
    assert shown["freshness"]["num_polls"] == 1
    assert shown["confirmed_at"].endswith("Z")


def test_a_crl_number_beyond_json_is_text() -> None:
    """
    Readers would round it.
    """
    number = 2**159 - 1
    with RevocationChecker(
        make_index(number=number, this_update=NOW - HOUR), clock=Clock()
    ) as checker:
        shown = checker.status().as_dict()
        assert shown["scopes"][0]["crl_number"] == str(number)
        assert checker.freshness() == Freshness()


def test_preloading_spares_the_first_check() -> None:
    """
    Afterwards a check needs nothing of the store; what fails is not raised.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store, refresh_after=HOUR)
    checker.preload()
    store.counts.clear()
    assert checker.check(GOOD).status is NOT_REVOKED
    assert not store.counts
    store.is_down = True
    make_checker(store).preload()


def test_preloading_keeps_to_the_room_there_is(caplog: pytest.LogCaptureFixture) -> None:
    """
    What would not fit is left to the checks, and what is broken is logged.
    """
    store = CountingStore()
    name = publish(store)
    small = make_checker(store, image_memory=1)
    small.preload()
    assert store.counts["load"] == 0
    store.delete(name)
    make_checker(store).preload()
    assert "not loaded ahead" in caplog.text
