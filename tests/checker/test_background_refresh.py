"""
A thread that asks the store: what overtakes it, what fails in it and how it comes back.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck import times
from crlcheck.checker import background as refresher_module
from crlcheck.checker import polling as polling_module
from crlcheck.checker.store_set import StoreSet
from crlcheck.errors import StoreUnavailableError
from crlcheck.types import ProblemKind, RevocationStatus
from support.checking import BAD, GOOD, Clock, CountingStore, make_checker, publish
from support.example_pki import example_pki
from support.pki import NOW

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=20)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until *condition* is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def refreshers() -> list[threading.Thread]:
    """The refresh threads that live."""
    return [thread for thread in threading.enumerate() if thread.name == "crlcheck refresh"]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Whatever a test does, its threads end."""
    yield
    for checker in _MADE:
        checker.close()
    _MADE.clear()
    wait_for(lambda: not refreshers())


_MADE: list[crlcheck.RevocationChecker] = []


def make(store: Any, **options: Any) -> crlcheck.RevocationChecker:
    """A checker with a background refresh, which is closed after the test."""
    checker = make_checker(store, **{"background_refresh": True, **options})
    _MADE.append(checker)
    return checker


# ---- what overtakes it -------------------------------------------------------------


SERVER = """
import os, sys, time, warnings
from datetime import timedelta
import crlcheck
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
store, certificate, mode = sys.argv[1:]

class SlowStore(crlcheck.LocalStore):
    hangs = False
    def read_if_changed(self, name, etag):
        while self.hangs:
            print("hanging", flush=True)
            time.sleep(600)
        return super().read_if_changed(name, etag)

target = SlowStore(store)
checker = crlcheck.RevocationChecker(
    target, background_refresh=True, refresh_after=timedelta(seconds=0.2)
)
print(checker.check(certificate).status.name, flush=True)
if mode == "fork in a poll":
    target.hangs = True  # so that the thread is in the middle of one
    time.sleep(0.6)
if mode.startswith("fork") and os.fork() != 0:
    os.wait()
    os._exit(0)
target.hangs = False
sys.stdin.readline()
print("first:", checker.check(certificate).status.name, flush=True)
print("threads:", checker._set._refresher.is_running(), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("mode", ["fork", "fork in a poll", "stop"])
def test_the_first_check_asks_after_a_fork_or_a_stop(mode: str, tmp_path: Path) -> None:
    """
    A child that was idle while a revocation was published, also one that was forked
    while the parent's thread was asking, and a process that was stopped, do not
    answer from what they had before.
    """
    pki = example_pki()
    store = tmp_path / "published"
    crlcheck.publish_crl(pki.crl(1, revoked=[]), store, issuer=pki.authority.pem)
    client = tmp_path / "client.pem"
    client.write_bytes(pki.good.pem)
    command = [sys.executable, "-P", "-c", SERVER, str(store), str(client), mode]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        assert server.stdout.readline() == "NOT_REVOKED\n"
        if mode == "fork in a poll":
            assert server.stdout.readline() == "hanging\n"
        if mode == "stop":
            os.kill(server.pid, signal.SIGSTOP)
        serial = pki.good.certificate.serial_number
        crl = pki.crl(2, revoked=[serial], age=timedelta(0))
        crlcheck.publish_crl(crl, store, issuer=pki.authority.pem)
        time.sleep(1.2)
        server.stdin.write("\n")
        server.stdin.flush()
        if mode == "stop":
            os.kill(server.pid, signal.SIGCONT)
        assert server.stdout.readline() == "first: REVOKED\n"
        assert server.stdout.readline() == "threads: True\n"


@pytest.mark.parametrize("clock_that_moves", ["wall", "monotonic", "since boot"])
@pytest.mark.parametrize("background", [True, False])
def test_the_first_check_asks_after_a_suspension(
    clock_that_moves: str, background: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whichever clock tells that time has passed: a machine that slept moves the one
    since boot, one that was restored from a snapshot maybe the wall clock alone.
    """
    store, clock = CountingStore(), Clock()
    publish(store, 1, revoked=[])
    checker = make(store, clock=clock, refresh_after=HOUR, background_refresh=background)
    assert checker.check(BAD).status is NOT_REVOKED
    publish(store, 2)
    assert checker.check(BAD).status is NOT_REVOKED
    later = 3605.0
    if clock_that_moves == "wall":
        clock.now = NOW + timedelta(seconds=later)
    elif clock_that_moves == "monotonic":
        moved = time.monotonic() + later
        monkeypatch.setattr(time, "monotonic", lambda: moved)
    else:
        boot = time.clock_gettime(times.SINCE_BOOT) + later
        monkeypatch.setattr(time, "clock_gettime", lambda _: boot)
    assert checker.check(BAD).status is REVOKED
    monkeypatch.undo()


