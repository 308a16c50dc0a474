"""The metrics of the service: one answer over all workers, with a bound on its length."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import crlcheck
from crlcheck.access import CAUSES
from crlcheck.checker.checker import CheckerStatus, RevocationChecker
from crlcheck.prometheus import store_gauges
from crlcheck.publisher.store_status import StoreStatus, read_store_status
from crlcheck.serve.counts import BOUNDS, Counts, Totals, WorkerState
from crlcheck.serve.metrics import MAX_SERIES, metrics_text, verdict_of
from crlcheck.serve.report import Report, make_report
from crlcheck.types import ProblemKind, StatusProblem
from support.authorizer import publish as publish_example
from support.documents import rows, section
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_crl
from support.publishing import CA, publish
from support.serving import (
    HEADER,
    PATIENCE,
    PKI,
    Serving,
    ask_over,
    of_certificate,
    serving,
    wait_until,
)

NOTHING = Totals({}, (0,) * (len(BOUNDS) + 1), 0.0, 0)
SECOND = timedelta(seconds=1)


def families(text: str) -> dict[str, Any]:
    """The metrics in a text, by their names."""
    return {one.name: one for one in text_string_to_metric_families(text)}


def values(text: str, name: str, *labels: str) -> dict[Any, float]:
    """The samples of a metric by the values of some labels."""
    return {
        tuple(one.labels[label] for label in labels): one.value
        for one in families(text)[name].samples
        if not one.name.endswith("_created")
    }


def a_report(**changes: Any) -> Report:
    """A report, with some values changed."""
    status = CheckerStatus(None, None, None, (), answering=True)
    return dataclasses.replace(Report(NOW, status, None), **changes)


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        ("not_revoked", "not_revoked"),
        ("revoked", "revoked"),
        ("stale", "undetermined"),
        ("unknown_issuer", "undetermined"),
        ("no_certificate", "none"),
        ("error", "none"),
        ("other", "none"),
    ],
)
def test_a_cause_belongs_to_one_verdict(cause: str, verdict: str) -> None:
    """
    Where no certificate was checked there is none.
    """
    assert verdict_of(cause) == verdict


def test_decisions_are_counted_by_what_was_found_and_what_followed(tmp_path: Path) -> None:
    """
    And how long they took, as Prometheus has histograms.
    """
    with closing(Counts(tmp_path)) as counts:
        for cause in CAUSES:
            counts.note_decision(cause, "deny", 0.0003)
        counts.note_decision("not_revoked", "allow", 0.02)
        counts.note_decision("revoked", "observe", 7.0)
        counts.note_unlogged(3)
        text = metrics_text(counts.totals(), None)
    decided = values(text, "crlcheck_decisions", "decision", "verdict", "cause")
    assert decided == {
        **{("deny", verdict_of(cause), cause): 1 for cause in CAUSES},
        ("allow", "not_revoked", "not_revoked"): 1,
        ("observe", "revoked", "revoked"): 1,
    }
    samples = families(text)["crlcheck_decision_duration_seconds"].samples
    below = {one.labels["le"]: one.value for one in samples if one.name.endswith("_bucket")}
    assert below["0.00025"] == 0
    assert below["0.0005"] == len(CAUSES)
    assert below["0.025"] == len(CAUSES) + 1
    assert below["2.5"] == len(CAUSES) + 1
    assert below["+Inf"] == len(CAUSES) + 2
    (total,) = [one.value for one in samples if one.name.endswith("_sum")]
    assert total == pytest.approx(0.0003 * len(CAUSES) + 0.02 + 7.0)
    assert values(text, "crlcheck_log_lines_dropped") == {(): 3}


def test_of_the_workers_the_worst_is_told() -> None:
    """
    One that hangs, one without a set, and one that is behind.
    """
    states = (
        WorkerState(SECOND, 12, 5 * SECOND, 1000),
        WorkerState(90 * SECOND, 11, 100 * SECOND, 3000),
        WorkerState(2 * SECOND, None, None, 0),
    )
    text = metrics_text(dataclasses.replace(NOTHING, workers=states), None)
    assert values(text, "crlcheck_workers") == {(): 3}
    assert values(text, "crlcheck_worker_silent_seconds") == {(): 90}
    assert values(text, "crlcheck_set_age_seconds") == {(): 100}
    assert values(text, "crlcheck_generation_in_use") == {(): 11}
    assert values(text, "crlcheck_workers_without_set") == {(): 1}
    assert values(text, "crlcheck_image_bytes") == {(): 3000}


def test_what_is_not_known_has_no_value() -> None:
    """
    No age is not an age of nothing.
    """
    told = families(metrics_text(NOTHING, None))
    for name in ("set_age_seconds", "generation_in_use", "answering", "problems"):
        assert f"crlcheck_{name}" not in told


def test_a_set_that_was_read_just_now_has_an_age() -> None:
    """
    Which is 0 and not unknown.
    """
    state = WorkerState(timedelta(0), 1, timedelta(0), 0)
    text = metrics_text(dataclasses.replace(NOTHING, workers=(state,)), None)
    assert values(text, "crlcheck_set_age_seconds") == {(): 0}


def test_the_published_set_has_the_gauges_of_the_command() -> None:
    """
    With the same names and labels, so that one rule fits both.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [2, 3]))
    with pytest.raises(crlcheck.CrlError):
        publish(store, b"no CRL", source_name="odd.crl")
    with RevocationChecker(store, clock=lambda: NOW) as checker:
        checker.preload()
        report = make_report(checker, store, now=NOW)
    text = metrics_text(NOTHING, report)
    assert values(text, "crlcheck_answering") == {(): 1}
    assert values(text, "crlcheck_store_readable") == {(): 1}
    assert values(text, "crlcheck_scopes", "store") == {("memory:",): 1}
    ((scope, issuer),) = values(text, "crlcheck_entries", "scope", "issuer")
    assert issuer == "CN=Example CA"
    assert values(text, "crlcheck_entries", "scope") == {(scope,): 2}
    until = NOW + 30 * DAY
    assert values(text, "crlcheck_next_update_timestamp_seconds", "scope") == {
        (scope,): until.timestamp()
    }
    assert values(text, "crlcheck_refused_timestamp_seconds", "source", "cause") == {
        ("odd.crl", "malformed"): NOW.timestamp()
    }


