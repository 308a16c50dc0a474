"""
One log line and one set of metrics for each object, which a stranger can read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck import CertificateError, CrlError, FetchError, StoreError
from crlcheck.demo.pki import encode_entry, encode_extension, sign_crl
from crlcheck.publisher import rejections
from support.documents import document
from support.events import s3_event
from support.example_pki import example_pki
from support.fault_proxy import Fault, FaultProxy, fault_proxy
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
    return sign_crl(PKI.authority, options.pop("entries", []), **{**settings, **options})


MANY = list(range(1000, 1050))
REJECTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "malformed": (lambda: PKI.crl()[:-9], "truncated"),
    "unsupported": (lambda: crl_with(extensions=[UNKNOWN_CRITICAL]), "unknown critical extension"),
    "signature": (lambda: PKI.crl(by=PKI.stranger), "no issuer certificate has that name"),
    "not_yet_valid": (lambda: PKI.crl(age=timedelta(days=-1)), "after"),
    "rollback": (lambda: PKI.crl(number=1), "has a lower number"),
    "expired": (
        lambda: PKI.crl(
            number=5, revoked=MANY, age=timedelta(minutes=50), lifetime=timedelta(minutes=40)
        ),
        "not published, because the certificates",
    ),
    "shrink": (
        lambda: PKI.crl(number=9, revoked=[], age=timedelta(0)),
        "not published, because most",
    ),
}


TIMES = {"not_yet_valid": ("this_update", "now"), "expired": ("next_update", "now")}
"""The members of a rejection's line that are times."""


def as_rfc_3339(time: str) -> str:
    """A time in UTC as every other output has it, with a Z at the end."""
    return datetime.fromisoformat(time).astimezone(UTC).isoformat().replace("+00:00", "Z")


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
    times = {name: line[name] for name in TIMES.get(cause, ())}
    assert times == {name: as_rfc_3339(value) for name, value in times.items()}
    (metrics,) = metrics_of(capsys)
    assert (metrics["Rejected"], metrics["cause"]) == ([1.0], cause)
    dimensions = metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    assert list(map(set, dimensions)) == [{"service", "store"}, {"service", "store", "cause"}]
    assert metrics["store"] == pipeline.store
    (status,) = crlcheck.read_rejections(pipeline.store)
    assert (status.source, status.cause) == (line["object"], cause)
    assert status.serving == ("CRL 3 of CN=Example Issuing CA",)
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=10, revoked=MANY, age=timedelta(0))))
    assert crlcheck.read_rejections(pipeline.store) == []


def _delta_without_base(pipeline: Pipeline, _proxy: FaultProxy, _path: Path) -> Any:
    return s3_event(pipeline.put("crl/delta.crl", crl_with(extensions=[delta_of(4)])))


def _another_of_that_second(pipeline: Pipeline, _proxy: FaultProxy, _path: Path) -> Any:
    begun = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    first, second = (
        crl_with(this_update=begun, crl_number=None, entries=[encode_entry(serial, begun)])
        for serial in (1, 2)
    )
    crlcheck.publish_crl(first, pipeline.store, issuer=PKI.authority.pem)
    return s3_event(pipeline.put("crl/ca.crl", second))


def _broken_bundle(pipeline: Pipeline, _proxy: FaultProxy, path: Path) -> Any:
    bundle = path / "issuers.pem"
    bundle.write_bytes(PKI.authority.pem[:-60])
    pipeline.start(issuers=str(bundle))
    return s3_event(pipeline.put("crl/ca.crl", PKI.crl()))


def _forbidden_catalog(pipeline: Pipeline, proxy: FaultProxy, _path: Path) -> Any:
    proxy.always, proxy.always_for = Fault(403, "AccessDenied"), "catalog.json"
    return s3_event(pipeline.put("crl/ca.crl", PKI.crl()))


def _url_of_nobody(pipeline: Pipeline, _proxy: FaultProxy, _path: Path) -> Any:
    pipeline.start(fetch_urls="http://127.0.0.1:9/ca.crl")
    return {"fetch": True}


def _missing_bucket(pipeline: Pipeline, _proxy: FaultProxy, _path: Path) -> Any:
    return s3_event((f"{pipeline.bucket}-not-there", "crl/ca.crl"))


FAILED: dict[str, tuple[Callable[[Pipeline, FaultProxy, Path], Any], str]] = {
    "base_missing": (_delta_without_base, "delta CRL 5 of CN=Example Issuing CA needs a complete"),
    "order_unknown": (_another_of_that_second, "it cannot be told which is newer"),
    "issuer_certificate": (_broken_bundle, "the input ends inside a block"),
    "store": (_forbidden_catalog, "catalog.json: GetObject was answered 403 AccessDenied"),
    "fetch": (_url_of_nobody, "found the address 127.0.0.1, which is not a public one"),
    "unavailable": (_missing_bucket, "NoSuchBucket"),
}


