"""
One log line and one set of metrics for each object, which a stranger can read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import crlcheck
from crlcheck.demo.pki import encode_extension, sign_crl
from support.example_pki import example_pki
from support.functions import lines_of
from support.moto_server import S3Environment
from support.pipeline import Pipeline
from support.pki import delta_of

PKI = example_pki()
UNKNOWN_CRITICAL = encode_extension("1.3.6.1.4.1.99999.1", b"\x05\x00", critical=True)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


def metrics_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The metric sets that were written, in CloudWatch's embedded metric format."""
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"_aws"')]


def crl_with(**options: Any) -> bytes:
    """The example authority's CRL number 5, with members changed."""
    now = datetime.now(UTC).replace(microsecond=0)
    settings = {"this_update": now, "next_update": now + timedelta(days=7), "crl_number": 5}
    return sign_crl(PKI.authority, [], **{**settings, **options})


MANY = list(range(1000, 1050))
REJECTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "malformed": (lambda: PKI.crl()[:-9], "truncated"),
    "unsupported": (lambda: crl_with(extensions=[UNKNOWN_CRITICAL]), "unknown critical extension"),
    "signature": (lambda: PKI.crl(by=PKI.stranger), "no issuer certificate has that name"),
    "not_yet_valid": (lambda: PKI.crl(age=timedelta(days=-1)), "after"),
    "rollback": (lambda: PKI.crl(number=1), "has a lower number"),
    "shrink": (lambda: PKI.crl(number=9, revoked=[], age=timedelta(0)), "held back"),
}


@pytest.mark.parametrize("cause", REJECTED)
def test_each_rejection_explains_itself(
    pipeline: Pipeline,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    cause: str,
) -> None:
    """
    The line says which object, that it was refused, why, and that the CRL before
    goes on serving; so does the status object, and a metric counts by cause.
    """
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=3, revoked=MANY)))
    caplog.clear()
    capsys.readouterr()
    make, words = REJECTED[cause]
    bucket, key = pipeline.put("crl/ca.crl", make())
    pipeline.run((bucket, key))
    (line,) = lines_of(caplog, "preprocessor")
    assert (line["level"], line["outcome"], line["cause"]) == ("ERROR", "refused", cause)
    assert line["object"] == f"s3://{bucket}/{key}"
    assert line["message"].startswith("the CRL is refused, and what was published before goes on")
    assert words in line["message"]
    (metrics,) = metrics_of(capsys)
    assert (metrics["Rejected"], metrics["cause"]) == ([1.0], cause)
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [
        ["service"],
        ["service", "cause"],
    ]
    (status,) = crlcheck.read_rejections(pipeline.store)
    assert (status.source, status.cause) == (line["object"], cause)
    assert status.serving == ("CRL 3 of CN=Example Issuing CA",)
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=10, revoked=MANY, age=timedelta(0))))
    assert crlcheck.read_rejections(pipeline.store) == []


def test_a_delta_without_its_base_says_that_it_is_tried_again(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It is no rejection for good: what failed is told apart from what was refused.
    """
    delta = crl_with(extensions=[delta_of(4)])
    with pytest.raises(ExceptionGroup):
        pipeline.run(pipeline.put("crl/delta.crl", delta))
    (line,) = lines_of(caplog, "preprocessor")
    assert (line["outcome"], line["cause"]) == ("failed", "base_missing")
    assert line["message"].startswith("failed, and is tried again: delta CRL 5 of")
    (metrics,) = metrics_of(capsys)
    assert (metrics["Failed"], metrics["cause"]) == ([1.0], "base_missing")


def test_a_record_that_cannot_be_read_says_so(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    There is no object to name, but the member that was wrong.
    """
    pipeline.invoke({"Records": [{"eventSource": "aws:sns"}]})
    (line,) = lines_of(caplog, "preprocessor")
    assert (line["object"], line["outcome"], line["cause"]) == (None, "refused", "malformed_event")
    assert "eventSource is 'aws:sns'" in line["message"]
    assert metrics_of(capsys)[0]["cause"] == "malformed_event"


def test_a_publication_tells_all_there_is(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Entries, sizes, seconds of each stage, what changed, and how old and how
    fresh the CRL is: in the line, and as metrics.
    """
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=1, revoked=[1, 2, 3])))
    caplog.clear()
    capsys.readouterr()
    newer = PKI.crl(number=2, revoked=[2, 3, 4, 5], age=timedelta(minutes=1))
    pipeline.run(pipeline.put("crl/ca.crl", newer))
    (line,) = lines_of(caplog, "preprocessor")
    assert line["level"] == "INFO"
    assert line["message"] == (
        "CRL 2 of CN=Example Issuing CA is published with 4 entries (2 newly revoked, 1 lifted)"
    )
    assert (line["num_entries"], line["num_newly_revoked"], line["num_lifted"]) == (4, 2, 1)
    assert 60 <= line["age"] < 120
    stages = {name for name in line if name.startswith("seconds_")}
    assert stages == {f"seconds_{one}" for one in ("compile", "upload", "swap", "compare")}
    (metrics,) = metrics_of(capsys)
    assert metrics["object"] == line["object"]
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "crlcheck"
    expected = {"Published": 1, "Entries": 4, "NewlyRevoked": 2, "Lifted": 1, "LostSwaps": 0}
    assert {name: metrics[name] for name in expected} == {
        name: [float(value)] for name, value in expected.items()
    }
    for name, member in (("Age", "age"), ("TimeLeft", "time_left"), ("Seconds", "seconds")):
        assert metrics[name] == [float(line[member])]
    assert metrics["SourceSize"] == [float(len(newer))]


def test_a_stale_crl_is_published_and_says_so(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It only adds knowledge, but nobody should take it for a fresh one.
    """
    stale = PKI.crl(age=timedelta(days=30))
    pipeline.run(pipeline.put("crl/ca.crl", stale))
    (line,) = lines_of(caplog, "preprocessor")
    assert line["message"].endswith(", and is past its nextUpdate")
    assert line["time_left"] < 0


def test_the_same_crl_again_and_an_ignored_object(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What changes nothing is counted apart, with a line of its own.
    """
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    pipeline.run(crl, crl, (pipeline.bucket, "crl/"))
    messages = [line["message"] for line in lines_of(caplog, "preprocessor")]
    assert messages[1].endswith("says nothing that is not published already")
    assert messages[2] == "ignored: it is a folder"
    assert [next(iter(set(one) & {"Published", "Unchanged", "Ignored"})) for one in
            metrics_of(capsys)] == ["Published", "Unchanged", "Ignored"]  # fmt: skip
