"""How a checker follows a store: newer sets, and threads meanwhile."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from crlcheck.checker.store_set import StoreSet
from crlcheck.errors import (
    StoreUnavailableError,
)
from crlcheck.stores import LocalStore
from crlcheck.types import RevocationStatus
from support.checking import (
    BAD,
    CA,
    GOOD,
    OTHER_CA,
    Clock,
    CountingStore,
    make_checker,
    make_index,
    publish,
    without_remedy,
)
from support.memory_store import MemoryStore
from support.pki import (
    DAY,
    NOW,
    make_client,
)

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED

HOUR = timedelta(hours=1)


# ---- freshness -------------------------------------------------------------------------


def test_a_new_crl_counts_from_the_next_check_on() -> None:
    """
    By default the store is asked at every check.
    """
    store = MemoryStore()
    publish(store, 1, revoked=[])
    checker = make_checker(store)
    assert checker.check(BAD).status is NOT_REVOKED
    publish(store, 2, revoked=[2])
    assert checker.check(BAD).status is REVOKED
    assert checker.status().generation == 2


def test_an_unchanged_catalog_costs_one_conditional_read() -> None:
    """
    Neither catalog nor image is read again.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    store.counts.clear()
    checker.check(GOOD)
    assert store.counts == {"read_if_changed": 1}


def test_an_image_is_kept_while_its_digest_stays() -> None:
    """
    A generation that changes another scope loads nothing for this one.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    publish(store, authority=OTHER_CA)
    store.counts.clear()
    assert checker.check(GOOD).status is NOT_REVOKED
    assert checker.status().generation == 2
    assert store.counts["load"] == 0


def test_an_earlier_image_leaves_memory_without_a_further_check() -> None:
    """
    A service may have nothing to check for a long time after a refresh.
    """
    store = MemoryStore()
    publish(store, 1)
    checker = make_checker(store, refresh_after=HOUR)
    assert checker.check(BAD).status is REVOKED
    source = checker._set
    assert isinstance(source, StoreSet)
    assert source.in_use is not None
    (image,) = source.in_use.views.every_image()
    index = weakref.ref(image.index())
    publish(store, 2)
    del image
    assert checker.refresh()
    gc.collect()
    assert index() is None


def test_images_are_loaded_when_needed() -> None:
    """
    An image that no certificate asked for stays in the store.
    """
    store = CountingStore()
    publish(store)
    publish(store, authority=OTHER_CA)
    checker = make_checker(store)
    checker.check(GOOD)
    loaded = {scope.issuer: scope.loaded for scope in checker.status().scopes}
    assert loaded == {"CN=Example CA": True, "CN=Other CA": False}
    assert store.counts["load"] == 1


def test_refresh_after_spares_the_store() -> None:
    """
    Within the time the store is not asked; after it, or when the clock was set
    back, it is.
    """
    store = CountingStore()
    publish(store)
    clock = Clock()
    checker = make_checker(store, refresh_after=HOUR, clock=clock)
    polls = []
    for now in (NOW, NOW + HOUR - DAY / 86400, NOW + HOUR, NOW + HOUR, NOW - HOUR):
        clock.now = now
        store.counts.clear()
        checker.check(GOOD)
        polls.append(store.counts["read_if_changed"])
    assert polls == [1, 0, 1, 0, 1]


def test_refresh_after_is_no_negative_time() -> None:
    """
    A background refresh would ask without a pause.
    """
    for background in (False, True):
        with pytest.raises(ValueError, match="refresh_after: expected no negative time, found -1 "):
            make_checker(
                CountingStore(), refresh_after=timedelta(days=-1), background_refresh=background
            )


@pytest.mark.parametrize("background", [False, True])
def test_refresh_after_may_be_longer_than_any_timer_counts(background: bool) -> None:
    """
    Then the store is asked once, and by ``refresh``.
    """
    store = CountingStore()
    publish(store)
    with make_checker(store, refresh_after=timedelta.max, background_refresh=background) as checker:
        assert [checker.check(GOOD).status for _ in range(3)] == [NOT_REVOKED] * 3
        assert checker.status().problems == ()
        assert store.counts["read_if_changed"] == 1


def test_a_failure_without_words_is_told_by_its_kind() -> None:
    """
    An empty reason is none.
    """
    store = CountingStore()

    def fail(operation: str, name: str) -> None:
        raise TimeoutError

    store.before = fail
    checker = make_checker(store)
    said = without_remedy(str(checker.check(GOOD)))
    assert said.endswith("no published set could be read: TimeoutError")
    assert checker.status().error == "TimeoutError"


def test_refresh_asks_now() -> None:
    """
    It tells whether a newer set was taken.
    """
    store = CountingStore()
    publish(store, 1, revoked=[])
    checker = make_checker(store, refresh_after=HOUR)
    assert checker.check(BAD).status is NOT_REVOKED
    assert not checker.refresh()
    publish(store, 2)
    assert checker.check(BAD).status is NOT_REVOKED
    assert checker.refresh()
    assert checker.check(BAD).status is REVOKED
    assert not make_checker(make_index()).refresh()


# ---- threads ---------------------------------------------------------------------------------


def test_one_thread_asks_while_the_others_answer() -> None:
    """
    A slow store delays the one check that polls it, no other.
    """
    store = MemoryStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    polling, answer = threading.Event(), threading.Event()

    def slow(operation: str, name: str) -> None:
        if operation == "read_if_changed":
            assert not polling.is_set(), "a second thread asked meanwhile"
            polling.set()
            assert answer.wait(10)

    store.before = slow
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(checker.check, BAD)
        assert polling.wait(10)
        assert checker.check(GOOD).status is NOT_REVOKED
        assert not first.done()
        answer.set()
        assert first.result(10).status is REVOKED


class WatchedLock:
    """A lock that counts those who asked for it."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.release = self._lock.release

    def acquire(self, timeout: float) -> bool:
        """As Lock.acquire."""
        self.asked.release()
        return self._lock.acquire(timeout=timeout)


