"""
Write metrics in CloudWatch's embedded format: lines of JSON on standard output, which
CloudWatch turns into metrics without any request by this function.
"""

from __future__ import annotations

import functools
import json
import sys

import crlcheck
from crlcheck.cloudwatch import dimension
from lambda_authorizer.responses import Decision

SERVICE = "crlcheck-authorizer"
"""The dimension ``service`` of every metric."""

# Two functions with different stores in one account have series of their own.
_DIMENSIONS = ["service", "store"]
_DECISION_DIMENSIONS = [
    _DIMENSIONS,
    [*_DIMENSIONS, "verdict"],
    [*_DIMENSIONS, "verdict", "cause"],
]
_UNITS = {
    "catalog_age": "Seconds",
    "seconds_to_next_update": "Seconds",
    "seconds_signed": "Seconds",
    "refresh_seconds": "Seconds",
    "store_errors": "Count",
    "refused_catalogs": "Count",
    "seconds_behind": "Seconds",
    "cold_starts": "Count",
}


class Recorder:
    """
    Writes a line for each decision, with the store's counts since the line before.

    namespace: where CloudWatch keeps the metrics.
    store: the name of the store, which is a dimension of every metric.
    """

    def __init__(self, namespace: str, store: str) -> None:
        self._namespace, self._store = namespace, dimension(store)
        self._is_first = True
        self._last = crlcheck.Freshness()

    def record(self, decision: Decision, freshness: crlcheck.Freshness, now: float) -> None:
        """
        Write the metrics of *decision*, made at *now* (seconds since 1970), and those
        of the store since the decision before.
        """
        print(self._line(decision, freshness, now), file=sys.stdout, flush=True)

    def _line(self, decision: Decision, freshness: crlcheck.Freshness, now: float) -> str:
        last, self._last = self._last, freshness
        values: dict[str, float | int | None] = {
            "catalog_age": (
                None if freshness.catalog_age is None else freshness.catalog_age.total_seconds()
            ),
            "seconds_to_next_update": decision.seconds_to_next_update,
            "seconds_signed": (
                None if freshness.signed_for is None else freshness.signed_for.total_seconds()
            ),
            "refresh_seconds": (
                freshness.last_poll_seconds if freshness.num_polls != last.num_polls else None
            ),
            "store_errors": freshness.num_failed_polls - last.num_failed_polls,
            "refused_catalogs": freshness.num_refused_polls - last.num_refused_polls,
            "seconds_behind": (
                None if freshness.behind_for is None else freshness.behind_for.total_seconds()
            ),
            "cold_starts": int(self._is_first),
        }
        self._is_first = False
        known = {name: value for name, value in values.items() if value is not None}
        members = {
            "service": SERVICE,
            "store": self._store,
            "verdict": decision.verdict,
            "cause": decision.cause or "none",
            "decisions": 1,
            **known,
        }
        definitions = _definitions(self._namespace, *known)
        header = f'"Timestamp": {int(now * 1000)}, "CloudWatchMetrics": {definitions}'
        return f'{{"_aws": {{{header}}}, {json.dumps(members)[1:]}'


@functools.cache
def _definitions(namespace: str, *names: str) -> str:
    """
    Return as JSON what tells CloudWatch which members are metrics.

    This is most of a line, and nearly every line has the same *names*.
    """
    decisions = {
        "Namespace": namespace,
        "Dimensions": _DECISION_DIMENSIONS,
        "Metrics": [{"Name": "decisions", "Unit": "Count"}],
    }
    plain = {
        "Namespace": namespace,
        "Dimensions": [_DIMENSIONS],
        "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in names],
    }
    return json.dumps([decisions, plain])