@pytest.mark.parametrize("cause", FAILED)
def test_each_failure_that_may_pass_explains_itself(
    pipeline: Pipeline,
    s3: S3Environment,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    cause: str,
) -> None:
    """
    It is no rejection for good: the line says that it is tried again, and why it
    failed; a metric counts by cause, the invocation fails, and no status object
    blames the CRL.
    """
    make, words = FAILED[cause]
    with fault_proxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        event = make(pipeline, proxy, tmp_path)
        with pytest.raises(ExceptionGroup):
            pipeline.invoke(event)
    (line,) = lines_of(caplog, "preprocessor")
    assert (line["level"], line["outcome"], line["cause"]) == ("ERROR", "failed", cause)
    assert line["object"].endswith("crl")
    assert line["message"].startswith("failed, and is tried again: ")
    assert words in line["message"]
    (metrics,) = metrics_of(capsys)
    assert (metrics["Failed"], metrics["cause"]) == ([1.0], cause)
    if cause not in ("base_missing", "order_unknown"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        assert crlcheck.read_rejections(pipeline.store) == []


def test_every_cause_has_its_line_and_is_documented() -> None:
    """
    The causes whose lines are tested here are all that a line can carry, every
    error of a CRL among them, and those that the page of log lines explains.
    """
    tested = {*REJECTED, *FAILED, "malformed_event"}
    assert tested == {*rejections._CAUSES.values(), "malformed_event", "unavailable"}
    kinds = [*CrlError.__subclasses__(), CertificateError, StoreError, FetchError]
    assert all(issubclass(kind, tuple(rejections._CAUSES)) for kind in kinds)
    page = document("log-lines.md").read_text(encoding="utf-8")
    table = page.partition("| cause |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == tested


def test_a_record_that_cannot_be_read_says_so(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    There is no object to name, but the member that was wrong.
    """
    with pytest.raises(ExceptionGroup):
        pipeline.invoke({"Records": [{"eventSource": "aws:kinesis"}]})
    (line,) = lines_of(caplog, "preprocessor")
    assert (line["object"], line["outcome"], line["cause"]) == (None, "refused", "malformed_event")
    assert "eventSource is 'aws:kinesis'" in line["message"]
    assert metrics_of(capsys)[0]["cause"] == "malformed_event"


def test_a_publication_tells_all_there_is(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Entries, sizes, seconds of each stage, what changed, how old and how fresh the
    CRL is, and what to look at: in the line, and as metrics.
    """
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=1, revoked=[1, 2, 3])))
    caplog.clear()
    capsys.readouterr()
    newer = PKI.crl(number=2, revoked=[2, 3, 4, 5], age=timedelta(minutes=1))
    pipeline.run(pipeline.put("crl/ca.crl", newer))
    (line,) = lines_of(caplog, "preprocessor")
    assert line["level"] == "WARNING"
    assert line["message"].startswith(
        "CRL 2 of CN=Example Issuing CA is published with 4 entries (2 newly revoked, 1 lifted); "
        "warning: CRL 2 of CN=Example Issuing CA lifts 1 revocation,"
    )
    assert line["publish_warnings"] == "recently_lifted"
    assert line["num_lifted_recently"] == 1
    assert (line["num_entries"], line["num_newly_revoked"], line["num_lifted"]) == (4, 2, 1)
    assert 60 <= line["age"] < 120
    assert line["this_update"] == as_rfc_3339(line["this_update"])
    assert line["next_update"] == as_rfc_3339(line["next_update"])
    stages = {name for name in line if name.startswith("seconds_")}
    assert stages == {f"seconds_{one}" for one in ("compile", "upload", "swap", "compare")}
    (metrics,) = metrics_of(capsys)
    assert metrics["object"] == line["object"]
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "crlcheck"
    expected = {"Published": 1, "Entries": 4, "NewlyRevoked": 2, "Lifted": 1, "LostSwaps": 0,
                "LiftedRecently": 1, "Warnings": 1}  # fmt: skip
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
    assert (line["level"], line["publish_warnings"]) == ("WARNING", "expired")
    assert "is past its nextUpdate" in line["message"]
    assert line["time_left"] < 0


def test_the_same_crl_again_and_an_ignored_object(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What changes nothing is counted apart, with a line of its own.
    """
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    pipeline.run(crl, crl, (pipeline.bucket, "crl/"))
    messages = {line["outcome"]: line["message"] for line in lines_of(caplog, "preprocessor")}
    assert messages["unchanged"].endswith("says nothing that is not published already")
    assert messages["ignored"] == "ignored: it is a folder"
    assert sorted(next(iter(set(one) & {"Published", "Unchanged", "Ignored"})) for one in
            metrics_of(capsys)) == ["Ignored", "Published", "Unchanged"]  # fmt: skip
