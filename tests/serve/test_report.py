"""Reports on the store: made one at a time, not often, and never waited for without end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import crlcheck
from crlcheck.access import Decision
from crlcheck.checker.checker import CheckerStatus, RevocationChecker
from crlcheck.serve import latest
from crlcheck.serve import report as report_module
from crlcheck.serve.recorder import Recorder
from crlcheck.serve.report import Report, Reports, make_report
from crlcheck.signing.signing_key import load_signing_key, write_new_key
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_crl
from support.publishing import CA, publish


class Making:
    """Makes reports that tell their number, when it is let."""

    def __init__(self) -> None:
        self.number = 0
        self.running = 0
        self.most_at_once = 0
        self.may_go = threading.Event()
        self.may_go.set()
        self.error: Exception | None = None

    def __call__(self) -> Report:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            assert self.may_go.wait(60)
            if self.error is not None:
                raise self.error
            self.number += 1
            return Report(
                NOW + timedelta(seconds=self.number), CheckerStatus(1, NOW, None, ()), None
            )
        finally:
            self.running -= 1


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def number_of(found: Report | None) -> int:
    """Which report it is; 0 for none."""
    return 0 if found is None else int((found.at - NOW).total_seconds())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which reports are due, which a test moves."""
    now = [0.0]
    monkeypatch.setattr(latest, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_report_is_kept_for_a_while(clock: list[float]) -> None:
    """
    A thousand questions at once, and a thousand more, have the same one.
    """
    making = Making()

    async def ask() -> list[int]:
        reports = Reports(making, patience=60)
        found = await asyncio.gather(*(reports.latest() for _ in range(1_000)))
        return [number_of(one) for one in (*found, *[await reports.latest() for _ in range(1_000)])]

    assert asyncio.run(ask()) == [1] * 2_000
    assert making.number == making.most_at_once == 1


def test_a_question_does_not_wait_for_a_report_without_end(clock: list[float]) -> None:
    """
    It has none, or the last one, and the next question has what was found meanwhile.
    """
    making = Making()

    async def ask() -> list[int]:
        reports = Reports(making, patience=0.01)
        making.may_go.clear()
        told = [number_of(await reports.latest()), number_of(await reports.latest())]
        await until(lambda: making.running == 1)
        making.may_go.set()
        while not told[-1]:
            told.append(number_of(await reports.latest()))
        making.may_go.clear()
        clock[0] += 1_000
        told.append(number_of(await reports.latest()))
        await until(lambda: making.running == 1)
        making.may_go.set()
        while told[-1] == 1:
            told.append(number_of(await reports.latest()))
        return told

    assert sorted(set(asyncio.run(asyncio.wait_for(ask(), 60)))) == [0, 1, 2]
    assert making.most_at_once == 1


@pytest.mark.parametrize(
    ("seconds", "pause"), [(0.0, 5.0), (0.2, 5.0), (3.0, 60.0), (60.0, 1200.0)]
)
def test_what_takes_long_is_done_seldom(seconds: float, pause: float, clock: list[float]) -> None:
    """
    No more than a twentieth of the time goes into reports.
    """
    making = Making()

    def slow() -> Report:
        clock[0] += seconds
        return making()

    async def ask() -> list[int]:
        reports = Reports(slow, patience=60)
        told = [number_of(await reports.latest())]
        clock[0] += pause - 0.01
        told.append(number_of(await reports.latest()))
        clock[0] += 0.02
        told.append(number_of(await reports.latest()))
        return told

    assert asyncio.run(ask()) == [1, 1, 2]


def test_a_report_that_fails_leaves_the_last_one(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """
    The log tells of it without the words of the error, and the next one is made as usual.
    """
    making = Making()

    async def ask() -> list[int]:
        reports = Reports(making, patience=60)
        told = [number_of(await reports.latest())]
        for error in (RuntimeError("CN=Mallory"), None):
            making.error = error
            clock[0] += 1_000
            told.append(number_of(await reports.latest()))
        return told

    assert asyncio.run(ask()) == [1, 1, 2]
    assert "RuntimeError" in caplog.text
    assert "Mallory" not in caplog.text


# ---- what is found out -----------------------------------------------------------


def report_on(store: Any, **options: Any) -> Report:
    """A report on a store by a checker that has read it."""
    with RevocationChecker(store, clock=lambda: NOW) as checker:
        checker.preload()
        return make_report(checker, store, now=NOW, **options)


def test_a_set_that_is_not_large_is_read_as_a_whole() -> None:
    """
    With its entries, and with the issuers that end a path unchecked.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [2, 3]))
    found = report_on(store)
    assert found.store is not None
    assert [one.state for one in found.store.scopes] == ["current"]
    assert found.store.num_entries == 2
    assert found.store.unchecked_issuers == ()
    assert (found.checker.answering, found.error) == (True, "")


def test_of_a_large_set_what_is_due_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The rest is counted by its root alone.
    """
    monkeypatch.setattr(report_module, "MAX_READ", 2)
    store = MemoryStore()
    for number, hours in enumerate((1, 300, 400)):
        authority = make_authority(f"CA {number}")
        until = NOW + timedelta(hours=hours)
        publish(store, make_crl(authority, 1, next_update=until), authority.pem)
    found = report_on(store)
    assert found.store is not None
    assert [one.state for one in found.store.scopes] == ["soon_stale"]
    assert found.store.num_scopes == 3
    assert found.store.num_entries is None


def test_the_last_refusals_come_first() -> None:
    """
    Whatever their sources are called.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    for days, name in enumerate(("m.crl", "a.crl", "z.crl")):
        with pytest.raises(crlcheck.CrlError):
            publish(store, b"no CRL", source_name=name, now=NOW + days * DAY)
    found = report_on(store)
    assert found.store is not None
    assert [one.source for one in found.store.rejections] == ["z.crl", "a.crl", "m.crl"]


def test_a_store_that_cannot_be_read_is_a_part_of_the_report(tmp_path: Path) -> None:
    """
    Why is told, without a password in a URL.
    """
    found = report_on(MemoryStore())
    assert found.store is None
    assert "nothing is published there" in found.error
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    write_new_key(tmp_path / "key.pem")
    other = str(load_signing_key(tmp_path / "key.pem").root_key)
    refused = report_on(store, root_keys=(other,))
    assert refused.store is None
    assert "sign" in refused.error
    assert refused.checker.generation == 1


# ---- the recorder ----------------------------------------------------------------


def test_a_worker_says_what_set_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Again and again, until its checker is closed.
    """
    monkeypatch.setattr("crlcheck.serve.recorder._INTERVAL", 0.01)
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [2, 3]))
    checker = RevocationChecker(store, clock=lambda: NOW)
    recorder = Recorder(tmp_path, None, 1)

    async def note() -> None:
        noting = asyncio.create_task(recorder.keep_noting(checker))
        await until(lambda: bool(recorder.counts.totals().workers))
        assert recorder.counts.totals().workers[0].generation is None
        checker.preload()
        await until(lambda: recorder.counts.totals().workers[0].generation == 1)
        (told,) = recorder.counts.totals().workers
        assert told.image_bytes == checker.image_bytes > 0
        assert told.set_age is not None
        checker.close()
        await asyncio.wait_for(noting, 60)

    asyncio.run(note())
    recorder.close()
    recorder.counts.close()


