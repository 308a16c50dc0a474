"""
Answer ``/metrics`` in the text format of Prometheus: one answer for all workers.

The gauges of the published set are those of ``crlcheck status --format prometheus``. The number
of lines has a bound, however many scopes, issuers and sources there are.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from crlcheck.prometheus import prometheus_text, store_gauges
from crlcheck.serve.counts import BOUNDS, Counts, Totals
from crlcheck.serve.http import Request, Response
from crlcheck.serve.report import Report, Reports
from crlcheck.types import RevocationStatus, UndeterminedCause

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MAX_SERIES = 200
"""So many scopes and sources have lines: the scopes with the least time left, the last refusals."""

_UNDETERMINED = frozenset(cause.value for cause in UndeterminedCause)
_DECIDED = frozenset(one.value for one in RevocationStatus)


def verdict_of(cause: str) -> str:
    """Return the verdict to which a cause belongs; "none" where no certificate was checked."""
    if cause in _DECIDED:
        return cause
    return RevocationStatus.UNDETERMINED.value if cause in _UNDETERMINED else "none"


class Metrics:
    """Answers with what all workers counted, and how this one and the store stand."""

    def __init__(self, counts: Counts, reports: Reports) -> None:
        self._counts = counts
        self._reports = reports

    async def answer(self, _: Request) -> Response:
        """Answer with all metrics."""
        report = await self._reports.latest()
        said = await asyncio.to_thread(lambda: metrics_text(self._counts.totals(), report))
        headers = (("Content-Type", CONTENT_TYPE), ("Cache-Control", "no-store"))
        return Response(200, headers, said.encode("utf-8"))


def metrics_text(totals: Totals, report: Report | None) -> str:
    """
    Return all metrics of the service.

    *report* is None where there is none yet: then those that come from it are left out.

    Raises:
        CrlCheckError: the package prometheus-client is missing.
    """
    return prometheus_text([*_of_requests(totals), *_of_workers(totals), *_of_report(report)])


def _of_requests(totals: Totals) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    decisions = CounterMetricFamily(
        "crlcheck_decisions",
        "Requests that were decided on, by all workers.",
        labels=["decision", "verdict", "cause"],
    )
    for (cause, decision), number in sorted(totals.decisions.items()):
        decisions.add_metric([decision, verdict_of(cause), cause], number)
    yield decisions
    buckets = []
    below = 0
    for bound, number in zip((*map(str, BOUNDS), "+Inf"), totals.buckets, strict=True):
        below += number
        buckets.append((bound, below))
    durations = HistogramMetricFamily(
        "crlcheck_decision_duration_seconds", "How long the decisions took."
    )
    durations.add_metric([], buckets, totals.seconds)
    yield durations
    answers = CounterMetricFamily(
        "crlcheck_ocsp_answers", "Answers to OCSP requests, by all workers.", labels=["outcome"]
    )
    for outcome, number in totals.ocsp.items():
        answers.add_metric([outcome], number)
    yield answers
    yield CounterMetricFamily(
        "crlcheck_log_lines_dropped",
        "Lines that the access log could not take, because its destination is slow or broken.",
        value=totals.num_unlogged,
    )


def _of_workers(totals: Totals) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    told = totals.workers
    values = {
        "workers": ("Workers that run.", len(told)),
        "worker_silent_seconds": (
            "How long the worker that was silent the longest has said nothing.",
            max((one.silent_for.total_seconds() for one in told), default=None),
        ),
        "set_age_seconds": (
            "Time since the store was last read in full, of the worker where it is the longest.",
            max(
                (one.set_age.total_seconds() for one in told if one.set_age is not None),
                default=None,
            ),
        ),
        "generation_in_use": (
            "Generation of the set in use, of the worker where it is the earliest.",
            min((one.generation for one in told if one.generation is not None), default=None),
        ),
        "workers_without_set": (
            "Workers that have no set.",
            sum(one.generation is None for one in told),
        ),
        "image_bytes": (
            "Bytes of loaded images, of the worker where they are the most. Workers share them.",
            max((one.image_bytes for one in told), default=None),
        ),
    }
    for name, (words, value) in values.items():
        if value is not None:
            yield GaugeMetricFamily(f"crlcheck_{name}", words, value=value)


def _of_report(report: Report | None) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    if report is None:
        return
    yield GaugeMetricFamily(
        "crlcheck_answering",
        "1 where any certificate could be decided on, else 0.",
        value=int(report.checker.answering),
    )
    problems = GaugeMetricFamily(
        "crlcheck_problems",
        "Problems by their kind. An error makes certificates undetermined.",
        labels=["kind", "severity"],
    )
    counted = Counter(
        (one.kind.value, "error" if one.is_error else "warning") for one in report.checker.problems
    )
    for labels, number in sorted(counted.items()):
        problems.add_metric(labels, number)
    yield problems
    yield GaugeMetricFamily(
        "crlcheck_report_timestamp_seconds",
        "When the values of the published set were found out.",
        value=report.at.timestamp(),
    )
    yield GaugeMetricFamily(
        "crlcheck_store_readable",
        "1 where the store could be read for this report, else 0.",
        value=int(report.store is not None),
    )
    if report.store is not None:
        yield GaugeMetricFamily(
            "crlcheck_refused_sources",
            "Sources whose last CRL was refused.",
            value=len(report.store.rejections),
        )
        yield from store_gauges(
            dataclasses.replace(
                report.store,
                scopes=report.store.scopes[:MAX_SERIES],
                rejections=report.store.rejections[:MAX_SERIES],
            )
        )
