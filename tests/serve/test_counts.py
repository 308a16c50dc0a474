"""The counts of all workers: exact, whoever is asked and whichever worker has ended."""

from __future__ import annotations

import ast
import multiprocessing
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.access import CAUSES
from crlcheck.ocsp.statement import CertStatus, Refusal
from crlcheck.serve.counts import BOUNDS, DECISIONS, OCSP_OUTCOMES, OTHER, Counts, Totals
from crlcheck.serve.metrics import metrics_text


class Worker:
    """Another process that counts: it calls the methods that it is told to."""

    def __init__(self, directory: Path) -> None:
        self._orders, theirs = multiprocessing.Pipe()
        self.process = os.fork()
        if self.process == 0:
            try:
                self._orders.close()
                counts = Counts(directory)
                theirs.send(None)
                while True:
                    name, arguments = theirs.recv()
                    theirs.send(getattr(counts, name)(*arguments))
            finally:
                os._exit(1)
        theirs.close()
        self._answer()

    def __call__(self, name: str, *arguments: Any) -> Any:
        self._orders.send((name, arguments))
        return self._answer()

    def _answer(self) -> Any:
        assert self._orders.poll(60), "the worker does not answer"
        return self._orders.recv()

    def end(self, number: int = signal.SIGKILL) -> None:
        """End the process without any farewell."""
        if self.process:
            os.kill(self.process, number)
            os.waitpid(self.process, 0)
            self.process = 0


@contextmanager
def workers(directory: Path, number: int) -> Iterator[list[Worker]]:
    """Some workers, which end afterwards."""
    started = [Worker(directory) for _ in range(number)]
    try:
        yield started
    finally:
        for one in started:
            one.end()


def test_counts_begin_at_nothing(tmp_path: Path) -> None:
    """
    No worker has said anything, and none is told of.
    """
    with closing(Counts(tmp_path)) as counts:
        assert counts.totals() == Totals({}, (0,) * (len(BOUNDS) + 1), 0.0, 0)
        assert counts.totals().quantile(0.5) is None


def test_each_cause_and_each_decision_has_a_count_of_its_own(tmp_path: Path) -> None:
    """
    A cause that nobody knows is counted too.
    """
    expected = {}
    with closing(Counts(tmp_path)) as counts:
        number = 0
        for cause in (*CAUSES, OTHER):
            for decision in DECISIONS:
                number += 1
                expected[cause, decision] = number
                for _ in range(number):
                    counts.note_decision(cause, decision, 0.001)
        counts.note_decision("unheard_of", "deny", 0.001)
        expected[OTHER, "deny"] += 1
        found = counts.totals()
    assert found.decisions == expected
    assert found.num_checks == sum(expected.values())


def test_answers_to_ocsp_requests_have_counts_of_their_own(tmp_path: Path) -> None:
    """
    One for each outcome that there is.
    """
    assert {one.value for one in (*CertStatus, *Refusal)} == set(OCSP_OUTCOMES)
    with closing(Counts(tmp_path)) as counts:
        for number, outcome in enumerate(OCSP_OUTCOMES, 1):
            for _ in range(number):
                counts.note_ocsp(outcome)
        found = counts.totals()
    assert found.ocsp == {one: number for number, one in enumerate(OCSP_OUTCOMES, 1)}
    assert (found.num_checks, found.decisions, found.num_unlogged) == (0, {}, 0)
    assert values_of(found) == {(one,): number for one, number in found.ocsp.items()}


def values_of(totals: Totals) -> dict[tuple[str, ...], float]:
    """What is told of them."""
    text = metrics_text(totals, None)
    line = r'^crlcheck_ocsp_answers_total\{outcome="(\w+)"\} ([0-9.]+)$'
    found = re.findall(line, text, re.MULTILINE)
    return {(outcome,): float(number) for outcome, number in found}


def test_every_cause_in_the_source_is_known() -> None:
    """
    A cause that is written anywhere in the package is one of those that are counted.
    """
    written = set()
    for path in Path(crlcheck.__file__).parent.rglob("*.py"):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)) if "Decision(" in source else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"Decision": 1, "UnclearRequestError": 0}.get(node.func.id)
                if place is not None and len(node.args) > place:
                    cause = node.args[place]
                    if isinstance(cause, ast.Constant):
                        written.add(cause.value)
    assert len(written) > 5
    assert written <= set(CAUSES)


@pytest.mark.parametrize("place", range(len(BOUNDS)))
def test_a_bound_belongs_to_the_bucket_below_it(place: int, tmp_path: Path) -> None:
    """
    As Prometheus counts: "le" is less or equal.
    """
    with closing(Counts(tmp_path)) as counts:
        counts.note_decision("revoked", "deny", BOUNDS[place])
        counts.note_decision("revoked", "deny", BOUNDS[place] * 1.0001)
        found = counts.totals()
    assert [at for at, number in enumerate(found.buckets) if number] == [place, place + 1]
    assert found.seconds == pytest.approx(2 * BOUNDS[place], rel=1e-3)