def test_problems_are_counted_by_their_kind() -> None:
    """
    Without their sentences, which have any words.
    """
    problems = (
        StatusProblem(ProblemKind.STALE, "a", is_error=True),
        StatusProblem(ProblemKind.STALE, "b", is_error=True),
        StatusProblem(ProblemKind.STORE_FAILING, 'c"\n', is_error=False),
    )
    status = CheckerStatus(None, None, None, (), problems=problems)
    text = metrics_text(NOTHING, Report(NOW, status, None, "no store"))
    assert values(text, "crlcheck_problems", "kind", "severity") == {
        ("stale", "error"): 2,
        ("store_failing", "warning"): 1,
    }
    assert values(text, "crlcheck_answering") == {(): 0}
    assert values(text, "crlcheck_store_readable") == {(): 0}


@pytest.fixture(scope="module")
def many() -> StoreStatus:
    """A status with many scopes and refusals, the most urgent ones first."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    with pytest.raises(crlcheck.CrlError):
        publish(store, b"no CRL", source_name="odd.crl")
    found = read_store_status(store, every_scope=True, now=NOW)
    (scope,), (refusal,) = found.scopes, found.rejections
    return dataclasses.replace(
        found,
        scopes=tuple(dataclasses.replace(scope, scope=f"{n:032x}") for n in range(3_000)),
        rejections=tuple(dataclasses.replace(refusal, source=f"{n}") for n in range(3_000)),
        num_scopes=3_000,
    )


def test_the_number_of_series_has_a_bound(many: StoreStatus) -> None:
    """
    The scopes with the least time left have theirs, and all are counted.
    """
    text = metrics_text(NOTHING, a_report(store=many))
    until = values(text, "crlcheck_next_update_timestamp_seconds", "scope")
    assert list(until) == [(f"{number:032x}",) for number in range(MAX_SERIES)]
    assert len(values(text, "crlcheck_refused_timestamp_seconds", "source")) == MAX_SERIES
    assert values(text, "crlcheck_scopes") == {(): 3_000}
    assert values(text, "crlcheck_refused_sources") == {(): 3_000}
    assert len(text.splitlines()) < 3 * MAX_SERIES + 200


def test_the_document_lists_every_metric(many: StoreStatus) -> None:
    """
    Those that the service has besides those of the command, which have a table of their own.
    """
    state = WorkerState(SECOND, 12, SECOND, 1000)
    totals = dataclasses.replace(NOTHING, workers=(state,))
    report = a_report(store=many)
    told = set(families(metrics_text(totals, report)))
    own = told - {one.name for one in store_gauges(many)}
    listed = rows(section("metrics.md", "### crlcheck serve"))
    counted = ("decisions", "log_lines_dropped", "ocsp_answers")
    counters = {f"crlcheck_{name}_total" for name in counted}
    assert set(listed) == {f"{name}_total" if f"{name}_total" in counters else name for name in own}


# ---- the real service ------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service of two workers, with an access log."""
    directory = tmp_path_factory.mktemp("serve")
    publish_example(directory / "published", PKI.crl())
    with serving(
        directory / "published",
        directory,
        workers=2,
        access_log=directory / "access.log",
    ) as made:
        yield made


