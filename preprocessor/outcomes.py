"""
Describe the outcome of each object, in one log line and in metrics in CloudWatch's
embedded metric format.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from crlcheck import CrlCheckError, CrlError, PublishReport, rejection_cause, remedy_of
from crlcheck.cloudwatch import dimension
from preprocessor.events import MalformedEventError
from preprocessor.settings import Settings

Value = str | int | float | None
Word = Literal["published", "unchanged", "ignored", "missing", "refused", "failed"]

SERVICE = "crlcheck-preprocessor"

_LEVELS: dict[Word, int] = {
    "failed": logging.ERROR,
    "refused": logging.ERROR,
    "missing": logging.WARNING,
}
"""The level of an outcome's line, WARNING for others that warn of something, else INFO."""
_METRIC_NAMES: dict[Word, str] = {
    "published": "Published",
    "unchanged": "Unchanged",
    "ignored": "Ignored",
    "missing": "Missing",
    "refused": "Rejected",
    "failed": "Failed",
}
_MEASURES = {
    "num_entries": ("Entries", MetricUnit.Count),
    "num_newly_revoked": ("NewlyRevoked", MetricUnit.Count),
    "num_lifted": ("Lifted", MetricUnit.Count),
    "num_lifted_recently": ("LiftedRecently", MetricUnit.Count),
    "num_publish_warnings": ("Warnings", MetricUnit.Count),
    "source_size": ("SourceSize", MetricUnit.Bytes),
    "image_size": ("ImageSize", MetricUnit.Bytes),
    "seconds": ("Seconds", MetricUnit.Seconds),
    "seconds_compile": ("CompileSeconds", MetricUnit.Seconds),
    "seconds_upload": ("UploadSeconds", MetricUnit.Seconds),
    "seconds_swap": ("SwapSeconds", MetricUnit.Seconds),
    "seconds_compare": ("CompareSeconds", MetricUnit.Seconds),
    "num_lost_swaps": ("LostSwaps", MetricUnit.Count),
    "age": ("Age", MetricUnit.Seconds),
    "time_left": ("TimeLeft", MetricUnit.Seconds),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The outcome of one object, or of one CRL of it.

    ``object`` is its URL, None if the event names none. ``outcome`` is one of a few
    words, and ``message`` the same as a sentence. ``error`` is why it was refused or
    failed.
    """

    object: str | None
    outcome: Word
    message: str
    values: Mapping[str, Value] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether the event is done with, so that it need not come again."""
        return self.outcome != "failed" and not isinstance(self.error, MalformedEventError)

    def members(self) -> dict[str, Value]:
        """Return the JSON object that is logged and returned."""
        return {
            "object": self.object,
            "message": self.message,
            "outcome": self.outcome,
            **self.values,
        }


def of_report(name: str, report: PublishReport, seconds: float, now: datetime) -> Outcome:
    """
    Return the outcome of a publication.

    ``age`` is the time since thisUpdate, and ``time_left`` that until nextUpdate (below
    0: stale), in seconds.
    """
    compiled, said = report.compiled, report.compiled.as_dict()
    left = None if compiled.next_update is None else (compiled.next_update - now).total_seconds()
    number = compiled.crl_number
    values: dict[str, Value] = {
        "issuer": report.issuer_name,
        "scope": report.scope,
        "delta": report.is_delta,
        "image": report.image_name,
        "generation": report.generation,
        "num_entries": compiled.num_entries,
        "num_newly_revoked": report.num_newly_revoked,
        "num_lifted": report.num_lifted,
        "num_lifted_recently": report.num_lifted_recently,
        "publish_warnings": ",".join(warning.kind.value for warning in report.warnings),
        "num_publish_warnings": len(report.warnings),
        # A CRL number may exceed what JSON readers keep exactly as a number.
        "crl_number": None if number is None else str(number),
        "this_update": said["this_update"],
        "next_update": said["next_update"],
        "age": round((now - compiled.this_update).total_seconds()),
        "time_left": None if left is None else round(left),
        "source_size": compiled.source_size,
        "image_size": compiled.image_size,
        "warnings": ",".join(said["warnings"]),
        "num_lost_swaps": report.num_lost_swaps,
        "seconds": round(seconds, 3),
        **{f"seconds_{stage}": round(spent, 3) for stage, spent in report.seconds.items()},
    }
    # Without its words a warning of this kind does not say which extension is meant.
    warnings = (*report.warnings, *compiled.odd_extensions)
    warned = "".join(f"; warning: {warning}" for warning in warnings)
    word: Word = "published" if report.published else "unchanged"
    return Outcome(name, word, f"{_sentence(report)}{warned}", values)


def _sentence(report: PublishReport) -> str:
    compiled = report.compiled
    kind = "delta CRL" if report.is_delta else "CRL"
    number = "" if compiled.crl_number is None else f" {compiled.crl_number}"
    crl = f"{kind}{number} of {report.issuer_name}"
    entries = "1 entry" if compiled.num_entries == 1 else f"{compiled.num_entries:,} entries"
    if not report.published:
        return f"{crl} says nothing that is not published already"
    changed = ""
    if report.num_newly_revoked is not None:
        changed = f" ({report.num_newly_revoked:,} newly revoked, {report.num_lifted:,} lifted)"
    return f"{crl} is published with {entries}{changed}"


def again(outcome: Outcome) -> Outcome:
    """Return the outcome for a task that names an object which another one has named."""
    if outcome.outcome != "published":
        return outcome
    message = "named again in this event: it says nothing that is not published already"
    values = {**outcome.values, "num_newly_revoked": 0, "num_lifted": 0, "num_lifted_recently": 0}
    return Outcome(outcome.object, "unchanged", message, values)


def not_modified(url: str) -> Outcome:
    """Return the outcome of a URL that has not changed since it was fetched."""
    return Outcome(url, "unchanged", "not modified since it was fetched")


def ignored(url: str, reason: str) -> Outcome:
    """Return the outcome of an object that is not to be published."""
    return Outcome(url, "ignored", f"ignored: {reason}", {"reason": reason})


def missing(url: str) -> Outcome:
    """Return the outcome of an object that was deleted after the event."""
    return Outcome(url, "missing", "there is no such object any more")


def refused(name: str | None, error: CrlError) -> Outcome:
    """Return the outcome of a faulty CRL, for which no retry helps."""
    message = f"the CRL is refused, and what was published before goes on serving: {error}"
    return Outcome(name, "refused", message, _values(error), error)


def unreadable(error: MalformedEventError) -> Outcome:
    """
    Return the outcome of a record that cannot be read.

    Nobody knows which object it names, so it counts as refused, and is left to
    whoever keeps what fails.
    """
    message = f"the event cannot be read, and is not acknowledged: {error}"
    return Outcome(None, "refused", message, _values(error), error)


def failed(name: str, error: Exception) -> Outcome:
    """Return the outcome of a temporary failure, after which the object is tried again."""
    return Outcome(name, "failed", f"failed, and is tried again: {error}", _values(error), error)


def _values(error: Exception) -> dict[str, Value]:
    return {"cause": cause_of(error), "remedy": remedy_of(error), **describe(error)}


def cause_of(error: Exception) -> str:
    """Return a stable word for the cause of *error*."""
    if isinstance(error, CrlCheckError):
        return rejection_cause(error)
    return "malformed_event" if isinstance(error, MalformedEventError) else "unavailable"


def describe(error: Exception) -> dict[str, Value]:
    """Return an error's type, message and values (such as the rule broken and its offset)."""
    carried = error.as_dict() if isinstance(error, CrlCheckError) else vars(error)
    values = {name: value for name, value in carried.items() if isinstance(value, str | int)}
    return {**values, "error": type(error).__name__, "detail": str(error)}


def dimensions_of(settings: Settings, issuer: str | None = None) -> dict[str, str]:
    """Return what tells the series of metrics apart, beside the service."""
    # A dimension has at least one character.
    known = {"store": settings.store, "issuer": issuer or "(none)"}
    return {name: dimension(known[name]) for name in settings.metrics_dimensions}


def new_metrics(settings: Settings, dimensions: Mapping[str, str]) -> EphemeralMetrics:
    """Return an empty set of metrics with these dimensions."""
    metrics = EphemeralMetrics(namespace=settings.metrics_namespace, service=SERVICE)
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    return metrics


def record(outcome: Outcome, log: logging.Logger, settings: Settings) -> None:
    """Write the log line and the metrics of one object."""
    members, name = outcome.members(), outcome.outcome
    usual = logging.WARNING if members.get("num_publish_warnings") else logging.INFO
    log.log(_LEVELS.get(name, usual), json.dumps(members))
    issuer = members.get("issuer")
    dimensions = dimensions_of(settings, issuer if isinstance(issuer, str) else None)
    metrics = new_metrics(settings, dimensions)
    metrics.add_metric(name=_METRIC_NAMES[name], unit=MetricUnit.Count, value=1)
    if outcome.error is not None:
        metrics.add_dimensions(service=SERVICE, **dimensions, cause=str(members["cause"]))
    for member, (metric, unit) in _MEASURES.items():
        value = members.get(member)
        if isinstance(value, int | float):
            metrics.add_metric(name=metric, unit=unit, value=value)
    metrics.add_metadata(key="object", value=outcome.object)
    metrics.flush_metrics()