def test_a_suspension_ends_a_pause_too() -> None:
    """
    A store that failed before the machine slept is asked again after it.
    """
    store, clock = CountingStore(), Clock()
    publish(store, 1, revoked=[])
    checker = make(store, clock=clock, refresh_after=HOUR)
    checker.check(BAD)
    followed = checker._set
    assert isinstance(followed, StoreSet)
    store.is_down = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            checker.refresh()
        followed._polling = followed._polling._replace(num_failed_in_a_row=5)
    clock.now = NOW + 2 * HOUR
    checker.check(BAD)
    store.is_down = False
    publish(store, 2)
    clock.now = NOW + 4 * HOUR
    assert checker.check(BAD).status is REVOKED


@pytest.mark.parametrize("answers", [True, False])
def test_who_wakes_beside_a_poll_waits_for_it_a_moment(answers: bool) -> None:
    """
    After a suspension others ask at the same time as a check. It does not answer
    from what is older than it should be when the store answers at once; a store
    that does not costs it no more than a moment, and later checks nothing.
    """
    store, clock = CountingStore(), Clock()
    publish(store, 1, revoked=[])
    checker = make_checker(store, clock=clock, refresh_after=HOUR)
    checker.check(BAD)
    publish(store, 2)
    polling, answer = threading.Event(), threading.Event()
    before = store.before

    def slow(operation: str, name: str) -> None:
        if operation == "read_if_changed":
            polling.set()
            assert answer.wait(30)
        assert before is not None
        before(operation, name)

    store.before = slow
    clock.now = NOW + 2 * HOUR
    with ThreadPoolExecutor(3) as executor:
        first = executor.submit(checker.check, BAD)
        assert polling.wait(20)
        second = executor.submit(checker.check, BAD)
        if answers:
            time.sleep(0.05)
            assert not second.done()
            answer.set()
            assert second.result(20).status is REVOKED
        else:
            assert second.result(20).status is NOT_REVOKED
            started = time.monotonic()
            for _ in range(50):
                assert checker.check(BAD).status is NOT_REVOKED
            assert time.monotonic() - started < 10
            assert not first.done()
            answer.set()
        assert first.result(20).status is REVOKED


def test_nobody_waits_for_a_store_that_fails() -> None:
    """
    Who does not ask answers from what is held at once, however old that is.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock, refresh_after=HOUR)
    checker.check(GOOD)
    store.is_down = True
    clock.now = NOW + 2 * HOUR
    checker.check(GOOD)
    followed = checker._set
    assert isinstance(followed, StoreSet)
    with followed._lock:
        followed._polling_since = time.monotonic()
        assert followed._patience(followed._polling) == 0
        assert checker.check(GOOD).status is NOT_REVOKED


def test_the_first_set_is_waited_for_no_longer_than_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A store that hangs keeps the one check that asks it, and no other for good.
    """
    monkeypatch.setattr(polling_module, "LONGEST_WAIT", 0.05)
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    polling, answer = threading.Event(), threading.Event()

    def hang(operation: str, name: str) -> None:
        polling.set()
        assert answer.wait(30)

    store.before = hang
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(checker.check, GOOD)
        assert polling.wait(20)
        result = checker.check(GOOD)
        assert result.cause is crlcheck.UndeterminedCause.STORE_UNAVAILABLE
        assert "it is being read" in result.detail
        with pytest.raises(StoreUnavailableError, match="another poll has not ended"):
            checker.refresh()
        answer.set()
        assert first.result(20).status is NOT_REVOKED