def test_a_part_of_the_checks_ends_within_a_bound(tmp_path: Path) -> None:
    """
    Half of them, all but a hundredth, and one that is above every bound.
    """
    with closing(Counts(tmp_path)) as counts:
        for seconds, number in ((0.00004, 50), (0.0003, 49), (9.0, 1)):
            for _ in range(number):
                counts.note_decision("not_revoked", "allow", seconds)
        found = counts.totals()
    assert found.quantile(0.5) == 0.00005
    assert found.quantile(0.99) == 0.0005
    assert found.quantile(1.0) == float("inf")


def test_a_time_that_goes_back_is_no_time(tmp_path: Path) -> None:
    """
    A count never falls.
    """
    with closing(Counts(tmp_path)) as counts:
        counts.note_decision("revoked", "deny", -1.0)
        assert counts.totals().seconds == 0.0
        assert counts.totals().buckets[0] == 1


def test_whoever_is_asked_tells_the_same(tmp_path: Path) -> None:
    """
    The counts of all workers, also of those that began later.
    """
    with workers(tmp_path, 3) as started:
        for number, one in enumerate(started, 1):
            for _ in range(number):
                one("note_decision", "revoked", "deny", 0.002)
            one("note_unlogged", 10**number)
        found = [one("totals") for one in started]
    assert found == [found[0]] * 3
    assert found[0].decisions == {("revoked", "deny"): 6}
    assert found[0].num_unlogged == 1110


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_counts_of_a_worker_that_ended_stay(number: int, tmp_path: Path) -> None:
    """
    Its place is taken by the next one, which does not begin at nothing, however often.
    """
    with workers(tmp_path, 1) as (watcher,):
        for round_ in range(1, 4):
            mortal = Worker(tmp_path)
            mortal("note_decision", "not_revoked", "allow", 0.002)
            mortal("note_set", 7, timedelta(0), 1000)
            assert len(watcher("totals").workers) == 1
            mortal.end(number)
            found = watcher("totals")
            assert found.decisions == {("not_revoked", "allow"): round_}
            assert found.workers == ()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_worker_that_took_a_row_over_says_nothing_that_was_said_before(tmp_path: Path) -> None:
    """
    The set of the one that ended is not the set of the next.
    """
    with workers(tmp_path, 1) as (watcher,):
        mortal = Worker(tmp_path)
        mortal("note_set", 7, timedelta(0), 1000)
        mortal.end()
        heir = Worker(tmp_path)
        assert watcher("totals").workers == ()
        heir("note_set", 8, None, 0)
        (told,) = watcher("totals").workers
        heir.end()
    assert (told.generation, told.set_age, told.image_bytes) == (8, None, 0)


def test_the_age_of_a_set_grows_while_a_worker_is_silent(tmp_path: Path) -> None:
    """
    So a worker that hangs is noticed by any other.
    """
    with workers(tmp_path, 2) as (silent, watcher):
        silent("note_set", 7, timedelta(hours=1), 1 << 40)
        (first,) = watcher("totals").workers
        deadline = time.monotonic() + 30
        while (later := watcher("totals").workers[0]).silent_for == first.silent_for:
            assert time.monotonic() < deadline
    assert later.silent_for > first.silent_for
    assert later.set_age - timedelta(hours=1) == pytest.approx(
        later.silent_for, abs=timedelta(milliseconds=1)
    )
    assert later.generation == 7
    assert later.image_bytes == 1 << 40


def test_values_that_do_not_fit_are_the_nearest(tmp_path: Path) -> None:
    """
    What a worker says of itself never fails.
    """
    with closing(Counts(tmp_path)) as counts:
        counts.note_set(1 << 70, timedelta(days=-1), -5)
        (told,) = counts.totals().workers
    assert told.generation is not None
    assert told.generation >= (1 << 64) - 2
    assert told.set_age is not None
    assert told.set_age < timedelta(hours=1)
    assert told.image_bytes == 0


def test_threads_count_each_of_their_decisions(tmp_path: Path) -> None:
    """
    None is lost where several count at once.
    """
    with closing(Counts(tmp_path)) as counts:

        def count() -> None:
            for _ in range(5_000):
                counts.note_decision("revoked", "deny", 0.001)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert counts.totals().num_checks == 20_000


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """
    Whoever can write to it can falsify the counts.
    """
    with closing(Counts(tmp_path)):
        (path,) = tmp_path.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_without_a_file_a_worker_counts_for_itself(tmp_path: Path) -> None:
    """
    As where the disk is full: it goes on to answer.
    """
    with closing(Counts(tmp_path / "nowhere")) as first, closing(Counts(tmp_path / "no")) as other:
        first.note_decision("revoked", "deny", 0.1)
        assert first.totals().num_checks == 1
        assert other.totals().num_checks == 0


def test_more_workers_than_rows_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Before they would count into the row of another.
    """
    with workers(tmp_path, 2):
        monkeypatch.setattr("crlcheck.serve.counts.MAX_ROWS", 2)
        with pytest.raises(RuntimeError, match="2 workers count already"):
            Counts(tmp_path)
