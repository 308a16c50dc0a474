"""
The preprocessor from S3 notification to published image, over a real S3 API.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.compiler.compile import compile_to_temporary
from crlcheck.demo.pki import encode_entry, pem_block, sign_crl
from crlcheck.demo.runtime_api import LambdaFunction
from crlcheck.publisher import compiling as publisher_module
from support.events import EVENTS, s3_event
from support.example_pki import example_pki
from support.functions import lines_of
from support.moto_server import S3Environment
from support.pipeline import Pipeline
from support.pki import delta_of

PKI = example_pki()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_an_uploaded_crl_is_published(pipeline: Pipeline, form: str) -> None:
    """
    After the notification, a checker over the store knows who is revoked.
    """
    crl = PKI.crl(number=5)
    body = crl if form == "DER" else pem_block("X509 CRL", crl)
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", body))
    assert outcome["object"] == f"s3://{pipeline.bucket}/crl/ca.crl"
    assert outcome["outcome"] == "published"
    assert (outcome["crl_number"], outcome["num_entries"]) == ("5", 1)
    assert outcome["generation"] == 1
    assert pipeline.published() == {"published/catalog.json", f"published/{outcome['image']}"}
    assert pipeline.verdict("revoked") == "revoked"
    assert pipeline.verdict("good") == "not_revoked"
    assert pipeline.verdict("foreign") == "undetermined"


@pytest.mark.parametrize("encoding", ["gzip", "aws-chunked,gzip"])
def test_an_object_that_says_that_it_is_gzip_is_unpacked(pipeline: Pipeline, encoding: str) -> None:
    """
    Whoever uploads it with Content-Encoding gzip; without that it is refused by name.
    """
    packed = gzip.compress(PKI.crl(number=5))
    (refused,) = pipeline.run(pipeline.put("crl/ca.crl", packed))
    assert refused["outcome"] == "refused"
    assert refused["found"] == "gzip"
    event = pipeline.put("crl/ca.crl", packed)
    pipeline.client.put_object(
        Bucket=pipeline.bucket, Key="crl/ca.crl", Body=packed, ContentEncoding=encoding
    )
    (outcome,) = pipeline.run(event)
    assert outcome["outcome"] == "published"
    assert pipeline.verdict("revoked") == "revoked"


@pytest.mark.parametrize("key", ["crl/two words.crl", "crl/a+b.crl", "crl/über/100%.crl"])
def test_keys_are_found_as_they_are_stored(pipeline: Pipeline, key: str) -> None:
    """
    A key that the notification encodes is read back under its own name.
    """
    (outcome,) = pipeline.run(pipeline.put(key, PKI.crl()))
    assert outcome["outcome"] == "published"
    assert outcome["object"].endswith(key)


def test_a_notification_that_comes_twice_changes_nothing(pipeline: Pipeline) -> None:
    """
    S3 delivers at least once: the same CRL again is found unchanged.
    """
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    assert [outcome["outcome"] for outcome in pipeline.run(crl, crl)] == ["published", "unchanged"]
    (again,) = pipeline.run(crl)
    assert (again["outcome"], again["generation"]) == ("unchanged", 1)


def test_a_late_notification_publishes_what_is_there_now(pipeline: Pipeline) -> None:
    """
    Notifications come in any order: an old one leads to the object as it is now.
    """
    crl = pipeline.put("crl/ca.crl", PKI.crl(number=1, revoked=[]))
    pipeline.put("crl/ca.crl", PKI.crl(number=2, age=timedelta(minutes=1)))
    assert [outcome["crl_number"] for outcome in pipeline.run(crl, crl)] == ["2", "2"]
    assert pipeline.verdict("revoked") == "revoked"


def test_an_older_crl_is_refused(pipeline: Pipeline) -> None:
    """
    An old CRL under another key cannot take a revocation back.
    """
    new = pipeline.put("crl/new.crl", PKI.crl(number=2, age=timedelta(minutes=1)))
    old = pipeline.put("crl/old.crl", PKI.crl(number=1, revoked=[]))
    pipeline.run(new)
    (refused,) = pipeline.run(old)
    assert (refused["outcome"], refused["error"]) == ("refused", "CrlRollbackError")
    assert pipeline.verdict("revoked") == "revoked"


def test_bad_records_do_not_hide_a_good_one(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What no retry can mend is recorded and logged, each as one line, and the
    records after it are dealt with. Only the record that cannot be read fails the
    invocation, so that it is kept.
    """
    crl = PKI.crl()
    pipeline.start()
    objects = [
        pipeline.put("crl/truncated.crl", crl[:-9]),
        pipeline.put("crl/empty.crl", b""),
        pipeline.put("crl/certificate.crl", PKI.authority.der),
        pipeline.put("crl/unsigned.crl", crl[:-1] + bytes([crl[-1] ^ 1])),
        pipeline.put("crl/strangers.crl", PKI.crl(by=PKI.stranger)),
        pipeline.put("crl/tomorrow.crl", PKI.crl(age=timedelta(days=-1))),
        pipeline.put("crl/good.crl", crl),
    ]
    event = s3_event(*objects)
    event["Records"].insert(0, {"eventSource": "aws:kinesis"})
    with pytest.raises(ExceptionGroup, match="1 of 8 objects failed") as caught:
        pipeline.invoke(event)
    assert [type(error).__name__ for error in caught.value.exceptions] == ["MalformedEventError"]
    names = [None, *(f"s3://{bucket}/{key}" for bucket, key in objects)]
    lines = {line["object"]: line for line in lines_of(caplog, "preprocessor")}
    outcomes = [lines[name] for name in names]
    assert [outcome["outcome"] for outcome in outcomes] == [*["refused"] * 7, "published"]
    assert [outcome.get("error") for outcome in outcomes] == [
        "MalformedEventError",
        "MalformedCrlError",
        "MalformedCrlError",
        "MalformedCrlError",
        "CrlSignatureError",
        "CrlSignatureError",
        "CrlNotYetValidError",
        None,
    ]
    assert outcomes[1]["rule"] == "truncated"
    assert outcomes[4]["reason"] == "bad_signature"
    assert outcomes[5]["reason"] == "no_issuer"
    assert [outcome["level"] for outcome in outcomes] == [*["ERROR"] * 7, "INFO"]


