"""
What the sender of an event is told: what failed, or cannot be read, is not done with.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from crlcheck.demo.pki import pem_block
from crlcheck.signing.signing_key import write_new_key
from preprocessor import outcomes
from preprocessor.answers import _result_code
from support.documents import rows, section
from support.events import (
    batch_event,
    destination_record,
    eventbridge_event,
    s3_event,
    sns_event,
    sns_notification,
    sqs_event,
)
from support.example_pki import example_pki
from support.functions import lines_of
from support.moto_server import S3Environment
from support.pipeline import Pipeline

PKI = example_pki()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


def failed_messages(answer: Any) -> list[str]:
    """The messages that the queue keeps."""
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


@pytest.mark.parametrize("way", ["SNS to Lambda", "SNS to SQS", "EventBridge to SNS to SQS"])
def test_a_crl_is_published_whichever_way_its_event_came(pipeline: Pipeline, way: str) -> None:
    """
    The topic's wrapper makes no difference, and nothing is left in the queue.
    """
    one = pipeline.put("crl/ca.crl", PKI.crl())
    if way == "SNS to Lambda":
        (outcome,) = pipeline.invoke(sns_event(s3_event(one)))["objects"]
        assert outcome["outcome"] == "published"
    else:
        event = s3_event(one) if way == "SNS to SQS" else eventbridge_event(*one)
        assert pipeline.invoke(sqs_event(sns_notification(event))) == {"batchItemFailures": []}
    assert pipeline.verdict("revoked") == "revoked"


def test_messages_that_cannot_be_read_stay_in_the_queue(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """
    They are named, beside those that failed. A faulty CRL's message is done with.
    """
    good = pipeline.put("crl/ca.crl", PKI.crl())
    bad = pipeline.put("crl/bad.crl", b"no CRL")
    nowhere = (f"{pipeline.bucket}-that-does-not-exist", "crl/ca.crl")
    answer = pipeline.invoke(
        sqs_event(
            sns_notification({"hello": "world"}),
            s3_event(good),
            s3_event(bad),
            s3_event(nowhere, nowhere),
            "hello",
        )
    )
    assert failed_messages(answer) == ["message-0", "message-3", "message-4"]
    lines = lines_of(caplog, "preprocessor")
    first, last = (line for line in lines if line.get("cause") == "malformed_event")
    assert first["outcome"] == "refused"
    assert first["through"] == "SQS 'crl-uploads', SNS 'crl-uploads'"
    assert "is no S3 event" in first["message"]
    assert "is not acknowledged" in first["message"]
    assert last["through"] == "SQS 'crl-uploads'"
    assert pipeline.verdict("revoked") == "revoked"


def test_a_topic_s_message_that_cannot_be_read_fails_the_invocation(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """
    So that it goes to the function's on-failure destination. What is there comes back.
    """
    with pytest.raises(ExceptionGroup, match="1 of 1 objects failed"):
        pipeline.invoke(sns_event("hello"))
    (line,) = lines_of(caplog, "preprocessor")
    assert line["through"] == "SNS 'crl-uploads'"
    one = pipeline.put("crl/ca.crl", PKI.crl())
    replayed = sqs_event(destination_record(sns_event(s3_event(one))))
    assert pipeline.invoke(replayed) == {"batchItemFailures": []}
    assert pipeline.verdict("revoked") == "revoked"


def test_a_batch_with_a_message_that_has_no_id_fails_as_a_whole(pipeline: Pipeline) -> None:
    """
    The answer cannot name it. What could be read is published all the same.
    """
    event = sqs_event(s3_event(pipeline.put("crl/ca.crl", PKI.crl())), "hello")
    del event["Records"][1]["messageId"]
    with pytest.raises(ExceptionGroup, match="1 of 2 objects failed"):
        pipeline.invoke(event)
    assert pipeline.verdict("revoked") == "revoked"


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_batch_operation_is_told_of_each_task(pipeline: Pipeline, version: str) -> None:
    """
    A temporary failure is tried again by the job. What no retry mends is not, and the
    job's report says why.
    """
    crl = PKI.crl()  # of one second, so that the same one comes twice
    one = pipeline.put("crl/two words+ü.crl", crl)
    faulty = pipeline.put("crl/bad.crl", b"no CRL")
    several = pipeline.put(
        "crl/several.pem", pem_block("X509 CRL", crl) + pem_block("X509 CRL", b"no CRL")
    )
    event = batch_event(
        version,
        one,
        faulty,
        (pipeline.bucket, "crl/gone.crl"),
        (f"{pipeline.bucket}-that-does-not-exist", "crl/ca.crl"),
        (pipeline.bucket, "elsewhere/ca.crl"),
        several,
        one,
    )
    event["tasks"][6]["s3Key"] = "%ff"
    answer = pipeline.invoke(event)
    assert answer["invocationSchemaVersion"] == version
    assert answer["invocationId"] == event["invocationId"]
    assert answer["treatMissingKeysAs"] == "PermanentFailure"
    assert [(one["taskId"], one["resultCode"]) for one in answer["results"]] == [
        ("task-0", "Succeeded"),
        ("task-1", "PermanentFailure"),
        ("task-2", "PermanentFailure"),
        ("task-3", "TemporaryFailure"),
        ("task-4", "Succeeded"),
        ("task-5", "PermanentFailure"),
        ("task-6", "PermanentFailure"),
    ]
    texts = [one["resultString"] for one in answer["results"]]
    # The two objects with the same CRL are read side by side: one of them is the first.
    assert sum("is published with" in text for text in texts) == 1
    assert sum("nothing that is not published already" in text for text in texts) == 1
    assert texts[2] == "there is no such object any more"
    assert "its key does not begin with crl/" in texts[4]
    assert re.search("is (published with|not published already).*; the CRL is refused", texts[5])
    assert "not UTF-8" in texts[6]
    assert pipeline.verdict("revoked") == "revoked"


def test_a_long_result_is_cut(pipeline: Pipeline) -> None:
    """
    A file of many faulty CRLs has more to say than fits into the job's report.
    """
    many = pipeline.put("crl/many.pem", pem_block("X509 CRL", b"no CRL") * 20)
    (result,) = pipeline.invoke(batch_event("1.0", many))["results"]
    assert result["resultCode"] == "PermanentFailure"
    assert len(result["resultString"]) == 1024


def test_tasks_without_an_id_have_no_result(pipeline: Pipeline) -> None:
    """
    ``treatMissingKeysAs`` says of them that they failed for good.
    """
    event = batch_event("2.0", (pipeline.bucket, "crl/gone.crl"))
    del event["tasks"][0]["taskId"]
    answer = pipeline.invoke(event)
    assert (answer["results"], answer["treatMissingKeysAs"]) == ([], "PermanentFailure")


def test_the_page_of_events_has_the_members_of_every_answer(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """
    By the event that is answered, in the order of its table.
    """
    write_new_key(tmp_path / "key.pem")
    pipeline.start(sign_with=str(tmp_path / "key.pem"))
    good = pipeline.put("crl/ca.crl", PKI.crl())
    bad = sqs_event("hello")
    batch = batch_event("2.0", good)
    expected = [
        members_of(pipeline.invoke(bad)),
        members_of(pipeline.invoke(batch)),
        {"objects"},
        *(members_of(pipeline.invoke({name: True})) for name in ("clean_up", "status", "sign")),
    ]
    assert pipeline.invoke({"rescan": "crl/"}).keys() == {"objects"}
    text = section("events.md", "## What the preprocessor returns").partition("\n\n`Report")[0]
    table = [line.split("|")[2] for line in text.splitlines() if line.startswith("|")][2:]
    named = [set(re.findall(r"`(\w+)`", cell)) for cell in table]
    assert "its [log line](log-lines.md#of-the-event-status-true)" in table[4]
    named[4] = set(rows(section("log-lines.md", '### Of the event `{"status": true}`')))
    assert named == expected


def members_of(answer: dict[str, Any]) -> set[str]:
    """The members of an answer, and those of what is listed in it."""
    found = set(answer)
    for value in answer.values():
        for one in value if isinstance(value, list) else ():
            found |= set(one)
    return found


@pytest.mark.parametrize(
    "words",
    [(), *itertools.combinations_with_replacement(outcomes._METRIC_NAMES, 2)],
    ids=" ".join,
)
def test_the_page_of_events_says_which_result_a_task_has(words: tuple[outcomes.Word, ...]) -> None:
    """
    The first row of its table that holds.
    """
    text = section("events.md", "## What the preprocessor returns")
    table = rows(text.partition("| result |")[2])
    for result, (where,) in table.items():
        named = set(re.findall(r"`(\w+)`", where))
        if not named or named & set(words):
            assert _result_code(outcomes.Outcome(None, word, "") for word in words) == result
            break
    else:
        raise AssertionError("no row holds")
