"""The metrics that the Lambda functions really write, as CloudWatch reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Series(NamedTuple):
    """What CloudWatch tells one series of values from another by."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def series_of(lines: Iterable[str]) -> set[Series]:
    """The series that lines in CloudWatch's embedded metric format add values to."""
    found = set()
    for text in lines:
        if not text.startswith('{"_aws"'):
            continue
        line = json.loads(text)
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for dimensions in directive["Dimensions"]:
                pairs = frozenset((name, line[name]) for name in dimensions)
                for metric in directive["Metrics"]:
                    assert metric["Name"] in line
                    found.add(Series(directive["Namespace"], metric["Name"], pairs))
    return found


def series_of_alarm(alarm: Mapping[str, object]) -> set[Series]:
    """The series that an alarm's properties in CloudFormation name."""
    if "MetricName" in alarm:
        return {_series(alarm)}
    metrics = alarm["Metrics"]
    assert isinstance(metrics, list)
    return {_series(one["MetricStat"]["Metric"]) for one in metrics if "MetricStat" in one}


def _series(metric: Mapping[str, object]) -> Series:
    dimensions = metric.get("Dimensions", [])
    assert isinstance(dimensions, list)
    pairs = frozenset((one["Name"], one["Value"]) for one in dimensions)
    return Series(str(metric["Namespace"]), str(metric["MetricName"]), pairs)
