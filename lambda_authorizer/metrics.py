"""
Write metrics in CloudWatch's embedded format: lines of JSON on standard output, which
CloudWatch turns into metrics without any request by this function.
"""

from __future__ import annotations

import functools
import json
import sys

import crlcheck
from lambda_authorizer.responses import Decision

NAMESPACE = "crlcheck"

_BY_VERDICT = {
    "Namespace": NAMESPACE,
    "Dimensions": [["verdict", "cause"]],
    "Metrics": [{"Name": "decisions", "Unit": "Count"}],
}
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
    """Writes a line for each decision, with the store's counts since the line before."""

    def __init__(self) -> None:
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
            "verdict": decision.verdict,
            "cause": decision.cause or "none",
            "decisions": 1,
            **known,
        }
        header = f'"Timestamp": {int(now * 1000)}, "CloudWatchMetrics": {_definitions(*known)}'
        return f'{{"_aws": {{{header}}}, {json.dumps(members)[1:]}'


@functools.cache
def _definitions(*names: str) -> str:
    """
    Return as JSON what tells CloudWatch which members are metrics.

    This is most of a line, and nearly every line has the same *names*.
    """
    plain = {
        "Namespace": NAMESPACE,
        "Dimensions": [[]],
        "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in names],
    }
    return json.dumps([_BY_VERDICT, plain])
