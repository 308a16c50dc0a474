"""
Checks in an event loop: the same answers, and nothing else waits for them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck import publish_crl
from crlcheck.checker.checker import RevocationChecker
from crlcheck.demo.pki import pem_block
from crlcheck.errors import CertificateError, IndexClosedError
from crlcheck.types import RevocationStatus
from support.checking import BAD, CA, FOREIGN, GOOD, make_checker, publish
from support.example_pki import example_pki
from support.hanging_store import HangingStore
from support.memory_store import MemoryStore
from support.paged_world import PagedStore, paged_checker

HOUR = timedelta(hours=1)


def as_pem(der: bytes) -> bytes:
    """A certificate as one PEM block."""
    return pem_block("CERTIFICATE", der)


def noting_threads(checker: RevocationChecker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let *checker* note the name of the thread of each call of ``check``."""
    names: list[str] = []
    check = checker.check

    def noting(certificate: Any) -> Any:
        names.append(threading.current_thread().name)
        return check(certificate)

    monkeypatch.setattr(checker, "check", noting)
    return names


@pytest.mark.parametrize("refresh_after", [timedelta(0), HOUR])
@pytest.mark.parametrize("form", [bytes, as_pem], ids=["der", "pem"])
def test_the_answers_are_those_of_check(
    refresh_after: timedelta, form: Callable[[bytes], bytes]
) -> None:
    """
    For each kind of certificate, first and remembered, and so are the errors.
    """
    store = MemoryStore()
    publish(store)

    async def ask(checker: RevocationChecker) -> None:
        for _ in range(3):
            for one in (GOOD, BAD, FOREIGN):
                assert await checker.acheck(form(one)) == checker.check(form(one))
            path = [GOOD, CA.der]
            assert await checker.acheck_chain(path) == checker.check_chain(path)
        with pytest.raises(CertificateError):
            await checker.acheck(b"rubbish")
        with pytest.raises(ValueError, match="not a path"):
            await checker.acheck_chain([GOOD, FOREIGN])

    with make_checker(store, refresh_after=refresh_after) as checker:
        asyncio.run(ask(checker))
    for closed in (checker.acheck(GOOD), checker.acheck_chain([GOOD])):
        with pytest.raises(IndexClosedError):
            asyncio.run(closed)


def test_what_is_remembered_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The first check of a kind runs in a thread, the next ones in the loop. When a poll is
    due, the next one runs in a thread again.
    """
    store = MemoryStore()
    publish(store)
    with make_checker(store, refresh_after=HOUR) as checker:
        names = noting_threads(checker, monkeypatch)
        asyncio.run(checker.acheck(GOOD))
        assert [name.startswith("crlcheck check") for name in names] == [True]
        for one in (GOOD, as_pem(GOOD), BAD):
            asyncio.run(checker.acheck(one))
        assert len(names) == 1
        checker.refresh()
        asyncio.run(checker.acheck(GOOD))
        assert [name.startswith("crlcheck check") for name in names] == [True, True]


@pytest.mark.parametrize("loading", ["pages", "pages_then_whole"])
def test_pages_are_read_in_a_thread(loading: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A look-up by pages may read one from the store, so it never runs in the loop, though
    the rest of the answer is remembered.
    """
    with paged_checker(PagedStore(), loading) as checker:
        names = noting_threads(checker, monkeypatch)
        for _ in range(3):
            asyncio.run(checker.acheck(GOOD))
        assert [name.startswith("crlcheck check") for name in names] == [True] * 3


async def while_it_hangs(store: HangingStore, waiting: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Start *waiting* with a store that hangs, see that the loop goes on, and end it."""
    store.hang()
    tasks = [asyncio.ensure_future(one) for one in waiting]
    while not store.is_asked.is_set():  # the loop turns
        await asyncio.sleep(0.001)
    # So do the loop's own threads.
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 20) == "done"
    assert not all(task.done() for task in tasks)
    store.go_on()
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_store_that_hangs_does_not_hold_up_the_loop(is_known: bool) -> None:
    """
    Before the first set and after it: while more checks wait for the store than there are
    threads, the loop and its own threads go on.
    """
    store = HangingStore()
    publish(store)
    with make_checker(store) as checker:
        if is_known:
            checker.preload()
        found = asyncio.run(while_it_hangs(store, [checker.acheck(GOOD) for _ in range(20)]))
    assert {result.status for result in found} == {RevocationStatus.NOT_REVOKED}


def test_a_background_refresh_that_hangs_holds_up_no_check() -> None:
    """
    While the thread that asks the store gets no answer, checks are answered from the set
    in use, all of them.
    """
    store = HangingStore()
    publish(store)

    async def ask(checker: RevocationChecker) -> None:
        await checker.acheck(GOOD)
        store.hang()
        while not store.is_asked.is_set():
            await asyncio.sleep(0.001)
        results = [await checker.acheck(one) for one in (GOOD, BAD) for _ in range(20)]
        assert store.hangs
        statuses = [RevocationStatus.NOT_REVOKED] * 20 + [RevocationStatus.REVOKED] * 20
        assert [result.status for result in results] == statuses

    with make_checker(
        store, background_refresh=True, refresh_after=timedelta(milliseconds=50)
    ) as checker:
        asyncio.run(ask(checker))
        store.go_on()


FORKING = """
import asyncio, os, sys, warnings
import crlcheck
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forking with threads
store, certificate = sys.argv[1:]
checker = crlcheck.RevocationChecker(store)
pem = open(certificate, "rb").read()
print(asyncio.run(checker.acheck(pem)).status.name, flush=True)
if os.fork() == 0:
    print(asyncio.run(checker.acheck(pem)).status.name, flush=True)
    checker.close()
    os._exit(0)
os.wait()
checker.close()
"""


def test_a_forked_child_has_threads_of_its_own(tmp_path: Path) -> None:
    """
    A child that was forked after a check, whose threads stayed with the parent, gets its
    answer.
    """
    pki = example_pki()
    publish_crl(pki.crl(), tmp_path / "published", issuer=pki.authority.pem)
    (tmp_path / "client.pem").write_bytes(pki.good.pem)
    arguments = [str(tmp_path / "published"), str(tmp_path / "client.pem")]
    command = [sys.executable, "-P", "-c", FORKING, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "NOT_REVOKED\nNOT_REVOKED\n"


def test_closing_ends_the_threads() -> None:
    """
    No thread of a checker outlives it.
    """
    store = MemoryStore()
    publish(store)
    before = set(threading.enumerate())
    with make_checker(store) as checker:
        asyncio.run(checker.acheck(GOOD))
        threads = set(threading.enumerate()) - before
        assert [one.name for one in threads] == ["crlcheck check_0"]
    for one in threads:
        one.join(20)
        assert not one.is_alive()
