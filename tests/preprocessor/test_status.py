"""The event that asks how the published set stands."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from support.example_pki import example_pki
from support.functions import lines_of
from support.moto_server import S3Environment
from support.pipeline import Pipeline

PKI = example_pki()


def metrics_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The metric sets that were written, in CloudWatch's embedded metric format."""
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"_aws"')]


def published(pipeline: Pipeline, lifetime: timedelta) -> None:
    """Publish the example authority's CRL."""
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=3, lifetime=lifetime)))


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


def test_the_status_has_the_time_left_although_no_crl_came(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """
    So that an alarm on it has data.
    """
    published(pipeline, timedelta(days=7))
    capsys.readouterr()
    caplog.clear()
    answer = pipeline.invoke({"status": True})
    assert (answer["generation"], answer["num_scopes"], answer["num_stale"]) == (1, 1, 0)
    counts, left = metrics_of(capsys)
    assert (counts["Scopes"], counts["StaleScopes"]) == ([1.0], [0.0])
    assert 0 < left["TimeLeft"][0] < timedelta(days=7).total_seconds()
    assert counts["store"] == left["store"] == pipeline.store
    (line,) = lines_of(caplog, "preprocessor")
    assert (line["level"], line["num_stale"]) == ("INFO", 0)


def test_a_stale_scope_is_a_warning_and_its_time_left_is_negative(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Both the count and the value can raise the alarm.
    """
    published(pipeline, timedelta(minutes=1))
    capsys.readouterr()
    caplog.clear()
    answer = pipeline.invoke({"status": True})
    counts, left = metrics_of(capsys)
    assert (answer["num_stale"], counts["StaleScopes"]) == (1, [1.0])
    assert left["TimeLeft"][0] < 0
    assert lines_of(caplog, "preprocessor")[0]["level"] == "WARNING"


def test_a_damaged_set_has_its_metrics_and_fails_the_invocation(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    An alarm on the rest has data, and the one on errors sees the damage.
    """
    published(pipeline, timedelta(days=7))
    (node,) = (key for key in pipeline.stored() if key.startswith("published/nodes/"))
    pipeline.put(node, b"{}")
    pipeline.start()
    capsys.readouterr()
    with pytest.raises(Exception, match="is damaged"):
        pipeline.invoke({"status": True})
    (counts,) = metrics_of(capsys)
    assert (counts["Scopes"], counts["UnreadableObjects"]) == ([1.0], [1.0])


def test_issuers_are_told_apart_where_that_is_asked_for(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Each issuer then has a series of its own.
    """
    pipeline.start(metrics_dimensions="store,issuer")
    published(pipeline, timedelta(days=7))
    publication = metrics_of(capsys)[0]
    assert publication["issuer"] == "CN=Example Issuing CA"
    pipeline.invoke({"status": True})
    counts, left = metrics_of(capsys)
    assert left["issuer"] == "CN=Example Issuing CA"
    assert "issuer" not in counts


@pytest.mark.parametrize("given", ["colour", "store,store", "store, issuer", "service"])
def test_another_dimension_stops_the_function(pipeline: Pipeline, given: str) -> None:
    """
    The message names the variable.
    """
    with pytest.raises(Exception, match="CRLCHECK_METRICS_DIMENSIONS"):
        pipeline.start(metrics_dimensions=given)


@pytest.mark.parametrize("event", [{"status": False}, {"status": True, "fetch": True}])
def test_another_event_of_that_name_cannot_be_read(
    pipeline: Pipeline, event: dict[str, Any]
) -> None:
    """
    It is not taken for the event that it resembles.
    """
    with pytest.raises(Exception, match="the event has the members"):
        pipeline.invoke(event)