def test_messages_come_as_before(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """
    As the handler wrote them whose place is taken, which has it again afterwards.
    """
    recorder = Recorder(tmp_path, None, 1)
    root, logger = logging.getLogger(), logging.getLogger("crlcheck.access")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    old, root.handlers[:] = list(root.handlers), [handler]
    try:
        with recorder.messages():
            logger.warning("denied %r", "/a\nb")
            assert root.handlers != [handler]
        assert root.handlers == [handler]
    finally:
        root.handlers[:] = old
        recorder.counts.close()
    assert capfd.readouterr().err == "WARNING crlcheck.access: denied '/a\\nb'\n"


def test_a_decision_is_counted_and_logged(tmp_path: Path) -> None:
    """
    With one call.
    """
    recorder = Recorder(tmp_path, str(tmp_path / "access.log"), 4)
    recorder.record(Decision(False, "no_certificate", "", seconds=0.002), "deny", "GET", "/check")
    recorder.close()
    assert recorder.counts.totals().decisions == {("no_certificate", "deny"): 1}
    assert recorder.counts.totals().seconds == pytest.approx(0.002)
    line = (tmp_path / "access.log").read_text()
    assert '"cause":"no_certificate"' in line
    assert '"worker":4' in line
    recorder.counts.close()


def test_a_decision_stands_although_it_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever is wrong with the counts or the log.
    """
    recorder = Recorder(tmp_path, None, 1)

    def fail(*_: object) -> None:
        raise RuntimeError("CN=Mallory")

    monkeypatch.setattr(recorder.counts, "note_decision", fail)
    recorder.record(Decision(True, "not_revoked", ""), "allow", "GET", "/check")
    assert [one.getMessage() for one in caplog.records] == [
        "a decision was not noted: RuntimeError"
    ]
    recorder.counts.close()