def decided(service: Serving) -> int:
    """How many decisions the service tells of."""
    answer = service.ask("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return int(sum(values(answer.body.decode(), "crlcheck_decisions", "cause").values()))


def ask_until_all_have_answered(service: Serving) -> int:
    """Ask until the log tells of two workers; return how often."""
    number = 0
    workers: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while len(workers) < 2:
        assert time.monotonic() < deadline
        for client in ("good", "revoked", None):
            service.check(client)
            number += 1
        workers = {line["worker"] for line in logged(service)}
    return number


def logged(service: Serving) -> list[dict[str, Any]]:
    """The lines of the access log."""
    path = service.log.parent / "access.log"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_any_worker_tells_what_all_decided(service: Serving) -> None:
    """
    And that stays so when a worker is killed, and when new ones come with new settings.
    """
    number = decided(service) + ask_until_all_have_answered(service)
    assert {decided(service) for _ in range(20)} == {number}
    os.kill(service.workers()[0], signal.SIGKILL)
    wait_until(lambda: values_of_workers(service) == 2, service)
    assert decided(service) == number
    before = service.workers()
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not set(before) & set(service.workers()), service)
    wait_until(lambda: values_of_workers(service) == 2, service)
    assert decided(service) == number
    service.check("good")
    assert decided(service) == number + 1


def values_of_workers(service: Serving) -> float:
    """How many workers the service tells of."""
    return values(service.ask("/metrics").body.decode(), "crlcheck_workers")[()]


def test_every_decision_has_a_line(service: Serving) -> None:
    """
    With what was found, and without the certificate or a name of it.
    """
    before = len(logged(service))
    for client in ("good", "revoked", "foreign", None):
        service.ask("/check?token=secret", headers=of_certificate(client))
    wait_until(lambda: len(logged(service)) == before + 4, service)
    told = logged(service)[before:]
    # The workers write their lines on their own, and several in the same millisecond.
    by_cause = {one["cause"]: one for one in told}
    assert {cause: (one["decision"], one["verdict"]) for cause, one in by_cause.items()} == {
        "not_revoked": ("allow", "not_revoked"),
        "revoked": ("deny", "revoked"),
        "unknown_issuer": ("deny", "undetermined"),
        "no_certificate": ("deny", None),
    }
    serial_number = PKI.revoked.certificate.serial_number
    assert by_cause["revoked"]["serial_number"] == f"{serial_number:x}"
    assert by_cause["revoked"]["crl_number"] == "1"
    assert all(0 < one["seconds"] < PATIENCE and one["path"] == "/check" for one in told)
    written = (service.log.parent / "access.log").read_text()
    for secret in ("BEGIN", "Mallory", "Example Issuing CA", "Somebody", "secret"):
        assert secret not in written


@pytest.mark.parametrize("destination", ["access log", "standard error"])
def test_a_log_that_nobody_reads_delays_no_decision(destination: str, tmp_path: Path) -> None:
    """
    More is written than a pipe takes, and every request has its answer all the same.
    """
    publish_example(tmp_path / "published", PKI.crl())
    settings: dict[str, Any] = {}
    if destination == "access log":
        os.mkfifo(tmp_path / "fifo")
        settings["access_log"] = tmp_path / "fifo"
    else:
        settings["log_level"] = "debug"
    with serving(
        tmp_path / "published", tmp_path, held_back=destination == "standard error", **settings
    ) as made:
        with contextlib.closing(made.connect()) as connection:
            path = f"/check/../{'x' * 180}"
            assert ask_over(connection, "/check").status == 403
            for _ in range(600):
                assert ask_over(connection, "/check", {HEADER: path}).status == 403
        assert decided(made) == 601