@pytest.mark.parametrize("is_down", [False, True])
def test_threads_that_need_the_first_set_wait_for_one_poll(
    is_down: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    However many wait, the store is asked once, and all get what came of it.
    """
    store = MemoryStore()
    publish(store)
    checker = make_checker(store)
    lock = WatchedLock()
    monkeypatch.setattr(checker._set, "_lock", lock)
    num_polls = 0

    def slow(operation: str, name: str) -> None:
        nonlocal num_polls
        if operation == "read_if_changed":
            num_polls += 1
            for _ in range(4):
                assert lock.asked.acquire(timeout=10)
            if is_down:
                raise StoreUnavailableError("no answer")

    store.before = slow
    with ThreadPoolExecutor(4) as executor:
        results = [executor.submit(checker.check, GOOD) for _ in range(4)]
        statuses = {result.result(30).status for result in results}
    assert statuses == {UNDETERMINED if is_down else NOT_REVOKED}
    assert num_polls == 1


def test_no_check_sees_a_mixture_while_sets_are_swapped(tmp_path: Path) -> None:
    """
    CRL n revokes the serial numbers up to n. While ever newer ones are
    published, each answer is right for the CRL that it names, and a thread
    never sees an older CRL after a newer one.
    """
    store = LocalStore(tmp_path, fsync=False)
    publish(store, 1, revoked=[1])
    checker = make_checker(store)
    clients = {serial: make_client(CA, serial) for serial in range(1, 12, 2)}
    done = threading.Event()

    def look() -> int:
        newest, last_round = 0, False
        while not last_round:
            last_round = done.is_set()
            for serial, client in clients.items():
                result = checker.check(client)
                assert result.crl_number is not None
                assert (result.status is REVOKED) == (serial <= result.crl_number)
                assert result.crl_number >= newest
                newest = result.crl_number
        return newest

    with ThreadPoolExecutor(3) as executor:
        lookers = [executor.submit(look) for _ in range(3)]
        for number in range(2, 12):
            publish(store, number, revoked=range(1, number + 1))
        done.set()
        assert all(looker.result(60) for looker in lookers)
    assert checker.check(clients[11]).crl_number == 11