def test_a_poll_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing can be done about a store that hangs, but to say so.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store, refresh_after=HOUR)
    checker.check(GOOD)
    followed = checker._set
    assert isinstance(followed, StoreSet)
    assert checker.status().problems == ()
    followed._polling_since = time.monotonic() - 61
    (problem,) = checker.status().problems
    assert problem.kind is ProblemKind.STORE_FAILING
    assert "has not answered a poll for 0:01:0" in problem.detail
    assert checker.status().answering


# ---- what fails in it --------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("one image was too large"),
        RuntimeError("can't start new thread"),
        KeyError("a bug"),
        RecursionError(),
        SystemExit(3),
        GeneratorExit(),
        KeyboardInterrupt(),
        StoreUnavailableError("no answer"),
        OSError(24, "Too many open files"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("place", ["store", "clock", "log"])
def test_no_exception_ends_the_thread(
    error: BaseException, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever a poll raises, wherever: it is counted, it is in the status and in the
    log, and the thread goes on and takes what is published next.
    """
    store = CountingStore()
    publish(store, 1, revoked=[])
    failing = threading.Event()
    before = store.before

    def in_thread() -> bool:
        return threading.current_thread().name == "crlcheck refresh" and failing.is_set()

    def fail(operation: str, name: str) -> None:
        if place != "clock" and in_thread():
            raise error
        assert before is not None
        before(operation, name)

    def clock() -> datetime:
        if place == "clock" and in_thread():
            raise error
        return NOW

    class Filter(logging.Filter):
        def filter(self, _record: logging.LogRecord) -> bool:
            if place == "log" and in_thread():
                raise error
            return True

    store.before = fail
    noise = Filter()
    logging.getLogger("crlcheck").addFilter(noise)
    try:
        checker = make(store, clock=clock, refresh_after=SOON)
        assert checker.check(BAD).status is NOT_REVOKED
        (thread,) = refreshers()
        failing.set()
        wait_for(lambda: checker.freshness().num_failed_polls >= 2)
        status = checker.status()
        assert status.error is not None
        assert str(error) in status.error
        assert status.answering
        assert ProblemKind.STORE_FAILING in [one.kind for one in status.problems]
        failing.clear()
    finally:
        logging.getLogger("crlcheck").removeFilter(noise)
    if place != "log":
        assert status.error in caplog.text
    publish(store, 2)
    checker.refresh()
    assert checker.check(BAD).status is REVOKED
    publish(store, 3, revoked=[])
    wait_for(lambda: checker.check(BAD).status is NOT_REVOKED)
    if place != "log" or isinstance(error, Exception):
        assert refreshers() == [thread]
    assert checker.status().error is None
    assert checker.status().problems == ()


def test_a_check_s_own_poll_that_fails_by_anything_leaves_the_last_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    As in the thread: counted, logged with its traceback, and no request fails for it.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    before = store.before

    def fail(operation: str, name: str) -> None:
        raise MemoryError("too large")

    store.before = fail
    assert checker.check(GOOD).status is NOT_REVOKED
    assert checker.check(BAD).status is REVOKED
    assert checker.status().error == "MemoryError: too large"
    assert checker.freshness().num_failed_polls == 2
    assert "Traceback" in caplog.text
    with pytest.raises(MemoryError):
        checker.refresh()
    store.before = before
    checker.check(GOOD)
    assert checker.status().error is None


# ---- how it comes back -------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A check finds out, asks in its place, counts it and tells it.
    """
    monkeypatch.setattr(refresher_module, "_RESTART_SECONDS", 0.0)
    store = CountingStore()
    publish(store, 1, revoked=[])

    class Fatal(BaseException):
        pass

    def die(*_: object) -> float:
        raise Fatal("even telling it failed")

    with monkeypatch.context() as patch:
        patch.setattr(StoreSet, "ask_regularly", die)
        patch.setattr(StoreSet, "note_failed_thread", die)
        checker = make(store, refresh_after=SOON)
        checker.check(BAD)
        wait_for(lambda: not refreshers())
    publish(store, 2)
    time.sleep(SOON.total_seconds())
    assert checker.check(BAD).status is REVOKED
    assert len(refreshers()) == 1
    assert "the background refresh ended" in caplog.text
    assert checker.freshness().num_failed_polls == 1
    publish(store, 3, revoked=[])
    wait_for(lambda: checker.check(BAD).status is NOT_REVOKED)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_looks_at_the_status_brings_a_thread_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A service that nobody uses may have a health endpoint all the same; a checker that
    was never used is not started by it.
    """
    monkeypatch.setattr(refresher_module, "_RESTART_SECONDS", 0.0)
    store = CountingStore()
    publish(store)
    checker = make(store, refresh_after=SOON)
    checker.status()
    assert refreshers() == []
    checker.check(GOOD)
    (thread,) = refreshers()
    assert thread.ident is not None
    # As a watchdog of the application's might, wherever the thread is just then.
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    wait_for(lambda: not thread.is_alive() or checker.freshness().num_failed_polls)
    checker.status()
    assert len(refreshers()) == 1
    assert checker.freshness().num_failed_polls == 1


def test_where_no_thread_can_be_started_the_checks_ask(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    As without a background refresh, with a warning; it is tried again at a bounded
    pace, and the warning goes when it succeeds.
    """
    store, clock = CountingStore(), Clock()
    publish(store, 1, revoked=[])
    num_starts = 0

    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        nonlocal num_starts
        if thread.name != "crlcheck refresh":
            start(thread)
            return
        num_starts += 1
        raise RuntimeError("can't start new thread")

    checker = make(store, clock=clock, refresh_after=HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(20):
            assert checker.check(BAD).status is NOT_REVOKED
        assert num_starts <= 2
        (problem,) = checker.status().problems
        assert problem.kind is ProblemKind.BACKGROUND_REFRESH
        assert "can't start new thread" in problem.detail
        assert checker.status().answering
        assert caplog.text.count("was not started") == 1
        publish(store, 2)
        clock.now = NOW + HOUR
        assert checker.check(BAD).status is REVOKED
    monkeypatch.setattr(refresher_module, "_RESTART_SECONDS", 0.0)
    checker.check(BAD)
    assert len(refreshers()) == 1
    assert checker.status().problems == ()


def test_a_closed_checker_starts_no_thread_again() -> None:
    """
    A check that is under way while it is closed brings nothing back.
    """
    store = CountingStore()
    publish(store)
    checker = make(store, refresh_after=SOON)
    checker.check(GOOD)
    followed = checker._set
    assert isinstance(followed, StoreSet)
    checker.close()
    wait_for(lambda: not refreshers())
    assert followed.current() is not None
    assert refreshers() == []
    assert followed.freshness().num_failed_polls == 0


def test_a_store_that_was_down_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One failure does not cost a whole interval of the thread, and a check does not
    ask in its place while it is about to.
    """
    monkeypatch.setattr(polling_module, "OBJECT_UNAVAILABLE", polling_module.BackOff(0.02, 0.02))
    store = CountingStore()
    publish(store, 1, revoked=[])
    checker = make(store, refresh_after=timedelta(seconds=0.3))
    checker.check(BAD)
    followed = checker._set
    assert isinstance(followed, StoreSet)
    store.is_down = True
    assert followed.ask_regularly() == 0.02
    assert followed.ask_regularly() == 0.02
    assert followed.ask_regularly() == 0.3  # five seconds, but no longer than the interval
    store.is_down = False