def test_what_a_retry_may_mend_is_raised_at_the_end(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A failure of S3 makes Lambda try again, but not before the other records are
    published; the second attempt finds those unchanged.
    """
    unreachable = (f"{pipeline.bucket}-that-does-not-exist", "crl/ca.crl")
    good = pipeline.put("crl/ca.crl", PKI.crl())
    with pytest.raises(ExceptionGroup, match="1 of 2 objects failed") as caught:
        pipeline.run(unreachable, good)
    assert [type(error).__name__ for error in caught.value.exceptions] == ["NoSuchBucket"]
    assert pipeline.verdict("revoked") == "revoked"
    outcomes = [line["outcome"] for line in lines_of(caplog, "preprocessor")]
    assert outcomes == ["failed", "published"]
    assert pipeline.run(good)[0]["outcome"] == "unchanged"


def test_a_delta_before_its_base_is_tried_again(pipeline: Pipeline) -> None:
    """
    S3 may announce the two in any order: the delta fails until its complete CRL
    is there, and is then published beside it.
    """
    base = PKI.crl(number=5, revoked=[])
    this_update = datetime.now(UTC).replace(microsecond=0)
    delta = sign_crl(
        PKI.authority,
        [encode_entry(PKI.revoked.certificate.serial_number, this_update, reason=1)],
        this_update=this_update,
        next_update=this_update + timedelta(days=1),
        crl_number=6,
        extensions=[delta_of(5)],
    )
    early = pipeline.put("crl/delta.crl", delta)
    with pytest.raises(ExceptionGroup) as caught:
        pipeline.run(early)
    assert [type(error).__name__ for error in caught.value.exceptions] == ["CrlBaseMissingError"]
    outcomes = pipeline.run(pipeline.put("crl/ca.crl", base), early)
    assert [(one["outcome"], one["delta"]) for one in outcomes] == [
        ("published", False),
        ("published", True),
    ]
    assert pipeline.verdict("revoked") == "revoked"


class BreaksOff(io.BytesIO):
    """A download whose connection is lost before its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Give what is there, then fail as a socket does."""
        chunk = super().read(size)
        if not chunk:
            raise ConnectionResetError("connection lost")
        return chunk


def test_a_download_that_breaks_off_is_tried_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    A lost connection is no verdict on the CRL, and nothing of it is published.
    """
    bundle = tmp_path / "issuers.pem"
    bundle.write_bytes(PKI.authority.pem)
    function = pipeline.start(issuers=str(bundle))
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    body = BreaksOff(PKI.crl()[:200])
    monkeypatch.setattr(function.S3, "get_object", lambda **_: {"Body": body})
    with pytest.raises(ExceptionGroup) as caught:
        pipeline.run(crl)
    assert [type(error) for error in caught.value.exceptions] == [ConnectionResetError]
    assert body.closed
    assert pipeline.published() == set()


def test_a_crl_deleted_since_is_recorded(pipeline: Pipeline) -> None:
    """
    There is nothing to try again where the object is gone.
    """
    (outcome,) = pipeline.run((pipeline.bucket, "crl/gone.crl"))
    assert outcome == {
        "object": f"s3://{pipeline.bucket}/crl/gone.crl",
        "message": "there is no such object any more",
        "outcome": "missing",
    }


def test_deleting_a_crl_unrevokes_nothing(pipeline: Pipeline) -> None:
    """
    A removal is ignored, and what was published stays.
    """
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    pipeline.run(crl)
    (outcome,) = pipeline.function.handler(s3_event(crl, shape="object_removed"), None)["objects"]
    assert outcome["outcome"] == "ignored"
    assert pipeline.verdict("revoked") == "revoked"


@pytest.mark.parametrize(
    "key",
    [
        "published/catalog.json",
        "published/crl/ca.crl",
        "issuers/ca.pem",
        "ca.crl",
        "crls/ca.crl",
        "CRL/ca.crl",
        "crl/",
        "crl/acm-pca-permission-test-key",
        "crl/acm-pca-permission-test-key-private",
        "crl/audit-report/0a1b/2c3d.json",
        "published/status/0.json",
    ],
)
def test_what_is_not_an_uploaded_crl_is_ignored(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """
    Our own outputs, other prefixes, folders and Private CA's test objects are
    ignored with a log line, even where the object is a good CRL.
    """
    pipeline.start()
    crl = PKI.crl()
    pipeline.put("issuers/kept.pem", PKI.authority.pem)
    before = pipeline.published()
    pipeline.put(key, crl)
    (outcome,) = pipeline.run((pipeline.bucket, key))
    assert outcome["outcome"] == "ignored"
    assert outcome["reason"]
    assert pipeline.published() <= {*before, key}
    (line,) = lines_of(caplog, "preprocessor")
    assert line["level"] == "INFO"
    assert line["object"] == f"s3://{pipeline.bucket}/{key}"


def test_outputs_under_the_crl_prefix_do_not_come_back_in(pipeline: Pipeline) -> None:
    """
    Where images or issuers lie below the CRLs' own prefix, writing them must not
    set off the function again and again.
    """
    pipeline.put("crl/issuers/ca.pem", PKI.authority.pem)
    inside = f"s3://{pipeline.bucket}/crl"
    pipeline.start(store=f"{inside}/published", issuers=f"{inside}/issuers")
    (first,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    assert first["outcome"] == "published"
    keys = ("published/catalog.json", f"published/{first['image']}", "issuers/ca.pem")
    written = [(pipeline.bucket, f"crl/{key}") for key in keys]
    assert [outcome["outcome"] for outcome in pipeline.run(*written)] == ["ignored"] * 3


def test_the_crl_prefix_is_a_setting(pipeline: Pipeline) -> None:
    """
    CRLs are taken from the configured prefix and from no other.
    """
    pipeline.start(crl_prefix="incoming/lists/")
    objects = [pipeline.put(f"{prefix}/ca.crl", PKI.crl()) for prefix in ("crl", "incoming/lists")]
    assert [outcome["outcome"] for outcome in pipeline.run(*objects)] == ["ignored", "published"]


def test_the_test_event_does_nothing(pipeline: Pipeline) -> None:
    """
    Configuring the notification invokes the function once, without records.
    """
    event = json.loads((EVENTS / "s3_test_event.json").read_text())
    assert pipeline.start().handler(event, None) == {"objects": []}


def test_a_crl_over_the_size_limit_is_refused(pipeline: Pipeline) -> None:
    """
    The limit that is set is the one that is enforced, on the very byte.
    """
    crl = PKI.crl()
    pipeline.start(max_crl_size=str(len(crl) - 1))
    (refused,) = pipeline.run(pipeline.put("crl/ca.crl", crl))
    assert refused["outcome"] == "refused"
    pipeline.start(max_crl_size=str(len(crl)))
    assert pipeline.run((pipeline.bucket, "crl/ca.crl"))[0]["outcome"] == "published"


def test_the_crl_is_streamed(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The body of the download goes to the compiler as it is, never as one piece of memory.
    """
    given: list[Any] = []
    compile_it: Callable[..., Any] = compile_to_temporary

    def observe(source: Any, **options: Any) -> Any:
        given.append(source)
        return compile_it(source, **options)

    monkeypatch.setattr(publisher_module, "compile_to_temporary", observe)
    pipeline.start()
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    (source,) = given
    assert not isinstance(source, bytes | bytearray | memoryview)
    assert source.read is not None


def test_a_bad_setting_stops_the_import(pipeline: Pipeline) -> None:
    """
    A function with a setting it does not understand never publishes anything.
    """
    with pytest.raises(ValueError, match="CRLCHECK_MAX_CRL_SIZE is '1 GB'"):
        pipeline.start(max_crl_size="1 GB")


@pytest.mark.uninstrumented
def test_it_runs_under_the_lambda_runtime(pipeline: Pipeline, s3: S3Environment) -> None:
    """
    In its own process, under AWS's runtime client, the function publishes from
    the notification, answers with the outcome and reports what must be retried.
    """
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    environ = {f"CRLCHECK_{name.upper()}": value for name, value in pipeline.settings.items()}
    with LambdaFunction("preprocessor.handler.handler", {**s3.variables, **environ}) as function:
        answer = function.invoke(s3_event(crl))
        assert not answer.failed, function.log
        (outcome,) = answer.payload["objects"]
        assert outcome["outcome"] == "published"
        assert '"outcome": "published"' in function.log
        failed = function.invoke(s3_event((f"{pipeline.bucket}-not-there", "crl/ca.crl")))
        assert failed.failed
        assert failed.payload["errorType"] == "ExceptionGroup"
    assert pipeline.verdict("revoked") == "revoked"
    assert pipeline.verdict("good") == "not_revoked"
